"""`acl-tf pretrain`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from acl_tf.cli.hardware import hardware_options, start_workers
from acl_tf.cli.plugins import plugin_option
from acl_tf.cli.settings import resolve, settings_of
from acl_tf.data import ORDERS
from acl_tf.models import BACKBONES
from acl_tf.pretrain import OBJECTIVES
from acl_tf.training import OPTIMIZERS
from acl_tf.training.hardware import Hardware

if TYPE_CHECKING:
    from collections.abc import Sequence

    from acl_tf.plugins import Plugin
    from acl_tf.pretrain.config import PretrainConfig

# Each option that sets a key of the configuration, which also checks its value.
KEYS = {
    "variant": "objective.variant",
    "dataset": "data.dataset",
    "data_dir": "data.data_dir",
    "skip_bad_images": "data.skip_bad_images",
    "arch": "model.arch",
    "width": "model.width",
    "epochs": "training.epochs",
    "batch_size": "training.batch_size",
    "optimizer": "optimizer.name",
    "order": "order.name",
    "precision": "training.precision",
    "micro_batches": "training.micro_batches",
    "jit": "training.jit",
    "seed": "training.seed",
}


@click.command(short_help="Learn an encoder from unlabelled images.")
@click.option("--variant", metavar=OBJECTIVES.choices(), help="The method of pre-training.  [default: ds]")
@click.option("--config", "source", metavar="FILE|NAME", help="A YAML file, or a recipe that comes with acl-tf.")
@click.option("--dataset", metavar="NAME|DIR|FILE.npz", help="A TFDS name, digits, a folder, or an .npz file.")
@click.option("--data-dir", metavar="DIR", help="Where TFDS finds prepared data sets.")
@click.option("--skip-bad-images", is_flag=True, default=None, help="Leave out unreadable images of a folder.")
@click.option("--arch", metavar="NAME", help=f"{', '.join(BACKBONES)}.  [default: resnet18]")
@click.option("--width", type=float, help="Factor of every number of filters.")
@click.option("--epochs", type=int, help="Number of passes over the images.")
@click.option("--batch-size", type=int, help="Global batch size, in images.")
@click.option("--optimizer", metavar=OPTIMIZERS.choices(), help="With linear warm-up and cosine.  [default: lars]")
@click.option("--order", metavar=ORDERS.choices(), help="Which images make a batch.  [default: shuffled]")
@click.option("--precision", metavar="NAME", help="float32, mixed_bfloat16, mixed_float16 or float64.")
@click.option("--micro-batches", type=int, help="Number of parts in which a batch passes the network, to save memory.")
@click.option("--jit", is_flag=True, default=None, help="Compile the step by XLA; one device.")
@click.option("--seed", type=int, help="Seed of initialisation, order and all randomness.")
@click.option("--output", metavar="DIR", help="The run folder.  [default: runs/DATASET_VARIANT_ARCH_seedSEED]")
@click.option("--resume", is_flag=True, help="Go on with the run in the run folder, or start it.")
@click.option("--set", "pairs", metavar="KEY=VALUE", multiple=True, help="Any key of the configuration.")
@hardware_options
@plugin_option
def pretrain(
    source: str | None,
    output: str | None,
    resume: bool,
    pairs: tuple[str, ...],
    hardware: Hardware,
    plugins: "Sequence[Plugin]",
    **flags: Any,
) -> None:
    """Learn an encoder from unlabelled images by adversarial contrastive pre-training.

    \b
    Settings come from, the later winning over the earlier:
      the recipe's or file's --config (of a resumed run: its own),
      the options, and --set, for example --set attack.epsilon=4/255.

    The path of the model folder is printed when the run has ended.
    """
    config, folder = configuration(source, output, resume, pairs, flags)
    click.echo(f"acl-tf: run folder {folder}", err=True)

    workers = start_workers(hardware)

    from acl_tf.pretrain.run import pretrain as run

    model = run(config, folder, resume, workers, plugins)
    if workers.is_chief:
        click.echo(f"acl-tf: finished; load the encoder by acl_tf.load({str(model)!r})", err=True)
        click.echo(model)


def configuration(
    source: str | None, output: str | None, resume: bool, pairs: tuple[str, ...], flags: dict[str, Any]
) -> tuple["PretrainConfig", Path]:
    """Returns the configuration and the run folder that a command line means."""
    from acl_tf.pretrain.config import PretrainConfig

    started = Path(output) if output and resume else None
    config = resolve(PretrainConfig, settings_of(KEYS, flags, pairs), source, started)
    name = f"{Path(config.data.dataset).stem}_{config.objective.variant}_{config.model.arch}_seed{config.training.seed}"
    return config, Path(output) if output else Path("runs", name)
