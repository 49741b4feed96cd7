import numpy as np
import tensorflow as tf

from acl_tf.finetune.standard import Standard
from tests.finetune.tiny import IMAGES, LABELS, SEED, build, inputs, logits_of_both, weights
from tests.reference import classification as reference


def test_the_loss_is_that_of_the_clean_images():
    tuner = build(Standard)
    images, attacked = inputs()
    clean, _ = logits_of_both(tuner, images, attacked)
    values = tuner.losses(images, attacked, tf.constant(LABELS))
    assert values.keys() == {"loss"}
    np.testing.assert_allclose(
        values["loss"], [reference.cross_entropy(z, y) for z, y in zip(clean, LABELS)], rtol=1e-4
    )


def test_nothing_is_attacked():
    images, _ = inputs()
    assert build(Standard).perturb(images, tf.constant(LABELS), tf.constant(SEED)) is images


def test_a_step_measures_the_batch_that_it_augments():
    tuner = build(Standard)
    seen = []
    original = tuner.augmentation
    tuner.augmentation = lambda images, seed: seen.append((images, tuple(seed.numpy()))) or original(images, seed)
    logs = [tuner.train_step((tf.constant(IMAGES), tf.constant(LABELS))) for _ in range(2)]
    assert logs[-1].keys() == {"loss", "gradient_norm"}
    assert len({seed for _, seed in seen}) == 2  # each step has its own
    np.testing.assert_array_equal(seen[0][0], IMAGES)
    assert int(tuner.step) == int(tuner.optimizer.iterations) == 2


def test_training_is_determined_by_the_seed():
    def trained(seed: int) -> np.ndarray:
        tuner = build(Standard, seed=seed)
        tuner.train_step((tf.constant(IMAGES), tf.constant(LABELS)))
        return weights(tuner)["encoder/conv1/kernel"]

    np.testing.assert_array_equal(trained(1), trained(1))
    assert not np.array_equal(trained(1), trained(2))
