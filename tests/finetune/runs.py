"""Runs on a few images of noise, and what is compared of two of them."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import safetensors.numpy

from acl_tf.config import merge
from acl_tf.data.orders import Order
from acl_tf.errors import Interrupted
from acl_tf.finetune import METHODS
from acl_tf.training.metrics_log import read_metrics

COUNT, CLASSES = 36, 3
SETTINGS = {
    "encoder": {"source": "random:tiny", "width": 0.0625},
    "data": {"validation": 6},
    "attack": {"steps": 1},
    "validation": {"steps": 1},
}


def settings(dataset: Path, base: dict[str, Any], **more: Any) -> dict[str, Any]:
    merged = merge(merge(merge(SETTINGS, base), {"data": {"dataset": str(dataset)}}), more)
    name = merged.get("method", {}).get("name", "trades")
    return merged if METHODS[name].attacks else {**merged, "attack": {}}


def write_noise(file: Path, seed: int = 0) -> Path:
    """Images whose classes are of different brightness."""
    labels = np.arange(COUNT) % CLASSES
    images = np.random.default_rng(seed).integers(0, 128, (COUNT, 8, 8, 3)) + 60 * labels[:, None, None, None]
    np.savez(file, images=images.astype(np.uint8), labels=labels)
    return file


@contextlib.contextmanager
def interrupted(order: type[Order], at: int) -> Iterator[None]:
    """A signal comes during the step of that number of what takes its images in such an order."""
    original = order.rows

    def rows(self: Order, step: int) -> np.ndarray:
        if type(self) is order and step == at - 1:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, step)

    with mock.patch.object(order, "rows", rows), pytest.raises(Interrupted, match=f"by SIGINT after step {at},"):
        yield


def weights(model: Path) -> dict[str, np.ndarray]:
    return safetensors.numpy.load_file(model / "paired.safetensors")


def rows_of(run: Path) -> list[dict[str, Any]]:
    """What was measured, without what depends on the speed of the machine."""
    return [
        {name: value for name, value in row.items() if name != "images_per_second"}
        for row in read_metrics(run / "metrics.jsonl")
    ]


def assert_same_run(run: Path, whole: Path) -> None:
    """Bit for bit: the best weights, the last ones, and all measurements."""
    for model in ("model", "model_last"):
        mine, theirs = weights(run / model), weights(whole / model)
        assert mine.keys() == theirs.keys()
        assert [name for name in mine if not np.array_equal(mine[name], theirs[name])] == []
    assert rows_of(run) == rows_of(whole)
