"""Public names of a package, imported on first use (PEP 562)."""

import importlib
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any


def exports(package: str, names: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns a package's `__getattr__` and `__dir__`, by which it offers names without importing what they stand for.

    Type checkers and editors see the names by imports under `TYPE_CHECKING`, which a test compares with `names`.

    Args:
        package: Full name of the package, its `__name__`.
        names: `name → "package.module:attribute"`, or `"package.module"` for a module.
    """
    module = sys.modules[package]
    if any(target == f"{package}.{name}:{name}" for name, target in names.items()):
        module.__class__ = _NamesBeforeFiles

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        where, _, attribute = names[name].partition(":")
        found = importlib.import_module(where)
        value = getattr(found, attribute) if attribute else found
        vars(module)[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*vars(module), *names})

    return __getattr__, __dir__


class _NamesBeforeFiles(ModuleType):
    """A package some of whose functions are called as the files they are in.

    The import of a file binds the module in its package, and would hide the function; the function is found instead.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, getattr(value, name, value) if isinstance(value, ModuleType) else value)
