"""TA: accuracy on clean images."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from acl_tf.data.image_set import ImageSet
from acl_tf.errors import DataError
from acl_tf.evaluate.record import Record, record


def run(
    model: keras.Model,
    image_set: ImageSet,
    protocol: Mapping[str, Any] | None = None,
    model_sha256: str | None = None,
    batch_size: int = 256,
) -> Iterator[Record]:
    """Yields the record of the clean accuracy.

    Args:
        model: From images in [0, 1] to logits.
        image_set: With labels.
        protocol: What else the number depends on, such as how the classifier was trained.
        model_sha256: Of `model.keras`.
        batch_size: Of the evaluation; it does not change the result.

    Raises:
        DataError: If there are no labels.
    """
    begin = time.perf_counter()
    predict = tf.function(lambda images: model(images, training=False))
    correct = [predict(images).numpy().argmax(-1) == labels for _, images, labels in batches(image_set, batch_size)]
    value = float(np.concatenate(correct).mean())
    yield record(
        "accuracy", value, image_set, {"attack": "none", **(protocol or {})}, model_sha256, time.perf_counter() - begin
    )


def batches(image_set: ImageSet, batch_size: int) -> Iterator[tuple[tf.Tensor, tf.Tensor, np.ndarray]]:
    """Yields indices, float32 images in [0, 1] and labels, in stored order."""
    if image_set.labels is None:
        raise DataError(f"{image_set.name} has no labels; accuracy needs them.")
    for begin in range(0, len(image_set), batch_size):
        rows = slice(begin, begin + batch_size)
        images = tf.cast(image_set.images[rows], tf.float32) / 255.0
        yield tf.range(begin, begin + len(images)), images, image_set.labels[rows]
