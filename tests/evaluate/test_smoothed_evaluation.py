"""Accuracy of smoothed classifiers: the vote, and attacks that see the noise."""

import functools
import shutil

import numpy as np
import pytest
import tensorflow as tf

from acl_tf.classifiers.loading import load_classifier
from acl_tf.classifiers.smoothed import VOTE, SmoothedClassifier
from acl_tf.config import build
from acl_tf.errors import UsageError
from acl_tf.evaluate import clean
from acl_tf.evaluate.base import Evaluation
from acl_tf.evaluate.config import EvaluateConfig
from acl_tf.evaluate.robust import RobustAccuracy
from acl_tf.evaluate.run import build_target, evaluate
from acl_tf.stochastic import seen_by_attacks
from tests.evaluate.scenes import (
    brightness,
    classifier,
    constant,
    greys,
    kept,
    noise,
    random_weights,
    write_classifier,
    write_images,
)

SIGMA = 0.25


def smoothed(samples: int = 20, seed: int = 0, sigma: float = SIGMA, model=None) -> SmoothedClassifier:
    model = model or classifier(random_weights())
    return SmoothedClassifier(functools.partial(model, training=False), sigma, samples, seed)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model folder and images; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    write_classifier(folder / "run" / "model", classifier(random_weights()))
    write_images(folder / "noise.npz", noise(random_weights(), 21))
    return folder


@pytest.fixture
def place(made, tmp_path):
    return shutil.copytree(made, tmp_path / "place")


def config(place, *attacks: str, **settings) -> EvaluateConfig:
    values = {"model": str(place / "run" / "model"), "data": {"dataset": str(place / "noise.npz")}, "sigma": SIGMA}
    return build(EvaluateConfig, {**values, "batch_size": 4, "samples": 20, **settings, "attacks": attacks})


def test_clean_accuracy_is_that_of_the_vote():
    images = noise(random_weights(), 30)
    model = smoothed()
    record, correct = clean.measure(Evaluation(images, batch_size=7), model)
    votes = model.vote(tf.constant(images.images / np.float32(255)), model.seeds(VOTE, tf.range(30))).numpy()
    np.testing.assert_array_equal(correct, votes.argmax(1) == images.labels)
    assert record["value"] == correct.mean() < 1


def test_records_say_how_the_model_is_smoothed(place):
    records = evaluate(config(place, "none", "fgsm", "pgd:steps=1,eot=3", seed=5), place / "out")
    assert records[0]["protocol"] == {"attack": "none", "sigma": SIGMA, "samples": 20, "seed": 5}
    assert [record["protocol"].get("eot") for record in records] == [None, 20, 3, None]
    assert all(record["protocol"]["sigma"] == SIGMA and record["protocol"]["samples"] == 20 for record in records)


def test_samples_are_a_hundred_where_nothing_is_said(place):
    (record,) = evaluate(config(place, "none", samples=None), place / "out")
    assert record["protocol"]["samples"] == 100


def test_without_sigma_nothing_is_smoothed(place):
    one, two = evaluate(config(place, "none", "fgsm", sigma=None, samples=None), place / "out")
    assert one["value"] == 1.0 and one["protocol"] == {"attack": "none"}
    assert two["protocol"]["eot"] == 1 and not {"sigma", "samples"} & two["protocol"].keys()


SEVERAL = (
    "none",
    "pgd:epsilon=0.05,steps=7,eot=2",
    "fgsm:epsilon=0.02,eot=3",
    "pgd:epsilon=0.02,steps=2,restarts=2,eot=1",
)


@pytest.fixture(scope="module")
def whole(made, tmp_path_factory):
    """The records of several attacks."""
    place = shutil.copytree(made, tmp_path_factory.mktemp("whole") / "place")
    return [kept(record) for record in evaluate(config(place, *SEVERAL), place / "out")]


@pytest.mark.parametrize("batch_size", [1, 5])
def test_the_batch_size_does_not_matter(place, whole, batch_size):
    """Nor which images are attacked beside: the noise of an image is its own, at every step."""
    assert [kept(r) for r in evaluate(config(place, *SEVERAL, batch_size=batch_size), place / "out")] == whole


def test_another_seed_is_other_noise(place, whole):
    records = [kept(record) for record in evaluate(config(place, *SEVERAL, seed=1), place / "out")]
    assert [record["value"] for record in records] != [record["value"] for record in whole]


