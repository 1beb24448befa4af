"""Insert dropout after modules, under one name that changes no other, and take it out again."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from dropscope.surgery.matching import Match, checked_module, matching

__all__ = ["INSERTED", "carry_inserted", "check_can_carry", "detach", "insert"]

INSERTED = "inserted_dropout"


def insert(
    model: nn.Module,
    after: Match,
    make: Callable[[], nn.Module],
    *,
    where: Callable[[str], bool] | None = None,
) -> nn.Module:
    """Add dropout to the outputs of modules.

    The new module becomes a child named `inserted_dropout` of the one it follows, and a forward hook calls it: no
    name in the state_dict changes, nn.Sequential keeps its numbers, and copies, pickles, `train`, `eval` and
    torch.compile know it. Of a tuple of outputs the first is dropped. Code that reads the weights of a module without
    calling it passes the new one by; one that calls all its children in turn would call the new one twice.

    An nn.Sequential calls its children itself: after it the new module is the last of them, gets the whole output, and
    needs no hook.

    Args:
        model: any module; it is changed.
        after: what to follow: a class, a tuple of classes, or a function that says so of a module.
        make: makes one new module each, as `lambda: layers.Dropout(0.1)`.
        where: which of the paths to change; None: all.

    Returns:
        The model.

    Raises:
        TypeError: `make` gave no module.
        ValueError: no module matches; something is inserted already after one of them; one is an nn.ModuleList,
            nn.ModuleDict or nn.Sequential with a `forward` of its own; or the model is compiled. Nothing is changed.

    Example:
        >>> model = insert(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.ReLU, lambda: nn.Dropout(0.1))
        >>> [path for path, module in model.named_modules() if isinstance(module, nn.Dropout)]
        ['1.inserted_dropout']
    """
    if any(_is_compiled(module) for module in model.modules()):
        raise ValueError("`model` must not be compiled yet: compiled code calls no hooks that are added later.")
    followed = matching(model, after, "after", where)
    for module in followed:
        _check_can_follow(module)
    new = {module: checked_module(make(), "make") for module in followed}
    for module, dropout in new.items():
        _attach(module, dropout.train(module.training))
    return model


def detach(module: nn.Module) -> nn.Module:
    """Take out what is inserted after a module, and the hook that calls it."""
    inserted = module.get_submodule(INSERTED)
    delattr(module, INSERTED)
    for key, hook in list(module._forward_hooks.items()):
        if hook is _call_inserted:
            del module._forward_hooks[key]
    return inserted


def check_can_carry(old: nn.Module, new: nn.Module) -> None:
    """Refuse a new module that cannot be followed by what is inserted after the old one."""
    if _leaves_inserted(old, new):
        _check_can_follow(new)


def carry_inserted(old: nn.Module, new: nn.Module) -> None:
    """Let what is inserted after a module follow the one that replaces it, unless that contains it."""
    if _leaves_inserted(old, new):
        _attach(new, detach(old))


def _leaves_inserted(old: nn.Module, new: nn.Module) -> bool:
    return INSERTED in old._modules and old not in set(new.modules())


def _check_can_follow(module: nn.Module) -> None:
    if INSERTED in module._modules:
        raise ValueError(f"dropout must follow modules that nothing is inserted after, got {module!r}.")
    own_forward = isinstance(module, nn.Sequential) and type(module).forward is not nn.Sequential.forward
    if own_forward or isinstance(module, nn.ModuleList | nn.ModuleDict):
        raise ValueError(
            f"dropout must follow modules that run as a whole, got {type(module).__name__}, "
            "whose modules are called one by one: insert it after one of these."
        )


def _attach(module: nn.Module, dropout: nn.Module) -> None:
    setattr(module, INSERTED, dropout)
    if not isinstance(module, nn.Sequential):
        module.register_forward_hook(_call_inserted)


def _call_inserted(module: nn.Module, _: Any, output: Any) -> Any:
    dropout = getattr(module, INSERTED)
    if isinstance(output, Tensor | PackedSequence):
        return dropout(output)
    if isinstance(output, tuple) and isinstance(output[0], Tensor | PackedSequence):
        outputs = dropout(output[0]), *output[1:]
        return type(output)(*outputs) if hasattr(output, "_fields") else outputs
    raise TypeError(
        "dropout must be inserted after modules that give a tensor, or a tuple with one first, "
        f"got {type(output).__name__} from {type(module).__name__}: insert it after a part."
    )


def _is_compiled(module: nn.Module) -> bool:
    return "_orig_mod" in module._modules or getattr(module, "_compiled_call_impl", None) is not None
