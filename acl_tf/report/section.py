"""What every section of a report is made of."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        key: Names its template and its anchor.
        title: Of the heading.
        values: What its template shows.
        absent: Why there is nothing to show, where that is so.
    """

    key: str
    title: str
    values: dict[str, Any] = field(default_factory=dict)
    absent: str = ""
