import numpy as np
import pytest
from PIL import Image

from acl_tf.data.image_set import ImageSet
from acl_tf.errors import DataError


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


@pytest.mark.parametrize("size", [4, 12])
def test_resized_as_pillow_does_it(size):
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    whole = ImageSet(images, np.arange(3), ("a", "b", "c"), "name", "train")
    resized = whole.resized(size)
    expected = [Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC) for image in images]
    np.testing.assert_array_equal(resized.images, [np.asarray(image) for image in expected])
    assert resized.images.dtype == np.uint8 and resized.image_shape == (size, size, 3)
    assert (resized.labels.tolist(), resized.classes, resized.name, resized.split) == (
        [0, 1, 2],
        ("a", "b", "c"),
        "name",
        "train",
    )


def test_images_of_the_right_size_stay_as_they_are():
    whole = ImageSet(np.zeros((2, 8, 8, 3), np.uint8), None, (), "name", "train")
    assert whole.resized(8) is whole


def test_images_that_are_not_square_are_not_resized():
    with pytest.raises(DataError) as error:
        image_set().resized(8)
    assert str(error.value) == "Images of name must be square to be resized. Received: 5x6"
