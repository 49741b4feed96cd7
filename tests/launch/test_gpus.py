import pytest

from acl_tf.errors import UsageError
from acl_tf.launch.gpus import share, visible_gpus

LISTED = """\
GPU 0: NVIDIA H200 (UUID: GPU-6b4a0d4e-1f0a-5f9b-7d1c-2f6f0f4a0001)
GPU 1: NVIDIA H200 (UUID: GPU-6b4a0d4e-1f0a-5f9b-7d1c-2f6f0f4a0002)
  MIG 1g.18gb     Device  0: (UUID: MIG-9c6f7c11-6a4e-5c39-a5b5-7a1e0d1b0001)
"""


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Puts a program of this name in the way of the machine's own, which says what the test wants."""
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path))

    def says(text: str, exit_code: int = 0) -> None:
        program.write_text(f"#!/bin/sh\n[ $# = 1 ] && [ $1 = -L ] || exit 9\necho '{text}'\nexit {exit_code}\n")
        program.chmod(0o755)

    return says


@pytest.mark.parametrize(
    "chosen, gpus",
    [
        ("0,1,2", ["0", "1", "2"]),
        ("3, 1", ["3", "1"]),
        ("GPU-6b4a,GPU-77", ["GPU-6b4a", "GPU-77"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", ["NoDevFiles"]),
        ("2,-1,0", ["2"]),
    ],
)
def test_chosen_by_the_environment(chosen, gpus, nvidia_smi):
    nvidia_smi(LISTED)
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": chosen}) == gpus


def test_listed_by_nvidia_smi(nvidia_smi):
    nvidia_smi(LISTED)
    assert visible_gpus({}) == ["0", "1"]


def test_no_driver(nvidia_smi, caplog):
    assert visible_gpus({}) == []
    assert caplog.messages == []


def test_a_driver_that_does_not_work(nvidia_smi, caplog):
    nvidia_smi("NVIDIA-SMI has failed", exit_code=9)
    assert visible_gpus({}) == []
    assert caplog.messages == ["No GPU is used: nvidia-smi ended with exit code 9: NVIDIA-SMI has failed"]


@pytest.mark.parametrize(
    "gpus, workers, shares",
    [
        ("0123", 1, ["0123"]),
        ("0123", 2, ["01", "23"]),
        ("0123", 4, ["0", "1", "2", "3"]),
        ("31", 2, ["3", "1"]),
    ],
)
def test_shares_are_neighbours(gpus, workers, shares, caplog):
    assert share(gpus, workers) == [list(each) for each in shares]
    assert caplog.messages == []


def test_what_is_left_over_is_idle(caplog):
    assert share("01234", 2) == [["0", "1"], ["2", "3"]]
    assert caplog.messages == ["1 of 5 GPUs idle: all workers have the same number of them"]


def test_more_workers_than_gpus():
    with pytest.raises(UsageError) as error:
        share("01", 3)
    assert str(error.value) == (
        "Every worker needs a GPU of its own, and 2 can be seen here; lower --workers, or set "
        "CUDA_VISIBLE_DEVICES= to run on the CPU. Received: --workers 3"
    )
