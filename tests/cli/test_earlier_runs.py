"""Runs of acl-tf 0.1: their `config.yaml` holds the keys of all methods, and they go on as they were begun."""

import json
from pathlib import Path

import pytest

from acl_tf.cli import finetune, pretrain, semi_supervised
from acl_tf.config import CommandConfig, Settings, build
from acl_tf.errors import UsageError
from acl_tf.finetune.config import FinetuneConfig
from acl_tf.finetune.semi_supervised_config import SemiSupervisedConfig
from acl_tf.pretrain.config import PretrainConfig
from acl_tf.training.run_folder import RunFolder

# As that version wrote them, apart from sections that are the same for all.
DATA = """\
data:
  dataset: cifar10
  data_dir: null
  split: train
  limit: null
  image_size: null
  skip_bad_images: false
"""
AUGMENTATION = """\
augmentation:
  crop_scale:
  - 0.1
  - 1.0
  crop_ratio:
  - 0.75
  - 1.3333333333333333
  flip: true
  brightness: 0.4
  contrast: 0.4
  saturation: 0.4
  hue: 0.1
  jitter_probability: 0.8
  grayscale_probability: 0.2
"""
MODEL = """\
model:
  arch: resnet18
  width: 1.0
  stem: cifar
  batch_norm: paired
  projection_blocks: 3
"""
PRETRAINING = """\
training:
  epochs: 1000
  precision: float32
  seed: 0
  checkpoint_steps: 500
  keep_checkpoints: 3
  log_steps: 10
  steps_per_call: 1
  jit: false
  tf32: true
  batch_size: 512
  micro_batches: 1
"""
CROP_FLIP = """\
augmentation:
  padding: 4
  flip: true
"""
LABELLED = """\
data:
  dataset: cifar10
  data_dir: null
  split: train
  limit: null
  image_size: null
  skip_bad_images: false
  labels: null
  validation: null
"""
FINETUNING = """\
training:
  epochs: 25
  precision: float32
  seed: 0
  checkpoint_steps: 500
  keep_checkpoints: 3
  log_steps: 10
  steps_per_call: 1
  jit: false
  tf32: true
  batch_size: 512
validation:
  images: 500
  every: 1
  steps: 20
"""
S2S = (
    DATA
    + AUGMENTATION
    + MODEL
    + """\
objective:
  variant: s2s
  alpha: 1.0
  temperature: 0.5
attack:
  epsilon: 0.03137254901960784
  step_size: 0.00784313725490196
  steps: 5
optimizer:
  name: lars
  learning_rate: 5.0
  momentum: 0.9
  weight_decay: 1.0e-06
  trust_coefficient: 0.001
  exclude: null
  warmup_epochs: null
  final_learning_rate: 1.0e-06
training:
  epochs: 7
  precision: float32
  seed: 0
  checkpoint_steps: 500
  keep_checkpoints: 3
  log_steps: 10
  steps_per_call: 1
  jit: false
  tf32: true
  batch_size: 512
  micro_batches: 1
"""
)
A2A = (
    DATA
    + AUGMENTATION
    + MODEL
    + """\
objective:
  variant: a2a
  alpha: 1.0
  temperature: 0.5
attack:
  epsilon: 0.01568627450980392
  step_size: 0.00784313725490196
  steps: 5
optimizer:
  name: lars
  learning_rate: 5.0
  momentum: 0.9
  weight_decay: 1.0e-06
  trust_coefficient: 0.001
  exclude: null
  warmup_epochs: null
  final_learning_rate: 1.0e-06
"""
    + PRETRAINING
)
ADAMW = (
    DATA
    + AUGMENTATION
    + MODEL
    + """\
objective:
  variant: ds
  alpha: 1.0
  temperature: 0.5
attack:
  epsilon: 0.03137254901960784
  step_size: 0.00784313725490196
  steps: 5
optimizer:
  name: adamw
  learning_rate: 0.001
  momentum: 0.9
  weight_decay: 1.0e-06
  trust_coefficient: 0.001
  exclude: null
  warmup_epochs: null
  final_learning_rate: 1.0e-06
"""
    + PRETRAINING
)
STANDARD = """\
encoder:
  source: runs/ds
  branch: null
  width: null
data:
  dataset: digits
  data_dir: null
  split: train
  limit: null
  image_size: null
  skip_bad_images: false
  labels: null
  validation: null
augmentation:
  padding: 2
  flip: false
method:
  name: standard
  mode: linear
  beta: 6.0
  sigma: null
attack:
  epsilon: 0.1
  step_size: 0.025
  steps: 10
optimizer:
  learning_rate: 0.01
  momentum: 0.9
  weight_decay: 0.0002
  decay_epochs:
  - 10
  - 20
  decay_at:
  - 0.6
  - 0.8
  decay_factor: 0.1
training:
  epochs: 25
  precision: float32
  seed: 0
  checkpoint_steps: 500
  keep_checkpoints: 3
  log_steps: 10
  steps_per_call: 1
  jit: false
  tf32: true
  batch_size: 512
validation:
  images: 500
  every: 5
  steps: 20
"""
AT = (
    """\
encoder:
  source: runs/ds
  branch: null
  width: null
"""
    + DATA
    + """\
  labels: null
  validation: null
"""
    + CROP_FLIP
    + """\
method:
  name: at
  mode: linear
  beta: 6.0
  sigma: null
attack:
  epsilon: 0.03137254901960784
  step_size: 0.00784313725490196
  steps: 10
optimizer:
  learning_rate: 0.01
  momentum: 0.9
  weight_decay: 0.0002
  decay_epochs:
  - 10
  - 20
  decay_at:
  - 0.6
  - 0.8
  decay_factor: 0.1
"""
    + FINETUNING
)
TRADES = """\
encoder:
  source: runs/ds
  branch: null
  width: null
data:
  dataset: digits
  data_dir: null
  split: train
  limit: null
  image_size: null
  skip_bad_images: false
  labels: null
  validation: null
augmentation:
  padding: 2
  flip: false
method:
  name: trades
  mode: full
  beta: 6.0
  sigma: null
attack:
  epsilon: 0.1
  step_size: 0.025
  steps: 10
optimizer:
  learning_rate: 0.1
  momentum: 0.9
  weight_decay: 0.0002
  decay_epochs: null
  decay_at:
  - 0.6
  - 0.8
  decay_factor: 0.1
training:
  epochs: 25
  precision: float32
  seed: 0
  checkpoint_steps: 500
  keep_checkpoints: 3
  log_steps: 10
  steps_per_call: 1
  jit: false
  tf32: true
  batch_size: 32
validation:
  images: 500
  every: 5
  steps: 20
"""
STUDENT = (
    """\
  labels: 0.1
  validation: null
"""
    + CROP_FLIP
    + """\
teacher:
  branch: standard
  epochs: 100
  batch_size: 128
  optimizer:
    learning_rate: 0.1
    momentum: 0.9
    weight_decay: 0.0002
    decay_epochs: null
    decay_at:
    - 0.4
    - 0.6
    decay_factor: 0.1
distillation:
  alpha: 0.5
  temperature: 1.0
  beta: 6.0
  online_weight: 5.0
  labelled_per_batch: null
  unlabelled_per_batch: null
attack:
  epsilon: 0.03137254901960784
  step_size: 0.00784313725490196
  steps: 10
optimizer:
  learning_rate: 0.1
  momentum: 0.9
  weight_decay: 0.0005
  decay_epochs: null
  decay_at:
  - 0.3333333333333333
  - 0.6666666666666666
  decay_factor: 0.1
training:
  epochs: 15
  precision: float32
  seed: 0
  checkpoint_steps: 500
  keep_checkpoints: 3
  log_steps: 10
  steps_per_call: 1
  jit: false
  tf32: true
validation:
  images: 500
  every: 1
  steps: 20
"""
)
SEMI_SUPERVISED = (
    """\
encoder:
  source: runs/ds
  branch: null
  width: null
baseline: null
"""
    + DATA
    + STUDENT
)
UAT = (
    """\
encoder:
  source: random:resnet18
  branch: null
  width: null
baseline: uat++
"""
    + DATA
    + STUDENT
)

