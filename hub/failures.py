"""Errors of the Hub, explained in one line that says what to do."""

import contextlib
from collections.abc import Iterator

from acl_tf.errors import HubError
from acl_tf.hub.names import HubName


@contextlib.contextmanager
def explained(name: HubName, without_network: str = "") -> Iterator[None]:
    """Turns errors of `huggingface_hub` in the block into `HubError`.

    Args:
        name: Name of the model that the block is about.
        without_network: Advice for the case that the Hub cannot be reached.
    """
    from huggingface_hub import errors

    try:
        yield
    except (
        errors.EntryNotFoundError,
        errors.HFValidationError,
        errors.HTTPError,  # type: ignore[attr-defined] # no connection, no answer: httpx's, or that of its successor
        errors.LocalTokenNotFoundError,
        errors.OfflineModeIsEnabled,
    ) as error:
        raise HubError(_explanation(error, name, without_network)) from error
    except (RuntimeError, ValueError) as error:  # the client's errors for an upload or a card that was refused
        if not isinstance(error.__cause__, errors.HTTPError):  # type: ignore[attr-defined]
            raise
        refused = error if isinstance(error, ValueError) else error.__cause__
        raise HubError(_explanation(refused, name, without_network)) from error


def _explanation(error: Exception, name: HubName, without_network: str) -> str:
    from huggingface_hub import constants, errors, get_token

    known = get_token() is not None
    if isinstance(error, errors.GatedRepoError):
        page = f"{constants.ENDPOINT}/{name.repo_id}"
        return f"{name.repo_id} is gated: ask for access at {page}, then log in as that user."
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{name.repo_id} has no such branch, tag or commit. Received: {name.revision!r}"
    if isinstance(error, errors.RepositoryNotFoundError):
        private = "is private and not yours" if known else "is private: log in by hf auth login, or set HF_TOKEN"
        return f"There is no {name.repo_id} on {constants.ENDPOINT}, or it {private}."
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return f"{name} holds no acl-tf model: it has no manifest.json."
    if isinstance(error, errors.OfflineModeIsEnabled) or constants.HF_HUB_OFFLINE:
        return f"Offline mode is on (HF_HUB_OFFLINE), and {name} is not whole in the cache, {constants.HF_HUB_CACHE}."
    if isinstance(error, errors.LocalTokenNotFoundError):
        return "Not logged in: run hf auth login, or set HF_TOKEN."
    if isinstance(error, errors.HFValidationError):
        return f"{str(error).splitlines()[0]} Received: {str(name)!r}"
    if isinstance(error, ValueError) and isinstance(error.__cause__, errors.BadRequestError):
        reasons = [line.removeprefix("- ") for line in str(error).splitlines()[1:]]
        return f"{constants.ENDPOINT} does not accept the metadata of README.md: {'; '.join(reasons)}"
    if isinstance(error, errors.HfHubHTTPError) and error.response is not None:
        return _of_status(error, error.response.status_code, name, known)
    return f"{constants.ENDPOINT} cannot be reached: {_reason(error)} {without_network}".rstrip()


def _of_status(error: Exception, status: int, name: HubName, known: bool) -> str:
    from huggingface_hub import constants

    if status == 401:
        wrong = "does not accept the token: log in anew by hf auth login, or correct HF_TOKEN"
        return f"{constants.ENDPOINT} {wrong if known else 'wants a login: run hf auth login, or set HF_TOKEN'}."
    if status == 403:
        return f"The token may not do this with {name.repo_id}; it needs the right to write. {_refusal(error)}".rstrip()
    if status == 412:
        return f"Somebody else has committed to {name.repo_id} meanwhile; nothing was changed. Push again."
    if status == 429:
        return f"{constants.ENDPOINT} asks for a pause (429, too many requests). {_reason(error)}"
    return f"{constants.ENDPOINT} failed with {status}; try again later. {_reason(error)}"


def _refusal(error: Exception) -> str:
    """Returns the server's message about a refusal, or an empty string."""
    return str(getattr(error, "server_message", None) or "")


def _reason(error: Exception) -> str:
    """Returns the first line of an error that is not empty."""
    lines = [line.strip() for line in str(error.__cause__ or error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".") + "."
