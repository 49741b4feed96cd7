"""The client of TF Serving over REST.

Reference: https://www.tensorflow.org/tfx/serving/api_rest
"""

import base64
import urllib.parse
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import requests

from acl_tf.client.address import Address
from acl_tf.client.server import SIGNATURE, NotServed, Outputs, Refused, ServerError, VersionState, excerpt, one_line


class RestServer:
    """A model on a server that is reached over REST.

    Args:
        address: Address of the model, with the scheme `http` or `https`.
        timeout: Seconds to wait for an answer.
    """

    def __init__(self, address: Address, timeout: float) -> None:
        self.address = address
        self._timeout = timeout
        self._session = requests.Session()
        self._model = f"{address.server}/v1/models/{urllib.parse.quote(address.model, safe='')}"
        self._version = self._model if address.version is None else f"{self._model}/versions/{address.version}"

    def signatures(self) -> dict[str, tuple[str, ...]]:
        answer = self._ask("GET", f"{self._version}/metadata")
        try:
            signatures = answer["metadata"]["signature_def"]["signature_def"]
            return {name: tuple(sorted(signature["outputs"].keys())) for name, signature in signatures.items()}
        except (AttributeError, KeyError, TypeError) as error:
            raise self._unexpected("metadata", answer) from error

    def states(self) -> list[VersionState]:
        answer = self._ask("GET", self._model)
        try:
            return [
                VersionState(int(row["version"]), excerpt(row["state"]), one_line(row["status"]["error_message"]))
                for row in answer["model_version_status"]
            ]
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise self._unexpected("status", answer) from error

    def predict(self, images: Sequence[bytes], outputs: tuple[str, ...]) -> list[Outputs]:
        instances = [{SIGNATURE: {"b64": base64.b64encode(image).decode()}} for image in images]
        question = {"signature_name": SIGNATURE, "instances": instances}
        answer = self._ask("POST", f"{self._version}:predict", question)
        rows = answer.get("predictions")
        if not isinstance(rows, list) or len(rows) != len(images):
            raise self._unexpected(f"predictions for {len(images)} images", answer)
        if len(outputs) == 1:  # TF Serving leaves out the name of a single output
            return [{outputs[0]: row} for row in rows]
        if not all(isinstance(row, dict) and row.keys() >= set(outputs) for row in rows):
            raise self._unexpected(f"{' and '.join(outputs)} for each image", answer)
        return [{name: row[name] for name in outputs} for row in rows]

    def close(self) -> None:
        self._session.close()

    def _ask(self, method: str, url: str, question: Any = None) -> Mapping[str, Any]:
        try:
            # If it followed a redirection, a POST would become a GET.
            answer = self._session.request(method, url, json=question, timeout=self._timeout, allow_redirects=False)
        except requests.RequestException as error:
            raise self._unreachable(error) from error
        except ValueError as error:  # requests parses a redirection even if it does not follow it
            raise ServerError(
                f"The server at {self.address.server} did not answer with HTTP. Received: {one_line(str(error))}"
            ) from error
        if answer.is_redirect:
            target = one_line(answer.headers["location"])
            raise ServerError(f"The server at {self.address.server} is elsewhere; ask there. Received: {target}")
        content = _object(answer)
        if answer.ok and content is not None:
            return content
        raise self._failure(answer, content)

    def _unreachable(self, error: requests.RequestException) -> ServerError:
        server = self.address.server
        if isinstance(error, requests.Timeout):
            return ServerError(f"The server at {server} did not answer within {self._timeout:g} s.")
        if isinstance(error, requests.exceptions.SSLError):
            return ServerError(f"No trusted connection (TLS) to the server at {server}: {_cause(error)}")
        return ServerError(f"No connection to the server at {server}: {_cause(error)}")

    def _failure(self, answer: requests.Response, content: Mapping[str, Any] | None) -> ServerError:
        message = content.get("error") if content else None
        status = one_line(f"HTTP {answer.status_code} {answer.reason or ''}")
        if answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return Refused(self.address.server, status)
        if isinstance(message, str):
            reason = one_line(message)
            if answer.status_code == HTTPStatus.NOT_FOUND:
                return NotServed(f"The server at {self.address.server} does not serve this: {reason}")
            if answer.status_code == HTTPStatus.BAD_REQUEST:
                return Refused(self.address.server, reason)
            return ServerError(f"The server at {self.address.server} failed: {status}: {reason}")
        if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return ServerError(f"The server at {self.address.server} failed: {status}")
        form = answer.headers.get("content-type", "no content type")
        return ServerError(
            f"What answers at {self.address.server} is not TF Serving. Received: {status}, {one_line(form)}"
        )

    def _unexpected(self, wanted: str, answer: Mapping[str, Any]) -> ServerError:
        return ServerError(
            f"The server at {self.address.server} did not answer with {wanted}. Received: {excerpt(answer)}"
        )


def _object(answer: requests.Response) -> Mapping[str, Any] | None:
    """Returns the content of an answer if it is a JSON object, else None."""
    try:
        content = answer.json()
    except (ValueError, RecursionError):  # RecursionError: too deeply nested
        return None
    return content if isinstance(content, dict) else None


def _cause(error: BaseException) -> str:
    """Returns the innermost cause; the outer ones repeat it, wrapped in names of Python objects."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return one_line((error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__)
