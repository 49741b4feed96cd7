"""Model servers for tests, which run real SavedModels as TF Serving does.

gRPC speaks the service definitions of tensorflow-serving-api, REST the documented JSON forms. Versions come and go as
there: the newest is loaded and warmed up; until it is, and if it cannot be, the one before goes on answering.
"""

import base64
import contextlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from concurrent import futures
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

WARM_UP = "assets.extra/tf_serving_warmup_requests"
HTTP = {"NOT_FOUND": 404, "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400}
UNLIMITED = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))


class Failure(Exception):
    """What both protocols answer by a code and a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Version:
    """A SavedModel that is loaded and warmed up."""

    def __init__(self, path: Path) -> None:
        content = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
        self.signatures = content.meta_graphs[0].signature_def
        self._loaded = tf.saved_model.load(str(path))
        self.warmed_up = 0
        if (path / WARM_UP).is_file():
            for record in tf.data.TFRecordDataset(str(path / WARM_UP)):
                request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
                inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
                self.predict(request.model_spec.signature_name, inputs)
                self.warmed_up += 1

    def predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        known = self.signatures[signature].inputs
        if set(inputs) != set(known):
            raise Failure("INVALID_ARGUMENT", f"input size does not match signature: {set(inputs)} != {set(known)}")
        tensors = {name: tf.constant(value, known[name].dtype) for name, value in inputs.items()}
        try:
            outputs = self._loaded.signatures[signature](**tensors)
        except tf.errors.OpError as error:
            # Python's own preface is not in what the server's C++ says.
            code = error.__class__.__name__.removesuffix("Error")
            message = error.message.split("<stack traces unavailable>\n")[-1]
            raise Failure(re.sub("(?<=[a-z])(?=[A-Z])", "_", code).upper(), message) from error
        return {name: value.numpy() for name, value in outputs.items()}


@dataclass
class Model:
    """The versions in a base path."""

    name: str
    base_path: Path
    loaded: dict[int, Version] = field(default_factory=dict)
    states: dict[int, tuple[str, str]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def poll(self) -> None:
        with self.lock:
            newest = max((int(path.name) for path in self.base_path.iterdir() if path.name.isdecimal()), default=None)
            if newest is None or newest in self.states:
                return
            try:
                version = Version(self.base_path / str(newest))
            except Exception as error:
                self.states[newest] = ("END", str(error))
                return
            self.states.update((number, ("END", "")) for number in self.loaded)
            self.states[newest] = ("AVAILABLE", "")
            self.loaded = {newest: version}

    def version(self, number: int | None) -> tuple[int, Version]:
        self.poll()
        wanted = max(self.loaded, default=None) if number is None else number
        if wanted not in self.loaded:
            asked = f"Latest({self.name})" if number is None else f"Specific({self.name}, {number})"
            raise Failure("NOT_FOUND", f"Servable not found for request: {asked}")
        return wanted, self.loaded[wanted]


class Models(dict[str, Model]):
    """What one server serves."""

    def find(self, name: str, number: int | None) -> tuple[int, Version]:
        if name not in self:
            raise Failure("NOT_FOUND", f"Servable not found for request: Latest({name})")
        return self[name].version(number)

    def metadata(self, name: str, number: int | None) -> get_model_metadata_pb2.GetModelMetadataResponse:
        found, version = self.find(name, number)
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.model_spec.name, answer.model_spec.version.value = name, found
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=version.signatures)
        answer.metadata["signature_def"].Pack(signatures)
        return answer

    def status(self, name: str, number: int | None) -> get_model_status_pb2.GetModelStatusResponse:
        if name in self:
            self[name].poll()
        states = (
            {key: state for key, state in self[name].states.items() if number in (None, key)} if name in self else {}
        )
        if not states:
            missing = "any versions" if number is None else f"version {number}"
            raise Failure("NOT_FOUND", f"Could not find {missing} of model {name}")
        answer = get_model_status_pb2.GetModelStatusResponse()
        for key, (state, message) in sorted(states.items(), reverse=True):
            row = answer.model_version_status.add(version=key, state=state)
            row.status.error_code, row.status.error_message = 2 if message else 0, message
        return answer


class Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, models: Models) -> None:
        self.models = models

    def Predict(self, request, context):
        with answering(context):
            number, version = self.models.find(request.model_spec.name, asked_version(request))
            signature = request.model_spec.signature_name or "serving_default"
            if signature not in version.signatures:
                raise Failure("FAILED_PRECONDITION", f'Serving signature key "{signature}" not found.')
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            outputs = version.predict(signature, inputs)
            answer = predict_pb2.PredictResponse()
            answer.model_spec.name, answer.model_spec.version.value = request.model_spec.name, number
            for name in request.output_filter or outputs:
                answer.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
        return answer

    def GetModelMetadata(self, request, context):
        with answering(context):
            return self.models.metadata(request.model_spec.name, asked_version(request))


class Status(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, models: Models) -> None:
        self.models = models

    def GetModelStatus(self, request, context):
        with answering(context):
            return self.models.status(request.model_spec.name, asked_version(request))


def asked_version(request) -> int | None:
    return request.model_spec.version.value if request.model_spec.HasField("version") else None


@contextlib.contextmanager
def answering(context) -> Iterator[None]:
    try:
        yield
    except Failure as failure:
        context.abort(grpc.StatusCode[failure.code], str(failure))


class Rest(BaseHTTPRequestHandler):
    """The documented JSON forms: https://www.tensorflow.org/tfx/serving/api_rest."""

    protocol_version = "HTTP/1.1"
    models: Models
    PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(/metadata|:predict)?")

    def do_GET(self) -> None:
        self.answer("")

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers["content-length"])).decode())

    def answer(self, body: str) -> None:
        try:
            code, content = 200, self.content(body)
        except Failure as failure:
            code, content = HTTP.get(failure.code, 500), {"error": str(failure)}
        text = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        with contextlib.suppress(ConnectionError):  # of a client that waits no longer
            self.end_headers()
            self.wfile.write(text)

    def content(self, body: str) -> dict:
        path = self.PATH.fullmatch(self.path)
        if path is None or (path[3] == ":predict") != (self.command == "POST"):
            raise Failure("INVALID_ARGUMENT", f"Malformed request: {self.command} {self.path}")
        name, number = path[1], int(path[2]) if path[2] else None
        if path[3] == ":predict":
            return self.predict(name, number, json.loads(body))
        if path[3] is None:
            return as_json(self.models.status(name, number))
        answer = self.models.metadata(name, number)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)
        return {"model_spec": as_json(answer.model_spec), "metadata": {"signature_def": as_json(signatures)}}

    def predict(self, name: str, number: int | None, question: dict) -> dict:
        _, version = self.models.find(name, number)
        signature = question.get("signature_name", "serving_default")
        if signature not in version.signatures:
            raise Failure("INVALID_ARGUMENT", f'Serving signature name: "{signature}" not found in signature def')
        (only,) = version.signatures[signature].inputs
        rows = [row if isinstance(row, dict) and "b64" not in row else {only: row} for row in question["instances"]]
        if any(row.keys() != {only} for row in rows):
            raise Failure("INVALID_ARGUMENT", f"Failed to process element: keys must be equal to: {only}")
        values = [row[only] for row in rows]
        if all(isinstance(value, dict) for value in values):
            values = np.array([base64.b64decode(value["b64"]) for value in values], object)
        outputs = version.predict(signature, {only: np.asarray(values)})
        columns = {key: value.tolist() for key, value in outputs.items()}
        if len(columns) == 1:
            return {"predictions": next(iter(columns.values()))}
        return {"predictions": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]}

    def log_message(self, *arguments) -> None:
        """Silent."""


def as_json(message) -> dict:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


@contextlib.contextmanager
def rest_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Runs an HTTP server; yields its host and port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=[0.05])
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def grpc_server(prediction=None, status=None, options=UNLIMITED) -> Iterator[str]:
    """Runs a gRPC server; yields its host and port."""
    server = grpc.server(futures.ThreadPoolExecutor(4), options=options)
    if prediction:
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(prediction, server)
    if status:
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(status, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
