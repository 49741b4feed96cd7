"""Loading plug-ins; what they bring is tested where it is used."""

import hashlib
import importlib.metadata
import sys

import pytest

from acl_tf.errors import UsageError
from acl_tf.plugins import load_plugins, used_plugins
from acl_tf.registry import Registry


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, text: str):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return file

    yield write
    for name in [name for name in sys.modules if name.startswith(("acl_tf_plugin_mine", "my_plugin"))]:
        del sys.modules[name]


def refusal(*sources: str) -> str:
    with pytest.raises(UsageError) as error:
        load_plugins(sources)
    return str(error.value)


def test_a_file(write):
    file = write("mine.py", "value = 3\n")
    (plugin,) = load_plugins([str(file), str(file)])
    assert plugin.name == "mine.py" and plugin.sha256 == hashlib.sha256(b"value = 3\n").hexdigest()
    assert sys.modules[plugin.module].value == 3
    assert plugin.described() == {"name": "mine.py", "sha256": plugin.sha256}


def test_a_file_that_has_changed_is_loaded_again(write):
    before = load_plugins([str(write("mine.py", "value = 3\n"))])
    after = load_plugins([str(write("mine.py", "value = 4\n"))])
    assert sys.modules[after[0].module].value == 4 and before[0].sha256 != after[0].sha256


def test_a_module_and_a_package(write):
    write("my_plugin_one.py", "value = 1\n")
    write("my_plugin_two/__init__.py", "from my_plugin_two.part import value\n")
    write("my_plugin_two/part.py", "value = 2\n")
    one, two = load_plugins(["my_plugin_one", "my_plugin_two"])
    assert (one.name, two.name) == ("my_plugin_one", "my_plugin_two")
    write("my_plugin_two/part.py", "value = 3\n")
    assert load_plugins(["my_plugin_two"])[0].sha256 != two.sha256  # of all its files


def test_an_entry_point_is_recorded_where_it_is_used(write, monkeypatch):
    write("my_plugin_three.py", "class Thing: pass\n")
    point = importlib.metadata.EntryPoint("three", "my_plugin_three", "acl_tf.plugins")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point] if group == point.group else [])
    named = write("mine.py", "")
    plugins = load_plugins([str(named)])
    assert [(plugin.name, plugin.installed) for plugin in plugins] == [("three", True), ("mine.py", False)]
    assert [plugin.name for plugin in used_plugins(plugins, [Registry])] == ["mine.py"]
    thing = sys.modules["my_plugin_three"].Thing
    assert [plugin.name for plugin in used_plugins(plugins, [thing])] == ["three", "mine.py"]


def test_what_cannot_be_loaded(write, tmp_path):
    assert refusal("absent.py") == "No such plug-in file. Received: --plugin absent.py"
    assert refusal("no_such_module_anywhere") == (
        "The plug-in no_such_module_anywhere cannot be loaded: ModuleNotFoundError: No module named "
        "'no_such_module_anywhere'. Received: --plugin no_such_module_anywhere"
    )
    file = write("mine.py", "1 / 0")
    assert refusal(str(file)) == (
        f"The plug-in {file} cannot be loaded: ZeroDivisionError: division by zero. Received: --plugin {file}"
    )
    file = write("mine.py", "a line that is no Python")
    assert refusal(str(file)).startswith(f"The plug-in {file} cannot be loaded: SyntaxError: ")


def test_a_name_that_is_taken(write, tmp_path):
    text = "from acl_tf.training import OPTIMIZERS\n@OPTIMIZERS.register('sgd')\nclass Mine: pass\n"
    file = write("mine.py", text)
    assert refusal(str(file)) == (
        f"The plug-in {file} cannot be loaded. The optimizer sgd exists already; give the plug-in's another name. "
        "Received: Mine"
    )
