"""The configuration of the encoder and its head."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from acl_tf.config import Number, Positive, Section, as_tuple, known
from acl_tf.models import BACKBONES

if TYPE_CHECKING:
    from acl_tf.models.encoder import Encoder

Channels = Annotated[tuple[Number, Number, Number], as_tuple]
PositiveChannels = Annotated[tuple[Positive, Positive, Positive], as_tuple]


class EncoderSettings(Section):
    """The encoder; see `acl_tf.models.encoder`.

    Attributes:
        arch: Name of the backbone.
        width: Factor of every number of filters.
        stem: `cifar`, or `imagenet` for larger images.
        batch_norm: `paired`, or `single` for one set for both branches.
        mean: Mean of each channel, subtracted from the pixels of [0, 1].
        std: Standard deviation of each channel, which divides them.
        stem_padding: Pixels added on every side before the first convolution of the CIFAR stem: 1, or 2 (DeACL's).
    """

    arch: Annotated[str, known(BACKBONES)] = "resnet18"
    width: Positive = 1.0
    stem: Literal["cifar", "imagenet"] = "cifar"
    batch_norm: Literal["paired", "single"] = "paired"
    mean: Channels = (0.485, 0.456, 0.406)
    std: PositiveChannels = (0.229, 0.224, 0.225)
    stem_padding: Literal[1, 2] = 1

    def encoder(self, image_shape: tuple[int, int, int]) -> "Encoder":
        """Returns an encoder as described, for images of this height, width and number of channels."""
        from acl_tf.models.encoder import Encoder

        return Encoder(
            self.arch,
            width=self.width,
            stem=self.stem,
            image_shape=image_shape,
            batch_norm=self.batch_norm,
            synchronized=True,
            mean=self.mean,
            std=self.std,
            stem_padding=self.stem_padding,
        )

    def described(self) -> dict[str, Any]:
        """Returns what a checkpoint must agree in; keys that acl-tf 0.1 did not have only where they are set."""
        fields = type(self).model_fields
        newer = {name for name in ("mean", "std", "stem_padding") if getattr(self, name) == fields[name].default}
        return self.model_dump(mode="json", exclude=newer)


class ModelConfig(EncoderSettings):
    """The encoder, and ACL's projection head.

    Attributes:
        projection_blocks: Number of blocks of the projection head.
    """

    projection_blocks: Literal[2, 3] = 3
