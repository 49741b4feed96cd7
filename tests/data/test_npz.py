from pathlib import Path

import numpy as np
import pytest

from acl_tf.data.npz import load_npz
from acl_tf.errors import DataError


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)


def complaint(file: Path) -> str:
    with pytest.raises(DataError) as error:
        load_npz(file)
    return str(error.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_images_and_labels(tmp_path, images, save):
    save(tmp_path / "set.npz", images=images, labels=np.array([0, 2, 1, 0, 2, 2], np.int8), other=np.zeros(3))
    loaded = load_npz(tmp_path / "set.npz")
    np.testing.assert_array_equal(loaded.images, images)
    np.testing.assert_array_equal(loaded.labels, [0, 2, 1, 0, 2, 2])
    assert loaded.labels.dtype == np.int64
    assert (loaded.classes, loaded.name, loaded.split) == (("0", "1", "2"), "set", "all")


def test_identifiers_are_classes_in_ascending_order(tmp_path, images, caplog):
    """They would make ten million names of classes."""
    file = tmp_path / "set.npz"
    np.savez(file, images=images, labels=np.array([10_000_005, 5, 7, 5, 7, 5]))
    loaded = load_npz(file)
    assert loaded.labels.tolist() == [2, 0, 1, 0, 1, 0] and loaded.classes == ("5", "7", "10000005")
    assert caplog.messages == [
        f"labels of {file} go up to 10000005: the 3 numbers that occur are the classes, in ascending order."
    ]
    np.savez(file, images=images, labels=np.array([0, 1, 2, 3, 4, 10**12]))
    with pytest.raises(DataError) as error:
        load_npz(file)
    assert str(error.value) == f"labels of {file} must be at most 2147483647. Received: 1000000000000"


def test_without_labels(tmp_path, images):
    np.savez(tmp_path / "set.npz", images=images)
    loaded = load_npz(tmp_path / "set.npz")
    assert loaded.labels is None and loaded.classes == ()


@pytest.mark.parametrize("shape", [(6, 8, 8), (6, 8, 8, 1)])
def test_grey_images_get_three_channels(tmp_path, images, shape):
    grey = images[..., :1].reshape(shape)
    np.savez(tmp_path / "set.npz", images=grey)
    np.testing.assert_array_equal(load_npz(tmp_path / "set.npz").images, np.repeat(images[..., :1], 3, axis=-1))


@pytest.mark.parametrize(
    "dtype, shape",
    [("float32", (6, 8, 8, 3)), ("int64", (6, 8, 8, 3)), ("uint8", (6, 3, 8, 8)), ("uint8", (6, 192)), ("uint8", ())],
)
def test_images_of_the_wrong_form(tmp_path, dtype, shape):
    file = tmp_path / "set.npz"
    np.savez(file, images=np.zeros(shape, dtype))
    assert complaint(file) == (
        f"Images of {file} must be uint8, of shape (n, height, width, 3) or (n, height, width, 1). "
        f"Received: {dtype} of shape {shape}"
    )


@pytest.mark.parametrize(
    "labels",
    [
        np.zeros(5, np.int64),
        np.zeros((6, 1), np.int64),
        np.zeros(6, np.float32),
        np.array(list("abcdef")),
        np.array([0, 1, -1, 0, 0, 0]),
    ],
    ids=str,
)
def test_labels_of_the_wrong_form(tmp_path, images, labels):
    file = tmp_path / "set.npz"
    np.savez(file, images=images, labels=labels)
    assert complaint(file) == (
        f"labels of {file} must be 6 integers from 0, one per image. Received: {labels.dtype} of shape {labels.shape}"
    )


def test_no_images(tmp_path):
    file = tmp_path / "set.npz"
    np.savez(file, x=np.zeros(3), y=np.zeros(3))
    assert complaint(file) == f"{file} must hold an array called images. Received: x, y"
    np.savez(file)
    assert complaint(file) == f"{file} must hold an array called images. Received: no arrays"
    np.savez(file, images=np.zeros((0, 8, 8, 3), np.uint8))
    assert complaint(file) == f"There is no image in {file}."


def test_missing_file(tmp_path):
    assert complaint(tmp_path / "set.npz") == f"No such file. Received: '{tmp_path / 'set.npz'}'"


def test_a_single_array(tmp_path, images):
    np.save(tmp_path / "set.npy", images)
    file = (tmp_path / "set.npy").rename(tmp_path / "set.npz")
    assert complaint(file) == f"{file} is a single array, not an .npz archive of named ones; write it by np.savez."


def test_pickled_arrays_are_not_run(tmp_path):
    file = tmp_path / "set.npz"
    np.savez(file, images=np.array([{}], object))
    assert complaint(file) == (
        f"{file} is not a readable .npz file: Object arrays cannot be loaded when allow_pickle=False"
    )


def test_every_damage_is_noticed_or_harmless(tmp_path, images):
    file = tmp_path / "set.npz"
    np.savez_compressed(file, images=images)
    whole = file.read_bytes()
    random = np.random.default_rng(0)
    damaged = [whole[:length] for length in (0, 10, len(whole) // 2, len(whole) - 1)]
    for position in random.integers(0, len(whole), 200):
        damaged.append(whole[:position] + bytes([whole[position] ^ (1 << random.integers(8))]) + whole[position + 1 :])
    noticed = 0
    for content in damaged:
        file.write_bytes(content)
        try:
            loaded = load_npz(file)
        except DataError:
            noticed += 1
        else:
            np.testing.assert_array_equal(loaded.images, images)
    assert noticed > 150
