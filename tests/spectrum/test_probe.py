"""The look at f before it is measured: what is random or depends on its batch is refused, and rounding is not."""

import itertools

import pytest
import torch
from torch import nn

from dropscope.spectrum import interaction_spectrum, stack_spectra
from dropscope.spectrum.cube import probe, probe_rows


def plain(x):
    return x[:, 0] * 1.0


def as_stack(f):
    return lambda rows: f(rows).reshape(1, len(rows), -1)


@pytest.fixture
def inputs(generator):
    return torch.rand(50, 4, generator=generator, dtype=torch.float64)


def counter(step):
    """A model that answers a little more at every call."""
    calls = itertools.count()
    return lambda x: plain(x) + step * next(calls)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: plain(x) + 1e-4 * torch.rand(len(x)),
        lambda x: plain(x.float()) + 1e-4 * torch.rand(len(x)),
        lambda x: (plain(x) > 0.5) ^ (torch.rand(len(x)) < 0.5),
        counter(1e-5),
    ],
)
def test_a_little_randomness_and_a_drift_are_seen(f, inputs):
    with pytest.raises(ValueError, match="two passes differ"):
        interaction_spectrum(f, inputs, budget=5000)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: plain(x) - plain(x).mean(),
        lambda x: (plain(x) - plain(x).mean()) / plain(x).std(),
        lambda x: nn.functional.batch_norm(x, None, None, training=True)[:, 0],
        lambda x: plain(x).argsort().argsort(),
        lambda x: plain(x) + torch.arange(len(x)),
        lambda x: plain(x).cumsum(0),
    ],
)
def test_a_model_that_looks_at_its_batch_is_refused(f, inputs):
    with pytest.raises(ValueError, match="`f` must treat every row by itself, but its outputs depend on the rows"):
        interaction_spectrum(f, inputs, budget=5000)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("offset", [0.0, 10.0])
def test_rounding_that_depends_on_the_batch_is_not_randomness(dtype, offset, inputs):
    def f(x):
        # One unit in the last place up or down, as where a kernel splits its sums by the size of the batch.
        y = (x.sum(1) + offset).to(dtype)
        return torch.nextafter(y, y + (1 if len(x) % 32 else -1))

    assert interaction_spectrum(f, inputs, budget=5000).total > 0


@pytest.mark.parametrize("rows", [2, 3, 7, 32, 33])
def test_the_rows_evaluated_are_those_announced(rows, inputs):
    seen = []

    def f(x):
        seen.append(len(x))
        return plain(x)

    table = inputs[:rows]
    assert probe(as_stack(f), table) == sum(seen) == probe_rows(table) == 2 * min(rows, 32)


def test_a_stack_that_writes_into_its_rows_does_not_write_into_the_table(inputs):
    def f(x):
        x -= 0.5
        return torch.stack([x[:, :1], x[:, 1:2]])

    before = inputs.clone()
    spectra = stack_spectra(f, inputs, models=2, budget=5000)
    assert (inputs == before).all()
    assert [spectrum.share[0] for spectrum in spectra] == pytest.approx([1, 1])


def test_a_model_that_is_not_finite_does_not_stop_its_stack(inputs):
    one, other = stack_spectra(lambda x: torch.stack([x[:, :1] / 0, x[:, :1]]), inputs, models=2, budget=5000)
    assert one is None
    assert other.total > 0
