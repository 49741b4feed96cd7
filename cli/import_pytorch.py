"""`acl-tf import-pytorch`."""

from pathlib import Path

import click

from acl_tf.startup import start_tensorflow


@click.command("import-pytorch", short_help="Turn a checkpoint of the authors' PyTorch code into a model folder.")
@click.argument("checkpoint", metavar="CHECKPOINT.pt")
@click.argument("out", metavar="OUT")
@click.option("--image-size", type=click.IntRange(min=8), default=32, show_default=True, help="Size of input images.")
def import_pytorch(checkpoint: str, out: str, image_size: int) -> None:
    """Turn a checkpoint of the authors' PyTorch code into a model folder.

    Takes pre-trained (paired BN) and fine-tuned (single BN) checkpoints, with or without projection head. Every
    weight must find its place, or nothing is written. Needs PyTorch: pip install 'acl-tf[pytorch]'.

    The path of the model folder is printed.
    """
    from acl_tf.errors import UsageError

    if Path(out).exists():
        raise UsageError(f"The output folder exists already; choose another. Received: {out!r}")

    start_tensorflow()

    from acl_tf.export.pytorch import import_state, read_checkpoint
    from acl_tf.files import sha256
    from acl_tf.model_folder.write import TrainedModel, write_model_folder
    from acl_tf.models.branch import Branch

    imported = import_state(read_checkpoint(checkpoint), image_size)
    classes = imported.classifier.units if imported.classifier is not None else 0
    trained = TrainedModel(
        encoder=imported.encoder,
        branch=Branch.ADVERSARIAL,
        recipe={"imported_from": Path(checkpoint).name, "sha256": sha256(Path(checkpoint))},
        projection_head=imported.projection_head,
        classifier=imported.classifier,
        classes=tuple(str(label) for label in range(classes)),
    )
    write_model_folder(Path(out), trained)
    width = f"{imported.encoder.arch}, width {imported.encoder.width:g}, {imported.encoder.batch_norm} BN"
    click.echo(f"acl-tf: imported {width}; load it by acl_tf.load({out!r})", err=True)
    click.echo(out)
