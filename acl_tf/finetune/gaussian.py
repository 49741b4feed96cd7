"""Gaussian augmentation: cross-entropy on noisy images, the training of a classifier that is to be smoothed."""

from typing import Any

import tensorflow as tf

from acl_tf.finetune.base import FineTuner, Losses
from acl_tf.losses.cross_entropy import cross_entropy
from acl_tf.randomness import rows_of_global_batch


class Gaussian(FineTuner):
    """Minimises the cross-entropy of images with Gaussian noise, which are not clipped to [0, 1].

    Args:
        *args: As of `FineTuner`; nothing is attacked.
        sigma: Standard deviation of the noise, in pixels of [0, 1].
        **kwargs: As of `FineTuner`.

    Raises:
        ValueError: If `sigma` is not positive.

    Reference: Cohen et al., "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019, section 3.3.
    """

    def __init__(self, *args: Any, sigma: float = 0.25, **kwargs: Any) -> None:
        if not sigma > 0:
            raise ValueError(f"`sigma` must be positive. Received: sigma={sigma}")
        super().__init__(*args, **kwargs)
        self.sigma = sigma

    def perturb(self, images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        def draw(shape: tf.Tensor) -> tf.Tensor:
            return tf.random.stateless_normal(shape, seed, stddev=self.sigma, dtype=images.dtype)

        return images + rows_of_global_batch(tf.shape(images), draw)

    def losses(self, images: tf.Tensor, perturbed: tf.Tensor, targets: tf.Tensor) -> Losses:
        return {"loss": cross_entropy(self(perturbed, training=True), targets)}
