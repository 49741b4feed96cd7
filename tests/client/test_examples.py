"""The clients that a serving kit brings, run as a user runs them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from acl_tf.cli import run
from acl_tf.export.serving_kit import write_serving_kit
from tests.client.conftest import CLASSES, SHAPE

KINDS = ("classifier", "encoder")
SLOW = pytest.param("grpc_client.py", marks=pytest.mark.slow)  # imports TensorFlow
CLIENTS = {"rest_client.py": sys.executable, "grpc_client.py": sys.executable, "curl.sh": "sh"}


@pytest.fixture(scope="module")
def kits(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("kits")
    for kind in KINDS:
        write_serving_kit(folder / kind, kind, kind, SHAPE, CLASSES if kind == "classifier" else None)
    return {kind: folder / kind for kind in KINDS}


def call(kit: Path, client: str, serving, *arguments) -> subprocess.CompletedProcess:
    if client == "curl.sh" and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    server = serving.grpc.removeprefix("grpc://") if client == "grpc_client.py" else serving.rest
    command = [CLIENTS[client], kit / "clients" / client, server, *arguments]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", env=quiet)


@pytest.mark.parametrize("client", ["rest_client.py", SLOW])
@pytest.mark.parametrize("kind", KINDS)
def test_python(serving, kits, kind, client, images, expected):
    done = call(kits[kind], client, serving, *images)
    assert done.returncode == 0, done.stderr
    if kind == "encoder":
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert [row["file"] for row in rows] == [str(image) for image in images]
        np.testing.assert_allclose([row["features"] for row in rows], expected[kind], rtol=1e-4, atol=1e-5)
    else:
        best = [f"{CLASSES[row.argmax()]}\t{row.max():.4f}" for row in expected[kind]]
        assert done.stdout.splitlines() == [f"{image}\t{said}" for image, said in zip(images, best, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
def test_curl(serving, kits, kind, images, expected):
    done = call(kits[kind], "curl.sh", serving, *images)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["predictions"]
    found = [row["probabilities"] for row in rows] if kind == "classifier" else rows
    np.testing.assert_allclose(found, expected[kind], rtol=1e-4, atol=1e-5)


def test_without_classes_numbers_stand_for_them(serving, kits, images, expected, tmp_path):
    shutil.copytree(kits["classifier"] / "clients", tmp_path / "clients")
    done = call(tmp_path, "rest_client.py", serving, images[0])
    assert done.stdout.split("\t")[1] == str(expected["classifier"][0].argmax()), done.stderr


@pytest.mark.parametrize(
    "client", ["rest_client.py", "curl.sh", pytest.param("grpc_client.py", marks=pytest.mark.slow)]
)
def test_failures(serving, kits, client, tmp_path, images):
    """What the server says is passed on, and no traceback."""
    bad, missing = tmp_path / "bad.png", tmp_path / "missing.png"
    bad.write_text("no image")
    for file, said in [(bad, "Unknown image file format"), (missing, "missing.png")]:
        done = call(kits["encoder"], client, serving, images[0], file)
        assert done.returncode != 0
        assert said in done.stdout + done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "client", ["rest_client.py", "curl.sh", pytest.param("grpc_client.py", marks=pytest.mark.slow)]
)
def test_usage(serving, kits, client):
    done = call(kits["encoder"], client, serving)
    assert done.returncode in (1, 2) and client in done.stderr and "IMAGE..." in done.stderr


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_acl_tf_client(serving, kits, protocol, images, expected, capsys):
    server = getattr(serving, protocol)
    best = [f"{CLASSES[row.argmax()]}\t{row.max():.4f}" for row in expected["classifier"]]
    files, classes = [*map(str, images)], str(kits["classifier"] / "classes.txt")
    assert run(["client", server, "--model", "classifier", "--classes", classes, *files]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [f"{image}\t{row}" for image, row in zip(images, best, strict=True)]
    assert run(["client", server, "--model", "encoder", *files]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    np.testing.assert_allclose([row["features"] for row in rows], expected["encoder"], rtol=1e-4, atol=1e-5)
