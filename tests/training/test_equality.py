"""What replicas compute together is what one device computes alone: the same weights after some steps.

In float64: in float32 the sign of a gradient near 0 may differ, and with it the step of an attack.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest

from acl_tf.attacks.pgd import PGD
from acl_tf.data.crop_flip import CropFlip
from acl_tf.data.orders import Shuffled
from acl_tf.finetune.base import FineTuner
from acl_tf.finetune.distillation import Distillation
from acl_tf.finetune.pseudo_labelled import UNLABELLED, SemiSupervisedTargets
from acl_tf.finetune.trades import TRADES
from acl_tf.training.hardware import Hardware
from acl_tf.training.sgd import SGD
from acl_tf.training.steps import Data, Steps
from acl_tf.training.strategy import build_strategy
from acl_tf.training.workers import Workers
from tests.finetune import tiny
from tests.pretrain import test_objectives as contrastive
from tests.training.cluster import call, printed, tf_configs

COUNT, BATCH, STEPS = 40, 16, 5
RANDOM = np.random.default_rng(0)
LARGE = RANDOM.integers(0, 256, (COUNT, contrastive.SIZE, contrastive.SIZE, 3), np.uint8)
SMALL = RANDOM.integers(0, 256, (COUNT, tiny.SIZE, tiny.SIZE, 3), np.uint8)
LABELS = np.arange(COUNT) % tiny.CLASSES
TARGETS = SemiSupervisedTargets(
    np.where(np.arange(COUNT) % 4 == 0, LABELS, UNLABELLED), 2 * RANDOM.normal(size=(COUNT, tiny.CLASSES))
)


def objective(variant: str) -> tuple[keras.Model, Data]:
    return contrastive.build(variant, synchronized=True, seed=3), LARGE


def finetuner(cls: type[FineTuner], targets: np.ndarray | SemiSupervisedTargets):
    """With a classifier in float64, which products have in float32."""
    layer = keras.layers.Dense(tiny.CLASSES, dtype="float64", name="fc")
    with mock.patch("acl_tf.finetune.base.zero_classifier", return_value=layer):
        encoder = tiny.make_encoder(synchronized=True)
        tuner = cls(
            encoder,
            tiny.CLASSES,
            augmentation=CropFlip(2),
            attack=PGD(8 / 255, 2 / 255, 2, start=cls.default_attack().start_kind),
            seed=3,
        )
    tuner.compile(optimizer=SGD(0.1, momentum=0.9, weight_decay=2e-4))
    tuner.optimizer.build(tuner.trainable_variables)
    return tuner, (SMALL, targets)


# Each with how many steps TensorFlow takes at a time.
CASES: dict[str, tuple[Callable[[], tuple[keras.Model, Data]], int]] = {
    **{variant: (functools.partial(objective, variant), 1) for variant in contrastive.VARIANTS},
    "a2a, five steps a call": (functools.partial(objective, "a2a"), 5),
    "trades": (functools.partial(finetuner, TRADES, LABELS), 1),
    "distillation": (functools.partial(finetuner, Distillation, TARGETS), 1),
}


def take_steps(folder: str, *hardware: str) -> None:
    """Leaves the state after some steps of each case in a folder."""
    workers = Workers(build_strategy(Hardware(*hardware)))
    keras.config.set_dtype_policy("float64")
    for name, (build, per_call) in CASES.items():
        with workers.strategy.scope():
            model, data = build()
        steps = Steps(model, data, workers)
        rows = np.stack([Shuffled(COUNT, BATCH, STEPS, 0).rows(step) for step in range(STEPS)])
        for first in range(0, STEPS, per_call):
            measured = steps(rows[first : first + per_call])
        state = {f"model/{n}/{v.path.removeprefix(model.name)}": v.numpy() for n, v in enumerate(model.variables)}
        state |= {f"optimizer/{number}/{v.path}": v.numpy() for number, v in enumerate(model.optimizer.variables)}
        state |= {f"measured/{key}": np.array(value) for key, value in measured.items()}
        np.savez(Path(folder, f"{name} of {workers.index}.npz"), **state)


def assert_equal(folder: Path, expected: Path, name: str, worker: int = 0) -> None:
    """Every entry differs by 1e-10 of the largest one at most."""
    with np.load(folder / f"{name} of {worker}.npz") as mine, np.load(expected / f"{name} of 0.npz") as theirs:
        assert mine.keys() == theirs.keys()
        off = {}
        for key in mine:
            # The true gradient of a bias before batch normalisation is 0: what there is of it are rounding errors.
            largest = 1.0 if "fc1" in key and "bias" in key else np.abs(theirs[key]).max(initial=0.0)
            tolerance = 1e-6 if key.startswith("measured/") or "totals" in key else 1e-10
            difference = np.abs(mine[key] - theirs[key]).max(initial=0.0)
            if not difference <= tolerance * largest:
                off[key] = difference, largest
        assert off == {}
        assert int(next(mine[key] for key in mine if key.startswith("optimizer/") and "iteration" in key)) == STEPS


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """What one device computes."""
    folder = tmp_path_factory.mktemp("alone")
    printed(call(take_steps, str(folder), "none"))
    return folder


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mirrored")
    printed(call(take_steps, str(folder), "mirrored", "cpu:2"))
    return folder


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("two_workers")
    configs = tf_configs("worker", "worker")
    printed(*(call(take_steps, str(folder), "multiworker", tf_config=config) for config in configs))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_replicas_of_one_host(name, mirrored, alone):
    assert_equal(mirrored, alone, name)


@pytest.mark.slow
@pytest.mark.parametrize("worker", [0, 1])
@pytest.mark.parametrize("name", CASES)
def test_two_workers(name, worker, two_workers, alone):
    assert_equal(two_workers, alone, name, worker)


@pytest.mark.slow
def test_several_steps_a_call_are_single_ones(alone):
    """To the last bit."""
    with np.load(alone / "a2a of 0.npz") as single, np.load(alone / "a2a, five steps a call of 0.npz") as several:
        assert single.keys() == several.keys()
        assert [key for key in single if not np.array_equal(single[key], several[key])] == []
