"""The order of the images: a function of seed and epoch, so that a run can resume in mid-epoch."""

from collections.abc import Iterator

import numpy as np


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Returns the number of full batches in an epoch; images that do not fill a batch are left out."""
    return images // batch_size


def epoch_of(step: int, per_epoch: int) -> int:
    """Returns the epoch, from 1, to which a step belongs, whose number counts from 1."""
    return (step - 1) // per_epoch + 1


def epoch_order(images: int, seed: int, epoch: int) -> np.ndarray:
    """Returns the order in which an epoch takes the images.

    Args:
        images: Number of images.
        seed: Seed of the run.
        epoch: Number of the epoch, from 0.

    Returns:
        A permutation of `range(images)`, of shape `(images,)`.
    """
    return np.random.default_rng((seed, epoch)).permutation(images)


def batch_rows(images: int, batch_size: int, seed: int, first_step: int, last_step: int) -> Iterator[np.ndarray]:
    """Yields the rows of the images in each batch, for the steps from `first_step` to before `last_step`.

    Args:
        images: Number of images, at least `batch_size`.
        batch_size: Number of images in each batch.
        seed: Seed of the run.
        first_step: First step to yield, counted over all epochs from 0.
        last_step: The step at which to stop, which is not yielded.

    Yields:
        Rows of the images, of shape `(batch_size,)`.
    """
    per_epoch = steps_per_epoch(images, batch_size)
    order, ordered_epoch = np.empty(0, np.int64), -1
    for step in range(first_step, last_step):
        epoch, batch = divmod(step, per_epoch)
        if epoch != ordered_epoch:
            order, ordered_epoch = epoch_order(images, seed, epoch), epoch
        yield order[batch * batch_size : (batch + 1) * batch_size]
