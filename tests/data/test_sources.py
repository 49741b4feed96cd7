import numpy as np
import pytest
from PIL import Image

from acl_tf.data.config import DataConfig
from acl_tf.data.sources import load
from acl_tf.errors import DataError, UsageError

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder and an `.npz` of the same images in the working directory."""
    for number, image in enumerate(IMAGES):
        path = tmp_path / "images" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
    np.savez(tmp_path / "images.npz", images=IMAGES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "dataset", ["images", "./images", "images/", "{folder}/images", "~/images", "images.npz", "~/images.npz"]
)
@pytest.mark.parametrize("limit", [None, 2])
def test_folders_and_archives(folder, dataset, limit):
    loaded = load(DataConfig(dataset=dataset.format(folder=folder), limit=limit))
    np.testing.assert_array_equal(loaded.images, IMAGES[:limit])
    assert loaded.name == "images"


def test_folder_options(folder):
    Image.fromarray(IMAGES[0]).resize((10, 10)).save(folder / "images" / "a.png")
    (folder / "images" / "b.png").touch()
    loaded = load(DataConfig(dataset="images", image_size=16, skip_bad_images=True))
    assert loaded.images.shape == (4, 16, 16, 3)


def test_digits(folder):
    assert len(load(DataConfig(dataset="digits"))) == 1437
    assert len(load(DataConfig(dataset="digits", split="test"))) == 360
    assert len(load(DataConfig(dataset="digits", limit=10))) == 10
    (folder / "digits").mkdir()
    assert load(DataConfig(dataset="digits")).name == "digits"


@pytest.mark.parametrize("dataset", ["/no/such/folder", "./nowhere", "../nowhere", "~/nowhere"])
def test_paths_that_are_not_there(folder, dataset):
    with pytest.raises(UsageError) as error:
        load(DataConfig(dataset=dataset))
    assert str(error.value) == f"No such folder of images. Received: {dataset!r}"


def test_an_archive_that_is_not_there(folder):
    with pytest.raises(DataError) as error:
        load(DataConfig(dataset="nowhere.npz"))
    assert str(error.value) == "No such file. Received: 'nowhere.npz'"
