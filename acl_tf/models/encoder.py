"""The encoder: what is trained without labels, published and served."""

from collections.abc import Sequence
from typing import Any

import keras

from acl_tf.models import BACKBONES
from acl_tf.models.layers import stem_dtype
from acl_tf.models.paired_model import PairedModel, norm_factory

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@keras.saving.register_keras_serializable("acl_tf")
class Encoder(PairedModel):
    """Input normalisation and a backbone, with paired batch normalisation.

    Args:
        arch: Name of a backbone in `acl_tf.models.BACKBONES`.
        width: Factor of every number of filters.
        stem: `"cifar"`, or `"imagenet"` for larger images.
        image_shape: Height, width and channels of the images.
        batch_norm: `"paired"`, or `"single"` for one set for both branches.
        synchronized: Whether batch statistics are those of the global batch under `tf.distribute`.
        mean: Mean of each channel, subtracted from the pixels.
        std: Standard deviation of each channel, by which they are divided.
        stem_padding: Zeros on every side of the CIFAR stem's input: 1, or 2 for a ResNet as DeACL released it.
        **kwargs: Passed on to `keras.Model`.

    Call arguments:
        inputs: Images in [0, 1], of shape `(batch, height, width, channels)`.
        branch: `"standard"` or `"adversarial"`.
        training: Whether batch normalisation uses, and moves, the batch's statistics.

    Call returns: features, of shape `(batch, features)`.

    Raises:
        ValueError: If the backbone cannot have that stem or stem padding, or `batch_norm` is of no known kind.

    Example:

    ```python
    encoder = Encoder("resnet18", width=0.25)
    features = encoder(images, branch="adversarial")
    ```

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, section 2.2.
    """

    def __init__(
        self,
        arch: str = "resnet18",
        width: float = 1.0,
        stem: str = "cifar",
        image_shape: Sequence[int] = (32, 32, 3),
        batch_norm: str = "paired",
        synchronized: bool = False,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        stem_padding: int = 1,
        **kwargs: Any,
    ) -> None:
        images = keras.Input(tuple(image_shape), dtype=stem_dtype(), name="images")
        normalized = keras.layers.Normalization(
            mean=tuple(mean), variance=tuple(s**2 for s in std), dtype=stem_dtype(), name="normalize"
        )(images)
        norm = norm_factory(batch_norm, synchronized)
        other = {} if stem_padding == 1 else {"stem_padding": stem_padding}  # few backbones have another
        features = BACKBONES[arch](normalized, norm, width=width, stem=stem, **other)
        super().__init__(keras.Model(images, features, name=arch), **kwargs)
        self.arch = arch
        self.width = width
        self.stem = stem
        self.image_shape = tuple(image_shape)
        self.batch_norm = batch_norm
        self.synchronized = synchronized
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.stem_padding = stem_padding

    @property
    def feature_dim(self) -> int:
        """Number of features."""
        return self.standard_graph.output_shape[-1]

    def get_config(self) -> dict[str, Any]:
        return {
            **keras.layers.Layer.get_config(self),
            "arch": self.arch,
            "width": self.width,
            "stem": self.stem,
            "image_shape": self.image_shape,
            "batch_norm": self.batch_norm,
            "synchronized": self.synchronized,
            "mean": self.mean,
            "std": self.std,
            "stem_padding": self.stem_padding,
        }
