"""The command line: `dropscope study`, `report` and `compare`, `dropscope spectrum` and `dropscope reproduce`."""

import sys

from dropscope.errors import DropscopeError, need

__all__ = ["main"]


def main() -> None:
    """Run the command line; what goes wrong is one line on stderr and exit code 2."""
    try:
        need("typer", "study")
        from dropscope.cli.commands import app

        app()
    except (DropscopeError, OSError, ValueError, TypeError, ImportError, RuntimeError) as error:
        sys.stderr.write(f"dropscope: error: {' '.join(str(error).split())}\n")
        sys.exit(2)
    except Exception as error:  # a fault of ours: still one line, with its kind
        sys.stderr.write(f"dropscope: error: unexpected {type(error).__name__}: {' '.join(str(error).split())}\n")
        sys.exit(2)
