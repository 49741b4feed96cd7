"""`acl-tf evaluate`."""

from typing import TYPE_CHECKING, Any

import click

from acl_tf.cli.hardware import hardware_options
from acl_tf.cli.measurement import Run, data_options, measure_and_print
from acl_tf.cli.plugins import plugin_option
from acl_tf.cli.settings import data_of_model, pinned, resolve, settings_of
from acl_tf.evaluate import attack_names
from acl_tf.training.hardware import Hardware

if TYPE_CHECKING:
    from collections.abc import Sequence

    from acl_tf.plugins import Plugin

KEYS = {
    "model": "model",
    "surrogate": "surrogate",
    "attacks": "attacks",
    "corruptions": "corruptions",
    "sigma": "sigma",
    "samples": "samples",
    "dataset": "data.dataset",
    "data_dir": "data.data_dir",
    "split": "data.split",
    "limit": "data.limit",
    "batch_size": "batch_size",
    "seed": "seed",
}


@click.command(short_help="Measure a classifier: accuracy, robust accuracy, corruptions.")
@click.argument("model", metavar="MODEL")
@click.option(
    "--attack",
    "attacks",
    metavar="NAME[:KEY=VALUE,…]",
    multiple=True,
    help=f"One of {', '.join(attack_names())}; settings follow a colon: pgd:norm=l2,epsilon=0.5,steps=50, "
    "autoattack:version=plus. Several at once.  [default: none and pgd20]",
)
@click.option(
    "--corruptions",
    metavar="[DIR]",
    is_flag=False,
    flag_value="tfds",
    help="CIFAR-10-C through TFDS, or the published .npy files of CIFAR-10-C or CIFAR-100-C in DIR.",
)
@click.option("--surrogate", metavar="MODEL", help="Craft the attacks on this one instead (black-box transfer).")
@click.option("--sigma", type=float, help="Smooth MODEL by Gaussian noise of this standard deviation, in [0, 1].")
@click.option("--samples", type=int, help="Draws of that noise that vote on an image.  [default: 100]")
@data_options
@click.option("--limit", type=int, help="Number of images, from the first.")
@click.option("--batch-size", type=int, help="It does not change the results.  [default: 256]")
@click.option("--seed", type=int, help="Seed of all attacks.  [default: 0]")
@click.option("--output", metavar="DIR", help="Keeps records and unfinished work.  [default: RUN/evaluation]")
@click.option("--resume", is_flag=True, help="Go on with an evaluation that was interrupted.")
@click.option("--json", "json_file", metavar="FILE", help="Write the list of records to this file.")
@hardware_options
@plugin_option
def evaluate(
    model: str,
    output: str | None,
    resume: bool,
    json_file: str | None,
    hardware: Hardware,
    plugins: "Sequence[Plugin]",  # what they bring is registered by now
    **flags: Any,
) -> None:
    """Measure a classifier.

    MODEL is a run folder, a model folder, user/name[@revision] on the Hugging Face Hub, or a .keras file or the folder
    of a SavedModel that maps images in [0, 1] to logits. Its records are printed, and added to the model folder, unless
    that is in the Hub's cache; acl-tf show prints them again, acl-tf report makes a page of them.

    TA is --attack none, RA is --attack pgd20: 20 steps of 2/255 on cross-entropy in the l∞ ball of 8/255, from one
    uniform random start. With several attacks, accuracy under the worst of them for each image is recorded too.

    With --sigma it is the vote of noisy images that is measured, and attacks average the gradients of 20 draws of the
    noise at every step (EOT); eot=1 of an attack shows what they miss without. acl-tf certify proves a radius.
    """
    from acl_tf.evaluate.config import EvaluateConfig

    model, surrogate = pinned(model), flags["surrogate"]
    flags = {**flags, "attacks": flags["attacks"] or None, "surrogate": surrogate and pinned(surrogate)}
    config = resolve(EvaluateConfig, settings_of(KEYS, {"model": model, **flags}, ()), model_data=data_of_model(model))
    config.evaluators()  # said before anything takes long

    def load() -> Run:
        from acl_tf.evaluate.run import evaluate as run

        return run

    measure_and_print(load, config, model, output, resume, json_file, hardware)
