import math
import os
import signal

import numpy as np
import pytest

from acl_tf.errors import Interrupted, NonFiniteError
from acl_tf.training.metrics_log import read_metrics
from tests.training.tiny import (
    INFINITE_GRADIENT,
    INFINITE_WEIGHT,
    NAN_LOSS,
    InTurn,
    Tiny,
    checkpoints_of,
    pixels,
    state,
    tiny,
    train,
)


def steps_of(folder) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in sorted((folder / "checkpoints").iterdir())]


def rows_of(folder) -> list[dict]:
    return read_metrics(folder / "metrics.jsonl")


def without_speed(rows) -> list[dict]:
    return [{name: value for name, value in row.items() if name != "images_per_second"} for row in rows]


def test_when_it_measures_and_when_it_saves(tmp_path):
    train(tmp_path, pixels(20), keep_checkpoints=99)
    rows = rows_of(tmp_path)
    assert [row["step"] for row in rows] == [3, 6, 9, 10, 12, 15, 18, 20]  # every 3 steps, and the end of an epoch
    assert [row["epoch"] for row in rows] == [1, 1, 1, 1, 2, 2, 2, 2]
    assert steps_of(tmp_path) == [4, 8, 10, 12, 16, 20]


def test_what_it_measures(tmp_path):
    train(tmp_path, pixels(20))
    rows = rows_of(tmp_path)
    weight, momentum, losses, rates = 0.0, 0.0, [], []
    for step, batch in enumerate(np.split(pixels(20), 20)):
        rates.append(0.1 * 0.5 * (1 + math.cos(math.pi * step / 1000)))
        gradient = 2 * (weight - batch.mean())
        losses.append(gradient**2 / 4)
        momentum = 0.9 * momentum - rates[-1] * gradient
        weight += momentum
    begin = 0
    for row in rows:
        # Means over the steps since the row before, and the rate of the very step.
        assert row["loss"] == pytest.approx(np.mean(losses[begin : row["step"]]), rel=1e-5)
        assert row["learning_rate"] == pytest.approx(rates[row["step"] - 1], rel=1e-5)
        assert math.isfinite(row["images_per_second"]) and row["images_per_second"] > 0
        begin = row["step"]


