"""`acl-tf finetune`: what a command line means, and what it does."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import yaml

from acl_tf.cli import run
from acl_tf.cli.finetune import KEYS, configuration
from acl_tf.config import build, merge, read_settings
from acl_tf.errors import UsageError
from acl_tf.finetune.config import FinetuneConfig
from tests.finetune.tiny import tiny_architecture

NOTHING = dict.fromkeys(KEYS)
SLF = {key: value for key, value in read_settings("slf", "finetune").items() if key != "method"}
MODEL = "runs/ds"
# One step of AT from random weights, validated on six images.
TINY = ["--method", "at", "--width", "0.0625", "--epochs", "1", "--labels", "6"]
for pair in ("data.validation=6", "attack.steps=1", "validation.steps=1"):
    TINY += ["--set", pair]


def resolved(model=MODEL, protocol=None, source=None, output=None, resume=False, pairs=(), **flags):
    return configuration(protocol, source, output, resume, pairs, {**NOTHING, "model": model, **flags})


def made(source: str = MODEL, **settings) -> FinetuneConfig:
    return build(FinetuneConfig, merge({"encoder": {"source": source}}, settings))


def encoder_of(path: Path, **data) -> str:
    """Writes what says which data set an encoder was trained on."""
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"recipe": {"data": {"data_dir": None, **data}}}))
    return str(path)


@pytest.fixture(scope="session")
def labelled_noise(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("data") / "labelled.npz"
    images = np.random.default_rng(0).integers(0, 256, (36, 8, 8, 3), np.uint8)
    np.savez(file, images=images, labels=np.arange(36) % 3)
    return file


# What a command line means


def test_nothing_given():
    config, folder = resolved()
    assert config == made()
    assert folder == Path("runs/ds_trades_full_seed0")


@pytest.mark.parametrize(
    "flag, value",
    [
        ("branch", "standard"),
        ("method", "at"),
        ("mode", "linear"),
        ("dataset", "cifar100"),
        ("data_dir", "/data"),
        ("epochs", 7),
        ("batch_size", 64),
        ("precision", "mixed_bfloat16"),
        ("seed", 3),
    ],
)
def test_every_flag_sets_its_key(flag, value):
    config, _ = resolved(**{flag: value})
    section, key = KEYS[flag].split(".")
    assert getattr(getattr(config, section), key) == value


@pytest.mark.parametrize("text, labels", [("100", 100), ("1", 1), ("0.1", 0.1), ("1.0", 1.0)])
def test_labels_are_a_count_or_a_fraction(text, labels):
    found = resolved(labels=text)[0].data.labels
    assert found == labels and type(found) is type(labels)


def test_a_width_is_for_random_weights():
    config, folder = resolved("random:resnet34", width=0.5)
    assert (config.encoder.source, config.encoder.width) == ("random:resnet34", 0.5)
    assert folder == Path("runs/random-resnet34_trades_full_seed0")


@pytest.mark.parametrize("protocol", ["slf", "alf", "aff"])
def test_protocols(protocol):
    assert resolved(protocol=protocol)[0] == made(**read_settings(protocol, "finetune"))
    assert resolved(source=protocol)[0] == made(**read_settings(protocol, "finetune"))


def test_what_wins(tmp_path):
    """The protocol over the file, the flags over the protocol, --set over the flags."""
    file = tmp_path / "mine.yaml"
    file.write_text(
        "training: {epochs: 2, batch_size: 3, seed: 4, log_steps: 9}\n"
        "attack: {steps: 9, epsilon: 1/255}\nmethod: {name: trades, beta: 2.0}\n"
    )
    pairs = ("training.seed=444", "optimizer.momentum=0.5")
    config, _ = resolved(protocol="alf", source=str(file), epochs=33, seed=44, pairs=pairs)
    assert (config.training.log_steps, config.attack.epsilon) == (9, 1 / 255)  # the file's
    assert (config.training.batch_size, config.attack.steps) == (512, 10)  # the protocol's
    assert (config.method.name, config.method.mode) == ("at", "linear")
    assert (config.training.epochs, config.training.seed, config.optimizer.momentum) == (33, 444, 0.5)


def test_recipes_for_another_method(tmp_path, caplog):
    """What they set that the chosen one does not have is left out, and named; the ball of the validation stays."""
    file = tmp_path / "mine.yaml"
    file.write_text("attack: {steps: 9, epsilon: 1/255}\nmethod: {name: trades, beta: 2.0, mode: linear}\n")
    with caplog.at_level(logging.INFO):
        config, _ = resolved(protocol="slf", source=str(file))
    assert caplog.messages == [f"Left out of {file}, for nothing that is chosen uses it: method.beta, attack.steps"]
    assert config == made(method={"name": "standard", "mode": "linear"}, attack={"epsilon": 1 / 255}, **SLF)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert resolved(protocol="slf")[0] == made(**read_settings("slf", "finetune"))
    assert caplog.messages == []
    file.write_text("method: {name: at, betta: 2.0}\n")
    for method in ("at", "standard"):
        with pytest.raises(UsageError, match=r"^Unknown configuration key method.betta\. Known there: name, mode\."):
            resolved(source=str(file), method=method)


def test_the_data_set_is_the_encoder_s(tmp_path):
    model = encoder_of(tmp_path / "run" / "model", dataset="stl10", data_dir="/data")
    for path in (model, str(tmp_path / "run")):
        config, _ = resolved(path)
        assert (config.data.dataset, config.data.data_dir) == ("stl10", "/data")
        for more in ({"protocol": "slf"}, {"source": "aff"}, {"seed": 3}):  # none names a data set
            assert resolved(path, **more)[0].data == config.data
        assert resolved(path, data_dir="/other")[0].data.data_dir == "/other"


@pytest.mark.parametrize(
    "other", [{"dataset": "cifar100"}, {"pairs": ("data.dataset=cifar100",)}, {"source": "aff_cifar100"}]
)
def test_another_data_set(tmp_path, other):
    """Then the folder of the encoder's does not matter either."""
    model = encoder_of(tmp_path / "model", dataset="stl10", data_dir="/data")
    config, _ = resolved(model, **other)
    assert (config.data.dataset, config.data.data_dir) == ("cifar100", None)


