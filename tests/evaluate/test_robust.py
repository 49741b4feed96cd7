"""Robust accuracy where it is known: of linear classifiers, whose nearest boundary has a formula in every norm."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from acl_tf.attacks.pgd import PGD
from acl_tf.data.image_set import ImageSet
from acl_tf.evaluate import clean, robust
from acl_tf.evaluate.base import Evaluation
from acl_tf.evaluate.parse import parse_attack
from acl_tf.evaluate.robust import RobustAccuracy, restart_seed, starts_of_images
from acl_tf.export.pytorch import import_state
from acl_tf.losses.cross_entropy import cross_entropy
from acl_tf.models.heads import linear_classifier
from acl_tf.models.paired_model import extract_branch
from acl_tf.randomness import fold_in, step_seed
from tests.evaluate.scenes import (
    brightness,
    classifier,
    constant,
    distances,
    greys,
    kept,
    noise,
    random_weights,
    scores,
)

EPSILON = 8 / 255


def measure(evaluation: Evaluation, model, text: str, **options) -> tuple[dict, np.ndarray]:
    return parse_attack(text).measure(evaluation, model, **options)


# Where the answer is known


@pytest.mark.parametrize("epsilon, right", [(0.0, 8), (10 / 255, 6), (40 / 255, 4), (1.0, 0)])
def test_pgd20_on_brightness(epsilon, right):
    """The nearest images are 7.5 levels away from 127.5; 90 is 37.5 away, 160 is 32.5."""
    images = greys()
    record, withstood = measure(Evaluation(images), brightness(), f"pgd20:epsilon={epsilon}")
    np.testing.assert_array_equal(withstood, distances(images) > epsilon)
    assert record["metric"] == "robust_accuracy"
    assert record["value"] == right / 8
    assert record["protocol"] == RobustAccuracy("pgd20", epsilon=epsilon).protocol(0)


# Radii that fool about half of the images, and the norm whose formula says which.
BALLS = [("linf", 0.01, 1), ("l2", 0.06, 2), ("l1", 0.15, np.inf)]


@pytest.mark.parametrize("loss", ["cross_entropy", "margin"])
@pytest.mark.parametrize("norm, epsilon, dual", BALLS)
def test_every_norm_on_a_linear_classifier(norm, epsilon, dual, loss):
    weights = random_weights()
    images = noise(weights)
    # Hölder: the score moves by epsilon times the dual norm of the weights, and no ball reaches black or white.
    reach = epsilon * np.linalg.norm(weights.ravel(), dual)
    size = np.abs(scores(weights, images.images))
    sure = np.abs(size / reach - 1) > 0.01
    text = f"pgd:norm={norm},epsilon={epsilon},steps=40,loss={loss}"
    _, withstood = measure(Evaluation(images), classifier(weights), text)
    np.testing.assert_array_equal(withstood[sure], size[sure] > reach)
    assert 0.3 < withstood.mean() < 0.7 and sure.mean() > 0.95


def test_frank_wolfe_on_a_linear_classifier():
    """Its corners are the largest weights, which is the way to the boundary; a start counts no more after a step."""
    weights = random_weights()
    images = noise(weights)
    reach = 0.15 * np.abs(weights).max()
    size = np.abs(scores(weights, images.images))
    sure = np.abs(size / reach - 1) > 0.01
    record, withstood = measure(Evaluation(images), classifier(weights), "frank-wolfe:epsilon=0.15,steps=9,eot=2")
    np.testing.assert_array_equal(withstood[sure], size[sure] > reach)
    assert 0.3 < withstood.mean() < 0.7 and record["protocol"]["norm"] == "l1"


@pytest.mark.parametrize("norm, epsilon, dual", BALLS)
def test_images_stay_in_the_ball(norm, epsilon, dual):
    """Nothing within 1.001 times the reach falls: an attack that steps outside would fool some of them."""
    weights = random_weights()
    images = noise(weights)
    reach = epsilon * np.linalg.norm(weights.ravel(), dual)
    safe = np.abs(scores(weights, images.images)) > 1.001 * reach
    _, withstood = measure(
        Evaluation(images), classifier(weights), f"pgd:norm={norm},epsilon={epsilon},step_size=9,restarts=2"
    )
    assert withstood[safe].all()


def test_fgsm_is_one_step_of_the_radius():
    weights = random_weights()
    images = noise(weights)
    model = classifier(weights)
    direction = np.where(images.labels == 1, -1, 1)[:, None, None, None] * np.sign(weights)
    attacked = np.clip(images.images / 255 + 0.01 * direction, 0, 1)
    expected = model.predict(attacked.astype("float32"), verbose=0).argmax(-1) == images.labels
    record, withstood = measure(Evaluation(images), model, "fgsm:epsilon=0.01")
    np.testing.assert_array_equal(withstood, expected)
    assert record["protocol"]["steps"] == 1 and 0.3 < withstood.mean() < 0.7


def three_classes() -> tuple[keras.Model, ImageSet]:
    """Classes at 0.4, 0.5 and 0.62 of one grey pixel: the nearest boundary of the middle class is that of the first."""
    centers = np.array([0.4, 0.5, 0.62])
    inputs = keras.Input((1, 1, 3))
    model = keras.Model(inputs, keras.layers.Dense(3, name="fc")(keras.layers.Flatten()(inputs)))
    # -(mean - center)², without what is the same for all.
    kernel = np.stack([2 * centers / 3] * 3).astype("float32")
    model.get_layer("fc").set_weights([100 * kernel, -100 * centers.astype("float32") ** 2])
    level = np.array([125, 128, 136], np.uint8)  # 0.490, 0.502 and 0.533: boundaries lie at 0.45 and 0.56
    images = np.broadcast_to(level[:, None, None, None], (3, 1, 1, 3))
    return model, ImageSet(images, np.ones(3, np.int64), ("a", "b", "c"), "centers", "test")


def test_a_targeted_attack_drives_to_the_runner_up():
    """At 136 the third class is the nearest; at 125 and 128 it is the first."""
    model, images = three_classes()
    runner_up = np.sort(model(images.images / 255.0).numpy().argsort(-1)[:, 1])
    assert runner_up.tolist() == [0, 0, 2]
    predict = RobustAccuracy("pgd", epsilon=0.3, targeted=True).predictor(model)
    found = predict(np.arange(3), (images.images / 255).astype("float32"), images.labels)
    assert found.argmax(-1).tolist() == [0, 0, 2]
    # Driven into the target, not only out of the label: to the far end of the ball.
    ends = images.images[:, 0, 0, 0] / 255 + np.array([-0.3, -0.3, 0.3])
    np.testing.assert_allclose(found, model(np.broadcast_to(ends[:, None, None, None], (3, 1, 1, 3))), rtol=1e-4)


def test_the_target_of_a_misclassified_image_is_no_label():
    """The most likely class but the label, which the model gives already: the attack keeps it there."""
    model, images = three_classes()
    wrong = ImageSet(images.images, np.array([0, 2, 0]), images.classes, "wrong", "test")
    _, withstood = measure(Evaluation(wrong), model, "pgd:epsilon=0.01,targeted=true")
    assert not withstood.any()


# Restarts


def test_more_restarts_never_raise_the_accuracy():
    """Single steps of nothing from random starts: what is found is the best of the starts."""
    weights = random_weights()
    images = noise(weights)
    model = classifier(weights)
    values, before = [], np.ones(len(images), bool)
    for restarts in (1, 2, 3, 5, 9):
        record, withstood = measure(
            Evaluation(images, seed=4), model, f"pgd:epsilon=0.15,step_size=0,steps=1,restarts={restarts}"
        )
        assert not (withstood & ~before).any()
        before = withstood
        values.append(record["value"])
    assert values[0] > values[2] > values[4]


def test_an_image_is_robust_that_withstands_every_restart():
    weights = random_weights()
    images = noise(weights)
    model, pixels = classifier(weights), (images.images / 255).astype("float32")
    evaluator = RobustAccuracy("pgd", epsilon=0.15, step_size=0, steps=1, restarts=4)
    seed = step_seed(4, 0)
    expected = np.ones(len(images), bool)
    for restart in range(4):
        of_run = functools.partial(fold_in, restart_seed(seed, restart))
        start = starts_of_images(evaluator.attack, tf.constant(pixels), tf.range(len(images)), of_run)
        attacked = tf.clip_by_value(pixels + start, 0, 1)
        expected &= model(attacked).numpy().argmax(-1) == images.labels
    _, withstood = evaluator.measure(Evaluation(images, seed=4), model)
    np.testing.assert_array_equal(withstood, expected)


# Random starts


def starts(count: int = 400, seed: int = 0, indices=None, restart: int = 0, norm: str = "linf") -> np.ndarray:
    indices = tf.range(count) if indices is None else tf.constant(indices, tf.int32)
    images = tf.zeros((len(indices), 8, 8, 3))
    seed = restart_seed(step_seed(seed, 0), restart)
    return starts_of_images(PGD(EPSILON, norm=norm), images, indices, functools.partial(fold_in, seed)).numpy()


def test_the_start_of_pgd20_is_uniform_in_the_ball():
    drawn = starts()
    assert np.abs(drawn).max() <= EPSILON
    shares, _ = np.histogram(drawn, 10, (-EPSILON, EPSILON))
    np.testing.assert_allclose(shares / drawn.size, 0.1, atol=0.005)
    images = drawn.reshape(400, -1)
    correlation = np.corrcoef(images[:200])[np.triu_indices(200, 1)]
    assert np.abs(correlation).max() < 0.4  # 192 pixels: 5 standard deviations


def test_a_start_belongs_to_its_image():
    drawn = starts(10)
    np.testing.assert_array_equal(starts(indices=[7, 2]), drawn[[7, 2]])
    for others in (starts(10, seed=1), starts(10, restart=1), starts(10, restart=2)):
        assert np.abs(drawn - others).max(axis=(1, 2, 3)).min() > EPSILON
    assert len(np.unique(drawn[:, 0, 0, 0])) == 10


def test_pgd20_begins_where_the_start_says():
    weights = random_weights()
    images = noise(weights, 20)
    model, pixels = classifier(weights), (images.images / 255).astype("float32")
    evaluator = RobustAccuracy("pgd", step_size=0, steps=1)
    predict, attack = evaluator.predictor(model, seed=3), evaluator.attack
    indices = np.arange(100, 120)
    expected = [
        model(pixels[i : i + 1] + attack.start((1, 4, 4, 3), fold_in(step_seed(3, 0), index)))[0]
        for i, index in enumerate(indices)
    ]
    found = predict(indices, pixels, images.labels)
    np.testing.assert_allclose(found, expected, atol=1e-6)


# The same numbers for any batch


TEXTS = [
    "pgd:epsilon=0.2,step_size=0.001,steps=1,restarts=2",  # the start decides
    "pgd20:epsilon=0.01",
    "pgd:norm=l2,epsilon=0.05,restarts=2,steps=3",
    "pgd:norm=l1,epsilon=0.2,steps=2,start=zero",
    "frank-wolfe:epsilon=0.2,steps=2,restarts=2",
]


@pytest.mark.parametrize("text", TEXTS)
def test_the_batch_size_does_not_change_the_record(text):
    weights = random_weights()
    images = noise(weights, 40)
    measured = [
        measure(Evaluation(images, seed=3, batch_size=size), classifier(weights), text) for size in (8, 3, 1, 256)
    ]
    for record, withstood in measured[1:]:
        assert kept(record) == kept(measured[0][0])
        np.testing.assert_array_equal(withstood, measured[0][1])
    assert 0 < measured[0][0]["value"] < 1


@pytest.mark.parametrize("limit", [1, 7, 150])
def test_a_limited_run_sees_the_same_first_images(limit):
    weights = random_weights()
    images = noise(weights)
    text = "pgd:epsilon=0.2,step_size=0.001,steps=1"  # so that the start decides
    _, whole = measure(Evaluation(images, batch_size=64), classifier(weights), text)
    record, part = measure(Evaluation(images.first(limit), batch_size=64), classifier(weights), text)
    np.testing.assert_array_equal(part, whole[:limit])
    assert record["n"] == limit
    assert 0 < whole.mean() < 1


def test_seeds():
    weights = random_weights()
    images, model = noise(weights), classifier(weights)
    text = "pgd:epsilon=0.2,step_size=0.001,steps=1"
    (first, one), (again, same), (other, different) = (
        measure(Evaluation(images, seed=seed), model, text) for seed in (3, 3, 4)
    )
    assert kept(first) == kept(again)
    np.testing.assert_array_equal(one, same)
    assert (one != different).any()
    assert (first["protocol"]["seed"], other["protocol"]["seed"]) == (3, 4)


# Black box


def test_crafted_on_the_model_itself_it_is_the_white_box():
    weights = random_weights()
    evaluation = Evaluation(noise(weights))
    model, twin = classifier(weights), classifier(weights)
    assert (
        measure(evaluation, model, "pgd20:epsilon=0.02")[1].tolist()
        == measure(evaluation, model, "pgd20:epsilon=0.02", crafted_on=twin)[1].tolist()
    )


def test_crafted_on_a_model_without_gradients_it_is_the_random_start():
    weights = random_weights()
    images, model = noise(weights), classifier(weights)
    _, withstood = measure(Evaluation(images), model, "pgd20:epsilon=0.05", crafted_on=constant())
    _, started = measure(Evaluation(images), model, "pgd:epsilon=0.05,steps=1,step_size=0")
    np.testing.assert_array_equal(withstood, started)
    _, unchanged = measure(Evaluation(images), model, "fgsm:epsilon=0.05", crafted_on=constant())
    assert unchanged.all()
    assert 0.5 < withstood.mean() < 1


def test_crafted_on_the_opposite_it_helps():
    """The surrogate climbs where the model descends, so that nothing is fooled and what was wrong becomes right."""
    weights = random_weights()
    images = noise(weights)
    evaluation = Evaluation(images)
    opposite = classifier(-weights)
    _, withstood = measure(evaluation, classifier(weights), "pgd:epsilon=0.02,steps=9,start=zero", crafted_on=opposite)
    assert withstood.all()
    assert clean.measure(evaluation, opposite)[0]["value"] == 0


# Stochastic models


def test_eot_averages_over_draws_of_a_stochastic_model():
    """The noise is so strong that single gradients of the margin point anywhere."""

    class Multiplied(keras.layers.Layer):
        def call(self, images):
            return images * (1 + 6 * tf.random.normal(tf.shape(images)))

    weights = random_weights()
    plain = classifier(weights)
    inputs = keras.Input((4, 4, 3))
    noisy = keras.Model(inputs, plain(Multiplied()(inputs - 0.5) + 0.5))
    images = noise(weights, 100)
    values = {}
    for eot in (1, 20):
        settings = {"epsilon": 0.01, "step_size": 0.01, "steps": 1, "loss": "margin", "start": "zero"}
        tf.random.set_seed(1)
        # Judged without the noise: how good are the images that were found with it?
        record, _ = RobustAccuracy("pgd", eot=eot, **settings).measure(Evaluation(images), plain, crafted_on=noisy)
        assert record["protocol"]["eot"] == eot
        values[eot] = record["value"]
    assert values[20] < values[1]


def test_eot_runs_on_a_model_with_gaussian_noise():
    weights = random_weights()
    inputs = keras.Input((4, 4, 3))
    noisy = keras.Model(inputs, classifier(weights)(keras.layers.GaussianNoise(0.01)(inputs, training=True)))
    record, _ = measure(
        Evaluation(noise(weights, 10), batch_size=4), functools.partial(noisy, training=False), "pgd20:eot=5"
    )
    assert 0 <= record["value"] <= 1 and record["protocol"]["eot"] == 5


# Beside the authors' code


def test_pgd20_finds_the_published_images(parity, monkeypatch):
    imported = import_state({name[6:]: parity[name] for name in parity if name.startswith("state/")})
    model = linear_classifier(extract_branch(imported.encoder, "adversarial"), 10)
    model.get_layer("fc").set_weights([parity["finetune/fc/weight"].T, parity["finetune/fc/bias"]])
    np.testing.assert_allclose(model(parity["images"]), parity["finetune/logits_eval"], atol=1e-4)

    evaluator = parse_attack("pgd20")
    images, labels = tf.constant(parity["images"]), tf.constant(parity["labels"], tf.int64)
    found = evaluator.attack(images, lambda x: cross_entropy(model(x), labels), parity["pgd20/delta0"])
    assert np.mean(np.abs(found.images - parity["pgd20/x_adv"]) < 1e-6) >= 0.995

    monkeypatch.setattr(robust, "starts_of_images", lambda *_: tf.constant(parity["pgd20/delta0"]))
    logits = evaluator.predictor(model)(np.arange(8), parity["images"], parity["labels"])
    np.testing.assert_allclose(logits, parity["pgd20/logits"], rtol=1e-3, atol=1e-3)
