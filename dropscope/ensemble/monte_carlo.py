"""Predict by the mean and variance over dropout masks: exactly where there is a formula, else by sampling."""

from contextlib import closing
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import torch
from torch import nn

from dropscope.ensemble.gathering import Work
from dropscope.ensemble.inputs import batches
from dropscope.ensemble.outputs import Output, Reader, Transform
from dropscope.ensemble.prediction import Prediction
from dropscope.ensemble.progress import Progress
from dropscope.ensemble.source import Source
from dropscope.ensemble.subject import Subject
from dropscope.ensemble.switching import Only, chosen
from dropscope.errors import closest
from dropscope.masks.sources import word
from dropscope.sites.finding import listed

__all__ = ["predict"]


def predict(
    model: nn.Module,
    x: Any,
    n_samples: int = 100,
    *,
    generator: torch.Generator | None = None,
    batch_size: int | None = None,
    masks: str = "per-row",
    transform: Transform = None,
    class_axis: int = -1,
    output: Output = None,
    only: Only = None,
    keep_samples: bool = False,
    exact: bool = True,
    memory: int = 256 * 2**20,
    progress: bool | None = None,
    explain: bool = False,
) -> Prediction:
    """Predict with a trained model and its dropout switched on: mean, variance, and what the passes disagree on.

    `mean = 1/T Σ_t f(x; mask_t)`, `variance = 1/(T-1) Σ_t (f(x; mask_t) - mean)²`.

    The model is run as it is and left as it was: see `dropout_on`. What it computes before anything is dropped is
    computed once. Passes run together, as rows of one batch, or one by one, whichever is faster. Where dropout stands
    only before a final linear layer, mean and variance are computed exactly and nothing is sampled. The mask of a row
    depends on the generator, the pass and the number of the row, not on the batch it is in. Where the rows of a batch
    depend on one another, as steps of time on axis 0 or by batch statistics, passes run one by one. Threads that
    predict with the same model wait for one another.

    Args:
        model: any module.
        x: a tensor, a tuple of arguments or a mapping of keyword arguments, with samples on axis 0; or a DataLoader,
            of whose batches that are tuples or lists the first item is the input.
        n_samples: number of passes T, at least 2.
        generator: source of randomness; None: torch's own stream, of which one number is taken.
        batch_size: rows per batch; None: as many as fit in `memory`. A DataLoader has its own.
        masks: "per-row" for masks of each row's own; "shared" for one function per pass, the same for all rows, so that
            passes can be compared across rows; "fixed" for the same functions at every call.
        transform: None, "softmax", "sigmoid" or a function of the output, applied to each pass before averaging.
        class_axis: axis of the classes in the output.
        output: key or number of the tensor among several outputs, or a function that picks it, or that picks the pair
            (mean, variance) of a model with a variance head; None: the only one, or the `logits`.
        only: which modules to switch on: see `dropout_on`.
        keep_samples: whether to keep the outputs of all passes.
        exact: whether to use the closed form where there is one.
        memory: bytes of activations that passes run together may take.
        progress: whether to show progress on stderr; None: on a terminal, if it takes long.
        explain: whether to print how the passes are computed.

    Returns:
        The prediction, on the device of the outputs, without gradients.

    Raises:
        NoDropoutFound: nothing in the model drops.
        TypeError: `model` is no module, `x` holds no tensor, or the model's output is none and `output` picks none.
        ValueError: an argument has the wrong value, `x` has no rows, or the model gives nan, inf or a variance below 0.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))
        >>> prediction = predict(model, torch.randn(5, 3))
        >>> prediction.mean.shape, prediction.method
        (torch.Size([5, 1]), 'exact-linear')
        >>> predict(model, torch.randn(5, 3), transform=torch.exp).method
        'sampled'

    Reference:
        Gal & Ghahramani, 2016, arXiv:1506.02142.
    """
    reader = Reader(output, transform, class_axis)
    _check(n_samples, batch_size, masks, memory)
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(f"`generator` must be None or a torch.Generator, got {type(generator).__name__}.")
    seed = word(generator) if masks != "fixed" else 0 if generator is None else generator.initial_seed()
    source = Source(model, seed, shared=masks != "per-row")
    on = chosen(model, only)
    subject = Subject(model, on, source, reader)
    work = Work(subject, n_samples, batch_size, memory, keep_samples, exact=exact and not keep_samples)

    with subject.ready():
        calls, count = batches(x, model)
        with closing(Progress(None if count is None else count * n_samples, progress)) as bar:
            prediction = work.over(calls, bar)
    rates = {site.module: site.p for site in listed(model)}
    prediction = replace(prediction, rates=tuple(rates[module] for module in on if module in rates))
    if explain:
        print("\n".join([f"{prediction.method}:", *prediction.notes]))
    return prediction


def _check(n_samples: int, batch_size: int | None, masks: str, memory: int) -> None:
    if not isinstance(n_samples, Integral) or n_samples < 2:
        raise ValueError(
            f"`n_samples` must be a whole number of at least 2, got {n_samples!r}: one pass has no variance."
        )
    if batch_size is not None and (not isinstance(batch_size, Integral) or batch_size < 1):
        raise ValueError(f"`batch_size` must be a whole number of at least 1 or None, got {batch_size!r}.")
    if not isinstance(memory, Real) or memory < 1:
        raise ValueError(f"`memory` must be a positive number of bytes, got {memory!r}.")
    if masks not in ("per-row", "shared", "fixed"):
        raise ValueError(
            f"`masks` must be a way to draw, got {masks!r}: {closest(masks, ['per-row', 'shared', 'fixed'])}"
        )
