"""Latency and throughput of an exported SavedModel, beside `model.predict` and eager PyTorch, in one run.

    python benchmarks/serving.py --json serving.json

Without options: the encoder ResNet-18 at width 1, float32, batches of 1 and of 64. All have the same weights
(PyTorch's, imported) and take turns. `saved_model` is the signature `serving_default`, called in process, as a server
does once it has decoded a request; `saved_model_folded` was exported with `--fold-bn`.
"""

import argparse
import functools
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_step as peers
import torch
from rich.console import Console
from rich.table import Table
from turns import Case, Step, take_turns

FRAMEWORKS = ("saved_model", "saved_model_folded", "predict", "pytorch")
IMAGE_SHAPE = (32, 32, 3)
# So many calls make a step: a single one on one image is too short to time.
CALLS = {1: 20, 64: 2}


def main() -> None:
    """Times all cases and prints the table."""
    arguments = parse()
    rows = [row for batch_size in arguments.batch_sizes for row in measured(batch_size, arguments)]
    print_table(rows)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=list(CALLS))
    parser.add_argument("--rounds", type=int, default=10, help="timed steps of each case")
    parser.add_argument("--json", help="write the rows to this file")
    return parser.parse_args()


def measured(batch_size: int, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Times all frameworks at one batch size."""
    build = functools.partial(build_step, batch_size)
    cases = take_turns([(framework, "float32") for framework in FRAMEWORKS], build, arguments.rounds, arguments)
    calls = CALLS.get(batch_size, 1)
    seconds = {case.framework: statistics.median(case.seconds) / calls for case in cases}
    return [
        {
            "framework": case.framework,
            "precision": case.precision,
            "arch": "resnet18",
            "width": arguments.width,
            "batch_size": batch_size,
            "latency_ms": round(1000 * seconds[case.framework], 3),
            "images_per_second": round(batch_size / seconds[case.framework], 2),
            "speed_up": {name: round(seconds[name] / seconds[case.framework], 3) for name in seconds},
            "difference": difference(case, cases[-1]),
            "cores": os.cpu_count(),
            "device": case.device,
        }
        for case in cases
    ]


def difference(case: Case, reference: Case) -> float:
    """Returns how far the features are from PyTorch's, relative to the largest of them."""
    expected = reference.results[-1]
    return float(np.abs(case.results[-1] - expected).max() / np.abs(expected).max())


def build_step(batch_size: int, framework: str, precision: str, arguments: argparse.Namespace) -> tuple[Step, str]:
    """Returns what computes features of the same images, and its device."""
    images = np.random.default_rng(0).random((batch_size, *IMAGE_SHAPE), np.float32)
    network = peer(arguments.width)
    call, device = pytorch_call(network, images) if framework == "pytorch" else keras_call(framework, network, images)

    def step() -> np.ndarray:
        for _ in range(CALLS.get(batch_size, 1)):
            features = call()
        return features

    return step, device


def peer(width: float) -> peers.ContrastiveResNet:
    """Returns the authors' network in inference mode, with statistics of batch normalisation from random images."""
    torch.manual_seed(0)
    network = peers.ContrastiveResNet("resnet18", width)
    with torch.no_grad():
        network.features(torch.rand(64, IMAGE_SHAPE[2], *IMAGE_SHAPE[:2]), "adversarial")
    return network.eval()


def pytorch_call(network: peers.ContrastiveResNet, images: np.ndarray) -> tuple[Step, str]:
    """Returns eager PyTorch without gradients."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network, batch = network.to(device), torch.tensor(images.transpose(0, 3, 1, 2)).to(device)

    def call() -> np.ndarray:
        with torch.inference_mode():
            return network.features(batch, "adversarial").cpu().numpy()

    return call, "GPU" if device == "cuda" else "CPU"


def keras_call(framework: str, network: peers.ContrastiveResNet, images: np.ndarray) -> tuple[Step, str]:
    """Returns `model.predict`, or the signature of a SavedModel that was exported and loaded again."""
    from acl_tf.startup import start_tensorflow

    start_tensorflow()

    import tensorflow as tf

    from acl_tf.export.batch_norm_folding import fold_batch_norm
    from acl_tf.export.pytorch import import_state
    from acl_tf.export.saved_model import export_saved_model
    from acl_tf.model_folder import load_saved_model
    from acl_tf.models.paired_model import extract_branch

    device = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
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


def print_table(rows: list[dict[str, Any]]) -> None:
    """Prints one line a case."""
    table = Table(title=f"{rows[0]['arch']}, width {rows[0]['width']:g}, float32, {rows[0]['device']}")
    for column in ("batch", "framework", "ms", "images/s", "× predict", "× pytorch", "difference"):
        table.add_column(column, justify="left" if column == "framework" else "right")
    for row in rows:
        ratios = [f"{row['speed_up'][name]:.2f}" for name in ("predict", "pytorch")]
        figures = [f"{row['latency_ms']:.1f}", f"{row['images_per_second']:.1f}", *ratios, f"{row['difference']:.1e}"]
        table.add_row(str(row["batch_size"]), row["framework"], *figures)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
