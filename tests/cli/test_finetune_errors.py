"""Bad input to `acl-tf finetune` and `acl-tf semi-supervised`: the exit code, and the very line that answers it."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from acl_tf.config import recipe_names

ARCHITECTURES = "resnet10, resnet18, resnet34, resnet50, wrn-28-10, wrn-34-10"
ERROR = "acl-tf: error: "
RANDOM = ["finetune", "random:resnet10", "--width", "0.0625"]
SEMI = ["semi-supervised", "random:resnet10", "--width", "0.0625"]
COUNT = "expected a count from 1 (an integer), or a fraction above 0 and up to 1.0 (a decimal)"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Runs whose folder nobody named are left here."""
    monkeypatch.chdir(tmp_path)


def write(file: Path, labels) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
    np.savez(file, images=images, **({} if labels is None else {"labels": np.array(labels)}))
    return file


@pytest.fixture
def noise_with_labels(tmp_path) -> Path:
    """Twenty images, eighteen of which are left to train on; the last class has but three."""
    return write(tmp_path / "noise.npz", [0] * 9 + [1] * 8 + [2] * 3)


# Options


@pytest.mark.parametrize(
    "arguments, line",
    [
        (["finetune"], "Missing argument 'MODEL'."),
        (["finetune", "x", "--protocl", "alf"], "No such option '--protocl'. Did you mean '--protocol'?"),
        (
            ["finetune", "x", "--method", "trade"],
            'Configuration key method.name: expected one of standard, at, gaussian, trades; did you mean "trades"? '
            "Received: 'trade'",
        ),
        (
            ["finetune", "x", "--mode", "liner"],
            "Configuration key method.mode: expected 'full' or 'linear'; did you mean \"linear\"? Received: 'liner'",
        ),
        (
            ["finetune", "x", "--branch", "adversarail"],
            "Configuration key encoder.branch: expected 'standard' or 'adversarial'; did you mean \"adversarial\"? "
            "Received: 'adversarail'",
        ),
        (
            ["finetune", "x", "--protocol", "alff"],
            'No configuration file and no recipe of that name; did you mean "alf"? Recipes: {recipes}. '
            "Received: 'alff'",
        ),
        (
            ["finetune", "x", "--width", "0.5"],
            "Configuration key encoder: expected no width, which is for random:ARCH only; an encoder in a folder has "
            "its own. Received: {{'width': 0.5, 'source': 'x'}}",
        ),
        (["finetune", "x", "--labels", "0"], f"Configuration key data.labels: {COUNT}. Received: 0"),
        (["finetune", "x", "--labels", "-1"], f"Configuration key data.labels: {COUNT}. Received: -1"),
        (["finetune", "x", "--labels", "1.5"], f"Configuration key data.labels: {COUNT}. Received: 1.5"),
        (["finetune", "x", "--labels", "abc"], f"Configuration key data.labels: {COUNT}. Received: 'abc'"),
        (
            ["finetune", "x", "--set", "method.betta=3"],
            'Unknown configuration key method.betta; did you mean "beta"? Known there: name, mode, beta. Received: 3',
        ),
        (
            ["finetune", "x", "--method", "standard", "--set", "method.beta=9"],
            "Unknown configuration key method.beta. Known there: name, mode. Received: 9",
        ),
        (
            ["finetune", "x", "--method", "gaussian"],
            "Configuration key method.sigma: expected a value. Received: {{'name': 'gaussian'}}",
        ),
        (
            ["finetune", "x", "--sigma", "0.25"],
            "Unknown configuration key method.sigma. Known there: name, mode, beta. Received: 0.25",
        ),
        (
            ["finetune", "x", "--method", "gaussian", "--sigma", "0"],
            "Configuration key method.sigma: expected greater than 0. Received: 0.0",
        ),
        (
            ["semi-supervised", "random:resnet18", "--baseline", "uat"],
            "Configuration key baseline: expected one of uat++; did you mean \"uat++\"? Received: 'uat'",
        ),
        (
            ["semi-supervised", "random:resnet18", "--baseline", "uat++", "--set", "distillation.alpha=1"],
            "Unknown configuration key distillation.alpha. Known there: online_weight, labelled_per_batch, "
            "unlabelled_per_batch. Received: 1",
        ),
        (["semi-supervised", "x", "--labels", "0"], f"Configuration key data.labels: {COUNT}. Received: 0"),
        (
            ["semi-supervised", "x", "--baseline", "uat++"],
            "The baseline uat++ does without pre-training; name random weights as MODEL, for example random:resnet18. "
            "Received: 'x'",
        ),
        (
            ["semi-supervised", "x", "--teacher-epochs", "0"],
            "Configuration key teacher.epochs: expected greater than or equal to 1. Received: 0",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options(fail, arguments, line, tmp_path):
    expected = line.format(recipes=", ".join(recipe_names("finetune")))
    assert fail(*arguments) == (2, ERROR + expected)
    assert list(tmp_path.iterdir()) == []


# The encoder


@pytest.mark.parametrize("command", ["finetune", "semi-supervised"])
def test_an_unknown_architecture(fail, noise_with_labels, command):
    assert fail(command, "random:resnet81", "--dataset", noise_with_labels, "--labels", "6") == (
        2,
        f"{ERROR}Unknown architecture; did you mean \"resnet18\"? Known: {ARCHITECTURES}. Received: 'resnet81'",
    )


def test_no_such_folder(fail, noise_with_labels):
    assert fail("finetune", "runs/ds", "--dataset", noise_with_labels) == (
        1,
        f"{ERROR}No model folder and no run. Received: 'runs/ds'",
    )


def test_a_run_that_is_not_finished(fail, noise_with_labels, tmp_path):
    (tmp_path / "ds" / "checkpoints").mkdir(parents=True)
    code, line = fail("finetune", "ds", "--dataset", noise_with_labels)
    assert code == 1 and line.startswith(f"{ERROR}The run ds has no model yet: finish it by acl-tf pretrain --resume")


@pytest.mark.parametrize("file", ["config.json", "paired.safetensors", "model.keras"])
def test_a_damaged_folder(fail, finished, noise_with_labels, tmp_path, file):
    shutil.copytree(finished / "model", tmp_path / "model")
    content = (tmp_path / "model" / file).read_bytes()
    (tmp_path / "model" / file).write_bytes(content[:-40])
    assert fail("finetune", "model", "--dataset", noise_with_labels) == (
        1,
        f"{ERROR}model/{file} has changed since it was written: its SHA-256 is not the manifest's.",
    )


def test_a_classifier_is_no_encoder(fail, noise_with_labels, tmp_path):
    from acl_tf.model_folder.write import TrainedModel, write_model_folder
    from acl_tf.models.branch import Branch
    from acl_tf.models.encoder import Encoder
    from acl_tf.models.heads import zero_classifier

    encoder, classifier = Encoder("resnet10", width=0.0625, image_shape=(8, 8, 3)), zero_classifier(2)
    classifier.build((None, encoder.feature_dim))
    trained = TrainedModel(encoder, Branch.ADVERSARIAL, {}, classifier=classifier, classes=("a", "b"))
    write_model_folder(tmp_path / "aff" / "model", trained)
    for command in ("finetune", "semi-supervised"):
        assert fail(command, "aff", "--dataset", noise_with_labels, "--labels", "6", "--output", command) == (
            1,
            f"{ERROR}An encoder is needed here, and this is a classifier of 2 classes; name the run that it was "
            "fine-tuned from. Received: 'aff'",
        )


# Images and labels


@pytest.mark.parametrize("command", [RANDOM, SEMI], ids=lambda command: command[0])
@pytest.mark.parametrize(
    "labels, message",
    [
        (19, "There are only 18 images to take labels from. Received: 19 labels"),
        (2, "2 labels leave 1 of the 3 classes of noise without any (2); ask for more. Received: 2"),
        (0.05, "1 labels leave 2 of the 3 classes of noise without any (1, 2); ask for more. Received: 0.05"),
    ],
)
def test_labels_that_there_are_not(fail, noise_with_labels, command, labels, message):
    assert fail(*command, "--dataset", noise_with_labels, "--labels", labels) == (2, ERROR + message)


@pytest.mark.parametrize("labels", ["1.0", "18"])
def test_no_image_without_a_label(fail, noise_with_labels, labels):
    assert fail(*SEMI, "--dataset", noise_with_labels, "--labels", labels) == (
        2,
        f"{ERROR}No image is left without a label; ask for fewer --labels. Received: {labels}",
    )


@pytest.mark.parametrize("command", [RANDOM, SEMI], ids=lambda command: command[0])
def test_images_without_labels(fail, tmp_path, command):
    assert fail(*command, "--dataset", write(tmp_path / "bare.npz", None)) == (
        1,
        f"{ERROR}bare has no labels, which are needed here.",
    )


@pytest.mark.parametrize("label", [0, 4])
def test_one_class_only(fail, tmp_path, label):
    assert fail(*RANDOM, "--dataset", write(tmp_path / "zeros.npz", [label] * 20)) == (
        2,
        f"{ERROR}A classifier needs images of at least 2 classes; zeros has 1.",
    )


def test_a_validation_split_that_leaves_nothing(fail, noise_with_labels):
    assert fail(*RANDOM, "--dataset", noise_with_labels, "--set", "data.validation=20") == (
        2,
        f"{ERROR}The validation split must be smaller than the 20 training images of noise. Received: 20",
    )


# The run folder


@pytest.mark.parametrize("command", [RANDOM, SEMI], ids=lambda command: command[0])
def test_a_mistake_leaves_nothing_in_the_way(fail, noise_with_labels, command):
    """The same command, corrected, gets as far as the next mistake."""
    output = ["--output", "run"]
    assert fail(*command, "--dataset", "nose.npz", *output) == (1, f"{ERROR}No such file. Received: 'nose.npz'")
    assert fail(*command, "--dataset", noise_with_labels, "--labels", "19", *output)[0] == 2
    code, line = fail(*command, "--dataset", noise_with_labels, "--labels", "2", *output)
    assert code == 2 and "leave 1 of the 3 classes" in line


def test_a_folder_that_holds_another_run(fail, finished, noise_with_labels):
    code, line = fail(*RANDOM, "--dataset", noise_with_labels, "--output", finished)
    assert code == 2
    assert re.fullmatch(
        rf"{ERROR}The output folder holds another run; go on with it by --resume, or choose another --output\. "
        rf"Received: {finished}",
        line,
    )
    code, line = fail(*RANDOM, "--dataset", noise_with_labels, "--output", finished, "--resume")
    assert code == 2 and "\n" not in line
