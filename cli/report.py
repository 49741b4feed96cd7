"""`acl-tf report`."""

from pathlib import Path

import click


@click.command(short_help="Write a page of tables and figures about runs.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--output", metavar="FILE", default="report.html", show_default=True, help="File of the page.")
@click.option("--images", type=click.IntRange(min=3), default=300, show_default=True, help="Test images to attack.")
@click.option("--no-images", is_flag=True, help="Leave out adversarial images and features: no models or data needed.")
@click.option("--data-dir", metavar="DIR", help="Folder of the data sets that TFDS has prepared.")
def report(runs: tuple[str, ...], output: str, images: int, no_images: bool, data_dir: str | None) -> None:
    """Write one HTML page about run folders and model folders, side by side.

    It shows accuracies with their protocols, training curves, robustness dynamics, corruptions, adversarial images
    and features in two dimensions. The page needs no other file and no network.

    The path of the page is printed.
    """
    from acl_tf.files import write_atomically

    page = Path(output)
    check_output(page)

    from acl_tf.report.page import build
    from acl_tf.report.run import read_runs
    from acl_tf.startup import start_tensorflow

    found = read_runs(runs)
    if not no_images and any(run.model for run in found):
        start_tensorflow()
    html = build(found, 0 if no_images else images, data_dir, say)
    write_atomically(page, html)
    click.echo(page)


def say(message: str) -> None:
    """Prints progress on stderr."""
    click.echo(f"acl-tf: {message}", err=True)


def check_output(page: Path) -> None:
    """Checks that the page can be written, before anything takes long."""
    from acl_tf.errors import UsageError

    if page.is_dir():
        raise UsageError(f"The page is a file, and this is a folder; name a file by --output. Received: {page}")
    if not page.parent.is_dir():
        raise UsageError(f"There is no folder {page.parent} to write the page into; make it first. Received: {page}")
