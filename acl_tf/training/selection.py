"""Model selection: the weights of the best epoch."""

from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf


class Selection(tf.Module):
    """Keeps a copy of the weights at the best epoch so far. It is part of a checkpoint, so a resumed run knows it.

    Args:
        variables: Variables that are copied.

    Attributes:
        epoch: The best epoch, from 1; 0 before the first. An int64 variable.
        scores: Scores of the best epoch: robust accuracy, then clean accuracy.
    """

    def __init__(self, variables: Iterable[keras.Variable]) -> None:
        super().__init__(name="selection")
        self._variables = list(variables)
        self.copies = [tf.Variable(tf.convert_to_tensor(variable), trainable=False) for variable in self._variables]
        self.epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.scores = tf.Variable([-1.0, -1.0], dtype=tf.float64, trainable=False)

    def update(self, epoch: int, robust_accuracy: float, accuracy: float) -> bool:
        """Copies the weights if this epoch is better: more robust, or as robust and more accurate.

        Returns:
            Whether it is better.
        """
        scores = (robust_accuracy, accuracy)
        if scores <= tuple(self.scores.numpy()):
            return False
        for copy, variable in zip(self.copies, self._variables, strict=True):
            copy.assign(tf.convert_to_tensor(variable))
        self.epoch.assign(epoch)
        self.scores.assign(np.array(scores))
        return True

    def restore(self) -> None:
        """Puts the weights of the best epoch back."""
        for copy, variable in zip(self.copies, self._variables, strict=True):
            variable.assign(copy)

    def best_epoch(self) -> int:
        """Returns the number of the best epoch."""
        return int(self.epoch.numpy())
