"""Text of others as it can be shown on a terminal."""


def printable(text: object) -> str:
    """Returns text with every character escaped that moves a cursor, colours a terminal or cannot be encoded."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(text))
