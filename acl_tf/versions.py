"""The version of acl-tf, and those that stand in every record."""

import platform
from importlib import metadata

__version__ = "0.2.0.dev0"


def versions() -> dict[str, str]:
    """Returns the versions of acl-tf, TensorFlow, Keras and Python."""
    return {
        "acl_tf": __version__,
        "tensorflow": metadata.version("tensorflow"),
        "keras": metadata.version("keras"),
        "python": platform.python_version(),
    }
