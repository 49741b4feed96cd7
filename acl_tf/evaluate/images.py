"""Loading of the images to evaluate on: labelled, and at the size that the classifier takes."""

from pathlib import Path

from acl_tf.classifiers.loading import LoadedClassifier
from acl_tf.data import sources
from acl_tf.data.corrupted import load_corrupted_folder, load_corrupted_tfds
from acl_tf.data.image_set import ImageSet
from acl_tf.data.splits import labels_of
from acl_tf.errors import DataError
from acl_tf.evaluate.config import EvaluateConfig, EvaluationDataConfig

TFDS = "tfds"


def load_images(data: EvaluationDataConfig, model: LoadedClassifier) -> ImageSet:
    """Loads the images to evaluate on, resized to the size that the model takes.

    Raises:
        UsageError: If there is no such data set, or if it has classes that the model does not know.
        DataError: If the images are missing, unreadable or without labels.
    """
    images = sources.load(data)
    if labels_of(images).min() < 0:
        raise DataError(f"{images.name} has images without a label in this split. Received: {images.split!r}")
    images = model.aligned(images)
    return images.resized(model.image_size) if model.image_size else images


def load_corrupted(config: EvaluateConfig, model: LoadedClassifier, corruption: str, severity: int) -> ImageSet:
    """Loads the images of one corruption at one severity.

    Raises:
        DataError: If the images are missing, damaged, or of another size than the model takes.
    """
    if config.corruptions is None or config.corruptions == TFDS:
        images = load_corrupted_tfds(corruption, severity, config.data.data_dir, config.data.limit)
    else:
        folder = Path(config.corruptions).expanduser()
        images = load_corrupted_folder(folder, corruption, severity, model.classes, config.data.limit)
    images = model.aligned(images)
    height, width, _ = images.image_shape
    if model.image_size and not height == width == model.image_size:
        raise DataError(
            f"The model takes images of {model.image_size}x{model.image_size} pixels. "
            f"Received: {width}x{height} in {images.name}, {corruption}"
        )
    return images
