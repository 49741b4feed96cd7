"""The names that users import, which packages offer without importing what they stand for."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(
    ".".join(file.parent.relative_to(ROOT).parts)
    for file in (ROOT / "acl_tf").rglob("__init__.py")
    if "exports(" in file.read_text(encoding="utf-8")
)


def parsed(package: str) -> tuple[dict[str, str], dict[str, str]]:
    """Returns the table of a package, and what type checkers see: `name → "package.module:attribute"`."""
    source = (ROOT / package.replace(".", "/") / "__init__.py").read_text(encoding="utf-8")
    (block,) = (node for node in ast.parse(source).body if isinstance(node, ast.If))
    (table,) = (ast.literal_eval(node) for node in ast.walk(block) if isinstance(node, ast.Dict))
    seen = {
        name.asname: f"acl_tf.{name.name}" if node.module == "acl_tf" else f"{node.module}:{name.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    return table, seen


PAGES = ("README.md", *sorted(file.relative_to(ROOT).as_posix() for file in (ROOT / "docs").glob("*.md")))
LOSSES = list(parsed("acl_tf.losses")[0])
NAMES = [(package, name) for package in PACKAGES for name in parsed(package)[0]]


def test_the_packages():
    rooms = ("attacks", "classifiers", "data", "finetune", "losses", "model_folder", "models", "pretrain", "training")
    assert ["acl_tf", *(f"acl_tf.{room}" for room in rooms)] == PACKAGES


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_see_the_same_names(package):
    table, seen = parsed(package)
    assert table == seen
    assert list(table) == sorted(table)


@pytest.mark.parametrize("package, name", NAMES)
def test_a_name_can_be_imported_and_is_documented(package, name):
    value = getattr(importlib.import_module(package), name)
    if name != "__version__":
        assert inspect.cleandoc(value.__doc__)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_names_are_listed(package):
    assert set(parsed(package)[0]) <= set(dir(importlib.import_module(package)))


def test_a_loss_is_a_function():
    assert all(inspect.isfunction(getattr(importlib.import_module("acl_tf.losses"), name)) for name in LOSSES)


def test_nothing_heavy_is_imported_for_a_list_of_names():
    code = (
        "import importlib, sys\n"
        f"print([len(dir(importlib.import_module(package))) > 3 for package in {PACKAGES}])\n"
        "print(sorted({'keras', 'numpy', 'tensorflow', 'acl_tf.losses.dlr'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str([True] * len(PACKAGES)), "[]"]


@pytest.mark.parametrize("page", PAGES)
def test_what_the_documentation_imports_is_there(page):
    for block in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("acl_tf"):
                exec(ast.unparse(node), {})
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "acl_tf":
                getattr(importlib.import_module("acl_tf"), node.attr)
