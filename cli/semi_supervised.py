"""`acl-tf semi-supervised`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from acl_tf.cli.hardware import hardware_options, start_workers
from acl_tf.cli.plugins import plugin_option
from acl_tf.cli.settings import data_of_model, number_or_text, pinned, resolve, run_name, settings_of
from acl_tf.finetune import BASELINES
from acl_tf.models.branch import Branch
from acl_tf.registry import choices
from acl_tf.training.hardware import Hardware

if TYPE_CHECKING:
    from collections.abc import Sequence

    from acl_tf.finetune.semi_supervised_config import SemiSupervisedConfig
    from acl_tf.plugins import Plugin

# Each option that sets a key of the configuration, which also checks its value.
KEYS = {
    "model": "encoder.source",
    "branch": "encoder.branch",
    "width": "encoder.width",
    "baseline": "baseline",
    "labels": "data.labels",
    "dataset": "data.dataset",
    "data_dir": "data.data_dir",
    "epochs": "training.epochs",
    "teacher_epochs": "teacher.epochs",
    "precision": "training.precision",
    "jit": "training.jit",
    "seed": "training.seed",
}


@click.command("semi-supervised", short_help="Train a robust classifier with few labels and many images.")
@click.argument("model", metavar="MODEL")
@click.option("--labels", metavar="FRACTION|COUNT", help="0.01 is one label in a hundred.  [default: 0.1]")
@click.option("--baseline", metavar=BASELINES.choices(), help="Without pre-training, on MODEL random:ARCH.")
@click.option("--branch", metavar=choices(Branch), help="The student's BN.  [default: the encoder's own]")
@click.option("--config", "source", metavar="FILE|NAME", help="A YAML file, or a recipe that comes with acl-tf.")
@click.option("--dataset", metavar="NAME|DIR|FILE.npz", help="[default: the one that MODEL was trained on]")
@click.option("--data-dir", metavar="DIR", help="Where TFDS finds prepared data sets.")
@click.option("--width", type=float, help="Factor of every number of filters of random:ARCH.")
@click.option("--epochs", type=int, help="The student's passes over the unlabelled images.  [default: 15]")
@click.option("--teacher-epochs", type=int, help="The teacher's passes over the labelled images.  [default: 100]")
@click.option("--precision", metavar="NAME", help="float32, mixed_bfloat16, mixed_float16 or float64.")
@click.option("--jit", is_flag=True, default=None, help="Compile the step by XLA; one device.")
@click.option("--seed", type=int, help="Seed of the label subset, the order and all randomness.")
@click.option("--output", metavar="DIR", help="The run folder.  [default: runs/MODEL_semi-supervised_LABELS_seedSEED]")
@click.option("--resume", is_flag=True, help="Go on with the run in the run folder, or start it.")
@click.option("--set", "pairs", metavar="KEY=VALUE", multiple=True, help="Any key of the configuration.")
@hardware_options
@plugin_option
def semi_supervised(
    source: str | None,
    output: str | None,
    resume: bool,
    pairs: tuple[str, ...],
    hardware: Hardware,
    plugins: "Sequence[Plugin]",
    **flags: Any,
) -> None:
    """Train a robust classifier with few labels: ACL's three-step routine.

    MODEL, the first step, is the run folder or model folder of a pre-training on all images. The second trains a
    teacher on the labelled images, by standard training on the standard BN, and stores its soft pseudo-labels of all
    images; how many of them are right is recorded. The third trains the encoder again, on labels and pseudo-labels,
    under attack.

    The path of the model folder is printed when the run has ended.
    """
    config, folder = configuration(source, output, resume, pairs, flags)
    click.echo(f"acl-tf: run folder {folder}", err=True)

    workers = start_workers(hardware)

    from acl_tf.finetune.semi_supervised import semi_supervised as run

    model = run(config, folder, resume, workers, plugins)
    if workers.is_chief:
        click.echo(f"acl-tf: finished; measure it by acl-tf evaluate {folder}", err=True)
        click.echo(model)


def configuration(
    source: str | None, output: str | None, resume: bool, pairs: tuple[str, ...], flags: dict[str, Any]
) -> tuple["SemiSupervisedConfig", Path]:
    """Returns the configuration and the run folder that a command line means."""
    from acl_tf.finetune.semi_supervised_config import SemiSupervisedConfig

    flags = {**flags, "model": pinned(flags["model"])}
    above = settings_of(KEYS, {**flags, "labels": number_or_text(flags["labels"])}, pairs)
    started = Path(output) if output and resume else None
    config = resolve(SemiSupervisedConfig, above, source, started, model_data=data_of_model(flags["model"]))
    routine = config.baseline or "semi-supervised"
    name = f"{run_name(config.encoder.source)}_{routine}_{config.data.labels:g}_seed{config.training.seed}"
    return config, Path(output) if output else Path("runs", name)
