"""Images, losses and attacks that several tests use."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from acl_tf.attacks.base import AttackResult, GradientAttack, Loss
from acl_tf.attacks.eot import with_eot
from acl_tf.attacks.pgd import FGSM, PGD
from acl_tf.losses import CLASSIFICATION_LOSSES
from acl_tf.losses.nt_xent import nt_xent
from acl_tf.losses.targeted import targeted

SEED = (3, 14)
# From epsilon, step size and steps; and the norm of the ball.
ATTACKS: dict[str, tuple[Callable[[float, float, int], GradientAttack], float]] = {
    "linf": (PGD, np.inf),
    "l2": (lambda *numbers: PGD(*numbers, norm="l2"), 2),
    "l1": (lambda *numbers: PGD(*numbers, norm="l1"), 1),
    "l1 dense": (lambda *numbers: PGD(*numbers, sparsity=1.0, norm="l1"), 1),
    "linf momentum": (lambda *numbers: PGD(*numbers, momentum=0.9), np.inf),
    "l2 momentum": (lambda *numbers: PGD(*numbers, momentum=0.9, norm="l2"), 2),
    "l1 momentum": (lambda *numbers: PGD(*numbers, momentum=0.9, norm="l1"), 1),
    "fgsm": (lambda epsilon, *_: FGSM(epsilon), np.inf),
    "eot": (lambda *numbers: with_eot(PGD(*numbers, norm="l2"), draws=2), 2),
}
LOSSES = [*CLASSIFICATION_LOSSES, "targeted cross_entropy", "kl", "nt_xent"]


def images(batch: int = 4, size: int = 4, seed: int = 0, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Real images have many pixels that are black or white."""
    pixels = np.random.default_rng(seed).uniform(-0.2, 1.2, (batch, size, size, 3))
    return tf.cast(np.clip(pixels, 0.0, 1.0), dtype)


def greys(batch: int = 4, size: int = 4, seed: int = 0) -> tf.Tensor:
    """Images so far from 0 and 1 that a small ball lies inside."""
    return tf.cast(np.random.default_rng(seed).uniform(0.4, 0.6, (batch, size, size, 3)), tf.float32)


def slope(seed: int = 0, size: int = 4) -> np.ndarray:
    return np.random.default_rng(seed + 1).normal(size=(size, size, 3)).astype("float32")


def linear(weights: np.ndarray) -> Loss:
    return lambda x: tf.reduce_sum(x * tf.cast(weights, x.dtype), axis=(1, 2, 3))


def loss(name: str, clean: tf.Tensor, seed: int = 0) -> Loss:
    """The named loss of a linear classifier with four classes, or of its logits as projections."""
    random = np.random.default_rng(seed + 2)
    kernel = tf.cast(random.normal(size=(int(np.prod(clean.shape[1:])), 4)), clean.dtype)
    labels = random.integers(0, 4, len(clean))

    def logits(x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(x, [len(clean), -1]) @ kernel

    if name == "nt_xent":
        return lambda x: nt_xent(*tf.split(logits(x), 2))
    if name == "kl":
        before = tf.nn.log_softmax(logits(clean))
        return lambda x: tf.reduce_sum(tf.exp(before) * (before - tf.nn.log_softmax(logits(x))), axis=1)
    if name.startswith("targeted "):
        of_logits = targeted(CLASSIFICATION_LOSSES[name.removeprefix("targeted ")])
    else:
        of_logits = CLASSIFICATION_LOSSES[name]
    return lambda x: of_logits(logits(x), labels)


def run(attack: GradientAttack, x: tf.Tensor, loss: Loss, seed: tuple[int, int] = SEED) -> AttackResult:
    return attack(x, loss, attack.start(x.shape, tf.constant(seed), x.dtype))


def distances(found: tf.Tensor, center: tf.Tensor, norm: float) -> np.ndarray:
    """Of each image, computed in float64."""
    delta = np.asarray(found, np.float64) - np.asarray(center, np.float64)
    return np.linalg.norm(delta.reshape(len(delta), -1), norm, axis=1)
