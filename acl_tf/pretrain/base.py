"""The train step that all contrastive objectives share."""

from collections.abc import Callable
from typing import Any, ClassVar

import keras
import tensorflow as tf

from acl_tf.attacks.base import GradientAttack
from acl_tf.data.augment import Augmentation
from acl_tf.losses.nt_xent import nt_xent
from acl_tf.models.branch import Branch
from acl_tf.models.encoder import Encoder
from acl_tf.models.heads import ProjectionHead
from acl_tf.randomness import fold_in, step_seed
from acl_tf.training.distribution import place_in_global_batch, replicas
from acl_tf.training.gradient_step import gradient_step, mean_over_global_batch

Views = tuple[tf.Tensor, tf.Tensor]


class ContrastiveObjective(keras.Model):
    """Trains an encoder to recognise two views of an image; how they are attacked is the subclass's matter.

    A subclass says which views are attacked (`perturb`) and which streams are contrasted (`stream_losses`).

    Args:
        encoder: What is trained.
        projection_head: Stands between features and loss, and is not part of what is published.
        augmentation: Makes two views of every image.
        attack: Raises the contrastive loss within a ball.
        temperature: Of NT-Xent.
        seed: All randomness is a function of it, of the step, and of the place of an image in the global batch.
        **kwargs: Passed on to `keras.Model`.

    Call arguments:
        inputs: Images in [0, 1], of shape `(batch, height, width, channels)`.
        branch: Defaults to `default_branch`.

    `fit`, and `train_step`, take uint8 images of shape `(batch, height, width, 3)`; labels are ignored.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, section 2.2.
    """

    #: The branch that the objective trains for robustness, or its only one.
    default_branch: ClassVar[Branch] = Branch.ADVERSARIAL
    #: The names of the losses that `stream_losses` returns.
    streams: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        encoder: Encoder,
        projection_head: ProjectionHead,
        augmentation: Augmentation,
        attack: GradientAttack,
        temperature: float = 0.5,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)  # images keep their precision
        self.encoder = encoder
        self.projection_head = projection_head
        self.augmentation = augmentation
        self.attack = attack
        self.temperature = temperature
        self.seed = seed
        self.step = self.add_weight(
            shape=(), dtype="int64", initializer="zeros", trainable=False, aggregation="only_first_replica", name="step"
        )
        names = ["loss", *(f"loss_{stream}" for stream in self.streams), "attack_loss_before", "attack_loss_after"]
        self.trackers = {name: keras.metrics.Mean(name=name) for name in [*names, "feature_std", "gradient_norm"]}
        self.built = True

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return list(self.trackers.values())

    def call(self, inputs: tf.Tensor, branch: Branch | str | None = None, training: bool | None = None) -> tf.Tensor:
        return self.encoder(inputs, branch=branch or self.default_branch, training=training)

    def perturb(self, views: Views, seed: tf.Tensor) -> Views:
        """Returns the views that the objective trains on: attacked ones in place of those that it attacks."""
        raise NotImplementedError

    def stream_losses(self, views: Views, perturbed: Views) -> dict[str, tf.Tensor]:
        """Returns the losses per view of each of `streams`, in training mode."""
        raise NotImplementedError

    def total_loss(self, losses: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns what the step minimises, of shape `()`; by default the mean of the only stream."""
        (values,) = losses.values()
        return mean_over_global_batch(values)

    def project(self, images: tf.Tensor, branch: Branch, training: bool = False) -> tf.Tensor:
        """Returns the projections of images, of shape `(batch, dim)`, in full precision."""
        features = self.encoder(images, branch=branch, training=training)
        if training:
            self.trackers["feature_std"].update_state(feature_std(features))
        projections = self.projection_head(features, branch=branch, training=training)
        return tf.cast(projections, self.encoder.variable_dtype)

    def contrast(self, views: Views, branch: Branch, training: bool = False) -> tf.Tensor:
        """Returns NT-Xent between two views, both on one branch and in one batch."""
        projections = self.project(tf.concat(views, axis=0), branch, training)
        z_i, z_j = tf.split(projections, 2)
        return nt_xent(z_i, z_j, self.temperature)

    def run_attack(self, images: list[tf.Tensor], loss: Callable[[tf.Tensor], tf.Tensor], seed: tf.Tensor) -> list:
        """Attacks the given views jointly; the loss takes all of them, one below the other."""
        starts = [
            self.attack.start(tf.shape(view), fold_in(seed, number), view.dtype) for number, view in enumerate(images)
        ]
        result = self.attack(tf.concat(images, axis=0), loss, tf.concat(starts, axis=0))
        if self.attack.steps > 0:
            self.trackers["attack_loss_before"].update_state(result.losses[0])
            self.trackers["attack_loss_after"].update_state(result.losses[-1])
        return tf.split(tf.stop_gradient(result.images), len(images))

    def attack_both(self, views: Views, seed: tf.Tensor) -> Views:
        """Attacks both views on the adversarial branch, in inference mode: no weight or statistic changes."""
        view_i, view_j = self.run_attack(
            list(views), lambda images: self.contrast(tuple(tf.split(images, 2)), Branch.ADVERSARIAL), seed
        )
        return view_i, view_j

    def make_views(self, images: tf.Tensor, seed: tf.Tensor) -> Views:
        """Returns two augmented views of uint8 images."""
        offset, total = place_in_global_batch(images.shape[0] or tf.shape(images)[0])
        view_i, view_j = self.augmentation.two_views(images, seed, offset, total)
        return tf.cast(view_i, self.encoder.variable_dtype), tf.cast(view_j, self.encoder.variable_dtype)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Takes one optimiser step on one batch and returns the running means of what it measured."""
        images, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        seed = step_seed(self.seed, self.step)
        views = self.make_views(images, fold_in(seed, 0))
        self.train_on_views(views, self.perturb(views, fold_in(seed, 1)))
        self.step.assign_add(1)
        return self.get_metrics_result()

    def train_on_views(self, views: Views, perturbed: Views) -> None:
        """Takes one optimiser step on views that are already augmented and attacked."""

        def loss_of_streams() -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
            losses = self.stream_losses(views, perturbed)
            return self.total_loss(losses), losses

        loss, losses, norm = gradient_step(self.optimizer, self.trainable_variables, loss_of_streams)
        self.trackers["gradient_norm"].update_state(norm)
        self.trackers["loss"].update_state(loss * replicas())
        for stream, values in losses.items():
            self.trackers[f"loss_{stream}"].update_state(values)


def feature_std(features: tf.Tensor) -> tf.Tensor:
    """Standard deviation over the batch of the l2-normalised features, averaged over the dimensions.

    It is about `1 / sqrt(dim)` for features that spread over the sphere, and 0 where they have collapsed to a point.

    Args:
        features: Shape `(batch, dim)`.

    Returns:
        Scalar.

    Reference: Chen and He, "Exploring Simple Siamese Representation Learning", CVPR 2021, section 4.1.
    """
    normalized = tf.math.l2_normalize(tf.cast(features, tf.float32), axis=1)
    return tf.reduce_mean(tf.math.reduce_std(normalized, axis=0))
