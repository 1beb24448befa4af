"""The shape of the project: which way imports point, how long files are, and where plotting may live."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "dropscope"
FILES = sorted(PACKAGE.rglob("*.py"))
ORDER = (
    "errors results masks functional layers constraints sites surgery schedules moments spectrum ensemble penalties "
    "audit stack data study estimators report experiments integrations cli"
).split()
PLOTTING = {"plotly", "matplotlib"}


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Every module that a file imports, at the top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
class TestEachFile:
    def test_imports_point_left(self, path):
        if part(path) in {"__init__", "__main__"}:
            return
        position = ORDER.index(part(path))
        for name in imported(path):
            pieces = name.split(".")
            if pieces[0] == "dropscope" and len(pieces) > 1 and pieces[1] in ORDER:
                assert ORDER.index(pieces[1]) <= position, f"{part(path)} imports {name}, which lies to its right"

    def test_plotting_is_imported_only_in_the_report(self, path):
        if part(path) != "report":
            assert not PLOTTING & {name.split(".")[0] for name in imported(path)}

    def test_has_at_most_300_lines(self, path):
        assert len(path.read_text().splitlines()) <= 300

    def test_says_what_it_holds(self, path):
        assert ast.get_docstring(ast.parse(path.read_text()))

    def test_functions_have_at_most_50_lines_of_code(self, path):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                doc = ast.get_docstring(node, clean=False) or ""
                length = node.end_lineno - node.lineno + 1 - (doc.count("\n") + 1 if doc else 0)
                assert length <= 50, f"{node.name} has {length} lines"

    def test_is_not_named_like_a_public_function_of_its_package(self, path):
        init = path.parent / "__init__.py"
        if path.name != "__init__.py" and path.parent != PACKAGE and init.exists():
            assert f'"{path.stem}"' not in init.read_text()

    def test_users_never_meet_an_assert(self, path):
        assert not any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(path.read_text())))
