import sys

import pytest

from acl_tf.errors import UsageError
from acl_tf.registry import Registry, nearest

FRUIT = Registry("fruit", {"apple": "tests.test_registry:APPLE", "pear": "tests.no_such_module:PEAR"})
APPLE = object()


def test_objects_are_imported_when_they_are_asked_for():
    assert list(FRUIT) == ["apple", "pear"] and len(FRUIT) == 2 and "pear" in FRUIT
    assert "tests.no_such_module" not in sys.modules
    assert FRUIT["apple"] is APPLE
    with pytest.raises(ModuleNotFoundError):
        FRUIT["pear"]


@pytest.mark.parametrize(
    "name, message",
    [
        ("aple", "Unknown fruit; did you mean \"apple\"? Known: apple, pear. Received: 'aple'"),
        ("kiwi", "Unknown fruit. Known: apple, pear. Received: 'kiwi'"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(UsageError) as error:
        FRUIT[name]
    assert str(error.value) == message


@pytest.mark.parametrize(
    "name, known, expected",
    [
        ("resnet81", ["resnet18", "wrn-28-10"], '; did you mean "resnet18"?'),
        # A name that goes on counts more than one that looks alike.
        ("bfloat16", ["float32", "float64", "mixed_bfloat16"], '; did you mean "mixed_bfloat16"?'),
        ("kiwi", ["apple"], ""),
        ("", ["apple"], ""),
    ],
)
def test_nearest(name, known, expected):
    assert nearest(name, known) == expected
