"""Starting TensorFlow without the screen of notes that its C++ prints."""

import functools
import logging
import os
import sys
import tempfile

from acl_tf import onednn

logger = logging.getLogger(__name__)


@functools.cache
def start_tensorflow() -> None:
    """Imports TensorFlow, finds the devices and names them in one line, once.

    TensorFlow's C++ writes notes to stderr before any log level applies. They are shown where the import fails, or
    where the user set `TF_CPP_MIN_LOG_LEVEL`, which is how to find out why a GPU is not seen.
    """
    wanted = "TF_CPP_MIN_LOG_LEVEL" in os.environ
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    with tempfile.TemporaryFile() as notes:
        stderr = os.dup(2)
        os.dup2(notes.fileno(), 2)
        try:
            import tensorflow as tf

            gpus = tf.config.list_physical_devices("GPU")
        except BaseException:
            wanted = True
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            if wanted:
                notes.seek(0)
                os.write(2, notes.read())
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
