"""Figures as inline SVG with the font and the colours of the page, light or dark."""

import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from acl_tf.report.series import placeholders, style

# Colours in which matplotlib draws; the page's own replace them.
INK, GRID = "#010203", "#040506"
SETTINGS: dict[Any, Any] = {
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "font.size": 8.5,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": GRID,
    "xtick.labelcolor": INK,
    "ytick.color": GRID,
    "ytick.labelcolor": INK,
}
METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
MANY = 8  # lines; if there are more, they are thinner
Size = tuple[float, float]  # width and height, in inches


def draw(key: str, title: str, paint: Callable[[Axes], None], size: Size = (4.4, 2.5)) -> Markup:
    """Draws a figure and returns it as SVG.

    Args:
        key: Key of the figure, unique in the page.
        title: Description for readers who cannot see the figure.
        paint: Function that draws into the axes.
        size: Size of the figure, which the page scales.

    Returns:
        An `svg` element; the same drawing gives the same text.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # the user's matplotlibrc must not change the page
        matplotlib.rcParams.update(SETTINGS)
        matplotlib.rcParams["svg.hashsalt"] = key
        figure = Figure(figsize=size, layout="constrained")
        paint(figure.subplots())
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata=METADATA)
    return Markup(_for_the_page(file.getvalue(), key, title))


def line(axes: Axes, number: int, x: list[float], y: list[float], thin: bool = False) -> None:
    """Draws the line of a run; a single point gets a marker."""
    look = style(number)
    dash: str | tuple[int, list[float]] = (0, [float(length) for length in look.dash.split()]) if look.dash else "-"
    marker = "o" if len(x) == 1 else ""
    width = 0.9 if thin else 1.4
    axes.plot(x, y, color=look.placeholder, linestyle=dash, linewidth=width, marker=marker, markersize=4)


def _for_the_page(svg: str, key: str, title: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style)\b.*?</\1>\s*", "", svg, flags=re.DOTALL)  # style applies to the whole page
    head, rest = svg.split(">", 1)
    (box,) = re.findall(r'viewBox="[^"]*"', head)
    label = escape(title)
    rest = re.sub(r'\bid="', f'id="{key}-', rest)
    rest = rest.replace("url(#", f"url(#{key}-").replace('xlink:href="#', f'href="#{key}-')
    colours = {INK: "currentColor", GRID: "var(--rule)", **placeholders()}
    for placeholder, colour in colours.items():
        rest = rest.replace(placeholder, colour)
    return f'<svg {box} role="img" aria-label="{label}">{rest}'
