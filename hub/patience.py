"""Trying again where the client of the Hub does not: a look, a new repository, a commit, a download that was reset."""

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

PAUSES = (1, 2, 4)  # in seconds
# Of HTTP: the Hub is busy, or being restarted.
PASSING = (408, 429, 500, 502, 503, 504)
# Of the HTTP library: a connection that stood was lost. Where none can be made, trying again helps nobody.
LOST = ("ReadError", "RemoteProtocolError", "WriteError")

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


def persistently(call: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
    """Calls a function of the client; what passes is a failure only when it has come again and again.

    Args:
        call: The function.
        *arguments: Its arguments.
        **options: Its keyword arguments.

    Returns:
        What it returns; raises what it raises.
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
