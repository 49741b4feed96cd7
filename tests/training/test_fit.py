"""A whole run of the tiny model in a run folder."""

import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest

from acl_tf.config import build
from acl_tf.errors import CheckpointError, Interrupted, UsageError
from acl_tf.pretrain.config import PretrainConfig
from acl_tf.training.config import RunConfig
from acl_tf.training.fit import check_parallelism, fit
from acl_tf.training.metrics_log import read_metrics
from acl_tf.training.run import open_run
from acl_tf.training.selection import Selection
from tests.training.tiny import InTurn, Tiny, pixels, state, tiny

CONFIG = build(
    PretrainConfig, {"training": {"epochs": 4, "checkpoint_steps": 3, "log_steps": 2}, "data": {"dataset": "digits"}}
)
LENGTHS = (5, 5, 5, 5)
# By epoch; the second is the best.
ACCURACIES = {1: 0.1, 2: 0.6, 3: 0.2, 4: 0.3}


def run(path, stop_at: int | None = None, resume: bool = False, about: str = "these") -> tuple[Tiny, Selection]:
    """Trains in a folder; a signal comes during step `stop_at`."""
    model = tiny()
    selection = Selection(model.variables)

    class Stopping(InTurn):
        def rows(self, step: int) -> np.ndarray:
            if step + 1 == stop_at:
                os.kill(os.getpid(), signal.SIGINT)
            return super().rows(step)

    def after_epoch(epoch: int) -> dict[str, float]:
        selection.update(epoch, ACCURACIES[epoch], 0.5)
        return {"validation_accuracy": ACCURACIES[epoch]}

    with open_run(CONFIG, path, resume) as opened:
        with opened.preparing():
            images = {"data set": {"images": about}}
        fit(opened, model, pixels(20), Stopping(*LENGTHS), images, after_epoch, selection=selection)
    return model, selection


def rows(path) -> list[dict]:
    return [
        {name: value for name, value in row.items() if name != "images_per_second"}
        for row in read_metrics(path / "metrics.jsonl")
    ]


def test_from_the_first_step_to_the_last(tmp_path):
    model, selection = run(tmp_path / "run")
    assert [row["step"] for row in rows(tmp_path / "run")] == [2, 4, 5, 6, 8, 10, 12, 14, 15, 16, 18, 20]
    validated = {row["step"]: row["validation_accuracy"] for row in rows(tmp_path / "run") if len(row) > 5}
    assert validated == {5: 0.1, 10: 0.6, 15: 0.2, 20: 0.3}
    names = [path.name for path in sorted((tmp_path / "run" / "checkpoints").iterdir())]
    assert names == ["step-00000015", "step-00000018", "step-00000020"]
    assert selection.best_epoch() == 2
    last = float(model.weight)
    selection.restore()
    assert float(model.weight) != last


@pytest.mark.parametrize("stop_at", [1, 4, 10, 13, 20])
def test_a_resumed_run_is_the_whole_one_its_selection_included(tmp_path, stop_at):
    """The best epoch may be over when the run goes on."""
    whole, selection = run(tmp_path / "whole")
    with pytest.raises(Interrupted, match=f"after step {stop_at}, saved as"):
        run(tmp_path / "parts", stop_at)
    resumed, resumed_selection = run(tmp_path / "parts", resume=True)
    for mine, theirs in zip(state(resumed), state(whole), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
    assert resumed_selection.best_epoch() == 2
    np.testing.assert_array_equal(resumed_selection.scores.numpy(), selection.scores.numpy())
    for chosen in (selection, resumed_selection):
        chosen.restore()
    np.testing.assert_array_equal(resumed.weight.numpy(), whole.weight.numpy())


def test_a_finished_run_takes_no_more_steps(tmp_path):
    model, _ = run(tmp_path / "run")
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    again, selection = run(tmp_path / "run", resume=True)
    assert float(again.weight) == float(model.weight) and selection.best_epoch() == 2
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


def test_a_checkpoint_must_agree(tmp_path):
    with pytest.raises(Interrupted):
        run(tmp_path / "run", 7)
    with pytest.raises(CheckpointError) as error:
        run(tmp_path / "run", resume=True, about="others")
    assert str(error.value) == (
        f"The checkpoint {tmp_path}/run/checkpoints/step-00000007 is of another data set. "
        "Expected: images others. Received: images these"
    )


@pytest.mark.parametrize(
    "jit, batch_size, replicas, message",
    [
        (False, 15, 2, "The global batch size must be divisible by the number of replicas, 2. Received: 15"),
        (True, 16, 2, "--jit works on one device. Received: 2 replicas"),
    ],
)
def test_what_replicas_cannot_share(jit, batch_size, replicas, message):
    with pytest.raises(UsageError) as error:
        check_parallelism(RunConfig(jit=jit), batch_size, SimpleNamespace(replicas=replicas))
    assert str(error.value) == message


@pytest.mark.parametrize("jit, replicas", [(True, 1), (False, 2), (False, 4)])
def test_what_replicas_can_share(jit, replicas):
    check_parallelism(RunConfig(jit=jit), 16, SimpleNamespace(replicas=replicas))
