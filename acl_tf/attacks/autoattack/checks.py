"""Checks that warn where a result of AutoAttack is not to be trusted, and say what to use instead.

Reference: https://github.com/fra31/auto-attack/blob/master/flags_doc.md
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import tensorflow as tf

from acl_tf.attacks.autoattack.rebatching import in_batches
from acl_tf.losses.cross_entropy import cross_entropy
from acl_tf.losses.margin import margin
from acl_tf.types import Classifier

IMAGES = 64  # number of images that the checks use
REPEATS = 5
# Smallest number of classes: DLR divides by the distance to the third largest logit, targeted DLR to the fourth.
CLASSES = {"apgd-dlr": 3, "apgd-t": 4}


class UnsuitableModelError(ValueError):
    """A model that an attack cannot be run on."""


def check_classes(classes: int, attacks: Collection[str]) -> None:
    """Checks that there are enough classes for the losses of all attacks.

    Raises:
        UnsuitableModelError: If there are too few.
    """
    too_few = [name for name in attacks if classes < CLASSES.get(name, 2)]
    if too_few:
        usable = [name for name in ("apgd-ce", "apgd-dlr", "fab-t", "square") if classes >= CLASSES.get(name, 2)]
        raise UnsuitableModelError(
            f"{', '.join(too_few)} needs at least {max(CLASSES[name] for name in too_few)} classes; "
            f"use attacks={'+'.join(usable)}. Received: {classes} classes"
        )


def check_shape(shape: Sequence[int], attacks: Collection[str]) -> None:
    """Checks that all attacks can work on images of a shape.

    Raises:
        UnsuitableModelError: If one of them cannot.
    """
    if "square" in attacks and shape[0] != shape[1]:
        raise UnsuitableModelError(
            f"Square needs square images; leave it out. Received: images of {shape[0]}x{shape[1]}"
        )


def check_model(
    model: Classifier,
    crafted_on: Classifier | None,
    images: np.ndarray,
    labels: np.ndarray,
    logits: np.ndarray,
    gradients: bool,
    rand: bool,
    batch_size: int = IMAGES,
) -> list[str]:
    """Returns warnings about what is suspicious in a model, judged on a few images.

    Args:
        model: Function from images to logits.
        crafted_on: Function that attacks differentiate; None: `model`.
        images: Images, of shape `(n, height, width, channels)`; at most 64 are used, the first that the model gets
            right.
        labels: Labels, of shape `(n,)`.
        logits: Logits of the images, of shape `(n, classes)`.
        gradients: Whether any attack follows gradients.
        rand: Whether the attacks are made for stochastic models.
        batch_size: Number of images in a batch; it does not change the warnings.

    Raises:
        UnsuitableModelError: If no gradient reaches the images.
    """
    right = np.flatnonzero(logits.argmax(axis=1) == labels)[:IMAGES]
    if len(right) == 0:
        return []
    size = min(batch_size, len(right))
    messages = [probabilities(logits[right]), saturation(logits[right])]
    messages.append(None if rand else stochastic(model, images[right], size))
    if gradients:
        messages.append(zero_gradients(crafted_on or model, images[right], labels[right], logits.shape[1], size))
    return [message for message in messages if message]


def stochastic(model: Classifier, images: np.ndarray, batch_size: int) -> str | None:
    """Returns a warning if the same images get different logits a second time."""
    predict = tf.function(model)
    logits = np.stack([in_batches(predict, batch_size, images) for _ in range(REPEATS)])
    directions = logits / (np.linalg.norm(logits, axis=-1, keepdims=True) + 1e-10)
    if np.linalg.norm(directions - directions[:1], axis=-1).max() <= 1e-4:
        return None
    return (
        "The model is stochastic: the same images got other logits again. Attacks follow gradients that are mostly "
        "noise, and robustness is overestimated; use version=rand."
    )


def probabilities(logits: np.ndarray) -> str | None:
    """Returns a warning if the logits are probabilities."""
    in_range = logits.min() >= -1e-5 and logits.max() <= 1 + 1e-5
    if not (in_range and np.abs(logits.sum(axis=1) - 1).max() < 1e-5):
        return None
    return (
        "The outputs of the model are probabilities. Their softmax has hardly a gradient, and robustness is "
        "overestimated; give the logits, without a softmax at the end."
    )


def saturation(logits: np.ndarray) -> str | None:
    """Returns a warning if the softmax, in float32, is exactly 0 for all classes but one."""
    losses = cross_entropy(tf.constant(logits), tf.constant(logits.argmax(axis=1))).numpy()
    saturated = int((losses == 0).sum())
    if not saturated:
        return None
    return (
        f"The softmax of {saturated} of {len(logits)} images is exactly 1 in float32. Cross-entropy has no gradient "
        "there; do not rely on apgd-ce or PGD on cross-entropy alone, but on apgd-dlr, apgd-t and fab-t."
    )


def zero_gradients(
    model: Classifier, images: np.ndarray, labels: np.ndarray, classes: int, batch_size: int
) -> str | None:
    """Returns a warning if the gradient of the margin is zero.

    Raises:
        UnsuitableModelError: If no gradient reaches the images.
    """

    def size(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            values = margin(tf.ensure_shape(tf.cast(model(images), tf.float32), (None, classes)), labels)
        gradient = tape.gradient(values, images)
        return -tf.ones_like(values) if gradient is None else tf.reduce_sum(tf.abs(gradient), (1, 2, 3))

    sizes = in_batches(tf.function(size), batch_size, images, labels)
    if (sizes < 0).any():
        raise UnsuitableModelError(
            "No gradient of the logits reaches the images: the model is not differentiable. Use attacks=square."
        )
    zeros = int((sizes == 0).sum())
    if not zeros:
        return None
    return (
        f"The gradients of {zeros} of {len(images)} images are zero. Attacks by gradients cannot move them, and "
        "robustness is overestimated; look at what square finds, and attack a differentiable form of the model."
    )


def check_square(survivors: Mapping[str, int], images: int) -> list[str]:
    """Returns a warning if Square, which uses no gradients, broke images that the other attacks could not.

    Args:
        survivors: Number of robust images after each attack, in the order of the attacks, `clean` first.
        images: Number of all images.
    """
    names = list(survivors)
    place = names.index("square") if "square" in names else 0
    if place < 2:
        return []
    broken = (survivors[names[place - 1]] - survivors["square"]) / images
    if broken <= 0.002:
        return []
    return [
        f"Square broke {100 * broken:.2f} % of the images after the attacks by gradients. Gradients may be masked, and "
        "robustness overestimated; look for an adaptive attack."
    ]
