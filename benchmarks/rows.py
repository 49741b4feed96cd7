"""What every benchmark does with its rows: a table on stdout, and JSON in the file that `--json` names."""

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
        header: Above it.
        value: From a row to what stands there: text, a number, or None for what the row does not have.
        format: Of the number.
    """

    header: str
    value: Callable[[Row], Any]
    format: str = ""


def parser(description: str) -> argparse.ArgumentParser:
    """Returns a parser with the option that all benchmarks have.

    Args:
        description: The script's docstring, shown as it is.
    """
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", metavar="FILE", type=Path, help="write the rows to this file")
    return made


def report(title: str, columns: Sequence[Column], rows: Sequence[Row], file: Path | None) -> None:
    """Prints a line for each row, and writes all of them to the file, if there is one."""
    print_table(title, columns, rows)
    write(rows, file)


def print_table(title: str, columns: Sequence[Column], rows: Sequence[Row]) -> None:
    """Prints a line for each row: text to the left, numbers to the right."""
    table = Table(title=title)
    for column in columns:
        is_text = any(isinstance(column.value(row), str) for row in rows)
        table.add_column(column.header, justify="left" if is_text else "right")
    for row in rows:
        table.add_row(*(_cell(column.value(row), column.format) for column in columns))
    # A pipe has no width to keep to.
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def write(rows: Sequence[Row], file: Path | None) -> None:
    """Writes the rows as JSON, if there is a file to write to."""
    if file is not None:
        file.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def column(header: str, key: str, format: str = "") -> Column:
    """Returns the column of what rows have under a key, or under `key.key` in a mapping; None where they have not."""

    def value(row: Row) -> Any:
        found: Any = row
        for name in key.split("."):
            found = found.get(name) if found is not None else None
        return found

    return Column(header, value, format)


def _cell(value: Any, format: str) -> str:
    return "–" if value is None else f"{value:{format}}"
