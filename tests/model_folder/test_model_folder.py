import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

import acl_tf
from acl_tf.errors import ModelFolderError
from acl_tf.files import sha256
from acl_tf.hub.locate import find_model_folder
from acl_tf.model_folder import write as model_folder
from acl_tf.model_folder.manifest import verify, write_manifest
from acl_tf.model_folder.read import load_encoder
from acl_tf.model_folder.weights import named_weights
from acl_tf.model_folder.write import TrainedModel, write_model_folder
from acl_tf.models.branch import Branch
from acl_tf.models.encoder import Encoder
from acl_tf.models.heads import ProjectionHead

IMAGES = np.random.default_rng(0).random((4, 16, 16, 3), np.float32)
RECIPE = {"objective": {"variant": "ds"}, "training": {"seed": 3}}


def shaken(model: keras.Model, seed: int) -> keras.Model:
    """Moves every weight and statistic, so that both branches differ and nothing is as initialised."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        noise = random.uniform(0.5, 1.5, variable.shape).astype("float32")
        variable.assign(variable.value.numpy() * noise + 0.1 * noise * (variable.name != "kernel"))
    return model


@pytest.fixture(scope="module")
def trained() -> TrainedModel:
    encoder = shaken(Encoder("resnet10", width=0.0625, image_shape=(16, 16, 3), mean=(0.4, 0.5, 0.6)), 1)
    head = shaken(ProjectionHead(encoder.feature_dim, blocks=2), 2)
    return TrainedModel(encoder, Branch.ADVERSARIAL, RECIPE, projection_head=head)


@pytest.fixture(scope="module")
def classifier(trained) -> TrainedModel:
    layer = keras.layers.Dense(3, name="fc")
    layer.build((None, trained.encoder.feature_dim))
    layer.kernel.assign(np.random.default_rng(0).normal(size=layer.kernel.shape))
    layer.bias.assign([1.0, 2.0, 3.0])
    return TrainedModel(trained.encoder, Branch.STANDARD, RECIPE, classifier=layer, classes=("ape", "cat", "dog"))


@pytest.fixture(scope="module")
def written(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("written") / "model"
    write_model_folder(path, trained)
    return path


@pytest.fixture
def folder(written, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(written, tmp_path / "model")


def complaint(load, *arguments) -> str:
    with pytest.raises(ModelFolderError) as error:
        load(*arguments)
    return str(error.value)


# What is written


FILES = [
    "README.md",
    "config.json",
    "model.keras",
    "paired.safetensors",
    "saved_model/assets.extra/tf_serving_warmup_requests",
    "saved_model/fingerprint.pb",
    "saved_model/saved_model.pb",
    "saved_model/variables/variables.data-00000-of-00001",
    "saved_model/variables/variables.index",
]


def test_files(written):
    present = [file.relative_to(written).as_posix() for file in written.rglob("*") if file.is_file()]
    assert sorted(present) == sorted([*FILES, "manifest.json"])
    files = json.loads((written / "manifest.json").read_text())["files"]
    assert sorted(files) == FILES
    for name, entry in files.items():
        assert entry == {"sha256": sha256(written / name), "size": (written / name).stat().st_size}


def test_the_saved_model_serves_the_published_branch(written, trained):
    loaded = acl_tf.load_saved_model(written)
    features = loaded.signatures["serving_default"](tf.constant(IMAGES))["features"]
    expected = trained.encoder(IMAGES, branch="adversarial", training=False)
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    run_folder = acl_tf.load_saved_model(str(written.parent))
    assert run_folder.signatures.keys() == {"serving_default", "uint8", "image_bytes"}


def test_the_card_tells_of_the_records(folder):
    assert "0.625" not in (folder / "README.md").read_text() and "62.5" not in (folder / "README.md").read_text()
    record = {"metric": "accuracy", "value": 0.625, "dataset": "digits", "split": "test", "n": 8, "protocol": {}}
    model_folder.add_to_model_folder(folder, [record])
    assert "62.5" in (folder / "README.md").read_text()
    verify(folder)


def test_config(written):
    config = json.loads((written / "config.json").read_text())
    versions = config.pop("versions")
    assert versions.keys() == {"acl_tf", "tensorflow", "keras", "python"}
    assert config == {
        "kind": "encoder",
        "arch": "resnet10",
        "width": 0.0625,
        "stem": "cifar",
        "stem_padding": 1,
        "input_shape": [16, 16, 3],
        "features": 32,
        "classes": None,
        "branch": "adversarial",
        "batch_norm": "paired",
        "projection_head": {"input_dim": 32, "blocks": 2},
        "mean": [0.4, 0.5, 0.6],
        "std": [0.229, 0.224, 0.225],
        "attacked": None,
        "recipe": RECIPE,
    }


def test_paired_weights(written, trained):
    arrays = safetensors.numpy.load_file(written / "paired.safetensors")
    assert {array.dtype for array in arrays.values()} == {np.dtype("float32")}
    # Convolutions and 5 variables that a paired normalisation has in each branch but the counter: gamma, beta, mean …
    parts = {name.split("/")[0] for name in arrays}
    assert parts == {"encoder", "projection_head"}
    trainable = [*trained.encoder.trainable_variables, *trained.projection_head.trainable_variables]
    total = sum(array.size for array in arrays.values())
    statistics = sum(array.size for name, array in arrays.items() if "moving" in name)
    assert total - statistics == sum(int(np.prod(variable.shape)) for variable in trainable)


# What is read


def test_the_published_model_predicts_as_the_branch(written, trained):
    model = acl_tf.load(str(written))
    expected = trained.encoder(IMAGES, branch="adversarial", training=False)
    other = trained.encoder(IMAGES, branch="standard", training=False)
    np.testing.assert_allclose(model(IMAGES), expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    assert np.abs(expected - other).max() > 1e-2
    assert model.config["recipe"] == RECIPE
    assert model.records == []


def test_records_come_with_the_model(folder):
    measured = {"accuracy": 0.5, "robust_accuracy": 0.25}
    records = [{"metric": metric, "value": value, "protocol": {}} for metric, value in measured.items()]
    (folder / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    write_manifest(folder)
    assert acl_tf.load(str(folder)).records == records


def test_a_run_folder_will_do_as_well(written, trained):
    model = acl_tf.load(str(written.parent))
    np.testing.assert_array_equal(model(IMAGES), acl_tf.load(str(written / "model.keras"))(IMAGES))


def test_the_paired_encoder_is_bit_identical(written, trained):
    loaded, original = load_encoder(written), trained.encoder
    differing = {"name": None, "synchronized": None}  # an encoder is loaded for training, on any number of devices
    assert loaded.get_config() | differing == original.get_config() | differing
    for mine, theirs in zip(loaded.variables, original.variables, strict=True):
        np.testing.assert_array_equal(mine.value.numpy(), theirs.value.numpy())


def test_the_weights_of_the_projection_head_are_kept(written, trained):
    kept = head_weights(written)
    assert set(kept) == set(named_weights(trained.projection_head))
    for name, variable in named_weights(trained.projection_head).items():
        np.testing.assert_array_equal(kept[name], variable.numpy())


def head_weights(folder: Path) -> dict[str, np.ndarray]:
    """What `paired.safetensors` holds of the projection head."""
    arrays = safetensors.numpy.load_file(folder / "paired.safetensors")
    prefix = "projection_head/"
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def test_written_again_it_is_the_same(written, trained, tmp_path):
    again = TrainedModel(load_encoder(written), Branch.ADVERSARIAL, RECIPE, trained.projection_head)
    write_model_folder(tmp_path / "again", again)
    assert (tmp_path / "again" / "paired.safetensors").read_bytes() == (written / "paired.safetensors").read_bytes()


def test_single_batch_norm_and_no_head(tmp_path):
    encoder = shaken(Encoder("resnet10", width=0.0625, image_shape=(16, 16, 3), batch_norm="single"), 1)
    write_model_folder(tmp_path / "model", TrainedModel(encoder, Branch.STANDARD, RECIPE))
    assert not head_weights(tmp_path / "model")
    loaded = load_encoder(tmp_path / "model")
    for mine, theirs in zip(loaded.variables, encoder.variables, strict=True):
        np.testing.assert_array_equal(mine.value.numpy(), theirs.value.numpy())
    expected = encoder(IMAGES, branch="standard", training=False)
    np.testing.assert_allclose(acl_tf.load(str(tmp_path))(IMAGES), expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_a_classifier(tmp_path, classifier):
    write_model_folder(tmp_path / "model", classifier)
    model = acl_tf.load(str(tmp_path / "model"))
    features = classifier.encoder(IMAGES, branch="standard", training=False)
    expected = classifier.classifier(features)
    np.testing.assert_allclose(model(IMAGES), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert model.config["kind"] == "classifier" and model.config["classes"] == ["ape", "cat", "dog"]
    arrays = safetensors.numpy.load_file(tmp_path / "model" / "paired.safetensors")
    np.testing.assert_array_equal(arrays["classifier/fc/bias"], [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(arrays["classifier/fc/kernel"], classifier.classifier.kernel.value.numpy())


# What is wrong


def test_the_padding_of_the_stem_is_1_where_the_folder_does_not_say(folder):
    config = json.loads((folder / "config.json").read_text())
    for padding, expected in (({}, 1), ({"stem_padding": 2}, 2)):
        del config["stem_padding"]
        (folder / "config.json").write_text(json.dumps(config | padding))
        write_manifest(folder)
        assert load_encoder(folder).stem_padding == expected
        config["stem_padding"] = expected


@pytest.mark.parametrize("load", [acl_tf.load, load_encoder])
@pytest.mark.parametrize(
    "spoil, message",
    [
        (
            lambda folder: (folder / "paired.safetensors").unlink(),
            "{folder}/paired.safetensors is missing; the folder is not as acl-tf wrote it.",
        ),
        (
            lambda folder: (folder / "sub" / "extra.txt").touch(),
            "{folder}/sub/extra.txt is not in the manifest; the folder is not as acl-tf wrote it.",
        ),
        (
            lambda folder: flip(folder / "model.keras"),
            "{folder}/model.keras has changed since it was written: its SHA-256 is not the manifest's.",
        ),
        (
            lambda folder: flip(folder / "paired.safetensors"),
            "{folder}/paired.safetensors has changed since it was written: its SHA-256 is not the manifest's.",
        ),
        (
            lambda folder: (folder / "config.json").write_text("{}"),
            "{folder}/config.json has changed since it was written: its SHA-256 is not the manifest's.",
        ),
        (
            lambda folder: (folder / "manifest.json").write_text('{"files": '),
            "{folder}/manifest.json is damaged: Expecting value: line 1 column 11 (char 10)",
        ),
        (
            lambda folder: (folder / "manifest.json").write_text("{}"),
            "{folder}/manifest.json is damaged: 'files'",
        ),
        (
            lambda folder: (folder / "manifest.json").unlink(),
            "No model folder and no run. Received: '{folder}'",
        ),
    ],
)
def test_a_folder_that_is_not_as_written(folder, load, spoil, message):
    (folder / "sub").mkdir()
    spoil(folder)
    assert complaint(load, str(folder)) == message.format(folder=folder)


def flip(file) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


@pytest.mark.parametrize("files", ["config.json", ["config.json"], {"config.json": 3}, {"config.json": {}}, None])
def test_a_manifest_of_another_form(folder, files):
    (folder / "manifest.json").write_text(json.dumps({"files": files}))
    assert complaint(verify, folder).startswith(f"{folder}/manifest.json is damaged: ")


def test_no_folder(tmp_path):
    assert complaint(acl_tf.load, str(tmp_path / "none")) == (
        f"No model folder and no run. Received: '{tmp_path / 'none'}'"
    )


def test_a_run_without_model(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    assert complaint(acl_tf.load, str(tmp_path)) == (
        f"The run {tmp_path} has no model yet: finish it by acl-tf pretrain --resume --output {tmp_path}"
    )


def test_a_file_that_is_no_model(tmp_path):
    file = tmp_path / "model.keras"
    assert complaint(acl_tf.load, str(file)) == f"No such .keras file. Received: '{file}'"
    file.write_bytes(b"PK nonsense")
    assert complaint(acl_tf.load, str(file)) == f"{file} is not a .keras file: File is not a zip file"


@pytest.mark.parametrize("change", [{"width": 0.125}, {"arch": "resnet34"}, {"batch_norm": "single"}])
def test_weights_that_do_not_fit_the_config(folder, change):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    write_manifest(folder)
    assert complaint(load_encoder, folder).startswith(f"{folder}/paired.safetensors ")


# Whole or absent


def test_it_replaces_the_one_that_is_there(folder, classifier):
    write_model_folder(folder, classifier)
    verify(folder)
    assert json.loads((folder / "config.json").read_text())["kind"] == "classifier"
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("step", ["_save_weights", "write_manifest"])
def test_a_failure_in_the_middle_leaves_the_old_folder(folder, trained, monkeypatch, step):
    before = (folder / "manifest.json").read_bytes()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_folder, step, full)
    with pytest.raises(OSError, match="No space left on device"):
        write_model_folder(folder, trained)
    verify(folder)
    assert (folder / "manifest.json").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


KILLED = """
import os, signal, sys
from pathlib import Path
from acl_tf.model_folder import write as model_folder
from acl_tf.model_folder.read import load_encoder
from acl_tf.models.branch import Branch

