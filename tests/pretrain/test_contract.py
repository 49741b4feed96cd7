"""What a plug-in can bring: an objective and an order that no file of acl_tf knows of."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from acl_tf import cli
from acl_tf.data import ORDERS
from acl_tf.pretrain import OBJECTIVES

TOY = '''"""A toy: three views in one pass, two weighted terms, a head of its own, an average that is published."""
import tensorflow as tf
from acl_tf.config import Positive, Section
from acl_tf.losses.nt_xent import nt_xent
from acl_tf.models.average import ExponentialAverage
from acl_tf.models.heads import MLPHead
from acl_tf.pretrain import OBJECTIVES, Networks, Objective, Pass, Term

@OBJECTIVES.register("toy")
class Toy(Objective):
    class Settings(Section):
        length_weight: Positive = 0.1
    attacks, terms_logged = False, ("contrast", "length")
    @classmethod
    def networks(cls, settings, model, image_shape):
        encoder = model.encoder(image_shape)
        return Networks(encoder, MLPHead(encoder.feature_dim, (8, 4)))
    def setup(self):
        self.average = ExponentialAverage(Networks(self.encoder, self.projection_head), decay=0.9)
    def progress(self):
        return tf.cast(self.epoch() + 1, self.encoder.variable_dtype) / self.horizon.epochs
    def strength(self):
        return tf.cast(self.progress(), tf.float32)
    def views(self, images, seed):
        return self.augmented(images, seed, 3)
    def passes(self, views, perturbed):
        return (Pass(views, self.default_branch),)
    def terms(self, views):
        length = Term(tf.reduce_sum(tf.square(views[0]), 1), self.settings.length_weight * self.progress())
        return {"contrast": Term(nt_xent(*views)), "length": length}
    def after_step(self):
        self.average.update()
    def published(self):
        return Networks(*self.average.networks)
'''
HALVES = '''"""Half of the images, drawn anew every second epoch by what the encoder has become."""
import numpy as np
from acl_tf.config import Count, Section
from acl_tf.data import ORDERS
from acl_tf.data.orders import Coreset

@ORDERS.register("halves")
class Halves(Coreset):
    class Settings(Section):
        every: Count = 2
    def sizes(self):
        return (self.images // 2,) * self.epochs
    def choose(self, epoch, probe):
        if epoch % self.settings.every:
            return None
        weight = abs(probe.model.encoder.trainable_variables[0].numpy()).sum()
        return np.random.default_rng((self.seed, epoch, round(weight))).permutation(self.images)[: self.images // 2]
'''
PLUGINS = {"toy": TOY, "halves": HALVES}
SMALL = [
    "--arch",
    "resnet10",
    "--width",
    "0.0625",
    "--epochs",
    "4",
    "--batch-size",
    "4",
    "--seed",
    "5",
    "--set",
    "training.checkpoint_steps=2",
]
CHOICES = {"toy": ["--variant", "toy", "--optimizer", "sgd"], "halves": ["--variant", "s2s", "--order", "halves"]}
LEARNING_RATE = ["--set", "optimizer.learning_rate=0.05"]


@pytest.fixture(autouse=True)
def own_registries(monkeypatch):
    """What a test registers is gone after it."""
    for registry in (OBJECTIVES, ORDERS):
        monkeypatch.setattr(registry, "_targets", dict(registry._targets))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("data") / "noise.npz"
    np.savez(file, images=np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3), np.uint8))
    return file


@pytest.fixture
def plugin(tmp_path):
    def write(name: str, text: str | None = None) -> Path:
        file = tmp_path / f"{name}.py"
        file.write_text(text or PLUGINS[name])
        return file

    return write


def arguments(name: str, file: Path, dataset: Path, output: Path, *more: str) -> list[str]:
    options = [*SMALL, *CHOICES[name], *LEARNING_RATE, *more]
    return ["--plugin", str(file), "pretrain", "--dataset", str(dataset), *options, "--output", str(output)]


def weights(run: Path) -> dict[str, np.ndarray]:
    return safetensors.numpy.load_file(run / "model" / "paired.safetensors")


def stopping_before(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends SIGINT when the rows of a step are asked for."""
    from acl_tf.data.orders import Order

    rows = Order.rows

    def interrupted(order: Order, number: int) -> np.ndarray:
        if number == step:
            os.kill(os.getpid(), signal.SIGINT)
        return rows(order, number)

    monkeypatch.setattr(Order, "rows", interrupted)


def test_a_toy_objective_is_short():
    assert len(TOY.splitlines()) <= 40


