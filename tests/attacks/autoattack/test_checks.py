"""Warnings: each where it should be, and nowhere else; what each tells to use instead."""

import numpy as np
import pytest
import tensorflow as tf

from acl_tf.attacks.autoattack.checks import UnsuitableModelError, check_classes, check_model, check_shape, check_square
from acl_tf.attacks.autoattack.suite import AutoAttack
from tests.attacks.stepping import Linear, pixels

IMAGES = pixels(6, low=0.2, high=0.8)
MIDDLE = float(np.median(IMAGES.mean(axis=(1, 2, 3))))
LINEAR = Linear()


def noisy(images: tf.Tensor) -> tf.Tensor:
    return LINEAR(images) + tf.random.normal([len(images), 5], stddev=0.3)


def softmax(images: tf.Tensor) -> tf.Tensor:
    return tf.nn.softmax(LINEAR(images))


def confident(images: tf.Tensor) -> tf.Tensor:
    return 1e4 * LINEAR(images)


def mixed(images: tf.Tensor) -> tf.Tensor:
    """Of some images the gradient is zero."""
    dark = tf.reduce_mean(images, axis=(1, 2, 3)) < MIDDLE
    return tf.where(dark[:, tf.newaxis], tf.stop_gradient(LINEAR(images)), LINEAR(images))


WARNINGS = {
    "plain": (LINEAR, None, ""),
    "stochastic": (noisy, "The model is stochastic", "use version=rand."),
    "probabilities": (softmax, "The outputs of the model are probabilities", "give the logits, without a softmax"),
    "saturated": (confident, "The softmax of ", "but on apgd-dlr, apgd-t and fab-t."),
    "zero gradients": (mixed, "The gradients of ", "look at what square finds"),
}


def checked(
    model, rand: bool = False, crafted_on=None, labels: np.ndarray | None = None, gradients: bool = True
) -> list[str]:
    tf.random.set_seed(1)
    logits = model(tf.constant(IMAGES)).numpy()
    labels = logits.argmax(axis=1) if labels is None else labels
    return check_model(model, crafted_on, IMAGES, labels, logits, gradients, rand)


@pytest.mark.parametrize("name", WARNINGS)
def test_each_is_said_where_it_should_be_and_no_other(name):
    model, begins, instead = WARNINGS[name]
    found = checked(model)
    assert len(found) == (begins is not None)
    for message in found:
        assert message.startswith(begins) and instead in message


def test_how_many_images_it_is_about():
    assert checked(mixed)[0].startswith("The gradients of 3 of 6 images are zero.")
    assert checked(confident)[0].startswith("The softmax of 6 of 6 images is exactly 1 in float32.")


def test_several_at_once():
    found = checked(lambda images: tf.nn.softmax(noisy(images)))
    assert [message.split()[1] for message in found] == ["outputs", "model"]


def test_the_version_for_stochastic_models_does_not_complain_of_noise():
    assert checked(noisy, rand=True) == []


def test_a_little_noise_is_no_noise():
    """As of a sum in another order."""
    assert checked(lambda images: LINEAR(images) + tf.random.normal([len(images), 5], stddev=1e-6)) == []


def test_images_that_the_model_gets_wrong_are_not_looked_at():
    wrong = (LINEAR.labels(IMAGES) + 1) % 5
    assert checked(mixed, labels=wrong) == []


def test_gradients_are_those_of_the_model_that_attacks_see():
    assert checked(LINEAR, crafted_on=mixed)[0].startswith("The gradients of ")
    assert checked(mixed, crafted_on=LINEAR) == []


@pytest.mark.parametrize("model", [lambda x: tf.stop_gradient(LINEAR(x)), lambda x: tf.round(LINEAR(x) * 50)])
def test_a_model_without_a_gradient(model):
    with pytest.raises(UnsuitableModelError) as error:
        checked(model)
    assert str(error.value) == (
        "No gradient of the logits reaches the images: the model is not differentiable. Use attacks=square."
    )


def test_attacks_without_gradients_do_not_ask_for_them():
    assert checked(mixed, gradients=False) == []
    assert checked(lambda x: tf.stop_gradient(LINEAR(x)), gradients=False) == []
    attack = AutoAttack(lambda x: tf.stop_gradient(LINEAR(x)), epsilon=1e-4, attacks=["square"])
    assert next(attack.proceed(IMAGES, LINEAR.labels(IMAGES), attack.tally(6))).robust == 6


