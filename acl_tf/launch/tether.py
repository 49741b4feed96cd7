"""A script: becomes another program that does not outlive its parent. `python tether.py PARENT PROGRAM ARGUMENT…`.

The kernel keeps the promise, also where the parent is killed by SIGKILL: Linux has PR_SET_PDEATHSIG for it. It lasts
across `execv`. Elsewhere the program lives on after such a parent, until it cannot write its output any more.

Not a `preexec_fn` of `subprocess`, which may deadlock where the parent has threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Ties this process to its parent and runs the program in its place."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != int(parent):  # it died before the kernel knew
        sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
