"""What holds for every attack."""

import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from acl_tf.attacks import ATTACKS as REGISTERED
from acl_tf.attacks import BALLS
from acl_tf.attacks.base import GradientAttack
from acl_tf.attacks.pgd import PGD
from acl_tf.losses.cross_entropy import cross_entropy
from acl_tf.randomness import fold_in, rows_of_global_batch
from tests.attacks.scenes import ATTACKS, LOSSES, SEED, distances, greys, images, linear, loss, run, slope

numbers = st.integers(0, 2**31 - 1)
every_attack = pytest.mark.parametrize("name", ATTACKS)


def make(name: str, epsilon: float = 0.3, step_size: float = 0.1, steps: int = 3) -> GradientAttack:
    return ATTACKS[name][0](epsilon, step_size, steps)


@pytest.mark.parametrize("name", REGISTERED)
def test_settings_are_the_arguments_of_the_constructor(name):
    cls = REGISTERED[name]
    settings, plain = cls.Settings(epsilon=0.5).model_dump(), cls()
    built = cls(**settings)
    assert built.epsilon == 0.5 and plain.epsilon == cls.Settings().epsilon
    for own in ("steps", "norm", "momentum", "start_kind"):
        assert getattr(built, own, None) == getattr(plain, own, None)


@hypothesis.settings(max_examples=60)
@hypothesis.given(
    name=st.sampled_from(list(ATTACKS)),
    of=st.sampled_from(LOSSES),
    epsilon=st.sampled_from([0.0, 1e-4, 0.03, 0.5, 2.0, 20.0]) | st.floats(0, 3),
    step_size=st.floats(0, 4),
    steps=st.integers(0, 3),
    size=st.integers(1, 6),
    dtype=st.sampled_from([tf.float32, tf.float64]),
    seed=numbers,
)
def test_stays_in_the_ball_and_in_range(name, of, epsilon, step_size, steps, size, dtype, seed):
    x = images(size=size, seed=seed, dtype=dtype)
    result = run(make(name, epsilon, step_size, steps), x, loss(of, x, seed), (seed, 0))
    assert result.images.shape == x.shape and result.images.dtype == dtype
    assert distances(result.images, x, ATTACKS[name][1]).max() <= epsilon + 1e-6 * max(1, epsilon)
    assert np.min(result.images) >= 0 and np.max(result.images) <= 1
    assert np.all(np.isfinite(result.losses)) and result.losses.dtype == dtype


@pytest.mark.parametrize("norm", BALLS)
def test_stays_in_the_ball_where_thousands_of_pixels_are_summed(norm):
    x = images(batch=2, size=64)
    for epsilon in (0.1, 12.0):
        attack = PGD(epsilon, epsilon, 2, norm)
        # In the second, all black and all white pixels move by the same, and all would be rounded in one direction.
        for far in (attack.start(x.shape, tf.constant(SEED)), 1 - 2 * x):
            found = attack.project(x + far, x)
            assert distances(found, x, ATTACKS[norm][1]).max() <= epsilon + 1e-6 * max(1, epsilon)


@hypothesis.given(name=st.sampled_from(list(ATTACKS)), epsilon=st.floats(1e-3, 20), seed=numbers)
def test_starts_inside_the_ball(name, epsilon, seed):
    start = make(name, epsilon).start((8, 4, 4, 3), tf.constant((seed, 0)))
    assert start.shape == (8, 4, 4, 3)
    assert distances(start, np.zeros(start.shape), ATTACKS[name][1]).max() <= epsilon + 1e-6 * max(1, epsilon)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@every_attack
def test_start_has_the_dtype_of_the_images(name, dtype):
    assert make(name).start((2, 4, 4, 3), tf.constant(SEED), dtype).dtype == dtype


@every_attack
def test_result_depends_on_the_seed_alone(name):
    x = images()
    results = [run(make(name), x, loss("cross_entropy", x), seed).images for seed in (SEED, SEED, (3, 15))]
    np.testing.assert_array_equal(results[0], results[1])
    assert np.allclose(results[0], results[2]) == (name == "fgsm")


@hypothesis.given(name=st.sampled_from(list(ATTACKS)), step_size=st.floats(0, 1), steps=st.integers(0, 4), seed=numbers)
def test_never_lowers_a_linear_loss(name, step_size, steps, seed):
    x, climbed = images(seed=seed), linear(slope(seed))
    found = make(name, 0.5, step_size, steps)(x, climbed, tf.zeros_like(x)).images
    assert np.all(climbed(found) - climbed(x) >= -1e-5)


