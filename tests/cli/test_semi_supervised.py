"""`acl-tf semi-supervised`: what a command line means, and what it does."""

import json
from pathlib import Path

import numpy as np
import pytest

from acl_tf.cli import run
from acl_tf.cli.semi_supervised import KEYS, configuration
from acl_tf.config import build, merge, read_settings
from acl_tf.errors import UsageError
from acl_tf.finetune.semi_supervised_config import SemiSupervisedConfig
from tests.finetune.tiny import tiny_architecture

NOTHING = dict.fromkeys(KEYS)
MODEL = "runs/ds"


def resolved(model=MODEL, source=None, output=None, resume=False, pairs=(), **flags):
    return configuration(source, output, resume, pairs, {**NOTHING, "model": model, **flags})


def made(source: str = MODEL, **settings) -> SemiSupervisedConfig:
    return build(SemiSupervisedConfig, merge({"encoder": {"source": source}}, settings))


def test_nothing_given():
    config, folder = resolved()
    assert config == made()
    assert folder == Path("runs/ds_semi-supervised_0.1_seed0")


@pytest.mark.parametrize(
    "flag, value",
    [
        ("branch", "standard"),
        ("dataset", "cifar100"),
        ("data_dir", "/data"),
        ("epochs", 7),
        ("teacher_epochs", 8),
        ("precision", "float64"),
        ("seed", 3),
    ],
)
def test_every_flag_sets_its_key(flag, value):
    config, _ = resolved(**{flag: value})
    section, key = KEYS[flag].split(".")
    assert getattr(getattr(config, section), key) == value


@pytest.mark.parametrize("text, labels, name", [("0.01", 0.01, "0.01"), ("400", 400, "400")])
def test_labels(text, labels, name):
    config, folder = resolved(labels=text)
    assert config.data.labels == labels and type(config.data.labels) is type(labels)
    assert folder == Path(f"runs/ds_semi-supervised_{name}_seed0")


def test_the_baseline():
    config, folder = resolved("random:resnet18", baseline="uat++", width=0.5)
    assert (config.baseline, config.encoder.width) == ("uat++", 0.5)
    assert folder == Path("runs/random-resnet18_uat++_0.1_seed0")
    with pytest.raises(UsageError, match=r"The baseline uat\+\+ does without pre-training; name random weights"):
        resolved(baseline="uat++")
    with pytest.raises(UsageError, match=r"expected one of uat\+\+; did you mean \"uat\+\+\"\? Received: 'uat'"):
        resolved("random:resnet18", baseline="uat")


def test_recipes_and_what_wins():
    recipe = read_settings("cifar10_1_percent", "semi-supervised")
    assert resolved(source="cifar10_1_percent")[0] == made(**recipe)
    config, _ = resolved(source="cifar10_1_percent", labels="0.02", pairs=("distillation.labelled_per_batch=9",))
    assert (config.data.labels, config.distillation.labelled_per_batch) == (0.02, 9)
    assert config.distillation.unlabelled_per_batch == 198


def test_the_recipe_of_digits_is_implied(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"recipe": {"data": {"dataset": "digits", "data_dir": None}}}))
    recipe = read_settings("digits", "semi-supervised")
    assert resolved(dataset="digits")[0] == made(**recipe)
    assert resolved(str(tmp_path))[0] == made(str(tmp_path), **recipe)


@pytest.mark.slow
def test_all_three_steps(tmp_path, capsys):
    file, folder = tmp_path / "noise.npz", tmp_path / "run"
    images = np.random.default_rng(0).integers(0, 256, (36, 8, 8, 3), np.uint8)
    np.savez(file, images=images, labels=np.arange(36) % 3)
    command = ["semi-supervised", "random:tiny", "--width", "0.0625", "--labels", "6", "--dataset", str(file)]
    command += ["--epochs", "1", "--teacher-epochs", "1", "--output", str(folder)]
    for pair in ("data.validation=6", "attack.steps=1", "validation.steps=1"):
        command += ["--set", pair]
    with tiny_architecture():
        assert run(command) == 0
    out, err = capsys.readouterr()
    assert out == f"{folder}/model\n"
    assert err.splitlines()[-1] == f"acl-tf: finished; measure it by acl-tf evaluate {folder}"
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert [record["metric"] for record in records] == ["pseudo_label_accuracy"] * 2 + ["accuracy", "robust_accuracy"]
