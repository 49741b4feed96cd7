"""`acl-tf evaluate`: a command line, its records, and where they go."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

import acl_tf
from acl_tf.cli import run
from acl_tf.cli.measurement import default_output
from acl_tf.data.digits import load_digits
from acl_tf.model_folder.manifest import verify
from acl_tf.model_folder.write import TrainedModel, write_model_folder
from acl_tf.models.branch import Branch
from acl_tf.models.encoder import Encoder
from acl_tf.records import read_file
from tests.data.published import write_corrupted
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


def test_ta_and_ra_of_a_run(place, capsys):
    assert run(["evaluate", "run", "--attack", "none", "--attack", "pgd20:epsilon=10/255"]) == 0
    out, err = capsys.readouterr()
    assert lines(out) == [
        ["run", "accuracy", "none", "100.00", "8", "greys/all", ""],
        ["run", "robust_accuracy", "PGD-20 l∞ 10/255, 1 restart", "75.00", "8", "greys/all", "0"],
    ]
    assert set(out.splitlines()[0]) & set("┏━") and "images" not in out
    progress = [line for line in err.splitlines() if not line.startswith("acl-tf: ")]
    assert progress[-1] == "pgd20  8/8 images"
    records = read_file(place / "run" / "evaluation" / "records.jsonl")
    assert [record["value"] for record in records] == [1.0, 0.75]
    assert acl_tf.load("run").records == records
    assert sorted(file.name for file in (place / "run").iterdir()) == ["evaluation", "model", "run.json"]


def test_the_default_is_none_and_pgd20(place, capsys):
    assert run(["evaluate", "run/model", "--json", "records.json"]) == 0
    records = json.loads((place / "records.json").read_text())
    assert [(record["metric"], record["protocol"]["attack"]) for record in records] == [
        ("accuracy", "none"),
        ("robust_accuracy", "pgd20"),
    ]
    assert records == read_file(place / "run" / "evaluation" / "records.jsonl")


def test_everything_that_can_be_said(place, capsys):
    command = ["evaluate", "run", "--attack", "pgd:epsilon=10/255,steps=9", "--attack", "fgsm:epsilon=40/255"]
    command += ["--dataset", "greys.npz", "--limit", "6", "--batch-size", "4", "--seed", "7"]
    command += ["--surrogate", "run/model", "--output", "out", "--json", "out.json", "--split", "train"]
    assert run(command) == 0
    records = json.loads((place / "out.json").read_text())
    assert [record["protocol"]["attack"] for record in records] == ["pgd", "fgsm", "worst_case"]
    assert {(record["n"], record["protocol"]["seed"]) for record in records} == {(6, 7)}
    assert records[0]["protocol"]["surrogate_sha256"] == records[0]["model_sha256"]
    assert records == read_file(place / "out" / "records.jsonl")
    assert not (place / "run" / "evaluation").exists()
    assert [row[2:4] for row in lines(capsys.readouterr().out)] == [
        ["PGD l∞ 10/255, 9 steps, 1 restart", "66.67"],
        ["FGSM l∞ 40/255, 1 step, 1 restart", "33.33"],
        ["worst case", "33.33"],
    ]


def test_twice_is_the_same_and_no_record_is_doubled(place, capsys):
    for name in ("one.json", "two.json"):
        assert run(["evaluate", "run", "--attack", "pgd:epsilon=30/255,steps=1", "--json", name]) == 0
    one, two = (json.loads((place / name).read_text()) for name in ("one.json", "two.json"))
    assert [kept(record) for record in one] == [kept(record) for record in two]
    assert acl_tf.load("run").records == two
    assert run(["show", "run"]) == 0
    assert len(lines(capsys.readouterr().out)) == 2 + 1


def test_a_keras_file(place):
    shutil.move(place / "run" / "model" / "model.keras", place / "alone.keras")
    shutil.rmtree(place / "run")
    assert run(["evaluate", "alone.keras", "--dataset", "greys.npz", "--attack", "none"]) == 0
    (record,) = read_file(place / "runs" / "evaluation_alone.keras" / "records.jsonl")
    assert record["value"] == 1.0


@pytest.mark.parametrize(
    "model, output",
    [
        ("run", "run/evaluation"),
        ("run/model", "run/evaluation"),
        ("run/model/", "run/evaluation"),
        ("other", "runs/evaluation_other"),
        ("other/model", "runs/evaluation_other"),
        ("run/model/model.keras", "runs/evaluation_model.keras"),
    ],
)
def test_where_an_evaluation_is_kept(place, model, output):
    shutil.copytree("run/model", "other/model")
    assert os.path.relpath(default_output(model)) == output


def test_inside_the_model_folder(place, monkeypatch):
    monkeypatch.chdir("run/model")
    assert default_output(".").resolve() == place / "run" / "evaluation"
    assert run(["evaluate", ".", "--attack", "none", "--dataset", "../../greys.npz", "--json", "../one.json"]) == 0
    assert len(acl_tf.load(str(place / "run")).records) == len(json.loads((place / "run/one.json").read_text())) == 1


def test_corruptions(place, capsys):
    shutil.rmtree("run/model")
    write_classifier(place / "run" / "model", brightness(32, 10), tuple("0123456789"))
    write_corrupted(place / "CIFAR-10-C", count=2)
    assert run(["evaluate", "run", "--corruptions", "CIFAR-10-C", "--json", "c.json"]) == 0
    rows = lines(capsys.readouterr().out)
    assert len(rows) == len(json.loads((place / "c.json").read_text())) == 116
    assert rows[0][:3] == ["run", "corruption_accuracy", "gaussian noise, severity 1"]
    assert [row[2] for row in rows[-2:]] == ["mean of 15 corruptions", "mean of 19 corruptions"]


def test_corruptions_without_a_folder_are_those_of_tfds(place, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr("acl_tf.evaluate.run.evaluate", lambda config, *_: asked.append(config) or [])
    assert run(["evaluate", "run", "--corruptions"]) == 0
    assert run(["evaluate", "run", "--corruptions", "--seed", "1"]) == 0
    assert [(config.corruptions, config.attacks, config.evaluators()) for config in asked] == [
        ("tfds", (), []),
        ("tfds", (), []),
    ]


def test_a_fine_tuned_network(tmp_path, monkeypatch, capsys):
    """What acl-tf finetune writes: a residual network, its classifier, and both branches."""
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    encoder = Encoder("resnet10", width=0.0625, image_shape=(8, 8, 3))
    layer = keras.layers.Dense(10, name="fc")
    layer.build((None, encoder.feature_dim))
    recipe = {"data": {"dataset": "digits", "data_dir": None}}
    classes = load_digits("test").classes
    write_model_folder(
        tmp_path / "run" / "model", TrainedModel(encoder, Branch.ADVERSARIAL, recipe, None, layer, classes)
    )
    command = ["evaluate", "run", "--limit", "9", "--attack", "none", "--attack", "fgsm", "--batch-size", "4"]
    assert run([*command, "--json", "one.json"]) == 0
    images = load_digits("test").first(9).resized(8)
    logits = acl_tf.load("run")(images.images / np.float32(255))
    first, second, *_ = acl_tf.load("run").records
    assert first["value"] == np.mean(np.argmax(logits, -1) == images.labels)
    assert (first["dataset"], first["split"], first["n"]) == ("digits", "test", 9)
    assert second["protocol"]["attack"] == "fgsm"
    verify(tmp_path / "run" / "model")


# Real processes

ATTACKS = ["--attack", "none", "--attack", "pgd20:epsilon=0.01", "--attack", "pgd:epsilon=0.012,steps=20,restarts=2"]


@pytest.fixture
def long(tmp_path):
    """An evaluation of some seconds: many batches of one image."""
    write_images(tmp_path / "noise.npz", noise(random_weights(), 400))
    write_classifier(tmp_path / "run" / "model", classifier(random_weights()))
    (tmp_path / "run" / "run.json").write_text("{}")
    return tmp_path


def start(place, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "acl_tf", "evaluate", "run", "--dataset", "noise.npz", "--batch-size", "1"]
    pipe = subprocess.PIPE
    return subprocess.Popen([*command, *ATTACKS, *more], cwd=place, stdout=pipe, stderr=pipe, text=True)


def finish(process: subprocess.Popen) -> None:
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "Traceback" not in err and lines(out)


def done(place) -> int:
    """How many images are done of measurements that are under way."""
    count = 0
    for file in place.glob("run/evaluation/unfinished-*.npz"):
        with np.load(file) as arrays:
            count += len(arrays["correct"])
    return count


def stop(place, number: signal.Signals, more_than: int, *arguments: str) -> tuple[int, str]:
    process = start(place, *arguments)
    while process.poll() is None and done(place) <= more_than:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()
    process.send_signal(number)
    _, err = process.communicate()
    return process.returncode, err


@pytest.fixture
def chance() -> random.Random:
    """Random moments; the seed is shown where a test fails."""
    seed = int(os.environ.get("ACL_TF_TEST_SEED", time.time_ns() % 10**9))
    print(f"ACL_TF_TEST_SEED={seed}")
    return random.Random(seed)


@pytest.mark.slow
def test_killed_at_any_moment(long, chance):
    finish(start(long, "--output", "whole", "--json", "whole.json"))
    whole = [kept(record) for record in json.loads((long / "whole.json").read_text())]
    acl_tf.load(str(long / "run"))
    for _ in range(3):
        before = done(long)
        code, _ = stop(long, signal.SIGKILL, before + chance.randrange(200), "--resume")
        assert code == -signal.SIGKILL and done(long) > before
        verify(long / "run" / "model")
    code, err = stop(long, signal.SIGINT, done(long), "--resume")
    assert code == 130
    assert re.search(r"acl-tf: error: Interrupted by SIGINT after \d+ of 400 images of \w+\. Go on by the same", err)
    finish(start(long, "--resume", "--json", "resumed.json"))
    assert [kept(record) for record in json.loads((long / "resumed.json").read_text())] == whole
    assert [kept(record) for record in read_file(long / "run" / "evaluation" / "records.jsonl")] == whole
    assert [kept(record) for record in acl_tf.load(str(long / "run")).records] == whole
    leftovers = [file for file in (long / "run").rglob(".*") if not file.name.endswith(".tmp")]
    assert leftovers == [] and not list(long.glob("run/evaluation/unfinished-*"))


@pytest.mark.slow
def test_two_at_once_lose_no_records(long):
    processes = [start(long, "--limit", "40", "--seed", str(seed)) for seed in (1, 2, 3)]
    for process in processes:
        finish(process)
    for records in (acl_tf.load(str(long / "run")).records, read_file(long / "run" / "evaluation" / "records.jsonl")):
        found = sorted((record["protocol"].get("seed", 0), record["protocol"]["attack"]) for record in records)
        attacks = ["pgd", "pgd20", "worst_case"]
        assert found == [(0, "none"), *((seed, attack) for seed in (1, 2, 3) for attack in attacks)]
