"""Prediction of a batch on the devices of all workers."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from acl_tf.training.steps import share_of
from acl_tf.training.workers import Workers

# From indices, images and labels to logits.
Predict: TypeAlias = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


class Predictor:
    """Predicts batches, split among the replicas; the result of an image does not depend on its replica.

    Args:
        predict: Function from indices, images and labels of some rows to their logits.
        workers: Workers whose replicas share each batch; None: this process, on one device.
    """

    def __init__(self, predict: Predict, workers: Workers | None = None) -> None:
        self.workers = workers or Workers()
        self.strategy = self.workers.strategy
        self.predict = predict
        self.compiled = tf.function(self._on_replicas)

    def __call__(self, indices: np.ndarray, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Returns the logits, of shape `(batch, classes)`.

        Args:
            indices: Indices of the images, integers of shape `(batch,)`; the number of replicas must divide `batch`.
            images: Images in [0, 1], float32 of shape `(batch, height, width, 3)`.
            labels: Labels, integers of shape `(batch,)`.
        """

        def share(context: tf.distribute.experimental.ValueContext) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            mine = share_of(len(indices), context)
            return tf.constant(indices[mine], tf.int32), tf.constant(images[mine]), tf.constant(labels[mine])

        arguments = self.strategy.experimental_distribute_values_from_function(share)
        with self.workers.watched():
            # Called as a concrete graph: TensorFlow would warn that the predictors of several models retrace too often.
            logits = self.compiled.get_concrete_function(arguments)(arguments)
            return logits.numpy()

    @tf.autograph.experimental.do_not_convert
    def _on_replicas(self, arguments: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        logits = self.strategy.run(self.predict, arguments)
        return self.strategy.gather(logits, axis=0) if self.workers.replicas > 1 else logits
