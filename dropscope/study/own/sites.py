"""Where a user's own model drops, and how an arm's rates get there: through `build`, or at the sites that it has."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from dropscope import sites, surgery
from dropscope.errors import NoDropoutFound, closest
from dropscope.sites import Site
from dropscope.study.rates import Rates

__all__ = ["Roles", "build_model", "places_of", "rates_taken", "roles_of"]

ROLES = ("input", "hidden", "fixed")
RATES = {"p_input": "input", "p_hidden": "hidden", "p": "hidden"}  # arguments of `build`, and the place of each
Roles = Mapping[str, str] | Callable[[Site], str] | None


def rates_taken(build: Callable[..., nn.Module]) -> tuple[str, ...]:
    """Name the rates that `build` takes as arguments; without any, they are set at the sites of its model."""
    return tuple(name for name in _taken(build) if name in RATES)


def build_model(build: Callable[..., nn.Module], roles: Roles, arm: Rates, seed: int) -> nn.Module:
    """Build the network of an arm.

    Args:
        build: makes a network; it may take `p_input`, `p_hidden` (or `p`) and `seed`.
        roles: which sites are input, hidden or fixed, where `build` takes no rates.
        arm: (input p, hidden p).
        seed: the trial's seed.

    Returns:
        The network.

    Raises:
        TypeError: `build` needs other arguments, or makes no module.
        NoDropoutFound: the model has no site whose rate could be set.
        ValueError: a site or role that `roles` names does not exist.
    """
    given = {"p_input": arm[0], "p_hidden": arm[1], "p": arm[1], "seed": seed}
    model = build(**{name: given[name] for name in _taken(build)})
    if not isinstance(model, nn.Module):
        raise TypeError(f"`build` must make an nn.Module, got {type(model).__name__}.")
    if not rates_taken(build):
        rates: dict[str, Any] = {"input": arm[0], "hidden": arm[1]}
        surgery.set_p(model, {path: rates[role] for path, role in roles_of(model, roles).items() if role in rates})
    return model


def places_of(build: Callable[..., nn.Module], roles: dict[str, str]) -> set[str]:
    """Say where rates can be studied: at the input, at hidden sites, or both."""
    return {RATES[name] for name in rates_taken(build)} or {role for role in roles.values() if role != "fixed"}


def roles_of(model: nn.Module, roles: Roles) -> dict[str, str]:
    """Say what each dropout site of a model is in the study.

    Args:
        model: any module.
        roles: what the user said; sites that a mapping does not name are hidden, those that learn their rate fixed.

    Returns:
        input, hidden or fixed, by path.

    Raises:
        NoDropoutFound: no site is input or hidden.
        ValueError: a path is no site, or a role is unknown.
    """
    found = sites.find(model)
    if isinstance(roles, Mapping):
        paths = [site.path for site in found]
        for path in roles:
            if path not in paths:
                raise ValueError(f"`sites` must name dropout sites, got {path!r}: {closest(path, paths)}")
    said = {site.path: _role(site, roles) for site in found}
    for path, role in said.items():
        if role not in ROLES:
            raise ValueError(f"`sites` must say {', '.join(ROLES)} of a site, got {role!r} for {path!r}.")
    if not {"input", "hidden"} & set(said.values()):
        held = f"only fixed ones ({', '.join(said)})" if said else "no module that drops"
        raise NoDropoutFound(
            f"the model that `build` makes must have dropout sites, got {held}: add nn.Dropout(0) where it may drop, "
            "or let `build` take `p_hidden` and set it."
        )
    return said


def _role(site: Site, roles: Roles) -> str:
    default = "fixed" if getattr(site.module, "learned", False) else "hidden"
    if roles is None:
        return default
    return roles.get(site.path, default) if isinstance(roles, Mapping) else roles(site)


def _taken(build: Callable[..., nn.Module]) -> list[str]:
    """Name the arguments that a study gives to `build`."""
    taken = []
    for name, parameter in inspect.signature(build).parameters.items():
        if name in RATES or name == "seed":
            taken.append(name)
        elif parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD,
        ):  # fmt: skip
            raise TypeError(
                f"`build` must take nothing but `p_input`, `p_hidden` (or `p`) and `seed`, got `{name}`: "
                f"give it a value with functools.partial(build, {name}=...)."
            )
    return taken
