import keras
import numpy as np
import pytest
import tensorflow as tf

from acl_tf.losses.nt_xent import nt_xent
from acl_tf.pretrain.micro_batches import in_micro_batches
from tests.pretrain.test_objectives import BATCH, SEED, VARIANTS, build, changed, train, weights


@pytest.fixture(autouse=True)
def in_float64() -> None:
    keras.config.set_dtype_policy("float64")


def float64_views(batch: int = BATCH):
    return tuple(tf.constant(view) for view in np.random.default_rng(1).random((2, batch, 16, 16, 3)))


def test_a_network_in_parts_is_the_network():
    images = tf.constant(np.random.default_rng(0).random((8, 4, 4, 3)))
    kernel = tf.constant(np.random.default_rng(1).normal(size=(48, 5)))
    seen: list[tf.TensorShape] = []

    def network(images: tf.Tensor) -> tf.Tensor:
        seen.append(images.shape)
        return tf.tanh(tf.reshape(images, [-1, 48]) @ kernel)

    results = {}
    for count in (1, 2, 4):
        with tf.GradientTape() as tape:
            tape.watch(images)
            projections = in_micro_batches(network, count)(images)
            loss = tf.reduce_sum(nt_xent(*tf.split(projections, 2)))
        results[count] = projections, tape.gradient(loss, images)
    for count in (2, 4):
        for actual, expected in zip(results[count], results[1], strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-14)
    assert {shape[0] for shape in seen} == {8, 4, 2}


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_are_those_of_one_graph_that_holds_all_parts(variant, monkeypatch):
    """Each part is normalised by itself, and NT-Xent contrasts all of them."""
    clean = float64_views()
    attacked = tuple(tf.clip_by_value(view + 0.05 * tf.sign(view - 0.5), 0.0, 1.0) for view in clean)
    accumulated, plain = build(variant, micro_batches=2), build(variant)
    applied: dict[str, list] = {}
    for name, objective in (("accumulated", accumulated), ("plain", plain)):
        monkeypatch.setattr(
            objective.optimizer, "apply", lambda g, v, name=name: applied.setdefault(name, [*zip(v, g, strict=True)])
        )
    accumulated.train_on_views(clean, attacked)

    with tf.GradientTape() as tape:
        halves = [
            [
                plain.project(given)
                for given in plain.passes(*([view[half] for view in pair] for pair in (clean, attacked)))
            ]
            for half in (slice(0, BATCH // 2), slice(BATCH // 2, BATCH))
        ]
        joined = tf.nest.map_structure(lambda *parts: tf.concat(parts, 0), *halves)
        loss, _ = plain._loss(joined)
    gradients = tape.gradient(loss, plain.trainable_variables)
    expected = {v.path: g for v, g in zip(plain.trainable_variables, gradients, strict=True) if g is not None}
    actual = {v.path: g for v, g in applied["accumulated"]}
    assert actual.keys() == expected.keys()
    for path, gradient in expected.items():
        np.testing.assert_allclose(actual[path], gradient, rtol=1e-9, atol=1e-12, err_msg=path)
    measured = accumulated.get_metrics_result()
    np.testing.assert_allclose(measured["loss"], loss, rtol=1e-6)
    # The statistics have moved once for each part, as those of the plain graph did.
    after = weights(plain)
    for path, value in weights(accumulated).items():
        np.testing.assert_allclose(value, after[path], rtol=1e-10, atol=1e-12, err_msg=path)


@pytest.mark.parametrize("variant", ["a2a", "a2s", "ds"])
def test_the_attack_is_that_of_the_whole_batch(variant):
    clean = float64_views()
    plain, accumulated = (build(variant, micro_batches=count).perturb(clean, tf.constant(SEED)) for count in (1, 4))
    for actual, expected in zip(accumulated, plain, strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-12)


def test_a_step_in_a_graph():
    objective = build("ds", micro_batches=4)
    before = weights(objective)
    logs = tf.function(objective.train_step, autograph=False)(tf.constant(np.zeros((BATCH, 16, 16, 3), np.uint8)))
    assert all(np.isfinite(value) for value in logs.values())
    assert len(changed(before, weights(objective))) > 10
    assert logs["feature_std"] > 0 or train(objective)["feature_std"] > 0
