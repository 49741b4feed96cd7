import functools

import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from acl_tf.attacks.base import GradientAttack
from acl_tf.attacks.pgd import LinfPGD
from acl_tf.export.pytorch import import_state
from acl_tf.losses.nt_xent import nt_xent
from acl_tf.models.encoder import Encoder
from tests.reference import linf as reference

SEED = (3, 14)
numbers = st.integers(0, 2**31 - 1)


def images(batch: int = 4, size: int = 4, seed: int = 0) -> tf.Tensor:
    """Real images have many pixels that are black or white."""
    pixels = np.random.default_rng(seed).uniform(-0.2, 1.2, (batch, size, size, 3))
    return tf.constant(np.clip(pixels, 0.0, 1.0), tf.float32)


def linear_loss(slope: np.ndarray):
    return lambda x: tf.reduce_sum(x * slope, axis=(1, 2, 3))


def run(attack: LinfPGD, x: tf.Tensor, loss, seed: tuple[int, int] = SEED):
    return attack(x, loss, attack.start(x.shape, tf.constant(seed), x.dtype))


def test_matches_the_published_code(parity):
    imported = import_state({name[6:]: array for name, array in parity.items() if name.startswith("state/")})

    def loss(x: tf.Tensor) -> tf.Tensor:
        features = imported.encoder(x, branch="adversarial")
        return nt_xent(*tf.split(imported.projection_head(features, branch="adversarial"), 2))

    views, delta0, expected = (
        np.concatenate([parity[f"{name}_i"], parity[f"{name}_j"]]) for name in ("view", "pgd/delta0", "pgd/x_adv")
    )
    attack = LinfPGD(8 / 255, 2 / 255, 5)
    result = attack(tf.constant(views), loss, tf.constant(delta0))
    difference = np.abs(result.images - expected)
    assert np.mean(difference < 1e-6) >= 0.995
    assert difference.max() <= 2 * 2 / 255 + 1e-6
    assert np.all(np.diff(result.losses) > 0)


@hypothesis.given(
    epsilon=st.floats(0, 1.5), step_size=st.floats(0, 2), steps=st.integers(0, 4), seed=numbers, size=st.integers(1, 5)
)
def test_stays_in_the_ball_and_in_range(epsilon, step_size, steps, seed, size):
    x = images(size=size, seed=seed)
    slope = np.random.default_rng(seed).normal(size=x.shape[1:]).astype("float32")
    found = run(LinfPGD(epsilon, step_size, steps), x, linear_loss(slope), (seed, 0)).images
    assert np.abs(found - x).max() <= epsilon + 1e-6
    assert np.min(found) >= -1e-6 and np.max(found) <= 1 + 1e-6


@hypothesis.given(epsilon=st.floats(0, 1), seed=numbers)
def test_projection_matches_the_oracle(epsilon, seed):
    center = images(batch=1, size=2, seed=seed)
    moved = center.numpy() + np.random.default_rng(seed).normal(size=center.shape).astype("float32")
    projected = LinfPGD(epsilon, 0.1, 1).project(tf.constant(moved), center)
    np.testing.assert_allclose(projected, reference.project(moved, center.numpy(), epsilon), atol=1e-6)


@hypothesis.given(epsilon=st.floats(1e-3, 1), seed=numbers)
def test_starts_inside_the_ball(epsilon, seed):
    start = LinfPGD(epsilon, 0.1, 1).start((8, 4, 4, 3), tf.constant((seed, 0)))
    assert start.shape == (8, 4, 4, 3)
    assert np.abs(start).max() <= epsilon + 1e-6


def test_start_is_uniform():
    start = np.sort(LinfPGD(0.5, 0.1, 1).start((40, 10, 10, 1), tf.constant(SEED)).numpy().ravel())
    # Kolmogorov-Smirnov: 1.95 / sqrt(n) is exceeded once in a thousand draws.
    np.testing.assert_allclose(start + 0.5, np.linspace(0, 1, len(start)), atol=1.95 / np.sqrt(len(start)))


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_start_has_the_dtype_of_the_images(dtype):
    assert LinfPGD(0.1, 0.1, 1).start((2, 4, 4, 3), tf.constant(SEED), dtype).dtype == dtype


