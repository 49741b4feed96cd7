import keras
import numpy as np
import pytest

from acl_tf.attacks.pgd import LinfPGD
from acl_tf.finetune.linear_probe import LinearProbe
from acl_tf.models.encoder import Encoder
from acl_tf.models.paired_model import extract_branch
from acl_tf.training.sgd import SGD


@pytest.fixture
def encoder() -> keras.Model:
    keras.utils.set_random_seed(0)
    return extract_branch(Encoder(width=0.0625, image_shape=(16, 16, 3)), "adversarial")


@pytest.fixture
def two_classes() -> tuple[np.ndarray, np.ndarray]:
    """Dark and bright noise: linearly separable."""
    generator = np.random.default_rng(0)
    labels = np.arange(32) % 2
    images = generator.integers(0, 96, (32, 16, 16, 3)) + 128 * labels[:, None, None, None]
    return images.astype(np.uint8), labels


def train(probe: LinearProbe, data: tuple[np.ndarray, np.ndarray], epochs: int = 1) -> keras.callbacks.History:
    probe.compile(optimizer=SGD(0.1))
    return probe.fit(*data, batch_size=16, epochs=epochs, verbose=0, shuffle=False)


@pytest.mark.parametrize("attack", [None, LinfPGD(0.05, 0.02, 2)])
def test_no_variable_of_the_encoder_changes(encoder, two_classes, attack):
    before = [weight.copy() for weight in encoder.get_weights()]
    probe = LinearProbe(encoder, 2, attack)
    history = train(probe, two_classes)
    for weight, old in zip(encoder.get_weights(), before):
        np.testing.assert_array_equal(weight, old)
    assert np.abs(probe.head.get_weights()[0]).max() > 0
    assert history.history["cross_entropy"][0] > 0


def test_starts_at_zero_logits(encoder, two_classes):
    logits = LinearProbe(encoder, 2)(two_classes[0][:4] / np.float32(255))
    np.testing.assert_array_equal(logits, np.zeros((4, 2)))


def test_learns_what_is_separable(encoder, two_classes):
    probe = LinearProbe(encoder, 2)
    assert train(probe, two_classes, epochs=10).history["accuracy"][-1] == 1.0


def test_the_attack_makes_training_harder(encoder, two_classes):
    clean = train(LinearProbe(encoder, 2), two_classes, epochs=3).history["cross_entropy"][-1]
    attacked = train(LinearProbe(encoder, 2, LinfPGD(0.2, 0.1, 3)), two_classes, epochs=3).history["cross_entropy"][-1]
    assert attacked > clean


def test_the_classifier_is_a_plain_model_with_the_same_logits(encoder, two_classes):
    probe = LinearProbe(encoder, 2)
    train(probe, two_classes)
    images = two_classes[0][:4] / np.float32(255)
    classifier = probe.classifier()
    np.testing.assert_allclose(classifier(images), probe(images), atol=1e-6)
    assert {type(layer).__module__.split(".")[0] for layer in classifier.layers} == {"keras"}
