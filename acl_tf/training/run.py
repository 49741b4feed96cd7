"""A run: its configuration, its folder and its workers, from the start of a command to its end."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acl_tf.config import CommandConfig
from acl_tf.plugins import Plugin, used_plugins
from acl_tf.training.interruption import Interruption
from acl_tf.training.run_folder import RunFolder
from acl_tf.training.workers import Workers


@dataclass(frozen=True)
class Run:
    """What a command trains in.

    Attributes:
        config: Configuration of the command.
        folder: The run folder, which the chief writes.
        resume: Whether a run that is in the folder goes on.
        workers: Processes that share the training.
        interruption: Whether the user wants an end.
        plugins: Plug-ins that the run depends on.
    """

    config: Any
    folder: RunFolder
    resume: bool
    workers: Workers
    interruption: Interruption
    plugins: Sequence[Plugin] = ()
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @contextlib.contextmanager
    def preparing(self) -> Iterator[dict[str, Any]]:
        """Opens the run folder, prepares in every worker, and goes on only if all are to do the same.

        Yields:
            What else must be equal, to be filled in the block, as `Workers.agreement` says.

        Raises:
            AclTfError: If the folder is taken, or what the block raises, in any worker.
        """
        plugins = [plugin.described() for plugin in self.plugins]
        with self.workers.agreement(self.config) as same:
            same["plugins"] = plugins
            if self.workers.is_chief:
                session = self.folder.session(self.config, self.resume, plugins, **self.workers.described())
                self._stack.enter_context(session)
            yield same

    @contextlib.contextmanager
    def part(self, name: str, config: CommandConfig, resume: bool) -> Iterator["Run"]:
        """Opens a run that is a part of this one, in a folder of its own; what the user asks for ends both.

        Args:
            name: Name of the folder, in this run's.
            config: Configuration of the part.
            resume: Whether a run that is there goes on; where there is none, it starts.

        Yields:
            The part, of which `preparing` must be called first.
        """
        with contextlib.ExitStack() as stack:
            folder = RunFolder(self.folder.path / name)
            yield Run(config, folder, resume, self.workers, self.interruption, self.plugins, stack)
            self.workers.wait()


@contextlib.contextmanager
def open_run(
    config: CommandConfig,
    output: Path,
    resume: bool = False,
    workers: Workers | None = None,
    plugins: Sequence[Plugin] = (),
) -> Iterator[Run]:
    """Opens a run; signals are noted, and its folder says how it ended, whatever happens in the block.

    Args:
        config: Configuration of the command.
        output: The run folder.
        resume: Whether a run that is there goes on; where there is none, it starts.
        workers: Processes that share the training; None: this process, on one device.
        plugins: Plug-ins that were loaded.

    Yields:
        The run, of which `preparing` must be called first.
    """
    workers = workers or Workers()
    with contextlib.ExitStack() as stack:
        interruption = stack.enter_context(Interruption())
        used = used_plugins(plugins, config.chosen(config.model_dump()))
        yield Run(config, RunFolder(output), resume, workers, interruption, used, stack)
        workers.wait()
