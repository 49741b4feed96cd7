"""Exported models on a server, asked by both clients."""

import shutil

import numpy as np
import pytest

from acl_tf.client.address import parse_address
from acl_tf.client.connect import connect
from acl_tf.client.predictions import ask, served_kind
from acl_tf.client.server import NotServed, Server
from tests.client.serving import wait_until

SIGNATURES = {"serving_default", "uint8", "image_bytes"}
OUTPUTS = {"encoder": ("features",), "classifier": ("logits", "probabilities")}


def server_of(serving, protocol: str, model: str, version: int | None = None) -> Server:
    return connect(parse_address(getattr(serving, protocol), model, version), timeout=30)


@pytest.fixture(params=["rest", "grpc"])
def protocol(request) -> str:
    return request.param


@pytest.fixture
def base_path(small, tmp_path):
    """Of a model that gets further versions."""
    shutil.copytree(small[0], tmp_path / "model" / "1")
    return tmp_path / "model"


def probabilities(server: Server, images) -> np.ndarray:
    return np.array([answer.outputs["probabilities"] for answer in ask(server, "classifier", images)])


@pytest.mark.parametrize("kind", OUTPUTS)
def test_predictions(serving, protocol, kind, images, expected):
    server = server_of(serving, protocol, kind)
    assert served_kind(server) == kind
    answers = list(ask(server, kind, images))
    assert [answer.file for answer in answers] == images
    assert all(tuple(answer.outputs) == OUTPUTS[kind] for answer in answers)
    found = np.array([answer.outputs[OUTPUTS[kind][-1]] for answer in answers])
    np.testing.assert_allclose(found, expected[kind], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", OUTPUTS)
def test_metadata(serving, protocol, kind):
    signatures = server_of(serving, protocol, kind).signatures()
    served = {name: outputs for name, outputs in signatures.items() if not name.startswith("__")}
    assert served == dict.fromkeys(SIGNATURES, OUTPUTS[kind])


def test_status(serving, protocol):
    server = server_of(serving, protocol, "classifier")
    assert [str(state) for state in server.states()] == ["1 (AVAILABLE)"]


def test_unknown(serving, protocol, images):
    for model, version in [("stranger", None), ("classifier", 7)]:
        server = server_of(serving, protocol, model, version)
        for question in (server.signatures, lambda server=server: server.predict([b"x"], ("logits",))):
            with pytest.raises(NotServed):
                question()


def test_a_bad_image_costs_the_others_nothing(serving, protocol, images, expected, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(images[0].read_bytes()[:40])
    files = [images[0], bad, images[1], images[2]]
    answers = list(ask(server_of(serving, protocol, "classifier"), "classifier", files))
    assert [answer.file for answer in answers] == files
    assert [bool(answer.refusal) for answer in answers] == [False, True, False, False]
    found = [answer.outputs["probabilities"] for answer in answers if not answer.refusal]
    np.testing.assert_allclose(found, expected["classifier"], rtol=1e-4, atol=1e-5)


def test_warm_up_requests_are_read(start, base_path):
    with start({"model": base_path}) as serving:
        wait_until(lambda: serving.warmed_up("model") == len(SIGNATURES))


def test_roll_over(start, base_path, small, protocol, images):
    with start({"model": base_path}) as serving:
        newest, first = (server_of(serving, protocol, "model", version) for version in (None, 1))
        before = probabilities(newest, images)
        np.testing.assert_array_equal(probabilities(first, images), before)
        shutil.copytree(small[1], base_path / ".2.tmp")
        np.testing.assert_array_equal(probabilities(newest, images), before)
        (base_path / ".2.tmp").rename(base_path / "2")
        wait_until(lambda: not np.allclose(probabilities(newest, images), before))
        wait_until(lambda: [str(state) for state in newest.states()] == ["2 (AVAILABLE)", "1 (END)"])
        with pytest.raises(NotServed):
            probabilities(first, images)


def test_a_corrupt_version_leaves_the_one_before(start, base_path, protocol, images):
    with start({"model": base_path}) as serving:
        server = server_of(serving, protocol, "model")
        before = probabilities(server, images)
        (base_path / ".2.tmp").mkdir()
        (base_path / ".2.tmp" / "saved_model.pb").write_bytes(b"corrupt")
        (base_path / ".2.tmp").rename(base_path / "2")
        wait_until(lambda: any(state.version == 2 and state.state == "END" for state in server.states()))
        failed = next(state for state in server.states() if state.version == 2)
        assert failed.message
        np.testing.assert_array_equal(probabilities(server, images), before)
