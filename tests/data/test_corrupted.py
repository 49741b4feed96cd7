"""CIFAR-10-C and CIFAR-100-C: the published files, and TFDS."""

import contextlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from acl_tf.data.corrupted import (
    BENCHMARK_CORRUPTIONS,
    CORRUPTIONS,
    EXTRA_CORRUPTIONS,
    SEVERITIES,
    TFDS_NAMES,
    check_corrupted_folder,
    load_corrupted_folder,
    load_corrupted_tfds,
)
from acl_tf.errors import DataError, UsageError
from tests.data.published import write_corrupted

CLASSES = tuple("0123456789")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_corrupted(tmp_path_factory.mktemp("data") / "CIFAR-10-C", count=4, classes=4)


@pytest.fixture
def spoilt(tmp_path):
    return write_corrupted(tmp_path / "CIFAR-10-C", count=2, size=8)


def test_fifteen_and_four():
    assert (len(BENCHMARK_CORRUPTIONS), len(EXTRA_CORRUPTIONS), len(set(CORRUPTIONS))) == (15, 4, 19)
    # Hendrycks and Dietterich, section 3: noise, blur, weather, digital.
    assert BENCHMARK_CORRUPTIONS[:3] == ("gaussian_noise", "shot_noise", "impulse_noise")
    assert set(EXTRA_CORRUPTIONS) == {"speckle_noise", "gaussian_blur", "spatter", "saturate"}


# The published files


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("corruption", ["gaussian_noise", "glass_blur", "saturate"])
def test_a_severity(folder, corruption, severity):
    loaded = load_corrupted_folder(folder, corruption, severity, CLASSES)
    rows = slice(4 * severity - 4, 4 * severity)
    np.testing.assert_array_equal(loaded.images, np.load(folder / f"{corruption}.npy")[rows])
    np.testing.assert_array_equal(loaded.labels, [0, 1, 2, 3])
    assert loaded.images.dtype == np.uint8 and loaded.labels.dtype == np.int64
    assert (loaded.name, loaded.split, loaded.classes) == ("CIFAR-10-C", "test", CLASSES)


def test_the_limit_takes_the_first_of_each_severity(folder):
    loaded = load_corrupted_folder(folder, "fog", 3, CLASSES, limit=3)
    np.testing.assert_array_equal(loaded.images, np.load(folder / "fog.npy")[8:11])
    assert loaded.labels.tolist() == [0, 1, 2]


def test_a_hundred_classes(tmp_path):
    folder = write_corrupted(tmp_path / "CIFAR-100-C", count=100, classes=100, size=2)
    loaded = load_corrupted_folder(folder, "fog", 5, tuple(str(number) for number in range(100)))
    assert loaded.labels.tolist() == list(range(100)) and loaded.name == "CIFAR-100-C"


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_labels_of_any_integer_type(spoilt, dtype):
    np.save(spoilt / "labels.npy", np.tile([0, 1], 5).astype(dtype))
    assert load_corrupted_folder(spoilt, "fog", 1, CLASSES).labels.dtype == np.int64


def test_a_folder_is_checked_before_anything_is_loaded(folder):
    check_corrupted_folder(folder)


# What is wrong with them


def complaint(kind: type[Exception], folder, corruption: str = "fog", classes=CLASSES) -> str:
    with pytest.raises(kind) as error:
        load_corrupted_folder(folder, corruption, 1, classes)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_no_folder(tmp_path):
    with pytest.raises(UsageError) as error:
        check_corrupted_folder(tmp_path / "none")
    assert str(error.value) == f"No such folder of corrupted images. Received: '{tmp_path / 'none'}'"


def test_missing_files(spoilt):
    for name in ("fog", "snow", "labels"):
        (spoilt / f"{name}.npy").unlink()
    with pytest.raises(UsageError) as error:
        check_corrupted_folder(spoilt)
    assert str(error.value) == (
        f"{spoilt} must hold labels.npy and one .npy file for each of the 19 corruptions; 3 are missing: "
        "labels.npy, snow.npy, fog.npy"
    )


@pytest.mark.parametrize(
    "images, labels",
    [
        (np.zeros((9, 8, 8, 3), np.uint8), np.zeros(9, int)),
        (np.zeros((10, 8, 8, 3), np.uint8), np.zeros(2, int)),
        (np.zeros((10, 8, 8, 3), np.uint8), np.zeros((10, 1), int)),
        (np.zeros((10, 8, 8, 3), np.uint8), np.zeros(10)),
        (np.zeros((), np.uint8), np.zeros(10, int)),
    ],
)
def test_arrays_that_do_not_go_together(spoilt, images, labels):
    np.save(spoilt / "fog.npy", images)
    np.save(spoilt / "labels.npy", labels)
    assert complaint(DataError, spoilt) == (
        f"{spoilt}/fog.npy must hold as many images as labels.npy holds labels, the five severities one below the "
        f"other. Received: {images.shape} and {labels.dtype} of shape {labels.shape}"
    )


@pytest.mark.parametrize("images", [np.zeros((10, 8, 8, 3)), np.zeros((10, 3, 8, 8), np.uint8)])
def test_arrays_that_are_no_images(spoilt, images):
    np.save(spoilt / "fog.npy", images)
    assert complaint(DataError, spoilt) == (
        "Images of CIFAR-10-C must be uint8, of shape (n, height, width, 3) or (n, height, width, 1). "
        f"Received: {images.dtype} of shape {(2, *images.shape[1:])}"
    )


