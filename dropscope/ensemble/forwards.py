"""Forward methods that stand in for those of a model's modules: dropout that draws from the source of a prediction."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from dropscope import layers
from dropscope.ensemble.interception import Intercepted, drop_by
from dropscope.ensemble.recurrence import run_layers, single_layers
from dropscope.ensemble.source import Source
from dropscope.layers import DropoutLayer
from dropscope.layers.variational import VariationalLayer

__all__ = ["drawing", "of_its_class", "replaced"]

Forward = Callable[..., Any]
LAWS = {
    nn.Dropout.forward: "elements",
    nn.Dropout1d.forward: "channels",
    nn.Dropout2d.forward: "channels",
    nn.Dropout3d.forward: "channels",
    nn.AlphaDropout.forward: "alpha",
    nn.FeatureAlphaDropout.forward: "alpha channels",
}


@contextmanager
def drawing(modules: Sequence[nn.Module], source: Source) -> Iterator[None]:
    """Let these modules, which are switched on, draw from the source until the end of the `with` block."""
    source.patched = {module for module in source.model.modules() if "forward" in vars(module)}
    with replaced({module: _forward(module, source) for module in modules}):
        yield


@contextmanager
def replaced(forwards: Mapping[nn.Module, Forward]) -> Iterator[None]:
    """Call other functions in the place of the modules' `forward`, hooks included, until the end of the block."""
    before = {module: module.__dict__.get("forward") for module in forwards}
    try:
        for module, forward in forwards.items():
            module.__dict__["forward"] = forward
        yield
    finally:
        for module, own in before.items():
            module.__dict__.pop("forward", None)
            if own is not None:
                module.__dict__["forward"] = own


@contextmanager
def of_its_class(module: nn.Module) -> Iterator[None]:
    """Let a module have the `forward` of its class, whatever stands in for it, until the end of the block."""
    stand_in = module.__dict__.pop("forward", None)
    try:
        yield
    finally:
        if stand_in is not None:
            module.__dict__["forward"] = stand_in


def _forward(module: Any, source: Source) -> Forward:
    """Find what stands in for the `forward` of a module that drops."""
    torchs = own = module.forward
    kind = getattr(torchs, "__func__", None)  # None where a module's forward has been replaced before
    if kind in LAWS:
        return partial(_dropout, module, LAWS[kind], source)
    if kind is nn.MultiheadAttention.forward and not hasattr(module, "parametrizations"):
        own = layers.MultiheadAttention.from_torch(module).forward
    elif kind in (nn.LSTM.forward, nn.GRU.forward, nn.RNN.forward):
        own = partial(run_layers, module, single_layers(module), partial(_dropout, module, "elements", source))
    elif not isinstance(module, DropoutLayer | VariationalLayer):
        own = partial(_intercepted, own, source)
    return partial(_by_rows, module, torchs, own, source)


def _dropout(module: Any, law: str, source: Source, input: Tensor) -> Tensor:
    if not module.training:
        return input
    p = module.dropout if isinstance(module, nn.RNNBase) else module.p
    return drop_by(source, law, input, p, inplace=getattr(module, "inplace", False))


def _intercepted(own: Forward, source: Source, *args: Any, **kwargs: Any) -> Any:
    with Intercepted(source):
        return own(*args, **kwargs)


def _by_rows(module: nn.Module, torchs: Forward, own: Forward, source: Source, *args: Any, **kwargs: Any) -> Any:
    """Call a module with draws for each row; one that has none, such as masks of weights, with draws for the batch."""
    if not module.training:
        return torchs(*args, **kwargs)
    if module not in source.for_batches:
        try:
            with source.by_rows():
                return own(*args, **kwargs)
        except ValueError:  # what `masks.refuse_seeds` says; an error of the module's own is raised again below
            source.for_batches[module] = None
    with source.whole_batch((args, kwargs)):
        return own(*args, **kwargs)
