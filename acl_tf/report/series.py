"""Colours and line styles: a run looks the same in every figure and legend."""

from typing import NamedTuple

COLOURS = 10
DASHES = ("", "5 2", "1.5 1.5")


class Style(NamedTuple):
    """The style of a run in figures.

    Attributes:
        colour: CSS variable, which the page sets for light and dark.
        dash: Lengths of dashes and gaps, in points; empty for a solid line.
        placeholder: Colour in the figure until the page replaces it.
    """

    colour: str
    dash: str
    placeholder: str


def style(number: int) -> Style:
    """Returns the style of the run, or class, with a number; thirty of them differ."""
    colour = number % COLOURS
    return Style(f"var(--series-{colour})", DASHES[number // COLOURS % len(DASHES)], f"#0a0b{colour:02x}")


def placeholders() -> dict[str, str]:
    """Returns the CSS variable of each placeholder."""
    return {style(number).placeholder: style(number).colour for number in range(COLOURS)}
