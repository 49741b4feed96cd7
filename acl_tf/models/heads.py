"""What stands on an encoder: the projection head of contrastive training, and the linear classifier."""

from collections.abc import Sequence
from typing import Any

import keras

from acl_tf.models.layers import relu
from acl_tf.models.paired_model import PairedModel, norm_factory


@keras.saving.register_keras_serializable("acl_tf")
class ProjectionHead(PairedModel):
    """Blocks of dense layer, paired batch normalisation and, between them, ReLU.

    Args:
        input_dim: Number of features; every block keeps it.
        blocks: 3 (ACL's) or 2.
        batch_norm: `"paired"` or `"single"`.
        synchronized: Whether batch statistics are those of the global batch under `tf.distribute`.
        **kwargs: Passed on to `keras.Model`.

    Call arguments:
        inputs: Features, of shape `(batch, input_dim)`.
        branch: `"standard"` or `"adversarial"`.
        training: Whether batch normalisation uses, and moves, the batch's statistics.

    Call returns: projections, of shape `(batch, input_dim)`.

    Raises:
        ValueError: If `blocks` is not positive.

    Reference: Chen et al., "A Simple Framework for Contrastive Learning", ICML 2020, section 4.2; the form is that
    of ACL's released code.
    """

    def __init__(
        self, input_dim: int, blocks: int = 3, batch_norm: str = "paired", synchronized: bool = False, **kwargs: Any
    ) -> None:
        if blocks < 1:
            raise ValueError(f"`blocks` must be at least 1. Received: blocks={blocks}")
        norm = norm_factory(batch_norm, synchronized)
        features = keras.Input((input_dim,), name="features")
        x = features
        for block in range(1, blocks + 1):
            x = relu(x, f"relu{block - 1}") if block > 1 else x
            x = keras.layers.Dense(
                input_dim,
                use_bias=block == 1,  # as released, although the normalisation takes it out again
                kernel_initializer=_uniform_by_fan_in(),
                name=f"fc{block}",
            )(x)
            x = norm(f"bn{block}")(x)
        super().__init__(keras.Model(features, x, name="projection_head"), **kwargs)
        self.input_dim = input_dim
        self.blocks = blocks
        self.batch_norm = batch_norm
        self.synchronized = synchronized

    def get_config(self) -> dict[str, Any]:
        return {
            **keras.layers.Layer.get_config(self),
            "input_dim": self.input_dim,
            "blocks": self.blocks,
            "batch_norm": self.batch_norm,
            "synchronized": self.synchronized,
        }


@keras.saving.register_keras_serializable("acl_tf")
class MLPHead(PairedModel):
    """Dense layers of any widths with ReLU between them, with or without batch normalisation.

    Initialised as PyTorch's linear layers are. Two published heads:

    ```python
    MLPHead(512, widths=(2048, 128))  # RoCL
    MLPHead(512, widths=(512, 128), batch_norm="single")  # AdvCL, which normalises the length of its output
    ```

    Args:
        input_dim: Number of features.
        widths: Number of outputs of each dense layer.
        batch_norm: `"none"`; `"single"` or `"paired"` puts batch normalisation after every dense layer but the last.
        output_norm: Whether batch normalisation follows the last dense layer, too.
        use_bias: Whether the dense layers have biases.
        synchronized: Whether batch statistics are those of the global batch under `tf.distribute`.
        **kwargs: Passed on to `keras.Model`.

    Call arguments:
        inputs: Features, of shape `(batch, input_dim)`.
        branch: `"standard"` or `"adversarial"`.
        training: Whether batch normalisation uses, and moves, the batch's statistics.

    Call returns: projections, of shape `(batch, widths[-1])`.

    Raises:
        ValueError: If a width is not positive or there is none, or if batch normalisation is of no known kind, or is
            asked for after the last layer alone.

    Reference: Kim et al., "Adversarial Self-Supervised Contrastive Learning" (RoCL), NeurIPS 2020; Fan et al., "When
    Does Contrastive Learning Preserve Adversarial Robustness?" (AdvCL), NeurIPS 2021; the forms of their released code.
    """

    def __init__(
        self,
        input_dim: int,
        widths: Sequence[int],
        batch_norm: str = "none",
        output_norm: bool = False,
        use_bias: bool = True,
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        if not widths or min(widths) < 1:
            raise ValueError(f"`widths` must be one or more positive numbers. Received: widths={tuple(widths)}")
        if batch_norm not in ("none", "single", "paired"):
            raise ValueError(f'`batch_norm` must be "none", "single" or "paired". Received: batch_norm={batch_norm!r}')
        if output_norm and batch_norm == "none":
            raise ValueError('`output_norm` needs a `batch_norm`. Received: output_norm=True, batch_norm="none"')
        norm = None if batch_norm == "none" else norm_factory(batch_norm, synchronized)
        features = keras.Input((input_dim,), name="features")
        x = features
        for number, width in enumerate(widths, 1):
            x = _dense(x, width, use_bias, f"fc{number}")
            last = number == len(widths)
            x = norm(f"bn{number}")(x) if norm and (output_norm or not last) else x
            x = x if last else relu(x, f"relu{number}")
        super().__init__(keras.Model(features, x, name="mlp_head"), **kwargs)
        self.input_dim = input_dim
        self.widths = tuple(widths)
        self.batch_norm = batch_norm
        self.output_norm = output_norm
        self.use_bias = use_bias
        self.synchronized = synchronized

    def get_config(self) -> dict[str, Any]:
        return {
            **keras.layers.Layer.get_config(self),
            "input_dim": self.input_dim,
            "widths": self.widths,
            "batch_norm": self.batch_norm,
            "output_norm": self.output_norm,
            "use_bias": self.use_bias,
            "synchronized": self.synchronized,
        }


def _dense(x: keras.KerasTensor, width: int, use_bias: bool, name: str) -> keras.KerasTensor:
    """Applies a dense layer that starts as PyTorch's: kernel and bias uniform in ±1 / sqrt(inputs)."""
    bound = x.shape[-1] ** -0.5
    return keras.layers.Dense(
        width,
        use_bias=use_bias,
        kernel_initializer=_uniform_by_fan_in(),
        bias_initializer=keras.initializers.RandomUniform(-bound, bound),
        name=name,
    )(x)


def _uniform_by_fan_in() -> keras.initializers.Initializer:
    """Returns PyTorch's default for linear layers: uniform in ±1 / sqrt(inputs)."""
    return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")


def linear_classifier(encoder: keras.Model, num_classes: int) -> keras.Model:
    """Puts a zero-initialised linear layer on a plain encoder.

    Args:
        encoder: A functional model from images to features, as `extract_branch` makes it.
        num_classes: Number of classes.

    Returns:
        A functional model from images to logits, of shape `(batch, num_classes)`; it shares the encoder's layers.
    """
    return keras.Model(encoder.input, zero_classifier(num_classes)(encoder.output), name=f"{encoder.name}_classifier")


def zero_classifier(num_classes: int) -> keras.layers.Dense:
    """Returns a linear layer from features to float32 logits that starts at 0, as ACL's fine-tuning does."""
    return keras.layers.Dense(num_classes, kernel_initializer="zeros", dtype="float32", name="fc")