path = Path(sys.argv[1])
encoder = load_encoder(path)
model_folder.write_manifest = lambda folder: os.kill(os.getpid(), signal.SIGKILL)
model_folder.write_model_folder(path, model_folder.TrainedModel(encoder, Branch.STANDARD, {}))
"""


@pytest.mark.slow
def test_a_kill_in_the_middle_leaves_the_old_folder(folder):
    done = subprocess.run([sys.executable, "-c", KILLED, folder], capture_output=True, check=False)
    assert done.returncode == -9
    verify(folder)
    assert json.loads((folder / "config.json").read_text())["branch"] == "adversarial"


# More records


def measured(*values: float) -> list[dict]:
    """Records of different measurements, each named by what it gave."""
    return [{"metric": "accuracy", "value": value, "protocol": {"seed": value}, "date": "now"} for value in values]


def test_records_are_added(folder):
    weights = (folder / "model.keras").stat()
    model_folder.add_to_model_folder(folder, measured(0.5))
    model_folder.add_to_model_folder(folder, measured(0.25, 0.5))
    verify(folder)
    assert acl_tf.load(str(folder)).records == measured(0.5, 0.25)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    assert (folder / "model.keras").stat().st_ino == weights.st_ino  # linked, not copied


def test_a_file_system_without_links(folder, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(model_folder.os, "link", refuse)
    model_folder.add_to_model_folder(folder, measured(0.5))
    verify(folder)
    assert acl_tf.load(str(folder)).records == measured(0.5)


def test_a_copy_elsewhere_keeps_its_records(folder, tmp_path):
    """Files are replaced and never changed in place, so that a hard link to them keeps what it has."""
    model_folder.add_to_model_folder(folder, measured(0.5))
    (tmp_path / "linked.jsonl").hardlink_to(folder / "records.jsonl")
    model_folder.add_to_model_folder(folder, measured(0.25))
    assert len((tmp_path / "linked.jsonl").read_text().splitlines()) == 1


def test_a_model_that_a_killed_process_had_moved_aside_is_found(folder):
    """As after a kill between the two renames."""
    (folder.parent / ".model.7.tmp").mkdir()
    folder.rename(folder.parent / ".model.7.old")
    model = acl_tf.load(str(folder.parent))
    assert model.records == []
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_records_are_added_to_a_model_that_was_moved_aside(folder):
    folder.rename(folder.parent / ".model.7.old")
    model_folder.add_to_model_folder(folder, measured(0.5))
    verify(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("step", ["add_records", "write_manifest"])
def test_a_failure_while_records_are_added_leaves_the_old_folder(folder, monkeypatch, step):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_folder, step, full)
    with pytest.raises(OSError, match="No space left on device"):
        model_folder.add_to_model_folder(folder, measured(0.5))
    verify(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_several_at_once_lose_no_records_and_disturb_no_reader(folder):
    failures, stop = [], threading.Event()

    def noting(work, *arguments):
        try:
            work(*arguments)
        except Exception as error:
            failures.append(error)

    def add(first: int) -> None:
        for number in range(8):
            model_folder.add_to_model_folder(folder, measured((first + number) / 100))

    def read() -> None:
        while not stop.is_set():
            verify(find_model_folder(folder.parent))

    writers = [threading.Thread(target=noting, args=(add, first)) for first in (0, 20, 40)]
    reader = threading.Thread(target=noting, args=(read,))
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    reader.join()
    assert failures == []
    values = sorted(record["value"] for record in acl_tf.load(str(folder)).records)
    assert values == [(first + number) / 100 for first in (0, 20, 40) for number in range(8)]
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
