"""Bad input: the exit code and the very line that each mistake is answered with."""

import os
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from acl_tf.config import recipe_names
from tests.cli.conftest import TINY

SECTIONS = "data, order, augmentation, model, objective, attack, optimizer, training"
ARCHITECTURES = "resnet10, resnet18, resnet34, resnet50, wrn-28-10, wrn-34-10"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Runs whose folder nobody named are left here."""
    monkeypatch.chdir(tmp_path)


def picture(file, height=8, width=8, seed=0):
    file.parent.mkdir(exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)).save(file)
    return file


# The command line


@pytest.mark.parametrize(
    "arguments, line",
    [
        (
            ["pretrian"],
            "Unknown command; did you mean \"pretrain\"? Known: {commands}. Received: 'pretrian'",
        ),
        (["zzz"], "Unknown command. Known: {commands}. Received: 'zzz'"),
        (["--frobnicate"], "No such option '--frobnicate'."),
        (["pretrain", "--varant", "ds"], "No such option '--varant'. Did you mean '--variant'?"),
        (["pretrain", "stray"], "Got unexpected extra argument (stray)"),
        (["pretrain", "--epochs"], "Option '--epochs' requires an argument."),
        (["pretrain", "--epochs", "ten"], "Invalid value for '--epochs': 'ten' is not a valid integer."),
        (
            ["pretrain", "--variant", "dss"],
            'Configuration key objective.variant: expected one of s2s, a2a, a2s, ds; did you mean "ds"? '
            "Received: 'dss'",
        ),
        (
            ["pretrain", "--arch", "resnet81"],
            f'Configuration key model.arch: expected one of {ARCHITECTURES}; did you mean "resnet18"? '
            "Received: 'resnet81'",
        ),
        (
            ["pretrain", "--optimizer", "lamb"],
            'Configuration key optimizer.name: expected one of lars, sgd, adamw; did you mean "lars"? '
            "Received: 'lamb'",
        ),
        (
            ["pretrain", "--precision", "bfloat16"],
            "Configuration key training.precision: expected 'float32', 'mixed_bfloat16', 'mixed_float16' or 'float64'; "
            "did you mean \"mixed_bfloat16\"? Received: 'bfloat16'",
        ),
        (
            ["pretrain", "--set", "atack.steps=3"],
            f'Unknown configuration key atack; did you mean "attack"? Known there: {SECTIONS}. '
            "Received: {{'steps': 3}}",
        ),
        (
            ["pretrain", "--set", "attack.step=3"],
            'Unknown configuration key attack.step; did you mean "steps"? Known there: name, norm, epsilon, step_size, '
            "steps, start, momentum, clip_start, sparsity. Received: 3",
        ),
        (
            ["pretrain", "--set", "attack.steps=many"],
            "Configuration key attack.steps: expected a valid integer. Received: 'many'",
        ),
        (
            ["pretrain", "--set", "attack.steps"],
            "Expected section.key=value, for example training.epochs=10. Received: 'attack.steps'",
        ),
        (
            ["pretrain", "--set", "data=digits"],
            "Configuration key data: expected a mapping of keys to values. Received: 'digits'",
        ),
        (
            ["pretrain", "--epochs", "0"],
            "Configuration key training.epochs: expected greater than or equal to 1. Received: 0",
        ),
        (
            ["pretrain", "--config", "acl_ds"],
            "No configuration file and no recipe of that name{acl_ds} Recipes: {recipes}. Received: 'acl_ds'",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_command_line(fail, arguments, line):
    from acl_tf.cli import COMMANDS
    from acl_tf.registry import nearest

    expected = line.format(
        commands=", ".join(COMMANDS),
        recipes=", ".join(recipe_names()),
        acl_ds=nearest("acl_ds", recipe_names()) or ".",
    )
    assert fail(*arguments) == (2, f"acl-tf: error: {expected}")


def test_a_configuration_that_is_not_yaml(fail, tmp_path):
    (tmp_path / "run.yaml").write_text("training: {epochs: 3")
    code, line = fail("pretrain", "--config", "run.yaml")
    assert code == 2
    assert line.startswith("acl-tf: error: run.yaml is not valid YAML: while parsing a flow mapping")


# Images


def test_unknown_data_set(fail):
    assert fail("pretrain", "--dataset", "cfar10") == (
        2,
        'acl-tf: error: Unknown data set; did you mean "cifar10"? Known: the names of TFDS, digits, a folder of '
        "images, an .npz file. Received: 'cfar10'",
    )


def test_unknown_folder(fail):
    assert fail("pretrain", "--dataset", "./photos") == (
        2,
        "acl-tf: error: No such folder of images. Received: './photos'",
    )


def test_empty_folder(fail, tmp_path):
    (tmp_path / "photos").mkdir()
    assert fail("pretrain", "--dataset", "photos") == (
        1,
        "acl-tf: error: There is no image in photos or its sub-folders; files must end in .bmp, .gif, .jfif, .jpe, "
        ".jpeg, .jpg, .png, .ppm, .tif, .tiff, .webp. Received: 0 other entries",
    )


def test_a_truncated_jpeg(fail, tmp_path):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        picture(tmp_path / "photos" / name, 64, 64)
    bad = tmp_path / "photos" / "b.jpg"
    bad.write_bytes(bad.read_bytes()[:3000])
    code, line = fail("pretrain", "--dataset", "photos", "--batch-size", "2")
    assert code == 1
    assert re.fullmatch(
        r"acl-tf: error: Cannot read the image photos/b\.jpg: image file is truncated \(\d+ bytes not processed\)\. "
        r"Repair or remove it, or go on without it by --skip-bad-images\.",
        line,
    )


def test_mixed_sizes(fail, tmp_path):
    picture(tmp_path / "photos" / "a.png", 8, 8)
    picture(tmp_path / "photos" / "b.png", 9, 10)
    assert fail("pretrain", "--dataset", "photos") == (
        1,
        "acl-tf: error: The images have different sizes; resize them all with --set data.image_size=32, for example. "
        "Received: 8x8 in a.png, 10x9 in b.png",
    )


def test_images_that_are_not_square(fail, tmp_path):
    for name in ("a.png", "b.png"):
        picture(tmp_path / "photos" / name, 9, 12)
    assert fail("pretrain", "--dataset", "photos", "--batch-size", "2") == (
        2,
        "acl-tf: error: Encoders take square images; set their size by --set data.image_size=9. Received: 12x9",
    )


def test_a_batch_larger_than_the_data_set(fail, noise):
    assert fail("pretrain", "--dataset", noise, "--batch-size", "12") == (
        2,
        "acl-tf: error: The batch size must not exceed the number of images, 11; lower --batch-size. Received: 12",
    )


def test_arrays_of_the_wrong_form(fail, tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((4, 3, 8, 8), np.uint8))
    assert fail("pretrain", "--dataset", "a.npz") == (
        1,
        "acl-tf: error: Images of a.npz must be uint8, of shape (n, height, width, 3) or (n, height, width, 1). "
        "Received: uint8 of shape (4, 3, 8, 8)",
    )
    np.savez(tmp_path / "a.npz", images=np.zeros((4, 8, 8, 3), np.uint8), labels=np.eye(4))
    assert fail("pretrain", "--dataset", "a.npz") == (
        1,
        "acl-tf: error: labels of a.npz must be 4 integers from 0, one per image. Received: float64 of shape (4, 4)",
    )


def test_unknown_splits(fail, cifar10_dir):
    assert fail("pretrain", "--data-dir", cifar10_dir, "--set", "data.split=unlabelled") == (
        2,
        "acl-tf: error: cifar10 has no images in such a split; it has train, test. Received: 'unlabelled'",
    )
    assert fail("pretrain", "--dataset", "digits", "--set", "data.split=unlabelled") == (
        2,
        "acl-tf: error: The data set digits has the splits train and test. Received: 'unlabelled'",
    )


# In a process of its own, whose resolver finds no name: that is what having no network means.
NO_NETWORK = """
import socket, sys

