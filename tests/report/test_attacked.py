import dataclasses
import json

import numpy as np
import pytest

from acl_tf.errors import DataError
from acl_tf.report import gallery, projection
from acl_tf.report.attacked import SHOWN, attack_test_images, epsilon_of
from acl_tf.report.attacked import test_images as load_images
from acl_tf.report.run import read_runs
from tests.report.folders import record, robust, write_run

IMAGES = 20


@pytest.fixture(scope="module")
def runs(classifier, encoder):
    return read_runs([classifier, encoder])


@pytest.fixture(scope="module")
def attacked(runs):
    return {run.number: attack_test_images(run, IMAGES, None) for run in runs}


def test_a_classifier(attacked):
    found = attacked[0]
    assert found.epsilon == 0.2  # of the records, not of the recipe
    assert found.data == "digits, test" and found.classes == tuple("0123456789")
    assert found.clean.shape == found.adversarial.shape == (SHOWN, 32, 32, 3)
    assert found.clean_features.shape == found.adversarial_features.shape == (IMAGES, 32)
    difference = np.abs(found.adversarial - found.clean).max(axis=(1, 2, 3))
    assert np.all(difference > 0.1) and np.all(difference <= 0.2 + 1e-6)
    assert found.adversarial.min() >= 0 and found.adversarial.max() <= 1
    wrong = [np.mean(p != found.labels) for p in (found.clean_predictions, found.adversarial_predictions)]
    assert wrong[1] == 1.0 >= wrong[0]


def test_predictions_are_those_of_the_images(attacked, runs):
    import acl_tf

    model, found = acl_tf.load(str(runs[0].path)), attacked[0]
    for images, predictions in (
        (found.clean, found.clean_predictions),
        (found.adversarial, found.adversarial_predictions),
    ):
        np.testing.assert_array_equal(np.asarray(model(images)).argmax(-1), predictions[found.shown])


def test_an_encoder(attacked):
    found = attacked[1]
    assert found.epsilon == 0.1 and found.clean_predictions is None and found.adversarial_predictions is None

    def direction(features):
        return features / np.linalg.norm(features, axis=-1, keepdims=True)

    cosine = (direction(found.clean_features) * direction(found.adversarial_features)).sum(-1)
    assert cosine.mean() < 0.99


def test_it_is_the_same_again(attacked, runs):
    again = attack_test_images(runs[0], IMAGES, None)
    for field in dataclasses.fields(again):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(attacked[0], field.name))


def test_images_are_spread_over_the_whole_split(runs):
    from acl_tf.data.digits import load_digits

    whole = load_digits("test")
    np.testing.assert_array_equal(load_images(runs[0], 2, None).labels, whole.labels[[0, 359]])
    assert len(load_images(runs[0], 1000, None)) == 360


def test_epsilon(tmp_path):
    def of(*records, recipe=""):
        folder = write_run(tmp_path / str(len(list(tmp_path.iterdir()))), records=records)
        (folder / "config.yaml").write_text(recipe)
        return epsilon_of(read_runs([folder])[0])

    assert of() == 8 / 255
    assert of(recipe="attack: {epsilon: 0.05}") == 0.05
    l2 = record("robust_accuracy", 0.5, {"attack": "pgd20", "norm": "l2", "epsilon": 0.5})
    assert of(record(), l2, robust(protocol={"epsilon": 0.2}), recipe="attack: {epsilon: 0.05}") == 0.2
    assert of(robust(protocol={"epsilon": 0}), recipe="attack: {epsilon: many}") == 8 / 255


def test_the_data_set_of_a_model_that_was_imported(tmp_path):
    folder = write_run(tmp_path / "a", records=[record(dataset="digits")])
    (folder / "config.yaml").write_text("imported_from: checkpoint.pt")
    assert len(load_images(read_runs([folder])[0], 5, None)) == 5
    (folder / "records.jsonl").unlink()
    with pytest.raises(DataError, match=r"^Neither its configuration nor a record names a data set\.$"):
        load_images(read_runs([folder])[0], 5, None)


