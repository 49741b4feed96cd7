"""`acl-tf show`."""

import csv
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from acl_tf import record_text
from acl_tf.errors import UsageError
from acl_tf.nested import flat
from acl_tf.printable import printable
from acl_tf.records import NamedRecord, different, names_of, read_named_records

COLUMNS = ("model", *record_text.COLUMNS)
NUMBERS = ("value %", "n", "seed")
# The columns of CSV that are always there; what else the records say follows, the protocol last.
KEYS = ("model", "metric", "value", "n", "dataset", "split", "model_sha256", "acl_tf", "tensorflow", "keras")
PIPED_WIDTH = 120  # in characters, of a table that goes to no terminal


@click.command(short_help="Print the evaluation records of runs and models.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--csv", "as_csv", is_flag=True, help="Everything that the records say, a column each.")
@click.option("--markdown", "as_markdown", is_flag=True, help="The table in Markdown.")
def show(paths: tuple[str, ...], as_csv: bool, as_markdown: bool) -> None:
    """Print the evaluation records of run folders, model folders, and files that acl-tf evaluate --json wrote.

    A record that a run and its model both have is shown once.
    """
    if as_csv and as_markdown:
        raise UsageError("Choose one format. Received: --csv --markdown")
    entries: list[NamedRecord] = []
    places = different(paths)
    for path, name in zip(places, names_of(places), strict=True):
        found = read_named_records(path, name)
        entries += found
        if not found:
            click.echo(f"acl-tf: no records in {printable(path)} yet; acl-tf evaluate makes some", err=True)
    if as_csv:
        write_csv(entries)
    elif entries:
        write_markdown(entries) if as_markdown else write_table(entries)


def row(entry: NamedRecord) -> tuple[str, ...]:
    """Returns the cells of a record, in the order of `COLUMNS`."""
    return printable(entry.name), *record_text.cells(entry.record)


def write_table(entries: Sequence[NamedRecord]) -> None:
    """Prints a table as wide as the terminal; long names go on in the next line."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for column in COLUMNS:
        number = column in NUMBERS
        table.add_column(column, justify="right" if number else "left", no_wrap=number, overflow="fold")
    for entry in entries:
        table.add_row(*map(Text, row(entry)))
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    Console(width=None if known else PIPED_WIDTH).print(table)


def write_markdown(entries: Sequence[NamedRecord]) -> None:
    """Prints a table in Markdown."""
    click.echo(f"| {' | '.join(COLUMNS)} |")
    click.echo(f"|{'|'.join('---:' if column in NUMBERS else '---' for column in COLUMNS)}|")
    for entry in entries:
        click.echo(f"| {' | '.join(map(_markdown, row(entry)))} |")


def write_csv(entries: Sequence[NamedRecord]) -> None:
    """Writes every key of every record as a column; lists within a record are JSON."""
    rows = [dict(_cells(entry)) for entry in entries]
    others = sorted(
        {key for row in rows for key in row} - set(KEYS), key=lambda key: (key.startswith("protocol."), key)
    )
    writer = csv.DictWriter(sys.stdout, [*KEYS, *others], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _cells(entry: NamedRecord) -> Iterator[tuple[str, Any]]:
    yield "model", printable(entry.name)
    for key, value in flat(entry.record).items():
        plain = value is None or (isinstance(value, str | int | float) and not isinstance(value, bool))
        yield key, value if plain else json.dumps(value)


def _markdown(cell: str) -> str:
    for special in "\\|`*_[]<>":
        cell = cell.replace(special, f"\\{special}")
    return cell