RANDOM = {"encoder": {"source": "random:resnet18"}}
DS = {"encoder": {"source": "runs/ds"}}
LINEAR = {"learning_rate": 0.01, "decay_epochs": [10, 20]}
DIGITS = {"data": {"dataset": "digits"}, "augmentation": {"padding": 2, "flip": False}, "validation": {"every": 5}}
# What the user asked for, in the words of this version.
RUNS: dict[str, tuple[str, type[CommandConfig], Settings]] = {
    "s2s": (S2S, PretrainConfig, {"objective": {"variant": "s2s"}, "training": {"epochs": 7}}),
    "a2a": (A2A, PretrainConfig, {"objective": {"variant": "a2a"}, "attack": {"epsilon": "4/255"}}),
    "adamw": (ADAMW, PretrainConfig, {"optimizer": {"name": "adamw", "learning_rate": 1e-3, "weight_decay": 1e-6}}),
    "standard": (
        STANDARD,
        FinetuneConfig,
        {
            **DS,
            **DIGITS,
            "method": {"name": "standard", "mode": "linear"},
            "attack": {"epsilon": 0.1},
            "optimizer": LINEAR,
            "training": {"batch_size": 512},
        },
    ),
    "at": (
        AT,
        FinetuneConfig,
        {**DS, "method": {"name": "at", "mode": "linear"}, "optimizer": LINEAR, "training": {"batch_size": 512}},
    ),
    "trades": (
        TRADES,
        FinetuneConfig,
        {**DS, **DIGITS, "attack": {"epsilon": 0.1, "step_size": 0.025}, "training": {"batch_size": 32}},
    ),
    "semi-supervised": (SEMI_SUPERVISED, SemiSupervisedConfig, DS),
    "uat++": (UAT, SemiSupervisedConfig, {**RANDOM, "baseline": "uat++"}),
}


