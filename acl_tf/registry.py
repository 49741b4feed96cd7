"""Names that users type, and the objects that they stand for, imported on first use."""

import difflib
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from acl_tf.errors import UsageError

Registered = TypeVar("Registered")


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns `; did you mean "…"?` for the known name nearest to `name`, or an empty string."""
    names = list(known)
    extended = [candidate for candidate in names if name and name in candidate]
    matches = difflib.get_close_matches(name, extended or names, n=1, cutoff=0.5)
    return f'; did you mean "{matches[0]}"?' if matches else ""


def choices(names: Iterable[str]) -> str:
    """Returns names as the metavar of an option: `{lars,sgd,adamw}`."""
    return f"{{{','.join(names)}}}"


class Registry:
    """Names, and the objects that they stand for, which are imported when they are asked for.

    Listing the names imports nothing, so a command's help stays fast.

    Args:
        kind: What the names stand for, as error messages call it (`"architecture"`).
        targets: `name → "package.module:attribute"`.
    """

    def __init__(self, kind: str, targets: Mapping[str, str]) -> None:
        self.kind = kind
        self._targets: dict[str, Any] = dict(targets)

    def __getitem__(self, name: str) -> Any:
        if name not in self._targets:
            raise UsageError(
                f"Unknown {self.kind}{nearest(str(name), self._targets) or '.'} "
                f"Known: {', '.join(self._targets)}. Received: {name!r}"
            )
        target = self._targets[name]
        if not isinstance(target, str):
            return target
        module, attribute = target.split(":")
        return getattr(importlib.import_module(module), attribute)

    def register(self, name: str) -> Callable[[Registered], Registered]:
        """Returns a decorator by which a plug-in adds an object of its own.

        Args:
            name: Name that users type. It must be new, or registered by an object of the same module and name.

        Raises:
            UsageError: If something else has the name already.
        """

        def add(target: Registered) -> Registered:
            if _identity(self._targets.get(name, target)) != _identity(target):
                raise UsageError(
                    f"The {self.kind} {name} exists already; give the plug-in's another name. "
                    f"Received: {getattr(target, '__qualname__', target)}"
                )
            self._targets[name] = target
            return target

        return add

    def choices(self) -> str:
        """Returns the names as the metavar of an option; see `choices`."""
        return choices(self)

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._targets


def _identity(target: Any) -> Any:
    """Returns what tells a registered object from another, also where its module was loaded twice."""
    return target if isinstance(target, str) else (target.__module__, target.__qualname__)
