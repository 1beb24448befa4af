"""Claims on functions averaged over masks: Theorem 1 with its corollary for products, and the count of interactions."""

import itertools
from math import comb, cos, sin

import numpy as np
import torch
from claims_record import Finding, claim, interval
from torch import Tensor

from dropscope.layers import Dropout
from dropscope.spectrum import interaction_spectrum, known, purify, theory

RATES = (0.0, 0.125, 0.25, 0.375, 0.5)
EXACT = 1e-10


def zeroed(values: np.ndarray, kept: tuple[int, ...], at_zero: tuple[int, ...]) -> np.ndarray:
    """Values on a grid whose inputs are set to zero where they are not kept."""
    for axis, (keep, zero) in enumerate(zip(kept, at_zero, strict=True)):
        values = values if keep else np.broadcast_to(values.take([zero], axis), values.shape)
    return values


def printed_leak(effect: np.ndarray, at_zero: tuple[int, ...], p: float, left_out: int) -> np.ndarray:
    """The leak with v and u minus v exchanged in the weights, over all masks but those that keep `left_out` inputs."""
    masks = itertools.product([0, 1], repeat=effect.ndim)
    return sum(
        p ** sum(kept) * (1 - p) ** (effect.ndim - sum(kept)) * zeroed(effect, kept, at_zero)
        for kept in masks
        if sum(kept) != left_out
    )


@claim(
    "A1",
    "Theorem 1: E_M[F(X o M)] = sum_u (1-p)^|u| f_u(X_u) + a_u(X_u), with a_u given as a sum over v inside u",
    "the identity must hold to 1e-10 for random effects of up to six inputs at five rates; "
    "'differs' if it holds with v the kept set and not with the roles of v and u minus v exchanged, as printed",
)
def theorem_one() -> Finding:
    rng = np.random.default_rng(0)
    right, misses = 0.0, {"v kept": 0.0, "v dropped": 0.0}

    for n, p in itertools.product(range(1, 7), (0.1, 0.25, 0.4, 0.6, 0.9)):
        at_zero = tuple(rng.integers(3, size=n))
        subsets = [u for k in range(n + 1) for u in itertools.combinations(range(n), k)]
        effects = {u: rng.normal(size=[3] * len(u)) for u in subsets}
        grids = {u: np.expand_dims(f, [axis for axis in range(n) if axis not in u]) for u, f in effects.items()}
        function = sum(np.broadcast_to(grid, [3] * n) for grid in grids.values())

        masks = list(itertools.product([0, 1], repeat=n))
        averaged = sum((1 - p) ** sum(m) * p ** (n - sum(m)) * zeroed(function, m, at_zero) for m in masks)
        parts = 0.0
        for u, effect in effects.items():
            zeros = tuple(at_zero[axis] for axis in u)
            shrunk, rest = theory.masked_effect(effect, zeros, p)
            parts = parts + (shrunk + rest).reshape(grids[u].shape)
            # A proper subset v leaves out the mask that keeps all of u, or none, as v is what is kept or dropped.
            for name, left_out in (("v kept", len(u)), ("v dropped", 0)) if u else ():
                miss = np.abs(printed_leak(effect, zeros, p, left_out) - rest).max() / np.abs(effect).max()
                misses[name] = max(misses[name], float(miss))
        right = max(right, float(np.abs(parts - averaged).max()))

    return Finding(
        "differs" if right <= EXACT < min(misses.values()) else "holds" if right <= EXACT else "fails",
        [
            f"a_u = sum over proper subsets v kept of p^(|u|-|v|) q^|v| f_u(X_v, 0): largest deviation {right:.1e}",
            *(
                f"roles exchanged, {name}: misses a_u by up to {miss:.2f} of the effect's maximum"
                for name, miss in misses.items()
            ),
        ],
        {"deviation": right, "misses": misses},
    )


@claim(
    "A1b",
    "Corollaries 1.2 and 1.3 add E[a_u] = 0",
    "with independent inputs and pure effects, |E a_u| <= 1e-10 for every u; the right form must match to 1e-10",
)
def mean_of_the_leak() -> Finding:
    rng = np.random.default_rng(1)
    weights = [rng.dirichlet(np.ones(4)) for _ in range(4)]
    law = np.einsum("a,b,c,d->abcd", *weights)
    effects = purify(rng.normal(size=law.shape), law).effects

    means, deviation, p = [], 0.0, 0.5
    for u, effect in effects.items():
        if u:
            marginal = law.sum(tuple(axis for axis in range(4) if axis not in u))
            mean = float((marginal * theory.masked_effect(effect, [0] * len(u), p)[1]).sum())
            deviation = max(deviation, abs(mean - p ** len(u) * effect[(0,) * len(u)]))
            means.append(abs(mean) / float((marginal * effect**2).sum()) ** 0.5)

    return Finding(
        "holds" if max(means) <= EXACT else "fails",
        [
            f"|E a_u| over the standard deviation of f_u: {np.median(means):.3f} (median), {max(means):.3f} (largest)",
            f"E a_u = p^|u| f_u(0) instead: largest deviation {deviation:.1e}",
        ],
        {"relative_means": means, "deviation": deviation},
    )


def cosines(x: Tensor) -> Tensor:
    return (1.5 * x).cos().prod(1)


