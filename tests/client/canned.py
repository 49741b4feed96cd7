"""Servers that answer what they are told to, and models that say the same of every image."""

import contextlib
import http.server
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from tests.client.servers import Failure, Model, Models, Prediction, Rest, Status, grpc_server, rest_server

PROBABILITIES = [0.25, 0.625, 0.125]
NOTHING = 9  # the port of the discard protocol, which nobody serves here


class Version:
    """A version of a model that says the same of every file that begins with `image`."""

    def __init__(self, outputs: dict[str, list], signature: str = "image_bytes") -> None:
        self.outputs = outputs
        self.signatures = {signature: meta_graph_pb2.SignatureDef()}
        self.signatures[signature].inputs[signature].name = "input:0"
        for name in outputs:
            self.signatures[signature].outputs[name].name = f"{name}:0"
        self.batches: list[int] = []

    def predict(self, signature, inputs):
        files = inputs[signature]
        self.batches.append(len(files))
        if not all(file.startswith(b"image") for file in files):
            message = "Unknown image file format.\nOne of JPEG, PNG required.\n\t [[{{node map/while/DecodeImage}}]]"
            raise Failure("INVALID_ARGUMENT", message)
        return {name: np.array([row] * len(files), np.float32) for name, row in self.outputs.items()}


def canned_models(folder: Path) -> Models:
    """Returns a classifier, an encoder, a model whose version 2 failed, and three that acl-tf would not export."""
    versions = {
        "animals": Version({"logits": [0.0, 1.0, -1.0], "probabilities": PROBABILITIES}),
        "features": Version({"features": [0.5, -2.0]}),
        "half": Version({"logits": [0.0]}),
        "other": Version({"logits": [0.0]}, "serving_default"),
        "broken": Version({"features": [float("nan")]}),
    }
    models = Models(
        {name: Model(name, folder, {1: version}, {1: ("AVAILABLE", "")}) for name, version in versions.items()}
    )
    models["corrupt"] = Model("corrupt", folder, {}, {2: ("END", "Can't parse\nsaved_model.pb")})
    return models


@contextlib.contextmanager
def serving(scheme: str, models: Models) -> Iterator[str]:
    """Serves models by `http` or `grpc`; yields the server's URL."""
    if scheme == "http":
        with rest_server(type("Handler", (Rest,), {"models": models})) as host:
            yield f"http://{host}"
    else:
        with grpc_server(Prediction(models), Status(models)) as host:
            yield f"grpc://{host}"


def url(server: str, model: str, version: int | None = None) -> str:
    """Returns the full URL of a model."""
    if server.startswith("grpc"):
        return f"{server}/{model}" + (f"/{version}" if version is not None else "")
    return f"{server}/v1/models/{model}" + (f"/versions/{version}" if version is not None else "")


@contextlib.contextmanager
def answering(status: int, content: bytes | str, **headers: str):
    """Answers everything so."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = content if isinstance(content, bytes) else content.encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments) -> None:
            """Silent."""

    with rest_server(Handler) as host:
        yield f"http://{host}"
