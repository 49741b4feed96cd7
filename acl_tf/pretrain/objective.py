"""The contract of a pre-training method, and the step that all methods share."""

import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import tensorflow as tf

from acl_tf.attacks.base import Attack, Loss
from acl_tf.config import Section, checked_settings
from acl_tf.data.augment import Augmentation
from acl_tf.data.config import AugmentationConfig
from acl_tf.horizon import Horizon
from acl_tf.models.branch import Branch
from acl_tf.models.config import EncoderSettings, ModelConfig
from acl_tf.models.encoder import Encoder
from acl_tf.models.frozen_branch import FrozenBranch, Network
from acl_tf.models.heads import ProjectionHead
from acl_tf.models.paired_model import PairedModel
from acl_tf.pretrain.feature_std import feature_std
from acl_tf.pretrain.micro_batches import accumulated_gradients, in_micro_batches
from acl_tf.pretrain.passes import Networks, Pass, Projections, Term, Views
from acl_tf.randomness import fold_in, rows_of_global_batch, step_seed
from acl_tf.replicas import place_in_global_batch, replicas
from acl_tf.training.gradient_step import apply_gradients, gradients_of, mean_over_global_batch
from acl_tf.training.measurements import Measurements


class Objective(keras.Model):
    """Trains an encoder without labels; what a method contrasts, attacks and adds is its subclass's matter.

    A subclass says, in the order of the step: which views it makes of an image (`views`), which of them it attacks
    (`perturb`), what passes which network on which branch (`passes`), and what is minimised of the projections
    (`terms`). It has its own `Settings`, and may have networks (`networks`, `setup`), an augmentation whose strength
    changes (`strength`) and something to do within or after the optimiser's step (`before_update`, `after_step`) of its
    own. All randomness is a function of the seed, the step and the place of an image in the global batch.

    Args:
        encoder: Encoder that is trained and published.
        projection_head: What stands between features and loss; None: nothing.
        augmentation: Makes the views of an image.
        attack: Raises the loss within a ball; None: nothing is attacked.
        horizon: Length of the training, for what changes from epoch to epoch; None: not known.
        seed: Seed of all randomness.
        micro_batches: Number of parts in which a batch passes the network, one after the other, so that it need not
            hold the activations of all. Negatives are still those of the whole batch; batch normalisation takes the
            statistics of each part. Divides the batch; more than 1 on one replica only.
        name: Name of the model.
        **settings: Keys of `Settings`.

    Call arguments:
        inputs: Images in [0, 1], of shape `(batch, height, width, channels)`.
        branch: Branch of batch normalisation; None: `default_branch`.

    `fit`, and `train_step`, take uint8 images of shape `(batch, height, width, 3)`; labels are ignored.

    Raises:
        ValueError: If a setting is unknown, or its value out of range.
    """

    class Settings(Section):
        """The keys of `objective:` that the method has beside its name."""

    #: Sections of the configuration that build the networks and the augmentation.
    Model: ClassVar[type[EncoderSettings]] = ModelConfig
    Augmentation: ClassVar[type[Section]] = AugmentationConfig
    #: What the method sets in other sections, where neither the user nor the recipe does.
    defaults: ClassVar[Mapping[str, Any]] = {}
    #: Whether the method trains against an attack; if not, a section `attack` is an error.
    attacks: ClassVar[bool] = True
    #: The branch that the method trains for robustness, or its only one: the one that is published.
    default_branch: ClassVar[Branch] = Branch.ADVERSARIAL
    #: Names of the terms that are logged as `loss_NAME`.
    terms_logged: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        encoder: Encoder,
        projection_head: PairedModel | None = None,
        augmentation: Any = None,
        attack: Attack | None = None,
        *,
        horizon: Horizon | None = None,
        seed: int = 0,
        micro_batches: int = 1,
        name: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(autocast=False, name=name)  # images keep their precision
        self.settings: Any = checked_settings(self.Settings, settings)
        self.encoder = encoder
        self.projection_head = projection_head
        self.augmentation = augmentation or Augmentation()
        self.attack = attack
        self.horizon = horizon
        self.seed = seed
        self.micro_batches = micro_batches
        self.step = self.add_weight(
            shape=(), dtype="int64", initializer="zeros", trainable=False, aggregation="only_first_replica", name="step"
        )
        terms = [f"loss_{term}" for term in self.terms_logged]
        attack_losses = ["attack_loss_before", "attack_loss_after"]
        self.measurements = Measurements(["loss", *terms, *attack_losses, "feature_std", "gradient_norm"])
        # For each branch that an attack looks at: made when the first one is traced, for it takes a moment.
        self.frozen_branches = functools.cache(self._frozen_branches)
        self.setup()
        self.built = True

    # What a method says

    @classmethod
    def networks(cls, settings: Section, model: Any, image_shape: tuple[int, int, int]) -> Networks:
        """Returns the networks that are trained: by default an encoder and ACL's projection head.

        Args:
            settings: Section `objective` of the configuration, an instance of `Settings`.
            model: Section `model`, an instance of `Model`.
            image_shape: Height, width and channels of the images.
        """
        encoder = model.encoder(image_shape)
        head = ProjectionHead(
            encoder.feature_dim, model.projection_blocks, batch_norm=model.batch_norm, synchronized=True
        )
        return Networks(encoder, head)

    def setup(self) -> None:
        """Makes what else the method needs: an average, a teacher, a queue. None of it is trained."""

    def strength(self) -> tf.Tensor | None:
        """Returns the present strength of the augmentation, a scalar; None: that of its settings."""
        return None

    def views(self, images: tf.Tensor, seed: tf.Tensor) -> Views:
        """Returns views of uint8 images, in [0, 1]: by default two augmented ones."""
        return self.augmented(images, seed, 2)

    def perturb(self, views: Views, seed: tf.Tensor) -> Views:
        """Returns the views with attacked ones in the place of those that the method attacks: by default none."""
        return views

    def passes(self, views: Views, perturbed: Views) -> tuple[Pass, ...]:
        """Returns what passes the networks, in this order."""
        raise NotImplementedError

    def terms(self, *projections: Projections) -> dict[str, Term]:
        """Returns the terms of the loss by name, from the projections of each of `passes`."""
        raise NotImplementedError

    def before_update(self) -> None:
        """Does what comes between the gradients and the optimiser's step; by default nothing."""
        return  # AutoGraph cannot read a body that is a docstring alone

    def after_step(self) -> None:
        """Does what comes after the optimiser's step; by default nothing."""
        return

    def published(self) -> Networks:
        """Returns the networks that the model folder gets: by default those that are trained."""
        return self.trained

    # What a method can use

    @property
    def trained(self) -> Networks:
        """The networks that are trained."""
        return Networks(self.encoder, self.projection_head)

    def epoch(self) -> tf.Tensor:
        """Returns the number of the present epoch, from 0: an int64 scalar.

        Raises:
            ValueError: If the objective was built without a horizon.
        """
        if self.horizon is None:
            raise ValueError("`horizon` must be given to an objective that changes by epoch. Received: horizon=None")
        return self.horizon.epoch_at(tf.convert_to_tensor(self.step))

    def augmented(self, images: tf.Tensor, seed: tf.Tensor, count: int) -> Views:
        """Returns a number of augmented views of uint8 images, at the present strength."""
        offset, total = place_in_global_batch(images.shape[0] or tf.shape(images)[0])
        views = self.augmentation.views(images, seed, count, offset, total, self.strength())
        return tuple(tf.cast(view, self.encoder.variable_dtype) for view in views)

    def frozen(self, branch: Branch | str) -> Network:
        """Returns what maps images to projections with the present weights, in inference mode: what attacks see."""
        parts = [part.freeze() for part in self.frozen_branches(Branch(branch))]

        def network(images: tf.Tensor) -> tf.Tensor:
            projections = functools.reduce(lambda values, part: part(values), parts, images)
            return tf.cast(projections, self.encoder.variable_dtype)

        return in_micro_batches(network, self.micro_batches)

    def run_attack(self, images: Views, loss: Loss, seed: tf.Tensor) -> Views:
        """Returns views that the attack has changed jointly; the loss takes all of them, one below the other."""
        attack = self.attack
        if attack is None:
            raise ValueError(f"`attack` must be given to an objective that attacks. Received: {self.name}, attack=None")
        starts = [_start(attack, view, fold_in(seed, number)) for number, view in enumerate(images)]
        unrolled = True if replicas() > 1 else None  # negatives come from all replicas
        start = tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=0), *starts)
        result = attack(tf.concat(images, axis=0), loss, start, unrolled)
        if attack.steps > 0:
            self.measurements.update_state(
                {"attack_loss_before": result.losses[0], "attack_loss_after": result.losses[-1]}
            )
        return tuple(tf.split(tf.stop_gradient(result.images), len(images)))

    # The step

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """Variables of what is trained; nothing that `setup` makes is among them."""
        return [variable for part in self.trained.parts for variable in part.trainable_variables]

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self.measurements]

    def call(self, inputs: tf.Tensor, branch: Branch | str | None = None, training: bool | None = None) -> tf.Tensor:
        return self.encoder(inputs, branch=branch or self.default_branch, training=training)

    def project(self, given: Pass) -> Projections:
        """Passes views through networks; returns their projections, in full precision."""
        encoder, head = given.networks or self.trained
        features = encoder(tf.concat(given.views, axis=0), branch=given.branch, training=given.training)
        self.measurements.update_state({"feature_std": feature_std(features)})
        projections = features if head is None else head(features, branch=given.branch, training=given.training)
        return tuple(tf.split(tf.cast(projections, self.encoder.variable_dtype), len(given.views)))

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Takes one optimiser step on one batch and returns the running means of what it measured."""
        images, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        seed = step_seed(self.seed, self.step)
        views = self.views(images, fold_in(seed, 0))
        self.train_on_views(views, self.perturb(views, fold_in(seed, 1)))
        self.step.assign_add(1)
        return self.get_metrics_result()

    def train_on_views(self, views: Views, perturbed: Views) -> None:
        """Takes one optimiser step on views that are already augmented and attacked."""
        passes, variables = self.passes(views, perturbed), self.trainable_variables
        if self.micro_batches == 1:
            gradients, loss, terms = gradients_of(
                self.optimizer, variables, lambda: self._loss([self.project(given) for given in passes])
            )
        else:
            gradients, loss, terms = accumulated_gradients(
                self.optimizer, variables, self.project, passes, self._loss, self.micro_batches
            )
        self.before_update()
        norm = apply_gradients(self.optimizer, gradients, variables, loss.dtype)
        self.after_step()
        logged = {f"loss_{name}": terms[name] for name in self.terms_logged}
        self.measurements.update_state({"loss": loss * replicas(), "gradient_norm": norm, **logged})

    def _loss(self, projections: list[Projections]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Returns this replica's share of the loss, and the values of its terms."""
        terms = self.terms(*projections)
        shares = [term.weight * mean_over_global_batch(term.values) for term in terms.values()]
        return tf.add_n(shares), {name: term.values for name, term in terms.items()}

    def _frozen_branches(self, branch: Branch) -> list[FrozenBranch]:
        with tf.init_scope():
            return [FrozenBranch(part, branch) for part in self.trained.parts]


def _start(attack: Attack, view: tf.Tensor, seed: tf.Tensor) -> Any:
    """Draws where the attack of a view starts: this replica's rows of the draw for the global batch."""
    return rows_of_global_batch(tf.shape(view), lambda shape: attack.start(shape, seed, view.dtype))
