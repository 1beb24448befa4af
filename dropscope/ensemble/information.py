"""Uncertainty of class probabilities, split into what the passes agree on and what they disagree on."""

from collections.abc import Callable

import torch
from torch import Tensor

from dropscope.ensemble.streaming import ClassMeans

__all__ = ["MEASURES", "jackknife_error", "measured"]

Measure = Callable[[Tensor, Tensor, Tensor, float], Tensor]  # of mean probabilities, entropies and votes, and T


def entropy(probabilities: Tensor, entropies: Tensor, votes: Tensor, n: float) -> Tensor:
    """Total uncertainty `H(p̄)`."""
    return torch.special.entr(probabilities).sum(-1)


def expected_entropy(probabilities: Tensor, entropies: Tensor, votes: Tensor, n: float) -> Tensor:
    """Aleatoric part `mean H(p_t)`."""
    return entropies


def mutual_information(probabilities: Tensor, entropies: Tensor, votes: Tensor, n: float) -> Tensor:
    """Epistemic part `(H(p̄) - mean H(p_t)) · T / (T - 1)`: without the factor it is too low by 1/T."""
    difference = entropy(probabilities, entropies, votes, n) - entropies
    if n <= 1:
        return torch.full_like(difference, torch.nan)  # one pass cannot disagree with itself
    return difference * (n / (n - 1)) if n < float("inf") else difference


def variation_ratio(probabilities: Tensor, entropies: Tensor, votes: Tensor, n: float) -> Tensor:
    """Share of the passes that vote for another class than most: `1 - max votes / T`."""
    return 1 - votes.amax(-1)


def soft_variation_ratio(probabilities: Tensor, entropies: Tensor, votes: Tensor, n: float) -> Tensor:
    """One minus the mean probability of the likeliest class: `1 - max p̄`."""
    return 1 - probabilities.amax(-1)


MEASURES: dict[str, Measure] = {
    measure.__name__: measure
    for measure in (entropy, expected_entropy, mutual_information, variation_ratio, soft_variation_ratio)
}


def measured(name: str, means: ClassMeans, *, exact: bool) -> Tensor:
    """Give a measure over all passes; `exact` where they are all there are, and nothing is to be corrected."""
    weight = means.weights.sum()
    probabilities, entropies, votes = (part.sum(0) / weight for part in means.parts[1:])
    return MEASURES[name](probabilities, entropies, votes, float("inf") if exact else weight.item())


def jackknife_error(name: str, means: ClassMeans) -> Tensor:
    """Give the standard error of a measure: how it changes as each group of passes is left out; nan where too few stay.

    Reference:
        Efron & Stein, 1981, The Annals of Statistics 9(3):586-596.
    """
    filled = means.weights > 0
    weights = means.weights.sum() - means.weights[filled]
    n = weights.mean().item()  # correctly weighted where the groups are of one size, and nearly so elsewhere
    probabilities, entropies, votes = (
        (part.sum(0) - part[filled]) / weights.view(-1, *[1] * (part.dim() - 1)) for part in means.parts[1:]
    )
    values = MEASURES[name](probabilities, entropies, votes, n)
    return ((len(values) - 1) * values.var(0, correction=0)).sqrt()
