import os
import subprocess
import sys

import pytest

from acl_tf.launch import tether


@pytest.mark.parametrize("parent, exit_code, printed", [(os.getpid(), 3, "runs\n"), (os.getpid() + 1, 1, "")])
def test_a_program_without_its_parent_does_not_start(parent, exit_code, printed):
    """The parent may die before the kernel is told; then it is another one."""
    program = [sys.executable, "-c", "print('runs'); raise SystemExit(3)"]
    command = [sys.executable, "-I", "-S", tether.__file__, str(parent), *program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (exit_code, printed, "")
