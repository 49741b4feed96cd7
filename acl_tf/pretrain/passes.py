"""What goes through the network in one step, and how."""

from typing import NamedTuple

import tensorflow as tf

from acl_tf.models.branch import Branch

Views = tuple[tf.Tensor, tf.Tensor]


class Pass(NamedTuple):
    """Views that pass the network together: batch normalisation takes them for one batch.

    Attributes:
        views: Images in [0, 1], each of shape `(batch, height, width, channels)`.
        branch: That they take.
    """

    views: tuple[tf.Tensor, ...]
    branch: Branch


# Of one pass: for each of its views the projections, of shape `(batch, dim)`.
Projections = tuple[tf.Tensor, ...]