def test_what_attacks_see_is_fresh_noise_of_one_draw_at_every_step():
    """Also in the rolled loop of a long attack."""
    seen = []

    def model(images):
        seen.append(1)
        tf.py_function(lambda x: drawn.append(x.numpy().copy()), [images], [])
        return tf.stack([tf.reduce_sum(images, (1, 2, 3)), tf.zeros(tf.shape(images)[0])], 1)

    drawn: list[np.ndarray] = []
    attacked = SmoothedClassifier(model, SIGMA, 1)
    evaluator = RobustAccuracy("pgd", epsilon=0.0, steps=8, start="zero", eot=2)
    judged = SmoothedClassifier(lambda images: tf.reshape(images, [-1, 48])[:, :2], SIGMA, 1)
    predict = evaluator.predictor(judged, crafted_on=attacked)
    predict(np.arange(3), np.full((3, 4, 4, 3), 0.5, np.float32), np.zeros(3, int))
    assert len(drawn) == 8 * 2 and {images.shape for images in drawn} == {(3, 4, 4, 3)}
    assert len(np.unique(np.stack(drawn)[..., 0, 0, 0])) == 8 * 2 * 3
    assert np.std(np.stack(drawn)) == pytest.approx(SIGMA, rel=0.05)


def test_eot_finds_what_single_gradients_miss():
    """The noise is so strong that a single gradient of the loss often says nothing: the softmax is saturated."""
    images = noise(random_weights(), 150)
    values = {}
    sharp = classifier(40 * random_weights())
    for eot in (1, 20):
        evaluator = RobustAccuracy("pgd", epsilon=0.02, step_size=0.02, steps=1, start="zero", eot=eot)
        model = smoothed(200, sigma=0.5, model=sharp)
        seen = smoothed(1, sigma=0.5, model=sharp)
        values[eot] = evaluator.measure(Evaluation(images), model, seen)[0]["value"]
    assert values[20] < values[1] - 0.05


def test_eot_is_for_what_attacks_see(place):
    """A surrogate is not smoothed: its gradients need no mean."""
    write_classifier(place / "surrogate", constant())
    record = evaluate(config(place, "fgsm", surrogate=str(place / "surrogate")), place / "out")[0]
    assert record["protocol"]["eot"] == 1 and record["protocol"]["sigma"] == SIGMA


def test_the_target(place):
    loaded = load_classifier(str(place / "run"))
    target = build_target(config(place), loaded, None)
    assert target.stochastic and (target.model.samples, target.crafted_on.samples) == (20, 1)
    assert not build_target(config(place, sigma=None, samples=None), loaded, None).stochastic
    assert seen_by_attacks(loaded.logits, tf.range(3)) is not seen_by_attacks(target.crafted_on, tf.range(3))


def test_several_starts_are_judged_by_the_vote():
    """More starts never leave more images robust, though single draws of the noise would say so."""
    images = noise(random_weights(), 60)
    withstood = []
    for restarts in (1, 3):
        evaluator = RobustAccuracy("pgd", epsilon=0.03, steps=1, step_size=0.0, restarts=restarts, eot=1)
        withstood.append(evaluator.measure(Evaluation(images), smoothed(), smoothed(1))[1])
    assert (withstood[1] <= withstood[0]).all() and withstood[1].sum() < withstood[0].sum()


def test_an_answer_that_is_known():
    """Of grey images the vote is right far from the boundary; the attack moves the mean by epsilon."""
    model = smoothed(400, sigma=0.1, model=brightness())
    record, _ = RobustAccuracy("pgd20", epsilon=10 / 255).measure(Evaluation(greys()), model)
    assert record["value"] == 0.75 and record["protocol"]["eot"] == 20


def test_samples_need_a_sigma(place):
    with pytest.raises(UsageError) as error:
        config(place, sigma=None)
    assert str(error.value) == "samples are draws of noise, which needs sigma too. Received: samples=20"


def test_a_model_of_other_noise(place, caplog):
    write_classifier(place / "noisy", classifier(random_weights()), recipe={"method": {"sigma": 0.12}})
    evaluate(config(place, "none", model=str(place / "noisy")), place / "out")
    assert caplog.messages == [f"{place}/noisy was trained on noise of sigma 0.12; it is smoothed by sigma 0.25."]
