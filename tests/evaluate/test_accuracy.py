import keras
import numpy as np
import pytest

from acl_tf.attacks.pgd import LinfPGD
from acl_tf.data.image_set import ImageSet
from acl_tf.errors import DataError
from acl_tf.evaluate import clean, robust
from acl_tf.export.pytorch import import_state
from acl_tf.losses.cross_entropy import cross_entropy
from acl_tf.models.heads import linear_classifier
from acl_tf.models.paired_model import extract_branch


def image_set(images: np.ndarray, labels: np.ndarray | None) -> ImageSet:
    return ImageSet(images, labels, ("a", "b"), "tiny", "test")


@pytest.fixture
def brightness() -> keras.Model:
    """Calls an image bright where its mean is above 1/2: an attack of epsilon moves the mean by epsilon at most."""
    inputs = keras.Input((4, 4, 3))
    mean = keras.layers.GlobalAveragePooling2D()(inputs)
    logits = keras.layers.Dense(2, name="fc")(mean)
    model = keras.Model(inputs, logits)
    model.get_layer("fc").set_weights([np.array([[0, 1 / 3]] * 3, "float32"), np.array([0.5, 0], "float32")])
    return model


@pytest.fixture
def greys() -> ImageSet:
    """Eight grey images at known distances from the boundary."""
    levels = np.array([10, 60, 90, 120, 135, 160, 200, 250], np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (8, 4, 4, 3))
    return image_set(np.ascontiguousarray(images), (levels > 127).astype(np.int64))


def test_clean_accuracy(brightness, greys):
    (record,) = clean.run(brightness, greys)
    assert (record["metric"], record["value"], record["n"]) == ("accuracy", 1.0, 8)
    assert record["protocol"] == {"attack": "none"}


@pytest.mark.parametrize("epsilon, right", [(0.0, 8), (10 / 255, 6), (40 / 255, 4), (1.0, 0)])
def test_robust_accuracy_is_exact_where_the_answer_is_known(brightness, greys, epsilon, right):
    """The nearest images are 7.5 levels away from 127.5; 90 is 37.5 away, 160 is 32.5."""
    (record,) = robust.run(brightness, greys, epsilon)
    expected = np.mean(np.abs(greys.images[:, 0, 0, 0] / 255 - 0.5) > epsilon)
    assert record["value"] == expected == right / 8
    assert record["protocol"]["attack"] == "pgd20"
    assert record["protocol"]["step_size"] == epsilon / 4


def test_the_batch_size_does_not_change_the_record(brightness, greys):
    records = [next(robust.run(brightness, greys, 30 / 255, seed=3, batch_size=size)) for size in (8, 3, 1)]
    for record in records:
        del record["date"], record["seconds"]
    assert records[0] == records[1] == records[2]


def test_unlabelled_images_are_refused(brightness):
    unlabelled = image_set(np.zeros((2, 4, 4, 3), np.uint8), None)
    with pytest.raises(DataError) as error:
        next(clean.run(brightness, unlabelled))
    assert str(error.value) == "tiny has no labels; accuracy needs them."


def test_pgd20_finds_the_published_images(parity):
    imported = import_state({name[6:]: parity[name] for name in parity if name.startswith("state/")})
    model = linear_classifier(extract_branch(imported.encoder, "adversarial"), 10)
    model.get_layer("fc").set_weights([parity["finetune/fc/weight"].T, parity["finetune/fc/bias"]])
    np.testing.assert_allclose(model(parity["images"]), parity["finetune/logits_eval"], atol=1e-4)

    attack = LinfPGD(8 / 255, 2 / 255, 20)
    images = keras.ops.convert_to_tensor(parity["images"])
    result = attack(images, lambda x: cross_entropy(model(x), parity["labels"]), parity["pgd20/delta0"])
    assert np.mean(np.abs(result.images - parity["pgd20/x_adv"]) < 1e-6) >= 0.995
    np.testing.assert_allclose(model(result.images), parity["pgd20/logits"], rtol=1e-3, atol=1e-3)
