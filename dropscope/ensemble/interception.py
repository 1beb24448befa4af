"""Torch's functions that draw, called by a model's own code, with the random numbers of a prediction in their place."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from inspect import Signature
from inspect import signature as find_signature
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from dropscope import functional, masks
from dropscope.ensemble.draws import Passes
from dropscope.ensemble.source import Source
from dropscope.masks import rows

__all__ = ["Intercepted", "drop_by"]

signature: Callable[[Any], Signature] = cache(find_signature)
Replacement = Callable[..., Any]  # (source, *arguments of torch's function) -> what it gives


def drop_by(source: Source, law: str, x: Tensor, p: float, *, inplace: bool = False) -> Tensor:
    """Drop from `x` by one of torch's laws.

    Args:
        source: of the masks.
        law: "elements", "channels", "alpha" or "alpha channels".
        x: the tensor.
        p: probability of dropping.
        inplace: whether `x` itself takes the result.
    """
    y = source.drop(x, partial(LAWS[law], p=p), channels=law.endswith("channels"))
    return x.copy_(y) if inplace else y


def _drop_elements(x: Tensor, p: float) -> Tensor:
    """Drop single elements; where all rows share a mask, by one product with it."""
    seeded = rows.current()
    plain = x.is_cpu and x.dtype in (torch.float32, torch.float64) and 0 < p < 1
    if plain and isinstance(seeded, Passes) and seeded.shared and len(seeded.passes) == 1:
        kept = seeded.kept(x.shape, x.device, p)()[:1]
        return x * kept.to(x.dtype).mul_(1 / (1 - p))
    return masks.drop(x, p)


LAWS: dict[str, Callable[..., Tensor]] = {
    "elements": _drop_elements,
    "channels": partial(masks.drop, per=(0, 1)),
    "alpha": partial(functional.alpha_dropout, training=True),
    "alpha channels": partial(functional.feature_alpha_dropout, training=True),
}


class Intercepted(TorchFunctionMode):
    """In the `with` block torch's dropout functions, and its random numbers, are drawn from the source.

    Args:
        source: of the masks.
    """

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        ours = REPLACEMENTS.get(function)
        if ours is None:
            return function(*args, **(kwargs or {}))
        return ours(self.source, function, *args, **(kwargs or {}))


def _law(law: str) -> Replacement:
    def replacement(source: Source, function: Any, *args: Any, **kwargs: Any) -> Tensor:
        given = signature(function).bind(*args, **kwargs)
        given.apply_defaults()
        x, p, training, inplace = given.args
        return drop_by(source, law, x, p, inplace=inplace) if training else x

    return replacement


def _builtin_dropout(source: Source, function: Any, input: Tensor, p: float, train: bool) -> Tensor:
    return drop_by(source, "elements", input, p) if train else input


def _attention(source: Source, function: Any, *args: Any, **kwargs: Any) -> Tensor:
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    given = dict(zip(names, args, strict=False)) | kwargs
    p = given.pop("dropout_p", 0.0)
    if p == 0:
        return function(**given)

    query, key, value = (given.pop(name) for name in names[:3])
    if given.get("enable_gqa"):
        repeats = query.shape[-3] // key.shape[-3]
        key, value = (x.repeat_interleave(repeats, -3) for x in (key, value))
    given.pop("enable_gqa", None)
    weights = functional.attention_weights(query, key, **given)
    return drop_by(source, "elements", weights, p) @ value


def _rand(
    source: Source, function: Any, *sizes: Any, size: Any = None, generator: Any = None, **options: Any
) -> Tensor:
    given = sizes if size is None else (size,)
    shape = torch.Size(given[0] if len(given) == 1 and isinstance(given[0], Sequence) else given)
    return _uniform(source, torch.empty(shape, **options))


def _rand_like(source: Source, function: Any, input: Tensor, generator: Any = None, **options: Any) -> Tensor:
    return _uniform(source, torch.empty_like(input, **options))


def _bernoulli(source: Source, function: Any, input: Tensor, *args: Any, **options: Any) -> Tensor:
    return (_uniform(source, torch.empty_like(input)) < (args[0] if args else options.get("p", input))).to(input.dtype)


def _bernoulli_(source: Source, function: Any, x: Tensor, p: Any = 0.5, **options: Any) -> Tensor:
    return x.copy_(_uniform(source, torch.empty_like(x, dtype=torch.get_default_dtype())) < p)


def _uniform(source: Source, like: Tensor) -> Tensor:
    """Numbers on [0, 1), of each row's own where axis 0 holds the rows; else the whole batch shares the draw."""
    seeded = rows.current()
    if seeded is not None and like.dim() > 0 and len(like) == len(seeded.seeds):
        return masks.uniform(like.shape, dtype=like.dtype, device=like.device)
    with source.whole_batch(like):
        return torch.rand_like(like)


REPLACEMENTS: dict[Any, Replacement] = {
    F.dropout: _law("elements"),
    F.dropout1d: _law("channels"),
    F.dropout2d: _law("channels"),
    F.dropout3d: _law("channels"),
    F.alpha_dropout: _law("alpha"),
    F.feature_alpha_dropout: _law("alpha channels"),
    torch.dropout: _builtin_dropout,
    F.scaled_dot_product_attention: _attention,
    torch.rand: _rand,
    torch.rand_like: _rand_like,
    torch.bernoulli: _bernoulli,
    Tensor.bernoulli: _bernoulli,
    Tensor.bernoulli_: _bernoulli_,
}
