"""Unforeseen attacks: on classifiers with known answers, and the means and UAR of known accuracies."""

import json
import os
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from acl_tf.attacks.unforeseen.distortions import DISTORTIONS
from acl_tf.classifiers.smoothed import SmoothedClassifier
from acl_tf.data.image_set import ImageSet
from acl_tf.errors import Interrupted, UsageError
from acl_tf.evaluate.base import Evaluation, Target
from acl_tf.evaluate.parse import parse_attack
from acl_tf.evaluate.unfinished import Unfinished
from acl_tf.evaluate.unforeseen import UnforeseenAccuracy
from acl_tf.losses.cross_entropy import cross_entropy
from acl_tf.training.interruption import Interruption
from tests.evaluate.scenes import brightness, classifier, constant, distances, greys, kept, noise, random_weights

SIDE = 16
TEN = "linf+l2+l1+jpeg_linf+jpeg_l2+jpeg_l1+elastic+fog+snow+gabor"


def unforeseen(**settings) -> UnforeseenAccuracy:
    return UnforeseenAccuracy("unforeseen", **settings)


def white_box(model: keras.Model, classes: int = 2) -> Target:
    return Target(model, model, classes)


def records_of(evaluation: Evaluation, target: Target, **settings) -> list[dict]:
    measured = list(unforeseen(**settings).run(evaluation, target))
    assert all(one.withstood is None for one in measured)
    return [one.record for one in measured]


def smooth(seed: int = 1) -> np.ndarray:
    """Weights of neighbouring pixels that are alike: distortions of all kinds matter."""
    coarse = np.random.default_rng(seed).normal(size=(4, 4, 3)).astype("float32")
    return np.kron(coarse, np.ones((4, 4, 1), "float32"))


# Known answers


def test_linf_on_brightness():
    """The nearest images are 7.5 levels from the boundary, others 32.5 and more."""
    images = greys(SIDE)
    records = records_of(Evaluation(images), white_box(brightness(SIDE)), distortions="linf")
    epsilons = (1, 2, 4, 8, 16, 32)
    expected = [np.mean(distances(images) > epsilon / 255) for epsilon in epsilons]
    assert expected == [1, 1, 1, 0.75, 0.75, 0.75]
    assert [record["value"] for record in records[:6]] == expected
    assert [record["protocol"]["epsilon"] for record in records[:6]] == list(epsilons)
    mean, uar = records[6:]
    assert mean["value"] == 0.875
    np.testing.assert_allclose(uar["value"], 5.25 / (0.91 + 0.878 + 0.816 + 0.713 + 0.465 + 0.231))


def test_no_image_withstands_the_strongest():
    weights = smooth()
    images = noise(weights, 6)
    for distortion in ("l2", "jpeg_l1"):
        records = records_of(
            Evaluation(images), white_box(classifier(weights, SIDE)), distortions=distortion, strengths="6", steps=5
        )
        assert records[0]["value"] == 0, distortion


def test_untargeted_it_raises_the_loss_of_the_label():
    weights = smooth()
    images = noise(weights, 24)
    model = classifier(weights, SIDE)
    pixels = (images.images / 255).astype("float32")
    predict = unforeseen(steps=12, targets="none").predictor(white_box(model), "elastic", 3)
    logits = predict(np.arange(24), pixels, images.labels)
    after, before = (cross_entropy(found, images.labels).numpy() for found in (logits, model(pixels)))
    assert after.mean() > before.mean() and np.mean(after > before) > 0.9


def test_crafted_on_a_model_without_gradients_it_is_the_start():
    weights = random_weights(SIDE)
    images = noise(weights, 16)
    target = Target(classifier(weights, SIDE), constant(SIDE), 2)
    pixels = (images.images / 255).astype("float32")
    found = unforeseen(distortions="gabor", steps=2).predictor(target, "gabor", 4)(np.arange(16), pixels, images.labels)
    other = unforeseen(steps=1).predictor(target, "gabor", 4)
    np.testing.assert_allclose(found, other(np.arange(16), pixels, images.labels), atol=1e-4)


# Targets


