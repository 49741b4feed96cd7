"""Data sets from TensorFlow Datasets."""

import logging
import socket
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

import numpy as np

from acl_tf.data.image_set import ImageSet, as_rgb
from acl_tf.errors import DataError, UsageError
from acl_tf.registry import nearest

if TYPE_CHECKING:
    import tensorflow_datasets as tfds


def load_tfds(name: str, split: str, data_dir: str | None = None, limit: int | None = None) -> ImageSet:
    """Loads a split of a data set into memory, in stored order; downloads and prepares it if necessary.

    Args:
        name: Name of the data set in TFDS, such as `cifar10` or `cifar10_corrupted/fog_3`.
        split: Split, as TFDS names it, such as `train`, `unlabelled`, or `train[:10%]`.
        data_dir: Folder of prepared data sets; None: `TFDS_DATA_DIR`, or TFDS' default.
        limit: Number of images to take, the first in stored order; None: all.

    Raises:
        UsageError: If TFDS knows no such data set or split.
        DataError: If it is not prepared and cannot be downloaded, or does not hold images of one size.
    """
    builder = _builder(name, data_dir)
    _prepare(builder, name)
    arrays = _read(builder, split, limit)
    labels = arrays.get("label")
    classes = () if labels is None else tuple(builder.info.features["label"].names or ())
    return ImageSet(as_rgb(arrays["image"], name), labels, classes, name, split)


def _builder(name: str, data_dir: str | None) -> "tfds.core.DatasetBuilder":
    import tensorflow_datasets as tfds

    logging.getLogger("absl").setLevel(logging.ERROR)  # TFDS reports every folder in which it finds nothing
    try:
        return tfds.builder(name, data_dir=data_dir)
    except (tfds.core.registered.DatasetNotFoundError, ValueError) as error:
        hint = nearest(name, ["digits", *tfds.list_builders()]) or "."
        raise UsageError(
            f"Unknown data set{hint} Known: the names of TFDS, digits, a folder of images, an .npz file. "
            f"Received: {name!r}"
        ) from error


def _prepare(builder: "tfds.core.DatasetBuilder", name: str) -> None:
    if builder.is_prepared():
        return
    reason = _unreachable(builder)
    if not reason:
        try:
            builder.download_and_prepare()
            return
        except Exception as error:  # the script of the data set and the network can raise anything
            reason = " ".join(str(error).split()) or type(error).__name__
    raise DataError(
        f"The data set {name} is not in {builder.data_dir} and cannot be downloaded ({reason}). "
        "Name the folder that holds it by --data-dir, or train on images that come with the package by "
        "--dataset digits."
    )


def _unreachable(builder: "tfds.core.DatasetBuilder") -> str:
    """Returns why no download can work, or an empty string; without a network, TFDS would retry for minutes."""
    if urllib.request.getproxies():
        return ""
    hosts = {urllib.parse.urlparse(url).hostname for url in getattr(builder, "url_infos", None) or {}}
    for host in sorted(filter(None, hosts)):
        try:
            socket.getaddrinfo(host, 443)
        except OSError:
            return f"no network: {host} cannot be found"
    return ""


def _read(builder: "tfds.core.DatasetBuilder", split: str, limit: int | None) -> dict[str, np.ndarray]:
    import tensorflow as tf
    import tensorflow_datasets as tfds

    if "image" not in builder.info.features:
        raise DataError(f"{builder.name} has no feature called image. Received: {', '.join(builder.info.features)}")
    in_order = tfds.ReadConfig(interleave_cycle_length=1)
    try:
        dataset = builder.as_dataset(split=split, shuffle_files=False, read_config=in_order)
    except ValueError as error:
        raise UsageError(
            f"{builder.name} has no images in such a split; it has {', '.join(builder.info.splits)}. "
            f"Received: {split!r}"
        ) from error
    wanted = [key for key in ("image", "label") if key in builder.info.features]
    dataset = dataset.map(lambda example: {key: example[key] for key in wanted}).take(-1 if limit is None else limit)
    try:
        batches: list[dict[str, Any]] = list(dataset.batch(1000).as_numpy_iterator())
    except tf.errors.InvalidArgumentError as error:
        raise DataError(f"The images of {builder.name} have different sizes; train on a folder of them.") from error
    except tf.errors.OpError as error:
        raise DataError(f"{builder.data_dir} is damaged: {error.message}. Delete it and prepare it again.") from error
    if not batches:
        raise DataError(f"There is no image in the split {split} of {builder.name}.")
    return {key: np.concatenate([batch[key] for batch in batches]) for key in wanted}