@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in ("l1", "l1 dense", "l1 momentum")])
def test_finds_the_maximum_of_a_linear_loss(name):
    """epsilon · ‖w‖₁ in the l∞ ball, epsilon · ‖w‖₂ in the l2 ball."""
    x, weights = greys(), slope()
    dual = {np.inf: 1, 2: 2}[ATTACKS[name][1]]
    gain = linear(weights)(run(make(name, steps=20), x, linear(weights)).images) - linear(weights)(x)
    np.testing.assert_allclose(gain, 0.3 * np.linalg.norm(weights.ravel(), dual), rtol=1e-3)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_finds_the_maximum_of_a_linear_loss_in_the_l1_ball(momentum):
    """epsilon · max |w|, by steps of a single pixel; a start outside of it is forgotten."""
    x, weights = greys(), slope()
    attack = PGD(0.3, 0.1, 30, "l1", momentum, sparsity=0.01)
    gain = linear(weights)(run(attack, x, linear(weights)).images) - linear(weights)(x)
    np.testing.assert_allclose(gain, 0.3 * np.abs(weights).max(), rtol=1e-3)


@every_attack
def test_raises_the_losses(name):
    for of in LOSSES:
        x = images(seed=1)
        climbed = loss(of, x)
        assert np.mean(climbed(run(make(name, 0.03, 0.01, 5), x, climbed).images)) > np.mean(climbed(x)), of


@every_attack
def test_without_a_gradient_it_stays_at_the_start(name):
    x, attack = images(), make(name)
    start = attack.start(x.shape, tf.constant(SEED))
    found = attack(x, lambda y: tf.reduce_sum(0.0 * y, axis=(1, 2, 3)), start).images
    np.testing.assert_allclose(found, attack.project(x + start, x), atol=1e-6)


@every_attack
def test_the_unit_of_the_loss_does_not_matter(name):
    """A gradient may be tiny, as that of a confident model is, and still shows the way."""
    x = images()
    expected = run(make(name), x, linear(slope())).images
    for unit in (2.0**-60, 2.0**60):
        np.testing.assert_allclose(run(make(name), x, linear(unit * slope())).images, expected, atol=1e-6)


@every_attack
def test_an_image_is_attacked_alike_in_every_batch(name):
    x, attack = images(), make(name)
    start = attack.start(x.shape, tf.constant(SEED))
    weights = slope(size=4)
    together = attack(x, linear(weights), start).images
    alone = [attack(x[i : i + 1], linear(weights), start[i : i + 1]).images[0] for i in range(len(x))]
    np.testing.assert_allclose(together, alone, atol=1e-6)


@every_attack
def test_a_function_gives_the_same(name):
    """Also where neither batch nor size of the images is known, and when it is compiled."""
    x, attack = images(), make(name)
    climbed = linear(slope())

    def attacked(y: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
        return attack(y, climbed, start).images

    start = attack.start(x.shape, tf.constant(SEED))
    expected = attacked(x, start)
    unknown = [tf.TensorSpec([None, None, None, 3])] * 2
    for function in (tf.function(attacked, input_signature=unknown), tf.function(attacked, jit_compile=True)):
        np.testing.assert_allclose(function(x, start), expected, atol=1e-6)
    drawn = tf.function(lambda y: attack.start(tf.shape(y), tf.constant(SEED), y.dtype), input_signature=unknown[:1])
    np.testing.assert_allclose(drawn(x), start, atol=1e-7)


@every_attack
def test_starts_can_be_drawn_for_each_image(name):
    attack = make(name)
    starts = tf.function(
        lambda: tf.map_fn(
            lambda index: attack.start((1, 4, 4, 3), fold_in(tf.constant(SEED), index))[0],
            tf.range(3),
            fn_output_signature=tf.float32,
        )
    )()
    assert starts.shape == (3, 4, 4, 3)
    for index in range(3):
        expected = attack.start((1, 4, 4, 3), fold_in(tf.constant(SEED), index))[0]
        np.testing.assert_allclose(starts[index], expected, atol=1e-7)
    assert name == "fgsm" or not np.allclose(starts[0], starts[1])


@pytest.mark.parametrize("steps", [3, 8])
@every_attack
def test_a_model_in_mixed_precision(name, steps):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(4)])
    x, labels = images(), tf.constant([0, 1, 2, 3])
    found, losses = run(make(name, steps=steps), x, lambda y: cross_entropy(model(y), labels))
    assert found.dtype == losses.dtype == tf.float32
    assert 0 < distances(found, x, ATTACKS[name][1]).max() <= 0.3 + 1e-6


@pytest.mark.slow
def test_two_replicas_attack_like_one(run_python):
    run_python(f"from {__name__} import compare_replicas; compare_replicas()")


def compare_replicas() -> None:
    """Each draws its rows of the start of the whole batch."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    x = images()
    for name in ATTACKS:
        attack = make(name)

        def attacked(y: tf.Tensor, attack: GradientAttack = attack) -> tf.Tensor:
            start = rows_of_global_batch(y.shape, lambda shape: attack.start(shape, tf.constant(SEED)))
            return attack(y, linear(slope()), start).images

        replicated = tf.function(lambda halves, attacked=attacked: strategy.run(attacked, (halves,)))
        parts = tf.split(x, 2)
        halves = strategy.experimental_distribute_values_from_function(lambda c, p=parts: p[c.replica_id_in_sync_group])
        joint = tf.concat(strategy.experimental_local_results(replicated(halves)), axis=0)
        np.testing.assert_allclose(joint, attacked(x), atol=1e-6, err_msg=name)
