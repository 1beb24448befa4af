"""The passes of a prediction, each run alone and in full: what any reuse and any batch must reproduce."""

import torch

from dropscope import ensemble
from dropscope.ensemble.forwards import drawing
from dropscope.ensemble.source import Source
from dropscope.ensemble.switching import chosen, switched
from dropscope.masks.sources import word


def seeded():
    return torch.Generator().manual_seed(4)


def sampled(model, x, n=40, **options):
    return ensemble.predict(model, x, n, generator=seeded(), keep_samples=True, **options)


def one_by_one(model, x, n=40):
    """The same passes without anything reused: each alone, as the only ones of a call."""
    return torch.stack([_pass(model, x, number) for number in range(n)])


def _pass(model, x, number):
    source = Source(model, word(seeded()), shared=False)
    on = chosen(model, None)
    with torch.no_grad(), switched(model, on), drawing(on, source), source.running([number], 0, len(x)):
        return model(x)
