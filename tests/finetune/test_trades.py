import keras
import numpy as np
import pytest
import tensorflow as tf

from acl_tf.attacks.pgd import PGD
from acl_tf.finetune.trades import TRADES
from acl_tf.losses.kl_divergence import kl_divergence
from tests.finetune.tiny import (
    EPSILON,
    LABELS,
    SEED,
    STEP_SIZE,
    build,
    changed,
    inputs,
    logits_of_both,
    published,
    weights,
)
from tests.reference import classification as reference


class TestPublishedNumbers:
    """Against `parity/acl.npz`, which the authors' code computed."""

    def test_logits(self, parity):
        logits = published(parity, TRADES)(parity["images"])
        np.testing.assert_allclose(logits, parity["finetune/logits_eval"], atol=1e-4)

    def test_loss(self, parity):
        arguments = [tf.constant(parity[name]) for name in ("images", "trades/x_adv", "labels")]
        losses = published(parity, TRADES).losses(*arguments)["loss"]
        np.testing.assert_allclose(np.mean(losses), parity["trades/loss"], rtol=1e-4)

    def test_loss_and_gradients(self, parity):
        """In float64: the gradient jumps where a unit is rectified, and in float32 rounding may carry one over."""
        keras.config.set_dtype_policy("float64")
        tuner = published(parity, TRADES)
        images, attacked = (tf.constant(parity[name], tf.float64) for name in ("images", "trades/x_adv"))
        first = next(v for v in tuner.trainable_variables if v.path.endswith("conv1/kernel") and v.shape[2] == 3)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tuner.losses(images, attacked, tf.constant(parity["labels"]))["loss"])
        dense, convolution = tape.gradient(loss, [tuner.classifier.kernel.value, first.value])
        np.testing.assert_allclose(loss, parity["trades/loss"], rtol=1e-4)
        for gradient, name in (
            (tf.transpose(dense), "fc.weight"),
            (tf.transpose(convolution, (3, 2, 0, 1)), "conv1.weight"),
        ):
            expected = parity[f"trades/grad/{name}"]
            assert np.linalg.norm(gradient - expected) <= 1e-4 * np.linalg.norm(expected), name

    def test_the_attack_is_as_strong(self, parity, monkeypatch):
        """It starts where the divergence is almost flat: its path is chaotic, but not what it reaches."""
        attack = PGD(EPSILON, STEP_SIZE, 10, start="normal")
        tuner = published(parity, TRADES, attack=attack)
        start = tf.constant(0.001 * parity["trades/noise0"])
        monkeypatch.setattr(attack, "start", lambda *_: start)
        images = tf.constant(parity["images"])
        found = tuner.perturb(images, tf.constant(parity["labels"]), tf.constant(SEED))
        assert np.abs(found - images).max() <= EPSILON + 1e-6
        clean = tuner(images)
        reached, expected = (np.mean(kl_divergence(clean, tuner(x))) for x in (found, parity["trades/x_adv"]))
        assert reached >= 0.95 * expected


@pytest.mark.parametrize("beta", [0.0, 1.0, 6.0])
def test_the_loss(beta):
    tuner = build(TRADES, beta=beta)
    images, attacked = inputs()
    clean, adversarial = logits_of_both(tuner, images, attacked)
    values = tuner.losses(images, attacked, tf.constant(LABELS))
    entropy = [reference.cross_entropy(z, y) for z, y in zip(clean, LABELS)]
    divergence = reference.kl_divergence(clean, adversarial)
    assert values.keys() == {"loss", *TRADES.parts}
    np.testing.assert_allclose(values["cross_entropy"], entropy, rtol=1e-4)
    np.testing.assert_allclose(values["kl_divergence"], divergence, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(values["loss"], entropy + beta * divergence, rtol=1e-4)


def test_the_paper_s_beta_is_the_default():
    assert build(TRADES).settings.beta == 6.0


def test_gradients_pass_both_sides_of_the_divergence():
    tuner = build(TRADES)
    logits = tf.Variable(np.random.default_rng(0).normal(size=(2, 6, 3)), dtype=tf.float32)
    forwards = iter([0, 1])
    tuner.call = lambda inputs, training=None: logits[next(forwards)]
    images, attacked = inputs()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tuner.losses(images, attacked, tf.constant(LABELS))["kl_divergence"])
    clean, adversarial = tape.gradient(loss, logits).numpy()
    p, q = (np.exp(reference.log_softmax(z)) for z in logits.numpy().astype(np.float64))
    log_ratio = np.log(p / q)
    np.testing.assert_allclose(adversarial, q - p, atol=1e-5)
    np.testing.assert_allclose(clean, p * (log_ratio - np.sum(p * log_ratio, axis=1, keepdims=True)), atol=1e-5)


def test_the_attack_climbs_the_divergence_in_inference_mode():
    tuner = build(TRADES, steps=3)
    images, _ = inputs()
    before = weights(tuner)
    found = tuner.perturb(images, tf.constant(LABELS), tf.constant(SEED))
    assert not changed(before, weights(tuner))
    clean = tuner(images, training=False)
    attack = PGD(EPSILON, STEP_SIZE, 3)
    start = attack.start(images.shape, tf.constant(SEED))
    expected = attack(images, lambda x: kl_divergence(clean, tuner(x, training=False)), start)
    np.testing.assert_allclose(found, expected.images, atol=1e-6)
    assert expected.losses[-1] > expected.losses[0]


def test_its_attack_starts_close_to_the_image():
    start = PGD(EPSILON, STEP_SIZE, 1, start="normal").start((50, 8, 8, 3), tf.constant(SEED)).numpy()
    assert start.std() == pytest.approx(0.001, rel=0.05) and abs(start.mean()) < 1e-4


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"beta": -1.0}, "`beta` must be greater than or equal to 0. Received: beta=-1.0"),
        ({"sigma": 0.25}, "`sigma` is no setting here; there are: beta. Received: sigma=0.25"),
    ],
)
def test_invalid_arguments(arguments, message):
    with pytest.raises(ValueError) as error:
        build(TRADES, **arguments)
    assert str(error.value) == message
