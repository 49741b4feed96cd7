import subprocess
import sys

import pytest

from acl_tf.errors import UsageError
from acl_tf.registry import Registry, nearest

SHAPES = Registry("shape", {"square": "collections:OrderedDict", "triangle": "collections:Counter"})


def test_a_name_gives_the_object():
    import collections

    assert SHAPES["square"] is collections.OrderedDict


def test_is_a_collection_of_names():
    assert list(SHAPES) == ["square", "triangle"]
    assert len(SHAPES) == 2
    assert "square" in SHAPES and "circle" not in SHAPES and None not in SHAPES


@pytest.mark.parametrize(
    "name, message",
    [
        ("sqare", "Unknown shape; did you mean \"square\"? Known: square, triangle. Received: 'sqare'"),
        ("xyz", "Unknown shape. Known: square, triangle. Received: 'xyz'"),
        (7, "Unknown shape. Known: square, triangle. Received: 7"),
    ],
)
def test_an_unknown_name_gives_the_nearest_one(name, message):
    with pytest.raises(UsageError) as error:
        SHAPES[name]
    assert str(error.value) == message
    assert error.value.exit_code == 2


def test_names_are_listed_without_importing_what_they_stand_for():
    registry = Registry("thing", {"one": "no_such_module:Thing"})
    assert list(registry) == ["one"] and "one" in registry
    with pytest.raises(ModuleNotFoundError):
        registry["one"]


@pytest.mark.parametrize(
    "name, expected",
    [("resnet81", '; did you mean "resnet18"?'), ("Resnet18", '; did you mean "resnet18"?'), ("q", "")],
)
def test_nearest(name, expected):
    assert nearest(name, ["resnet18", "wrn-28-10"]) == expected


REGISTRIES = {
    "acl_tf.models:BACKBONES": ["resnet10", "resnet18", "resnet34", "resnet50", "wrn-28-10", "wrn-34-10"],
    "acl_tf.pretrain:OBJECTIVES": ["s2s", "a2a", "a2s", "ds"],
    "acl_tf.training:OPTIMIZERS": ["lars", "sgd", "adamw"],
}


@pytest.mark.parametrize("registry", REGISTRIES)
def test_every_name_of_the_package_can_be_imported(registry):
    module, attribute = registry.split(":")
    names = getattr(__import__(module, fromlist=[attribute]), attribute)
    assert list(names) == REGISTRIES[registry]
    for name in names:
        assert callable(names[name])


def test_the_registries_do_not_import_tensorflow():
    code = "import sys, acl_tf.models, acl_tf.pretrain, acl_tf.training; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_plugin_adds_a_name_of_its_own():
    registry = Registry("shape", {"path": "pathlib:Path"})

    @registry.register("mine")
    class Mine:
        pass

    assert registry["mine"] is Mine and list(registry) == ["path", "mine"]
    assert registry.choices() == "{path,mine}"
    assert registry.register("mine")(Mine) is Mine  # its module was loaded again


def test_a_plugin_takes_no_name_that_is_there():
    with pytest.raises(UsageError) as error:
        Registry("shape", {"path": "pathlib:Path"}).register("path")(Registry)
    assert str(error.value) == "The shape path exists already; give the plug-in's another name. Received: Registry"
