"""The README is true: its tree is the package's, and its commands exist. Run this file to print the tree."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "dropscope"


def summary(path):
    """First sentence of a file's docstring, without its full stop."""
    first = ast.get_docstring(ast.parse(path.read_text())).split("\n\n")[0].replace("\n", " ")
    return first.split(". ")[0].rstrip(".").replace("`", "")


def tree():
    lines = ["dropscope/"]
    for path in sorted(PACKAGE.rglob("*.py"), key=lambda path: (path.parent, path.name != "__init__.py", path.name)):
        depth = len(path.relative_to(PACKAGE).parts)
        name = f"{path.parent.name}/" if path.name == "__init__.py" else path.name
        indent = "  " * (depth - (path.name == "__init__.py"))
        if path.parent != PACKAGE or path.name != "__init__.py":
            lines.append(f"{indent + name:<24} {summary(path)}")
    return "\n".join(lines)


def test_the_tree_is_that_of_the_package():
    assert tree() in (ROOT / "README.md").read_text(), "print the new tree with `python tests/test_readme.py`"


def test_the_commands_are_those_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    for target in ("study:", "test:", "bench:"):
        assert f"\n{target}" in makefile


def test_it_speaks_of_itself_alone():
    """No file leads out of the repository, or names a folder of somebody's machine."""
    outside = re.compile(r"\.\./|/(home|root|mnt|srv|opt|Users|work)/[a-z]")
    scripts = [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    for path in [*scripts, *(ROOT / "examples").rglob("*.py"), *ROOT.glob("*.md")]:
        if path != Path(__file__):
            assert not outside.search(path.read_text()), path


if __name__ == "__main__":
    print(tree())
