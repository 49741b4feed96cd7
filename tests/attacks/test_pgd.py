import hypothesis
import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from hypothesis import strategies as st

from acl_tf.attacks.l1_ball import project_l1
from acl_tf.attacks.pgd import FGSM, PGD, PGD20
from acl_tf.export.pytorch import import_state
from acl_tf.losses.nt_xent import nt_xent
from acl_tf.models.encoder import Encoder
from tests.attacks.scenes import SEED, distances, greys, images, linear, loss, run, slope
from tests.reference import l1, linf

numbers = st.integers(0, 2**31 - 1)


def test_matches_the_published_code(parity):
    imported = import_state({name[6:]: array for name, array in parity.items() if name.startswith("state/")})

    def loss(x: tf.Tensor) -> tf.Tensor:
        features = imported.encoder(x, branch="adversarial")
        return nt_xent(*tf.split(imported.projection_head(features, branch="adversarial"), 2))

    views, delta0, expected = (
        np.concatenate([parity[f"{name}_i"], parity[f"{name}_j"]]) for name in ("view", "pgd/delta0", "pgd/x_adv")
    )
    attack = PGD(8 / 255, 2 / 255, 5)
    result = attack(tf.constant(views), loss, tf.constant(delta0))
    difference = np.abs(result.images - expected)
    assert np.mean(difference < 1e-6) >= 0.995
    assert difference.max() <= 2 * 2 / 255 + 1e-6
    assert np.all(np.diff(result.losses) > 0)


@hypothesis.given(epsilon=st.floats(0, 1), seed=numbers)
def test_linf_projection_matches_the_oracle(epsilon, seed):
    center = images(batch=1, size=2, seed=seed)
    moved = center.numpy() + np.random.default_rng(seed).normal(size=center.shape).astype("float32")
    projected = PGD(epsilon, 0.1, 1).project(tf.constant(moved), center)
    np.testing.assert_allclose(projected, linf.project(moved, center.numpy(), epsilon), atol=1e-6)


def test_linf_start_is_uniform():
    start = np.sort(PGD(0.5, 0.1, 1).start((40, 10, 10, 1), tf.constant(SEED)).numpy().ravel())
    # Kolmogorov-Smirnov: 1.95 / sqrt(n) is exceeded once in a thousand draws.
    np.testing.assert_allclose(start + 0.5, np.linspace(0, 1, len(start)), atol=1.95 / np.sqrt(len(start)))


def test_without_steps_it_is_the_projected_start():
    x = images()
    attack = PGD(0.3, 0.1, 0)
    start = attack.start(x.shape, tf.constant(SEED))
    result = attack(x, linear(np.ones((4, 4, 3), np.float32)), start)
    np.testing.assert_allclose(result.images, np.clip(x + start, 0, 1), atol=1e-6)
    assert result.losses.shape == (0,)


def test_finds_the_maximum_of_a_linear_loss():
    x, weights = images(), slope()
    result = run(PGD(0.1, 0.05, 5), x, linear(weights))
    np.testing.assert_allclose(result.images, np.clip(x + 0.1 * np.sign(weights), 0, 1), atol=1e-6)
    assert np.all(np.diff(result.losses) >= 0) and result.losses[-1] > result.losses[0]


def test_losses_are_those_of_the_points_where_a_gradient_was_taken():
    x, points, loss = images(), [], linear(np.ones((4, 4, 3), np.float32))
    result = run(PGD(0.1, 0.01, 3), x, lambda y: points.append(y) or loss(y))
    np.testing.assert_allclose(result.losses, [np.mean(loss(point)) for point in points], rtol=1e-6)
    assert len(points) == 3


def test_each_image_is_attacked_by_its_own_loss():
    """A gradient of the mean over the batch would be as good for a sign, but not for other norms."""
    x, weights = images(), slope()
    values, gradient = PGD(0.1, 0.1, 1).gradient(linear(weights), x)
    assert values.shape == (4,)
    np.testing.assert_allclose(gradient, np.broadcast_to(weights, x.shape))


def test_only_the_gradient_of_the_images_is_computed():
    encoder = Encoder("resnet10", width=0.0625, image_shape=(16, 16, 3))
    attack = PGD(8 / 255, 2 / 255, 2)

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


