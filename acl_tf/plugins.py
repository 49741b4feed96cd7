"""Plug-ins: objectives, fine-tuning methods, attacks, evaluators, backbones and orders of a user's own.

A plug-in is a Python file or module that registers its classes (`@OBJECTIVES.register("name")`). It is code that runs,
so only the command line and installed packages name plug-ins, and never a configuration file or a model.
"""

import hashlib
import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from acl_tf.errors import UsageError

GROUP = "acl_tf.plugins"
PREFIX = "acl_tf_plugin_"  # of the modules that files become


@dataclass(frozen=True)
class Plugin:
    """A plug-in that was loaded.

    Attributes:
        name: Name of the file, module or entry point.
        sha256: SHA-256 of its source.
        module: Name of the module that it is.
        installed: Whether an installed package brings it, so that it is there whatever the command line says.
    """

    name: str
    sha256: str
    module: str
    installed: bool = False

    def described(self) -> dict[str, str]:
        """Returns what `run.json` says of it."""
        return {"name": self.name, "sha256": self.sha256}

    def brings(self, target: Any) -> bool:
        """Tells whether a class or function is the plug-in's."""
        return target.__module__ == self.module or target.__module__.startswith(f"{self.module}.")


def load_plugins(sources: Sequence[str]) -> list[Plugin]:
    """Loads plug-ins: those of installed packages (entry points `acl_tf.plugins`), then those that are named.

    Args:
        sources: Paths of files that end in `.py`, or names of modules.

    Raises:
        UsageError: If one is missing, or raises an error.
    """
    installed = [_load_entry_point(point) for point in importlib.metadata.entry_points(group=GROUP)]
    return [*installed, *(_load(source) for source in dict.fromkeys(sources))]


def used_plugins(plugins: Iterable[Plugin], chosen: Iterable[Any]) -> list[Plugin]:
    """Returns the plug-ins that a run depends on: those that were named, and installed ones that it chooses from.

    Args:
        plugins: All that were loaded.
        chosen: Classes and functions that the run's configuration chooses.
    """
    chosen = list(chosen)
    return [plugin for plugin in plugins if not plugin.installed or any(map(plugin.brings, chosen))]


def _load(source: str) -> Plugin:
    path = Path(source).expanduser()
    if path.suffix != ".py":
        module = _running(source, lambda: importlib.import_module(source))
        return Plugin(source, _digest(module), module.__name__)
    if not path.is_file():
        raise UsageError(f"No such plug-in file. Received: --plugin {source}")
    module = _running(source, lambda: _module_of(path))
    return Plugin(path.name, _digest(module), module.__name__)


def _load_entry_point(point: importlib.metadata.EntryPoint) -> Plugin:
    module = _running(point.name, lambda: importlib.import_module(point.module))
    return Plugin(point.name, _digest(module), module.__name__, installed=True)


def _running(source: str, load: Any) -> ModuleType:
    try:
        return load()
    except UsageError as error:
        raise UsageError(f"The plug-in {source} cannot be loaded. {error}") from error
    except Exception as error:  # whatever its code raises
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(
            f"The plug-in {source} cannot be loaded: {reason[:300]}. Received: --plugin {source}"
        ) from error


def _module_of(path: Path) -> ModuleType:
    """Returns the module that a file is; another content under the same name is loaded afresh."""
    name = f"{PREFIX}{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _digest(module: ModuleType) -> str:
    """Returns the SHA-256 of a module's source; of a package, that of all its Python files."""
    file = Path(module.__file__ or "")
    files = sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]
    digest = hashlib.sha256()
    for part in files:
        digest.update(part.read_bytes())
    return digest.hexdigest()
