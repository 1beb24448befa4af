"""What a study looks like in a terminal: a live line while it runs, a table and two sentences when it is done."""

import math
import time
from typing import Any, Self

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from dropscope.study import StudyResult
from dropscope.study.metrics import LABELS
from dropscope.study.problem import Problem
from dropscope.study.rates import rate_text
from dropscope.study.runner import Progress as StudyProgress

__all__ = ["Display", "print_result"]

SHOWN = 16  # blocks of columns named in the terminal


class Display(StudyProgress):
    """A live display on stderr: models × epochs done, time left, best so far; plain lines without a terminal."""

    def __init__(self, *, quiet: bool) -> None:
        self.console = Console(stderr=True, quiet=quiet)
        self.live = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"),
            TimeRemainingColumn(), TextColumn("{task.fields[best]}"),
            console=self.console, disable=quiet or not self.console.is_terminal,
        )  # fmt: skip
        self.kept = self.total = self.epochs = self.longest = 0
        self.best = math.inf
        self.metric = ""
        self.notes: list[str] = []
        self.started = time.perf_counter()

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def posed(self, problem: Problem) -> None:
        """Remember what to say once the study starts: an error that comes first must stay one line."""
        self.metric, self.notes = problem.metric, problem.notes

    def planned(self, epochs: int, total: int, done: int) -> None:
        """Say how much there is to do."""
        self.epochs, self.total, self.kept = epochs, total, done
        for note in self.notes:
            self.console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
        resumed = f", {done} of them already there" if done else ""
        self.console.print(f"{total} networks, {epochs} epochs each{resumed}", highlight=False)
        self.task = self.live.add_task("training", total=total * epochs, completed=done * epochs, best="")

    def epoch(self, epoch: int, alive: int, best: float) -> None:
        """Move the bar by the models still training."""
        self.live.update(
            self.task,
            description=f"epoch {epoch}, {alive} models, stop loss {best:.3g}",
            advance=min(alive, self.total),
        )

    def finished(self, records: list[dict[str, Any]]) -> None:
        """Count what is kept and remember the best network."""
        self.kept += len(records)
        self.best = min(self.best, *(record["select"][self.metric] for record in records))
        best = f"best {LABELS[self.metric]} {self.best:.4g}"
        self.live.update(self.task, completed=self.kept * self.epochs, best=best)
        if not self.console.is_terminal:
            seconds = time.perf_counter() - self.started
            self.console.print(f"{self.kept}/{self.total} networks, {seconds:.0f} s, {best}", highlight=False)


def print_result(result: StudyResult) -> None:
    """Print the arms, the reference lines, the advice and the files.

    Args:
        result: a finished study.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 110
    console.print(_arms(result))
    names = ["+".join(block) for block in result.blocks]
    blocks = ", ".join([*names[:SHOWN], *(["... all in the report"] if len(names) > SHOWN else [])])
    left = ", < those that left early, beaten" if any(arm.left for arm in result.arms) else ""
    console.print(
        f"± is the standard error over {result.options['seeds']} seeds; ! marks arms that had not converged{left}. "
        f"k is the interaction order, with the share of output variance it holds under the product law of "
        f"{len(result.blocks)} blocks of columns ({blocks}).",
        markup=False, style="dim",
    )  # fmt: skip
    advice = result.advice
    if advice is None:
        return
    console.print("", *advice.sentences, sep="\n", markup=False)
    if advice.code:
        console.print(f"\n{advice.code}", markup=False, style="bold")
    console.print("", *result.files, sep="\n", markup=False)


def _arms(result: StudyResult) -> Table:
    label, orders = LABELS[result.metric].partition(" (")[0], len(result.arms[0].share)
    lr = len({arm.lr for arm in result.arms}) > 1
    title = f"{result.name}: {result.target}, {len(result.trials)} networks, {result.seconds:.0f} s"
    table = Table(title=Text(title), box=SIMPLE, padding=0)
    names = ["p in", "p hidden", *(["lr"] if lr else []), f"select {label}", f"test {label}"]
    spectrum = ["k=1", *map(str, range(2, orders + 1)), f"≥{orders + 1}", "mean k"] if orders else []
    for name in [*names, *spectrum, "epoch"]:
        table.add_column(name, justify="right", no_wrap=True)
    for arm in result.arms:
        flag = "!" if arm.diverged or not arm.converged else "<" if arm.left else ""
        shares = [f"{value:.2f}" for value in (*arm.share, arm.rest, arm.mean_order)] if orders else []
        table.add_row(
            f"{arm.p_input:.4g}", rate_text(arm.p_hidden, ".4g"), *([f"{arm.lr:g}"] if lr else []),
            f"{arm.select:.4g}±{arm.select_se:.2g}", f"{arm.test:.4g}±{arm.test_se:.2g}",
            *shares, f"{arm.best_epoch:.0f}{flag}", style="bold green" if arm is result.advised_arm else None,
        )  # fmt: skip
    table.add_section()
    for row in result.references:
        select, test = (sum(s[result.metric] for s in row[part]) / len(row[part]) for part in ("select", "test"))
        table.add_row("", row["name"], *([""] if lr else []), f"{select:.4g}", f"{test:.4g}", style="dim")
    return table
