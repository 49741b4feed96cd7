"""Measures the SimCLR augmentation: views a second of synthetic uint8 images, two views of each.

python benchmarks/input_pipeline.py --json input_pipeline.json
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from acl_tf.data.augment import Augmentation


def measure(batch_size: int, image_size: int, seconds: float) -> float:
    """Returns views per second, after the first call has traced the graph."""
    shape = (batch_size, image_size, image_size, 3)
    images = tf.constant(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    two_views = tf.function(Augmentation().two_views)

    def step(index: int) -> None:
        view_i, view_j = two_views(images, tf.constant([0, index]))
        float(view_i[0, 0, 0, 0] + view_j[0, 0, 0, 0])  # Waits for the device.

    step(0)
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        steps += 1
        step(steps)
    return 2 * batch_size * steps / (time.perf_counter() - start)


def print_table(rows: list[dict]) -> None:
    widths = [max(len(str(value)) for value in [name, *(row[name] for row in rows)]) for name in rows[0]]
    for values in [rows[0].keys(), *(row.values() for row in rows)]:
        print("  ".join(str(value).rjust(width) for value, width in zip(values, widths)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows there")
    parser.add_argument("--batch-size", type=int, default=512, help="images a step (default: %(default)s)")
    parser.add_argument("--image-size", type=int, default=32, help="pixels (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="duration (default: %(default)s)")
    arguments = parser.parse_args()
    row = {
        "framework": "acl_tf",
        "precision": "float32",
        "batch_size": arguments.batch_size,
        "image_size": arguments.image_size,
        "views_per_second": round(measure(arguments.batch_size, arguments.image_size, arguments.seconds)),
        "cores": os.cpu_count(),
    }
    print_table([row])
    if arguments.json:
        arguments.json.write_text(json.dumps([row], indent=2) + "\n")


if __name__ == "__main__":
    main()
