"""Run a model on uncertain tensors: torch.fx finds what it computes, and each step follows its rule."""

import inspect
import operator
from collections.abc import Callable, Mapping
from threading import Lock, get_ident
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from dropscope import layers
from dropscope.errors import UnsupportedModule
from dropscope.moments.noise import bernoulli_noise, noise_of, unsupported
from dropscope.moments.noise_rules import through_noise
from dropscope.moments.rules import find_rule, has_rule, register
from dropscope.moments.values import Sources, Uncertain, total
from dropscope.sites.finding import listed
from dropscope.surgery.inserting import INSERTED

__all__ = ["through"]

_tracing = Lock()  # torch.fx changes nn.Module for as long as it traces
IN_PLACE = {operator.iadd, operator.isub, operator.imul, operator.itruediv}
ABOUT = {"size", "dim", "numel", "is_floating_point", "shape", "dtype", "device", "ndim"}  # these read no values
VIEWS = {"view", "view_as", "reshape", "reshape_as", "flatten", "unflatten", "ravel", "squeeze", "unsqueeze"}
VIEWS |= {"transpose", "swapaxes", "swapdims", "permute", "movedim", "moveaxis", "t", "adjoint", "contiguous", "detach"}
VIEWS |= {"expand", "expand_as", "broadcast_to", "narrow", "select", "diagonal", "unfold", "chunk", "split", "unbind"}
VIEWS |= {"tensor_split", "to", "type_as", "float", "double", "half", "bfloat16"}  # some of them at times copy


def through(
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    sources: Sources | None,
    path: str = "",
    output: Callable[[Any], Any] | None = None,
) -> Any:
    """Run a module, some of whose inputs may be `Uncertain`.

    Args:
        module: the module; nothing in it is called that dropout has touched, so that its mode tells only which of
            its dropout functions drop.
        args: its arguments.
        kwargs: its keyword arguments.
        sources: counts the sources of noise; None: covariances are not kept.
        path: where it stands in the model.
        output: what is done to its result in the end.

    Returns:
        What comes out, with an `Uncertain` wherever dropout has touched a tensor.

    Raises:
        UnsupportedModule: a part of it has no rule, or it cannot be traced.
    """
    if _is_changed(module) or (not path and _inserted(module) is not None):
        raise unsupported(module, path, "has hooks or a replaced `forward`, which are followed only in its parts")
    if has_rule(module) and output is None:
        return _step(module, module, (module, *args), kwargs, sources, path)
    given = inspect.signature(module.forward).bind(*args, **kwargs)
    given.apply_defaults()
    fixed = {name: each for name, each in given.arguments.items() if not _has_tensors(each)}
    try:
        with _tracing:
            graph = _Tracer(output).trace(module, concrete_args=fixed)
        return _Run(module, graph, sources).run(*given.arguments.values())
    except UnsupportedModule:
        raise
    except Exception as error:  # whatever a model does with the stand-ins that torch.fx gives it
        raise unsupported(module, path, f"cannot be traced by torch.fx: {error}") from error


