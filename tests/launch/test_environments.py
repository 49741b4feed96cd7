import json
import os
import subprocess
import sys

import pytest

from acl_tf.launch.environments import devices, environments

NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture
def cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


@pytest.mark.parametrize("workers, threads", [(1, "8"), (2, "4"), (3, "2"), (9, "1")])
def test_cores_are_shared_out(cores, workers, threads):
    own = {"TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": threads}
    assert devices(NO_GPU, workers) == [own] * workers


def test_a_number_of_threads_that_is_set_is_left_alone(cores):
    assert devices({**NO_GPU, "OMP_NUM_THREADS": "5"}, 2) == [{"TF_NUM_INTRAOP_THREADS": "4"}] * 2
    (whole,) = environments({"OMP_NUM_THREADS": "5"}, devices({**NO_GPU, "OMP_NUM_THREADS": "5"}, 1))
    assert (whole["OMP_NUM_THREADS"], whole["TF_NUM_INTRAOP_THREADS"]) == ("5", "8")


def test_gpus_are_shared_out():
    own = devices({"CUDA_VISIBLE_DEVICES": "3,GPU-1,0,5"}, 2)
    assert own == [{"CUDA_VISIBLE_DEVICES": "3,GPU-1"}, {"CUDA_VISIBLE_DEVICES": "0,5"}]


def test_the_cluster():
    around = {"HOME": "/home/me", "TF_CONFIG": "another", "CUDA_VISIBLE_DEVICES": "0,1"}
    first, second = environments(around, [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}])
    assert first["HOME"] == second["HOME"] == "/home/me"
    assert (first["CUDA_VISIBLE_DEVICES"], second["CUDA_VISIBLE_DEVICES"]) == ("0", "1")
    one, two = json.loads(first["TF_CONFIG"]), json.loads(second["TF_CONFIG"])
    assert one["cluster"] == two["cluster"]
    assert one["task"] == {"type": "worker", "index": 0} and two["task"] == {"type": "worker", "index": 1}
    hosts, ports = zip(*(address.split(":") for address in one["cluster"]["worker"]))
    assert hosts == ("localhost", "localhost") and len(set(ports)) == 2
    assert around["TF_CONFIG"] == "another"


def test_ports_are_found_anew():
    assert environments({}, [{}])[0]["TF_CONFIG"] != environments({}, [{}])[0]["TF_CONFIG"]


@pytest.mark.slow
def test_tensorflow_obeys():
    """It starts so many more threads as it is told to."""
    code = "import os, tensorflow as tf; tf.ones((9, 9)) @ tf.ones((9, 9)); print(len(os.listdir('/proc/self/task')))"

    def threads(wanted: int) -> int:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": str(wanted)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
        return int(done.stdout)

    assert threads(7) - threads(1) == 6
