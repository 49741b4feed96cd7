import collections

import numpy as np
import pytest
import tensorflow as tf

from acl_tf.data.crop_flip import CropFlip
from tests.reference import crop_flip as reference

SEED = (3, 14)


def noise(batch: int, height: int = 6, width: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (batch, height, width, 3), np.uint8)


def which(image: np.ndarray, output: np.ndarray, padding: int, flip: bool) -> tuple[int, int, bool]:
    """The one window of the padded image that the output is."""
    pixels = np.round(output * 255).astype(np.uint8)
    np.testing.assert_allclose(output, pixels / np.float32(255), atol=1e-7)
    found = [key for key, window in reference.windows(image, padding, flip).items() if np.array_equal(window, pixels)]
    assert len(found) == 1, found
    return found[0]


def drawn(augmentation: CropFlip, count: int) -> list[tuple[int, int, bool]]:
    images = np.repeat(noise(1), count, axis=0)
    outputs = augmentation(tf.constant(images), tf.constant(SEED)).numpy()
    assert outputs.dtype == np.float32 and outputs.shape == images.shape
    assert outputs.min() >= 0 and outputs.max() <= 1
    return [which(images[0], output, augmentation.padding, augmentation.flip) for output in outputs]


def assert_uniform(values, count: int) -> None:
    """Each of `count` values occurs, with a chi-squared that one draw in a million exceeds."""
    occurred = collections.Counter(values)
    assert len(occurred) == count
    expected = len(values) / count
    statistic = sum((number - expected) ** 2 / expected for number in occurred.values())
    assert statistic < count - 1 + 8 * np.sqrt(2 * count)


@pytest.mark.parametrize("padding", [1, 4])
def test_every_window_and_both_mirror_images_are_as_likely(padding):
    found = drawn(CropFlip(padding), 2000)
    places = 2 * padding + 1
    assert_uniform([(top, left) for top, left, _ in found], places**2)
    assert_uniform([mirrored for *_, mirrored in found], 2)
    if padding == 1:
        assert_uniform(found, 2 * places**2)  # offsets and mirroring are independent of each other


def test_without_padding_only_the_mirror_image_differs():
    found = drawn(CropFlip(0), 400)
    assert {place[:2] for place in found} == {(0, 0)}
    assert_uniform([mirrored for *_, mirrored in found], 2)


def test_without_mirror_images():
    assert_uniform(drawn(CropFlip(1, flip=False), 600), 9)


def test_without_either_images_are_only_scaled():
    images = noise(3)
    outputs = CropFlip(0, flip=False)(tf.constant(images), tf.constant(SEED))
    np.testing.assert_array_equal(outputs, images.astype(np.float32) / np.float32(255))


def test_every_image_has_its_own_window():
    images = noise(64, 8, 8)
    outputs = CropFlip(4)(tf.constant(images), tf.constant(SEED)).numpy()
    assert len({which(image, output, 4, True) for image, output in zip(images, outputs)}) > 30


def test_the_seed_determines_it():
    images, augmentation = tf.constant(noise(32)), CropFlip()
    first = augmentation(images, tf.constant(SEED))
    np.testing.assert_array_equal(augmentation(images, tf.constant(SEED)), first)
    assert not np.array_equal(augmentation(images, tf.constant((3, 15))), first)


def test_its_shape_is_static_and_the_batch_may_be_unknown():
    images = tf.constant(noise(7))
    spec = [tf.TensorSpec((None, 6, 5, 3), tf.uint8), tf.TensorSpec(2, tf.int32)]
    traced = tf.function(CropFlip(2), input_signature=spec)
    assert traced.get_concrete_function().structured_outputs.shape.as_list() == [None, 6, 5, 3]
    np.testing.assert_allclose(traced(images, SEED), CropFlip(2)(images, tf.constant(SEED)), atol=1e-7)


def test_padding_must_not_be_negative():
    with pytest.raises(ValueError) as error:
        CropFlip(-1)
    assert str(error.value) == "`padding` must not be negative. Received: padding=-1"


@pytest.mark.slow
def test_two_replicas_draw_what_one_draws(run_python):
    run_python(f"from {__name__} import compare_replicas; compare_replicas()")


def compare_replicas() -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    images, augmentation = tf.constant(noise(8)), CropFlip(2)
    halves = tf.split(images, 2)
    shards = strategy.experimental_distribute_values_from_function(lambda c: halves[c.replica_id_in_sync_group])
    parts = tf.function(lambda shards: strategy.run(augmentation, (shards, tf.constant(SEED))))(shards)
    together = np.concatenate(strategy.experimental_local_results(parts))
    np.testing.assert_allclose(together, augmentation(images, tf.constant(SEED)), atol=1e-7)