def test_random_targets_are_the_other_classes():
    """Of a classifier whose four classes are four corners around grey."""
    inputs = keras.Input((1, 1, 3))
    model = keras.Model(inputs, keras.layers.Dense(4, name="fc")(keras.layers.Flatten()(inputs)))
    corners = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [-0.5, -0.5, -0.5]], "float32")
    model.get_layer("fc").set_weights([200 * corners.T, -100 * corners.sum(axis=1)])
    labels, pixels = np.arange(80) % 4, np.full((80, 1, 1, 3), 0.5, "float32")
    predict = unforeseen().predictor(white_box(model, 4), "linf", 6)
    reached = predict(np.arange(80), pixels, labels).argmax(-1)
    assert np.all(labels != reached)
    for label in range(4):
        assert set(reached[labels == label]) == set(range(4)) - {label}


# Means and UAR


@pytest.fixture
def accuracies(monkeypatch) -> dict[tuple[str, int], float]:
    """What is measured: numbers of their own for every distortion and strength."""
    values = {(name, s): 0.9 - 0.1 * s - 0.01 * i for i, name in enumerate(DISTORTIONS) for s in range(1, 7)}

    def measure(self, evaluation, target, distortion, strength):
        protocol = self.protocol(evaluation.seed, distortion, strength)
        about = {"metric": "robust_accuracy", "n": 8, "dataset": "greys", "seconds": 0.5}
        return {**about, "value": values[distortion, strength], "protocol": protocol}

    monkeypatch.setattr(UnforeseenAccuracy, "measure", measure)
    return values


def test_records_and_their_order(accuracies):
    records = records_of(Evaluation(greys(SIDE), seed=5), None)
    found = [(r["metric"], r["protocol"]["distortion"], r["protocol"]["strength"]) for r in records]
    expected = []
    for name, distortion in DISTORTIONS.items():
        expected += [("robust_accuracy", name, strength) for strength in (1, 2, 3, 4, 5, 6, "mean")]
        expected += [("uar", name, "mean")] if distortion.trained else []
    assert found == [*expected, ("robust_accuracy", "mean_10", "mean"), ("uar", "mean_7", "mean")]
    assert len({json.dumps([r["metric"], r["protocol"]]) for r in records}) == len(records) == 60 + 10 + 7 + 2
    for record in records:
        if record["protocol"]["strength"] == "mean":
            assert not {"epsilon", "unit", "step_size"} & record["protocol"].keys()
            assert record["protocol"]["strengths"] == "1+2+3+4+5+6"
        assert (record["protocol"]["attack"], record["protocol"]["seed"]) == ("unforeseen", 5)
        assert record["protocol"].get("calibrated_on") == ("cifar10" if record["metric"] == "uar" else None)


def test_means_and_uar(accuracies):
    records = {
        (r["metric"], r["protocol"]["distortion"]): r
        for r in records_of(Evaluation(greys(SIDE)), None)
        if r["protocol"]["strength"] == "mean"
    }
    ratios = []
    for name, distortion in DISTORTIONS.items():
        own = [accuracies[name, strength] for strength in range(1, 7)]
        np.testing.assert_allclose(records["robust_accuracy", name]["value"], np.mean(own))
        assert records["robust_accuracy", name]["seconds"] == 3.0
        if distortion.trained:
            ratios.append(sum(own) / sum(distortion.trained))
            np.testing.assert_allclose(records["uar", name]["value"], ratios[-1])
    np.testing.assert_allclose(records["robust_accuracy", "mean_10"]["value"], np.mean(list(accuracies.values())))
    np.testing.assert_allclose(records["uar", "mean_7"]["value"], np.mean(ratios))
    assert records["robust_accuracy", "mean_10"]["protocol"]["distortions"] == "+".join(DISTORTIONS)
    assert records["robust_accuracy", "mean_10"]["seconds"] == 30.0


def test_uar_needs_all_strengths(accuracies):
    records = records_of(Evaluation(greys(SIDE)), None, distortions="l2+fog", strengths="1+2+3+4+5")
    assert {record["metric"] for record in records} == {"robust_accuracy"}
    assert records[-1]["protocol"]["strengths"] == "1+2+3+4+5"
    assert records[-1]["protocol"]["distortion"] == "mean_2"


# The same numbers for any batch, and randomness of an image's own


