"""Images in memory, as every source returns them."""

import zlib
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from acl_tf.errors import DataError


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images and, if there are any, their labels.

    Attributes:
        images: Images, uint8 of shape `(n, height, width, 3)`.
        labels: Labels, int64 of shape `(n,)`, or None.
        classes: Names of the classes, in the order of the labels; empty if there are no labels.
        name: Name of the data set, as in records.
        split: Name of the split.
    """

    images: np.ndarray
    labels: np.ndarray | None
    classes: tuple[str, ...]
    name: str
    split: str

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    def first(self, limit: int | None) -> "ImageSet":
        """Returns the first `limit` images in stored order, or all if there is no limit."""
        labels = None if self.labels is None else self.labels[:limit]
        return replace(self, images=self.images[:limit], labels=labels)

    def resized(self, size: int) -> "ImageSet":
        """Returns the images resized to `size` × `size` pixels (Pillow's antialiased bicubic).

        Raises:
            DataError: If the images are not square.
        """
        height, width, _ = self.image_shape
        if height == width == size:
            return self
        if height != width:
            raise DataError(f"Images of {self.name} must be square to be resized. Received: {width}x{height}")
        images = [
            np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)) for image in self.images
        ]
        return replace(self, images=np.stack(images))

    def fingerprint(self) -> dict[str, int]:
        """Returns a fingerprint of the images and their order, which a resumed run compares."""
        return {"images": len(self), "crc32": zlib.crc32(np.ascontiguousarray(self.images).tobytes())}


def as_rgb(images: np.ndarray, origin: str) -> np.ndarray:
    """Checks images and returns them with three channels; a single grey channel is repeated.

    Args:
        images: Images from a source.
        origin: Name of the source, for error messages.

    Returns:
        Images, uint8 of shape `(n, height, width, 3)`.

    Raises:
        DataError: If the dtype or shape is wrong, or if there is no image.
    """
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise DataError(
            f"Images of {origin} must be uint8, of shape (n, height, width, 3) or (n, height, width, 1). "
            f"Received: {images.dtype} of shape {images.shape}"
        )
    if not len(images):
        raise DataError(f"There is no image in {origin}.")
    return np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images
