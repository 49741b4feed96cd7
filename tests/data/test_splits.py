import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from acl_tf.data.image_set import ImageSet
from acl_tf.data.splits import default_validation_count, hold_out, label_subset, labels_of, stratified_rows, take
from acl_tf.errors import DataError, UsageError

seeds = st.integers(0, 2**31 - 1)
labelings = st.lists(st.integers(0, 4), min_size=2, max_size=60).map(np.array)


def image_set(labels, classes=("a", "b", "c", "d", "e")) -> ImageSet:
    """Each image says at which row it is."""
    labels = None if labels is None else np.asarray(labels)
    count = 10 if labels is None else len(labels)
    images = np.zeros((count, 1, 1, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(count)
    return ImageSet(images, labels, classes, "shapes", "train")


def rows_of(images: ImageSet) -> list[int]:
    return images.images[:, 0, 0, 0].tolist()


def counts(labels: np.ndarray) -> np.ndarray:
    return np.bincount(labels, minlength=5)


# Rows


@given(labelings, st.data(), seeds)
def test_every_class_has_its_share_to_less_than_one_image(labels, data, seed):
    count = data.draw(st.integers(0, len(labels)))
    rows = stratified_rows(labels, count, (seed,))
    assert len(rows) == count and len(np.unique(rows)) == count
    assert rows.tolist() == sorted(rows)
    shares = counts(labels) * count / len(labels)
    assert np.all(np.abs(counts(labels[rows]) - shares) < 1)


@given(labelings, seeds)
def test_the_seed_determines_the_rows(labels, seed):
    rows = stratified_rows(labels, len(labels) // 2, (seed,))
    np.testing.assert_array_equal(stratified_rows(labels, len(labels) // 2, (seed,)), rows)


def test_another_seed_draws_others_and_every_row_may_be_drawn():
    labels = np.repeat([0, 1], 10)
    draws = [tuple(stratified_rows(labels, 6, (seed,))) for seed in range(60)]
    assert len(set(draws)) > 50
    assert set(np.concatenate(draws)) == set(range(20))


def test_among_equal_classes_chance_decides_which_has_one_more():
    labels = np.repeat([0, 1, 2], 4)
    assert {tuple(counts(labels[stratified_rows(labels, 4, (seed,))])[:3]) for seed in range(40)} == {
        (2, 1, 1),
        (1, 2, 1),
        (1, 1, 2),
    }


# The validation split


@given(labelings, st.data())
def test_both_parts_are_disjoint_and_complete(labels, data):
    images = image_set(labels)
    train, validation = hold_out(images, data.draw(st.integers(1, len(labels) - 1)))
    assert sorted(rows_of(train) + rows_of(validation)) == rows_of(images)
    for part in (train, validation):
        np.testing.assert_array_equal(part.labels, labels[rows_of(part)])
        assert rows_of(part) == sorted(rows_of(part))
        assert (part.classes, part.name) == (images.classes, "shapes")
    assert (train.split, validation.split) == ("train", "validation")
    assert np.all(np.abs(counts(validation.labels) - counts(labels) * len(validation) / len(labels)) < 1)


def test_the_validation_split_is_the_same_in_every_version():
    """What one version trains on, no other may validate on."""
    _, validation = hold_out(image_set(np.arange(20) % 4), 6)
    assert rows_of(validation) == [2, 5, 8, 10, 15, 17]


@pytest.mark.parametrize("count", [5, 6])
def test_something_must_be_left_to_train_on(count):
    with pytest.raises(UsageError) as error:
        hold_out(image_set([0, 1, 0, 1, 0]), count)
    assert str(error.value) == (
        f"The validation split must be smaller than the 5 training images of shapes. Received: {count}"
    )


@pytest.mark.parametrize(
    "name, images, count",
    [
        ("cifar10", 50000, 5000),
        ("cifar100", 50000, 5000),
        ("cifar10", 10000, 5000),
        ("cifar10", 9999, 999),
        ("stl10", 50000, 5000),
        ("stl10", 5000, 500),
        ("digits", 1437, 143),
        ("noise", 4, 1),
    ],
)
def test_how_many_are_held_out(name, images, count):
    assert default_validation_count(name, images) == count


# Labelled subsets


def test_a_fraction_and_a_count_of_the_same_size_are_the_same():
    images = image_set(np.arange(40) % 4)
    np.testing.assert_array_equal(label_subset(images, 0.2, 7), label_subset(images, 8, 7))
    assert counts(images.labels[label_subset(images, 0.2, 7)]).tolist() == [2, 2, 2, 2, 0]
    assert len(label_subset(images, 0.11, 7)) == 4  # 4.4


@given(labelings, st.data(), seeds)
def test_a_subset_is_stratified_or_refused(labels, data, seed):
    images = image_set(labels)
    count = data.draw(st.integers(1, len(labels)))
    try:
        rows = label_subset(images, count, seed)
    except UsageError:
        assume(count < len(labels))
        assert counts(labels).min(initial=99, where=counts(labels) > 0) * count < len(labels)
        return
    np.testing.assert_array_equal(label_subset(images, count, seed), rows)
    assert len(rows) == count and set(labels[rows]) == set(labels)
    assert np.all(np.abs(counts(labels[rows]) - counts(labels) * count / len(labels)) < 1)


def test_the_seed_chooses_the_labels():
    images = image_set(np.arange(40) % 4)
    assert len({tuple(label_subset(images, 8, seed)) for seed in range(20)}) == 20


@pytest.mark.parametrize("labels", [None, 1.0, 6])
def test_all_labels(labels):
    assert label_subset(image_set([0, 1, 2, 0, 1, 2]), labels, 3).tolist() == [0, 1, 2, 3, 4, 5]


def test_more_labels_than_images():
    with pytest.raises(UsageError) as error:
        label_subset(image_set([0, 1, 2]), 4, 0)
    assert str(error.value) == "There are only 3 images to take labels from. Received: 4 labels"


@pytest.mark.parametrize(
    "labels, message",
    [
        (1, "1 labels leave 2 of the 3 classes of shapes without any (a, b); ask for more. Received: 1"),
        (0.01, "0 labels leave 3 of the 3 classes of shapes without any (a, b, e); ask for more. Received: 0.01"),
    ],
)
def test_a_class_that_is_left_without_a_label(labels, message):
    with pytest.raises(UsageError) as error:
        label_subset(image_set([0, 1, 4, 4, 4, 4]), labels, 0)
    assert str(error.value) == message


def test_classes_without_a_name_go_by_their_number():
    with pytest.raises(UsageError, match=r"leave 6 of the 7 classes of shapes without any \((\d, ){4}\d\); ask"):
        label_subset(image_set(range(7), classes=()), 1, 0)


def test_a_class_of_which_there_is_no_image_needs_no_label():
    assert set(label_subset(image_set([0, 4, 0, 4]), 2, 0)) & {0, 2}


# Labels and rows


def test_take():
    images = image_set([3, 2, 1])
    assert rows_of(take(images, np.array([2, 0]))) == [2, 0]
    assert take(images, np.array([2, 0])).labels.tolist() == [1, 3]
    assert take(image_set(None), np.array([2, 0])).labels is None


@pytest.mark.parametrize(
    "use", [labels_of, lambda images: hold_out(images, 2), lambda images: label_subset(images, None, 0)]
)
def test_images_without_labels(use):
    with pytest.raises(DataError) as error:
        use(image_set(None))
    assert str(error.value) == "shapes has no labels, which are needed here."