@pytest.mark.parametrize("content", ["{}", '{"recipe": {"imported": "x.pt"}}', "[]", "{", '{"recipe": null}'])
def test_an_encoder_that_does_not_say(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    assert resolved(str(tmp_path))[0].data.dataset == "cifar10"


def test_a_data_set_with_a_recipe_of_its_own(tmp_path):
    """Named, or the encoder's; a protocol goes over it."""
    recipe = read_settings("digits", "finetune")
    assert resolved(dataset="digits")[0] == made(**recipe)
    assert resolved(pairs=("data.dataset=digits",))[0] == made(**recipe)
    model = encoder_of(tmp_path / "model", dataset="digits")
    assert resolved(model)[0] == made(model, **recipe)
    config, _ = resolved(model, protocol="slf")
    ball = {"attack": {"epsilon": recipe["attack"]["epsilon"]}}
    assert config == made(model, **merge({**recipe, **ball}, read_settings("slf", "finetune")))
    assert (config.augmentation.flip, config.method.mode) == (False, "linear")


def test_a_resumed_run_goes_on_with_its_own_configuration(tmp_path):
    own = made("random:resnet18", data={"dataset": "digits"}, training={"epochs": 3})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(own.model_dump(mode="json")))
    arguments = {"model": "random:resnet18", "output": str(tmp_path)}
    assert resolved(**arguments, resume=True) == (own, tmp_path)
    assert resolved(**arguments)[0].training.epochs == 25
    assert resolved(**arguments, resume=True, epochs=4)[0].training.epochs == 4


def test_an_unknown_protocol():
    with pytest.raises(UsageError) as error:
        resolved(protocol="slff")
    assert str(error.value).startswith('No configuration file and no recipe of that name; did you mean "slf"? Recipes:')


# What it does


def test_from_random_weights(labelled_noise, tmp_path, capsys):
    folder = tmp_path / "run"
    command = ["finetune", "random:tiny", *TINY, "--dataset", str(labelled_noise), "--output", str(folder)]
    with tiny_architecture():
        assert run(command) == 0
    out, err = capsys.readouterr()
    assert out == f"{folder}/model\n"
    said = err.splitlines()
    assert said[0] == f"acl-tf: run folder {folder}"
    assert said[-1] == f"acl-tf: finished; measure it by acl-tf evaluate {folder}"
    assert json.loads((folder / "run.json").read_text())["status"] == "finished"
    assert json.loads((folder / "model" / "config.json").read_text())["classes"] == ["0", "1", "2"]
    with tiny_architecture():
        assert run([*command, "--resume"]) == 0
