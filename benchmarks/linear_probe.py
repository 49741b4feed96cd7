"""Linear probes of encoders: a table of clean accuracy (TA) and accuracy under PGD-20 (RA).

    python benchmarks/linear_probe.py runs/digits_ds_resnet18_seed0 random:resnet18 --epsilon 0.1

An encoder is a run folder, a model folder, or `random:ARCH` for one that has not been trained; a random one takes
width and image shape from the first folder. The standard probe (SLF) trains the linear layer on clean images, the
adversarial probe (ALF) on PGD-10 images. The encoder does not move. Test images are used once, at the end.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from acl_tf.startup import start_tensorflow

start_tensorflow()

import keras
from rich.console import Console
from rich.table import Table

import acl_tf
from acl_tf.attacks.pgd import LinfPGD
from acl_tf.config import DataConfig
from acl_tf.data import sources
from acl_tf.data.image_set import ImageSet
from acl_tf.errors import AclTfError
from acl_tf.evaluate import clean, robust
from acl_tf.files import sha256
from acl_tf.finetune.linear_probe import LinearProbe
from acl_tf.model_folder import MODEL, find_model_folder, read_config
from acl_tf.models.branch import Branch
from acl_tf.models.encoder import Encoder
from acl_tf.models.paired_model import extract_branch
from acl_tf.training.sgd import SGD


def main() -> None:
    """Probes every encoder and prints the table."""
    arguments = parse()
    try:
        train, test = load_images(arguments)
        records = [record for name in arguments.encoders for record in probe(name, train, test, arguments)]
    except AclTfError as error:
        raise SystemExit(f"linear_probe.py: error: {error}") from None
    print_table(records)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(records, indent=2) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoders", nargs="+", help="run folders, model folders, random:ARCH")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-dir")
    parser.add_argument("--protocol", choices=("slf", "alf"), default="slf")
    parser.add_argument("--epsilon", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--validation", action="store_true", help="evaluate on a tenth of the training images instead")
    parser.add_argument("--json", help="write the records to this file")
    return parser.parse_args()


def load_images(arguments: argparse.Namespace) -> tuple[ImageSet, ImageSet]:
    """Returns what to train and what to evaluate on; for choosing settings, both come from the training images."""
    train = sources.load(DataConfig(dataset=arguments.dataset, data_dir=arguments.data_dir, split="train"))
    if not arguments.validation:
        return train, sources.load(DataConfig(dataset=arguments.dataset, data_dir=arguments.data_dir, split="test"))
    held_out = [row for row in range(len(train)) if row % 10 == 0]
    rest = [row for row in range(len(train)) if row % 10 != 0]
    parts = [replace(train, images=train.images[rows], labels=train.labels[rows]) for rows in (rest, held_out)]
    return parts[0], replace(parts[1], split="train, every tenth image")


def probe(name: str, train: ImageSet, test: ImageSet, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yields the records of one encoder."""
    keras.utils.set_random_seed(arguments.seed)
    encoder, digest = load_encoder(name, arguments.encoders)
    attack = LinfPGD(arguments.epsilon, arguments.epsilon / 4, 10) if arguments.protocol == "alf" else None
    probe_model = LinearProbe(encoder, len(train.classes), attack, seed=arguments.seed)
    per_epoch = -(-len(train) // 128)
    rates = keras.optimizers.schedules.PiecewiseConstantDecay(
        [round(share * arguments.epochs) * per_epoch for share in (0.4, 0.8)],
        [arguments.learning_rate / factor for factor in (1, 10, 100)],
    )
    probe_model.compile(optimizer=SGD(rates, momentum=0.9, weight_decay=2e-4))
    probe_model.fit(train.images, train.labels, batch_size=128, epochs=arguments.epochs, verbose=0)
    classifier = probe_model.classifier()
    protocol = {
        "encoder": name,
        "probe": {
            "protocol": arguments.protocol,
            "epochs": arguments.epochs,
            "learning_rate": arguments.learning_rate,
            "batch_size": 128,
            "weight_decay": 2e-4,
            "seed": arguments.seed,
        },
    }
    yield from clean.run(classifier, test, protocol, digest)
    yield from robust.run(
        classifier, test, arguments.epsilon, seed=arguments.seed, protocol=protocol, model_sha256=digest
    )


def load_encoder(name: str, names: list[str]) -> tuple[keras.Model, str | None]:
    """Returns the plain encoder, and the SHA-256 of its file where it has one."""
    if not name.startswith("random:"):
        return acl_tf.load(name), sha256(find_model_folder(name) / MODEL)
    folders = [folder for folder in names if not folder.startswith("random:")]
    like = read_config(find_model_folder(folders[0])) if folders else {"width": 1.0, "input_shape": (32, 32, 3)}
    encoder = Encoder(name.removeprefix("random:"), width=like["width"], image_shape=like["input_shape"])
    return extract_branch(encoder, Branch.ADVERSARIAL), None


def print_table(records: list[dict[str, Any]]) -> None:
    """Prints one row an encoder."""
    first = records[0]
    attacked = next(record["protocol"] for record in records if record["metric"] == "robust_accuracy")
    table = Table(
        title=f"{attacked['probe']['protocol'].upper()} on {first['dataset']}, {first['split']}, n = {first['n']}; "
        f"RA: PGD-20, l∞ {attacked['epsilon']:g}, step {attacked['step_size']:g}"
    )
    for column in ("encoder", "TA %", "RA %"):
        table.add_column(column, justify="left" if column == "encoder" else "right", overflow="fold")
    for ta, ra in zip(records[::2], records[1::2], strict=True):
        table.add_row(ta["protocol"]["encoder"], f"{100 * ta['value']:.2f}", f"{100 * ra['value']:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
