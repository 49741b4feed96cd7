import json
import logging
import shutil

import keras
import numpy as np
import pytest

from acl_tf.errors import CheckpointError
from acl_tf.training.lars import LARS
from tests.training.disk import LimitedFiles, SmallDisk
from tests.training.tiny import checkpoints_of, state, variables


def network(seed: int = 0, units: int = 5) -> keras.Model:
    """Dense layers, batch normalisation and the momentum of LARS."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(units), keras.layers.BatchNormalization(), keras.layers.Dense(3)]
    )
    model.compile(optimizer=LARS(0.1), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


def fit(model: keras.Model, seed: int) -> None:
    random = np.random.default_rng(seed)
    model.fit(random.normal(size=(16, 4)), random.normal(size=(16, 3)), batch_size=8, verbose=0)


def set_state(model: keras.Model, seed: int) -> None:
    """Puts random numbers everywhere, the optimiser included, which is faster than training."""
    random = np.random.default_rng(seed)
    for variable in variables(model):
        variable.assign(random.integers(0, 100, variable.shape))


def assert_same_state(one: keras.Model, other: keras.Model) -> None:
    for mine, theirs in zip(state(one), state(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.fixture
def trained(tmp_path):
    """A model with checkpoints of two different states; a model in the first of them."""
    model, first = network(), network()
    checkpoints = checkpoints_of(model, tmp_path)
    set_state(model, 1)
    set_state(first, 1)
    checkpoints.save(3)
    set_state(model, 2)
    checkpoints.save(7)
    return model, first


def test_restore_gives_back_everything(tmp_path, trained):
    model, _ = trained
    other = network(seed=9)
    assert checkpoints_of(other, tmp_path).restore() == 7
    assert_same_state(other, model)
    optimizer_variables = 2 + len(model.trainable_variables)  # steps, rate, a momentum for each weight
    assert len(state(other)) == len(model.variables) + optimizer_variables + 2  # the mean loss: total and count
    fit(model, 3)
    fit(other, 3)
    assert_same_state(other, model)


def test_nothing_to_restore(tmp_path):
    model = network()
    before = state(model)
    assert checkpoints_of(model, tmp_path / "new").restore() == 0
    for mine, theirs in zip(state(model), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_only_the_newest_are_kept(tmp_path):
    checkpoints = checkpoints_of(network(), tmp_path, keep=2)
    for step in (1, 5, 123_456_789, 20):
        assert checkpoints.save(step).is_dir()
    assert [path.name for path in checkpoints.paths()] == ["step-00000020", "step-123456789"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000020", "step-123456789"]


def test_a_checkpoint_is_replaced_by_one_of_the_same_step(tmp_path, trained):
    model, _ = trained
    set_state(model, 3)
    checkpoints = checkpoints_of(model, tmp_path)
    checkpoints.save(7)
    other = network()
    assert checkpoints_of(other, tmp_path).restore() == 7
    assert_same_state(other, model)
    assert len(checkpoints.paths()) == 2


def test_what_a_killed_process_left_is_removed(tmp_path, trained):
    shutil.copytree(tmp_path / "step-00000007", tmp_path / ".step-00000009.123.tmp")
    shutil.copytree(tmp_path / "step-00000007", tmp_path / ".step-00000007.123.old")
    checkpoints = checkpoints_of(network(), tmp_path)
    assert [path.name for path in checkpoints.paths()] == ["step-00000003", "step-00000007"]
    assert len(list(tmp_path.iterdir())) == 2


# Damage

DATA, INDEX, ABOUT = "state.data-00000-of-00001", "state.index", "checkpoint.json"


def flip(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :]


DAMAGES = {
    "data file truncated": (DATA, lambda content: content[: len(content) // 2]),
    "data file empty": (DATA, lambda content: b""),
    "data file missing": (DATA, None),
    "byte of the data flipped": (DATA, lambda content: flip(content, len(content) // 2)),
    "index truncated": (INDEX, lambda content: content[: len(content) // 2]),
    "index empty": (INDEX, lambda content: b""),
    "index missing": (INDEX, None),
    "byte of the index flipped": (INDEX, lambda content: flip(content, 40)),
    "json truncated": (ABOUT, lambda content: content[:-3]),
    "json empty": (ABOUT, lambda content: b""),
    "json missing": (ABOUT, None),
    "json without content": (ABOUT, lambda content: b"{}"),
    "json a list": (ABOUT, lambda content: b"[]"),
    "json null": (ABOUT, lambda content: b"null"),
    "json not text": (ABOUT, lambda content: b"\xff" * len(content)),
    "json of another step": (ABOUT, lambda content: content.replace(b"7", b"6")),
    "json without a number": (ABOUT, lambda content: content.replace(b"7", b'"7"')),
}


def damage(folder, name, change) -> None:
    if change is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(change((folder / name).read_bytes()))


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_checkpoint_is_reported_and_the_one_before_used(tmp_path, trained, caplog, kind):
    newest = tmp_path / "step-00000007"
    damage(newest, *DAMAGES[kind])
    other = network(seed=9)
    with caplog.at_level(logging.INFO):
        assert checkpoints_of(other, tmp_path).restore() == 3
    assert_same_state(other, trained[1])
    (message,) = caplog.messages
    assert message.startswith(f"The checkpoint {newest} cannot be read (")
    assert message.endswith("); trying the one before it.") and "\n" not in message


def test_an_empty_folder_is_a_damaged_checkpoint(tmp_path, trained, caplog):
    (tmp_path / "step-00000009").mkdir()
    assert checkpoints_of(network(), tmp_path).restore() == 7
    assert "step-00000009 cannot be read (No such file or directory)" in caplog.text


def test_all_damaged(tmp_path, trained, caplog):
    for path in tmp_path.iterdir():
        damage(path, *DAMAGES["data file truncated"])
    with pytest.raises(CheckpointError) as error:
        checkpoints_of(network(), tmp_path).restore()
    assert str(error.value) == f"None of the 2 checkpoints in {tmp_path} can be read."
    assert len(caplog.messages) == 2


@pytest.mark.parametrize("name", [DATA, INDEX])
def test_no_flipped_byte_is_restored_in_silence(tmp_path, trained, name):
    model, first = trained
    file = tmp_path / "step-00000007" / name
    content = file.read_bytes()
    other = network(seed=9)
    checkpoints = checkpoints_of(other, tmp_path)
    steps = []
    for position in np.linspace(0, len(content) - 1, 60, dtype=int):
        file.write_bytes(flip(content, position))
        steps.append(checkpoints.restore())
        assert_same_state(other, {7: model, 3: first}[steps[-1]])
    assert steps.count(3) > 45  # some bytes of the index have no meaning


# Of something else


def test_a_checkpoint_of_another_architecture(tmp_path):
    checkpoints_of(network(), tmp_path, architecture={"arch": "resnet18", "width": 0.5}).save(4)
    other = network(units=6)
    before = state(other)
    with pytest.raises(CheckpointError) as error:
        checkpoints_of(other, tmp_path, architecture={"arch": "resnet34", "width": 0.5}).restore()
    assert str(error.value) == (
        f"The checkpoint {tmp_path}/step-00000004 is of another architecture. "
        "Expected: arch resnet34, width 0.5. Received: arch resnet18, width 0.5"
    )
    for mine, theirs in zip(state(other), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_checkpoint_of_other_data_is_not_passed_over(tmp_path):
    """The one before it may be of the right data, but then somebody must look."""
    checkpoints_of(network(), tmp_path, data={"images": 3}).save(4)
    checkpoints_of(network(), tmp_path, data={"images": 5}).save(6)
    with pytest.raises(CheckpointError, match=r"step-00000006 is of another data\. Expected: images 3\. Received: i"):
        checkpoints_of(network(), tmp_path, data={"images": 3}).restore()


def test_a_checkpoint_that_lacks_variables(tmp_path, caplog):
    """Where nothing is said of the architecture, TensorFlow still tells that the variables do not fit."""
    checkpoints_of(network(), tmp_path).save(4)
    with pytest.raises(CheckpointError, match=r"None of the 1 checkpoints in .* can be read\."):
        checkpoints_of(network(units=6), tmp_path).restore()


def test_what_stands_in_a_checkpoint(tmp_path):
    path = checkpoints_of(network(), tmp_path, architecture={"arch": "resnet18"}).save(4)
    assert sorted(file.name for file in path.iterdir()) == [ABOUT, DATA, INDEX]
    assert json.loads((path / ABOUT).read_text()) == {"step": 4, "architecture": {"arch": "resnet18"}}


# Full disk


@pytest.mark.parametrize("disk", [SmallDisk, LimitedFiles])
def test_a_full_disk(tmp_path, disk):
    disk = disk(tmp_path / "disk")
    model = network()
    with disk.mounted(2**20):
        folder = disk.path / "checkpoints"
        checkpoints = checkpoints_of(model, folder, keep=2)
        checkpoints.save(3)
        before = network(seed=9)
        set_state(model, 1)
        with disk.full(), pytest.raises(CheckpointError) as error:
            checkpoints.save(7)
        assert str(error.value) == (
            f"Cannot write the checkpoint of step 7 to {folder}: {disk.reason}. step-00000003 is kept; "
            "make room and go on with --resume."
        )
        assert [path.name for path in folder.iterdir()] == ["step-00000003"]
        assert checkpoints_of(before, folder).restore() == 3
        assert_same_state(before, network())
        checkpoints.save(7)
        assert checkpoints_of(before, folder).restore() == 7
        assert_same_state(before, model)


def test_a_disk_that_is_full_from_the_start(tmp_path):
    disk = LimitedFiles(tmp_path)
    checkpoints = checkpoints_of(network(), tmp_path)
    with disk.full(), pytest.raises(CheckpointError) as error:
        checkpoints.save(7)
    assert str(error.value) == (
        f"Cannot write the checkpoint of step 7 to {tmp_path}: File too large. There is none before it; "
        "make room and go on with --resume."
    )
    assert list(tmp_path.iterdir()) == []