@pytest.mark.parametrize("labels", [[-1, 1], [0, 10]])
def test_labels_out_of_range(spoilt, labels):
    np.save(spoilt / "labels.npy", np.tile(labels, 5))
    assert complaint(UsageError, spoilt) == (
        f"labels.npy of {spoilt} must hold labels from 0 to 9, the model's classes. "
        f"Received: {labels[0]} to {labels[1]}"
    )


def test_labels_of_another_severity_count_too(spoilt):
    np.save(spoilt / "labels.npy", [0, 1] * 4 + [0, 10])
    assert complaint(UsageError, spoilt).endswith("Received: 0 to 10")


def test_ten_classes_for_a_model_of_a_hundred(tmp_path):
    folder = write_corrupted(tmp_path / "CIFAR-10-C", count=1000, classes=10, size=1)
    assert complaint(UsageError, folder, classes=tuple(map(str, range(100)))) == (
        f"labels.npy of {folder} must hold labels from 0 to 99, the model's classes. Received: 0 to 9"
    )


@pytest.mark.parametrize("name", ["fog", "labels"])
def test_damaged_files(spoilt, name):
    """However it is damaged: cut short, or a byte of the header wrong."""
    file = spoilt / f"{name}.npy"
    content = file.read_bytes()
    for end in (0, 1, 5, 9, 60, 128, len(content) - 1):
        file.write_bytes(content[:end])
        assert complaint(DataError, spoilt).startswith(f"{file} is not a readable .npy file: ")
    for at in range(128):
        file.write_bytes(content[:at] + bytes([content[at] ^ 0x15]) + content[at + 1 :])
        with contextlib.suppress(DataError, UsageError):  # a space of the padding may be anything
            load_corrupted_folder(spoilt, "fog", 1, CLASSES)


def test_archives_and_pickles_are_refused(spoilt):
    with (spoilt / "fog.npy").open("wb") as file:
        np.savez(file, images=np.zeros((10, 8, 8, 3), np.uint8))
    assert complaint(DataError, spoilt).startswith(f"{spoilt}/fog.npy is not a readable .npy file: ")
    np.save(spoilt / "fog.npy", np.array([{}] * 10), allow_pickle=True)
    assert complaint(DataError, spoilt).startswith(f"{spoilt}/fog.npy is not a readable .npy file: ")


# TFDS


def test_tfds_has_them_all():
    from tensorflow_datasets.image_classification.cifar10_corrupted import Cifar10Corrupted

    ours = {f"{TFDS_NAMES.get(name, name)}_{severity}" for name in CORRUPTIONS for severity in SEVERITIES}
    assert ours == {config.name for config in Cifar10Corrupted.BUILDER_CONFIGS}
    assert len(ours) == 95


def test_tfds_reads_the_same_files_under_its_names():
    from tensorflow_datasets.image_classification import cifar10_corrupted

    files = cifar10_corrupted._CORRUPTIONS_TO_FILENAMES
    assert {files[TFDS_NAMES.get(name, name)] for name in CORRUPTIONS} == {f"{name}.npy" for name in CORRUPTIONS}
    benchmark = cifar10_corrupted.BENCHMARK_CORRUPTIONS
    assert [TFDS_NAMES.get(name, name) for name in BENCHMARK_CORRUPTIONS] == benchmark


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Three of the 95, prepared by TFDS itself from a small folder in place of its download."""
    downloaded = tmp_path_factory.mktemp("downloaded")
    write_corrupted(downloaded / "CIFAR-10-C", count=7, classes=7)
    prepared = tmp_path_factory.mktemp("tfds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfds.download.DownloadManager, "download_and_extract", lambda self, url: str(downloaded))
        for name in ("fog_3", "frosted_glass_blur_1", "elastic_5"):
            tfds.builder(f"cifar10_corrupted/{name}", data_dir=prepared).download_and_prepare()
    return downloaded / "CIFAR-10-C", str(prepared)


@pytest.mark.parametrize("corruption, severity", [("fog", 3), ("glass_blur", 1), ("elastic_transform", 5)])
def test_both_forms_hold_the_same_images(data_dir, corruption, severity):
    folder, prepared = data_dir
    published = load_corrupted_folder(folder, corruption, severity, CLASSES)
    loaded = load_corrupted_tfds(corruption, severity, prepared)
    order = np.argsort(loaded.labels)  # stored shuffled; there are as many labels as images
    np.testing.assert_array_equal(loaded.images[order], published.images)
    np.testing.assert_array_equal(loaded.labels[order], published.labels)
    assert (loaded.name, loaded.split, loaded.classes) == ("cifar10_corrupted", "test", CLASSES)
    assert len(load_corrupted_tfds(corruption, severity, prepared, limit=2)) == 2


def test_not_prepared_and_no_network(tmp_path, monkeypatch):
    from acl_tf.data import tfds as source

    monkeypatch.setattr(source, "_unreachable", lambda builder: "no network")
    with pytest.raises(DataError) as error:
        load_corrupted_tfds("glass_blur", 2, str(tmp_path))
    assert str(error.value).startswith(
        f"The data set cifar10_corrupted/frosted_glass_blur_2 is not in "
        f"{tmp_path}/cifar10_corrupted/frosted_glass_blur_2/1.0.0 and cannot be downloaded (no network)."
    )
