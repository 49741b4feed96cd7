"""What stands on an encoder: the projection head of contrastive training, and the linear classifier."""

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
                kernel_initializer=keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform"),
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
