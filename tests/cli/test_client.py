"""`acl-tf client`, against servers that answer what they are told to."""

import contextlib
import json
import subprocess
import sys
import threading
from unittest.mock import ANY

import grpc
import pytest
from google.protobuf import any_pb2
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from acl_tf.cli import run
from acl_tf.client.rpc import RpcServer
from acl_tf.client.server import excerpt
from tests.client.canned import NOTHING, PROBABILITIES, answering, canned_models, serving, url
from tests.client.servers import Failure, Prediction, Rest, Status, grpc_server, rest_server


@pytest.fixture
def models(tmp_path):
    (tmp_path / "empty").mkdir()
    return canned_models(tmp_path / "empty")


@pytest.fixture(params=["http", "grpc"])
def server(request, models):
    """A server's URL, for either protocol."""
    with serving(request.param, models) as running:
        yield running


@pytest.fixture
def image(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(b"image")
    return file


# Predictions


def test_classes(server, image, tmp_path, capsys):
    other = tmp_path / "b.png"
    other.write_bytes(b"image")
    assert run(["client", url(server, "animals"), str(image), str(other)]) == 0
    assert capsys.readouterr() == (f"{image}\t1\t0.6250\n{other}\t1\t0.6250\n", "")


@pytest.mark.parametrize("name, content", [
    ("classes.txt", "ape\nKäuzchen\ndog\n"),
    ("config.json", json.dumps({"kind": "classifier", "classes": ["ape", "Käuzchen", "dog"]})),
])  # fmt: skip
def test_top_classes_by_name(server, image, tmp_path, capsys, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8")
    options = ["--model", "animals", "--version", "1", "--top", "2", "--classes", str(tmp_path / name)]
    assert run(["client", server, str(image), *options]) == 0
    assert capsys.readouterr().out == f"{image}\tKäuzchen\t0.6250\n{image}\tape\t0.2500\n"


def test_json(server, image, capsys):
    assert run(["client", url(server, "animals", 1), str(image), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "file": str(image),
        "class": 1,
        "probability": 0.625,
        "logits": [0.0, 1.0, -1.0],
        "probabilities": PROBABILITIES,
    }


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_features(server, image, capsys, options):
    assert run(["client", url(server, "features"), str(image), *options]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(image), "features": [0.5, -2.0]}


def test_a_bad_image_is_named_and_the_others_are_answered(server, models, tmp_path, capsys):
    files = [tmp_path / f"{number:02}\t.png" for number in range(40)]
    for file in files:
        file.write_bytes(b"text" if file == files[5] else b"image")
    assert run(["client", url(server, "animals"), *map(str, files)]) == 1
    out, err = capsys.readouterr()
    names = [f"{tmp_path}/{number:02}\\t.png" for number in range(40)]
    assert [line.split("\t")[0] for line in out.splitlines()] == names[:5] + names[6:]
    refusal = "Unknown image file format. One of JPEG, PNG required."
    assert err == f"acl-tf: error: The server refused {names[5]}: {refusal}\n"
    assert models["animals"].loaded[1].batches == [32, 16, 8, 4, 4, 2, 1, 1, 2, 8, 16, 8]


def test_large_images_go_in_smaller_batches(server, models, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("acl_tf.client.images.BATCH_BYTES", 2**23)
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for file in files:
        file.write_bytes(b"image" + bytes(4_000_000))  # two make more than gRPC's default limit of 4 MiB
    assert run(["client", url(server, "features"), *map(str, files)]) == 0
    assert models["features"].loaded[1].batches == [2, 1]
    assert len(capsys.readouterr().out.splitlines()) == 3


# What the user got wrong: nothing is sent

NO_SERVER = f"http://127.0.0.1:{NOTHING}/v1/models/m"
FORM = (
    "The URL of a model server is http://HOST:PORT[/v1/models/NAME[/versions/N]] or grpc://HOST:PORT[/NAME[/N]], "
    "with https or grpcs for TLS."
)


@pytest.mark.parametrize("text", [
    "localhost:8501", "ftp://localhost", "http://", "http://h:port/", "http://[::1/", "http://h:8501/v1",
    "http://h:8501/v1/models", "http://h:8501/v1/models/m/versions/one", "http://h:8501/v1/models/m:classify",
    "http://h:8501/v1/models/m?x", "grpc://h", "grpc://h:8500/m/1/2", "grpc://h:8500/m/v", "http://h\udcff:8501/v1/models/m",
    "http://a..b:8501/v1/models/m", f"grpc://{'a' * 64}:8500/m",
])  # fmt: skip
def test_urls(fail, image, text):
    assert fail("client", text, image) == (2, f"acl-tf: error: {FORM} Received: {text!r}")


@pytest.mark.parametrize("arguments, message", [
    (["http://h:8501"], "Name the model, by --model or in the URL. Received: 'http://h:8501'"),
    (["http://h:8501", "--model", ""], "Name the model, by --model or in the URL. Received: 'http://h:8501'"),
    (["http://h:8501", "--model", "\udcff"], r"The name of a model is printable text. Received: '\udcff'"),
    (["grpc://h:8500/"], "Name the model, by --model or in the URL. Received: 'grpc://h:8500/'"),
    ([NO_SERVER, "--model", "n"], "The URL and --model name different ones. Received: 'm' and 'n'"),
    ([f"{NO_SERVER}/versions/1", "--version", "2"], "The URL and --version name different ones. Received: 1 and 2"),
    ([NO_SERVER, "--version", "-1"], "A version is a number between 0 and 2**63 - 1. Received: -1"),
    ([f"{NO_SERVER}/versions/{2**63}"], f"A version is a number between 0 and 2**63 - 1. Received: {2**63}"),
    (["http://me:secret@h:8501"], "The URL of a model server has no user and no password. Received: a URL with @"),
    ([NO_SERVER, "--json", "--top", "2"],
     "--json has the probabilities of all classes, without --top. Received: --top 2"),
])  # fmt: skip
def test_usage(fail, image, arguments, message):
    assert fail("client", *arguments, image) == (2, f"acl-tf: error: {message}")


def test_images_are_looked_for_before_anything_is_sent(fail, image, tmp_path):
    for path, message in [
        (tmp_path / "missing.png", "No such image file."),
        (tmp_path, "No such image file."),
        (image / "below.png", "No such image file."),
        (tmp_path / ("x" * 300), "An image cannot be read: File name too long."),
    ]:
        assert fail("client", NO_SERVER, image, path) == (2, f"acl-tf: error: {message} Received: {str(path)!r}")


def test_an_image_that_no_message_holds(fail, image, monkeypatch):
    monkeypatch.setattr("acl_tf.client.images.IMAGE_BYTES", 4)
    message = f"An image has at most 4 bytes. Received: 5 bytes in {str(image)!r}"
    assert fail("client", NO_SERVER, image) == (2, f"acl-tf: error: {message}")


@pytest.mark.parametrize("name, content, message", [
    ("none.txt", None, "--classes cannot be read: No such file or directory."),
    ("empty.txt", b"", "--classes has no names of classes."),
    ("config.json", b'{"classes": null}', "--classes has no names of classes."),
    ("config.json", b"[]", "--classes must be text with one name per line, or config.json of a model folder."),
    ("config.json", b"[" * 100_000, "--classes must be text with one name per line, or config.json of a model folder."),
    ("config.json", b"{", "--classes must be text with one name per line, or config.json of a model folder."),
    ("latin.txt", b"\xe4", "--classes must be text with one name per line, or config.json of a model folder."),
])  # fmt: skip
def test_classes_that_cannot_be_read(fail, image, tmp_path, name, content, message):
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    assert fail("client", NO_SERVER, image, "--classes", file) == (
        2,
        f"acl-tf: error: {message} Received: {str(file)!r}",
    )


def test_classes_of_another_model(fail, server, image, tmp_path):
    file = tmp_path / "classes.txt"
    file.write_text("ape\ncat\n")
    message = "The model has 3 classes. Received: --classes with 2 names"
    assert fail("client", url(server, "animals"), image, "--classes", file) == (2, f"acl-tf: error: {message}")
    message = "The model 'features' is an encoder and has no classes. Received: --classes"
    assert fail("client", url(server, "features"), image, "--classes", file) == (2, f"acl-tf: error: {message}")


# What the server has not


def test_what_is_not_served(fail, server, image):
    for model, version, message in [
        ("stranger", None, f"The server at {server} knows no such model. Received: 'stranger'"),
        ("animals", 7, f"No version 7 of the model 'animals' is served at {server}. Received: 1 (AVAILABLE)"),
        ("corrupt", None,
         f"No version of the model 'corrupt' is served at {server}. Received: 2 (END: Can't parse saved_model.pb)"),
        ("other", None,
         f"The model 'other' at {server} has no signature image_bytes, as models of acl-tf export have. "
         "Received: serving_default"),
        ("half", None,
         f"The model 'half' at {server} returns neither probabilities nor features. Received: logits"),
        ("broken", None, f"The server at {server} did not answer with finite numbers. Received: features=[nan]"),
    ]:  # fmt: skip
        assert fail("client", url(server, model, version), image) == (1, f"acl-tf: error: {message}")


# Servers that fail, over REST


NO_TF_SERVING = "What answers at {server} is not TF Serving. Received: "


@pytest.mark.parametrize("status, content, message", [
    (200, "<html></html>", NO_TF_SERVING + "HTTP 200 OK, text/html"),
    (200, "[]", NO_TF_SERVING + "HTTP 200 OK, text/html"),
    (404, "<html></html>", NO_TF_SERVING + "HTTP 404 Not Found, text/html"),
    (200, "{}", "The server at {server} did not answer with metadata. Received: {{}}"),
    (200, '{"metadata": {"signature_def": {"signature_def": []}}}',
     "The server at {server} did not answer with metadata. "
     "Received: {{'metadata': {{'signature_def': {{'signature_def': []}}}}}}"),
    (400, '{"error": "Malformed request"}', "The server at {server} refused the request: Malformed request"),
    (500, '{"error": "out of\\nluck"}', "The server at {server} failed: HTTP 500 Internal Server Error: out of luck"),
    (503, "<html></html>", "The server at {server} failed: HTTP 503 Service Unavailable"),
    (403, '{"error": "no"}', "The server at {server} failed: HTTP 403 Forbidden: no"),
    (413, "", "The server at {server} refused the request: HTTP 413 Request Entity Too Large"),
    (500, json.dumps({"error": "x" * 400}),
     "The server at {server} failed: HTTP 500 Internal Server Error: " + "x" * 300 + "…"),
])  # fmt: skip
def test_answers(fail, image, status, content, message):
    with answering(status, content, Content_Type="text/html") as server:
        assert fail("client", url(server, "m"), image) == (1, f"acl-tf: error: {message.format(server=server)}")


def test_redirect(fail, image):
    with answering(301, "", Location="https://elsewhere.example/") as server:
        message = f"The server at {server} is elsewhere; ask there. Received: https://elsewhere.example/"
        assert fail("client", url(server, "m"), image) == (1, f"acl-tf: error: {message}")


@pytest.mark.parametrize("location", ["\xff", "http://[::1"])
def test_redirect_to_no_url(fail, image, location):
    with answering(301, "", Location=location) as server:
        code, said = fail("client", url(server, "m"), image)
    assert code == 1 and said.startswith(f"acl-tf: error: The server at {server} did not answer with HTTP. Received: ")


@pytest.mark.parametrize("model, predictions", [
    ("animals", []), ("animals", None), ("animals", [[1.0]]), ("animals", [{"logits": [1.0]}]), ("features", {}),
])  # fmt: skip
def test_predictions_of_another_form(fail, image, models, model, predictions):
    handler = type("Handler", (Rest,), {"models": models, "predict": lambda *_: {"predictions": predictions}})
    with rest_server(handler) as host:
        code, said = fail("client", f"http://{host}/v1/models/{model}", image)
    assert code == 1 and said.startswith(f"acl-tf: error: The server at http://{host} did not answer with ")
    assert said.endswith(f"Received: {{'predictions': {predictions}}}")


@pytest.mark.parametrize("content", ["[" * 100_000, '{"metadata": ' * 100_000])
def test_an_answer_that_is_nested_too_deeply(fail, image, content):
    with answering(200, content, Content_Type="application/json") as server:
        message = NO_TF_SERVING.format(server=server) + "HTTP 200 OK, application/json"
        assert fail("client", url(server, "m"), image) == (1, f"acl-tf: error: {message}")


def test_a_value_that_is_nested_too_deeply():
    value = []
    for _ in range(100_000):
        value = [value]
    assert excerpt(value) == "a value that is nested too deeply"


@pytest.mark.parametrize("outputs", ['"logits"', "[1, 2]", "[[]]", "null"])
def test_metadata_without_names_of_outputs(fail, image, outputs):
    content = f'{{"metadata": {{"signature_def": {{"signature_def": {{"image_bytes": {{"outputs": {outputs}}}}}}}}}}}'
    with answering(200, content) as server:
        message = f"The server at {server} did not answer with metadata. Received: {json.loads(content)}"
        assert fail("client", url(server, "m"), image) == (1, f"acl-tf: error: {message}")


@pytest.mark.parametrize("signature, outputs, message", [
    ("a\n\x1b[2J", {}, "has no signature image_bytes, as models of acl-tf export have. Received: a \\x1b[2J"),
    ("image_bytes", {"a\n\x1b[2J": 1}, "returns neither probabilities nor features. Received: a \\x1b[2J"),
    ("image_bytes", {}, "returns neither probabilities nor features. Received: no outputs"),
])  # fmt: skip
def test_names_that_are_no_line(fail, image, signature, outputs, message):
    content = {"metadata": {"signature_def": {"signature_def": {signature: {"outputs": outputs}}}}}
    with answering(200, json.dumps(content)) as server:
        message = f"acl-tf: error: The model 'm' at {server} {message}"
        assert fail("client", url(server, "m"), image) == (1, message)


@pytest.mark.parametrize("version", [float("inf"), float("nan"), "one", None, []])
def test_states_without_numbers(fail, image, models, version):
    row = {"version": version, "state": "END", "status": {"error_message": ""}}

    def content(self, body):
        if self.path.endswith("/metadata"):
            raise Failure("NOT_FOUND", "Servable not found")
        return {"model_version_status": [row]}

    with rest_server(type("Handler", (Rest,), {"models": models, "content": content})) as host:
        received = {"model_version_status": [row]}
        message = f"The server at http://{host} did not answer with status. Received: {received}"
        assert fail("client", f"http://{host}/v1/models/m", image) == (1, f"acl-tf: error: {message}")


@pytest.mark.parametrize("row", ["a", [], ["a"], [[1.0]], [True], None, [float("inf")]])
def test_outputs_that_are_no_numbers(fail, image, models, row):
    handler = type("Handler", (Rest,), {"models": models, "predict": lambda *_: {"predictions": [row]}})
    with rest_server(handler) as host:
        message = f"The server at http://{host} did not answer with finite numbers. Received: features={row}"
        assert fail("client", f"http://{host}/v1/models/features", image) == (1, f"acl-tf: error: {message}")


def test_an_integer_beyond_every_float(fail, image, models):
    handler = type("Handler", (Rest,), {"models": models, "predict": lambda *_: {"predictions": [[10**400]]}})
    with rest_server(handler) as host:
        received = f"features=[1{'0' * 298}…"
        message = f"The server at http://{host} did not answer with finite numbers. Received: {received}"
        assert fail("client", f"http://{host}/v1/models/features", image) == (1, f"acl-tf: error: {message}")


# Servers that cannot be reached


def test_refused(fail, image):
    server = f"http://127.0.0.1:{NOTHING}"
    message = f"No connection to the server at {server}: Connection refused"
    assert fail("client", server, "--model", "m", image) == (1, f"acl-tf: error: {message}")
    server = f"grpc://127.0.0.1:{NOTHING}"
    code, said = fail("client", server, "--model", "m", image)
    assert code == 1 and said.startswith(f"acl-tf: error: No connection to the server at {server}: ")
    assert said.endswith("Connection refused")


@pytest.mark.parametrize("server", ["http://server.invalid:8501", "grpc://server.invalid:8500"])
def test_unknown_host(fail, image, server):
    code, said = fail("client", server, "--model", "m", image)
    assert code == 1 and said.startswith(f"acl-tf: error: No connection to the server at {server}: ")


def test_no_tls(fail, image):
    with answering(200, "{}") as server:
        server = server.replace("http", "https")
        code, said = fail("client", server, "--model", "m", image)
    assert code == 1 and said.startswith(f"acl-tf: error: No trusted connection (TLS) to the server at {server}: ")
    with grpc_server() as host:
        code, said = fail("client", f"grpcs://{host}/m", image)
    assert code == 1 and said.startswith(f"acl-tf: error: No connection to the server at grpcs://{host}: ")


def test_the_wrong_protocol(fail, image, models):
    with grpc_server(Prediction(models)) as host:
        code, said = fail("client", f"http://{host}/v1/models/m", image)
    assert code == 1 and said.startswith(f"acl-tf: error: No connection to the server at http://{host}: ")
    with answering(200, "{}") as server:
        server = server.replace("http", "grpc")
        code, said = fail("client", server, "--model", "m", image)
    assert code == 1 and said.startswith(f"acl-tf: error: No connection to the server at {server}: ")


def test_timeout(fail, image, models):
    given_up = threading.Event()

    def late(*_):
        given_up.wait(60)
        return {}

    handler = type("Handler", (Rest,), {"models": models, "content": late})
    slow = type("Slow", (Prediction,), {"GetModelMetadata": late})
    with rest_server(handler) as rest, grpc_server(slow(models)) as rpc, contextlib.ExitStack() as last:
        last.callback(given_up.set)  # or else the servers would not end
        for server in (f"http://{rest}", f"grpc://{rpc}"):
            message = f"The server at {server} did not answer within 0.2 s."
            said = fail("client", url(server, "animals"), image, "--timeout", "0.2")
            assert said == (1, f"acl-tf: error: {message}")


# Servers that fail, over gRPC


class Busy(Prediction):
    """All threads of the server are at work for others, a number of times."""

    left = 2

    def GetModelMetadata(self, request, context):
        if Busy.left:
            Busy.left -= 1
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")
        return super().GetModelMetadata(request, context)


@pytest.mark.parametrize("times, code", [(2, 0), (3, 1)])
def test_a_server_without_a_thread_is_asked_again(image, models, times, code, monkeypatch, capsys):
    monkeypatch.setattr(RpcServer._ask, "__defaults__", ((0.01, 0.02),))
    monkeypatch.setattr(Busy, "left", times)
    with grpc_server(Busy(models), Status(models)) as host:
        assert run(["client", f"grpc://{host}/animals", str(image)]) == code
    said = f"acl-tf: error: The server at grpc://{host} failed: RESOURCE_EXHAUSTED: Server Threadpool Exhausted"
    assert capsys.readouterr().err.splitlines() == ([said] if code else [])


def test_no_tf_serving_over_grpc(fail, image):
    with grpc_server() as host:
        message = f"What answers at grpc://{host} is not TF Serving. Received: Method not found!"
        assert fail("client", f"grpc://{host}/m", image) == (1, f"acl-tf: error: {message}")


def test_a_failure_inside_the_server(fail, image, models):
    def fails(self, request, context):
        context.abort(grpc.StatusCode.INTERNAL, "out of\nluck")

    with grpc_server(type("Failing", (Prediction,), {"Predict": fails})(models)) as host:
        message = f"The server at grpc://{host} failed: INTERNAL: out of luck"
        assert fail("client", f"grpc://{host}/features", image) == (1, f"acl-tf: error: {message}")


def test_a_server_that_takes_no_large_messages(models, tmp_path, capsys):
    """As one behind a proxy; the images that fit are answered."""
    small, large = tmp_path / "small.png", tmp_path / "large.png"
    small.write_bytes(b"image")
    large.write_bytes(b"image" + bytes(2000))
    with grpc_server(Prediction(models), options=[("grpc.max_receive_message_length", 1000)]) as host:
        assert run(["client", f"grpc://{host}/features", str(small), str(large)]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["file"] == str(small)
    assert len(err.splitlines()) == 1 and f"refused {large}: " in err and "larger than max" in err


def test_outputs_that_are_missing_over_grpc(fail, image, models):
    def forgets(self, request, context):
        answer = Prediction.Predict(self, request, context)
        del answer.outputs["logits"]
        return answer

    with grpc_server(type("Forgetful", (Prediction,), {"Predict": forgets})(models)) as host:
        message = (
            f"The server at grpc://{host} did not answer with logits and probabilities for 1 images. "
            "Received: probabilities (1, 3)"
        )
        assert fail("client", f"grpc://{host}/animals", image) == (1, f"acl-tf: error: {message}")


@pytest.mark.parametrize("packed, received", [
    (None, "nothing"),
    (any_pb2.Any(type_url="type.googleapis.com/tensorflow.TensorProto"), "tensorflow.TensorProto"),
    (any_pb2.Any(type_url="type.googleapis.com/tensorflow.serving.SignatureDefMap", value=b"\xff"), None),
])  # fmt: skip
def test_metadata_of_another_type(fail, image, models, packed, received):
    def answer(self, request, context):
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        if packed:
            response.metadata["signature_def"].CopyFrom(packed)
        return response

    with grpc_server(type("Other", (Prediction,), {"GetModelMetadata": answer})(models)) as host:
        code, said = fail("client", f"grpc://{host}/features", image)
    message = f"acl-tf: error: The server at grpc://{host} did not answer with metadata. Received: "
    # What is wrong with a message, each implementation of protocol buffers says in its own words.
    assert code == 1 and said.startswith(message) and said.removeprefix(message) == (received or ANY)


def test_a_state_without_a_name(fail, image, models):
    def answer(self, request, context):
        response = get_model_status_pb2.GetModelStatusResponse()
        response.model_version_status.add(version=1, state=77)
        return response

    status = type("Other", (Status,), {"GetModelStatus": answer})(models)
    with grpc_server(Prediction(models), status) as host:
        code, said = fail("client", f"grpc://{host}/stranger", image)
    assert code == 1
    assert said.startswith(f"acl-tf: error: The server at grpc://{host} did not answer with status. Received: ")


@pytest.mark.parametrize("tensor", [
    {"dtype": 999},  # TypeError
    {"dtype": 21},  # KeyError
    {"dtype": 1, "tensor_content": b"abc"},  # ValueError
    {"dtype": 1, "float_val": [1.0], "tensor_shape": {"dim": [{"size": 2**45}]}},  # MemoryError
])  # fmt: skip
def test_outputs_that_are_no_tensors(fail, image, models, tensor):
    def answer(self, request, context):
        return predict_pb2.PredictResponse(outputs={"features": tensor_pb2.TensorProto(**tensor)})

    with grpc_server(type("Other", (Prediction,), {"Predict": answer})(models)) as host:
        code, said = fail("client", f"grpc://{host}/features", image)
    assert code == 1
    assert said.startswith(f"acl-tf: error: The server at grpc://{host} did not answer with features. Received: ")


# Start-up

PROBE = """
import sys
from acl_tf.cli import run
assert run(sys.argv[1:]) == 0
heavy = {"tensorflow", "keras", "grpc", "numpy", "requests", "jinja2"}
print("imported:", *sorted(heavy & set(sys.modules)))
"""


@pytest.mark.parametrize("arguments, imported", [(["--help"], ""), (None, " requests")])
def test_what_is_imported(models, image, arguments, imported):
    with serving("http", models) as server:
        arguments = arguments or [url(server, "animals"), str(image)]
        command = [sys.executable, "-c", PROBE, "client", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"imported:{imported}"
    assert done.stderr == ""