class _Tracer(fx.Tracer):
    """Looks into all modules but those that have a rule, or need one; where something is changed, into these too."""

    def __init__(self, output: Callable[[Any], Any] | None) -> None:
        super().__init__()
        self.output = output or (lambda given: given)
        self.thread = get_ident()

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Record the call, unless it is one of another thread: torch.fx catches those of all."""
        return super().call_module(m, forward, args, kwargs) if get_ident() == self.thread else forward(*args, **kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: Any) -> Any:
        """Record the use of a parameter, likewise."""
        own = get_ident() == self.thread
        return super().getattr(attr, attr_val, parameter_proxy_cache) if own else attr_val

    def create_args_for_root(self, *args: Any, **kwargs: Any) -> tuple[Any, list[Any]]:
        """Trace what is done to the result along with the module."""
        function, inputs = super().create_args_for_root(*args, **kwargs)
        return lambda *given: self.output(function(*given)), inputs

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        ours = type(m).__module__.startswith("dropscope.layers.")
        whole = has_rule(m) or ours or super().is_leaf_module(m, module_qualified_name)
        return (whole or _inserted(m) is not None) and not _is_changed(m)


class _Proxy(fx.Proxy):
    """A stand-in that records `x += y` as what it is, where torch.fx records `x + y`."""

    def __iadd__(self, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})

    def __isub__(self, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", operator.isub, (self, other), {})

    def __imul__(self, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", operator.imul, (self, other), {})

    def __itruediv__(self, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", operator.itruediv, (self, other), {})


class _Run(fx.Interpreter):
    """Runs a traced graph by the rules."""

    def __init__(self, module: nn.Module, graph: fx.Graph, sources: Sources | None) -> None:
        super().__init__(module, graph=graph)
        self.extra_traceback = False
        self.sources = sources
        self.place = ""
        self.order = {node: position for position, node in enumerate(graph.nodes)}
        self.memory: dict[fx.Node, fx.Node] = {}  # of each step so far the one that made the tensor it gives, or views

    def run_node(self, n: fx.Node) -> Any:
        self.place = next(reversed(n.meta.get("nn_module_stack", {"": None})))
        result = super().run_node(n)
        if self._overwrites(n, result) and isinstance(result, Uncertain):
            raise unsupported(
                "an operation in place", self.place, "changes what is used again later, which no rule follows"
            )
        return result

    def _overwrites(self, n: fx.Node, result: Any) -> bool:
        """Say whether a step works in place on something that later steps use again, by whatever name."""
        if n.op == "call_module":
            in_place = getattr(self.fetch_attr(str(n.target)), "inplace", False)
        else:
            in_place = n.target in IN_PLACE or _argument("inplace", n)
        shares = bool(n.all_input_nodes) and (in_place or self._views(n) or result is self.env[n.all_input_nodes[0]])
        self.memory[n] = self.memory[n.all_input_nodes[0]] if shares else n
        if not in_place:
            return False
        others = [each for each, maker in self.memory.items() if maker is self.memory[n] and each is not n]
        later = (user for each in others for user in each.users if self.order[user] > self.order[n])
        return any(not _asks_about(user) for user in later)

    def _views(self, n: fx.Node) -> bool:
        """Say whether a step may give a view of its first input, or a tuple of them."""
        if n.op == "call_module":
            return isinstance(self.fetch_attr(str(n.target)), nn.Identity | nn.Flatten | nn.Unflatten)
        if n.target is getattr:
            return not _asks_about(n)
        if n.target is operator.getitem:  # of a tensor, or of views; other tuples hold tensors of their own
            source = n.all_input_nodes[0]
            return isinstance(self.env[source], Tensor | Uncertain) or self.memory[source] is not source
        return (n.target if n.op == "call_method" else getattr(n.target, "__name__", "")) in VIEWS

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        module = self.fetch_attr(target)
        inserted = _inserted(module)
        if inserted is None:
            return _step(module, module, (module, *args), kwargs, self.sources, target)
        result = through(module, args, kwargs, self.sources, target)
        return through(inserted, (result,), {}, self.sources, f"{target}.{INSERTED}")

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target in (getattr, operator.getitem) and not isinstance(args[0], Tensor | Uncertain):
            return target(*args)
        if target is getattr and isinstance(args[0], Uncertain) and args[1] in ABOUT:
            return getattr(args[0].mean, args[1])
        return _step(target, target, args, kwargs, self.sources, self.place)

    def call_method(self, target: Any, args: Any, kwargs: Any) -> Any:
        if isinstance(args[0], Uncertain) and target in ABOUT:
            return getattr(args[0].mean, target)(*args[1:], **kwargs)
        function = getattr(torch.Tensor, target)
        alike = getattr(torch, target, None)  # of the same name, and called alike
        kind = alike if has_rule(alike) and not has_rule(function) else function
        return _step(kind, function, args, kwargs, self.sources, self.place)


def _step(
    kind: Any, what: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], sources: Any, path: str
) -> Any:
    """Run a module or function: by its rule where anything uncertain goes in or is made, else as it is."""
    inputs = args[1:] if isinstance(what, nn.Module) else args
    touched = any(isinstance(leaf, Uncertain) for leaf in tree_leaves((inputs, dict(kwargs))))
    rule = find_rule(kind)
    if not touched and not has_rule(kind, random=True) and not _drops(what, inputs, kwargs):
        return what(*inputs, **kwargs)
    if rule is None:
        hint = HINTS.get(type(what) if isinstance(what, nn.Module) else kind, REGISTER)
        raise unsupported(what, path, f"has no rule for mean and variance{hint}")

    known = None if touched else next(leaf for leaf in inputs if isinstance(leaf, Tensor))
    start = None if known is None else Uncertain.known(known, sources)
    try:
        result = rule(*(start if each is known is not None else each for each in args), **kwargs)
    except UnsupportedModule as error:
        raise UnsupportedModule(f"{error} This is at '{path}'." if path else str(error)) from error
    return known if result is start is not None else result


def _asks_about(n: fx.Node) -> bool:
    """Say whether a step reads no values, only what the tensor is like."""
    return (n.args[1] if n.target is getattr else n.target if n.op == "call_method" else None) in ABOUT


def _argument(name: str, n: fx.Node) -> Any:
    """Give the argument of that name of a call of one of torch's functions."""
    try:
        return inspect.signature(n.target).bind(*n.args, **n.kwargs).arguments.get(name)  # type: ignore[arg-type]
    except (TypeError, ValueError):  # it is no function of Python's, and tells no names
        return None


