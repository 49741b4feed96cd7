"""The configuration of the images and of their augmentation."""

from typing import TYPE_CHECKING, Annotated, Literal, get_args

from pydantic import AfterValidator, Field, field_validator

from acl_tf.config import Count, Interval, NonNegative, Number, Probability, Section, Share, as_tuple, ascending

if TYPE_CHECKING:
    from acl_tf.data.augment import Augmentation


Stage = Literal["crop", "flip", "jitter", "grayscale"]


class DataConfig(Section):
    """Images to train on.

    Attributes:
        dataset: Name of a TFDS data set, `digits`, folder of images, or `.npz` file.
        data_dir: Folder of the data sets that TFDS has prepared; none: `TFDS_DATA_DIR`, or TFDS' default.
        split: Split, as TFDS names it.
        limit: Number of images to take, the first in stored order; none: all.
        image_size: Height and width to which images of a folder are resized; none: they must all have one size.
        skip_bad_images: Whether to leave out the unreadable images of a folder instead of stopping.
    """

    dataset: Annotated[str, Field(min_length=1)] = "cifar10"
    data_dir: str | None = None
    split: str = "train"
    limit: Count | None = None
    image_size: Annotated[int, Field(ge=8)] | None = None
    skip_bad_images: bool = False


class AugmentationConfig(Section):
    """SimCLR's augmentation; see `acl_tf.data.augment.Augmentation`."""

    crop_scale: Annotated[tuple[Share, Share], as_tuple, AfterValidator(ascending)] = (0.1, 1.0)
    crop_ratio: Interval = (3 / 4, 4 / 3)
    flip: bool = True
    brightness: NonNegative = 0.4
    contrast: NonNegative = 0.4
    saturation: NonNegative = 0.4
    hue: Annotated[Number, Field(ge=0, le=0.5)] = 0.1
    jitter_probability: Probability = 0.8
    grayscale_probability: Probability = 0.2
    stages: Annotated[tuple[Stage, ...], as_tuple] = ("crop", "flip", "jitter", "grayscale")
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"

    @field_validator("stages")
    @classmethod
    def _each_stage_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if sorted(value) != sorted(get_args(Stage)):
            raise ValueError(f"an order of {', '.join(get_args(Stage))}, each once")
        return value

    def build(self, image_size: int) -> "Augmentation":
        """Returns the augmentation, which makes views of this height and width."""
        from acl_tf.data.augment import Augmentation

        return Augmentation(image_size=image_size, **self.model_dump())