def nowhere(*arguments, **options):
    raise socket.gaierror(-3, "Temporary failure in name resolution")

socket.getaddrinfo = nowhere
from acl_tf.cli import run
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.slow
def test_not_prepared_and_no_network(tmp_path):
    proxies = {"http_proxy", "https_proxy", "all_proxy"}
    environment = {name: value for name, value in os.environ.items() if name.lower() not in proxies}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", NO_NETWORK, "pretrain", "--data-dir", tmp_path / "data", "--output", "run"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert time.monotonic() - begin < 60  # TFDS alone would try again for minutes; starting TensorFlow takes some
    assert (done.returncode, done.stdout) == (1, "")
    first, device, error = done.stderr.splitlines()
    assert first == "acl-tf: run folder run" and device.startswith("acl-tf: TensorFlow ")
    assert error == (
        f"acl-tf: error: The data set cifar10 is not in {tmp_path}/data/cifar10/3.0.2 and cannot be downloaded "
        "(no network: www.cs.toronto.edu cannot be found). Name the folder that holds it by --data-dir, or train on "
        "images that come with the package by --dataset digits."
    )


# The run folder


def test_a_folder_that_holds_another_run(fail, finished, noise):
    assert fail("pretrain", *TINY, "--dataset", noise, "--output", finished) == (
        2,
        "acl-tf: error: The output folder holds another run; go on with it by --resume, or choose another --output. "
        f"Received: {finished}",
    )


