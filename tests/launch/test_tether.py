import os
import subprocess
import sys

import pytest

from acl_tf.launch import tether


@pytest.mark.parametrize("other, exit_code, printed", [(0, 3, "runs\n"), (1, 1, "")])
def test_a_program_without_its_parent_does_not_start(other, exit_code, printed):
    """The parent may die before the kernel is told; then it is another one."""
    program = [sys.executable, "-c", "print('runs'); raise SystemExit(3)"]
    command = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid() + other), *program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (exit_code, printed, "")