@pytest.mark.parametrize(
    "shape, label, message",
    [
        ((8, 8, 3), 1, r"The model takes images of shape \(32, 32, 3\). Received: \(8, 8, 3\) of other"),
        ((32, 32, 3), 12, r"The model tells 10 classes apart. Received: label 12 of other"),
    ],
)
def test_images_of_something_else(runs, tmp_path, shape, label, message):
    file = tmp_path / "other.npz"
    np.savez(file, images=np.zeros((4, *shape), np.uint8), labels=np.full(4, label))
    run = dataclasses.replace(runs[0], recipe={"data": {"dataset": str(file)}})
    with pytest.raises(DataError, match=f"^{message}$"):
        attack_test_images(run, IMAGES, None)


def test_unlabelled_images(runs, tmp_path):
    file = tmp_path / "other.npz"
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    np.savez(file, images=images)
    run = dataclasses.replace(runs[0], recipe={"data": {"dataset": str(file)}})
    found = attack_test_images(run, IMAGES, None)
    assert found.labels is None and np.any(found.clean_predictions != found.adversarial_predictions)
    (shown,) = gallery.section([run], {0: found}, {}).values["galleries"]
    assert [image["truth"] for image in shown["images"]] == [None] * 4
    assert shown["images"][0]["attacked"]["right"] is None
    (projected,) = projection.section([run], {0: found}, {}).values["runs"]
    assert projected["legend"] == []


def test_gallery(attacked, runs):
    made = gallery.section(runs, attacked, {})
    (shown,) = made.values["galleries"]
    assert (shown["name"], shown["attack"], len(shown["images"])) == ("tiny", "PGD-20, l∞ 0.2", SHOWN)
    found = attacked[0]
    for place, image in enumerate(shown["images"]):
        row = found.shown[place]
        assert image["truth"] == str(found.labels[row])
        assert image["attacked"] == {"name": str(found.adversarial_predictions[row]), "right": False}
        assert image["clean"]["right"] == (found.clean_predictions[row] == found.labels[row])
        assert all(uri.startswith("data:image/png;base64,") for uri in image["pictures"].values())
    assert made.values["encoders"]


def test_encoders_have_no_gallery(attacked, runs):
    made = gallery.section(runs[1:], {1: attacked[1]}, {})
    assert made.absent == "None of these runs has a classifier: encoders predict no classes."


def test_the_perturbation_is_ten_fold_around_grey():
    clean = np.full((1, 1, 1, 3), 0.5, np.float32)
    adversarial = clean + np.array([0.01, -0.01, 0.2], np.float32)
    np.testing.assert_allclose(gallery.perturbation(clean, adversarial), [[[[0.6, 0.4, 1.0]]]], atol=1e-6)


def test_projection_of_the_clean_features():
    random = np.random.default_rng(0)
    clean = random.normal(size=(50, 6)) * [9, 5, 0.1, 0.1, 0.1, 0.1]
    low, moved, share = projection.project(clean, clean + np.eye(6)[0])
    assert low.shape == moved.shape == (50, 2) and 0.99 < share < 1
    np.testing.assert_allclose(np.abs((moved - low).mean(0)), [1, 0], atol=0.05)
    np.testing.assert_allclose(low.mean(0), 0, atol=1e-9)


def test_projections(attacked, runs):
    made = projection.section(runs, attacked, {})
    one, two = made.values["runs"]
    assert (one["loss"], two["loss"]) == ("cross-entropy", "the angle to the clean features")
    assert [figure["title"] for figure in one["figures"]] == ["clean", "attacked"]
    assert len(one["legend"]) == 10 and one["n"] == IMAGES


def test_a_recipe_of_another_kind(tmp_path, classifier):
    folder = write_run(tmp_path / "a", records=[json.loads((classifier / "records.jsonl").read_text().splitlines()[0])])
    (run,) = read_runs([folder])
    assert load_images(dataclasses.replace(run, recipe={"data": "digits"}), 3, None).name == "digits"
