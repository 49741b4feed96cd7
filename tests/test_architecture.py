"""Who imports whom: the table of floors in docs/architecture.md, compared with every import of ours."""

import ast
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PAGE = "docs/architecture.md"
# Folders of the tree, and the packages that they are installed as.
FOLDERS = {"acl_tf": "acl_tf", "cli": "acl_tf.cli", "hub": "acl_tf.hub", "configs": "acl_tf.configs"}
TARGET = re.compile(r"(acl_tf(?:\.\w+)*):\w+")


class Import(NamedTuple):
    file: str
    line: int
    importer: str
    imported: str
    named: bool  # by the text of a registry


def module_of(file: Path) -> str:
    folder, *names = file.with_suffix("").parts
    return ".".join([FOLDERS[folder], *names]).removesuffix(".__init__")


FILES = {
    module_of(file.relative_to(ROOT)): file.relative_to(ROOT)
    for folder in FOLDERS
    for file in sorted((ROOT / folder).rglob("*.py"))
}


def room_of(module: str) -> str:
    """`acl_tf.data.folder` is in the room `data`, `acl_tf` itself is `__init__`."""
    return [*module.split("."), "__init__"][1]


def read_floors(page: str) -> dict[str, int]:
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", page, re.MULTILINE)
    rooms = [(room, int(number)) for number, names in rows for room in re.findall(r"`(\w+)`", names)]
    assert len(rooms) == len(dict(rooms)), "a room stands twice in the table"
    return dict(rooms)


FLOORS = read_floors((ROOT / PAGE).read_text(encoding="utf-8"))


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yields every node but those that only type checkers see."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            yield from (found for other in child.orelse for found in (other, *statements(other)))
        else:
            yield child
            yield from statements(child)


def imports_of(module: str, source: str) -> Iterator[Import]:
    file = str(FILES.get(module, module))
    for node in statements(ast.parse(source)):
        if isinstance(node, ast.Import):
            targets = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            names = [f"{node.module}.{name.name}" for name in node.names]
            targets = [name if name in FILES else str(node.module) for name in names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and TARGET.fullmatch(node.value):
            yield Import(file, node.lineno, module, node.value.split(":")[0], named=True)
            continue
        else:
            continue
        for target in targets:
            if target.split(".")[0] == "acl_tf":
                yield Import(file, node.lineno, module, target, named=False)


def complaint(found: Import) -> str | None:
    mine, other = room_of(found.importer), room_of(found.imported)
    if mine == other or not {mine, other} <= set(FLOORS) or FLOORS[other] < FLOORS[mine]:
        return None
    return (
        f"{found.file}:{found.line}: {mine} is on floor {FLOORS[mine]}, and imports {found.imported} from floor "
        f"{FLOORS[other]}; rooms import from lower floors only ({PAGE})"
    )


IMPORTS = [
    found for module, file in FILES.items() for found in imports_of(module, (ROOT / file).read_text(encoding="utf-8"))
]


def test_every_room_has_a_floor():
    assert {room_of(module) for module in FILES} == set(FLOORS)


def test_every_import_points_down():
    assert len(IMPORTS) > 500
    assert [text for text in map(complaint, IMPORTS) if text] == []


def test_no_modules_import_each_other():
    graph: dict[str, set[str]] = {}
    for found in IMPORTS:
        if not found.named:
            graph.setdefault(found.importer, set()).add(found.imported)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"A circle of imports: {' <- '.join(error.args[1])}", pytrace=False)


def test_imports_are_found_wherever_they_stand():
    source = (
        "from typing import TYPE_CHECKING\n"
        "import numpy, acl_tf.errors\n"
        "if TYPE_CHECKING:\n"
        "    import acl_tf.cli\n"
        "else:\n"
        "    from acl_tf import files\n"
        "def later():\n"
        "    from acl_tf.report.page import build\n"
        "NAMES = {'one': 'acl_tf.certify.run:certify'}\n"
    )
    found = list(imports_of("acl_tf.data.sources", source))
    assert sorted((each.line, each.imported) for each in found) == [
        (2, "acl_tf.errors"),
        (6, "acl_tf.files"),
        (8, "acl_tf.report.page"),
        (9, "acl_tf.certify.run"),
    ]
    assert [bool(complaint(each)) for each in sorted(found)] == [False, False, True, True]
    assert complaint(max(found)) == (
        f"acl_tf/data/sources.py:9: data is on floor {FLOORS['data']}, and imports acl_tf.certify.run from floor "
        f"{FLOORS['certify']}; rooms import from lower floors only (docs/architecture.md)"
    )


def test_rooms_of_one_floor_do_not_import_each_other():
    assert FLOORS["losses"] == FLOORS["models"]
    assert complaint(Import("file.py", 1, "acl_tf.losses.dlr", "acl_tf.models.heads", named=False))
    assert not complaint(Import("file.py", 1, "acl_tf.losses.dlr", "acl_tf.losses.margin", named=False))


def test_a_door_is_above_everything():
    """`acl_tf` offers names of the rooms, so no room takes anything from it."""
    assert complaint(Import("file.py", 1, "acl_tf.cli.export", "acl_tf", named=False))
