import numpy as np
import pytest
import tensorflow as tf

from acl_tf.attacks.pgd import PGD
from acl_tf.finetune.uat import UATPlusPlus
from acl_tf.losses.cross_entropy import cross_entropy
from tests.finetune.test_distillation import LABELLED, SOFT_LOGITS, targets
from tests.finetune.tiny import EPSILON, LABELS, SEED, STEP_SIZE, build, changed, inputs, logits_of_both, weights
from tests.reference import classification as reference

KNOWN = np.array([*LABELS[:LABELLED], *SOFT_LOGITS.argmax(axis=1)[LABELLED:]])


@pytest.mark.parametrize("online_weight", [0.0, 1.0, 5.0])
def test_the_loss(online_weight):
    tuner = build(UATPlusPlus, online_weight=online_weight)
    images, attacked = inputs()
    clean, adversarial = logits_of_both(tuner, images, attacked)
    values = tuner.losses(images, attacked, targets())
    fixed = [reference.cross_entropy(z, y) for z, y in zip(adversarial, KNOWN)]
    online = reference.kl_divergence(clean, adversarial)
    assert values.keys() == {"loss", *UATPlusPlus.parts}
    np.testing.assert_allclose(values["fixed_target"], fixed, rtol=1e-4)
    np.testing.assert_allclose(values["online_target"], online, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(values["loss"], fixed + online_weight * online, rtol=1e-4)


def test_gradients_pass_the_attacked_side_only():
    tuner = build(UATPlusPlus, online_weight=2.0)
    logits = tf.Variable(np.random.default_rng(0).normal(size=(2, 6, 3)), dtype=tf.float32)
    forwards = iter([0, 1])
    tuner.call = lambda inputs, training=None: logits[next(forwards)]
    images, attacked = inputs()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tuner.losses(images, attacked, targets())["loss"])
    clean, adversarial = tape.gradient(loss, logits).numpy()
    p, q = (np.exp(reference.log_softmax(z)) for z in logits.numpy().astype(np.float64))
    np.testing.assert_array_equal(clean, 0)
    np.testing.assert_allclose(adversarial, q - np.eye(3)[KNOWN] + 2.0 * (q - p), atol=1e-5)


def test_the_attack_climbs_the_first_term_in_inference_mode():
    tuner = build(UATPlusPlus, steps=3)
    images, _ = inputs()
    before = weights(tuner)
    found = tuner.perturb(images, tuple(targets()), tf.constant(SEED))
    assert not changed(before, weights(tuner))
    attack = PGD(EPSILON, STEP_SIZE, 3)
    start = attack.start(images.shape, tf.constant(SEED))
    expected = attack(images, lambda x: cross_entropy(tuner(x, training=False), KNOWN), start)
    np.testing.assert_allclose(found, expected.images, atol=1e-6)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"online_weight": -5}, "`online_weight` must be greater than or equal to 0. Received: online_weight=-5"),
        ({"beta": 6.0}, "`beta` is no setting here; there are: online_weight. Received: beta=6.0"),
    ],
)
def test_invalid_arguments(arguments, message):
    with pytest.raises(ValueError) as error:
        build(UATPlusPlus, **arguments)
    assert str(error.value) == message
