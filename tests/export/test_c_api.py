"""A SavedModel without Python's help: through TensorFlow's C API, where only the graph itself checks what it is fed."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.export import c_api
from tests.export.test_saved_model import encoded, gradual, meta_graph
from tests.export.tiny import FLOATS, IMAGES, difference

LIBRARIES = os.environ.get("ACL_TF_TENSORFLOW_LIBRARIES", str(Path(tf.__file__).parent))


def ask(saved_model: Path, requests: list[tuple[str, np.ndarray | list[bytes]]], **environment: str) -> list:
    """Runs signatures in a process of its own; an answer is `output name → array`, or an error."""
    signatures = meta_graph(saved_model).signature_def
    asked, names = [], []
    for signature, value in requests:
        (given,) = signatures[signature].inputs.values()
        names.append({output.name: name for name, output in signatures[signature].outputs.items()})
        request = {"input": given.name, "outputs": list(names[-1])}
        if isinstance(value, list):
            request["files"] = [base64.b64encode(file).decode() for file in value]
        else:
            data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
            request |= {"dtype": str(value.dtype), "shape": value.shape, "data": data}
        asked.append(request)
    command = [sys.executable, "-I", c_api.__file__, LIBRARIES, str(saved_model)]
    done = subprocess.run(
        command, input=json.dumps(asked), env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers = json.loads(done.stdout)
    return [
        answer if "error" in answer else {names[at][tensor]: array(value) for tensor, value in answer.items()}
        for at, answer in enumerate(answers)
    ]


def array(value: dict) -> np.ndarray:
    return np.frombuffer(base64.b64decode(value["data"]), np.float32).reshape(value["shape"])


FILES = [encoded(image) for image in IMAGES]
WRONG = [
    ("another size", np.zeros((2, 8, 8, 3))),
    ("one side", np.zeros((2, 16, 17, 3))),
    ("channels", np.zeros((2, 16, 16, 1))),
    ("no batch", np.zeros((16, 16, 3))),
    ("too many axes", np.zeros((1, 2, 16, 16, 3))),
    ("a number", np.zeros(())),
    ("a row", np.zeros(768)),
    ("empty and of another size", np.zeros((0, 8, 8, 3))),
]


@pytest.fixture(scope="module")
def answers(saved_classifier):
    """Everything in one session, so that the library is loaded once; after errors, it goes on."""
    right = [
        ("serving_default", FLOATS),
        ("uint8", IMAGES),
        ("image_bytes", FILES),
        ("image_bytes", [encoded(gradual(60, 50), "jpeg"), encoded(gradual(16, 16))]),
        ("serving_default", FLOATS[:0]),
        ("uint8", IMAGES[:0]),
        ("image_bytes", []),
        ("serving_default", FLOATS[:1]),
    ]
    wrong = [(name, images.astype(dtype)) for name, dtype in SIGNATURES.items() for _, images in WRONG]
    broken = [("image_bytes", [FILES[0], b"no image"]), ("image_bytes", [FILES[0][:60]])]
    asked = [*wrong, *broken, *right]
    answered = ask(saved_classifier, asked)
    end = len(wrong)
    return {"wrong": answered[:end], "broken": answered[end : end + 2], "right": answered[end + 2 :]}


SIGNATURES = {"serving_default": "float32", "uint8": "uint8"}


def test_outputs_are_those_of_the_keras_model(answers, classifier):
    expected = classifier(FLOATS).numpy()
    probabilities = np.exp(expected) / np.exp(expected).sum(-1, keepdims=True)
    for answer in answers["right"][:3]:
        assert difference(answer["logits"], expected) < 1e-5
        assert difference(answer["probabilities"], probabilities) < 1e-5
    assert difference(answers["right"][7]["logits"], expected[:1]) < 1e-5


def test_files_are_decoded_and_resized_as_python_does(answers, saved_classifier):
    files = tf.constant([encoded(gradual(60, 50), "jpeg"), encoded(gradual(16, 16))])
    expected = tf.saved_model.load(str(saved_classifier)).signatures["image_bytes"](files)["logits"]
    assert difference(answers["right"][3]["logits"], expected) < 1e-5


def test_an_empty_batch(answers):
    for answer in answers["right"][4:7]:
        assert answer["logits"].shape == answer["probabilities"].shape == (0, 3)


@pytest.mark.parametrize("signature", SIGNATURES)
@pytest.mark.parametrize("number", range(len(WRONG)), ids=[name for name, _ in WRONG])
def test_the_graph_refuses_other_shapes(answers, signature, number):
    answer = answers["wrong"][list(SIGNATURES).index(signature) * len(WRONG) + number]
    shape = " ".join(map(str, WRONG[number][1].shape))
    assert answer["code"] == 3  # invalid argument
    assert f"[Images must have the shape (batch, 16, 16, 3). Received:] [{shape}]" in answer["error"]


def test_the_graph_refuses_what_is_no_image(answers):
    text, truncated = answers["broken"]
    assert text["code"] == truncated["code"] == 3
    assert "Unknown image file format" in text["error"]


@pytest.mark.slow
@pytest.mark.parametrize("fixture", ["saved_encoder", "saved_trainable"])
def test_other_kinds(request, fixture, encoder, classifier):
    requests = [("serving_default", FLOATS), ("uint8", IMAGES), ("image_bytes", FILES)]
    for answer in ask(request.getfixturevalue(fixture), requests):
        output, model = ("features", encoder) if fixture == "saved_encoder" else ("logits", classifier)
        assert difference(answer[output], model(FLOATS)) < 1e-5


@pytest.mark.slow
def test_without_onednn(saved_classifier, classifier):
    (answer,) = ask(saved_classifier, [("serving_default", FLOATS)], TF_ENABLE_ONEDNN_OPTS="0")
    assert difference(answer["logits"], classifier(FLOATS)) < 1e-5