@hypothesis.given(epsilon=st.floats(0, 5), scale=st.sampled_from([1e-3, 0.1, 10.0]), seed=numbers)
def test_l1_projection_matches_the_oracle(epsilon, scale, seed):
    delta = scale * np.random.default_rng(seed).normal(size=(3, 3, 3, 2)).astype("float32")
    delta[0, 0] = 0.5 * scale  # equal sizes
    delta[1, 0] = 0.0
    expected = [l1.project(one, epsilon) for one in delta]
    np.testing.assert_allclose(project_l1(tf.constant(delta), epsilon), expected, rtol=1e-6, atol=1e-6)


def test_l1_projection_by_hand():
    delta = tf.reshape([3.0, -1.0, 0.5, 0.0], [1, 2, 2, 1])
    np.testing.assert_allclose(np.ravel(project_l1(delta, 2.0)), [2, 0, 0, 0])
    np.testing.assert_allclose(np.ravel(project_l1(delta, 3.0)), [2.5, -0.5, 0, 0])
    np.testing.assert_array_equal(project_l1(delta, 4.5), delta)


@hypothesis.given(epsilon=st.floats(0, 3), seed=numbers)
def test_l2_projection_is_the_nearest_point(epsilon, seed):
    center = np.full((2, 3, 3, 1), 0.5, np.float32)
    delta = np.random.default_rng(seed).uniform(-0.5, 0.5, center.shape).astype("float32")
    found = PGD(epsilon, 0.1, 1, norm="l2").project(tf.constant(center + delta), tf.constant(center))
    lengths = np.linalg.norm(delta.reshape(2, -1), axis=1).reshape(2, 1, 1, 1)
    np.testing.assert_allclose(found, center + delta * np.minimum(1, epsilon / lengths), atol=1e-6)


# The distribution of one of three coordinates of a point that is uniform in the unit ball.
@pytest.mark.parametrize(
    "attack, distribution",
    [
        (PGD(0.5, 0.1, 1, norm="l2"), scipy.stats.beta(2, 2, loc=-1, scale=2).cdf),
        (PGD(0.5, 0.1, 1, norm="l1"), lambda x: (1 + np.sign(x) * scipy.stats.beta(1, 3).cdf(np.abs(x))) / 2),
    ],
)
def test_start_is_uniform(attack, distribution):
    points = attack.start((4000, 1, 1, 3), tf.constant(SEED)).numpy().reshape(-1, 3) / 0.5
    for axis in range(3):
        assert scipy.stats.kstest(points[:, axis], distribution).pvalue > 1e-3
    signs = np.sign(points)
    assert np.abs(signs.T @ signs / 4000 - np.eye(3)).max() < 0.06
    assert np.abs(signs.mean(axis=0)).max() < 0.06


@pytest.mark.parametrize("unit", [1.0, 1e-30, 1e30])
def test_an_l2_step_has_its_length_however_long_the_gradient_is(unit):
    x = images()
    moved = PGD(0.3, 0.2, 1, norm="l2").step(x, unit * tf.constant(slope())[tf.newaxis])
    np.testing.assert_allclose(distances(moved, x, 2), 0.2, rtol=1e-5)


@pytest.mark.parametrize("sparsity, moved", [(1e-6, 1), (0.05, 2), (0.25, 12), (1.0, 48)])
def test_an_l1_step_moves_the_pixels_with_the_largest_gradients_alike(sparsity, moved):
    x, weights = greys(), slope()
    delta = (PGD(1.0, 0.12, 1, sparsity=sparsity, norm="l1").step(x, tf.constant(weights[np.newaxis])) - x).numpy()
    largest = np.abs(weights) >= np.sort(np.abs(weights), axis=None)[-moved]
    np.testing.assert_allclose(delta, np.broadcast_to(largest * np.sign(weights) * 0.12 / moved, x.shape), atol=1e-6)


def test_an_l1_step_passes_over_pixels_that_cannot_move():
    """White ones that would become lighter, and black ones that would become darker."""
    x = tf.reshape([1.0, 0.0, 1.0, 0.0], [1, 2, 2, 1])
    gradient = tf.reshape([4.0, -3.0, -2.0, 1.0], [1, 2, 2, 1])
    attack = PGD(1.0, 0.5, 1, sparsity=0.25, norm="l1")
    np.testing.assert_allclose(np.ravel(attack.step(x, gradient)), [1, 0, 0.5, 0])
    np.testing.assert_allclose(np.ravel(attack.step(x, tf.abs(gradient))), [1, 0.5, 1, 0])
    stuck = tf.constant([1.0, -1.0, 1.0, -1.0], shape=(1, 2, 2, 1))
    np.testing.assert_array_equal(attack.step(x, stuck), x)


