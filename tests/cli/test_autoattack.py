"""`acl-tf evaluate --attack autoattack`: a command line, its record, and what a killed one leaves."""

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import acl_tf
from acl_tf.cli import run
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

ATTACK = "autoattack:epsilon=10/255,attacks=apgd-ce+square"
SLOW = "autoattack:epsilon=0.012,attacks=apgd-ce+square"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of a classifier of brightness; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    write_images(folder / "greys.npz", greys())
    recipe = {"data": {"dataset": "greys.npz", "data_dir": None}}
    write_classifier(folder / "run" / "model", brightness(), recipe=recipe)
    (folder / "run" / "run.json").write_text("{}")
    return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(made, tmp_path / "place"))
    return tmp_path / "place"


def same(record: dict) -> dict:
    return {key: value for key, value in kept(record).items() if key != "seconds_per_attack"}


@pytest.mark.slow
def test_a_run(place, capsys):
    assert run(["evaluate", "run", "--attack", "none", "--attack", ATTACK, "--json", "records.json"]) == 0
    _, record = records = json.loads((place / "records.json").read_text())
    assert record["value"] == 0.75
    assert record["protocol"]["per_attack"] == {"clean": 8, "apgd-ce": 6, "square": 6}
    assert acl_tf.load("run").records == read_file(place / "run" / "evaluation" / "records.jsonl") == records
    out, err = capsys.readouterr()
    assert "75.00" in out
    assert "autoattack square  6/6 images  0 left, robust accuracy 75.00 %" in err
    assert run(["evaluate", "run", "--attack", "none", "--attack", ATTACK]) == 0
    assert len(acl_tf.load("run").records) == 2


NAMES = "some of apgd-ce, apgd-dlr, apgd-t, fab, fab-t, square, each once, joined by +"


@pytest.mark.parametrize(
    "attack, reason",
    [
        (
            "autoattack:version=new",
            "Configuration key version: expected 'standard', 'plus' or 'rand'. Received: 'new'",
        ),
        ("autoattack:attacks=apgd", f"Configuration key attacks: expected {NAMES}. Received: 'apgd'"),
        ("autoattack:epsilon=-1", "Configuration key epsilon: expected greater than 0. Received: -1"),
        ("autoattack:norm=l0", "Configuration key norm: expected 'linf', 'l2' or 'l1'"),
    ],
)
def test_parameters(place, fail, attack, reason):
    code, line = fail("evaluate", "run", "--attack", attack)
    assert code == 2
    assert line.startswith(f"acl-tf: error: The attack '{attack}' is not as it should be. {reason}")


def test_a_surrogate(place, fail):
    assert fail("evaluate", "run", "--attack", "autoattack", "--surrogate", "run/model") == (
        2,
        "acl-tf: error: AutoAttack is for the model that it sees; use pgd for a black-box transfer. "
        "Received: --attack autoattack, --surrogate",
    )


def test_too_few_classes(place, fail):
    assert fail("evaluate", "run", "--attack", "autoattack") == (
        2,
        "acl-tf: error: apgd-t needs at least 4 classes; use attacks=apgd-ce+fab-t+square. Received: 2 classes",
    )


@pytest.mark.slow
def test_two_replicas(place):
    command = [
        sys.executable,
        "-m",
        "acl_tf",
        "evaluate",
        "run",
        "--attack",
        ATTACK,
        "--strategy",
        "mirrored",
        "--devices",
        "cpu:2",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    expected = "acl-tf: error: AutoAttack runs on one device. Received: --attack autoattack, 2 replicas"
    assert expected in done.stderr.splitlines()


# Real processes


def start(place, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "acl_tf", "evaluate", "run", "--dataset", "noise.npz", "--batch-size", "16"]
    pipe = subprocess.PIPE
    return subprocess.Popen([*command, "--attack", SLOW, *more], cwd=place, stdout=pipe, stderr=pipe, text=True)


def finish(process: subprocess.Popen) -> None:
    _, err = process.communicate()
    assert process.returncode == 0, err


def decided(place) -> int:
    """How many jobs are done, as far as the file of a killed evaluation tells."""
    count = 0
    for file in place.glob("run/evaluation/unfinished-*.npz"):
        with np.load(file) as arrays:
            count += int(arrays["withstood"].sum() + (arrays["broken_by"] >= 0).sum())
    return count


@pytest.mark.slow
def test_killed_and_resumed_it_ends_with_the_same_record(tmp_path):
    """It is killed after APGD, which Square begins from; and again by SIGINT, which saves first."""
    write_images(tmp_path / "noise.npz", noise(random_weights(), 24))
    write_classifier(tmp_path / "run" / "model", classifier(random_weights()))
    (tmp_path / "run" / "run.json").write_text("{}")
    finish(start(tmp_path, "--output", "whole", "--json", "whole.json"))
    (whole,) = json.loads((tmp_path / "whole.json").read_text())
    process = start(tmp_path, "--resume")
    while process.poll() is None and decided(tmp_path) == 0:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    before = decided(tmp_path)
    process = start(tmp_path, "--resume")
    assert any(line.startswith("autoattack square  ") for line in process.stderr)  # reads no further
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130, err
    assert decided(tmp_path) >= before > 0
    finish(start(tmp_path, "--resume", "--json", "resumed.json"))
    (resumed,) = json.loads((tmp_path / "resumed.json").read_text())
    assert same(resumed) == same(whole)
    assert [same(record) for record in acl_tf.load(str(tmp_path / "run")).records] == [same(whole)]
    assert not list(tmp_path.glob("run/evaluation/unfinished-*"))