@pytest.mark.slow
def test_what_is_published_is_the_average(plugin, dataset, tmp_path):
    assert cli.run(arguments("toy", plugin("toy"), dataset, tmp_path / "run")) == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {"loss", "loss_contrast", "loss_length"} < rows[-1].keys()
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config["recipe"]["objective"] == {"variant": "toy", "length_weight": 0.1}
    assert config["recipe"]["attack"] is None
    assert "projection_head/fc2/kernel" in weights(tmp_path / "run")


def test_a_coreset_is_half_and_changes_every_second_epoch(plugin, dataset, tmp_path, monkeypatch):
    from acl_tf.data.orders import Coreset

    chosen, prepare = [], Coreset.prepare

    def noting(order, epoch, probe):
        prepare(order, epoch, probe)
        chosen.append(tuple(order.candidates()))

    monkeypatch.setattr(Coreset, "prepare", noting)
    assert cli.run(arguments("halves", plugin("halves"), dataset, tmp_path / "run")) == 0
    assert [len(rows) for rows in chosen] == [8, 8, 8, 8]
    assert chosen[0] == chosen[1] != chosen[2] == chosen[3]


@pytest.mark.parametrize(
    "name, pair, message",
    [
        (
            "toy",
            "objective.temperature=0.1",
            "Unknown configuration key objective.temperature. Known there: variant, length_weight. Received: 0.1",
        ),
        (
            "halves",
            "order.evry=3",
            'Unknown configuration key order.evry; did you mean "every"? Known there: name, every. Received: 3',
        ),
    ],
)
def test_an_unknown_key_is_refused(name, pair, message, plugin, dataset, tmp_path, capsys):
    assert cli.run([*arguments(name, plugin(name), dataset, tmp_path / "run"), "--set", pair]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"acl-tf: error: {message}"
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_demands_the_plugins_that_it_was_begun_with(plugin, dataset, tmp_path, capsys, monkeypatch):
    command = arguments("toy", plugin("toy"), dataset, tmp_path / "run")
    with monkeypatch.context() as patch:
        stopping_before(3, patch)
        assert cli.run(command) == 130
    (recorded,) = json.loads((tmp_path / "run" / "run.json").read_text())["plugins"]
    assert recorded["name"] == "toy.py" and len(recorded["sha256"]) == 64
    plugin("toy", TOY + "\n# changed\n")
    assert cli.run([*command, "--resume"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(
        f"acl-tf: error: The run in {tmp_path / 'run'} goes on with the plug-ins that it was begun with only. "
        f"Expected: toy.py (sha256 {recorded['sha256'][:12]}…). Received: toy.py (sha256 "
    )
    assert cli.run(["pretrain", "--resume", "--output", str(tmp_path / "run")]) == 2  # the class is still registered
    assert "Expected: toy.py" in capsys.readouterr().err


RUN = "import sys; from acl_tf.cli import run; sys.exit(run(sys.argv[1:]))"


def run_process(*command: str, **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", RUN, *command], stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLUGINS)
def test_two_replicas_are_one(name, plugin, dataset, tmp_path):
    file = plugin(name)
    for replicas in ("1", "2"):
        hardware = ["--precision", "float64", "--strategy", "mirrored", "--devices", f"cpu:{replicas}"]
        process = run_process(*arguments(name, file, dataset, tmp_path / replicas, *hardware))
        assert process.wait() == 0, process.stderr.read()
    one, two = weights(tmp_path / "1"), weights(tmp_path / "2")
    for key, value in one.items():
        if "fc1/bias" not in key:  # its true gradient is 0: rounding errors
            # Views are float32, and rounded by the shape of a replica's batch: over 16 steps that comes to 1e-6.
            np.testing.assert_allclose(two[key], value, rtol=0, atol=1e-5 * np.abs(value).max(), err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLUGINS)
def test_killed_and_resumed_it_is_the_same(name, plugin, dataset, tmp_path):
    file = plugin(name)
    assert run_process(*arguments(name, file, dataset, tmp_path / "whole")).wait() == 0
    command = arguments(name, file, dataset, tmp_path / "parts")
    process = run_process(*command)
    saved = {"toy": "step-00000006", "halves": "step-00000004"}[name]  # in an epoch; before images are chosen anew
    while not (tmp_path / "parts" / "checkpoints" / saved).exists():
        assert process.poll() is None
    process.kill()
    process.wait()
    assert run_process(*command, "--resume").wait() == 0
    for key, value in weights(tmp_path / "whole").items():
        np.testing.assert_array_equal(weights(tmp_path / "parts")[key], value, err_msg=key)
