"""Starting TensorFlow without the screen of notes that its C++ prints."""

import contextlib
import functools
import logging
import os
import sys
import tempfile
from collections.abc import Iterator

from acl_tf import onednn

logger = logging.getLogger(__name__)

# Errors only.
LEVEL = "2"


@functools.cache
def start_tensorflow() -> None:
    """Imports TensorFlow, finds the devices and names them in one line, once."""
    with _notes_hidden():
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
        logger.info("TensorFlow %s on %s; %s", tf.__version__, ", ".join(names), onednn.describe())
    else:
        logger.info(
            "TensorFlow %s on the CPU, %d cores (TF_CPP_MIN_LOG_LEVEL=0 shows why no GPU is seen); %s",
            tf.__version__,
            os.cpu_count(),
            onednn.describe(),
        )


def import_tensorflow() -> None:
    """Imports TensorFlow and nothing else: for what a command builds before it starts on the devices."""
    with _notes_hidden():
        import tensorflow  # noqa: F401


@contextlib.contextmanager
def _notes_hidden() -> Iterator[None]:
    """Hides what TensorFlow's C++ writes to stderr before any log level applies.

    It is shown where the block fails, or where the user set another `TF_CPP_MIN_LOG_LEVEL`, which is how to find out
    why a GPU is not seen.
    """
    wanted = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", LEVEL) != LEVEL
    sys.stderr.flush()
    with tempfile.TemporaryFile() as notes:
        stderr = os.dup(2)
        os.dup2(notes.fileno(), 2)
        try:
            yield
        except BaseException:
            wanted = True
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            if wanted:
                notes.seek(0)
                os.write(2, notes.read())
