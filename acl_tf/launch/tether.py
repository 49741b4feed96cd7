"""A script that runs a program which does not outlive its parent: `python tether.py PARENT PROGRAM ARGUMENT…`.

On Linux the kernel guarantees this by PR_SET_PDEATHSIG, which lasts across `execv`, even if the parent is killed by
SIGKILL. Elsewhere the program outlives such a parent until it can no longer write its output.

It is not a `preexec_fn` of `subprocess`, because that may deadlock if the parent has threads.
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
    if os.getppid() != int(parent):  # the parent died before the call
        sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
