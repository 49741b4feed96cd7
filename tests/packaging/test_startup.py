"""Nothing heavy is imported before a command needs it, so that `acl-tf --help` answers at once."""

import subprocess
import sys

import pytest

HEAVY = (
    "huggingface_hub",
    "jinja2",
    "keras",
    "matplotlib",
    "safetensors",
    "scipy",
    "sklearn",
    "tensorboard",
    "tensorflow",
    "tensorflow_datasets",
    "torch",
)
PROBE = """
import sys
{code}
print("imported:", *sorted(set({heavy!r}) & set(sys.modules)))
"""
COMMAND = """
from acl_tf.cli import main
sys.argv = ["acl-tf", *{arguments!r}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


def heavy_imports(code: str) -> list[str]:
    probe = PROBE.format(code=code, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(done.stderr, pytrace=False)
    return done.stdout.splitlines()[-1].removeprefix("imported:").split()


@pytest.mark.parametrize("module", ["acl_tf", "acl_tf.cli", "acl_tf.configs", "acl_tf.hub"])
def test_importing(module):
    assert heavy_imports(f"import {module}") == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        *([name, "--help"] for name in ("pretrain", "export", "client", "push", "pull", "inspect")),
    ],
    ids=" ".join,
)
def test_command(arguments):
    assert heavy_imports(COMMAND.format(arguments=arguments)) == []


def test_the_probe_sees_a_heavy_import():
    assert "scipy" in heavy_imports("import scipy")
