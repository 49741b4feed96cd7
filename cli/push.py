"""`acl-tf push`."""

import logging

import click

from acl_tf.startup import start_tensorflow


@click.command(short_help="Publish a model on the Hugging Face Hub.")
@click.argument("model", metavar="MODEL")
@click.argument("repository", metavar="user/name")
@click.option("--private", is_flag=True, help="Make a new repository that only you can see.")
@click.option("--tag", metavar="NAME", help="Tag for the commit, such as v1.")
@click.option("--message", metavar="TEXT", help="Message of the commit.")
def push(model: str, repository: str, private: bool, tag: str | None, message: str | None) -> None:
    """Publish a model on the Hugging Face Hub, in one commit.

    MODEL is a run folder or a model folder. Log in by hf auth login, or set HF_TOKEN. Unchanged content is not uploaded
    again. The card, README.md, is made from configuration and records; your text above and below it is kept.

    The URL of the commit is printed.
    """
    from acl_tf.errors import UsageError
    from acl_tf.hub.locate import find_model_folder
    from acl_tf.hub.names import hub_name, repository_id, tag_name

    repo_id, tag = repository_id(repository), tag_name(tag) if tag else None
    if hub_name(model):
        raise UsageError(f"No such folder; what is on the Hub already, acl-tf pull brings here. Received: {model!r}")
    folder = find_model_folder(model)

    start_tensorflow()

    from acl_tf.hub.push import push as run

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # the message below says the same
    published = run(folder, repo_id, private, tag, message)
    if not published.uploaded:
        click.echo(f"acl-tf: {repo_id} has all of it already; nothing was uploaded", err=True)
    click.echo(published.url)