def test_result_depends_on_the_seed_alone():
    slope = np.random.default_rng(0).normal(size=(4, 4, 3)).astype("float32")
    attack = functools.partial(run, LinfPGD(0.1, 0.01, 3), images(), linear_loss(slope))
    np.testing.assert_array_equal(attack().images, attack().images)
    assert not np.allclose(attack().images, attack(seed=(3, 15)).images)


def test_without_steps_it_is_the_projected_start():
    x = images()
    attack = LinfPGD(0.3, 0.1, 0)
    start = attack.start(x.shape, tf.constant(SEED))
    result = attack(x, linear_loss(np.ones((4, 4, 3), np.float32)), start)
    np.testing.assert_allclose(result.images, np.clip(x + start, 0, 1), atol=1e-6)
    assert result.losses.shape == (0,)


def test_finds_the_maximum_of_a_linear_loss():
    x = images()
    slope = np.random.default_rng(0).normal(size=(4, 4, 3)).astype("float32")
    result = run(LinfPGD(0.1, 0.05, 5), x, linear_loss(slope))
    np.testing.assert_allclose(result.images, np.clip(x + 0.1 * np.sign(slope), 0, 1), atol=1e-6)
    assert np.all(np.diff(result.losses) >= 0) and result.losses[-1] > result.losses[0]


def test_losses_are_those_of_the_points_where_a_gradient_was_taken():
    x, slope = images(), np.ones((4, 4, 3), np.float32)
    points, loss = [], linear_loss(slope)
    result = run(LinfPGD(0.1, 0.01, 3), x, lambda y: points.append(y) or loss(y))
    np.testing.assert_allclose(result.losses, [np.mean(loss(point)) for point in points], rtol=1e-6)
    assert len(points) == 3


def test_each_image_is_attacked_by_its_own_loss():
    """A gradient of the mean over the batch would be as good for a sign, but not for other norms."""
    x, slope = images(), np.random.default_rng(0).normal(size=(4, 4, 3)).astype("float32")
    values, gradient = LinfPGD(0.1, 0.1, 1).gradient(linear_loss(slope), x)
    assert values.shape == (4,)
    np.testing.assert_allclose(gradient, np.broadcast_to(slope, x.shape))


def test_only_the_gradient_of_the_images_is_computed():
    encoder = Encoder(width=0.0625, image_shape=(16, 16, 3))
    attack = LinfPGD(8 / 255, 2 / 255, 2)

    @tf.function
    def attacked(x: tf.Tensor) -> tf.Tensor:
        return run(attack, x, lambda y: tf.reduce_sum(encoder(y, branch="adversarial") ** 2, axis=1)).images

    x, before = images(size=16), encoder.get_weights()
    assert not np.array_equal(attacked(x), x)
    graph = attacked.get_concrete_function(x).graph
    needed = [output.op.name for output in graph.outputs] + [output.name for output in graph.control_outputs]
    # What no output needs is traced, but not run.
    pruned = tf.compat.v1.graph_util.extract_sub_graph(graph.as_graph_def(), needed)
    assert not pruned.library.function
    kinds = [node.op for node in pruned.node]
    convolutions = sum(isinstance(layer, keras.layers.Conv2D) for layer in encoder.standard_graph.layers)
    assert kinds.count("Conv2DBackpropInput") == 2 * convolutions
    assert not {"Conv2DBackpropFilter", "AssignVariableOp", "AssignAddVariableOp"} & set(kinds)
    for weight, old in zip(encoder.get_weights(), before):
        np.testing.assert_array_equal(weight, old)


@pytest.mark.parametrize("name, value", [("epsilon", -0.1), ("step_size", -1), ("steps", -1)])
def test_invalid_arguments(name, value):
    with pytest.raises(ValueError) as error:
        LinfPGD(**{"epsilon": 0.1, "step_size": 0.1, "steps": 1, name: value})
    assert str(error.value) == f"`{name}` must not be negative. Received: {name}={value}"


@pytest.mark.parametrize("hook", ["start", "step", "project"])
def test_a_new_attack_brings_its_own_hooks(hook):
    with pytest.raises(NotImplementedError):
        getattr(GradientAttack(0.1, 0.1, 1), hook)(images(), images())
