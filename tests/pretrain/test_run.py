"""From a configuration to a run folder, in process and with next to no training."""

import json
import math
import os
import re
import signal

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
import yaml

import acl_tf
from acl_tf.config import build, merge, read_settings
from acl_tf.data.orders import Shuffled
from acl_tf.errors import CheckpointError, Interrupted, NonFiniteError, UsageError
from acl_tf.horizon import Horizon
from acl_tf.model_folder.manifest import verify
from acl_tf.model_folder.read import load_encoder
from acl_tf.pretrain.config import PretrainConfig
from acl_tf.pretrain.run import build_objective, build_optimizer, pretrain
from acl_tf.training.metrics_log import read_metrics

SETTINGS = {
    "model": {"arch": "resnet10", "width": 0.0625, "projection_blocks": 2},
    "objective": {"variant": "s2s"},
    "optimizer": {"name": "sgd", "learning_rate": 0.1},
    "training": {"epochs": 2, "batch_size": 4, "checkpoint_steps": 2, "log_steps": 2, "seed": 5},
}


def images(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (14, 8, 8, 3), np.uint8)


def config(dataset, **settings) -> PretrainConfig:
    return build(PretrainConfig, merge(merge(SETTINGS, {"data": {"dataset": str(dataset)}}), settings))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    file = tmp_path_factory.mktemp("data") / "noise.npz"
    np.savez(file, images=images())
    return file


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "finished"
    assert pretrain(config(dataset), folder) == folder / "model"
    return folder


def test_the_run_folder(finished, dataset):
    assert sorted(file.name for file in finished.iterdir() if file.name != ".lock") == [
        "checkpoints",
        "config.yaml",
        "metrics.jsonl",
        "model",
        "run.json",
        "tensorboard",
    ]
    assert build(PretrainConfig, yaml.safe_load((finished / "config.yaml").read_text())) == config(dataset)
    assert json.loads((finished / "run.json").read_text())["status"] == "finished"
    assert [path.name for path in sorted((finished / "checkpoints").iterdir())] == [
        "step-00000003",
        "step-00000004",
        "step-00000006",
    ]


def test_metrics(finished):
    rows = read_metrics(finished / "metrics.jsonl")
    assert [(row["step"], row["epoch"]) for row in rows] == [(2, 1), (3, 1), (4, 2), (6, 2)]
    for row in rows:
        assert {"loss", "loss_standard", "feature_std", "gradient_norm", "learning_rate"} < row.keys()
        assert all(math.isfinite(value) for value in row.values())
        assert row["loss"] == row["loss_standard"]


def test_the_model_folder(finished, dataset):
    verify(finished / "model")
    model = acl_tf.load(str(finished))
    assert model.config["recipe"] == config(dataset).model_dump(mode="json")
    assert model.config["branch"] == "standard"  # the one that S2S trains
    inputs = images() / np.float32(255)
    encoder = load_encoder(finished)
    np.testing.assert_allclose(model(inputs), encoder(inputs, branch="standard", training=False), atol=1e-5)
    assert model.config["projection_head"]["blocks"] == 2


def test_a_finished_run_can_be_resumed(finished, dataset):
    weights = (finished / "model" / "paired.safetensors").read_bytes()
    metrics = (finished / "metrics.jsonl").read_bytes()
    pretrain(config(dataset), finished, resume=True)
    assert (finished / "model" / "paired.safetensors").read_bytes() == weights
    assert (finished / "metrics.jsonl").read_bytes() == metrics


@pytest.mark.slow
def test_its_configuration_repeats_the_run(finished, tmp_path):
    pretrain(build(PretrainConfig, read_settings(str(finished / "config.yaml"))), tmp_path / "again")
    first, again = [run / "model" / "paired.safetensors" for run in (finished, tmp_path / "again")]
    assert again.read_bytes() == first.read_bytes()


def test_the_branch_that_no_stream_passes_stays_as_it_was(finished):
    arrays = safetensors.numpy.load_file(finished / "model" / "paired.safetensors")
    names = [name for name in arrays if "adversarial" in name]
    assert names
    for name in names:
        start = 1.0 if name.endswith(("gamma", "moving_variance")) else 0.0
        np.testing.assert_array_equal(arrays[name], np.full_like(arrays[name], start))
        assert not np.array_equal(arrays[name.replace("adversarial", "standard")], arrays[name])


def test_other_images_on_resume(finished, dataset):
    before = (finished / "model" / "paired.safetensors").read_bytes()
    np.savez(dataset, images=images(seed=1))
    try:
        with pytest.raises(CheckpointError) as error:
            pretrain(config(dataset), finished, resume=True)
    finally:
        np.savez(dataset, images=images())
    assert re.fullmatch(
        rf"The checkpoint {finished}/checkpoints/step-00000006 is of another data set\. "
        r"Expected: images 14, crc32 \d+\. Received: images 14, crc32 \d+",
        str(error.value),
    )
    assert (finished / "model" / "paired.safetensors").read_bytes() == before


