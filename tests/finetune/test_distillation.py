import numpy as np
import pytest
import tensorflow as tf

from acl_tf.attacks.pgd import PGD
from acl_tf.finetune.distillation import Distillation
from acl_tf.finetune.pseudo_labelled import UNLABELLED, SemiSupervisedTargets, labels_or_pseudo_labels
from acl_tf.losses.cross_entropy import cross_entropy
from tests.finetune.tiny import (
    BATCH,
    CLASSES,
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

LABELLED = 2
SOFT_LOGITS = 2 * np.random.default_rng(5).normal(size=(BATCH, CLASSES)).astype("float32")


def targets(labels=LABELS, labelled: int = LABELLED) -> SemiSupervisedTargets:
    known = np.where(np.arange(BATCH) < labelled, labels, UNLABELLED)
    return SemiSupervisedTargets(tf.constant(known), tf.constant(SOFT_LOGITS))


class TestPublishedNumbers:
    """Against `parity/acl.npz`, which the authors' code computed."""

    @staticmethod
    def published_targets(parity) -> SemiSupervisedTargets:
        labels = np.where(np.arange(8) < 4, parity["labels"], UNLABELLED)
        return SemiSupervisedTargets(tf.constant(labels), tf.constant(parity["semi/soft_logits"]))

    @pytest.mark.parametrize("alpha, temperature", [(0.5, 1.0), (0.3, 2.0)])
    def test_loss(self, parity, alpha, temperature):
        tuner = published(parity, Distillation, alpha=alpha, temperature=temperature)
        images, attacked = tf.constant(parity["images"]), tf.constant(parity["semi/x_adv"])
        values = tuner.losses(images, attacked, self.published_targets(parity))
        expected = parity[f"semi/alpha{alpha}_T{temperature}/loss"]
        np.testing.assert_allclose(np.mean(values["loss"]), expected, rtol=1e-4)

    def test_attack(self, parity, monkeypatch):
        attack = PGD(EPSILON, STEP_SIZE, 10)
        tuner = published(parity, Distillation, attack=attack)
        monkeypatch.setattr(attack, "start", lambda *_: tf.constant(parity["semi/delta0"]))
        found = tuner.perturb(tf.constant(parity["images"]), self.published_targets(parity), tf.constant(SEED))
        difference = np.abs(found - parity["semi/x_adv"])
        assert np.mean(difference < 1e-6) >= 0.995
        assert difference.max() <= 2 * STEP_SIZE + 1e-6


@pytest.mark.parametrize(
    "alpha, temperature, beta", [(0.5, 1.0, 6.0), (0.3, 2.0, 1.0), (0.0, 1.0, 0.0), (1.0, 3.0, 2.0)]
)
def test_the_loss(alpha, temperature, beta):
    tuner = build(Distillation, alpha=alpha, temperature=temperature, beta=beta)
    images, attacked = inputs()
    clean, adversarial = logits_of_both(tuner, images, attacked)
    values = tuner.losses(images, attacked, targets())
    entropy = np.array([reference.cross_entropy(z, y) for z, y in zip(adversarial, LABELS)])
    distilled = reference.distillation(adversarial, SOFT_LOGITS.astype(np.float64), temperature)
    expected = beta * reference.kl_divergence(clean, adversarial)
    expected[:LABELLED] += ((1 - alpha) * entropy + alpha * distilled)[:LABELLED]
    expected[LABELLED:] += distilled[LABELLED:]
    assert values.keys() == {"loss", *Distillation.parts}
    np.testing.assert_allclose(values["loss"], expected, rtol=1e-4)
    np.testing.assert_allclose(values["cross_entropy"], np.where(np.arange(BATCH) < LABELLED, entropy, 0), rtol=1e-4)


def test_the_defaults_are_the_paper_s():
    tuner = build(Distillation)
    settings = tuner.settings
    assert (settings.alpha, settings.temperature, settings.beta) == (0.5, 1.0, 6.0)


def test_labels_and_pseudo_labels():
    expected = [*LABELS[:LABELLED], *SOFT_LOGITS.argmax(axis=1)[LABELLED:]]
    found = labels_or_pseudo_labels(targets())
    assert found.numpy().tolist() == expected and found.dtype == tf.int64
    assert np.any(SOFT_LOGITS.argmax(axis=1)[:LABELLED] != LABELS[:LABELLED])  # so that it matters


def test_the_attack_climbs_the_cross_entropy_of_the_label_or_the_pseudo_label():
    tuner = build(Distillation, steps=3)
    images, _ = inputs()
    before = weights(tuner)
    found = tuner.perturb(images, tuple(targets()), tf.constant(SEED))
    assert not changed(before, weights(tuner))
    labels = [*LABELS[:LABELLED], *SOFT_LOGITS.argmax(axis=1)[LABELLED:]]
    attack = PGD(EPSILON, STEP_SIZE, 3)
    start = attack.start(images.shape, tf.constant(SEED))
    expected = attack(images, lambda x: cross_entropy(tuner(x, training=False), labels), start)
    np.testing.assert_allclose(found, expected.images, atol=1e-6)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"alpha": 1.5}, "`alpha` must be less than or equal to 1. Received: alpha=1.5"),
        ({"alpha": -0.1}, "`alpha` must be greater than or equal to 0. Received: alpha=-0.1"),
        ({"beta": -1}, "`beta` must be greater than or equal to 0. Received: beta=-1"),
        ({"temperature": 0}, "`temperature` must be greater than 0. Received: temperature=0"),
        (
            {"online_weight": 1.0},
            "`online_weight` is no setting here; there are: alpha, temperature, beta. Received: online_weight=1.0",
        ),
    ],
)
def test_invalid_arguments(arguments, message):
    with pytest.raises(ValueError) as error:
        build(Distillation, **arguments)
    assert str(error.value) == message