# Classes and shapes


@pytest.mark.parametrize(
    "classes, attacks, message",
    [
        (3, ["apgd-ce", "apgd-t"], "apgd-t needs at least 4 classes; use attacks=apgd-ce+apgd-dlr+fab-t+square."),
        (2, ["apgd-t"], "apgd-t needs at least 4 classes; use attacks=apgd-ce+fab-t+square."),
        (2, ["apgd-ce", "apgd-dlr"], "apgd-dlr needs at least 3 classes; use attacks=apgd-ce+fab-t+square."),
        (2, ["apgd-dlr", "apgd-t"], "apgd-dlr, apgd-t needs at least 4 classes; use attacks=apgd-ce+fab-t+square."),
    ],
)
def test_too_few_classes(classes, attacks, message):
    with pytest.raises(UnsuitableModelError) as error:
        check_classes(classes, attacks)
    assert str(error.value) == f"{message} Received: {classes} classes"


@pytest.mark.parametrize(
    "classes, attacks", [(4, ["apgd-t", "apgd-dlr"]), (3, ["apgd-dlr", "fab"]), (2, ["apgd-ce", "fab-t", "square"])]
)
def test_enough_classes(classes, attacks):
    check_classes(classes, attacks)


def test_square_needs_square_images():
    check_shape((4, 6, 3), ["apgd-ce", "fab-t"])
    check_shape((4, 4, 3), ["square"])
    with pytest.raises(UnsuitableModelError) as error:
        check_shape((4, 6, 3), ["apgd-ce", "square"])
    assert str(error.value) == "Square needs square images; leave it out. Received: images of 4x6"


def test_autoattack_says_it_before_anything_is_run():
    model = Linear(classes=3)
    with pytest.raises(UnsuitableModelError, match="apgd-t needs at least 4 classes"):
        AutoAttack(model).run(IMAGES, model.labels(IMAGES))


# Square after gradients


@pytest.mark.parametrize(
    "survivors, images, share",
    [
        ({"clean": 900, "apgd-ce": 500, "square": 490}, 1000, "1.00"),
        ({"clean": 900, "apgd-ce": 500, "square": 497}, 1000, "0.30"),
        ({"clean": 900, "apgd-ce": 500, "square": 498}, 1000, None),
        ({"clean": 900, "apgd-ce": 500, "square": 500}, 1000, None),
        ({"clean": 900, "square": 10}, 1000, None),
        ({"clean": 900, "square": 10, "apgd-ce": 5}, 1000, None),
        ({"clean": 900, "apgd-ce": 10}, 1000, None),
    ],
)
def test_square_breaks_what_gradients_could_not(survivors, images, share):
    found = check_square(survivors, images)
    assert len(found) == (share is not None)
    for message in found:
        assert message.startswith(f"Square broke {share} % of the images after the attacks by gradients.")
        assert message.endswith("look for an adaptive attack.")


def test_warnings_are_logged_and_returned(caplog):
    result = AutoAttack(mixed, epsilon=1e-4, attacks=["apgd-ce"]).run(IMAGES, LINEAR.labels(IMAGES))
    assert len(result.warnings) == 1
    assert [record.message for record in caplog.records if record.name.startswith("acl_tf")] == [*result.warnings]


@pytest.mark.parametrize("batch_size", [1, 2, 4, 64])
def test_the_batch_size_changes_nothing(batch_size):
    labels = LINEAR(IMAGES).numpy().argmax(axis=1)
    attack = AutoAttack(mixed, epsilon=1e-4, attacks=["apgd-ce"], batch_size=batch_size)
    assert [message.split(". ")[0] for message in attack.run(IMAGES, labels).warnings] == [
        "The gradients of 3 of 6 images are zero"
    ]
    assert len(attack.run(IMAGES, labels).warnings) == 1  # those of the first run are not its


def test_logits_that_are_no_numbers():
    with pytest.raises(UnsuitableModelError) as error:
        AutoAttack(lambda images: LINEAR(images) + float("nan")).run(IMAGES, np.zeros(6, int))
    assert str(error.value) == "The logits of 6 images are not numbers."
