"""Bad input of `acl-tf evaluate`: the exit code and the very line that each mistake is answered with."""

import json
import shutil

import keras
import numpy as np
import pytest

from acl_tf.model_folder.manifest import write_manifest
from acl_tf.registry import nearest
from tests.data.published import write_corrupted
from tests.evaluate.scenes import brightness, greys, write_classifier, write_images


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    write_images(folder / "greys.npz", greys())
    recipe = {"data": {"dataset": "greys.npz", "data_dir": None}}
    write_classifier(folder / "run" / "model", brightness(), recipe=recipe)
    write_classifier(folder / "encoder", brightness(), (), kind="encoder")
    return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(made, tmp_path / "place"))
    return tmp_path / "place"


def attack(text: str, reason: str) -> tuple[list[str], str]:
    return ["run", "--attack", text], f"The attack {text!r} is not as it should be. Configuration key {reason}"


@pytest.mark.parametrize(
    "arguments, line",
    [
        (["run", "--limit", "0"], "Configuration key data.limit: expected greater than or equal to 1. Received: 0"),
        (["run", "--limit", "few"], "Invalid value for '--limit': 'few' is not a valid integer."),
        (
            ["run", "--batch-size", "0"],
            "Configuration key batch_size: expected greater than or equal to 1. Received: 0",
        ),
        (["run", "--seed", "-1"], "Configuration key seed: expected greater than or equal to 0. Received: -1"),
        ([], "Missing argument 'MODEL'."),
        (["run", "--atack", "none"], "No such option '--atack'. (Did you mean one of: '--attack', '--dataset'?)"),
        (
            ["run", "--attack", "pdg20"],
            'Unknown attack; did you mean "pgd20"? Known: none, autoattack, unforeseen, fgsm, pgd20, pgd, frank-wolfe; '
            "parameters follow a colon, for example pgd:epsilon=8/255,steps=50. Received: 'pdg20'",
        ),
        attack("pgd20:steps=30", "steps: expected 20. Received: 30"),
        attack("pgd:epsilon=-8/255", "epsilon: expected greater than or equal to 0. Received: '-8/255'"),
        attack("pgd:steps=many", "steps: expected a valid integer. Received: 'many'"),
        attack("pgd:norm=L2", "norm: expected one of linf, l2, l1{l2}. Received: 'L2'"),
        (
            ["run", "--attack", "pgd:epsilom=8/255"],
            "The attack 'pgd:epsilom=8/255' is not as it should be. Unknown configuration key epsilom; did you mean "
            '"epsilon"? Known there: norm, epsilon, step_size, steps, start, momentum, clip_start, sparsity, restarts, '
            "loss, targeted, eot. Received: '8/255'",
        ),
        (
            ["run", "--attack", "pgd:loss=dlr"],
            "The loss dlr needs at least 3 classes. Received: --attack pgd, 2 classes",
        ),
        (
            ["run", "--json", "none/a.json"],
            "--json must name a file in a folder that is there. Received: 'none/a.json'",
        ),
        (["run", "--json", "run"], "--json must name a file in a folder that is there. Received: 'run'"),
        (["run", "--corruptions", "none"], "No such folder of corrupted images. Received: 'none'"),
        (
            ["run", "--output", "run/model/out"],
            "A model folder holds nothing but the model; choose another --output. Received: {place}/run/model/out in "
            "run/model",
        ),
        (
            ["run", "--dataset", "cfar10"],
            'Unknown data set; did you mean "cifar10"? Known: the names of TFDS, digits, a folder of images, an .npz '
            "file. Received: 'cfar10'",
        ),
        (
            ["run", "--dataset", "digits", "--split", "dev"],
            "The data set digits has the splits train and test. Received: 'dev'",
        ),
        (
            ["run", "--dataset", "digits"],
            "run knows 2 classes, and digits has 10; fine-tune an encoder on that data set first. Received: --dataset "
            "digits",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_usage(place, fail, arguments, line):
    hint = nearest("L2", ["linf", "l2", "l1"]).removesuffix("?")
    expected = line.format(place=place, model="images of 4x4 pixels, 2 classes", l2=f"{hint}?" if hint else "").replace(
        "?.", "?"
    )
    assert fail("evaluate", *arguments) == (2, f"acl-tf: error: {expected}")
    assert not (place / "run" / "evaluation").exists() and not (place / "runs").exists()


@pytest.mark.parametrize(
    "model, line",
    [
        ("none", "No model folder and no run. Received: 'none'"),
        ("unfinished/model", "No model folder and no run. Received: 'unfinished/model'"),
        ("random:resnet18", "No model folder and no run. Received: 'random:resnet18'"),
        (
            "encoder",
            "A classifier is needed here, and this is an encoder; make one of it by acl-tf finetune encoder. "
            "Received: 'encoder'",
        ),
        (
            "features.keras",
            "A classifier takes square images (batch, size, size, 3) and returns logits (batch, classes). "
            "Received: 'features.keras', from (None, 4, 4, 3) to (None, 2, 2, 3)",
        ),
        ("none.keras", "No such .keras file. Received: 'none.keras'"),
        (
            "unfinished",
            "The run unfinished has no model yet: finish it by acl-tf pretrain --resume --output unfinished",
        ),
    ],
)
@pytest.mark.parametrize("option", ["MODEL", "--surrogate"])
def test_models(place, fail, option, model, line):
    (place / "unfinished" / "checkpoints").mkdir(parents=True)
    inputs = keras.Input((4, 4, 3))
    keras.Model(inputs, keras.layers.MaxPooling2D()(inputs)).save("features.keras")
    arguments = [model] if option == "MODEL" else ["run", "--surrogate", model]
    assert fail("evaluate", *arguments, "--dataset", "greys.npz") == (1, f"acl-tf: error: {line}")


@pytest.mark.parametrize("option", ["MODEL", "--surrogate"])
def test_a_name_that_is_neither_here_nor_in_the_cache_of_the_hub(place, fail, option):
    arguments = ["user/name"] if option == "MODEL" else ["run", "--surrogate", "user/name"]
    code, line = fail("evaluate", *arguments, "--dataset", "greys.npz")
    expected = "acl-tf: error: No folder 'user/name' is here, and it cannot be loaded from the Hub. Offline mode is on"
    assert code == 1 and line.startswith(expected)


def test_a_surrogate_of_other_images(place, fail):
    write_classifier(place / "other", brightness(8))
    assert fail("evaluate", "run", "--surrogate", "other") == (
        2,
        "acl-tf: error: The surrogate must take the images of the model and know its classes: images of 4x4 pixels, "
        "2 classes. Received: 'other', images of 8x8 pixels, 2 classes",
    )


# Images


def test_no_labels(place, fail):
    np.savez("plain.npz", images=np.zeros((2, 4, 4, 3), np.uint8))
    assert fail("evaluate", "run", "--dataset", "plain.npz") == (
        1,
        "acl-tf: error: plain has no labels, which are needed here.",
    )


def test_images_that_are_not_square(place, fail):
    np.savez("wide.npz", images=np.zeros((2, 4, 6, 3), np.uint8), labels=[0, 1])
    assert fail("evaluate", "run", "--dataset", "wide.npz") == (
        1,
        "acl-tf: error: Images of wide must be square to be resized. Received: 6x4",
    )


def test_corrupted_images_of_another_size(place, fail):
    write_corrupted(place / "CIFAR-10-C", count=2)
    assert fail("evaluate", "run", "--corruptions", "CIFAR-10-C") == (
        1,
        "acl-tf: error: The model takes images of 4x4 pixels. Received: 32x32 in CIFAR-10-C, gaussian_noise",
    )


def test_corrupted_images_of_other_classes(place, fail):
    write_corrupted(place / "CIFAR-10-C", count=10, classes=10)
    assert fail("evaluate", "run", "--corruptions", "CIFAR-10-C") == (
        2,
        "acl-tf: error: labels.npy of CIFAR-10-C must hold labels from 0 to 1, the model's classes. Received: 0 to 9",
    )


def test_corrupted_images_of_which_some_are_missing(place, fail):
    (write_corrupted(place / "CIFAR-10-C", count=2) / "snow.npy").unlink()
    assert fail("evaluate", "run", "--corruptions", "CIFAR-10-C") == (
        2,
        "acl-tf: error: CIFAR-10-C must hold labels.npy and one .npy file for each of the 19 corruptions; 1 are "
        "missing: snow.npy",
    )


def test_corrupted_images_that_are_damaged(place, fail):
    (write_corrupted(place / "CIFAR-10-C", count=2, size=4) / "gaussian_noise.npy").write_bytes(b"")
    code, line = fail("evaluate", "run", "--corruptions", "CIFAR-10-C")
    assert code == 1
    assert line.startswith("acl-tf: error: CIFAR-10-C/gaussian_noise.npy is not a readable .npy file: ")


# Folders


def test_an_output_that_is_a_file(place, fail):
    (place / "file").touch()
    assert fail("evaluate", "run", "--attack", "none", "--output", "file") == (
        2,
        f"acl-tf: error: The output folder is a file; choose another --output. Received: {place}/file",
    )


def test_a_damaged_model_folder(place, fail):
    (place / "run" / "model" / "config.json").write_text(json.dumps({"kind": "classifier"}))
    assert fail("evaluate", "run") == (
        1,
        "acl-tf: error: run/model/config.json has changed since it was written: its SHA-256 is not the manifest's.",
    )
    write_manifest(place / "run" / "model")
    (place / "run" / "model" / "model.keras").unlink()
    code, line = fail("evaluate", "run", "--dataset", "greys.npz")
    assert (code, line.split(";")[0]) == (1, "acl-tf: error: run/model/model.keras is missing")
