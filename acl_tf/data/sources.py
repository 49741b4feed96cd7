"""The sources of images: TFDS, a folder, an `.npz` file, or scikit-learn's digits."""

from pathlib import Path

from acl_tf.data.config import DataConfig
from acl_tf.data.image_set import ImageSet
from acl_tf.errors import UsageError


def load(config: DataConfig) -> ImageSet:
    """Loads the images that a configuration names.

    `digits` and `*.npz` go first, then existing folders of images; every other name is one of TFDS.

    Args:
        config: Configuration of the images.

    Returns:
        All images of the split, or the first `config.limit`, in stored order.

    Raises:
        UsageError: If there is no data set of that name, or no such split.
        DataError: If the images are missing, unreadable or of the wrong form.
    """
    path = Path(config.dataset).expanduser()
    if config.dataset == "digits":
        from acl_tf.data.digits import load_digits

        return load_digits(config.split).first(config.limit)
    if path.suffix == ".npz":
        from acl_tf.data.npz import load_npz

        return load_npz(path).first(config.limit)
    if path.is_dir():
        from acl_tf.data.folder import load_folder

        return load_folder(path, config.image_size, config.limit, config.skip_bad_images)
    if path.is_absolute() or config.dataset.startswith((".", "~")):
        raise UsageError(f"No such folder of images. Received: {config.dataset!r}")
    from acl_tf.data.tfds import load_tfds

    return load_tfds(config.dataset, config.split, config.data_dir, config.limit)