def averaged_over_masks(x: Tensor) -> Tensor:
    """Mean of the product of cosines over all zero masks of its three inputs, at p = 1/2."""
    return sum(cosines(x * x.new_tensor(mask)) for mask in itertools.product([0, 1], repeat=3)) / 8


@claim(
    "A2",
    "Corollary 1.1, Fig. 1: masks shrink the conditional mean of a product of k factors with g(0) = 0 by (1-p)^k; "
    "the text gives 12.5 % for k = 4 at p = .5",
    "all slopes of masked on plain products within 3 standard errors of q^k; 'differs' if so but the number in the "
    "text is not q^4. Beside it, zero masks against resampling on a product of cosines, whose g(0) is not 0",
)
def shrinkage_of_products() -> Finding:
    generator = torch.Generator().manual_seed(2)
    table, far = [], 0.0
    x = torch.linspace(-2, 2, 1_000_000, dtype=torch.float64)[:, None].expand(-1, 4)  # as published: equal inputs

    for p, order in itertools.product(RATES, range(1, 5)):
        plain = x[:, :order].prod(1)
        masked = ((1 - p) * Dropout(p, generator=generator)(x[:, :order])).prod(1)
        slope = float((masked * plain).sum() / plain.square().sum())
        error = float(((masked - slope * plain) * plain).square().sum().sqrt() / plain.square().sum())
        deviation = abs(slope - theory.survival_factor(order, p))
        far = max(far, deviation / error if error else np.inf * deviation if deviation else 0.0)
        table.append({"p": p, "order": order, "slope": slope, "standard_error": error})

    mean = sin(1.5) / 1.5
    variance = 0.5 + sin(3) / 6 - mean**2
    zero, resampled = (
        theory.masked_variance_ratios([mean] * 3, [variance] * 3, [at] * 3, 0.5) for at in (cos(0), mean)
    )
    ratios = []
    for _ in range(10):
        inputs = known.product(1, 3).sample(100_000, generator=generator).double()
        before, after = (
            interaction_spectrum(f, inputs, budget=200_000, generator=generator) for f in (cosines, averaged_over_masks)
        )
        ratios.append(after.total * after.share / (before.total * before.share))
    found = [interval(column) for column in np.transpose(ratios)]

    last = table[-1]
    return Finding(
        "fails" if far > 3 else "differs",
        [
            f"20 slopes, p = 0 to .5 and k = 1 to 4: at most {far:.1f} standard errors from q^k",
            f"k = 4, p = .5: {last['slope']:.4f} +- {last['standard_error']:.4f}; q^4 = 6.25 %, q^3 = 12.5 %",
            f"W_k(masked) / W_k, zero masks: {zero.round(4)} exactly; measured "
            + ", ".join(f"{mean:.4f} [{low:.4f}, {high:.4f}]" for mean, low, high in found),
            f"W_k(masked) / W_k, resampling: {resampled.round(4)} = q^(2k)",
        ],
        {"slopes": table, "zero": zero.tolist(), "resampled": resampled.tolist(), "measured": found},
    )


@claim(
    "A5",
    "Fig. 3: the number of intact interactions of order k among 25 inputs is (1-p)^k C(25, k)",
    "equal, to 1e-10 relatively, to the mean number over all masks, for every order and rate",
)
def intact_interactions() -> Finding:
    n, orders = 25, range(1, 26)
    table = {p: [theory.expected_count(n, k, p) for k in orders] for p in RATES}

    deviation = 0.0
    for p, k in itertools.product(RATES, orders):
        mean = sum(comb(n, m) * (1 - p) ** m * p ** (n - m) * comb(m, k) for m in range(n + 1))
        deviation = max(deviation, abs(table[p][k - 1] / mean - 1))

    return Finding(
        "holds" if deviation <= EXACT else "fails",
        [
            f"largest relative deviation from the mean over masks {deviation:.1e}",
            *(f"p = {p}: " + ", ".join(f"{count:,.1f}" for count in table[p][:4]) + " for k = 1..4" for p in RATES),
        ],
        {"counts": {str(p): counts for p, counts in table.items()}},
    )


@claim(
    "A19",
    "Sec. 3 and abstract: growth of C(n, k) and decay of (1-p)^k effectively cancel, so that the hypotheses of high "
    "order do not explode",
    "first part: at p = .5 the count summed over orders falls by more than 100; second part (cancel): at p = .5 it "
    "does not grow from any order to the next",
)
def balance() -> Finding:
    n = 25
    counts = {p: np.array([theory.expected_count(n, k, p) for k in range(1, n + 1)]) for p in RATES}
    falls = counts[0.0].sum() / counts[0.5].sum()
    peaks = {p: int(count.argmax()) + 1 for p, count in counts.items()}
    # q C(n, 2) <= n holds from this rate on.
    level = 1 - 2 / (n - 1)

    return Finding(
        "holds" if falls > 100 and peaks[0.5] == 1 else "holds in part" if falls > 100 else "fails",
        [
            f"sum over orders at p = .5: {counts[0.5].sum():,.0f} of {counts[0.0].sum():,.0f}, a {falls:,.0f}th",
            f"order with most intact interactions: {', '.join(f'{k} at p = {p}' for p, k in peaks.items())}",
            f"counts stop growing with the order only from p = {level:.3f}: 1 - 2 / (n - 1)",
        ],
        {"falls": falls, "peaks": {str(p): k for p, k in peaks.items()}, "level": level},
    )
