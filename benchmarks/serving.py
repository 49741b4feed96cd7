"""Latency and throughput of an exported SavedModel, beside `model.predict` and eager PyTorch, in one run.

    python benchmarks/serving.py --json serving.json

Without options: the encoder ResNet-18 at width 1, float32, batches of 1 and of 64. All have the same weights
(PyTorch's, imported) and take turns. `saved_model` is the signature `serving_default`, called in process, as a server
does once it has decoded a request; `saved_model_folded` was exported with `--fold-bn`.
"""

import argparse
import functools
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_step as peers
import torch
from devices import cores, pytorch_device, tensorflow_device
from rows import column, parser, report
from turns import Built, Case, take_turns

FRAMEWORKS = ("saved_model", "saved_model_folded", "predict", "pytorch")
IMAGE_SHAPE = (32, 32, 3)
# So many calls make a step: a single one on one image is too short to time.
CALLS = {1: 20, 64: 2}


def main() -> None:
    """Times all cases and prints the table."""
    arguments = parse()
    rows = [row for batch_size in arguments.batch_sizes for row in measured(batch_size, arguments)]
    columns = [
        column("batch", "batch_size"),
        column("framework", "framework"),
        column("ms", "latency_ms", ".1f"),
        column("images/s", "images_per_second", ".1f"),
        column("× predict", "speed_up.predict", ".2f"),
        column("× pytorch", "speed_up.pytorch", ".2f"),
        column("difference", "difference", ".1e"),
    ]
    report(f"resnet18, width {arguments.width:g}, float32, {rows[0]['device']}", columns, rows, arguments.json)


def parse() -> argparse.Namespace:
    """Reads the command line."""
    options = parser(__doc__)
    options.add_argument("--width", type=float, default=1.0)
    options.add_argument("--batch-sizes", type=int, nargs="+", default=list(CALLS))
    options.add_argument("--rounds", type=int, default=10, help="timed steps of each case")
    return options.parse_args()


def measured(batch_size: int, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Times all frameworks at one batch size."""
    build = functools.partial(build_step, batch_size, arguments.width)
    cases: list[Case[str]] = take_turns(build, [(framework,) for framework in FRAMEWORKS], arguments.rounds)
    calls = CALLS.get(batch_size, 1)
    seconds = {case.spec: statistics.median(case.seconds) / calls for case in cases}
    return [
        {
            "framework": case.spec,
            "precision": "float32",
            "arch": "resnet18",
            "width": arguments.width,
            "batch_size": batch_size,
            "latency_ms": round(1000 * seconds[case.spec], 3),
            "images_per_second": round(batch_size / seconds[case.spec], 2),
            "speed_up": {name: round(seconds[name] / seconds[case.spec], 3) for name in seconds},
            "difference": difference(case, cases[-1]),
            "cores": cores(),
            "device": case.device,
        }
        for case in cases
    ]


def difference(case: Case[str], reference: Case[str]) -> float:
    """Returns how far the features are from PyTorch's, relative to the largest of them."""
    expected = reference.results[-1]
    return float(np.abs(case.results[-1] - expected).max() / np.abs(expected).max())


def build_step(batch_size: int, width: float, framework: str) -> Built:
    """Builds what computes features of the same images."""
    images = np.random.default_rng(0).random((batch_size, *IMAGE_SHAPE), np.float32)
    network = peer(width)
    call, device = pytorch_call(network, images) if framework == "pytorch" else keras_call(framework, network, images)

    def step() -> np.ndarray:
        for _ in range(CALLS.get(batch_size, 1)):
            features = call()
        return features

    return Built(step, device)


def peer(width: float) -> peers.ContrastiveResNet:
    """Returns the authors' network in inference mode, with statistics of batch normalisation from random images."""
    torch.manual_seed(0)
    network = peers.ContrastiveResNet("resnet18", width)
    with torch.no_grad():
        network.features(torch.rand(64, IMAGE_SHAPE[2], *IMAGE_SHAPE[:2]), "adversarial")
    return network.eval()


def pytorch_call(network: peers.ContrastiveResNet, images: np.ndarray) -> tuple[Callable, str]:
    """Returns eager PyTorch without gradients, and its device."""
    device, _ = pytorch_device()
    place = "cuda" if device == "GPU" else "cpu"
    network, batch = network.to(place), torch.tensor(images.transpose(0, 3, 1, 2)).to(place)

    def call() -> np.ndarray:
        with torch.inference_mode():
            return network.features(batch, "adversarial").cpu().numpy()

    return call, device


def keras_call(framework: str, network: peers.ContrastiveResNet, images: np.ndarray) -> tuple[Callable, str]:
    """Returns `model.predict`, or the signature of a SavedModel that was exported and loaded again; and its device."""
    from acl_tf.startup import start_tensorflow

    start_tensorflow()

    import tensorflow as tf

    from acl_tf.export.pytorch import import_state
    from acl_tf.export.saved_model import export_saved_model
    from acl_tf.model_folder.read import load_saved_model
    from acl_tf.models.batch_norm_folding import fold_batch_norm
    from acl_tf.models.paired_model import extract_branch

    device, _ = tensorflow_device()
    state = {name: value.numpy() for name, value in network.state_dict().items() if "num_batches" not in name}
    model = extract_branch(import_state(state).encoder, "adversarial")
    if framework == "predict":
        return functools.partial(model.predict, images, batch_size=len(images), verbose=0), device
    with tempfile.TemporaryDirectory() as folder:
        exported = fold_batch_norm(model) if framework == "saved_model_folded" else model
        export_saved_model(exported, Path(folder), "encoder")
        loaded = load_saved_model(folder)
    served = loaded.signatures["serving_default"]  # lives as long as the object it is of: see `call`
    batch = tf.constant(images)

    def call(_: Any = loaded) -> np.ndarray:
        return served(images=batch)["features"].numpy()

    return call, device


if __name__ == "__main__":
    main()
