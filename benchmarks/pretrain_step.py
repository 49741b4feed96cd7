"""Speed of the DS pre-training step, beside two eager PyTorch steps, in one run.

    python benchmarks/pretrain_step.py --json step.json

Without options: ResNet-18, batch 64, 5 attack steps; acl_tf in float32 and mixed_bfloat16, `pytorch` (as ACL's authors
write it: `loss.backward()` in the attack, so weight gradients too) and `pytorch_lean` (gradient to the images only),
both in float32. Each lives in a process of its own and they take turns, so that all see the same machine and none
another's threads; the median round counts. acl_tf's step includes the augmentation of the images, PyTorch's begins with
augmented views. Without PyTorch its rows are left out.
"""

import argparse
import importlib.util
import json
import os
import statistics
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from turns import Case, Step, take_turns

IMAGE_SHAPE = (32, 32, 3)


def main() -> None:
    """Times all cases and prints the table."""
    arguments = parse()
    wanted = [("acl_tf", precision) for precision in arguments.precision]
    if importlib.util.find_spec("torch") and not arguments.no_pytorch:
        wanted += [("pytorch", "float32"), ("pytorch_lean", "float32")]
    cases = take_turns(wanted, build_step, arguments.rounds, arguments)
    rows = [row(case, cases, arguments) for case in cases]
    print_table(rows)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5, help="of the attack")
    parser.add_argument("--precision", nargs="+", default=["float32", "mixed_bfloat16"])
    parser.add_argument("--rounds", type=int, default=3, help="timed steps of each case")
    parser.add_argument("--no-pytorch", action="store_true")
    parser.add_argument("--json", help="write the rows to this file")
    return parser.parse_args()


def build_step(framework: str, precision: str, arguments: argparse.Namespace) -> tuple[Step, str]:
    """Returns the step of a framework, and its device."""
    return acl_tf_step(precision, arguments) if framework == "acl_tf" else pytorch_step(framework, arguments)


def acl_tf_step(precision: str, arguments: argparse.Namespace) -> tuple[Step, str]:
    """Returns the step that `acl-tf pretrain` takes, and its device."""
    from acl_tf.startup import start_tensorflow

    start_tensorflow()

    import keras
    import numpy as np
    import tensorflow as tf

    from acl_tf.config import PretrainConfig, build
    from acl_tf.pretrain.run import build_objective, build_optimizer

    config = build(
        PretrainConfig,
        {
            "model": {"arch": arguments.arch, "width": arguments.width},
            "attack": {"steps": arguments.steps},
            "training": {"precision": precision, "batch_size": arguments.batch_size},
        },
    )
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(0)
    objective = build_objective(config, IMAGE_SHAPE)
    objective.compile(optimizer=build_optimizer(config.optimizer, config.training.epochs, per_epoch=100))
    objective.optimizer.build(objective.trainable_variables)
    images = np.random.default_rng(0).integers(0, 256, (arguments.batch_size, *IMAGE_SHAPE), np.uint8)
    batch = tf.constant(images)
    train_step = tf.function(objective.train_step)
    device = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    return lambda: float(train_step(batch)["loss"]), device


def pytorch_step(framework: str, arguments: argparse.Namespace) -> tuple[Step, str]:
    """Returns the PyTorch step of that name, and its device."""
    import pytorch_step as peers
    import torch

    views = torch.rand(2, arguments.batch_size, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    view_i, view_j = views.to(device)
    torch.manual_seed(0)
    kind = peers.AuthorsStep if framework == "pytorch" else peers.LeanStep
    peer = kind(arch=arguments.arch, width=arguments.width, steps=arguments.steps, device=device)
    return lambda: peer.step(view_i, view_j), "GPU" if device == "cuda" else "CPU"


def row(case: Case, cases: list[Case], arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns what was measured of a case, and its ratio to the PyTorch steps of the same run."""
    rate = arguments.batch_size / statistics.median(case.seconds)
    medians = {other.framework: statistics.median(other.seconds) for other in cases if other.framework != "acl_tf"}
    return {
        "framework": case.framework,
        "precision": case.precision,
        "arch": arguments.arch,
        "width": arguments.width,
        "batch_size": arguments.batch_size,
        "attack_steps": arguments.steps,
        "images_per_second": round(rate, 3),
        "seconds_per_step": [round(seconds, 4) for seconds in case.seconds],
        "speed_up": {name: round(rate * median / arguments.batch_size, 3) for name, median in medians.items()},
        "cores": os.cpu_count(),
        "device": case.device,
    }


def print_table(rows: list[dict[str, Any]]) -> None:
    """Prints one line a case."""
    first = rows[0]
    table = Table(
        title=f"DS step: {first['arch']}, width {first['width']:g}, batch {first['batch_size']}, "
        f"{first['attack_steps']} attack steps, {first['device']}"
    )
    for column in ("framework", "precision", "images/s", "× pytorch", "× pytorch_lean"):
        table.add_column(column, justify="left" if column in ("framework", "precision") else "right")
    for entry in rows:
        ratios = [entry["speed_up"].get(name) for name in ("pytorch", "pytorch_lean")]
        table.add_row(
            entry["framework"],
            entry["precision"],
            f"{entry['images_per_second']:.2f}",
            *("–" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
        )
    Console().print(table)


if __name__ == "__main__":
    main()
