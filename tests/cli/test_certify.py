"""`acl-tf certify`: a command line, what it leaves, and what it refuses."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

import acl_tf
from acl_tf.certify.certificates import read_certificates
from acl_tf.cli import run
from acl_tf.model_folder.manifest import verify
from acl_tf.records import read_file
from tests.evaluate.scenes import (
    brightness,
    classifier,
    greys,
    kept,
    noise,
    random_weights,
    write_classifier,
    write_images,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of a classifier of brightness; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    images = write_images(folder / "greys.npz", greys())
    recipe = {"data": {"dataset": str(images), "data_dir": None, "split": "train", "limit": 3}}
    write_classifier(folder / "run" / "model", brightness(), recipe=recipe)
    write_classifier(folder / "encoder", brightness(), (), kind="encoder")
    (folder / "run" / "run.json").write_text("{}")
    return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """Where the command runs: a copy of that."""
    monkeypatch.chdir(shutil.copytree(made, tmp_path / "place"))
    return tmp_path / "place"


def lines(text: str) -> list[list[str]]:
    """The cells of a table."""
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if line[0] == "│"]


SMALL = ["certify", "run", "--sigma", "0.25", "--n", "1000"]


def test_a_run(place, capsys):
    """The nearest grey image has a distance of 0.1 from the boundary: l2, over 48 values."""
    assert run(SMALL) == 0
    out, err = capsys.readouterr()
    assert [row[1:] for row in lines(out)] == [
        ["accuracy", "none, sigma 0.25, 1000 draws", "100.00", "8", "greys/all", "0"],
        ["abstention", "none, sigma 0.25, 1000 draws", "0.00", "8", "greys/all", "0"],
        ["certified_accuracy", "none, sigma 0.25, 1000 draws, l2 radius 0", "100.00", "8", "greys/all", "0"],
        ["certified_accuracy", "none, sigma 0.25, 1000 draws, l2 radius 0.25", "75.00", "8", "greys/all", "0"],
        ["certified_accuracy", "none, sigma 0.25, 1000 draws, l2 radius 0.5", "75.00", "8", "greys/all", "0"],
        ["average_certified_radius", "none, sigma 0.25, 1000 draws", lines(out)[-1][3], "8", "greys/all", "0"],
    ]
    assert re.fullmatch(r"0\.\d+ l2", lines(out)[-1][3])
    progress = [line for line in err.splitlines() if line.startswith("sigma")]
    assert progress[-1] == "sigma 0.25  8/8 images  certified 100.0 %, 0 abstentions"
    records = read_file(place / "run" / "evaluation" / "records.jsonl")
    assert acl_tf.load("run").records == records and len(records) == 6
    assert run(["show", "run"]) == 0
    assert lines(capsys.readouterr().out) == lines(out)


def test_everything_that_can_be_said(place, capsys):
    command = [*SMALL, "--n0", "50", "--alpha", "0.01", "--limit", "6", "--every", "2", "--split", "train"]
    command += ["--dataset", "greys.npz", "--batch-size", "300", "--seed", "7", "--output", "out", "--json", "out.json"]
    assert run(command) == 0
    records = json.loads((place / "out.json").read_text())
    assert records == read_file(place / "out" / "records.jsonl")
    protocol = {"attack": "none", "sigma": 0.25, "n0": 50, "n": 1000, "alpha": 0.01, "seed": 7, "every": 2}
    assert records[0]["protocol"] == protocol and records[0]["n"] == 3
    (file,) = (place / "out").glob("certificates-*.jsonl")
    assert [certificate.image for certificate in read_certificates(file)[1]] == [0, 2, 4]
    assert not (place / "run" / "evaluation").exists()


@pytest.mark.slow
def test_the_draws_of_an_image_are_shared_by_devices(place, capsys):
    """In a process of its own: devices are split before TensorFlow starts."""
    counts = []
    for name, more in (("one", []), ("two", ["--devices", "cpu:2"])):
        command = [sys.executable, "-m", "acl_tf", *SMALL, "--output", name, *more]
        subprocess.run(command, check=True, capture_output=True)
        (file,) = (place / name).glob("certificates-*.jsonl")
        counts.append([certificate.counts for certificate in read_certificates(file)[1]])
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    "arguments, line",
    [
        (["run"], "Missing option '--sigma'."),
        (["run", "--sigma", "much"], "Invalid value for '--sigma': 'much' is not a valid float."),
        (["run", "--sigma", "0"], "Configuration key sigma: expected greater than 0. Received: 0.0"),
        (["run", "--sigma", "nan"], "Configuration key sigma: expected a finite number. Received: nan"),
        (
            ["run", "--sigma", "1", "--n", "5"],
            "5 draws prove nothing at alpha 0.001, even where all agree; raise n. Received: n=5",
        ),
        (["run", "--sigma", "1", "--alpha", "0"], "Configuration key alpha: expected greater than 0. Received: 0.0"),
        (
            ["run", "--sigma", "1", "--n0", "0"],
            "Configuration key n0: expected greater than or equal to 1. Received: 0",
        ),
        (
            ["run", "--sigma", "1", "--every", "0"],
            "Configuration key every: expected greater than or equal to 1. Received: 0",
        ),
        (
            ["run", "--sigma", "1", "--json", "none/a.json"],
            "--json must name a file in a folder that is there. Received: 'none/a.json'",
        ),
        (
            ["run", "--sigma", "1", "--output", "run/model/out"],
            "A model folder holds nothing but the model; choose another --output. Received: {place}/run/model/out in "
            "run/model",
        ),
        (
            ["run", "--sigma", "1", "--dataset", "digits"],
            "run knows 2 classes, and digits has 10; fine-tune an encoder on that data set first. Received: --dataset "
            "digits",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_usage(place, fail, arguments, line):
    assert fail("certify", *arguments) == (2, f"acl-tf: error: {line.format(place=place)}")
    assert not (place / "run" / "evaluation").exists() and not (place / "runs").exists()


def test_an_encoder(place, fail):
    code, line = fail("certify", "encoder", "--sigma", "1")
    assert code == 1
    assert line.startswith("acl-tf: error: A classifier is needed here, and this is an encoder; make one of it by")


# Real processes


@pytest.fixture
def long(tmp_path):
    """A certification of some seconds: many images, and a batch of one draw."""
    write_images(tmp_path / "noise.npz", noise(random_weights(), 60))
    write_classifier(tmp_path / "run" / "model", classifier(random_weights()))
    (tmp_path / "run" / "run.json").write_text("{}")
    return tmp_path


def start(place, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "acl_tf", "certify", "run", "--dataset", "noise.npz", "--sigma", "0.25"]
    command += ["--n", "1500", "--batch-size", "5"]
    pipe = subprocess.PIPE
    return subprocess.Popen([*command, *more], cwd=place, stdout=pipe, stderr=pipe, text=True)


def finish(process: subprocess.Popen) -> None:
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "Traceback" not in err and lines(out)


def content(place, output: str) -> list[dict]:
    """All lines of the certificates, without seconds."""
    (file,) = (place / output).glob("certificates-*.jsonl")
    return [kept(json.loads(line)) for line in file.read_text().splitlines()]


def done(place) -> int:
    return sum(file.read_text().count("\n") - 1 for file in place.glob("run/evaluation/certificates-*"))


@pytest.mark.slow
def test_killed_at_any_moment(long):
    seed = int(os.environ.get("ACL_TF_TEST_SEED", time.time_ns() % 10**9))
    print(f"ACL_TF_TEST_SEED={seed}")
    chance = random.Random(seed)
    finish(start(long, "--output", "whole", "--json", "whole.json"))
    whole = [kept(record) for record in json.loads((long / "whole.json").read_text())]
    for number in (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
        process, more_than = start(long, "--resume"), done(long) + chance.randrange(10)
        while process.poll() is None and done(long) <= more_than:
            time.sleep(0.005)
        assert process.poll() is None, process.communicate()
        process.send_signal(number)
        _, err = process.communicate()
        assert process.returncode == (-number if number == signal.SIGKILL else 143)
        verify(long / "run" / "model")
    assert "acl-tf: error: Interrupted by SIGTERM; the images that are done are kept. Go on by the same command" in err
    assert 0 < done(long) < 60
    finish(start(long, "--resume", "--json", "resumed.json"))
    assert [kept(record) for record in json.loads((long / "resumed.json").read_text())] == whole
    assert content(long, "run/evaluation") == content(long, "whole")
    assert [kept(record) for record in acl_tf.load(str(long / "run")).records] == whole
    assert [kept(record) for record in read_file(long / "run" / "evaluation" / "records.jsonl")] == whole
