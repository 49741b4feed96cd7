import importlib
import sys
from types import ModuleType

import pytest

INIT = """
from acl_tf.lazy import exports

__getattr__, __dir__ = exports(
    __name__,
    {"Shape": "shapes_for_lazy.form:Shape", "form": "shapes_for_lazy.form", "area": "shapes_for_lazy.area:area"},
)
"""


@pytest.fixture
def package(tmp_path, monkeypatch) -> ModuleType:
    """A package that exports a class, the module of it, and a function that is called as its file."""
    folder = tmp_path / "shapes_for_lazy"
    folder.mkdir()
    (folder / "__init__.py").write_text(INIT)
    (folder / "form.py").write_text("class Shape: pass\n")
    (folder / "area.py").write_text("def area(): return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("shapes_for_lazy")
    for name in [name for name in sys.modules if name.startswith("shapes_for_lazy")]:
        del sys.modules[name]


def test_a_name_is_imported_on_first_use(package):
    assert {"Shape", "form", "area"} <= set(dir(package))
    assert "shapes_for_lazy.form" not in sys.modules
    assert package.Shape is package.form.Shape is importlib.import_module("shapes_for_lazy.form").Shape
    assert "Shape" in vars(package)


def test_an_unknown_name(package):
    with pytest.raises(AttributeError) as error:
        package.Spahe  # noqa: B018
    assert str(error.value) == "module 'shapes_for_lazy' has no attribute 'Spahe'"


@pytest.mark.parametrize("file_first", [True, False])
def test_a_function_is_found_before_the_file_that_it_is_in(package, file_first):
    if file_first:
        importlib.import_module("shapes_for_lazy.area")
    assert package.area() == 1
    assert importlib.import_module("shapes_for_lazy.area").area is package.area
    assert package.area() == 1


def test_any_other_attribute_can_be_set(package):
    package.area = package.other = sys
    assert package.area is package.other is sys
