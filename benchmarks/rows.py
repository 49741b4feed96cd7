"""Output of the rows of a benchmark: a table on stdout, and JSON in the file that `--json` names."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

Row = dict[str, Any]


class Column(NamedTuple):
    """A column of the table.

    Attributes:
        header: Heading of the column.
        value: Function from a row to the value: text, a number, or None if the row has none.
        format: Format of numbers.
    """

    header: str
    value: Callable[[Row], Any]
    format: str = ""


def parser(description: str) -> argparse.ArgumentParser:
    """Returns a parser with the option that all benchmarks have.

    Args:
        description: Docstring of the script, which is shown unchanged.
    """
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", metavar="FILE", type=Path, help="write the rows to this file")
    return made


def report(title: str, columns: Sequence[Column], rows: Sequence[Row], file: Path | None) -> None:
    """Prints one line per row, and writes all rows to the file, if there is one."""
    print_table(title, columns, rows)
    write(rows, file)


def print_table(title: str, columns: Sequence[Column], rows: Sequence[Row]) -> None:
    """Prints one line per row, with text aligned to the left and numbers to the right."""
    table = Table(title=title)
    for column in columns:
        is_text = any(isinstance(column.value(row), str) for row in rows)
        table.add_column(column.header, justify="left" if is_text else "right")
    for row in rows:
        table.add_row(*(_cell(column.value(row), column.format) for column in columns))
    # A pipe has no width.
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def write(rows: Sequence[Row], file: Path | None) -> None:
    """Writes the rows as JSON, if there is a file to write to."""
    if file is not None:
        file.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def column(header: str, key: str, format: str = "") -> Column:
    """Returns the column for a key, or for `key.key` in a nested mapping; None for rows without it."""

    def value(row: Row) -> Any:
        found: Any = row
        for name in key.split("."):
            found = found.get(name) if found is not None else None
        return found

    return Column(header, value, format)


def _cell(value: Any, format: str) -> str:
    return "–" if value is None else f"{value:{format}}"
