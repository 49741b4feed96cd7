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
    """Trains a zero-initialised linear classifier on an encoder, and the encoder with it unless that is frozen.

    A subclass says how images are attacked (`perturb`) and what is minimised (`losses`). With `encoder.trainable =
    False` it is a linear probe: the encoder then runs in inference mode, and neither its weights nor the statistics
    of either branch change.

    Args:
        encoder: Encoder whose features are classified.
        num_classes: Number of classes.
        branch: Branch of the encoder that images take.
        augmentation: Changes training images at random; None: as ACL has it.
        attack: Perturbs training images; None: as ACL has it, 10 steps of 2/255 in 8/255, of a method that attacks.
        seed: Seed of all randomness, beside the step and the place of an image in the global batch.
        name: Name of the model.
        **settings: Keys of `Settings`.

    Attributes:
        settings: The keyword arguments, validated by `Settings`.

    Call arguments:
        inputs: Images in [0, 1], of shape `(batch, height, width, channels)`.
        training: Whether batch normalisation uses, and moves, the batch's statistics; never where the encoder is
            frozen.

    Call returns: logits, float32 of shape `(batch, num_classes)`.

    `fit`, and `train_step`, take uint8 images and their labels, integers of shape `(batch,)`.

    Raises:
        ValueError: If a setting is unknown, missing, or out of range.
    """

    class Settings(Section):
        """The keys of `method:` that the method has beside its name and mode."""

    #: Whether the method trains against an attack; if not, the section `attack` holds the ball of validation alone.
    attacks: ClassVar[bool] = True
    #: What the method sets in other sections, where neither the user nor the recipe does.
    defaults: ClassVar[Mapping[str, Any]] = {
        "attack": {"name": "pgd", "epsilon": 8 / 255, "step_size": 2 / 255, "steps": 10}
    }
    #: The losses that `losses` returns, by name, beside the one that is minimised.
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
        # Made when an attack is traced, for it takes a moment.
        self.frozen_branch = functools.cache(self._frozen_branch)
        self.built = True

    @classmethod
    def default_attack(cls) -> Attack:
        """Returns the attack that the method is published with."""
        settings = dict(cls.defaults["attack"])
        return ATTACKS[settings.pop("name")](**settings)

    @property
    def smoothing_sigma(self) -> float | None:
        """Standard deviation of the noise with which the classifier is to be smoothed; None: it is not to be."""
        return None

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self.measurements]

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        features = self.encoder(inputs, branch=self.branch, training=bool(training) and self.encoder.trainable)
        return self.classifier(features)

    def frozen(self) -> Network:
        """Returns what maps images to logits with the present weights, in inference mode: what attacks see."""
        encoder = self.frozen_branch().freeze()
        return lambda images: self.classifier(encoder(images))

    def _frozen_branch(self) -> FrozenBranch:
        with tf.init_scope():
            return FrozenBranch(self.encoder, self.branch)

    def perturb(self, images: tf.Tensor, targets: Any, seed: tf.Tensor) -> tf.Tensor:
        """Returns the images that the method trains on beside, or instead of, the clean ones: by default these."""
        return images

    def run_attack(self, images: tf.Tensor, loss: Loss, seed: tf.Tensor) -> tf.Tensor:
        """Returns images on which the attack has raised a loss, in inference mode: no statistic changes."""
        attack = self.attack
        if attack is None:
            raise ValueError(f"`attack` must be given to a method that attacks. Received: {self.name}, attack=None")
        start = rows_of_global_batch(tf.shape(images), lambda shape: attack.start(shape, seed, images.dtype))
        return attack(images, loss, start).images

    def losses(self, images: tf.Tensor, perturbed: tf.Tensor, targets: Any) -> Losses:
        """Returns values per example: `"loss"`, which is minimised, and `parts`."""
        raise NotImplementedError

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Takes one optimiser step on one batch and returns the running means of what it measured."""
        images, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
        seed = step_seed(self.seed, self.step)
        images = tf.cast(self.augmentation(images, fold_in(seed, 0)), self.encoder.variable_dtype)
        perturbed = tf.stop_gradient(self.perturb(images, targets, fold_in(seed, 1)))
        self.train_on_images(images, perturbed, targets)
        self.step.assign_add(1)
        return self.measurements.result()

    def train_on_images(self, images: tf.Tensor, perturbed: tf.Tensor, targets: Any) -> None:
        """Takes one optimiser step on images that are already augmented and attacked."""

        def loss_and_parts() -> tuple[tf.Tensor, Losses]:
            values = self.losses(images, perturbed, targets)
            return mean_over_global_batch(values["loss"]), values

        loss, values, norm = gradient_step(self.optimizer, self.trainable_variables, loss_and_parts)
        parts = {name: values[name] for name in self.parts}
        self.measurements.update_state({"loss": loss * replicas(), "gradient_norm": norm, **parts})