def test_training_that_diverges(dataset, tmp_path):
    wild = config(dataset, optimizer={"learning_rate": 1e30, "warmup_epochs": 1}, training={"checkpoint_steps": 1})
    folder = tmp_path / "run"
    with pytest.raises(NonFiniteError) as error:
        pretrain(wild, folder)
    # The rate of the first step is 0, with which all is well.
    found = re.fullmatch(
        r"The (?:loss|gradient norm|weight \S+) is (?:nan|inf|not finite) at step [23] \(epoch 1\)\. "
        rf"The last good checkpoint is ({folder}/checkpoints/step-0000000[12]); try a lower optimizer\.learning_rate\.",
        str(error.value),
    )
    assert found, str(error.value)
    reader = tf.train.load_checkpoint(f"{found[1]}/state")
    numbers = [name for name, kind in reader.get_variable_to_dtype_map().items() if kind.is_floating]
    assert len(numbers) > 100
    assert all(np.isfinite(reader.get_tensor(name)).all() for name in numbers)
    assert json.loads((folder / "run.json").read_text())["status"] == "failed"
    assert not (folder / "model").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant, optimizer, precision",
    [
        ("ds", "lars", "float32"),
        ("a2a", "adamw", "mixed_bfloat16"),
        ("a2s", "sgd", "mixed_float16"),  # its scale of the loss is state, too
        ("ds", "lars", "float64"),
    ],
)
def test_an_interrupted_run_goes_on_exactly(dataset, tmp_path, monkeypatch, variant, optimizer, precision):
    settings = config(
        dataset,
        objective={"variant": variant},
        optimizer={"name": optimizer, "learning_rate": 0.01},
        **({} if variant == "s2s" else {"attack": {"steps": 1}}),
        training={"precision": precision},
    )
    pretrain(settings, tmp_path / "whole")

    of_step = Shuffled.rows

    def interrupted(order: Shuffled, step: int) -> np.ndarray:
        if step == 4:  # between two rows, and two checkpoints
            os.kill(os.getpid(), signal.SIGINT)
        return of_step(order, step)

    with monkeypatch.context() as patch:
        patch.setattr(Shuffled, "rows", interrupted)
        with pytest.raises(Interrupted, match=r"Interrupted by SIGINT after step 5"):
            pretrain(settings, tmp_path / "parts")
    pretrain(settings, tmp_path / "parts", resume=True)
    whole, parts = [tmp_path / run / "model" / "paired.safetensors" for run in ("whole", "parts")]
    assert parts.read_bytes() == whole.read_bytes()
    rows, expected = [read_metrics(tmp_path / run / "metrics.jsonl") for run in ("parts", "whole")]
    for row in [*rows, *expected]:
        row.pop("images_per_second", None)  # the first step of a process is not timed
    assert rows == expected and [row["step"] for row in rows] == [2, 3, 4, 6]


# What a configuration builds


def test_images_that_are_not_square(dataset):
    with pytest.raises(UsageError) as error:
        build_objective(config(dataset), (8, 12, 3))
    assert str(error.value) == (
        "Encoders take square images; set their size by --set data.image_size=8. Received: 12x8"
    )
    objective = build_objective(config(dataset, data={"image_size": 16}), (8, 12, 3))
    assert objective.encoder.image_shape == (16, 16, 3)


def test_every_setting_reaches_the_objective(dataset):
    settings = config(
        dataset,
        model={"batch_norm": "single", "projection_blocks": 3},
        objective={"variant": "ds", "alpha": 0.3, "temperature": 0.7},
        attack={"epsilon": 0.1, "step_size": 0.03, "steps": 7},
        augmentation={"flip": False, "hue": 0.2, "crop_scale": [0.3, 0.9]},
        training={"seed": 11},
    )
    objective = build_objective(settings, (16, 16, 3))
    assert (objective.settings.alpha, objective.settings.temperature, objective.seed) == (0.3, 0.7, 11)
    assert (objective.attack.epsilon, objective.attack.step_size, objective.attack.steps) == (0.1, 0.03, 7)
    assert objective.projection_head.blocks == 3 and objective.encoder.batch_norm == "single"
    augmentation = objective.augmentation
    assert (augmentation.flip, augmentation.hue, augmentation.crop_scale) == (False, 0.2, (0.3, 0.9))


OWN_SETTINGS = {
    "lars": {"momentum": 0.8, "weight_decay": 1e-3, "trust_coefficient": 0.02, "exclude": "bn"},
    "sgd": {"momentum": 0.8, "weight_decay": 1e-3},
    "adamw": {"weight_decay": 1e-3},
}


def optimizer_settings(**settings):
    return build(PretrainConfig, {"optimizer": settings}).optimizer


@pytest.mark.parametrize("name", OWN_SETTINGS)
def test_every_setting_reaches_the_optimizer(name):
    shared = {"learning_rate": 0.3, "warmup_epochs": 2.0, "final_learning_rate": 0.01}
    settings = optimizer_settings(name=name, **shared, **OWN_SETTINGS[name])
    values = build_optimizer(settings, Horizon.uniform(epochs=10, steps_per_epoch=5)).get_config()
    schedule = values["learning_rate"]["config"]
    assert schedule | {"peak": 0.3, "total_steps": 50, "warmup_steps": 10, "floor": 0.01} == schedule
    assert values | OWN_SETTINGS[name] == values


@pytest.mark.parametrize(
    "warmup, epochs, per_epoch, steps",
    [
        (None, 1000, 97, 970),  # ten epochs
        (None, 50, 97, 485),  # a tenth
        (None, 1, 4, 0),
        (0.5, 1, 4, 2),
        (9.9, 10, 1, 9),  # rounded, it would leave no step for the cosine
    ],
)
def test_the_length_of_the_warm_up(warmup, epochs, per_epoch, steps):
    settings = optimizer_settings(warmup_epochs=warmup)
    optimizer = build_optimizer(settings, Horizon.uniform(epochs, per_epoch))
    assert optimizer.get_config()["learning_rate"]["config"]["warmup_steps"] == steps


def test_a_warm_up_that_does_not_end():
    with pytest.raises(UsageError) as error:
        build_optimizer(optimizer_settings(warmup_epochs=3.0), Horizon.uniform(3, 10))
    assert str(error.value) == "optimizer.warmup_epochs must be less than the 3 epochs. Received: 3.0"
