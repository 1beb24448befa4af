"""Set the probability of dropping of many sites at once: of all, or of none where one of them refuses."""

from collections.abc import Callable, Mapping

from torch import nn

from dropscope.errors import closest
from dropscope.masks import check_p
from dropscope.sites import Site
from dropscope.sites.finding import listed

__all__ = ["assign", "checked", "set_p", "wanted"]

Rates = float | Mapping[str, float] | Callable[[Site], float]


def set_p(model: nn.Module, p: Rates, *, where: Callable[[str], bool] | None = None) -> list[Site]:
    """Set the probability of dropping of every dropout site of a model.

    A rate that is learned, as in `layers.ConcreteDropout`, changes only where a mapping names it or `where` chooses
    it. A compiled model is compiled again for a new `p` of torch's own modules, and not for one of dropscope's layers.

    Args:
        model: any module.
        p: one probability for all; or a mapping from paths, which changes the sites that it names; or a function of
            the `Site`. A function sees the old one: `lambda site: site.p / 2`. Nothing is called to find the sites:
            where a class overrides `train` or `eval`, `site.active_in_train` and `active_in_eval` are None.
        where: which of the paths to change; None: all.

    Returns:
        The changed sites as they are now.

    Raises:
        TypeError: a value is not a number; nothing is changed.
        ValueError: a value is not a probability that its site can take, or the mapping names a path that is no site;
            nothing is changed.

    Example:
        >>> model = nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 2), nn.Dropout(0.5))
        >>> _ = set_p(model, 0.1, where=lambda path: path == "2")
        >>> [model[0].p, model[2].p]
        [0.5, 0.1]
    """
    new = wanted(model, p, where)
    assign(new)
    changed = {site.path for site, _ in new}
    return [site for site in listed(model) if site.path in changed]


def wanted(model: nn.Module, p: Rates, where: Callable[[str], bool] | None) -> list[tuple[Site, float]]:
    """Say which sites shall have which probability; every value is checked."""
    sites = [site for site in listed(model) if where is None or where(site.path)]
    if isinstance(p, Mapping):
        paths = [site.path for site in sites]
        for path in p:
            if path not in paths:
                raise ValueError(f"`p` must name dropout sites, got {path!r}: {closest(path, paths)}")
        pairs = [(site, p[site.path]) for site in sites if site.path in p]
    else:
        chosen = [site for site in sites if where is not None or not getattr(site.module, "learned", False)]
        pairs = [(site, p(site) if callable(p) else p) for site in chosen]
    return [(site, checked(value, site)) for site, value in pairs]


def assign(new: list[tuple[Site, float]]) -> None:
    """Set every site's probability; where one refuses, put back those that are set."""
    before = [(site.module, site.name, getattr(site.module, site.name)) for site, _ in new]
    try:
        for site, p in new:
            setattr(site.module, site.name, p)
    except Exception:
        for module, name, p in before:
            setattr(module, name, p)
        raise


def checked(p: float, site: Site) -> float:
    """Check a probability that a site shall have."""
    owner = f"{site.kind} at {site.path!r}" if site.path else site.kind
    return check_p(p, owner, below_one=getattr(site.module, "below_one", False))
