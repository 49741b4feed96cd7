import json
from pathlib import Path

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from acl_tf.training.metrics_log import MetricsLog, read_metrics


def write(folder: Path, steps: range, first: int = 0) -> None:
    log = MetricsLog(folder, first)
    for step in steps:
        log.write(step, epoch=step // 3 + 1, values={"loss": 1 / step, "images_per_second": 10.0 * step})
    log.close()


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows."""
    accumulator = EventAccumulator(str(folder / "tensorboard"), size_guidance={"tensors": 0})
    accumulator.Reload()
    return {
        tag: [(event.step, float(tf.make_ndarray(event.tensor_proto))) for event in accumulator.Tensors(tag)]
        for tag in accumulator.Tags()["tensors"]
    }


def steps(folder: Path) -> list[int]:
    return [row["step"] for row in read_metrics(folder / "metrics.jsonl")]


def test_rows(tmp_path):
    write(tmp_path, range(1, 4))
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[1]) == {"step": 2, "epoch": 1, "loss": 0.5, "images_per_second": 20.0}
    assert len(lines) == 3


def test_a_row_is_in_the_file_at_once(tmp_path):
    """Whoever is killed loses none."""
    log = MetricsLog(tmp_path, 0)
    log.write(1, 1, {"loss": 1.0})
    assert steps(tmp_path) == [1]
    log.close()


def test_tensorboard_shows_the_same(tmp_path):
    write(tmp_path, range(1, 6))
    shown = scalars(tmp_path)
    assert shown.keys() == {"epoch", "loss", "images_per_second"}
    assert shown["loss"] == [(step, pytest.approx(1 / step)) for step in range(1, 6)]
    assert shown["epoch"] == [(1, 1), (2, 1), (3, 2), (4, 2), (5, 2)]


@pytest.mark.parametrize("checkpoint, kept", [(0, 0), (2, 2), (5, 5), (9, 5)])
def test_resuming_cuts_back_to_the_checkpoint(tmp_path, checkpoint, kept):
    write(tmp_path, range(1, 6))
    before = (tmp_path / "metrics.jsonl").read_text().splitlines()
    log = MetricsLog(tmp_path, checkpoint)
    assert (tmp_path / "metrics.jsonl").read_text().splitlines() == before[:kept]
    log.write(10, 4, {"loss": 7.0})
    log.close()
    assert steps(tmp_path) == [*range(1, kept + 1), 10]
    assert [step for step, _ in scalars(tmp_path)["loss"]] == [*range(1, kept + 1), 10]


def test_resuming_twice(tmp_path):
    write(tmp_path, range(1, 6))
    write(tmp_path, range(4, 8), first=3)
    write(tmp_path, range(6, 9), first=5)
    assert steps(tmp_path) == list(range(1, 9))
    assert scalars(tmp_path)["loss"] == [(step, pytest.approx(1 / step)) for step in range(1, 9)]


@pytest.mark.parametrize("tail", ['{"step": 6, "epoch": 2, "lo', "{", '{"step": 6, "epoch": 2}', "\x00\x00\x00"])
def test_half_a_line_at_the_end_is_dropped(tmp_path, tail):
    write(tmp_path, range(1, 6))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(tail)
    write(tmp_path, range(6, 8), first=5)
    assert steps(tmp_path) == list(range(1, 8))
    assert all(json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines())


def test_there_is_no_log_yet(tmp_path):
    assert read_metrics(tmp_path / "metrics.jsonl") == []
