"""Exponential moving averages of networks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from acl_tf.models.paired_model import PairedModel

STATISTICS = ("own", "copied", "averaged")


class ExponentialAverage(keras.layers.Layer):
    """Copies of networks whose parameters follow those of the originals.

    A copy starts as its original, and each `update` moves its parameters:

        copy = decay · copy + (1 - decay) · original

    The copies are networks like the originals and are called like them; what they compute in training mode moves their
    batch-normalisation statistics. No variable of theirs is trainable: where an average is an attribute of a model,
    the model's `trainable_variables` are what they were without it, its `variables`, its checkpoints and the state
    that workers share include the average.

    Args:
        networks: Originals, one or more; they stay the owner's.
        decay: Share of the old average that an update keeps; at least 0 and less than 1.
        statistics: What an update does to the statistics of batch normalisation. `"own"`: nothing, they move by the
            copies' own passes in training mode only (DynACL); `"copied"`: they become those of the originals;
            `"averaged"`: they follow them as the parameters do.
        **kwargs: Passed on to `keras.layers.Layer`.

    Example:

    ```python
    self.average = ExponentialAverage([self.encoder, self.projection_head], decay=0.99)
    encoder, head = self.average.networks
    projections = head(encoder(images, branch="standard", training=True), branch="standard", training=True)
    self.average.update()
    ```

    Raises:
        ValueError: If there is no network, the decay is out of range, or `statistics` is of no known kind.

    Reference: Tarvainen and Valpola, "Mean Teachers Are Better Role Models", NeurIPS 2017, Eq. 1; He et al., "Momentum
    Contrast for Unsupervised Visual Representation Learning", CVPR 2020, Eq. 2.
    """

    def __init__(self, networks: Sequence[PairedModel], decay: float, statistics: str = "own", **kwargs: Any) -> None:
        if not networks:
            raise ValueError("`networks` must be one or more. Received: networks=[]")
        if not 0 <= decay < 1:
            raise ValueError(f"`decay` must be at least 0 and less than 1. Received: decay={decay}")
        if statistics not in STATISTICS:
            raise ValueError(f"`statistics` must be one of {list(STATISTICS)}. Received: statistics={statistics!r}")
        super().__init__(autocast=False, **kwargs)
        self.decay = decay
        self.statistics = statistics
        self.count = len(networks)
        for number, network in enumerate(networks):
            setattr(self, f"network_{number}", _copy(network))  # tf.train.Checkpoint does not look into Keras' lists
        self._pairs = _Pairs(
            _paired(self.networks, networks, _parameters), _paired(self.networks, networks, _statistics)
        )
        for copy, _ in self._pairs.parameters:
            copy.trainable = False  # of the variable, not of its layer: a frozen layer would not move its statistics
        self.built = True

    @property
    def networks(self) -> tuple[PairedModel, ...]:
        """The copies, in the order of the originals."""
        return tuple(getattr(self, f"network_{number}") for number in range(self.count))

    def update(self) -> None:
        """Moves the copies towards the originals; on several replicas, each calls it, inside of the step."""
        for copy, original in self._pairs.parameters:
            self._follow(copy, original)
        for copy, original in self._pairs.statistics:
            if self.statistics == "copied":
                copy.assign(tf.convert_to_tensor(original))
            elif self.statistics == "averaged":
                self._follow(copy, original)

    def _follow(self, copy: keras.Variable, original: keras.Variable) -> None:
        copy.assign(self.decay * tf.convert_to_tensor(copy) + (1.0 - self.decay) * tf.convert_to_tensor(original))


Pairs = list[tuple[keras.Variable, keras.Variable]]


@dataclass(frozen=True)
class _Pairs:
    """Variables of the copies, each with that of the original; Keras looks into tuples and lists, but not in here."""

    parameters: Pairs
    statistics: Pairs


def _copy(network: PairedModel) -> PairedModel:
    copy = type(network).from_config(network.get_config())
    copy.set_weights(network.get_weights())
    return copy


def _paired(
    copies: Sequence[PairedModel],
    originals: Sequence[PairedModel],
    variables: Callable[[PairedModel], list[keras.Variable]],
) -> Pairs:
    return [
        pair
        for copy, original in zip(copies, originals, strict=True)
        for pair in zip(variables(copy), variables(original), strict=True)
    ]


def _parameters(network: PairedModel) -> list[keras.Variable]:
    return list(network.trainable_variables)


def _statistics(network: PairedModel) -> list[keras.Variable]:
    return [variable for variable in network.variables if variable.name in ("moving_mean", "moving_variance")]
