"""The order of the images: a function of seed and epoch, so that a run can go on in mid-epoch."""

from collections.abc import Iterator

import numpy as np


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Returns the number of full batches in an epoch; what is left over of an epoch is not trained on."""
    return images // batch_size


def epoch_of(step: int, per_epoch: int) -> int:
    """Returns the epoch, from 1, that the step of that number, from 1, belongs to."""
    return (step - 1) // per_epoch + 1


def epoch_order(images: int, seed: int, epoch: int) -> np.ndarray:
    """Returns the order in which an epoch takes the images.

    Args:
        images: How many there are.
        seed: Of the run.
        epoch: From 0.

    Returns:
        A permutation of `range(images)`, of shape `(images,)`.
    """
    return np.random.default_rng((seed, epoch)).permutation(images)


def batch_rows(images: int, batch_size: int, seed: int, first_step: int, last_step: int) -> Iterator[np.ndarray]:
    """Yields which images make the batches of the steps from `first_step` to `last_step`.

    Args:
        images: How many there are, at least `batch_size`.
        batch_size: Number of images in each batch.
        seed: Of the run.
        first_step: The first step to yield, counted over all epochs from 0.
        last_step: Where to stop; not yielded.

    Yields:
        Arrays of shape `(batch_size,)`.
    """
    per_epoch = steps_per_epoch(images, batch_size)
    order, ordered_epoch = np.empty(0, np.int64), -1
    for step in range(first_step, last_step):
        epoch, batch = divmod(step, per_epoch)
        if epoch != ordered_epoch:
            order, ordered_epoch = epoch_order(images, seed, epoch), epoch
        yield order[batch * batch_size : (batch + 1) * batch_size]