@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_an_image_gets_the_same_beside_others(distortion):
    weights = smooth()
    images = noise(weights, 7)
    pixels = (images.images / 255).astype("float32")
    target = white_box(classifier(weights, SIDE))
    predict = unforeseen(steps=2).predictor(target, distortion, 3, seed=4)
    whole = predict(np.arange(7), pixels, images.labels)
    order = np.array([5, 2, 2, 0, 6, 1, 3])
    again = predict(order, pixels[order], images.labels[order])
    np.testing.assert_allclose(again, whole[order], atol=1e-3, rtol=1e-3)


def test_an_index_has_a_start_and_a_target_of_its_own():
    weights = random_weights(SIDE)
    pixels = np.full((6, SIDE, SIDE, 3), 0.5, "float32")
    labels = np.zeros(6, np.int64)
    target = white_box(classifier(weights, SIDE))
    logits = {}
    for seed in (0, 1):
        predict = unforeseen(steps=1).predictor(target, "gabor", 5, seed)
        logits[seed] = predict(np.arange(6), pixels, labels)[:, 1]
    assert len(np.unique(logits[0].round(4))) == 6
    assert np.abs(logits[0] - logits[1]).min() > 1e-4


def test_the_batch_size_does_not_change_the_records():
    weights = smooth()
    images = noise(weights, 9)
    target = white_box(classifier(weights, SIDE))
    several = [
        records_of(
            Evaluation(images, seed=3, batch_size=size), target, distortions="elastic+gabor", strengths="2", steps=2
        )
        for size in (4, 9)
    ]
    assert [kept(record) for record in several[0]] == [kept(record) for record in several[1]]


# State, progress, errors


def test_an_interruption_and_its_resumption(tmp_path):
    images, target = greys(SIDE), white_box(brightness(SIDE))
    settings = {"distortions": "linf+fog", "strengths": "3+4", "steps": 2}
    records = records_of(Evaluation(images, batch_size=3), target, **settings)

    def interrupt(title: str, done: int, total: int) -> None:
        if (title, done) == ("unforeseen linf 4", 3):
            os.kill(os.getpid(), signal.SIGTERM)

    with Interruption() as interruption:
        evaluation = Evaluation(
            images, batch_size=3, unfinished=Unfinished(tmp_path), interruption=interruption, progress=interrupt
        )
        with pytest.raises(Interrupted):
            records_of(evaluation, target, **settings)
    begun = []
    evaluation = Evaluation(
        images,
        batch_size=3,
        unfinished=Unfinished(tmp_path),
        progress=lambda title, done, total: begun.append((title, done)) if done < total else None,
    )
    assert [kept(record) for record in records_of(evaluation, target, **settings)] == list(map(kept, records))
    assert begun[:2] == [("unforeseen linf 4", 6), ("unforeseen fog 3", 0)]


def test_jpeg_needs_other_sizes():
    images = ImageSet(np.zeros((2, 24, 16, 3), np.uint8), np.zeros(2, np.int64), ("a", "b"), "some", "test")
    with pytest.raises(UsageError) as error:
        records_of(Evaluation(images), white_box(brightness(SIDE)))
    assert str(error.value) == (
        "JPEG needs images whose height and width are multiples of 16; leave it out by --attack "
        "unforeseen:distortions=linf+l2+l1+elastic+fog+snow+gabor. Received: 24x16"
    )


def test_a_smoothed_model_is_attacked_on_fresh_noise_and_judged_by_its_vote():
    model = brightness(SIDE)
    target = Target(SmoothedClassifier(model, 0.1, 20), SmoothedClassifier(model, 0.1, 1), 2)
    settings = {"distortions": "linf", "strengths": "5", "steps": 2, "eot": 3}
    (record, *_) = records_of(Evaluation(greys(SIDE)), target, **settings)
    assert (record["protocol"]["eot"], record["value"]) == (3, 0.75)


@pytest.fixture(scope="module")
def of_one_and_two_replicas(run_python) -> dict[str, list]:
    """Returns the logits of one replica and of two, by distortion."""
    return json.loads(run_python(f"from {__name__} import measure_by_replicas; measure_by_replicas()"))


@pytest.mark.slow
@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_two_replicas_measure_like_one(of_one_and_two_replicas, distortion):
    """Each attacks its rows of every batch."""
    one, two = of_one_and_two_replicas[distortion]
    np.testing.assert_allclose(one, two, atol=1e-3, rtol=1e-3)


