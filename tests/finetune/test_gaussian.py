import json

import numpy as np
import pytest
import tensorflow as tf

from acl_tf import randomness
from acl_tf.config import build as build_config
from acl_tf.finetune.config import FinetuneConfig
from acl_tf.finetune.gaussian import Gaussian
from acl_tf.finetune.run import finetune
from acl_tf.records import read_file
from tests.finetune.runs import rows_of, settings, write_noise
from tests.finetune.tiny import LABELS, SEED, build, changed, inputs, logits_of_both, weights
from tests.reference import classification as reference


def test_the_loss_is_that_of_the_noisy_images():
    tuner = build(Gaussian, sigma=0.25)
    images, noisy = inputs()
    _, expected = logits_of_both(tuner, images, noisy)
    values = tuner.losses(images, noisy, tf.constant(LABELS))
    assert values.keys() == {"loss"}
    np.testing.assert_allclose(values["loss"], [reference.cross_entropy(z, y) for z, y in zip(expected, LABELS)], 1e-4)


@pytest.mark.parametrize("sigma", [0.12, 1.0])
def test_the_noise_is_gaussian_and_not_clipped(sigma):
    tuner = build(Gaussian, sigma=sigma)
    images = tf.ones([60, 8, 8, 3])
    before = weights(tuner)
    noise = (tuner.perturb(images, None, tf.constant(SEED)) - images).numpy()
    assert not changed(before, weights(tuner))
    assert noise.std() == pytest.approx(sigma, rel=0.03) and abs(noise.mean()) < 0.03 * sigma
    assert np.mean(noise > 0) == pytest.approx(0.5, abs=0.02)  # of white images half would be cut off
    assert np.mean(np.abs(noise) > 2 * sigma) == pytest.approx(0.0455, abs=0.01)


def test_every_image_and_step_has_its_own_noise():
    tuner = build(Gaussian, sigma=0.25)
    seen = []
    original = tuner.perturb
    tuner.perturb = lambda *arguments: seen.append(original(*arguments)) or seen[-1]
    tuner.augmentation = lambda images, seed: tf.fill([6, 8, 8, 3], 0.5)
    for _ in range(2):
        tuner.train_step((tf.zeros([6, 8, 8, 3], tf.uint8), tf.constant(LABELS)))
    pixels = np.concatenate(seen)[:, 0, 0, 0]
    assert len(np.unique(pixels)) == 12


def test_a_replica_draws_its_rows_of_the_global_noise(monkeypatch):
    tuner = build(Gaussian, sigma=0.25)
    images, _ = inputs()
    whole = tuner.perturb(images, None, tf.constant(SEED))
    monkeypatch.setattr(randomness, "place_in_global_batch", lambda local: (4, len(images)))
    np.testing.assert_array_equal(tuner.perturb(images[4:6], None, tf.constant(SEED)), whole[4:6])


def test_training_is_determined_by_the_seed():
    def trained(**kwargs) -> np.ndarray:
        tuner = build(Gaussian, **{"sigma": 0.25, **kwargs})
        tuner.train_step((tf.cast(255 * inputs()[0], tf.uint8), tf.constant(LABELS)))
        return weights(tuner)["encoder/conv1/kernel"]

    np.testing.assert_array_equal(trained(seed=1), trained(seed=1))
    assert not np.array_equal(trained(seed=1), trained(seed=2))
    assert not np.array_equal(trained(seed=1), trained(seed=1, sigma=0.3))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"sigma": 0.0}, "`sigma` must be greater than 0. Received: sigma=0.0"),
        ({"sigma": -0.1}, "`sigma` must be greater than 0. Received: sigma=-0.1"),
        ({"sigma": float("nan")}, "`sigma` must be a finite number. Received: sigma=nan"),
        ({}, "`sigma` must be given. Received: no settings"),
        ({"sigma": 0.25, "beta": 6.0}, "`beta` is no setting here; there are: sigma. Received: beta=6.0"),
    ],
)
def test_invalid_arguments(arguments, message):
    with pytest.raises(ValueError) as error:
        build(Gaussian, **arguments)
    assert str(error.value) == message


def test_a_run_says_its_sigma_and_validates_under_noise(tmp_path):
    base = {"method": {"name": "gaussian", "sigma": 0.12, "mode": "linear"}, "training": {"epochs": 2, "batch_size": 6}}
    config = build_config(FinetuneConfig, settings(write_noise(tmp_path / "noise.npz"), base))
    finetune(config, tmp_path / "run")
    about = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert about["recipe"]["method"]["sigma"] == 0.12
    votes = [row["validation_smoothed_accuracy"] for row in rows_of(tmp_path / "run") if "validation_accuracy" in row]
    assert len(votes) == 2
    assert votes[0] == votes[1] or about["recipe"]["epoch"] == 1 + votes.index(max(votes))  # else accuracy decides
    record = read_file(tmp_path / "run" / "records.jsonl")[2]
    assert record["value"] == max(votes) and record["protocol"]["sigma"] == 0.12
