"""Speed of a certification: draws of the noise a second, and images a second at 100,000 draws.

    python benchmarks/certify.py --json certify.json

Without options: ResNet-18 at width 0.25, images of 32x32 pixels, 10 classes, float32, batches of 64, 256 and 1024.
`acl_tf` is what `acl-tf certify` does: noise, network and votes in a loop on the device. `eager` is the same as one
writes it first: noise and network step by step, the classes of every batch fetched and counted by NumPy. `network` is
the network alone on images that are there already: what the rest costs is the difference. They take turns.
"""

import argparse
import functools
import statistics
from typing import Any

import numpy as np
from devices import cores, tensorflow_device
from rows import Row, column, parser, report
from turns import Built, Case, take_turns

from acl_tf.startup import start_tensorflow

FRAMEWORKS = ("acl_tf", "eager", "network")
CLASSES, SIGMA, DRAWS = 10, 0.25, 100_100


def main() -> None:
    """Times all cases and prints the table."""
    arguments = parse()
    rows = [row for batch_size in arguments.batch_sizes for row in measured(batch_size, arguments)]
    columns = [
        column("batch", "batch_size"),
        column("framework", "framework"),
        column("draws/s", "draws_per_second", ".0f"),
        column("images/s", "images_per_second", ".5f"),
        column("× eager", "speed_up.eager", ".2f"),
        column("× network", "speed_up.network", ".2f"),
    ]
    title = f"Certification: resnet18, width {arguments.width:g}, {arguments.draws} draws, {rows[0]['device']}"
    report(title, columns, rows, arguments.json)


def parse() -> argparse.Namespace:
    """Reads the command line."""
    options = parser(__doc__)
    options.add_argument("--width", type=float, default=0.25)
    options.add_argument("--batch-sizes", type=int, nargs="+", default=[64, 256, 1024])
    options.add_argument("--draws", type=int, default=4096, help="of each timed step")
    options.add_argument("--rounds", type=int, default=3, help="timed steps of each case")
    return options.parse_args()


def measured(batch_size: int, arguments: argparse.Namespace) -> list[Row]:
    """Times all cases at one batch size."""
    build = functools.partial(build_step, batch_size, arguments.width, arguments.draws)
    cases: list[Case[str]] = take_turns(build, [(framework,) for framework in FRAMEWORKS], arguments.rounds)
    seconds = {case.spec: statistics.median(case.seconds) for case in cases}
    return [
        {
            "framework": case.spec,
            "precision": "float32",
            "arch": "resnet18",
            "width": arguments.width,
            "batch_size": batch_size,
            "draws_per_second": round(arguments.draws / seconds[case.spec], 1),
            "images_per_second": round(arguments.draws / seconds[case.spec] / DRAWS, 6),
            "speed_up": {name: round(other / seconds[case.spec], 3) for name, other in seconds.items()},
            "cores": cores(),
            "device": case.device,
        }
        for case in cases
    ]


def build_step(batch_size: int, width: float, draws: int, framework: str) -> Built:
    """Builds what counts the votes of so many draws on one image."""
    start_tensorflow()

    import keras
    import tensorflow as tf

    from acl_tf.certify.vote_counter import VoteCounter
    from acl_tf.classifiers.smoothed import ESTIMATION, SmoothedClassifier
    from acl_tf.models.batch_norm_folding import fold_batch_norm
    from acl_tf.models.encoder import Encoder
    from acl_tf.models.heads import linear_classifier
    from acl_tf.models.paired_model import extract_branch

    tf.config.experimental.enable_tensor_float_32_execution(False)
    keras.utils.set_random_seed(0)
    model = fold_batch_norm(linear_classifier(extract_branch(Encoder("resnet18", width=width), "standard"), CLASSES))
    classify = functools.partial(model, training=False)
    image = np.random.default_rng(0).random((32, 32, 3), np.float32)
    counter = VoteCounter(SmoothedClassifier(classify, SIGMA, 1), CLASSES, batch_size)
    network = tf.function(classify)
    batch = tf.random.normal((batch_size, *image.shape))

    def eager() -> Any:
        counts = np.zeros(CLASSES, int)
        for _ in range(-(-draws // batch_size)):
            noisy = image + SIGMA * tf.random.normal((batch_size, *image.shape))
            counts += np.bincount(tf.argmax(network(noisy), -1).numpy(), minlength=CLASSES)
        return counts.argmax()

    def alone() -> Any:
        for _ in range(-(-draws // batch_size)):
            logits = network(batch)
        return logits.numpy().argmax()

    steps = {"acl_tf": lambda: counter(image, 0, ESTIMATION, draws).argmax(), "eager": eager, "network": alone}
    return Built(steps[framework], tensorflow_device()[0])


if __name__ == "__main__":
    main()
