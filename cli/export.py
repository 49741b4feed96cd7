"""`acl-tf export`."""

from pathlib import Path

import click

from acl_tf.client.address import LARGEST_VERSION
from acl_tf.startup import start_tensorflow


@click.command(short_help="Write a SavedModel for TF Serving.")
@click.argument("model", metavar="MODEL")
@click.argument("directory", metavar="DIR")
@click.option(
    "--version",
    metavar="N",
    type=click.IntRange(1, LARGEST_VERSION),
    help="[default: one more than the newest in DIR]",
)
@click.option("--fold-bn", is_flag=True, help="Fold batch normalisation into the convolutions: faster, same outputs.")
@click.option("--trainable", is_flag=True, help="Allow fine-tuning after loading, but not by clients of a server.")
@click.option("--serving-kit", is_flag=True, help="Also write configurations and client examples for TF Serving.")
@click.option("--batching", is_flag=True, help="Let the kit's server compute requests together: for GPUs.")
@click.option("--name", metavar="NAME", help="Name of the model in the serving kit.  [default: that of DIR]")
def export(
    model: str,
    directory: str,
    version: int | None,
    fold_bn: bool,
    trainable: bool,
    serving_kit: bool,
    batching: bool,
    name: str | None,
) -> None:
    """Write a SavedModel for TF Serving.

    MODEL is a run folder, a model folder, user/name[@revision] on the Hugging Face Hub, or a .keras file. DIR becomes
    the base path of a served model: DIR/VERSION/saved_model.pb.

    \b
    Signatures, each for any number of images:
      serving_default   images: float32 in [0, 1]
      uint8             images: uint8
      image_bytes       image_bytes: JPEG or PNG files, resized
    An encoder returns features, a classifier logits and probabilities.

    The path of the SavedModel is printed.
    """
    from acl_tf.errors import UsageError
    from acl_tf.export.serving_kit import check_classes, check_name, write_serving_kit

    base_path, name = Path(directory), name or Path(directory).resolve().name
    if batching and not serving_kit:
        raise UsageError("The serving kit configures batching. Received: --batching without --serving-kit")
    if serving_kit:
        check_name(name)
    if fold_bn and trainable:
        raise UsageError("A trainable SavedModel keeps its batch normalisation. Received: --fold-bn --trainable")

    start_tensorflow()

    from acl_tf.export.base_path import add_version
    from acl_tf.export.served import to_serve
    from acl_tf.loading import load

    served = to_serve(load(model))
    if serving_kit:
        check_classes(served.classes)
    saved_model = add_version(base_path, version, served.folded() if fold_bn else served, trainable)
    if serving_kit:
        write_serving_kit(base_path, name, served.kind, served.image_shape, served.classes, batching)
    click.echo(saved_model)