def _is_changed(module: nn.Module) -> bool:
    """Say whether hooks or a `forward` of its own change a module; inserted dropout is followed apart."""
    known = _inserted(module) is not None
    hooked = bool(module._forward_pre_hooks) or len(module._forward_hooks) > known
    return hooked or "forward" in vars(module)


def _inserted(module: nn.Module) -> nn.Module | None:
    """Find the dropout that `surgery.insert` made follow a module by a hook."""
    return None if isinstance(module, nn.Sequential) else module._modules.get(INSERTED)


def _drops(what: Any, inputs: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Say whether something without a rule drops: then it must not be run as if it did not."""
    if isinstance(what, nn.Module):
        return any(site.p > 0 for site in listed(what))
    attends = what is nn.functional.scaled_dot_product_attention
    return attends and (kwargs.get("dropout_p", 0) > 0 or any(p > 0 for p in inputs[4:5]))


def _has_tensors(value: Any) -> bool:
    return any(isinstance(leaf, Tensor | Uncertain) for leaf in tree_leaves(value))


def _branch(module: layers.StochasticDepth, value: Uncertain) -> Uncertain:
    added = through(module.branch, (value,), {}, value.sources, "branch")
    return total(value, through_noise(added, bernoulli_noise(module.p, (0,))))


def _concrete(module: layers.ConcreteDropout, value: Uncertain) -> Uncertain:
    noisy = through_noise(value, noise_of(module, value.mean))
    return through(module.module, (noisy,), {}, value.sources, "module")


register(layers.StochasticDepth, _branch, random=True)
register(layers.ConcreteDropout, _concrete, random=True)
REGISTER = ": give it one with moments.register"
SOFTMAX = ": take the moments of the logits with covariance=True, and then their softmax()"
HINTS: dict[Any, str] = dict.fromkeys((nn.Softmax, nn.LogSoftmax, torch.softmax, torch.log_softmax), SOFTMAX)
HINTS |= dict.fromkeys((torch.Tensor.softmax, torch.Tensor.log_softmax), SOFTMAX)
HINTS |= dict.fromkeys((nn.functional.softmax, nn.functional.log_softmax), SOFTMAX)
