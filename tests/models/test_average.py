from collections.abc import Sequence

import keras
import numpy as np
import pytest
import tensorflow as tf

from acl_tf.losses.nt_xent import nt_xent
from acl_tf.models.average import STATISTICS, ExponentialAverage
from acl_tf.models.branch import Branch
from acl_tf.models.encoder import Encoder
from acl_tf.models.heads import MLPHead
from acl_tf.models.paired_model import PairedModel
from acl_tf.training.gradient_step import gradient_step, mean_over_global_batch
from acl_tf.training.hardware import Hardware
from acl_tf.training.sgd import SGD
from acl_tf.training.steps import share_of
from acl_tf.training.strategy import build_strategy
from acl_tf.training.workers import Workers

FEATURES = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")
DECAY = 0.9


def heads() -> list[PairedModel]:
    return [MLPHead(6, (5, 4), batch_norm="paired"), MLPHead(4, (3,))]


def shake(networks: Sequence[PairedModel], random: np.random.Generator) -> None:
    for network in networks:
        for variable in network.variables:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))


def values(networks: Sequence[PairedModel]) -> list[np.ndarray]:
    return [variable.numpy() for network in networks for variable in network.variables]


def is_statistic(networks: Sequence[PairedModel]) -> list[bool]:
    return ["moving" in variable.path for network in networks for variable in network.variables]


def test_the_copies_start_as_the_originals_and_share_nothing_with_them():
    originals = heads()
    shake(originals, np.random.default_rng(1))
    average = ExponentialAverage(originals, DECAY)
    assert [type(copy) for copy in average.networks] == [type(original) for original in originals]
    before = values(originals)
    for copy, original in zip(values(average.networks), before, strict=True):
        np.testing.assert_array_equal(copy, original)
    shake(average.networks, np.random.default_rng(2))
    for value, expected in zip(values(originals), before, strict=True):
        np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize("statistics", STATISTICS)
def test_matches_the_oracle(statistics):
    keras.config.set_dtype_policy("float64")
    random, originals = np.random.default_rng(1), heads()
    shake(originals, random)
    average = ExponentialAverage(originals, DECAY, statistics)
    expected, moments = values(originals), is_statistic(originals)
    assert sum(moments) == 4  # mean and variance of both branches
    update = tf.function(average.update)
    for _ in range(3):
        shake(originals, random)
        update()
        for number, (now, moment) in enumerate(zip(values(originals), moments, strict=True)):
            if not moment or statistics == "averaged":
                expected[number] = DECAY * expected[number] + (1 - DECAY) * now
            elif statistics == "copied":
                expected[number] = now
        for actual, right in zip(values(average.networks), expected, strict=True):
            np.testing.assert_allclose(actual, right, rtol=1e-14)


def test_own_statistics_move_by_own_passes():
    originals = heads()
    average = ExponentialAverage(originals, DECAY)
    before = values(originals)
    average.networks[0](FEATURES, branch="adversarial", training=True)
    for value, expected in zip(values(originals), before, strict=True):
        np.testing.assert_array_equal(value, expected)
    moved = {v.path for v, old in zip(average.networks[0].variables, before) if not np.array_equal(v.numpy(), old)}
    assert moved == {f"bn1/adversarial/moving_{name}" for name in ("mean", "variance")}
    originals[0](FEATURES, branch="adversarial", training=True)
    for value, expected in zip(values(average.networks), values(originals), strict=True):
        np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([], 0.9), "`networks` must be one or more. Received: networks=[]"),
        ((["a network"], 1.0), "`decay` must be at least 0 and less than 1. Received: decay=1.0"),
        (
            (["a network"], 0.9, "frozen"),
            "`statistics` must be one of ['own', 'copied', 'averaged']. Received: statistics='frozen'",
        ),
    ],
)
def test_an_average_that_cannot_be(arguments, message):
    with pytest.raises(ValueError) as error:
        ExponentialAverage(*arguments)
    assert str(error.value) == message


class Owner(keras.Model):
    """Queries pass the networks, keys their average."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder(width=0.05, image_shape=(16, 16, 3), synchronized=True)
        self.head = MLPHead(self.encoder.feature_dim, (8, 4))
        self.average = ExponentialAverage([self.encoder, self.head], DECAY)
        self.built = True

    def project(self, networks: Sequence[PairedModel], images: tf.Tensor, branch: Branch) -> tf.Tensor:
        encoder, head = networks
        return head(encoder(images, branch=branch, training=True), branch=branch, training=True)

    def step(self, images: tf.Tensor) -> None:
        def loss_of() -> tuple[tf.Tensor, None]:
            queries = [self.project([self.encoder, self.head], images, branch) for branch in Branch]
            keys = self.project(self.average.networks, images[:, :, ::-1], Branch.STANDARD)
            self.average.update()
            return mean_over_global_batch(nt_xent(*queries, keys, stop_second=True)), None

        gradient_step(self.optimizer, self.trainable_variables, loss_of)


def test_the_owner_trains_what_it_trained_and_keeps_the_rest():
    owner = Owner()
    own = {id(v) for part in (owner.encoder, owner.head) for v in part.trainable_variables}
    assert {id(variable) for variable in owner.trainable_variables} == own
    copies = {id(variable) for copy in owner.average.networks for variable in copy.variables}
    assert copies <= {id(variable) for variable in owner.variables}
    # Twice each, and nothing a third time because the average knows the originals.
    assert len(owner.variables) == 2 * len(copies)


def test_a_checkpoint_holds_the_average(tmp_path):
    owner, restored = Owner(), Owner()
    shake(owner.average.networks, np.random.default_rng(3))
    path = tf.train.Checkpoint(model=owner).save(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(model=restored).restore(path).assert_consumed()
    for actual, expected in zip(values(restored.average.networks), values(owner.average.networks), strict=True):
        np.testing.assert_array_equal(actual, expected)
    # What is restored still follows what is restored.
    for model in (owner, restored):
        model.average.update()
    for actual, expected in zip(values(restored.average.networks), values(owner.average.networks), strict=True):
        np.testing.assert_array_equal(actual, expected)


def take_steps(path: str, *hardware: str) -> None:
    """Leaves the variables after three steps in a file."""
    workers = Workers(build_strategy(Hardware(*hardware)))
    keras.config.set_dtype_policy("float64")
    keras.utils.set_random_seed(0)
    batches = np.random.default_rng(0).random((3, 8, 16, 16, 3))
    with workers.strategy.scope():
        owner = Owner()
        owner.compile(optimizer=SGD(0.1, momentum=0.9))
        owner.optimizer.build(owner.trainable_variables)
    step = tf.function(lambda images: workers.strategy.run(owner.step, (images,)))
    for batch in batches:
        step(
            workers.strategy.experimental_distribute_values_from_function(
                lambda context, batch=batch: tf.constant(batch[share_of(len(batch), context)])
            )
        )
    np.savez(path, **{f"{number}/{v.path}": v.numpy() for number, v in enumerate(owner.variables)})


@pytest.mark.slow
def test_two_replicas_are_one(tmp_path, run_python):
    for hardware in (("none",), ("mirrored", "cpu:2")):
        run_python(f"from {__name__} import take_steps; take_steps({str(tmp_path / hardware[0])!r}, *{hardware!r})")
    with np.load(tmp_path / "none.npz") as alone, np.load(tmp_path / "mirrored.npz") as mirrored:
        assert alone.keys() == mirrored.keys()
        for key in alone:
            np.testing.assert_allclose(mirrored[key], alone[key], rtol=0, atol=1e-10 * np.abs(alone[key]).max())
