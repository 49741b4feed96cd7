"""The form of every section of a report."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        key: Name of its template and its anchor.
        title: Text of the heading.
        values: Values for its template.
        absent: Reason why there is nothing to show; empty if there is something.
    """

    key: str
    title: str
    values: dict[str, Any] = field(default_factory=dict)
    absent: str = ""
