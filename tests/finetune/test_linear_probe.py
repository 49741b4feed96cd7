"""What `mode: linear` leaves alone, and what `mode: full` moves."""

import numpy as np
import pytest
import tensorflow as tf

from acl_tf.finetune import METHODS
from acl_tf.finetune.distillation import Distillation
from acl_tf.finetune.pseudo_labelled import SemiSupervisedTargets
from acl_tf.finetune.uat import UATPlusPlus
from acl_tf.model_folder.write import TrainedModel, published_model
from acl_tf.models.branch import Branch
from tests.finetune.tiny import IMAGES, LABELS, branch_of, build, changed, inputs, weights

SETTINGS = {"gaussian": {"sigma": 0.25}}
ALL = {**{name: METHODS[name] for name in METHODS}, "distillation": Distillation, "uat++": UATPlusPlus}


def train(tuner, name: str, steps: int = 3) -> dict[str, float]:
    targets = tf.constant(LABELS)
    if name not in METHODS:
        targets = SemiSupervisedTargets(targets, tf.random.stateless_normal((len(LABELS), 3), (1, 2)))
    for _ in range(steps):
        logs = tuner.train_step((tf.constant(IMAGES), targets))
    return {key: float(value) for key, value in logs.items()}


@pytest.mark.parametrize("branch", Branch)
@pytest.mark.parametrize("name", METHODS)
def test_a_linear_probe_moves_the_classifier_alone(name, branch):
    tuner = build(METHODS[name], mode="linear", branch=branch, classifier=False, **SETTINGS.get(name, {}))
    before = weights(tuner)
    logs = train(tuner, name)
    assert changed(before, weights(tuner)) == {"classifier/fc/kernel", "classifier/fc/bias"}
    assert all(np.isfinite(value) for value in logs.values()) and logs["gradient_norm"] > 0
    assert {variable.path for variable in tuner.trainable_variables} == {"fc/kernel", "fc/bias"}


@pytest.mark.parametrize("name", ALL)
def test_full_training_moves_all_but_the_other_branch(name):
    branch = "standard" if name == "standard" else "adversarial"
    tuner = build(ALL[name], branch=branch, **SETTINGS.get(name, {}))
    before = weights(tuner)
    logs = train(tuner, name)
    assert logs.keys() == {"loss", "gradient_norm", *ALL[name].parts}
    expected = {path for path in before if branch_of(path) in (None, branch) and "normalize" not in path}
    assert any("moving_variance" in path for path in expected) and any("gamma" in path for path in expected)
    assert changed(before, weights(tuner)) == expected


@pytest.mark.parametrize("branch", Branch)
def test_a_frozen_encoder_runs_in_inference_mode(branch):
    frozen, free = (build(METHODS["standard"], mode, branch=branch) for mode in ("linear", "full"))
    images, _ = inputs()
    expected = frozen.classifier(frozen.encoder(images, branch=branch, training=False))
    np.testing.assert_array_equal(frozen(images, training=True), expected)
    np.testing.assert_array_equal(free(images), expected)
    assert not np.allclose(free(images, training=True), expected, atol=1e-2)


def test_logits_are_those_of_the_branch():
    images, _ = inputs()
    logits = {branch: build(METHODS["standard"], branch=branch)(images) for branch in Branch}
    assert not np.allclose(*logits.values(), atol=1e-2)
    tuner = build(METHODS["standard"])
    np.testing.assert_array_equal(tuner(images), logits[Branch.ADVERSARIAL])  # the default
    trained = TrainedModel(tuner.encoder, tuner.branch, {}, classifier=tuner.classifier, classes=("a", "b", "c"))
    np.testing.assert_allclose(published_model(trained)(images), logits[Branch.ADVERSARIAL], atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_the_classifier_starts_at_zero(name):
    tuner = build(METHODS[name], classifier=False, **SETTINGS.get(name, {}))
    images, _ = inputs()
    np.testing.assert_array_equal(tuner(images), np.zeros((len(IMAGES), 3)))
    assert all(np.all(weight == 0) for weight in tuner.classifier.get_weights())


def test_a_probe_learns_what_is_separable():
    """Dark and bright noise."""
    tuner = build(METHODS["standard"], mode="linear", classifier=False)
    labels = np.arange(24) % 2
    noise = np.random.default_rng(0).integers(0, 96, (24, 8, 8, 3)) + 128 * labels[:, None, None, None]
    step = tf.function(tuner.train_step, autograph=False)
    for _ in range(60):
        step((tf.constant(noise, tf.uint8), tf.constant(labels)))
    assert np.mean(np.argmax(tuner(noise / np.float32(255)), axis=1) == labels) == 1.0
