"""What a run sets for the whole process before it builds anything."""

import keras
import tensorflow as tf

from acl_tf.training.config import RunConfig


def set_numerics(training: RunConfig) -> None:
    """Sets the precision of layers, the seed of initial weights, and how GPUs multiply float32.

    Args:
        training: Section `training` of the configuration.
    """
    keras.config.set_dtype_policy(training.precision)
    keras.utils.set_random_seed(training.seed)
    tf.config.experimental.enable_tensor_float_32_execution(training.tf32)
