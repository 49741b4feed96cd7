"""A functional graph with two branches, and the plain model that one of them becomes."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from acl_tf.models.batch_norm import BatchNormalization
from acl_tf.models.branch import Branch
from acl_tf.models.layers import NormFactory, SubsampledConv2D
from acl_tf.models.paired_batch_norm import PairedBatchNormalization


class PairedModel(keras.Model):
    """A functional graph whose `PairedBatchNormalization` layers follow the branch of the call.

    A graph without such layers (single batch normalisation) computes the same for either branch.

    Args:
        graph: A functional model; its paired layers may be called with any branch.
        **kwargs: Passed on to `keras.Model`.

    Call arguments:
        inputs: What the graph takes.
        branch: `"standard"` or `"adversarial"`.
        training: Whether batch normalisation uses the batch's statistics.
    """

    def __init__(self, graph: keras.Model, **kwargs: Any) -> None:
        # Each layer casts its own inputs; cast here, images would be rounded to half precision before the first.
        super().__init__(autocast=False, **kwargs)
        self.standard_graph = _on_branch(graph, Branch.STANDARD)
        self.adversarial_graph = _on_branch(graph, Branch.ADVERSARIAL)
        self.built = True

    def graph(self, branch: Branch | str) -> keras.Model:
        """Returns the functional model of one branch; both share all layers."""
        return self.standard_graph if Branch(branch) is Branch.STANDARD else self.adversarial_graph

    def call(self, inputs: tf.Tensor, branch: Branch | str, training: bool | None = None) -> tf.Tensor:
        return self.graph(branch)(inputs, training=training)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:1], *self.standard_graph.output_shape[1:])


def norm_factory(batch_norm: str, synchronized: bool = False) -> NormFactory:
    """Returns what makes a `PairedModel`'s normalisation layers.

    Args:
        batch_norm: `"paired"` (a set for each branch) or `"single"` (one set for both: the ablation of ACL's Table 4).
        synchronized: Whether the statistics are those of the global batch under `tf.distribute`.

    Raises:
        ValueError: If `batch_norm` is neither.
    """
    if batch_norm == "paired":

        def paired(name: str) -> Callable[[keras.KerasTensor], keras.KerasTensor]:
            layer = PairedBatchNormalization(synchronized=synchronized, name=name)
            return lambda x: layer(x, branch=Branch.STANDARD)

        return paired
    if batch_norm == "single":
        return lambda name: BatchNormalization(synchronized=synchronized, name=name)
    raise ValueError(f'`batch_norm` must be "paired" or "single". Received: batch_norm={batch_norm!r}')


def extract_branch(model: PairedModel, branch: Branch | str, name: str | None = None) -> keras.Model:
    """Makes a plain float32 Keras model of one branch, of built-in layers only.

    `keras.saving.load_model` opens what its `save` writes in a process that never imports acl_tf, on any backend.

    Args:
        model: A paired (or single) model.
        branch: Branch whose batch normalisation is kept.
        name: The new model's name.

    Returns:
        A functional model with its own copies of the weights.
    """
    sources = {layer.name: layer for layer in model.graph(branch).layers}
    plain = keras.models.clone_model(model.graph(branch), clone_function=_built_in, call_function=_without_branch)
    for layer in plain.layers:
        source = sources[layer.name]
        source = source.of(branch) if isinstance(source, PairedBatchNormalization) else source
        layer.set_weights(source.get_weights())
    return keras.Model(plain.inputs[0], plain.outputs[0], name=name or plain.name)


def _on_branch(graph: keras.Model, branch: Branch) -> keras.Model:
    """Returns the same layers, called with that branch."""

    def call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, PairedBatchNormalization):
            kwargs["branch"] = branch
        return layer(*args, **kwargs)

    return keras.models.clone_model(graph, clone_function=lambda layer: layer, call_function=call)


def _built_in(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Returns a new float32 layer of Keras' own that computes in inference what `layer` computes."""
    if isinstance(layer, (PairedBatchNormalization, BatchNormalization)):
        return keras.layers.BatchNormalization(
            momentum=layer.momentum, epsilon=layer.epsilon, dtype="float32", name=layer.name
        )
    kind = keras.layers.Conv2D if isinstance(layer, SubsampledConv2D) else type(layer)
    return kind.from_config({**layer.get_config(), "dtype": "float32"})


def _without_branch(layer: keras.layers.Layer, *args: Any, branch: Branch | None = None, **kwargs: Any) -> Any:
    return layer(*args, **kwargs)
