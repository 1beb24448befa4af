"""What the methods share that read the spectrum off models fitted to f: their rows, and their result."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from dropscope.spectrum.calling import Subject
from dropscope.spectrum.cube import CALL_ROWS, PROBE, probe
from dropscope.spectrum.result import Spectrum

__all__ = ["SurrogateSpectrum", "observe"]

FEWEST_ROWS = 50


@dataclass(frozen=True, eq=False)
class SurrogateSpectrum(Spectrum):
    """A spectrum read off models fitted to f, one per order: what they did not learn stays in `rest`.

    The mean order and the single `orders` are nan.

    Attributes:
        r2: share of the variance that the models up to each order explain together.
        caveat: what to keep in mind when reading the shares.
    """

    r2: NDArray[np.float64]
    caveat: str

    def describe(self) -> str:
        """Say what was measured, on which law of inputs, every share, what was explained, and the caveat."""
        lines = [
            f"interaction spectrum over {self.n_orders} columns, {self.inputs_law} law of inputs",
            f"method {self.method}, {self.budget:,} evaluations, variance {self.total:.4g}",
        ]
        for k, (share, low, high, r2) in enumerate(zip(self.share, self.low, self.high, self.r2, strict=False), 1):
            lines.append(f"  order {k:<4} {share:.3f}{_brackets(low, high)}  {self.point} R2 {r2:.3f}")

        rest = f"{self.rest:.3f}{_brackets(self.low[-1], self.high[-1])}"
        return "\n".join([*lines, f"  rest       {rest}  order > {self.max_order}, or not learned", self.caveat])

    __str__ = describe

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Self:
        """The spectrum that `to_dict` wrote."""
        return super().from_dict({**plain, "r2": np.array(plain["r2"], dtype=float)})


def observe(
    subject: Subject, budget: int, generator: torch.Generator | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Outputs on the table's own rows, as many as the budget allows, in random order.

    Args:
        subject: the model and its table.
        budget: most rows to evaluate.
        generator: source of the choice of rows.

    Returns:
        Rows as numbers, outputs of shape (rows, outputs), and the number of rows evaluated.

    Raises:
        ValueError: there are fewer than 50 rows, two passes of f differ, or f is constant.
    """
    table = subject.design.table
    spent = 2 * min(PROBE, len(table))
    count = min(budget - spent, len(table))
    if count < FEWEST_ROWS:
        raise ValueError(
            f"`inputs` and `budget` must allow {FEWEST_ROWS} rows or more beside {spent} evaluations to see whether f "
            f"is random, got {len(table)} rows and {budget}."
        )
    probe(subject.evaluate, table[:PROBE])

    source = generator.device if generator is not None else torch.device("cpu")
    chosen = torch.randperm(len(table), generator=generator, device=source)[:count]
    rows = table[chosen.to(table.device)]
    # A model that writes into its input must not change the rows that others are fitted to.
    outputs = torch.cat([subject.evaluate(part.clone())[0] for part in rows.split(CALL_ROWS)]).double()

    if (outputs == outputs[0]).all():
        raise ValueError("`f` must vary with its inputs, but it gave the same output for every row.")
    return subject.table.numbers(rows), outputs.cpu().numpy(), spent + count


def _brackets(low: float, high: float) -> str:
    return f"  [{low:.3f}, {high:.3f}]" if np.isfinite(high) else ""
