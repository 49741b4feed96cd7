import json
import logging
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from acl_tf.cli import run
from acl_tf.cli.pretrain import KEYS, configuration
from acl_tf.config import build, read_settings
from acl_tf.pretrain.config import PretrainConfig
from tests.cli.conftest import TINY

NOTHING = dict.fromkeys(KEYS)
DEFAULT = build(PretrainConfig, {})


def resolved(output=None, source=None, resume=False, pairs=(), **flags) -> tuple[PretrainConfig, Path]:
    return configuration(source, output, resume, pairs, {**NOTHING, **flags})


# What a command line means


def test_nothing_given():
    config, folder = resolved()
    assert config == DEFAULT
    assert folder == Path("runs/cifar10_ds_resnet18_seed0")


@pytest.mark.parametrize(
    "flag, value",
    [
        ("variant", "a2s"),
        ("dataset", "cifar100"),
        ("data_dir", "/data"),
        ("skip_bad_images", True),
        ("arch", "wrn-28-10"),
        ("width", 0.5),
        ("epochs", 7),
        ("batch_size", 64),
        ("optimizer", "adamw"),
        ("order", "shuffled"),
        ("precision", "mixed_bfloat16"),
        ("seed", 3),
    ],
)
def test_every_flag_sets_its_key(flag, value):
    config, _ = resolved(**{flag: value})
    section, key = KEYS[flag].split(".")
    assert getattr(getattr(config, section), key) == value


def test_what_wins(tmp_path):
    """The file over the defaults, the flags over the file, --set over the flags."""
    file = tmp_path / "mine.yaml"
    file.write_text("training: {epochs: 2, batch_size: 3, seed: 4}\nattack: {steps: 9}\n")
    config, _ = resolved(
        source=str(file), batch_size=33, seed=44, pairs=("training.seed=444", "attack.epsilon=1/255", "attack.steps=1")
    )
    assert (config.training.epochs, config.training.batch_size, config.training.seed) == (2, 33, 444)
    assert (config.attack.epsilon, config.attack.steps) == (1 / 255, 1)
    assert config.training.log_steps == DEFAULT.training.log_steps


def test_a_data_set_with_a_recipe_of_its_own():
    recipe = build(PretrainConfig, read_settings("digits"))
    assert resolved(dataset="digits")[0] == recipe
    assert resolved(pairs=("data.dataset=digits",))[0] == recipe
    assert resolved(source="digits")[0] == recipe
    assert resolved(dataset="digits", seed=3)[0].augmentation == recipe.augmentation


def test_a_recipe_for_another_method(caplog):
    """What it sets that the chosen one does not have is left out, and named."""
    with caplog.at_level(logging.INFO):
        config, _ = resolved(dataset="digits", variant="s2s", optimizer="adamw")
    recipe = build(PretrainConfig, read_settings("digits"))
    assert config.augmentation == recipe.augmentation and config.attack is None
    assert caplog.messages == [
        "Left out of digits, for nothing that is chosen uses it: attack.epsilon, attack.step_size, attack.steps"
    ]
    caplog.clear()
    with caplog.at_level(logging.INFO):
        resolved(dataset="digits")
    assert caplog.messages == []


@pytest.mark.parametrize(
    "flags, name",
    [
        ({"dataset": "/some/where/photos", "variant": "s2s"}, "photos_s2s_resnet18_seed0"),
        ({"dataset": "noise.npz", "arch": "resnet34", "seed": 5}, "noise_ds_resnet34_seed5"),
    ],
)
def test_the_default_folder(flags, name):
    assert resolved(**flags)[1] == Path("runs", name)


def test_a_resumed_run_goes_on_with_its_own_configuration(finished):
    config, folder = resolved(output=str(finished), resume=True)
    assert folder == finished
    assert config == build(PretrainConfig, yaml.safe_load((finished / "config.yaml").read_text()))
    assert resolved(output=str(finished))[0] == DEFAULT
    assert resolved(output=str(finished), resume=True, seed=9)[0].training.seed == 9


# What it does


def test_the_path_of_the_model_is_printed(finished, capsys):
    assert run(["pretrain", "--output", str(finished), "--resume"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{finished}/model\n"
    assert err == (
        f"acl-tf: run folder {finished}\nacl-tf: finished; load the encoder by acl_tf.load('{finished}/model')\n"
    )
    assert json.loads((finished / "run.json").read_text())["status"] == "finished"


def test_bad_images_are_left_out_and_named(tmp_path, caplog, capsys):
    images = tmp_path / "images"
    images.mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.jpg")
    bad = images / "3.jpg"
    bad.write_bytes(bad.read_bytes()[:3000])
    command = ["pretrain", *TINY, "--dataset", str(images), "--output", str(tmp_path / "run"), "--skip-bad-images"]
    with caplog.at_level(logging.INFO):
        assert run([*command, "--set", "data.image_size=8"]) == 0
    assert f"Cannot read the image {bad}: image file is truncated (" in caplog.text
    assert f"Left out 1 of 6 images of {images} that cannot be read." in caplog.messages
    assert "5 images of images, all" in caplog.messages
    assert capsys.readouterr().out == f"{tmp_path}/run/model\n"
