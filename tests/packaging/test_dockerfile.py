"""The Dockerfile, which no Docker engine builds here: linted, and held against the tree that it copies."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import acl_tf

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE))
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


def last(name: str) -> str:
    return [argument for instruction, argument in instructions() if instruction == name][-1]


def test_lint():
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed; the dev extra brings it")
    done = subprocess.run([hadolint, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_runs_acl_tf_as_an_ordinary_user():
    assert last("ENTRYPOINT") == '["acl-tf"]'
    assert last("USER") == "1000:1000"


def test_every_stage_stands_on_the_pinned_base():
    assert last("ARG").startswith("REVISION=")
    assert ("ARG", "PYTHON=python:3.12-slim-bookworm") in instructions()
    stages = [argument.split(" AS ") for instruction, argument in instructions() if instruction == "FROM"]
    assert len(stages) > 2
    assert {base for base, _ in stages} == {"${PYTHON}", "base"}


def test_version_label():
    assert ("ARG", f"VERSION={acl_tf.__version__}") in instructions()


def test_build_context_has_what_the_wheel_needs():
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert allowed == {"acl_tf", "cli", "configs", "hub", "LICENSE", "README.md", "pyproject.toml", "setup.cfg"}
    assert {name for name in allowed if not (ROOT / name).exists()} == set()
