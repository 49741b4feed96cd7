import logging
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds

from acl_tf.data import tfds as source
from acl_tf.data.tfds import load_tfds
from acl_tf.errors import DataError, UsageError

COUNTS = {"train": 60, "test": 7, "unlabelled": 12}


def image(split: str, number: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng((sorted(COUNTS).index(split), number)).integers(0, 256, (8, 8, channels), np.uint8)


class TinyShapes(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Like STL-10: labelled splits, and one whose labels are all -1."""

    VERSION = tfds.core.Version("1.0.0")
    FEATURES = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(8, 8, 3)),
            "label": tfds.features.ClassLabel(names=["circle", "square", "star"]),
        }
    )

    SHUFFLED = False

    def _info(self):
        return self.dataset_info_from_configs(features=self.FEATURES, disable_shuffling=not self.SHUFFLED)

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in COUNTS}

    def _generate_examples(self, split):
        for number in range(COUNTS[split]):
            yield number, {"image": image(split, number), "label": -1 if split == "unlabelled" else number % 3}


class TinyShuffled(TinyShapes, skip_registration=True):
    """Stored in a random order, as most data sets are; TFDS may then mix the shards while it reads."""

    SHUFFLED = True


class TinyGrey(TinyShapes, skip_registration=True):
    """Grey images without labels."""

    FEATURES = tfds.features.FeaturesDict({"image": tfds.features.Image(shape=(8, 8, 1))})

    def _generate_examples(self, split):
        for number in range(COUNTS[split]):
            yield number, {"image": image(split, number, channels=1)}


class TinySizes(TinyGrey, skip_registration=True):
    """Images of two sizes."""

    FEATURES = tfds.features.FeaturesDict({"image": tfds.features.Image()})

    def _generate_examples(self, split):
        for number in range(COUNTS[split]):
            yield number, {"image": np.zeros((8, 8 + number % 2, 3), np.uint8)}


class TinyText(TinyGrey, skip_registration=True):
    """No images."""

    FEATURES = tfds.features.FeaturesDict({"text": tfds.features.Text()})

    def _generate_examples(self, split):
        for number in range(COUNTS[split]):
            yield number, {"text": str(number)}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    config = tfds.download.DownloadConfig(num_shards=3)
    for builder in (TinyShapes, TinyShuffled, TinyGrey, TinySizes, TinyText):
        builder(data_dir=folder).download_and_prepare(download_config=config)
    return str(folder)


def complaint(kind: type[Exception], *arguments) -> str:
    with pytest.raises(kind) as error:
        load_tfds(*arguments)
    return str(error.value)


def test_images_are_in_stored_order_over_all_shards(data_dir):
    loaded = load_tfds("tiny_shapes", "train", data_dir)
    np.testing.assert_array_equal(loaded.images, [image("train", number) for number in range(60)])
    np.testing.assert_array_equal(loaded.labels, np.arange(60) % 3)
    assert loaded.classes == ("circle", "square", "star")
    assert (loaded.name, loaded.split) == ("tiny_shapes", "train")


def test_shards_are_not_mixed(data_dir):
    shards = [load_tfds("tiny_shuffled", f"train[{number}shard]", data_dir) for number in range(3)]
    assert [len(shard) for shard in shards] == [20, 20, 20]
    loaded = load_tfds("tiny_shuffled", "train", data_dir)
    np.testing.assert_array_equal(loaded.images, np.concatenate([shard.images for shard in shards]))
    np.testing.assert_array_equal(loaded.labels, np.concatenate([shard.labels for shard in shards]))


@pytest.mark.parametrize("limit", [1, 11, 59, 60, 99])
def test_the_limit_takes_the_first(data_dir, limit):
    loaded = load_tfds("tiny_shapes", "train", data_dir, limit)
    np.testing.assert_array_equal(loaded.images, [image("train", number) for number in range(min(limit, 60))])


def test_an_unlabelled_split(data_dir):
    loaded = load_tfds("tiny_shapes", "unlabelled", data_dir)
    assert len(loaded) == 12
    np.testing.assert_array_equal(loaded.labels, np.full(12, -1))


def test_parts_of_a_split(data_dir):
    loaded = load_tfds("tiny_shapes:1.0.0", "train[10:13]+test[:1]", data_dir)
    expected = [*(image("train", number) for number in (10, 11, 12)), image("test", 0)]
    np.testing.assert_array_equal(loaded.images, expected)


def test_grey_images_without_labels(data_dir):
    loaded = load_tfds("tiny_grey", "test", data_dir)
    assert loaded.labels is None and loaded.classes == ()
    np.testing.assert_array_equal(loaded.images[6], np.repeat(image("test", 6, channels=1), 3, axis=-1))


def test_cifar10(cifar10_dir):
    loaded = load_tfds("cifar10", "train", str(cifar10_dir), 5)
    assert loaded.images.shape == (5, 32, 32, 3) and loaded.images.dtype == np.uint8
    assert loaded.labels.tolist() == [3, 5, 5, 5, 2]
    assert loaded.classes[:3] == ("airplane", "automobile", "bird")
    assert len(load_tfds("cifar10", "test[:3]", str(cifar10_dir))) == 3


def test_the_environment_names_the_data_directory(data_dir, monkeypatch):
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", data_dir)
    assert len(load_tfds("tiny_shapes", "test")) == 7


# What is wrong


@pytest.mark.parametrize(
    "name, hint",
    [
        ("cfar10", '; did you mean "cifar10"?'),
        ("digitz", '; did you mean "digits"?'),
        ("qqqqqqqq", "."),
        ("images/of/mine", None),
        ("not a name!", None),
    ],
)
def test_unknown_names(data_dir, name, hint):
    message = complaint(UsageError, name, "train", data_dir)
    assert message.startswith(f"Unknown data set{hint or ''}")
    assert message.endswith(f" Known: the names of TFDS, digits, a folder of images, an .npz file. Received: {name!r}")


@pytest.mark.parametrize("split", ["trian", "train[:10", "train+validation", "train[:0]"])
def test_unknown_splits(data_dir, split):
    assert complaint(UsageError, "tiny_shapes", split, data_dir) == (
        f"tiny_shapes has no images in such a split; it has train, test, unlabelled. Received: {split!r}"
    )


def test_images_of_different_sizes(data_dir):
    assert complaint(DataError, "tiny_sizes", "train", data_dir) == (
        "The images of tiny_sizes have different sizes; train on a folder of them."
    )


def test_no_images(data_dir):
    assert complaint(DataError, "tiny_text", "train", data_dir) == (
        "tiny_text has no feature called image. Received: text"
    )


@pytest.mark.parametrize("damage", ["truncated", "missing", "flipped"])
def test_damaged_files(tmp_path, damage):
    TinyShapes(data_dir=tmp_path).download_and_prepare()
    folder = tmp_path / "tiny_shapes" / "1.0.0"
    (record,) = folder.glob("*-train.tfrecord*")
    content = record.read_bytes()
    if damage == "missing":
        record.unlink()
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        record.write_bytes(content[:-100] if damage == "truncated" else flipped)
    message = complaint(DataError, "tiny_shapes", "train", str(tmp_path))
    assert message.startswith(f"{folder} is damaged: ")
    assert message.endswith(". Delete it and prepare it again.") and "\n" not in message


@pytest.fixture
def no_network(monkeypatch):
    """Makes the resolution of names fail, as on a machine without network."""

    def nowhere(host, *arguments):
        raise OSError(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(source.socket, "getaddrinfo", nowhere)
    monkeypatch.setattr(source.urllib.request, "getproxies", dict)


def test_not_prepared_and_no_network(tmp_path, no_network, caplog):
    begin = time.monotonic()
    with caplog.at_level(logging.INFO):
        message = complaint(DataError, "cifar10", "train", str(tmp_path))
    assert message == (
        f"The data set cifar10 is not in {tmp_path}/cifar10/3.0.2 and cannot be downloaded "
        "(no network: www.cs.toronto.edu cannot be found). Name the folder that holds it by --data-dir, or train on "
        "images that come with the package by --dataset digits."
    )
    assert time.monotonic() - begin < 10
    assert caplog.messages == []


def test_a_download_that_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "_unreachable", lambda builder: "")

    def fail(self, **options):
        raise ConnectionError("HTTPSConnectionPool:\n  Max retries exceeded")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    assert complaint(DataError, "cifar10", "train", str(tmp_path)) == (
        f"The data set cifar10 is not in {tmp_path}/cifar10/3.0.2 and cannot be downloaded "
        "(HTTPSConnectionPool: Max retries exceeded). Name the folder that holds it by --data-dir, or train on "
        "images that come with the package by --dataset digits."
    )
