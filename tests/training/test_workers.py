"""What workers exchange, and how they find out that they are not about to do the same."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from acl_tf.config import build
from acl_tf.errors import AclTfError, ClusterError, DataError, UsageError
from acl_tf.pretrain.config import PretrainConfig
from acl_tf.training import workers as module
from acl_tf.training.hardware import Hardware
from acl_tf.training.strategy import build_strategy
from acl_tf.training.workers import LOST, Workers
from tests.training.cluster import call, printed, tf_configs

CONFIG = build(PretrainConfig, {})


def config(**training: Any) -> PretrainConfig:
    return build(PretrainConfig, {"training": training})


# One process


def test_one_process_exchanges_nothing():
    workers = Workers()
    assert (workers.count, workers.index, workers.replicas, workers.is_chief) == (1, 0, 1, True)
    assert workers.described() == {"strategy": "none", "replicas": 1, "workers": 1}
    assert workers.gather([3, 4]).tolist() == [[3, 4]]
    assert workers.highest(-5) == -5
    np.testing.assert_array_equal(workers.from_chief(lambda: [np.arange(3), np.eye(2)])[1], np.eye(2))
    variable = tf.Variable([1.0, 2.0])
    workers.share_state([variable])
    assert variable.numpy().tolist() == [1, 2]
    workers.wait()


def test_one_process_agrees_with_itself():
    with Workers().agreement(CONFIG) as same:
        same["images"] = "some"


@pytest.mark.parametrize("error", [UsageError("wrong"), FileNotFoundError(2, "none"), ValueError("a bug")])
def test_one_process_raises_what_it_met(error):
    with pytest.raises(type(error)) as raised, Workers().agreement(CONFIG):
        raise error
    assert raised.value is error


@pytest.mark.parametrize("kind", LOST)
def test_one_process_loses_nobody(kind):
    with pytest.raises(kind), Workers().watched():
        raise kind(None, None, "something else")


# Two processes


def exchange() -> None:
    """What a worker gets of what all of them give, as JSON."""
    workers = Workers(build_strategy(Hardware("multiworker")))
    mine = workers.index
    with workers.strategy.scope():
        shared = [tf.Variable(value) for value in ([1.5 + mine, 2.5], np.int64([[mine, 2**40]]), np.int32(mine))]
    workers.share_state(variable for variable in shared)
    alone = tf.Variable(np.float64(mine) + 1 / 3)
    workers.share_state([alone])
    arrays = workers.from_chief(
        lambda: [np.full((2, 3), np.pi), np.arange(300, dtype=np.int16), np.zeros((0, 4), bool)]
    )
    workers.share_state([])
    workers.wait()
    print(
        json.dumps(
            {
                "index": mine,
                "is chief": workers.is_chief,
                "described": workers.described(),
                "gathered": workers.gather([mine, -mine, 2**62 - 1 - mine]).tolist(),
                "highest": [workers.highest(10 * mine), workers.highest(-10 * mine)],
                "shared": [variable.numpy().tolist() for variable in shared],
                "alone": alone.numpy(),
                "from chief": [[str(array.dtype), array.tolist()] for array in arrays],
            }
        )
    )


@pytest.mark.slow
def test_what_two_workers_exchange():
    outputs = printed(*(call(exchange, tf_config=config) for config in tf_configs("chief", "worker")))
    first, second = map(json.loads, outputs)
    assert (first.pop("index"), second.pop("index")) == (0, 1)
    assert (first.pop("is chief"), second.pop("is chief")) == (True, False)
    assert second == first
    assert first["described"] == {"strategy": "multiworker", "replicas": 2, "workers": 2}
    assert first["gathered"] == [[0, 0, 2**62 - 1], [1, -1, 2**62 - 2]]
    assert first["highest"] == [10, 0]
    assert first["shared"] == [[1.5, 2.5], [[0, 2**40]], 0]
    assert first["alone"] == 1 / 3
    assert first["from chief"] == [
        ["float64", [[np.pi] * 3] * 2],
        ["int16", list(range(300))],
        ["bool", []],
    ]


def agree(
    workers: Workers, config: PretrainConfig = CONFIG, images: str = "some", error: Exception | None = None
) -> None:
    with workers.agreement(config) as same:
        if error:
            raise error
        same["images"] = images


def of_another_version(workers: Workers) -> None:
    original = module.versions
    module.versions = lambda: {**original(), "acl_tf": "0.0.1"}
    try:
        agree(workers)
    finally:
        module.versions = original


# What worker 1 does where the chief is ready, and the other way round.
MISTAKES: dict[str, Callable[[Workers], None]] = {
    "nothing": agree,
    "images elsewhere": lambda workers: agree(workers, build(PretrainConfig, {"data": {"data_dir": "/elsewhere"}})),
    "version": of_another_version,
    "configuration": lambda workers: agree(workers, config(seed=1)),
    "images": lambda workers: agree(workers, images="others"),
    "no images": lambda workers: agree(workers, error=DataError("No images in /data.")),
    "bad command": lambda workers: agree(workers, error=UsageError("Wrong.")),
    "no disk": lambda workers: agree(workers, error=OSError(28, "No space left on device")),
}


def make_mistakes() -> None:
    """What a worker is told of each mistake of worker 1, then of worker 0, as JSON."""
    workers = Workers(build_strategy(Hardware("multiworker")))
    told = []
    for at_fault in (1, 0):
        for mistake in MISTAKES.values():
            try:
                (mistake if workers.index == at_fault else agree)(workers)
                told.append(None)
            except (AclTfError, OSError) as error:
                told.append([type(error).__name__, str(error), getattr(error, "exit_code", 1)])
    print(json.dumps(told))


@pytest.fixture(scope="module")
def told() -> dict[tuple[str, int, int], list | None]:
    """What is raised, by mistake, worker at fault, and worker."""
    outputs = printed(*(call(make_mistakes, tf_config=config) for config in tf_configs("worker", "worker")))
    return {
        (mistake, at_fault, worker): raised
        for worker, out in enumerate(outputs)
        for (at_fault, mistake), raised in zip(
            [(at_fault, mistake) for at_fault in (1, 0) for mistake in MISTAKES], json.loads(out), strict=True
        )
    }


@pytest.mark.slow
@pytest.mark.parametrize("worker", [0, 1])
@pytest.mark.parametrize("at_fault", [0, 1])
class TestAgreement:
    @pytest.mark.parametrize("mistake", ["nothing", "images elsewhere"])
    def test_workers_that_agree_go_on(self, told, mistake, at_fault, worker):
        assert told[mistake, at_fault, worker] is None

    @pytest.mark.parametrize("mistake, what", [("configuration", "configuration"), ("images", "images")])
    def test_all_say_what_is_not_the_same(self, told, mistake, what, at_fault, worker):
        assert told[mistake, at_fault, worker] == [
            "ClusterError",
            f"All workers must have the same {what}; start them with the same command and environment. "
            f"Received: another one in worker {1 - worker} than in worker {worker}",
            1,
        ]

    def test_another_version(self, told, at_fault, worker):
        here = "0.0.1" if worker == at_fault else module.versions()["acl_tf"]
        assert told["version", at_fault, worker] == [
            "ClusterError",
            "All workers must have the same version of acl_tf; start them with the same command and environment. "
            f"Received: another one in worker {1 - worker} than in worker {worker}, here {here}",
            1,
        ]

    @pytest.mark.parametrize(
        "mistake, own",
        [
            ("no images", ["DataError", "No images in /data.", 1]),
            ("bad command", ["UsageError", "Wrong.", 2]),
            ("no disk", ["OSError", "[Errno 28] No space left on device", 1]),
        ],
    )
    def test_the_worker_that_fails_says_why_and_the_others_which(self, told, mistake, own, at_fault, worker):
        of_others = ["ClusterError", f"Worker {at_fault} of 2 has failed; its own output says why.", own[2]]
        assert told[mistake, at_fault, worker] == (own if worker == at_fault else of_others)


def lose_the_other(index: int) -> None:
    """Waits for a worker that ends; prints what is raised."""
    workers = Workers(build_strategy(Hardware("multiworker")))
    workers.wait()
    if workers.index == index:
        return
    try:
        workers.wait()
    except ClusterError as error:
        print(error)


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 1])
def test_a_worker_that_is_lost_is_named_in_one_line(index):
    processes = [call(lose_the_other, index, tf_config=config) for config in tf_configs("worker", "worker")]
    out, _ = processes[1 - index].communicate(timeout=120)
    processes[index].communicate(timeout=120)
    message = (
        f"Worker {1 - index} of 2 has lost another one, or cannot go on itself. Start all of them again with "
        "--resume; the output of the one that ended first says why. Received: "
    )
    assert out.startswith(message) and out.count("\n") == 1 and len(out) > len(message) + 10
