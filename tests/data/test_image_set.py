import numpy as np

from acl_tf.data.image_set import ImageSet


def image_set(count: int = 4) -> ImageSet:
    images = np.random.default_rng(0).integers(0, 256, (count, 6, 5, 3), np.uint8)
    return ImageSet(images, np.arange(count), ("a", "b", "c", "d"), "name", "train")


def test_size_and_shape():
    assert len(image_set()) == 4
    assert image_set().image_shape == (6, 5, 3)


def test_first():
    whole = image_set()
    part = whole.first(2)
    np.testing.assert_array_equal(part.images, whole.images[:2])
    np.testing.assert_array_equal(part.labels, [0, 1])
    assert (part.classes, part.name, part.split) == (whole.classes, "name", "train")
    assert len(whole.first(None)) == len(whole.first(99)) == 4
    assert ImageSet(whole.images, None, (), "name", "train").first(3).labels is None


def test_fingerprint_tells_sets_apart():
    whole = image_set()
    assert whole.fingerprint() == image_set().fingerprint()
    changed = whole.images.copy()
    changed[3, 5, 4, 2] ^= 1
    others = [changed, whole.images[::-1], whole.images[:3], np.asfortranarray(whole.images)]
    prints = [ImageSet(images, None, (), "name", "train").fingerprint() for images in others]
    assert whole.fingerprint() not in prints[:3]
    assert whole.fingerprint() == prints[3]
