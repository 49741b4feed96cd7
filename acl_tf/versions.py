"""The versions that stand in every record."""

import platform
from importlib import metadata

from acl_tf import __version__


def versions() -> dict[str, str]:
    """Returns the versions of acl-tf, TensorFlow, Keras and Python."""
    return {
        "acl_tf": __version__,
        "tensorflow": metadata.version("tensorflow"),
        "keras": metadata.version("keras"),
        "python": platform.python_version(),
    }
