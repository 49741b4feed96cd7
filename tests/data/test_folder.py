import io
import logging
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acl_tf.data.folder import load_folder
from acl_tf.errors import DataError

SUFFIXES = ".bmp, .gif, .jfif, .jpe, .jpeg, .jpg, .png, .ppm, .tif, .tiff, .webp"


def pixels(seed: int, height: int = 8, width: int = 8, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def save(file: Path, array: np.ndarray, **options) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array.squeeze()).save(file, **options)
    return file


def truncate(file: Path) -> Path:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return file


def complaint(*arguments, **options) -> str:
    with pytest.raises(DataError) as error:
        load_folder(*arguments, **options)
    return str(error.value)


# What is read


def test_a_flat_folder_is_unlabelled_and_in_alphabetical_order(tmp_path):
    for name in ("b.png", "a.PNG", "c10.bmp", "c9.ppm"):
        save(tmp_path / name, pixels(ord(name[0]) + len(name)))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "empty").mkdir()
    loaded = load_folder(tmp_path)
    expected = [pixels(ord(name[0]) + len(name)) for name in ("a.PNG", "b.png", "c10.bmp", "c9.ppm")]
    np.testing.assert_array_equal(loaded.images, expected)
    assert loaded.labels is None and loaded.classes == ()
    assert (loaded.name, loaded.split) == (tmp_path.name, "all")


def test_sub_folders_are_classes(tmp_path):
    for number, name in enumerate(["dog/2.png", "cat/9.png", "dog/1.png", "ape/x.png"]):
        save(tmp_path / name, pixels(number))
    (tmp_path / "no_images").mkdir()
    (tmp_path / "README.md").touch()
    loaded = load_folder(tmp_path)
    np.testing.assert_array_equal(loaded.images, [pixels(3), pixels(1), pixels(2), pixels(0)])
    np.testing.assert_array_equal(loaded.labels, [0, 1, 2, 2])
    assert loaded.classes == ("ape", "cat", "dog") and loaded.labels.dtype == np.int64


def test_the_limit_takes_the_first(tmp_path):
    for number in range(5):
        save(tmp_path / f"{number}.png", pixels(number))
    (tmp_path / "4.png").write_bytes(b"damaged, but never read")
    np.testing.assert_array_equal(load_folder(tmp_path, limit=3).images, [pixels(0), pixels(1), pixels(2)])


def test_grey_alpha_and_palette_become_rgb(tmp_path):
    grey, color, alpha = pixels(0, channels=1), pixels(1), pixels(2, channels=1)
    save(tmp_path / "a.png", grey)
    save(tmp_path / "b.png", np.concatenate([color, alpha], axis=-1))
    save(tmp_path / "c.png", np.concatenate([grey, alpha], axis=-1))
    Image.fromarray(color).quantize(64).save(tmp_path / "d.png")
    Image.fromarray(grey[..., 0] > 127).save(tmp_path / "e.png")
    loaded = load_folder(tmp_path).images
    np.testing.assert_array_equal(loaded[0], np.repeat(grey, 3, axis=-1))
    np.testing.assert_array_equal(loaded[1], color)
    np.testing.assert_array_equal(loaded[2], np.repeat(grey, 3, axis=-1))
    np.testing.assert_array_equal(loaded[3], np.asarray(Image.fromarray(color).quantize(64).convert("RGB")))
    np.testing.assert_array_equal(loaded[4], np.repeat(np.where(grey > 127, np.uint8(255), np.uint8(0)), 3, axis=-1))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    upright = pixels(0)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(tmp_path / "a.png", np.ascontiguousarray(stored), exif=exif)
    np.testing.assert_array_equal(load_folder(tmp_path).images, [upright])


def test_jpeg_is_read_as_pillow_reads_it(tmp_path):
    file = save(tmp_path / "a.jpg", pixels(0, 32, 32))
    with Image.open(file) as image:
        np.testing.assert_array_equal(load_folder(tmp_path).images, [np.asarray(image)])