@pytest.mark.parametrize("first", [4, 8, 10, 12, 16, 20])
def test_it_goes_on_as_if_nothing_had_been(tmp_path, first):
    """Also between two rows, whose means cover steps before and after the checkpoint."""
    whole = train(tmp_path / "whole", pixels(20))
    train(tmp_path / "parts", pixels(20), last=first)
    resumed = train(tmp_path / "parts", pixels(20), first=first)
    for mine, theirs in zip(state(resumed), state(whole), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert without_speed(rows_of(tmp_path / "parts")) == without_speed(rows_of(tmp_path / "whole"))


def test_what_is_measured_after_an_epoch_is_logged_with_its_last_step(tmp_path):
    epochs = []

    def after_epoch(epoch: int) -> dict[str, float]:
        epochs.append((epoch, steps_of(tmp_path)[-1]))
        return {} if epoch == 2 else {"validation_accuracy": epoch / 10}

    train(tmp_path, pixels(30), last=30, after_epoch=after_epoch)
    assert epochs == [(1, 8), (2, 16), (3, 28)]  # before the checkpoint of that step
    measured = {row["step"]: row["validation_accuracy"] for row in rows_of(tmp_path) if "validation_accuracy" in row}
    assert measured == {10: 0.1, 30: 0.3}
    assert all({"loss", "learning_rate"} < row.keys() for row in rows_of(tmp_path))


def test_batches_may_be_tuples_of_arrays(tmp_path):
    """The speed counts images, which come first."""

    class Labelled(Tiny):
        def train_step(self, data):
            images, (labels, weights) = data
            assert images.shape == (4, 1, 1, 3) and labels.shape == weights.shape == (4,)
            return super().train_step(images)

    data = (pixels(20), (np.zeros(80), np.ones(80)))
    labelled = train(tmp_path / "labelled", data, model=tiny(cls=Labelled))
    for mine, theirs in zip(state(labelled), state(train(tmp_path / "plain", pixels(20))), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_epochs_may_have_different_lengths(tmp_path):
    """The order is asked to prepare each epoch before its first step, also when the run goes on there."""
    prepared = []

    class Unequal(InTurn):
        def prepare(self, epoch, probe):
            prepared.append((epoch, int(probe.model.optimizer.iterations)))

    ended = []
    train(tmp_path / "whole", pixels(20), order=Unequal(3, 10, 7), after_epoch=lambda epoch: ended.append(epoch) or {})
    assert prepared == [(0, 0), (1, 3), (2, 13)] and ended == [1, 2, 3]
    assert [row["epoch"] for row in rows_of(tmp_path / "whole") if row["step"] in (3, 13, 15)] == [1, 2, 3]
    for first in (3, 4, 13):  # at the end of an epoch, and within one
        prepared.clear()
        train(tmp_path / f"{first}", pixels(20), last=first, order=Unequal(3, 10, 7))
        resumed = train(tmp_path / f"{first}", pixels(20), first=first, order=Unequal(3, 10, 7))
        assert [epoch for epoch, _ in prepared] == [0, 1, 2]
        assert float(resumed.weight) == float(train(tmp_path / f"again{first}", pixels(20)).weight)


# NaN


@pytest.mark.parametrize(
    "pixel, what",
    [(NAN_LOSS, "The loss is nan"), (INFINITE_GRADIENT, "The gradient norm is inf")],
)
def test_the_step_is_named_and_the_last_good_checkpoint_kept(tmp_path, pixel, what):
    with pytest.raises(NonFiniteError) as error:
        train(tmp_path, pixels(20, step14=pixel))
    assert str(error.value) == (
        f"{what} at step 14 (epoch 2). The last good checkpoint is {tmp_path}/checkpoints/step-00000012; "
        "try a lower optimizer.learning_rate."
    )
    assert steps_of(tmp_path) == [8, 10, 12]
    assert all(math.isfinite(value) for row in rows_of(tmp_path) for value in row.values())
    model = tiny()
    assert checkpoints_of(model, tmp_path / "checkpoints").restore() == 12
    assert all(np.isfinite(values).all() for values in state(model))


def test_nan_before_the_first_checkpoint(tmp_path):
    with pytest.raises(NonFiniteError) as error:
        train(tmp_path, pixels(20, step1=NAN_LOSS))
    assert str(error.value) == (
        "The loss is nan at step 1 (epoch 1). There is no checkpoint yet; try a lower optimizer.learning_rate."
    )


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    """A step may end in them although its own loss was fine."""
    with pytest.raises(NonFiniteError) as error:
        train(tmp_path, pixels(20, step12=INFINITE_WEIGHT))
    assert str(error.value).startswith("The weight tiny/weight is not finite at step 12 (epoch 2). The last good")
    assert steps_of(tmp_path) == [4, 8, 10]


def test_a_float16_gradient_may_overflow(tmp_path):
    """The optimiser leaves such a step out by itself."""
    train(tmp_path, pixels(20, step14=INFINITE_GRADIENT), precision="mixed_float16")
    assert steps_of(tmp_path)[-1] == 20


# Signals


def signalled(number: int, at: int) -> InTurn:
    """An order during whose step `at` a signal comes."""

    class Signalling(InTurn):
        def rows(self, step: int) -> np.ndarray:
            if step + 1 == at:
                os.kill(os.getpid(), number)
            return super().rows(step)

    return Signalling(10, 10)


@pytest.mark.parametrize("number, name, exit_code", [(signal.SIGINT, "SIGINT", 130), (signal.SIGTERM, "SIGTERM", 143)])
@pytest.mark.parametrize("at", [1, 7, 8, 10])
def test_a_signal_ends_the_step_and_saves_it(tmp_path, number, name, exit_code, at):
    with pytest.raises(Interrupted) as error:
        train(tmp_path, pixels(20), order=signalled(number, at), keep_checkpoints=99)
    assert str(error.value) == (
        f"Interrupted by {name} after step {at}, saved as {tmp_path}/checkpoints/step-{at:08d}. "
        "Go on by the same command with --resume."
    )
    assert error.value.exit_code == exit_code
    assert steps_of(tmp_path) == [step for step in (4, 8, 10) if step < at] + [at]
    resumed = train(tmp_path, pixels(20), first=at)
    whole = train(tmp_path / "whole", pixels(20))
    for mine, theirs in zip(state(resumed), state(whole), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert without_speed(rows_of(tmp_path)) == without_speed(rows_of(tmp_path / "whole"))


def test_a_signal_does_not_save_weights_that_are_not_finite(tmp_path):
    with pytest.raises(NonFiniteError, match="The weight tiny/weight is not finite at step 7"):
        train(tmp_path, pixels(20, step7=INFINITE_WEIGHT), order=signalled(signal.SIGINT, 7))
    assert steps_of(tmp_path) == [4]
