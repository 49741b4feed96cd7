"""Text of others as it can be shown on a terminal."""

from collections.abc import Sequence


def printable(text: object) -> str:
    """Returns text with every character escaped that moves a cursor, colours a terminal or cannot be encoded."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(text))


def some(names: Sequence[object], count: int) -> str:
    """Returns names as a list for a message: of more than `count`, the first ones."""
    shown = ", ".join(map(printable, names[:count]))
    return f"{shown}, …" if len(names) > count else shown
