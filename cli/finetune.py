"""`acl-tf finetune`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from acl_tf.cli.hardware import hardware_options, start_workers
from acl_tf.cli.plugins import plugin_option
from acl_tf.cli.settings import data_of_model, number_or_text, pinned, resolve, run_name, settings_of
from acl_tf.config import recipe_names
from acl_tf.finetune import METHODS, MODES
from acl_tf.models.branch import Branch
from acl_tf.registry import choices
from acl_tf.training.hardware import Hardware

if TYPE_CHECKING:
    from collections.abc import Sequence

    from acl_tf.finetune.config import FinetuneConfig
    from acl_tf.plugins import Plugin

# Each option that sets a key of the configuration, which also checks its value.
KEYS = {
    "model": "encoder.source",
    "branch": "encoder.branch",
    "width": "encoder.width",
    "method": "method.name",
    "mode": "method.mode",
    "sigma": "method.sigma",
    "labels": "data.labels",
    "dataset": "data.dataset",
    "data_dir": "data.data_dir",
    "epochs": "training.epochs",
    "batch_size": "training.batch_size",
    "precision": "training.precision",
    "jit": "training.jit",
    "seed": "training.seed",
}


@click.command(short_help="Train a classifier on an encoder: TRADES, adversarial or standard, full or linear.")
@click.argument("model", metavar="MODEL")
@click.option(
    "--protocol", metavar="NAME", help=f"A recipe that goes over --config: {', '.join(recipe_names('finetune'))}."
)
@click.option("--method", metavar=METHODS.choices(), help="How to train.  [default: trades]")
@click.option("--mode", metavar=choices(MODES), help="Whether the encoder learns too.  [default: full]")
@click.option("--sigma", type=float, help="Standard deviation of gaussian's noise, in pixels of [0, 1].")
@click.option("--branch", metavar=choices(Branch), help="The encoder's BN to go on with.  [default: the encoder's own]")
@click.option(
    "--labels", metavar="FRACTION|COUNT", help="0.1 is a tenth of the labels, 100 is a hundred.  [default: all]"
)
@click.option("--config", "source", metavar="FILE|NAME", help="A YAML file, or a recipe that comes with acl-tf.")
@click.option("--dataset", metavar="NAME|DIR|FILE.npz", help="A TFDS name, digits, a folder, or an .npz file.")
@click.option("--data-dir", metavar="DIR", help="Where TFDS finds prepared data sets.")
@click.option("--width", type=float, help="Factor of every number of filters of random:ARCH.")
@click.option("--epochs", type=int, help="Number of passes over the labelled images.")
@click.option("--batch-size", type=int, help="Global batch size, in images.")
@click.option("--precision", metavar="NAME", help="float32, mixed_bfloat16, mixed_float16 or float64.")
@click.option("--jit", is_flag=True, default=None, help="Compile the step by XLA; one device.")
@click.option("--seed", type=int, help="Seed of the label subset, the order and all randomness.")
@click.option("--output", metavar="DIR", help="The run folder.  [default: runs/MODEL_METHOD_MODE_seedSEED]")
@click.option("--resume", is_flag=True, help="Go on with the run in the run folder, or start it.")
@click.option("--set", "pairs", metavar="KEY=VALUE", multiple=True, help="Any key of the configuration.")
@hardware_options
@plugin_option
def finetune(
    protocol: str | None,
    source: str | None,
    output: str | None,
    resume: bool,
    pairs: tuple[str, ...],
    hardware: Hardware,
    plugins: "Sequence[Plugin]",
    **flags: Any,
) -> None:
    """Train a classifier on an encoder.

    MODEL is a run folder, a model folder, user/name[@revision] on the Hugging Face Hub, or random:ARCH for an encoder
    that was not pre-trained.

    \b
    Settings come from, the later winning over the earlier:
      the recipe's or file's --config (of a resumed run: its own), the --protocol,
      the options, and --set, for example --set attack.epsilon=4/255.

    A part of the training images is held out. The epoch that is the most robust on it is kept as RUN/model, the last
    one as RUN/model_last. The path of the model folder is printed when the run has ended.
    """
    config, folder = configuration(protocol, source, output, resume, pairs, flags)
    click.echo(f"acl-tf: run folder {folder}", err=True)

    workers = start_workers(hardware)

    from acl_tf.finetune.run import finetune as run

    model = run(config, folder, resume, workers, plugins)
    if workers.is_chief:
        click.echo(f"acl-tf: finished; measure it by acl-tf evaluate {folder}", err=True)
        click.echo(model)


def configuration(
    protocol: str | None,
    source: str | None,
    output: str | None,
    resume: bool,
    pairs: tuple[str, ...],
    flags: dict[str, Any],
) -> tuple["FinetuneConfig", Path]:
    """Returns the configuration and the run folder that a command line means."""
    from acl_tf.finetune.config import FinetuneConfig

    flags = {**flags, "model": pinned(flags["model"])}
    above = settings_of(KEYS, {**flags, "labels": number_or_text(flags["labels"])}, pairs)
    started = Path(output) if output and resume else None
    config = resolve(FinetuneConfig, above, source, started, protocol, data_of_model(flags["model"]))
    name = f"{run_name(config.encoder.source)}_{config.method.name}_{config.method.mode}_seed{config.training.seed}"
    return config, Path(output) if output else Path("runs", name)
