"""The client of TF Serving over gRPC.

Reference: `prediction_service.proto` and `model_service.proto` of TF Serving.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from acl_tf.client.address import Address
from acl_tf.client.server import SIGNATURE, NotServed, Outputs, Refused, ServerError, VersionState, one_line

# gRPC refuses messages of more than 4 MiB by default; TF Serving accepts any.
OPTIONS = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))
SIGNATURES = "signature_def"
# Status codes of a bad request; REST has 400 for all of them. RESOURCE_EXHAUSTED is one only for a message too long.
REFUSALS = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.OUT_OF_RANGE)
TOO_LARGE = "larger than max"
# Seconds before a server that has no thread left is asked again.
WAITS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
# Errors of `tf.make_ndarray` if type, shape and content do not match, or do not fit into memory.
NO_TENSOR = (TypeError, ValueError, KeyError, OverflowError, MemoryError)


class RpcServer:
    """A model on a server that is reached over gRPC.

    Args:
        address: Address of the model, with the scheme `grpc` or `grpcs`.
        timeout: Seconds to wait for an answer.
    """

    def __init__(self, address: Address, timeout: float) -> None:
        self.address = address
        self._timeout = timeout
        if address.scheme == "grpcs":
            self._channel = grpc.secure_channel(address.host, grpc.ssl_channel_credentials(), OPTIONS)
        else:
            self._channel = grpc.insecure_channel(address.host, OPTIONS)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def signatures(self) -> dict[str, tuple[str, ...]]:
        question = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=self._spec(), metadata_field=[SIGNATURES])
        answer = self._ask(self._prediction.GetModelMetadata, question)
        metadata = get_model_metadata_pb2.SignatureDefMap()
        try:
            unpacked = answer.metadata[SIGNATURES].Unpack(metadata)
        except DecodeError as error:
            raise self._unexpected("metadata", str(error)) from error
        if not unpacked:
            raise self._unexpected("metadata", answer.metadata[SIGNATURES].TypeName() or "nothing")
        return {name: tuple(sorted(signature.outputs)) for name, signature in metadata.signature_def.items()}

    def states(self) -> list[VersionState]:
        spec = model_pb2.ModelSpec(name=self.address.model)
        answer = self._ask(self._models.GetModelStatus, get_model_status_pb2.GetModelStatusRequest(model_spec=spec))
        names = get_model_status_pb2.ModelVersionStatus.State
        try:
            return [
                VersionState(row.version, names.Name(row.state), one_line(row.status.error_message))
                for row in answer.model_version_status
            ]
        except ValueError as error:  # a state without a name
            raise self._unexpected("status", str(error)) from error

    def predict(self, images: Sequence[bytes], outputs: tuple[str, ...]) -> list[Outputs]:
        question = predict_pb2.PredictRequest(model_spec=self._spec(), output_filter=outputs)
        question.model_spec.signature_name = SIGNATURE
        question.inputs[SIGNATURE].CopyFrom(tf.make_tensor_proto(list(images), tf.string))
        answer = self._ask(self._prediction.Predict, question)
        try:
            rows = {name: tf.make_ndarray(answer.outputs[name]) for name in outputs if name in answer.outputs}
        except NO_TENSOR as error:
            raise self._unexpected(" and ".join(outputs), f"{type(error).__name__}: {error}") from error
        if len(rows) != len(outputs) or any(array.shape[:1] != (len(images),) for array in rows.values()):
            received = ", ".join(f"{name} {array.shape}" for name, array in rows.items()) or "nothing"
            raise self._unexpected(f"{' and '.join(outputs)} for {len(images)} images", received)
        return [{name: array[row].tolist() for name, array in rows.items()} for row in range(len(images))]

    def close(self) -> None:
        self._channel.close()

    def _spec(self) -> model_pb2.ModelSpec:
        spec = model_pb2.ModelSpec(name=self.address.model)
        if self.address.version is not None:
            spec.version.value = self.address.version
        return spec

    def _ask(self, method: Callable[..., Any], question: Any, waits: Sequence[float] = WAITS) -> Any:
        """Asks, and asks again while all threads of the server are at work for others."""
        try:
            return method(question, timeout=self._timeout)
        except grpc.RpcError as error:
            code, details = error.code(), error.details() or ""
            if not waits or code != grpc.StatusCode.RESOURCE_EXHAUSTED or TOO_LARGE in details:
                raise self._failure(code, details) from error
        time.sleep(waits[0])
        return self._ask(method, question, waits[1:])

    def _unexpected(self, wanted: str, received: str) -> ServerError:
        return ServerError(
            f"The server at {self.address.server} did not answer with {wanted}. Received: {one_line(received)}"
        )

    def _failure(self, code: grpc.StatusCode, details: str) -> ServerError:
        server, reason = self.address.server, one_line(details)
        if code in REFUSALS or (code == grpc.StatusCode.RESOURCE_EXHAUSTED and TOO_LARGE in details):
            return Refused(server, reason)
        if code == grpc.StatusCode.NOT_FOUND:
            return NotServed(f"The server at {server} does not serve this: {reason}")
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            return ServerError(f"The server at {server} did not answer within {self._timeout:g} s.")
        if code == grpc.StatusCode.UNAVAILABLE:
            return ServerError(f"No connection to the server at {server}: {reason}")
        if code == grpc.StatusCode.UNIMPLEMENTED:
            return ServerError(f"What answers at {server} is not TF Serving. Received: {reason}")
        return ServerError(f"The server at {server} failed: {code.name}: {reason}")
