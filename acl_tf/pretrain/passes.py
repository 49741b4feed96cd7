"""What goes through the networks in one step, and what is minimised of it."""

from typing import NamedTuple

import tensorflow as tf

from acl_tf.models.branch import Branch
from acl_tf.models.encoder import Encoder
from acl_tf.models.paired_model import PairedModel

# Views of the same images, each of shape `(batch, height, width, channels)`, in [0, 1].
Views = tuple[tf.Tensor, ...]
# The projections of a pass: one tensor of shape `(batch, dim)` for each of its views.
Projections = tuple[tf.Tensor, ...]


class Networks(NamedTuple):
    """An encoder, and what stands between its features and the loss.

    Attributes:
        encoder: From images in [0, 1] to features.
        projection_head: From features to projections; None: the features themselves are compared.
    """

    encoder: Encoder
    projection_head: PairedModel | None = None

    @property
    def parts(self) -> tuple[PairedModel, ...]:
        """What there is of them, in the order in which images pass."""
        return (self.encoder,) if self.projection_head is None else (self.encoder, self.projection_head)


class Pass(NamedTuple):
    """Views that pass the networks together: batch normalisation takes them for one batch.

    Attributes:
        views: Images in [0, 1], each of shape `(batch, height, width, channels)`.
        branch: Branch of batch normalisation that they take.
        networks: Networks that they pass; None: those that are trained.
        training: Whether batch normalisation uses, and moves, the batch's statistics.
    """

    views: Views
    branch: Branch
    networks: Networks | None = None
    training: bool = True


class Term(NamedTuple):
    """A part of the loss.

    Attributes:
        values: One value per example, of this replica; the step takes the mean over the global batch.
        weight: Factor of the mean; a tensor where it changes from step to step.
    """

    values: tf.Tensor
    weight: tf.Tensor | float = 1.0
