"""Every public name is listed, sorted, documented, and has an example or is a plain record."""

import ast
import importlib
import inspect
from dataclasses import is_dataclass
from pathlib import Path

import pytest

import dropscope

PACKAGES = [
    f"dropscope.{path.parent.name}" if path.name == "__init__.py" else f"dropscope.{path.stem}"
    for path in sorted(Path(dropscope.__file__).parent.glob("*/__init__.py"))
] + [f"dropscope.{path.stem}" for path in sorted(Path(dropscope.__file__).parent.glob("[!_]*.py"))]


def public(package):
    module = importlib.import_module(package)
    return [(f"{package}.{name}", getattr(module, name)) for name in module.__all__]


@pytest.mark.parametrize("package", PACKAGES)
class TestEachPackage:
    def test_lists_its_names_sorted_and_complete(self, package):
        names = importlib.import_module(package).__all__
        assert list(names) == sorted(names)
        assert all(hasattr(importlib.import_module(package), name) for name in names)

    def test_documents_every_name(self, package):
        for name, thing in public(package):
            assert inspect.getdoc(thing), name

    def test_annotates_every_argument(self, package):
        for name, thing in public(package):
            if inspect.isfunction(thing):
                hints = {k for k in inspect.signature(thing).parameters if k not in thing.__annotations__}
                assert not hints, f"{name}: {hints}"


def test_results_are_frozen_dataclasses():
    from dropscope import spectrum, study

    for kind in (study.StudyResult, study.Advice, study.Arm, study.Decision, spectrum.Spectrum):
        assert is_dataclass(kind)
        assert kind.__dataclass_params__.frozen


def test_parts_are_loaded_on_first_use():
    assert set(dropscope.__all__) <= set(dir(dropscope))
    with pytest.raises(AttributeError, match="its parts are"):
        _ = dropscope.nothing


def test_every_file_parses_to_a_module_with_sorted_all():
    for path in Path(dropscope.__file__).parent.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
                names = [element.value for element in node.value.elts]
                assert names == sorted(names), path
