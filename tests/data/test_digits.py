import hashlib

import numpy as np
import pytest
from sklearn.datasets import load_digits as scikit_digits

from acl_tf.data.digits import load_digits
from acl_tf.errors import UsageError


def test_sizes_and_form():
    for split, count in [("train", 1437), ("test", 360)]:
        digits = load_digits(split)
        assert digits.images.shape == (count, 32, 32, 3) and digits.images.dtype == np.uint8
        assert digits.labels.shape == (count,) and digits.labels.dtype == np.int64
        assert digits.classes == tuple("0123456789")
        assert (digits.name, digits.split) == ("digits", split)
        assert np.all(digits.images == digits.images[..., :1])


def test_the_split_is_fixed():
    """Published numbers are of these very images."""
    labels = {split: load_digits(split).labels.astype("u1").tobytes() for split in ("train", "test")}
    assert {split: hashlib.sha256(content).hexdigest()[:16] for split, content in labels.items()} == {
        "train": "472176d28e5c3fca",
        "test": "da1a2ec12e5c2ed7",
    }


def test_splits_are_disjoint_stratified_and_everything():
    train, test = load_digits("train"), load_digits("test")
    keys = [hashlib.sha256(image).digest() for part in (train, test) for image in part.images]
    # scikit-learn's digits hold no image twice, so what is told apart here is told apart there.
    assert len(set(keys)) == 1797
    whole = np.bincount(scikit_digits().target)
    for part in (train, test):
        assert np.all(np.abs(np.bincount(part.labels) - whole * len(part) / 1797) < 1)


def test_pixels_are_scikit_learns():
    """Averages over the 4x4 pixels that each becomes follow the 8x8 original, and the whole range is used."""
    source = scikit_digits()
    digits = load_digits("train")
    small = digits.images[..., 0].reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4))
    originals = source.images * (255 / 16)
    # The images are in scikit-learn's order: each is the next one that looks like it.
    position = 0
    for image, label in zip(small[:200], digits.labels):
        while np.corrcoef(image.ravel(), originals[position].ravel())[0, 1] < 0.98:
            position += 1
        assert source.target[position] == label
        position += 1
    assert position < 300
    assert digits.images.min() == 0 and digits.images.max() == 255


def test_unknown_split():
    with pytest.raises(UsageError) as error:
        load_digits("validation")
    assert str(error.value) == "The data set digits has the splits train and test. Received: 'validation'"
