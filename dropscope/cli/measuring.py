"""Measure a model on its inputs: the spectrum, the terms if asked for, and what there was to notice."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dropscope.cli.models import Model
from dropscope.report.order_shares import reading_of
from dropscope.spectrum import Spectrum, Terms, centre_logits, interaction_spectrum, rank_terms

__all__ = ["Measurement", "measure"]

# Rows that a model is tried on before it is measured.
TRIED = 2


@dataclass(frozen=True, eq=False)
class Measurement:
    """What was measured: a spectrum, its terms or None, the names of the columns, and notes for the reader."""

    spectrum: Spectrum
    terms: Terms | None
    columns: tuple[str, ...]
    notes: tuple[str, ...]

    def describe(self) -> str:
        """Say the spectrum in one sentence, then all numbers."""
        parts = [reading_of(self.spectrum), self.spectrum.describe()]
        return "\n\n".join([*parts, self.terms.describe()] if self.terms else parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            "reading": reading_of(self.spectrum), "columns": list(self.columns), "notes": list(self.notes),
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
    max_order: int | None,
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
        max_order: highest order with a share of its own; None: three, or fewer where there are fewer blocks.
        options: others of `interaction_spectrum`.

    Returns:
        What was measured.

    Raises:
        ValueError: an option is invalid, or the model fails on these inputs.
    """
    f = _centred(model) if logits else model.f
    if isinstance(f, nn.Module):
        f.eval()
    if callable(f):
        _try_out(f, inputs[:TRIED], model.name, columns, options["target"])

    blocks = options["blocks"]
    max_order = max_order or min(3, len(columns) if blocks is None else len(blocks))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        generator = torch.Generator().manual_seed(seed)
        spectrum = interaction_spectrum(f, inputs, max_order=max_order, generator=generator, **options)
        ranked = None
        if terms:
            shared = {name: options[name] for name in ("budget", "blocks", "target")}
            ranked = rank_terms(f, inputs, feature_names=columns, generator=generator, **shared)

    notes = dict.fromkeys(" ".join(str(one.message).split()) for one in caught)
    return Measurement(spectrum, ranked, tuple(columns), tuple(notes))


class _Centred(nn.Module):
    """A network whose logits sum to zero over the classes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, rows: Tensor) -> Tensor:
        return centre_logits(self.network(rows))


def _centred(model: Model) -> Any:
    f = model.f
    if isinstance(f, nn.Module):
        return _Centred(f)
    if callable(f):
        return lambda rows: centre_logits(f(rows))
    raise ValueError(f"`--logits` is for networks and callables: the scores of {model.name} are centred already.")


def _try_out(f: Any, rows: Any, name: str, columns: Sequence[str], output: int | None) -> None:
    """Call the model once, so that what is wrong with its inputs is said before anything is measured."""
    parameter = next(f.parameters(), None) if isinstance(f, nn.Module) else None
    try:
        with torch.no_grad():
            outputs = f(rows if parameter is None else rows.to(parameter.device, parameter.dtype))
    except Exception as error:
        said = (str(error).strip().splitlines() or [""])[0]
        shown = ", ".join(columns[:8]) + (", ..." if len(columns) > 8 else "")
        raise ValueError(
            f"{name} fails on rows of {len(columns)} columns ({shown}), {type(error).__name__}: {said}. Are these its "
            "inputs? Choose with `--columns`, `--drop` or `--target`."
        ) from error

    count = outputs.reshape(len(outputs), -1).shape[1] if isinstance(outputs, Tensor) and outputs.ndim else None
    if output is not None and count is not None and not 0 <= output < count:
        raise ValueError(f"`--output` must be in 0 to {count - 1}, the outputs of {name}, got {output}.")