def test_images_of_mixed_sizes_are_resized(tmp_path):
    save(tmp_path / "a.png", pixels(0, 16, 16))
    save(tmp_path / "b.png", pixels(1, 20, 30))
    loaded = load_folder(tmp_path, image_size=16)
    assert loaded.images.shape == (2, 16, 16, 3)
    np.testing.assert_array_equal(loaded.images[0], pixels(0, 16, 16))
    expected = Image.fromarray(pixels(1, 20, 30)).resize((16, 16), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(loaded.images[1], expected)


# What is not


def test_empty_folder(tmp_path):
    (tmp_path / "notes.txt").touch()
    (tmp_path / "sub").mkdir()
    assert complaint(tmp_path) == (
        f"There is no image in {tmp_path} or its sub-folders; files must end in {SUFFIXES}. Received: 2 other entries"
    )


def test_flat_and_classes_at_once(tmp_path):
    save(tmp_path / "b.png", pixels(0))
    save(tmp_path / "cat" / "a.png", pixels(0))
    assert complaint(tmp_path) == (
        f"{tmp_path} holds images both directly and in class sub-folders. Received: b.png beside the folder cat"
    )


def test_mixed_sizes(tmp_path):
    save(tmp_path / "a.png", pixels(0, 8, 9))
    save(tmp_path / "b.png", pixels(0, 8, 9))
    save(tmp_path / "c.png", pixels(0, 10, 8))
    assert complaint(tmp_path) == (
        "The images have different sizes; resize them all with --set data.image_size=32, for example. "
        "Received: 9x8 in a.png, 8x10 in c.png"
    )


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_truncated_jpeg_is_named(tmp_path, caplog, position):
    files = [save(tmp_path / name, pixels(0, 64, 64)) for name in ("a.jpg", "b.jpg", "c.jpg")]
    truncate(files[position])
    with caplog.at_level(logging.INFO):
        message = complaint(tmp_path)
    start, end = f"Cannot read the image {files[position]}: image file is truncated (", " bytes not processed). "
    assert message.startswith(start)
    assert message.endswith(end + "Repair or remove it, or go on without it by --skip-bad-images.")
    assert caplog.messages == []


def test_bad_images_are_skipped_and_reported_once(tmp_path, caplog):
    files = [save(tmp_path / f"{'cat' if n < 3 else 'dog'}/{n}.jpg", pixels(n, 64, 64)) for n in range(5)]
    truncate(files[0])
    files[3].write_text("not an image")
    with caplog.at_level(logging.WARNING):
        loaded = load_folder(tmp_path, skip_bad_images=True)
    expected = [np.asarray(Image.open(files[number])) for number in (1, 2, 4)]
    np.testing.assert_array_equal(loaded.images, expected)
    np.testing.assert_array_equal(loaded.labels, [0, 0, 1])
    messages = sorted(caplog.messages)
    assert messages[0].startswith(f"Cannot read the image {files[0]}: image file is truncated (")
    assert messages[1] == f"Cannot read the image {files[3]}: it is none of BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP"
    assert messages[2] == f"Left out 2 of 5 images of {tmp_path} that cannot be read."
    assert len(messages) == 3


@pytest.mark.parametrize("kind", ["DDS", "ICO", "SPIDER"])
def test_other_formats_are_not_read_under_a_usual_name(tmp_path, kind):
    file = tmp_path / "a.png"
    content = io.BytesIO()  # a file's suffix would be registered as SPIDER's
    content.name = "image"
    Image.new("F" if kind == "SPIDER" else "RGB", (8, 8)).save(content, format=kind)
    file.write_bytes(content.getvalue())
    assert complaint(tmp_path).startswith(
        f"Cannot read the image {file}: it is none of BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP. "
    )


def test_what_is_left_out_is_counted_and_named(tmp_path, caplog):
    """What Jupyter and macOS leave, deeper images, links to nothing, other suffixes: none is a class or an image."""
    for name in ("cat/0.png", "dog/0.PNG", ".ipynb_checkpoints/0.png", "cat/._0.png", "dog/deeper/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        save(tmp_path / name, pixels(0, 8, 8)) if "._" not in name else (tmp_path / name).touch()
    (tmp_path / "cat" / "2.png").symlink_to("nothing")
    (tmp_path / "notes\x1b.txt").touch()
    with caplog.at_level(logging.WARNING):
        loaded = load_folder(tmp_path)
    assert loaded.classes == ("cat", "dog") and loaded.labels.tolist() == [0, 1]
    assert caplog.messages == [
        f"Left out 5 of 7 files below {tmp_path}, which are no images of a class, or hidden: "
        ".ipynb_checkpoints/0.png, cat/._0.png, cat/2.png, …"
    ]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        load_folder(tmp_path, limit=1)
    assert len(caplog.messages) == 1  # images beyond the limit are not left out unawares


def test_no_image_starts_ghostscript(tmp_path, monkeypatch):
    """Pillow runs it on PostScript."""
    marker, program = tmp_path / "marker", tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {marker}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    file = tmp_path / "images" / "a.png"
    file.parent.mkdir()
    file.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n")
    assert "it is none of" in complaint(file.parent)
    assert not marker.exists()


def test_nothing_but_bad_images(tmp_path, caplog):
    (tmp_path / "a.png").touch()
    (tmp_path / "b.png").touch()
    assert complaint(tmp_path, skip_bad_images=True) == f"None of the 2 images of {tmp_path} can be read."


@pytest.mark.parametrize(
    "array, suffix, mode",
    [
        (np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000, "png", "I;16"),
        (np.arange(64, dtype=np.int32).reshape(8, 8) * 1000, "tif", "I"),
        (np.arange(64, dtype=np.float32).reshape(8, 8) / 64, "tif", "F"),
    ],
)
def test_images_of_more_than_8_bits_are_not_clipped_in_silence(tmp_path, array, suffix, mode):
    file = tmp_path / f"a.{suffix}"
    Image.fromarray(array).save(file)
    assert complaint(tmp_path) == (
        f"Cannot read the image {file}: it has more than 8 bits per channel (mode {mode}). "
        "Repair or remove it, or go on without it by --skip-bad-images."
    )


def test_a_folder_that_memory_cannot_hold(tmp_path, monkeypatch):
    for number in range(4):
        save(tmp_path / f"{number}.png", pixels(number, 128, 128))
    monkeypatch.setattr("acl_tf.data.folder.os.sysconf", {"SC_AVPHYS_PAGES": 60, "SC_PAGE_SIZE": 4096}.get)
    assert complaint(tmp_path) == (
        "4 images of 128x128 need 0.0 GiB of memory; lower data.image_size or data.limit, or prepare them as a TFDS "
        "data set of smaller images. Received: 0.0 GiB free"
    )
    assert len(load_folder(tmp_path, image_size=64)) == 4
    assert len(load_folder(tmp_path, limit=1)) == 1


def test_numbered_classes_are_in_the_order_of_their_numbers(tmp_path):
    """As in an `.npz` file with the same labels."""
    for number in (0, 1, 2, 9, 10, 11):
        (tmp_path / str(number)).mkdir()
        save(tmp_path / str(number) / "a.png", pixels(number, 8, 8))
    assert load_folder(tmp_path).classes == ("0", "1", "2", "9", "10", "11")
    (tmp_path / "11").rename(tmp_path / "eleven")
    assert load_folder(tmp_path).classes == ("0", "1", "10", "2", "9", "eleven")