def measure_by_replicas() -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    from acl_tf.training.workers import Workers

    weights = smooth()
    images = noise(weights, 6)
    pixels, rows = (images.images / 255).astype("float32"), np.arange(6)
    evaluator, logits = unforeseen(steps=2), {distortion: [] for distortion in DISTORTIONS}
    for workers in (Workers(), Workers(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))):
        with workers.strategy.scope():
            target = white_box(classifier(weights, SIDE))
        for distortion, found in logits.items():
            predictor = evaluator.predictor(target, distortion, 3, 1, workers)
            found.append(predictor(rows, pixels, images.labels).tolist())
    print(json.dumps(logits))


# Settings


def test_by_default_all_distortions_at_all_strengths():
    evaluator = parse_attack("unforeseen")
    assert type(evaluator) is UnforeseenAccuracy and evaluator.name == "unforeseen"
    settings = evaluator.settings
    assert settings.distortions == TEN and evaluator.distortions == TEN.split("+") == list(DISTORTIONS)
    assert evaluator.strengths == [1, 2, 3, 4, 5, 6]
    assert (settings.steps, settings.targets, settings.eot) == (30, "random", None)


def test_every_parameter():
    evaluator = parse_attack("unforeseen:distortions=snow+l1,strengths=6+2,steps=200,targets=none,eot=3")
    expected = unforeseen(distortions="l1+snow", strengths="2+6", steps=200, targets="none", eot=3)
    assert evaluator.settings == expected.settings
    assert (evaluator.distortions, evaluator.strengths) == (["l1", "snow"], [2, 6])
    assert parse_attack("unforeseen:strengths=3").strengths == [3]


@pytest.mark.parametrize("name", DISTORTIONS)
def test_protocols_are_json(name):
    protocol = unforeseen().protocol(7, name, 2)
    assert json.loads(json.dumps(protocol)) == protocol
    assert (protocol["distortion"], protocol["strength"], protocol["seed"]) == (name, 2, 7)
    assert protocol["epsilon"] == DISTORTIONS[name].epsilons[1]


def test_a_protocol():
    assert unforeseen(steps=16).protocol(3, "elastic", 5) == {
        "attack": "unforeseen",
        "distortion": "elastic",
        "strength": 5,
        "epsilon": 2,
        "unit": "pixels of distance",
        "steps": 16,
        "step_size": 0.5,
        "targets": "random",
        "eot": 1,
        "seed": 3,
    }
    assert unforeseen().protocol(3, "l1", 5)["step_size"] is None


def test_gradients_of_a_stochastic_model_are_averaged():
    for eot, stochastic, expected in ((None, False, 1), (None, True, 20), (5, True, 5), (5, False, 5)):
        protocol = unforeseen(eot=eot).protocol(0, "fog", 1, stochastic)
        assert protocol["eot"] == expected


@pytest.mark.parametrize(
    "text, reason",
    [
        (
            "distortions=gabour",
            "Configuration key distortions: expected different ones of linf, l2, l1, jpeg_linf, jpeg_l2, jpeg_l1, "
            "elastic, fog, snow, gabor, joined by +; did you mean \"gabor\"? Received: 'gabour'",
        ),
        (
            "distortions=fog+fog",
            "Configuration key distortions: expected different ones of linf, l2, l1, jpeg_linf, jpeg_l2, jpeg_l1, "
            "elastic, fog, snow, gabor, joined by +. Received: 'fog+fog'",
        ),
        (
            "strengths=0",
            "Configuration key strengths: expected different ones of 1 to 6, joined by +. Received: 0",
        ),
        (
            "strengths=1+1",
            "Configuration key strengths: expected different ones of 1 to 6, joined by +. Received: '1+1'",
        ),
        ("targets=all", "Configuration key targets: expected 'random' or 'none'. Received: 'all'"),
        ("steps=0", "Configuration key steps: expected greater than or equal to 1. Received: 0"),
    ],
)
def test_settings_that_are_wrong(text, reason):
    with pytest.raises(UsageError) as error:
        parse_attack(f"unforeseen:{text}")
    assert str(error.value) == f"The attack 'unforeseen:{text}' is not as it should be. {reason}"
