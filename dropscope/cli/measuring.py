"""Measure a model on its inputs: the spectrum, the terms if asked for, and what there was to notice."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dropscope.cli.models import Model
from dropscope.cli.wording import told_in_options
from dropscope.report.order_shares import reading_of
from dropscope.spectrum import Spectrum, Terms, centre_logits, interaction_spectrum, rank_terms
from dropscope.spectrum.reading import placed
from dropscope.spectrum.scores import score_function

__all__ = ["Measurement", "measure"]

# Rows that a model is tried on before it is measured.
TRIED = 256
# How far the sum of a row of probabilities in half precision may lie from one.
ROUNDING = 1e-2


@dataclass(frozen=True, eq=False)
class Measurement:
    """What was measured: a spectrum, its terms or None, and the names of the columns."""

    spectrum: Spectrum
    terms: Terms | None
    columns: tuple[str, ...]

    def describe(self) -> str:
        """Say the spectrum in one sentence, then all numbers."""
        parts = [reading_of(self.spectrum), self.spectrum.describe()]
        return "\n\n".join([*parts, self.terms.describe()] if self.terms else parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            "reading": reading_of(self.spectrum), "columns": list(self.columns),
            "spectrum": self.spectrum.to_dict(), "terms": self.terms and self.terms.to_dict(),
        }  # fmt: skip


def measure(
    model: Model,
    inputs: Any,
    columns: Sequence[str],
    *,
    logits: bool,
    terms: bool,
    seed: int,
    **options: Any,
) -> Measurement:
    """Measure a model.

    Args:
        model: the model.
        inputs: what it is given: a tensor, an array or a DataFrame.
        columns: name of each column.
        logits: whether outputs are logits, to be centred.
        terms: whether to rank the terms too.
        seed: seed of all draws; the terms have draws of their own.
        options: others of `interaction_spectrum`.

    Returns:
        What was measured.

    Raises:
        ValueError: an option is invalid, or the model fails on these inputs.
    """
    _check_order(options["max_order"], len(columns if options["blocks"] is None else options["blocks"]))
    numbered = columns if isinstance(inputs, Tensor | np.ndarray) else None
    f, ranked = model.f, None

    if logits:
        _check_centring(model)
    outputs = _try_out(model, inputs, columns)
    if logits:
        _check_logits(outputs, model.name)
        f = _centred(f)

    with told_in_options(model.name, numbered):
        # The terms come first: they need the larger budget, and it is better refused before the spectrum is measured.
        if terms:
            shared = {name: options[name] for name in ("budget", "blocks", "target")}
            ranked = rank_terms(f, inputs, feature_names=columns, generator=_generator(seed + 1), **shared)
        spectrum = interaction_spectrum(f, inputs, generator=_generator(seed), **options)
    return Measurement(spectrum, ranked, tuple(columns))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _check_order(max_order: int | None, blocks: int) -> None:
    if max_order is not None and not 1 <= max_order <= blocks:
        raise ValueError(f"`--max-order` must be in 1 to {blocks}, the number of blocks, got {max_order}.")


def _try_out(model: Model, inputs: Any, columns: Sequence[str]) -> Any:
    """Call the model once, so that what is wrong with its inputs is said before anything is measured."""
    f = model.f
    # The model may write into what it is given.
    rows = copy.deepcopy(inputs[:TRIED])
    if isinstance(f, nn.Module):
        f.eval()
        rows = placed(rows, f)

    score = score_function(f)
    try:
        with torch.no_grad():
            return score(rows)
    except Exception as error:
        said = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        shown = ", ".join(columns[:8]) + (", ..." if len(columns) > 8 else "")
        raise ValueError(
            f"{model.name} fails on rows of {len(columns)} columns ({shown}), {type(error).__name__}: {said}. "
            "Are these its inputs? Choose with `--columns`, `--drop` or `--target`."
        ) from error


def _check_centring(model: Model) -> None:
    if callable(model.f):
        return
    classifies = hasattr(model.f, "decision_function") or hasattr(model.f, "predict_proba")
    what = "a classifier, whose scores are centred already" if classifies else "no classifier"
    raise ValueError(f"`--logits` is for networks and callables, but {model.name} is {what}: leave it out.")


def _check_logits(outputs: Any, name: str) -> None:
    """Refuse what cannot be logits: centred probabilities would still be shares of the softmax's own interactions."""
    rows = outputs.cpu().numpy() if isinstance(outputs, Tensor) else outputs
    if not isinstance(rows, np.ndarray) or rows.ndim < 2 or rows.shape[-1] < 2:
        raise ValueError(
            f"`--logits` needs two outputs or more in one table, which {name} does not give: leave it out."
        )
    if (rows >= 0).all() and np.abs(rows.sum(-1, dtype=float) - 1).max() < ROUNDING:
        raise ValueError(
            f"`--logits` needs logits, but the outputs of {name} are probabilities, as each row sums to one: name a "
            "callable that gives the logits, `module:attribute`."
        )


class _Centred(nn.Module):
    """A network whose logits sum to zero over the classes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, rows: Tensor) -> Tensor:
        return centre_logits(self.network(rows))


def _centred(f: Any) -> Any:
    return _Centred(f) if isinstance(f, nn.Module) else lambda rows: centre_logits(f(rows))
