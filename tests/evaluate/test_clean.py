import numpy as np
import pytest
import tensorflow as tf

from acl_tf.data.image_set import ImageSet
from acl_tf.errors import DataError
from acl_tf.evaluate import clean
from acl_tf.evaluate.base import Evaluation
from tests.evaluate.scenes import brightness, greys


def test_accuracy_and_which_images_are_right():
    images = greys()
    flipped = ImageSet(images.images, np.array([0, 1, 0, 1, 1, 1, 0, 1]), images.classes, "some", "test")
    record, correct = clean.measure(Evaluation(flipped, model_sha256="5a", batch_size=3), brightness())
    assert (record["metric"], record["value"], record["n"]) == ("accuracy", 5 / 8, 8)
    assert (record["dataset"], record["split"], record["model_sha256"]) == ("some", "test", "5a")
    assert record["protocol"] == {"attack": "none"}
    np.testing.assert_array_equal(correct, [True, False, True, False, True, True, False, True])


def test_images_come_as_pixels_from_0_to_1():
    def is_white(images):
        assert images.dtype == "float32"
        return tf.one_hot(tf.cast(tf.reduce_all(images == 1.0, axis=(1, 2, 3)), tf.int32), 2)

    def is_black(images):
        return 1 - is_white(1 - images)

    levels = np.array([0, 1, 254, 255], np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (4, 2, 2, 3))
    for model, labels in [(is_white, [0, 0, 0, 1]), (is_black, [0, 1, 1, 1])]:
        extremes = ImageSet(images, np.array(labels), ("no", "yes"), "levels", "test")
        assert clean.measure(Evaluation(extremes), model)[0]["value"] == 1.0


def test_unlabelled_images_are_refused():
    unlabelled = ImageSet(np.zeros((2, 4, 4, 3), np.uint8), None, (), "tiny", "test")
    with pytest.raises(DataError) as error:
        clean.measure(Evaluation(unlabelled), brightness())
    assert str(error.value) == "tiny has no labels, which are needed here."
