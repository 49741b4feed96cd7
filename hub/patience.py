"""Retries of requests that the client of the Hub does not repeat itself, such as a commit or a reset download."""

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

PAUSES = (1, 2, 4)  # in seconds
# HTTP status codes of a Hub that is busy or restarting.
PASSING = (408, 429, 500, 502, 503, 504)
# Errors of the HTTP library for a lost connection. If no connection can be made at all, a retry does not help.
LOST = ("ReadError", "RemoteProtocolError", "WriteError")

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


def persistently(call: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
    """Calls a function of the client, and calls it again after errors that may pass.

    Args:
        call: Function of the client.
        *arguments: Arguments of the call.
        **options: Keyword arguments of the call.

    Returns:
        The result of the call; errors that last are raised.
    """
    from huggingface_hub import errors

    for pause in PAUSES:
        try:
            return call(*arguments, **options)
        except errors.HTTPError as error:  # type: ignore[attr-defined]
            if not _passes(error):
                raise
            logger.warning("%s; trying again", str(error).splitlines()[0])
            time.sleep(pause)
    return call(*arguments, **options)


def _passes(error: Exception) -> bool:
    response = getattr(error, "response", None)
    return type(error).__name__ in LOST if response is None else response.status_code in PASSING