def resolved(kind: type[CommandConfig], model: str, source: Path | None, output: Path | None) -> CommandConfig:
    """Returns the configuration of a command line that names a file, or goes on with a run."""
    arguments = (source and str(source), output and str(output), output is not None, ())
    if kind is PretrainConfig:
        return pretrain.configuration(*arguments, dict.fromkeys(pretrain.KEYS))[0]
    if kind is FinetuneConfig:
        return finetune.configuration(None, *arguments, {**dict.fromkeys(finetune.KEYS), "model": model})[0]
    return semi_supervised.configuration(*arguments, {**dict.fromkeys(semi_supervised.KEYS), "model": model})[0]


def write(folder: Path, text: str, version: str) -> Path:
    (folder / "checkpoints" / "step-00000010").mkdir(parents=True)
    (folder / "config.yaml").write_text(text)
    (folder / "run.json").write_text(json.dumps({"status": "interrupted", "versions": {"acl_tf": version}}))
    return folder


@pytest.mark.parametrize("name", RUNS)
def test_a_run_goes_on(tmp_path, name):
    text, kind, asked = RUNS[name]
    model = asked.get("encoder", {}).get("source", "")
    folder, expected = write(tmp_path / "run", text, "0.1.0"), build(kind, asked)
    assert resolved(kind, model, None, folder) == expected
    assert resolved(kind, model, folder / "config.yaml", None) == expected
    with RunFolder(folder).session(expected, resume=True):
        pass
    assert resolved(kind, model, None, folder) == expected  # as it is written now


@pytest.mark.parametrize(
    "name, message",
    [
        ("s2s", "Unknown configuration key attack, a section that nothing uses of what is chosen. Known there: data, "),
        ("a2a", "Unknown configuration key objective.alpha. Known there: variant, temperature. Received: 1.0"),
        ("standard", "Unknown configuration key method.beta. Known there: name, mode. Received: 6.0"),
    ],
)
def test_the_same_of_a_later_version_is_wrong(tmp_path, name, message):
    text, kind, _ = RUNS[name]
    with pytest.raises(UsageError) as error:
        resolved(kind, "runs/ds", None, write(tmp_path / "run", text, "0.2.0"))
    assert str(error.value).startswith(message)


def test_another_configuration_is_still_another(tmp_path):
    text, kind, asked = RUNS["at"]
    other = build(kind, {**asked, "attack": {"steps": 3}})
    with pytest.raises(UsageError) as error, RunFolder(write(tmp_path / "run", text, "0.1.0")).session(other, True):
        pass
    assert str(error.value).endswith("Expected: attack.steps=10. Received: attack.steps=3")
