"""The train step that all contrastive objectives share."""

import functools
from typing import Any, ClassVar

import keras
import tensorflow as tf

from acl_tf.attacks.base import Attack, Loss
from acl_tf.data.augment import Augmentation
from acl_tf.losses.nt_xent import nt_xent
from acl_tf.models.branch import Branch
from acl_tf.models.encoder import Encoder
from acl_tf.models.frozen_branch import FrozenBranch, Network
from acl_tf.models.heads import ProjectionHead
from acl_tf.pretrain.micro_batches import accumulated_step, in_micro_batches
from acl_tf.pretrain.passes import Pass, Projections, Views
from acl_tf.randomness import fold_in, rows_of_global_batch, step_seed
from acl_tf.replicas import global_mean, place_in_global_batch, replicas
from acl_tf.training.gradient_step import gradient_step, mean_over_global_batch
from acl_tf.training.measurements import Measurements


class ContrastiveObjective(keras.Model):
    """Trains an encoder to recognise two views of an image; how they are attacked is the subclass's matter.

    A subclass says which views are attacked (`perturb`), what goes through the network on which branch (`passes`) and
    which projections are contrasted (`stream_losses`).

    Args:
        encoder: What is trained.
        projection_head: Stands between features and loss, and is not part of what is published.
        augmentation: Makes two views of every image.
        attack: Raises the contrastive loss within a ball.
        temperature: Of NT-Xent.
        seed: All randomness is a function of it, of the step, and of the place of an image in the global batch.
        micro_batches: In how many parts a batch passes the network, one after the other, so that it need not hold the
            activations of all. Negatives are still those of the whole batch; batch normalisation takes the statistics
            of each part. Divides the batch; more than 1 on one replica only.
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
        attack: Attack,
        temperature: float = 0.5,
        seed: int = 0,
        micro_batches: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)  # images keep their precision
        self.encoder = encoder
        self.projection_head = projection_head
        self.augmentation = augmentation
        self.attack = attack
        self.temperature = temperature
        self.seed = seed
        self.micro_batches = micro_batches
        self.step = self.add_weight(
            shape=(), dtype="int64", initializer="zeros", trainable=False, aggregation="only_first_replica", name="step"
        )
        self.measurements = Measurements(
            [
                "loss",
                *(f"loss_{stream}" for stream in self.streams),
                "attack_loss_before",
                "attack_loss_after",
                "feature_std",
                "gradient_norm",
            ]
        )
        # For each branch that an attack looks at: made when the first one is traced, for it takes a moment.
        self.frozen_branches = functools.cache(self._frozen_branches)
        self.built = True

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self.measurements]

    def call(self, inputs: tf.Tensor, branch: Branch | str | None = None, training: bool | None = None) -> tf.Tensor:
        return self.encoder(inputs, branch=branch or self.default_branch, training=training)

    def perturb(self, views: Views, seed: tf.Tensor) -> Views:
        """Returns the views that the objective trains on: attacked ones in place of those that it attacks."""
        raise NotImplementedError

    def passes(self, views: Views, perturbed: Views) -> tuple[Pass, ...]:
        """Returns what goes through the network in training mode."""
        raise NotImplementedError

    def stream_losses(self, *projections: Projections) -> dict[str, tf.Tensor]:
        """Returns the losses per view of each of `streams`, from the projections of each of `passes`."""
        raise NotImplementedError

    def total_loss(self, losses: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns what the step minimises, of shape `()`; by default the mean of the only stream."""
        (values,) = losses.values()
        return mean_over_global_batch(values)

    def contrast(self, z_i: tf.Tensor, z_j: tf.Tensor) -> tf.Tensor:
        """Returns NT-Xent between the projections of two views, one loss per view."""
        return nt_xent(z_i, z_j, self.temperature)

    def project(self, given: Pass) -> Projections:
        """Passes views through the network in training mode; returns their projections, in full precision."""
        features = self.encoder(tf.concat(given.views, axis=0), branch=given.branch, training=True)
        self.measurements.update_state({"feature_std": feature_std(features)})
        projections = self.projection_head(features, branch=given.branch, training=True)
        return tuple(tf.split(tf.cast(projections, self.encoder.variable_dtype), len(given.views)))

    def _frozen_branches(self, branch: Branch) -> tuple[FrozenBranch, FrozenBranch]:
        with tf.init_scope():
            return FrozenBranch(self.encoder, branch), FrozenBranch(self.projection_head, branch)

    def frozen(self, branch: Branch) -> Network:
        """Returns what maps images to projections with the weights of now, in inference mode."""
        encoder, head = (part.freeze() for part in self.frozen_branches(branch))

        def network(images: tf.Tensor) -> tf.Tensor:
            return tf.cast(head(encoder(images)), self.encoder.variable_dtype)

        return in_micro_batches(network, self.micro_batches)

    def run_attack(self, images: list[tf.Tensor], loss: Loss, seed: tf.Tensor) -> list[tf.Tensor]:
        """Attacks the given views jointly; the loss takes all of them, one below the other."""
        starts = [self._start(view, fold_in(seed, number)) for number, view in enumerate(images)]
        unrolled = True if replicas() > 1 else None  # negatives come from all replicas
        result = self.attack(tf.concat(images, axis=0), loss, tf.concat(starts, axis=0), unrolled)
        if self.attack.steps > 0:
            self.measurements.update_state(
                {"attack_loss_before": result.losses[0], "attack_loss_after": result.losses[-1]}
            )
        return tf.split(tf.stop_gradient(result.images), len(images))

    def _start(self, view: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return rows_of_global_batch(tf.shape(view), lambda shape: self.attack.start(shape, seed, view.dtype))

    def attack_both(self, views: Views, seed: tf.Tensor) -> Views:
        """Attacks both views on the adversarial branch, in inference mode: no weight or statistic changes."""
        network = self.frozen(Branch.ADVERSARIAL)
        view_i, view_j = self.run_attack(list(views), lambda images: self.contrast(*tf.split(network(images), 2)), seed)
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
        passes = self.passes(views, perturbed)

        def loss_of(projections: list[Projections]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
            losses = self.stream_losses(*projections)
            return self.total_loss(losses), losses

        if self.micro_batches == 1:
            loss, losses, norm = gradient_step(
                self.optimizer, self.trainable_variables, lambda: loss_of([self.project(given) for given in passes])
            )
        else:
            loss, losses, norm = accumulated_step(
                self.optimizer, self.trainable_variables, self.project, passes, loss_of, self.micro_batches
            )
        streams = {f"loss_{stream}": values for stream, values in losses.items()}
        self.measurements.update_state({"loss": loss * replicas(), "gradient_norm": norm, **streams})


def feature_std(features: tf.Tensor) -> tf.Tensor:
    """Standard deviation over the global batch of the l2-normalised features, averaged over the dimensions.

    It is about `1 / sqrt(dim)` for features that spread over the sphere, and 0 where they have collapsed to a point.

    Args:
        features: Shape `(batch, dim)`.

    Returns:
        Scalar.

    Reference: Chen and He, "Exploring Simple Siamese Representation Learning", CVPR 2021, section 4.1.
    """
    normalized = tf.math.l2_normalize(tf.cast(features, tf.float32), axis=1)
    mean = global_mean(tf.reduce_mean(normalized, axis=0))
    variance = global_mean(tf.reduce_mean(tf.square(normalized - mean), axis=0))
    return tf.reduce_mean(tf.sqrt(variance))
