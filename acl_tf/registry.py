"""Names that users type, and the objects that they stand for, imported on first use."""

import difflib
import importlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from acl_tf.errors import UsageError


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns `; did you mean "…"?` for the known name nearest to `name`, or an empty string."""
    names = list(known)
    extended = [candidate for candidate in names if name and name in candidate]
    matches = difflib.get_close_matches(name, extended or names, n=1, cutoff=0.5)
    return f'; did you mean "{matches[0]}"?' if matches else ""


class Registry:
    """Names, and the objects that they stand for, which are imported when they are asked for.

    Listing the names imports nothing, so a command's help stays fast.

    Args:
        kind: What the names stand for, as error messages call it (`"architecture"`).
        targets: `name → "package.module:attribute"`.
    """

    def __init__(self, kind: str, targets: Mapping[str, str]) -> None:
        self.kind = kind
        self._targets = dict(targets)

    def __getitem__(self, name: str) -> Any:
        if name not in self._targets:
            raise UsageError(
                f"Unknown {self.kind}{nearest(str(name), self._targets) or '.'} "
                f"Known: {', '.join(self._targets)}. Received: {name!r}"
            )
        module, attribute = self._targets[name].split(":")
        return getattr(importlib.import_module(module), attribute)

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)

    def __contains__(self, name: object) -> bool:
        return name in self._targets
