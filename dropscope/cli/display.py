"""What a study looks like in a terminal: a live line while it runs, a table and two sentences when it is done."""

import math
import time
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from dropscope.study import StudyResult
from dropscope.study.metrics import LABELS
from dropscope.study.problem import Problem
from dropscope.study.runner import Progress as StudyProgress

__all__ = ["Display", "print_result"]


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
        self.started = time.perf_counter()

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def posed(self, problem: Problem) -> None:
        """Print what was decided for the user."""
        self.metric = problem.metric
        for note in problem.notes:
            self.console.print(f"note: {note}", markup=False, highlight=False)

    def planned(self, epochs: int, total: int, done: int) -> None:
        """Say how much there is to do."""
        self.epochs, self.total, self.kept = epochs, total, done
        resumed = f", {done} of them already there" if done else ""
        self.console.print(f"{total} networks, {epochs} epochs each{resumed}", highlight=False)
        self.task = self.live.add_task("training", total=total * epochs, completed=done * epochs, best="")

    def epoch(self, epoch: int, alive: int, best: float) -> None:
        """Move the bar by the models still training."""
        self.live.update(self.task, description=f"epoch {epoch}, {alive} models", advance=min(alive, self.total))

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
    console.print(_arms(result))
    columns = ", ".join("+".join(block) for block in result.blocks)
    law = f"Shares of variance by interaction order; inputs law: product of {len(result.blocks)} blocks: {columns}."
    console.print(law, markup=False, style="dim")
    advice = result.advice
    if advice is None:
        return
    console.print()
    for sentence in advice.sentences:
        console.print(sentence, markup=False)
    if advice.code:
        console.print(f"\n{advice.code}\n", markup=False, style="bold")
    for file in result.files:
        console.print(file, markup=False)


def _arms(result: StudyResult) -> Table:
    orders = len(result.arms[0].share)
    label = LABELS[result.metric]
    table = Table(title=f"{result.name}: {result.target}, {len(result.trials)} networks, {result.seconds:.0f} s")
    for name in ("input p", "hidden p", f"select {label}", f"test {label}"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in [*(f"order {k}" for k in range(1, orders + 1)), "rest", "mean order", "epoch"]:
        table.add_column(name, justify="right")
    advised = result.advice and (result.advice.p_input, result.advice.p_hidden)
    for arm in result.arms:
        flag = " !" if arm.diverged or not arm.converged else ""
        table.add_row(
            f"{arm.p_input:g}", f"{arm.p_hidden:g}", f"{arm.select:.4g} ± {arm.select_se:.2g}",
            f"{arm.test:.4g} ± {arm.test_se:.2g}", *(f"{share:.2f}" for share in (*arm.share, arm.rest)),
            f"{arm.mean_order:.2f}", f"{arm.best_epoch:.0f}{flag}",
            style="bold green" if arm.rates == advised else None,
        )  # fmt: skip
    table.add_section()
    for row in result.references:
        select, test = (sum(s[result.metric] for s in row[part]) / len(row[part]) for part in ("select", "test"))
        table.add_row("", row["name"], f"{select:.4g}", f"{test:.4g}", *[""] * (orders + 3), style="dim")
    return table
