"""Errors that a user can act on: one line that says what was wrong, what was received and what to do."""


class AclTfError(Exception):
    """A failure that is not a bug in acl-tf; the command line prints it as one line and exits with 1."""

    exit_code = 1


class UsageError(AclTfError):
    """A wrong flag, name or configuration; the command line exits with 2."""

    exit_code = 2


class DataError(AclTfError):
    """Images that are missing, unreadable or of the wrong form."""


class CheckpointError(AclTfError):
    """A checkpoint that cannot be written, read or resumed."""


class ModelFolderError(AclTfError):
    """A model folder that is missing, incomplete or changed since it was written."""


class UnsafeModelError(ModelFolderError):
    """A model that would run code, or read or write what is not its own."""


class HubError(AclTfError):
    """A repository of the Hugging Face Hub that cannot be reached, read or written."""


class ClusterError(AclTfError):
    """Workers that do not join, do not agree, or are lost.

    Args:
        message: What happened.
        exit_code: Exit code of the worker that failed.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Interrupted(AclTfError):
    """A request of the user or the system to stop; everything done so far is kept.

    Args:
        message: How to continue.
        signal_number: Number of the signal; the exit code is 128 more.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


class NonFiniteError(AclTfError):
    """A training step whose loss or gradient is NaN or infinite."""