@hypothesis.given(momentum=st.sampled_from([0.5, 1.0]), seed=numbers)
def test_momentum_matches_the_oracle(momentum, seed):
    """On a loss whose gradients change in length and in sign; in float64, where no sign is left to rounding."""
    x = images(batch=2, seed=seed, dtype=tf.float64)
    rate = 12.0
    found = PGD(0.3, 0.05, 6, momentum=momentum)(
        x, lambda y: tf.reduce_sum(tf.sin(rate * y) * y, axis=(1, 2, 3)), tf.zeros_like(x)
    )
    expected = linf.momentum_attack(
        x.numpy(), lambda y: rate * np.cos(rate * y) * y + np.sin(rate * y), 0.3, 0.05, 6, momentum
    )
    np.testing.assert_allclose(found.images, expected, atol=1e-9)


def test_momentum_adds_up_gradients_of_the_same_length():
    """Of each image by itself; an image without gradient adds nothing."""
    attack = PGD(0.1, 0.1, 1, momentum=0.5)
    gradient = tf.constant([[1.0, -3.0], [100.0, 300.0], [0.0, 0.0]])[:, :, tf.newaxis, tf.newaxis]
    total = attack.accumulate(tf.ones_like(gradient), gradient)
    np.testing.assert_allclose(np.squeeze(total), [[1.0, -1.0], [1.0, 2.0], [0.5, 0.5]])
    np.testing.assert_array_equal(PGD(0.1, 0.1, 1).accumulate(tf.ones_like(gradient), gradient), gradient)


# The names that stand for one form of it


def test_fgsm_adds_the_sign_of_the_gradient():
    x, weights = images(), slope()
    result = run(FGSM(0.1), x, linear(weights))
    np.testing.assert_allclose(result.images, np.clip(x + 0.1 * np.sign(weights), 0, 1), atol=1e-6)


def test_fgsm_starts_from_the_image_itself():
    start = FGSM(0.1).start((2, 4, 4, 3), tf.constant((3, 14)), tf.float64)
    assert start.shape == (2, 4, 4, 3) and start.dtype == tf.float64
    assert not np.any(start)


def test_fgsm_takes_one_gradient():
    x = images()
    cross_entropy = loss("cross_entropy", x)
    np.testing.assert_allclose(run(FGSM(0.1), x, cross_entropy).losses, [np.mean(cross_entropy(x))], rtol=1e-6)


def test_pgd20_is_what_its_name_says():
    attack = PGD20(**PGD20.Settings().model_dump())
    assert (attack.epsilon, attack.step_size, attack.steps, attack.norm) == (8 / 255, 2 / 255, 20, "linf")
    assert (attack.start_kind, attack.momentum) == ("uniform", 0)
    with pytest.raises(ValueError, match="Input should be 20"):
        PGD20.Settings(steps=10)


# Where it starts


def test_a_normal_start_is_close_to_the_image():
    start = PGD(0.1, start="normal").start((50, 8, 8, 3), tf.constant(SEED)).numpy()
    assert scipy.stats.kstest(start.ravel() / 0.001, "norm").pvalue > 1e-3


@pytest.mark.parametrize("clip_start, first", [(False, -0.25), (True, 0.0)])
def test_a_start_may_be_clipped_before_the_first_step(clip_start, first):
    """What the first gradient is taken at: of black images, below black or at it."""
    x, points = tf.zeros([1, 2, 2, 3]), []
    attack = PGD(0.5, 0.1, 2, start="zero", clip_start=clip_start)
    attack(x, lambda y: points.append(y) or tf.reduce_sum(y, axis=(1, 2, 3)), x - 0.25)
    np.testing.assert_allclose(points[0], x + first)
    np.testing.assert_allclose(points[1], np.maximum(x + first + 0.1, 0), atol=1e-7)


def test_the_default_step_is_a_quarter_of_the_radius():
    assert PGD(0.5).step_size == 0.125 and PGD(0.5, 0).step_size == 0