def test_a_folder_that_holds_something_else(fail, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "main.tex").touch()
    assert fail("pretrain", "--output", "thesis") == (
        2,
        "acl-tf: error: The output folder is not empty and holds no run; choose another --output. Received: thesis",
    )


def test_a_folder_that_is_a_file(fail, tmp_path):
    (tmp_path / "file").touch()
    assert fail("pretrain", "--output", "file") == (
        2,
        "acl-tf: error: The output folder is a file; choose another --output. Received: file",
    )


def test_a_folder_that_cannot_be_made(fail, tmp_path):
    (tmp_path / "file").touch()
    assert fail("pretrain", "--output", "file/run") == (1, "acl-tf: error: Not a directory: file/run/checkpoints")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(fail, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    assert fail("pretrain", "--output", "locked/run") == (1, "acl-tf: error: Permission denied: locked/run")


def test_a_folder_that_the_system_does_not_let_anybody_write(fail):
    code, line = fail("pretrain", "--output", "/proc/run")
    assert code == 1
    assert re.fullmatch("acl-tf: error: (No such file or directory|Permission denied): /proc/run", line)


def test_a_mistake_in_the_data_leaves_no_run_behind(fail, tmp_path):
    """The same command, corrected, gets as far as the next mistake."""
    assert fail("pretrain", "--dataset", "cfar10", "--output", "run")[0] == 2
    code, line = fail("pretrain", "--dataset", "digits", "--batch-size", "9999", "--output", "run")
    assert (code, line.split(";")[0]) == (
        2,
        "acl-tf: error: The batch size must not exceed the number of images, 1437",
    )


# Going on with a run


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")


def test_resuming_with_another_configuration(fail, finished):
    assert fail(
        "pretrain",
        "--output",
        finished,
        "--resume",
        "--width",
        "0.125",
        "--set",
        "training.log_steps=1",
        "--set",
        "model.projection_blocks=3",
    ) == (
        2,
        f"acl-tf: error: The run in {finished} has another configuration and cannot go on with this one. "
        "Expected: model.width=0.0625, model.projection_blocks=2. "
        "Received: model.width=0.125, model.projection_blocks=3",
    )


def test_a_checkpoint_of_another_architecture(fail, copy):
    """As when checkpoints are copied by hand from run to run."""
    config = copy / "config.yaml"
    config.write_text(config.read_text().replace("arch: resnet10", "arch: resnet18"))
    expected = "stem cifar, batch_norm paired, projection_blocks 2"
    assert fail("pretrain", "--output", copy, "--resume") == (
        1,
        f"acl-tf: error: The checkpoint {copy}/checkpoints/step-00000002 is of another architecture. "
        f"Expected: arch resnet18, width 0.0625, {expected}. Received: arch resnet10, width 0.0625, {expected}",
    )


def test_another_data_set_on_resume(fail, copy, noise, tmp_path):
    with np.load(noise) as archive:
        images = archive["images"]
    np.savez(tmp_path / "noise.npz", images=images[::-1])
    config = copy / "config.yaml"
    config.write_text(config.read_text().replace(str(noise), str(tmp_path / "noise.npz")))
    code, line = fail("pretrain", "--output", copy, "--resume")
    assert code == 1
    assert re.fullmatch(
        rf"acl-tf: error: The checkpoint {copy}/checkpoints/step-00000002 is of another data set\. "
        r"Expected: images 11, crc32 \d+\. Received: images 11, crc32 \d+",
        line,
    )


def test_no_checkpoint_can_be_read(fail, copy, caplog):
    for state in copy.glob("checkpoints/*/state.data*"):
        state.write_bytes(state.read_bytes()[:1000])
    assert fail("pretrain", "--output", copy, "--resume") == (
        1,
        f"acl-tf: error: None of the 2 checkpoints in {copy}/checkpoints can be read.",
    )
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [message.split(" (")[0] for message in warnings] == [
        f"The checkpoint {copy}/checkpoints/step-{step:08d} cannot be read" for step in (2, 1)
    ]
