import json

import numpy as np
import pytest

from acl_tf.errors import DataError, ModelFolderError, UsageError
from acl_tf.files import sha256
from acl_tf.finetune.config import EncoderConfig, LabelledDataConfig
from acl_tf.finetune.inputs import load_images, load_inputs, starting_encoder
from acl_tf.model_folder.write import TrainedModel, write_model_folder
from acl_tf.models.heads import zero_classifier
from tests.finetune.tiny import make_encoder, write_encoder

COUNT = 20
LABELS = np.arange(COUNT) % 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("encoder") / "model", branch="standard")


@pytest.fixture
def data(tmp_path):
    return lambda labels=LABELS, size=8, **more: dataset(tmp_path / "noise.npz", labels, size, more)


def dataset(file, labels, size, more) -> LabelledDataConfig:
    images = np.random.default_rng(0).integers(0, 256, (COUNT, size, size, 3), np.uint8)
    np.savez(file, images=images, **({} if labels is None else {"labels": labels}))
    return LabelledDataConfig(dataset=str(file), **more)


def encoder(source, **more) -> EncoderConfig:
    return EncoderConfig(source=str(source), **more)


# Encoders


@pytest.mark.parametrize("width", [0.0625, 0.125])
def test_random_weights(data, width):
    inputs = load_inputs(encoder("random:tiny", width=width), *load_images(data()))
    start = inputs.start
    assert (start.encoder.arch, start.encoder.width, start.encoder.image_shape) == ("tiny", width, (8, 8, 3))
    assert (start.default_branch, start.sha256) == ("adversarial", None)
    assert start.about() == {"arch": "tiny", "width": width, "sha256": None}


def test_the_encoder_of_a_folder(folder):
    start = starting_encoder(encoder(folder), (32, 32, 3))
    assert start.default_branch == "standard" and start.sha256 == sha256(folder / "model.keras")
    assert start.encoder.image_shape == (8, 8, 3)
    for mine, theirs in zip(start.encoder.get_weights(), make_encoder().get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_images_take_the_size_of_the_encoder(folder, data):
    inputs = load_inputs(encoder(folder), *load_images(data(size=12)))
    assert inputs.train.image_shape == inputs.validation.image_shape == (8, 8, 3)


def test_a_classifier_is_no_encoder(tmp_path):
    model = make_encoder()
    trained = TrainedModel(model, "adversarial", {}, classifier=zero_classifier(3), classes=("a", "b", "c"))
    trained.classifier.build((None, model.feature_dim))
    write_model_folder(tmp_path / "model", trained)
    with pytest.raises(ModelFolderError) as error:
        starting_encoder(encoder(tmp_path), (8, 8, 3))
    assert str(error.value) == (
        "An encoder is needed here, and this is a classifier of 3 classes; name the run that it was fine-tuned from. "
        f"Received: '{tmp_path}'"
    )


@pytest.mark.parametrize("file", ["config.json", "paired.safetensors", "manifest.json", "model.keras"])
def test_a_damaged_folder(tmp_path, file):
    folder = write_encoder(tmp_path / "model")
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelFolderError, match=r"model/\S+ (has changed since|is damaged)"):
        starting_encoder(encoder(folder), (8, 8, 3))


def test_an_unknown_architecture():
    with pytest.raises(UsageError) as error:
        starting_encoder(encoder("random:resnet81"), (8, 8, 3))
    assert str(error.value).startswith('Unknown architecture; did you mean "resnet18"? Known: resnet10, ')


# Images


def test_the_validation_split_is_the_same_for_all(data):
    """Whatever the labels, the encoder and the seed are."""
    whole = load_images(data())
    again = load_inputs(encoder("random:tiny", width=0.0625), *load_images(data()))
    np.testing.assert_array_equal(whole[1].images, again.validation.images)
    assert (len(whole[0]), len(whole[1])) == (18, 2)
    assert (whole[0].split, whole[1].split) == ("all", "validation")
    assert [len(part) for part in load_images(data(validation=5))] == [15, 5]


def test_no_labels(data):
    with pytest.raises(DataError) as error:
        load_images(data(labels=None))
    assert str(error.value) == "noise has no labels, which are needed here."


@pytest.mark.parametrize("label", [0, 3])
def test_one_class_only(data, label):
    """Also where other classes have a name, as when only the first images of sorted ones are taken."""
    with pytest.raises(UsageError) as error:
        load_images(data(labels=np.full(COUNT, label)))
    assert str(error.value) == "A classifier needs images of at least 2 classes; noise has 1."


def test_nothing_left_to_train_on(data):
    with pytest.raises(UsageError, match=r"must be smaller than the 20 training images of noise\. Received: 20"):
        load_images(data(validation=20))


def test_what_a_resumed_run_must_find_again(folder):
    assert json.dumps(starting_encoder(encoder(folder), (8, 8, 3)).about())
