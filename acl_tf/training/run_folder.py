"""The run folder: configuration, records of how it ran, checkpoints, model."""

import contextlib
import datetime
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from acl_tf import onednn
from acl_tf.config import (
    AnyCommandConfig,
    CommandConfig,
    Settings,
    build,
    differences,
    read_settings,
    to_yaml,
    without_unused,
)
from acl_tf.errors import UsageError
from acl_tf.files import HELD, held, open_lock, tidy, write_atomically
from acl_tf.nested import flat
from acl_tf.versions import versions

LOCK = ".lock"  # in the run folder
# What may differ when a run goes on: where things are and how often they are written, never what is computed.
FREE_ON_RESUME = {
    "data.data_dir",
    "training.checkpoint_steps",
    "training.keep_checkpoints",
    "training.log_steps",
    "training.steps_per_call",
}


class RunFolder:
    """The folder in which a run keeps everything.

    Args:
        path: Path of the folder.

    Attributes:
        config: `config.yaml`: the resolved configuration; it repeats the run.
        metrics: `metrics.jsonl`.
        checkpoints: Folder of the checkpoints.
        model: The model folder, once the run has ended.
        model_last: Model folder of the last epoch, where `model` is that of the best one.
        records: `records.jsonl`: measurements of the run's own model.
        about: `run.json`: versions, oneDNN, host, git revision, command line, start, end, status.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.metrics = path / "metrics.jsonl"
        self.checkpoints = path / "checkpoints"
        self.model = path / "model"
        self.model_last = path / "model_last"
        self.records = path / "records.jsonl"
        self.about = path / "run.json"

    @contextlib.contextmanager
    def session(
        self, config: AnyCommandConfig, resume: bool, plugins: Sequence[Mapping[str, str]] = (), **about: Any
    ) -> Iterator[None]:
        """Opens the folder for a run, alone, and notes how the run ended.

        Args:
            config: Configuration of the run.
            resume: Whether a run that is there goes on.
            plugins: Name and SHA-256 of the plug-ins that the run depends on; a resumed run demands the same.
            **about: Further entries of `run.json`.

        Raises:
            UsageError: If the folder holds another run, or something else, or if a process is at work in it.
        """
        self._check(config, resume)
        self._check_plugins(plugins)
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            lock = self.path / LOCK
            try:
                stack.enter_context(held(stack.enter_context(open_lock(lock)), lock, wait=False))
            except BlockingIOError as error:
                raise UsageError(f"Another process is at work in this run folder. Received: {self.path}") from error
            self._clean()
            self._note(status="running", ended=None, **self._start(), **about, plugins=list(plugins))
            write_atomically(self.config, to_yaml(config))
            try:
                yield
            except BaseException as error:
                interrupted = isinstance(error, KeyboardInterrupt) or getattr(error, "exit_code", 1) > 128
                with contextlib.suppress(OSError):  # a full disk must not hide what went wrong
                    self._note(status="interrupted" if interrupted else "failed", ended=_now())
                raise
            self._note(status="finished", ended=_now())

    def _check(self, config: AnyCommandConfig, resume: bool) -> None:
        if self.path.is_file():
            raise UsageError(f"The output folder is a file; choose another --output. Received: {self.path}")
        if not self.path.exists():
            return
        strange = [file for file in self.path.iterdir() if not self.about.exists() and not self._is_own(file)]
        if strange:
            raise UsageError(
                f"The output folder is not empty and holds no run; choose another --output. Received: {self.path}"
            )
        if not self._has_state():  # a run that failed before its first checkpoint is no loss
            return
        if not resume:
            raise UsageError(
                f"The output folder holds another run; go on with it by --resume, or choose another --output. "
                f"Received: {self.path}"
            )
        before = build(type(config), settings_in(self.config, type(config)))
        changed = [key for key in differences(before, config) if key not in FREE_ON_RESUME]
        if changed:
            raise UsageError(
                f"The run in {self.path} has another configuration and cannot go on with this one. "
                f"Expected: {_settings(before, changed)}. Received: {_settings(config, changed)}"
            )

    def _check_plugins(self, plugins: Sequence[Mapping[str, str]]) -> None:
        before = _read(self.about).get("plugins", [])
        if self._has_state() and before != list(plugins):
            raise UsageError(
                f"The run in {self.path} goes on with the plug-ins that it was begun with only. "
                f"Expected: {_named(before)}. Received: {_named(plugins)}"
            )

    def _is_own(self, file: Path) -> bool:
        """Tells what a run makes before `run.json`, and may have been killed after, from other people's files."""
        return file.name in (self.checkpoints.name, LOCK, LOCK + HELD) or file.suffix == ".tmp"

    def _has_state(self) -> bool:
        return self.model.exists() or any(self.checkpoints.glob("step-*"))

    def _clean(self) -> None:
        """Removes what a process that was killed left half-written, and brings back a model that it had moved aside."""
        for leftover in [*self.path.glob(".*.tmp"), *self.path.glob(".*.old")]:
            tidy(self.path / leftover.name[1:].rsplit(".", 2)[0])

    def _start(self) -> dict[str, Any]:
        """Returns what `run.json` says of this process; the first start of a resumed run is kept."""
        started = _read(self.about).get("started", _now())
        return {
            "started": started,
            "command": shlex.join(sys.argv),
            "host": platform.node(),
            "versions": versions(),
            "onednn": onednn.decision(),
            "git_revision": _git_revision(),
        }

    def _note(self, **values: Any) -> None:
        write_atomically(self.about, json.dumps({**_read(self.about), **values}, indent=2) + "\n")


def settings_in(file: Path, config: type[CommandConfig]) -> Settings:
    """Reads a configuration file, which may be a run's.

    Args:
        file: Path of the file.
        config: The class that will be built.

    Returns:
        Nested mappings; of a run of acl-tf 0.1, without the keys that nothing used, which that version wrote too.

    Raises:
        UsageError: If the file is no YAML mapping.
    """
    settings = read_settings(str(file))
    version = _read(RunFolder(file.parent).about).get("versions", {}).get("acl_tf", "")
    return without_unused(config, settings) if version.startswith("0.1") else settings


def _read(about: Path) -> dict[str, Any]:
    return json.loads(about.read_text(encoding="utf-8")) if about.exists() else {}


def _settings(config: Any, keys: list[str]) -> str:
    """Writes the values of dotted keys, without those that the configuration does not have."""
    values = flat(config.model_dump())
    return ", ".join(f"{key}={values[key]}" for key in keys if key in values)


def _named(plugins: Sequence[Mapping[str, str]]) -> str:
    names = (f"{plugin['name']} (sha256 {plugin['sha256'][:12]}…)" for plugin in plugins)
    return ", ".join(names) or "none"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _git_revision() -> str | None:
    """Returns the commit of the source that runs, or None where it is an installed package."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
