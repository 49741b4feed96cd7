import numpy as np
import tensorflow as tf

from acl_tf import randomness
from acl_tf.attacks import ATTACKS
from acl_tf.attacks.pgd import PGD
from acl_tf.finetune.adversarial import AdversarialTraining
from acl_tf.losses.cross_entropy import cross_entropy
from tests.finetune.tiny import (
    EPSILON,
    IMAGES,
    LABELS,
    SEED,
    STEP_SIZE,
    build,
    changed,
    inputs,
    logits_of_both,
    weights,
)
from tests.reference import classification as reference


def test_the_loss_is_that_of_the_attacked_images():
    tuner = build(AdversarialTraining)
    images, attacked = inputs()
    _, adversarial = logits_of_both(tuner, images, attacked)
    values = tuner.losses(images, attacked, tf.constant(LABELS))
    assert values.keys() == {"loss"}
    expected = [reference.cross_entropy(z, y) for z, y in zip(adversarial, LABELS)]
    np.testing.assert_allclose(values["loss"], expected, rtol=1e-4)


def test_the_attack_climbs_cross_entropy_in_inference_mode():
    tuner = build(AdversarialTraining, steps=3)
    images, _ = inputs()
    before = weights(tuner)
    found = tuner.perturb(images, tf.constant(LABELS), tf.constant(SEED))
    assert not changed(before, weights(tuner))
    attack = PGD(EPSILON, STEP_SIZE, 3)
    start = attack.start(images.shape, tf.constant(SEED))
    expected = attack(images, lambda x: cross_entropy(tuner(x, training=False), LABELS), start)
    np.testing.assert_allclose(found, expected.images, atol=1e-6)
    assert expected.losses[-1] > expected.losses[0]
    assert np.abs(start).max() > 0.9 * EPSILON  # a uniform start


def test_no_gradient_passes_the_attack():
    """The step is down the loss at the attacked images, as if they were given."""
    tuner, other = build(AdversarialTraining), build(AdversarialTraining)
    images, attacked = inputs()
    tuner.train_on_images(images, attacked, tf.constant(LABELS))
    tuner.augmentation = other.augmentation = lambda pixels, seed: images
    other.perturb = lambda images, targets, seed: attacked
    other.train_step((images, tf.constant(LABELS)))
    assert not changed(weights(tuner), weights(other))


def test_a_replica_starts_from_its_rows_of_the_global_perturbation(monkeypatch):
    tuner = build(AdversarialTraining, steps=0)
    images, _ = inputs()
    whole = tuner.perturb(images, tf.constant(LABELS), tf.constant(SEED))
    assert np.abs(whole - images).max() > 0.9 * EPSILON
    monkeypatch.setattr(randomness, "place_in_global_batch", lambda local: (4, len(images)))
    rows = tuner.perturb(images[4:6], tf.constant(LABELS[4:6]), tf.constant(SEED))
    np.testing.assert_array_equal(rows, whole[4:6])


def test_a_step_against_an_attack_that_is_no_pgd():
    tuner = build(AdversarialTraining, attack=ATTACKS["frank-wolfe"](epsilon=2.0, steps=2))
    before = weights(tuner)
    logs = tuner.train_step((tf.constant(IMAGES), tf.constant(LABELS)))
    assert np.isfinite(float(logs["loss"]))
    assert {"classifier/fc/kernel", "classifier/fc/bias"} < changed(before, weights(tuner))
