"""What a reproduction looks like in a terminal: a bar for each table while it runs, and the table of results."""

from collections.abc import Sequence
from typing import Self

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

__all__ = ["Display", "print_rows"]

STYLES = {"agrees": "green", "undecided": "yellow", "differs": "bold red"}
WORDS = ("name", "table", "source", "measures", "verdict")  # columns of words stand at the left


class Display:
    """Progress on stderr: a bar on a terminal, one line for each table elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self.live = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"),
            TimeRemainingColumn(), console=self.console, disable=quiet or not self.console.is_terminal, transient=True,
        )  # fmt: skip
        self.task = self.live.add_task("")
        self.table = ""

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def __call__(self, table: str, what: str, done: int, total: int) -> None:
        """Say that so much of something is done."""
        if table != self.table and not self.console.is_terminal:
            self.console.print(f"{table} ...", markup=False)
        self.table = table
        self.live.update(self.task, description=f"{table}, {what}", completed=done, total=total)


def print_rows(title: str, rows: Sequence[dict[str, str]]) -> None:
    """Print lines of equal keys as a table on stdout.

    Args:
        title: of the table.
        rows: its lines; a verdict is coloured.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120
    table = Table(title=Text(title) if title else None, box=SIMPLE, padding=0)
    for name in rows[0]:
        table.add_column(name, justify="left" if name in WORDS else "right", no_wrap=name not in WORDS)
    for row in rows:
        table.add_row(*(Text(text, style=STYLES.get(text, "")) for text in row.values()))
    console.print(table)
