import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from acl_tf.classifiers.smoothed import VOTE, SmoothedClassifier
from acl_tf.data.image_set import ImageSet
from acl_tf.finetune.config import BallConfig, ValidationConfig
from acl_tf.finetune.standard import Standard
from acl_tf.finetune.validation import SAMPLES, Validation
from acl_tf.model_folder.write import TrainedModel, published_model
from acl_tf.training.config import RunConfig
from acl_tf.training.selection import Selection
from tests.finetune.tiny import build

COUNT = 40
ALL = ImageSet(
    np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8, 3), np.uint8),
    np.arange(COUNT) % 3,
    ("a", "b", "c"),
    "shapes",
    "validation",
)


def validation(
    epsilon: float = 0.1, epochs: int = 4, seed: int = 3, sigma: float | None = None, norm: str = "linf", **config
) -> tuple[Validation, Standard]:
    tuner = build(Standard)
    # Logits around 0, so that all classes are predicted.
    features = tuner.encoder(ALL.images / np.float32(255), branch="adversarial").numpy().mean(axis=0)
    kernel = tuner.classifier.get_weights()[0]
    tuner.classifier.set_weights([kernel, -features @ kernel])
    config = ValidationConfig(**{"images": 500, "steps": 2, **config})
    training = RunConfig(epochs=epochs, seed=seed)
    ball, selection = BallConfig(norm=norm, epsilon=epsilon), Selection(tuner.variables)
    return Validation(tuner, ALL, config, ball, training, selection, sigma=sigma), tuner


def right(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> float:
    return np.mean(np.argmax(model(images / np.float32(255)), axis=1) == labels)


def test_accuracy_is_a_direct_count():
    measure, tuner = validation(epsilon=0.0)
    values = measure(1)
    expected = right(tuner, ALL.images, ALL.labels)
    assert values == {"validation_accuracy": expected, "validation_robust_accuracy": expected}
    assert 0 < expected < 1


def test_an_attack_lowers_the_robust_accuracy_alone():
    measure, tuner = validation(epsilon=0.2)
    before = tuner.encoder.get_weights()
    values = measure(1)
    assert values["validation_accuracy"] == right(tuner, ALL.images, ALL.labels)
    assert values["validation_robust_accuracy"] < values["validation_accuracy"]
    for mine, theirs in zip(tuner.encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert tuple(measure.selection.scores.numpy()) == (
        values["validation_robust_accuracy"],
        values["validation_accuracy"],
    )


def test_an_attack_in_another_ball():
    """In l2 a radius of 0.2 is next to nothing; the record says which ball it was."""
    measure, tuner = validation(epsilon=0.2, norm="l2")
    weak = measure(1)["validation_robust_accuracy"]
    assert validation(epsilon=0.2)[0](1)["validation_robust_accuracy"] < weak
    trained = TrainedModel(tuner.encoder, tuner.branch, {}, classifier=tuner.classifier, classes=ALL.classes)
    record = measure.records(published_model(trained), 1)[1]
    assert (record["protocol"]["norm"], record["protocol"]["epsilon"], record["value"]) == ("l2", 0.2, weak)


def test_it_follows_the_weights():
    """The predictors are traced once, not once for all."""
    measure, tuner = validation(epsilon=0.0)
    first = measure(1)["validation_accuracy"]
    tuner.classifier.set_weights([-weight for weight in tuner.classifier.get_weights()])
    second = measure(2)["validation_accuracy"]
    assert second == right(tuner, ALL.images, ALL.labels) != first


def test_the_first_images_only():
    measure, tuner = validation(epsilon=0.0, images=10)
    assert measure(1)["validation_accuracy"] == right(tuner, ALL.images[:10], ALL.labels[:10])


@pytest.mark.parametrize("every, epochs, due", [(1, 3, [1, 2, 3]), (2, 5, [2, 4, 5]), (9, 4, [4])])
def test_when_it_measures(every, epochs, due, monkeypatch):
    measure, _ = validation(every=every, epochs=epochs)
    monkeypatch.setattr(measure, "_records", lambda *_: [{"value": 0.5}, {"value": 0.25}])
    assert [epoch for epoch in range(1, epochs + 1) if measure(epoch)] == due
    assert measure.selection.best_epoch() == due[0]


def test_robust_accuracy_decides():
    measure, _ = validation()
    values = iter([(0.9, 0.1), (0.5, 0.3), (0.8, 0.2), (0.6, 0.3)])  # clean, robust
    measure._records = lambda *_: [{"value": value} for value in next(values)]
    for epoch in range(1, 5):
        measure(epoch)
    assert measure.selection.best_epoch() == 4


def test_the_vote_of_noisy_images_decides_where_the_model_is_to_be_smoothed():
    measure, _ = validation(sigma=0.1)
    values = iter([(0.9, 0.3, 0.5), (0.8, 0.1, 0.7), (0.7, 0.2, 0.6), (0.9, 0.1, 0.6)])  # clean, robust, smoothed
    measure._records = lambda *_: [{"value": value} for value in next(values)]
    for epoch in range(1, 5):
        found = measure(epoch)
    assert found["validation_smoothed_accuracy"] == 0.6 and measure.selection.best_epoch() == 2


def test_the_vote_of_noisy_images_is_measured():
    measure, tuner = validation(sigma=0.1)
    smoothed = SmoothedClassifier(functools.partial(tuner, training=False), 0.1, SAMPLES, 3)
    images = tf.constant(ALL.images / np.float32(255))
    votes = smoothed.vote(images, smoothed.seeds(VOTE, tf.range(COUNT))).numpy()
    values = measure(1)
    assert values["validation_smoothed_accuracy"] == np.mean(votes.argmax(1) == ALL.labels)
    trained = TrainedModel(tuner.encoder, tuner.branch, {}, classifier=tuner.classifier, classes=ALL.classes)
    record = measure.records(published_model(trained), 7)[2]
    assert record["value"] == values["validation_smoothed_accuracy"]
    assert record["protocol"] == {"attack": "none", "sigma": 0.1, "samples": SAMPLES, "seed": 3, "epoch": 7}


def test_records_say_how():
    measure, tuner = validation(epsilon=0.1, images=20)
    trained = TrainedModel(tuner.encoder, tuner.branch, {}, classifier=tuner.classifier, classes=ALL.classes)
    accuracy, robust = measure.records(published_model(trained), 7)
    assert [accuracy["value"], robust["value"]] == list(measure(1).values())
    for record in (accuracy, robust):
        assert (record["n"], record["dataset"], record["split"]) == (20, "shapes", "validation")
    assert accuracy["protocol"] == {"attack": "none", "epoch": 7}
    assert robust["metric"] == "robust_accuracy"
    expected = {
        "attack": "pgd2",
        "norm": "linf",
        "epsilon": 0.1,
        "step_size": 0.025,
        "steps": 2,
        "restarts": 1,
        "start": "uniform",
        "loss": "cross_entropy",
        "seed": 3,
        "epoch": 7,
    }
    assert expected.items() <= robust["protocol"].items()
