"""The command line: one file a command, imported when it is called."""

import logging
import sys
from collections.abc import Sequence

import click

from acl_tf import onednn
from acl_tf.cli.plugins import option as plugin_option_of_group
from acl_tf.errors import AclTfError
from acl_tf.registry import Registry, nearest
from acl_tf.versions import __version__

COMMANDS = Registry(
    "command",
    {
        "pretrain": "acl_tf.cli.pretrain:pretrain",
        "finetune": "acl_tf.cli.finetune:finetune",
        "semi-supervised": "acl_tf.cli.semi_supervised:semi_supervised",
        "launch": "acl_tf.cli.launch:launch",
        "evaluate": "acl_tf.cli.evaluate:evaluate",
        "certify": "acl_tf.cli.certify:certify",
        "show": "acl_tf.cli.show:show",
        "report": "acl_tf.cli.report:report",
        "inspect": "acl_tf.cli.inspect:inspect",
        "export": "acl_tf.cli.export:export",
        "client": "acl_tf.cli.client:client",
        "push": "acl_tf.cli.push:push",
        "pull": "acl_tf.cli.pull:pull",
        "import-pytorch": "acl_tf.cli.import_pytorch:import_pytorch",
    },
)


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called or listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return COMMANDS[name] if name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            hint = nearest(args[0], COMMANDS) or "."
            raise click.UsageError(f"Unknown command{hint} Known: {', '.join(COMMANDS)}. Received: {args[0]!r}")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(f"{__version__}\n{onednn.describe()}", prog_name="acl-tf")
@plugin_option_of_group
def acl_tf(plugin_sources: tuple[str, ...]) -> None:
    """Adversarial contrastive pre-training of robust image encoders."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line.

    Args:
        arguments: Without the program's name; None: those of the process.

    Returns:
        The exit code: 0, 1 (failure), 2 (usage), or 128 and the number of the signal that ended it.
    """
    logging.basicConfig(format="acl-tf: %(message)s", stream=sys.stderr)
    logging.getLogger("acl_tf").setLevel(logging.INFO)
    logging.getLogger("huggingface_hub").propagate = False  # it has a handler of its own
    try:
        return acl_tf.main(arguments, prog_name="acl-tf", standalone_mode=False) or 0
    except click.ClickException as error:
        return _say(error.format_message(), error.exit_code)
    except AclTfError as error:
        return _say(str(error), error.exit_code)
    except OSError as error:
        return _say(f"{error.strerror}: {error.filename}" if error.filename else str(error), 1)
    except (KeyboardInterrupt, click.Abort):
        return _say("Interrupted.", 130)


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run())


def _say(message: str, exit_code: int) -> int:
    click.echo(f"acl-tf: error: {message}", err=True)
    return exit_code
