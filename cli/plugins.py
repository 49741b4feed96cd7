"""The option that loads plug-ins, of every command that trains or evaluates."""

import functools
from collections.abc import Callable
from typing import Any

import click

from acl_tf.startup import import_tensorflow

SOURCES = "plugin_sources"
option = click.option(
    "--plugin",
    SOURCES,
    metavar="FILE.py|MODULE",
    multiple=True,
    help="Load objectives, methods, attacks, evaluators, backbones or orders of your own; it is code that runs.",
)


def plugin_option(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command this option; it is called, once TensorFlow is imported, with what was loaded as `plugins`."""

    @functools.wraps(command)
    def with_plugins(*args: Any, plugin_sources: tuple[str, ...], **kwargs: Any) -> None:
        import_tensorflow()

        from acl_tf.plugins import load_plugins

        command(*args, plugins=load_plugins((*given_to_group(), *plugin_sources)), **kwargs)

    return option(with_plugins)


def given_to_group() -> tuple[str, ...]:
    """Returns the plug-ins that stand before the command: `acl-tf --plugin FILE.py COMMAND`."""
    return click.get_current_context().find_root().params.get(SOURCES, ())
