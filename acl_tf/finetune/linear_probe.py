"""Linear probes: a classifier on an encoder that does not move."""

from typing import Any

import keras
import tensorflow as tf

from acl_tf.attacks.base import GradientAttack
from acl_tf.losses.cross_entropy import cross_entropy
from acl_tf.models.heads import linear_classifier
from acl_tf.randomness import step_seed


class LinearProbe(keras.Model):
    """Trains a zero-initialised linear layer on the features of a frozen encoder.

    The encoder runs in inference mode and none of its variables changes. With an attack this is the adversarial
    linear probe (ALF), without one the standard linear probe (SLF).

    Args:
        encoder: A plain functional model from images in [0, 1] to features, as `extract_branch` makes it.
        num_classes: Number of classes.
        attack: Perturbs the training images, raising their cross-entropy; None: clean images.
        seed: Of the attack's random starts.
        **kwargs: Passed on to `keras.Model`.

    Call arguments:
        inputs: Images in [0, 1], of shape `(batch, height, width, channels)`.

    Call returns: logits, of shape `(batch, num_classes)`.

    `fit` takes uint8 images and integer labels.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, Table 5.
    """

    def __init__(
        self,
        encoder: keras.Model,
        num_classes: int,
        attack: GradientAttack | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        self.encoder.trainable = False
        self.head = keras.layers.Dense(num_classes, kernel_initializer="zeros", dtype="float32", name="fc")
        self.head.build(encoder.output_shape)
        self.attack = attack
        self.seed = seed
        self.trackers = [keras.metrics.Mean("cross_entropy"), keras.metrics.SparseCategoricalAccuracy("accuracy")]
        self.built = True

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return self.trackers

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        return self.head(self.encoder(inputs, training=False))

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Takes one optimiser step on the linear layer."""
        images, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        images = self._perturb(tf.cast(images, tf.float32) / 255.0, labels)
        features = self.encoder(images, training=False)
        with tf.GradientTape() as tape:
            logits = self.head(features)
            losses = cross_entropy(logits, labels)
            loss = tf.reduce_mean(losses)
        variables = self.head.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        mean_loss, accuracy = self.trackers
        mean_loss.update_state(losses)
        accuracy.update_state(labels, logits)
        return self.get_metrics_result()

    def classifier(self) -> keras.Model:
        """Returns a plain functional model from images to logits, with its own copy of the linear layer."""
        model = linear_classifier(self.encoder, self.head.units)
        model.get_layer("fc").set_weights(self.head.get_weights())
        return model

    def _perturb(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        if self.attack is None:
            return images
        start = self.attack.start(tf.shape(images), step_seed(self.seed, self.optimizer.iterations), images.dtype)
        return self.attack(images, lambda attacked: cross_entropy(self(attacked), labels), start).images
