"""Docstrings keep to the mechanical part of the rule in CONTRIBUTING.md: verbs first, and lines that read alone."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("acl_tf", "benchmarks", "cli", "hub", "tests")
SECTIONS = ("Args:", "Attributes:", "Call arguments:", "Returns:", "Yields:")
ENTRY = re.compile(r"(?:[\w*]+(?:, [\w*]+)*: )?(?P<text>\S.*)")
# A line that begins so hangs on the name before it, or on another line.
DEPENDENT = re.compile(
    r"(As|At most so|Beside|From which|How|Of|Only|So many|That|Those|Under|Where|Which|Who|Whose|With)\b"
)
FIRST_WORD = re.compile(r"[A-Z][a-z-]*s\b(?!')")  # a verb in the third person
# Nouns in the plural, which would pass for verbs.
NOUNS = ("Classes", "Gradients", "Images", "Losses", "Names", "Numbers", "Options", "Records", "Rows", "Settings")
ODD = re.compile(r"how-manieth|so-many-th|\bthe (weights|gradients) of now\b")


def docstrings(tree: ast.AST) -> Iterator[tuple[ast.AST, str, int]]:
    """Yields nodes, their docstrings and the lines in which these begin."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            yield node, text, node.body[0].lineno


def entries(text: str) -> Iterator[tuple[int, str]]:
    """Yields the first line of every argument, attribute and result in a docstring, with its place."""
    section = None
    for place, line in enumerate(text.splitlines()):
        if line and not line.startswith(" "):
            section = line if line in SECTIONS else None
        elif section and re.match(r" {4}\S", line):
            # The lines of a result go on without being indented further: only its first one begins it.
            yield place, line.strip()
            section = None if section in ("Returns:", "Yields:") else section


def says_what_it_is(node: ast.AST) -> bool:
    """Returns whether a docstring need not begin with a verb: that of a class, a property or a command."""
    decorators = [ast.unparse(decorator) for decorator in getattr(node, "decorator_list", ())]
    return not isinstance(node, ast.FunctionDef) or any(re.search(r"property|click\.", name) for name in decorators)


def hanging_lines(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yields the lines of arguments, attributes and results that cannot be read alone."""
    for _, text, begin in docstrings(tree):
        for place, line in entries(text):
            match = ENTRY.fullmatch(line)
            if match and DEPENDENT.match(match["text"]):
                yield begin + place, line


def functions_without_verb(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yields the docstrings of functions that do not begin with a verb."""
    for node, text, begin in docstrings(tree):
        word = text.split()[0]
        if not says_what_it_is(node) and (not FIRST_WORD.match(text) or word in NOUNS):
            yield begin, text.splitlines()[0]


def complaints(source: str, with_verbs: bool = True) -> list[str]:
    """Returns what is wrong with the docstrings of a module, each with its line."""
    tree = ast.parse(source)
    found = [*hanging_lines(tree), *(functions_without_verb(tree) if with_verbs else ())]
    found += [(number, line) for number, line in enumerate(source.splitlines(), 1) if ODD.search(line)]
    return [f"{number}: {line.strip()}" for number, line in sorted(found)]


@pytest.mark.parametrize("room", ROOMS)
def test_docstrings_put_verbs_first_and_their_lines_read_alone(room) -> None:
    files = [path.relative_to(ROOT) for path in sorted((ROOT / room).rglob("*.py"))]
    checked = [file for file in files if file != Path("tests/test_english.py")]
    assert len(checked) > 5
    found = {
        str(file): complaints((ROOT / file).read_text(encoding="utf-8"), with_verbs=room != "tests") for file in checked
    }
    assert {file: lines for file, lines in found.items() if lines} == {}


SOURCE = '''
def largest_step(weights, sigma):
    """{summary}

    Args:
        weights: {weights}
        sigma: Standard deviation of the noise.

    Returns:
        {result}
    """
'''
GOOD = {"summary": "Returns the largest step.", "weights": "Current weights.", "result": "Length of the step."}


@pytest.mark.parametrize(
    "change, expected",
    [
        ({}, []),
        ({"summary": "The largest step."}, ["3: The largest step."]),
        ({"summary": "Losses of a step."}, ["3: Losses of a step."]),
        ({"weights": "Of the network."}, ["6: weights: Of the network."]),
        ({"weights": "Whose step it is."}, ["6: weights: Whose step it is."]),
        ({"weights": "Offsets of the weights."}, []),
        ({"result": "Of the step, its length."}, ["10: Of the step, its length."]),
        ({"weights": "Weights of the so-many-th step."}, ["6: weights: Weights of the so-many-th step."]),
    ],
)
def test_what_is_complained_about(change, expected) -> None:
    assert complaints(SOURCE.format(**GOOD | change)) == expected
