"""Gaussian augmentation: cross-entropy on noisy images, to train a classifier for randomised smoothing."""

import tensorflow as tf

from acl_tf.config import Positive, Section
from acl_tf.finetune.base import FineTuner, Losses
from acl_tf.losses.cross_entropy import cross_entropy
from acl_tf.randomness import rows_of_global_batch


class Gaussian(FineTuner):
    """Minimises the cross-entropy of images with Gaussian noise, which are not clipped to [0, 1].

    Reference: Cohen et al., "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019, section 3.3.
    """

    class Settings(Section):
        """Settings of Gaussian augmentation.

        Attributes:
            sigma: Standard deviation of the noise, in pixels of [0, 1].
        """

        sigma: Positive

    attacks = False

    @property
    def smoothing_sigma(self) -> float:
        return self.settings.sigma

    def perturb(self, images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        def draw(shape: tf.Tensor) -> tf.Tensor:
            return tf.random.stateless_normal(shape, seed, stddev=self.settings.sigma, dtype=images.dtype)

        return images + rows_of_global_batch(tf.shape(images), draw)

    def losses(self, images: tf.Tensor, perturbed: tf.Tensor, targets: tf.Tensor) -> Losses:
        return {"loss": cross_entropy(self(perturbed, training=True), targets)}
