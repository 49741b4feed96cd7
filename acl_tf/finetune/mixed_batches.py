"""The order of semi-supervised training: fixed numbers of labelled and unlabelled images in each batch."""

import math

import numpy as np

from acl_tf.data.orders import Order, Shuffled


class MixedBatches(Order):
    """Takes every unlabelled image once per epoch, and cycles through the labelled ones.

    The labelled images come first in each batch.

    Args:
        images: Number of images.
        labelled: Rows of the labelled images.
        sizes: Numbers of labelled and of unlabelled images in a batch.
        epochs: Number of passes over the unlabelled images.
        seed: Seed of the order.
    """

    def __init__(self, images: int, labelled: np.ndarray, sizes: tuple[int, int], epochs: int, seed: int) -> None:
        unlabelled = np.setdiff1d(np.arange(images), labelled)
        once = Shuffled(len(unlabelled), sizes[1], epochs, seed)
        repetitions = math.ceil(once.horizon.steps / (len(labelled) // sizes[0]))
        repeated = Shuffled(len(labelled), sizes[0], repetitions, seed)
        self.parts: tuple[tuple[np.ndarray, Order], ...] = (labelled, repeated), (unlabelled, once)
        super().__init__(images, sum(sizes), epochs, seed)

    def lengths(self) -> tuple[int, ...]:
        return self.parts[1][1].horizon.lengths

    def rows(self, step: int) -> np.ndarray:
        return np.concatenate([rows[order.rows(step)] for rows, order in self.parts])
