"""`acl-tf pull`."""

from pathlib import Path

import click

from acl_tf.startup import start_tensorflow


@click.command(short_help="Download a model from the Hugging Face Hub.")
@click.argument("model", metavar="user/name[@revision]")
@click.argument("directory", metavar="[DIR]", required=False)
@click.option("--trust", is_flag=True, help="Accept a SavedModel that does more than compute; origin.json records it.")
def pull(model: str, directory: str | None, trust: bool) -> None:
    """Download a model from the Hugging Face Hub, and compare every file with its manifest.

    The revision is a branch, a tag or a commit, by default the newest. With DIR, the files are copied there, with
    origin.json, which names the commit; without DIR, they stay in the cache. HF_HUB_OFFLINE=1 takes them from the
    cache.

    The path of the model folder is printed.
    """
    from acl_tf.errors import UsageError
    from acl_tf.hub.names import given_name

    name = given_name(model)
    if trust and directory is None:
        raise UsageError("--trust is recorded in a folder of yours; name one. Received: --trust without DIR")

    start_tensorflow()

    from acl_tf.hub import pull as hub

    if directory is not None:
        snapshot, folder = hub.pull(name, Path(directory), trust), Path(directory)
    else:
        snapshot = hub.fetch(name)
        hub.check(snapshot.folder)
        folder = snapshot.folder
    click.echo(f"acl-tf: {snapshot.name}", err=True)
    click.echo(folder)
