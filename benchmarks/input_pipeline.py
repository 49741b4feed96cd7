"""Speed of the SimCLR augmentation: views per second of synthetic uint8 images, two views of each.

python benchmarks/input_pipeline.py --json input_pipeline.json
"""

import argparse
import time

import numpy as np
from devices import cores, tensorflow_device
from rows import column, parser, report

from acl_tf.startup import start_tensorflow

start_tensorflow()

import tensorflow as tf

from acl_tf.data.augment import Augmentation


def main() -> None:
    """Measures and prints the table."""
    arguments = parse()
    views = measure(arguments.batch_size, arguments.image_size, arguments.seconds)
    device, name = tensorflow_device()
    row = {
        "framework": "acl_tf",
        "precision": "float32",
        "batch_size": arguments.batch_size,
        "image_size": arguments.image_size,
        "images_per_second": round(views / 2),
        "views_per_second": round(views),
        "cores": cores(),
        "device": device,
        "device_name": name,
    }
    columns = [
        column("batch", "batch_size"),
        column("image size", "image_size"),
        column("images/s", "images_per_second"),
        column("views/s", "views_per_second"),
    ]
    report(f"Augmentation, {row['cores']} cores, {device}", columns, [row], arguments.json)


def parse() -> argparse.Namespace:
    """Reads the command line."""
    options = parser(__doc__)
    options.add_argument("--batch-size", type=int, default=512, help="images a step (default: %(default)s)")
    options.add_argument("--image-size", type=int, default=32, help="pixels (default: %(default)s)")
    options.add_argument("--seconds", type=float, default=5.0, help="duration (default: %(default)s)")
    return options.parse_args()


def measure(batch_size: int, image_size: int, seconds: float) -> float:
    """Returns views per second, after the first call has traced the graph."""
    shape = (batch_size, image_size, image_size, 3)
    images = tf.constant(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    two_views = tf.function(Augmentation(image_size=image_size).two_views)

    def step(index: int) -> None:
        view_i, view_j = two_views(images, tf.constant([0, index]))
        float(view_i[0, 0, 0, 0] + view_j[0, 0, 0, 0])  # waits for the device

    step(0)
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        steps += 1
        step(steps)
    return 2 * batch_size * steps / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
