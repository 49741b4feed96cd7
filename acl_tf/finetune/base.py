"""The train step that all supervised methods share."""

import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import tensorflow as tf

from acl_tf.attacks import ATTACKS
from acl_tf.attacks.base import Attack, Loss
from acl_tf.config import Section, checked_settings
from acl_tf.data.crop_flip import CropFlip
from acl_tf.models.branch import Branch
from acl_tf.models.encoder import Encoder
from acl_tf.models.frozen_branch import FrozenBranch, Network
from acl_tf.models.heads import zero_classifier
from acl_tf.randomness import fold_in, rows_of_global_batch, step_seed
from acl_tf.replicas import replicas
from acl_tf.training.gradient_step import gradient_step, mean_over_global_batch
from acl_tf.training.measurements import Measurements

Losses = dict[str, tf.Tensor]


class FineTuner(keras.Model):
    """Trains a zero-initialised linear classifier on top of an encoder and, unless it is frozen, the encoder too.

    A subclass defines how images are perturbed (`perturb`) and which losses are minimised (`losses`). With
    `encoder.trainable = False` the model is a linear probe: the encoder runs in inference mode, and neither its weights
    nor the statistics of either branch change.

    Args:
        encoder: Encoder whose features are classified.
        num_classes: Number of classes.
        branch: Branch of the encoder's batch normalisation that is used.
        augmentation: Random augmentation of the training images; None: padding, random crops and mirroring, as in ACL.
        attack: Attack on the training images; None: the method's published attack, or no attack if the method does not
            train against one.
        seed: Seed of all randomness, which also depends on the step and on an image's place in the global batch.
        name: Name of the model.
        **settings: Keys of `Settings`.

    Attributes:
        settings: The keyword arguments, validated by `Settings`.

    Call arguments:
        inputs: Images in [0, 1], of shape `(batch, height, width, channels)`.
        training: Whether batch normalisation uses the batch's statistics and updates its own; ignored if the encoder
            is frozen.

    Call returns: logits, float32 of shape `(batch, num_classes)`.

    `fit` and `train_step` take uint8 images and their labels, integers of shape `(batch,)`.

    Raises:
        ValueError: If a setting is unknown, missing, or out of range.
    """

    class Settings(Section):
        """Settings of the method: the keys of `method:` besides its name and mode."""

    #: Whether the method trains against an attack; if not, the section `attack` holds only the ball for validation.
    attacks: ClassVar[bool] = True
    #: Values that the method sets in other sections, unless the user or the recipe does.
    defaults: ClassVar[Mapping[str, Any]] = {
        "attack": {"name": "pgd", "epsilon": 8 / 255, "step_size": 2 / 255, "steps": 10}
    }
    #: Names of the losses that `losses` returns in addition to the one that is minimised; they are logged.
    parts: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        encoder: Encoder,
        num_classes: int,
        branch: Branch | str = Branch.ADVERSARIAL,
        augmentation: CropFlip | None = None,
        attack: Attack | None = None,
        *,
        seed: int = 0,
        name: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(autocast=False, name=name)  # images keep their precision
        self.settings: Any = checked_settings(self.Settings, settings)
        self.encoder = encoder
        self.branch = Branch(branch)
        self.classifier = zero_classifier(num_classes)
        self.classifier.build((None, encoder.feature_dim))
        self.augmentation = augmentation or CropFlip()
        self.attack = attack or (self.default_attack() if self.attacks else None)
        self.seed = seed
        self.step = self.add_weight(
            shape=(), dtype="int64", initializer="zeros", trainable=False, aggregation="only_first_replica", name="step"
        )
        self.measurements = Measurements(["loss", *self.parts, "gradient_norm"])
        # Built only when an attack is traced, because it takes a moment.
        self.frozen_branch = functools.cache(self._frozen_branch)
        self.built = True

    @classmethod
    def default_attack(cls) -> Attack:
        """Returns the attack with which the method was published."""
        settings = dict(cls.defaults["attack"])
        return ATTACKS[settings.pop("name")](**settings)

    @property
    def smoothing_sigma(self) -> float | None:
        """Standard deviation of the noise with which the classifier is meant to be smoothed; None: it is not."""
        return None

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self.measurements]

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        features = self.encoder(inputs, branch=self.branch, training=bool(training) and self.encoder.trainable)
        return self.classifier(features)

    def frozen(self) -> Network:
        """Returns a function from images to logits with the current weights, in inference mode, for attacks."""
        encoder = self.frozen_branch().freeze()
        return lambda images: self.classifier(encoder(images))

    def _frozen_branch(self) -> FrozenBranch:
        with tf.init_scope():
            return FrozenBranch(self.encoder, self.branch)

    def perturb(self, images: tf.Tensor, targets: Any, seed: tf.Tensor) -> tf.Tensor:
        """Returns the perturbed images that `losses` gets together with the clean ones; by default the clean ones."""
        return images

    def run_attack(self, images: tf.Tensor, loss: Loss, seed: tf.Tensor) -> tf.Tensor:
        """Returns the adversarial images that the attack finds for a loss of images."""
        attack = self.attack
        if attack is None:
            raise ValueError(f"`attack` must be given to a method that attacks. Received: {self.name}, attack=None")
        start = rows_of_global_batch(tf.shape(images), lambda shape: attack.start(shape, seed, images.dtype))
        return attack(images, loss, start).images

    def losses(self, images: tf.Tensor, perturbed: tf.Tensor, targets: Any) -> Losses:
        """Returns one value per example of `"loss"`, which is minimised, and of each of `parts`."""
        raise NotImplementedError

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Takes one optimiser step on one batch and returns the running means of the measurements."""
        images, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
        seed = step_seed(self.seed, self.step)
        images = tf.cast(self.augmentation(images, fold_in(seed, 0)), self.encoder.variable_dtype)
        perturbed = tf.stop_gradient(self.perturb(images, targets, fold_in(seed, 1)))
        self.train_on_images(images, perturbed, targets)
        self.step.assign_add(1)
        return self.measurements.result()

    def train_on_images(self, images: tf.Tensor, perturbed: tf.Tensor, targets: Any) -> None:
        """Takes one optimiser step on images that are already augmented and perturbed."""

        def loss_and_parts() -> tuple[tf.Tensor, Losses]:
            values = self.losses(images, perturbed, targets)
            return mean_over_global_batch(values["loss"]), values

        loss, values, norm = gradient_step(self.optimizer, self.trainable_variables, loss_and_parts)
        parts = {name: values[name] for name in self.parts}
        self.measurements.update_state({"loss": loss * replicas(), "gradient_norm": norm, **parts})
