"""Claims on what one pass and the mean of many have to do with the average over all masks, by enumerating the masks."""

import itertools
from functools import cache
from typing import Any

import numpy as np
import torch
from claims_networks import bracketed, digits, distance, few_masks, fitted, network
from claims_record import Finding, claim, interval, slopes, verdict
from torch import Tensor, nn
from torch.nn import functional as F

from dropscope import ensemble

EXACT = 1e-12
DEPTHS, RATES, SEEDS = (1, 2, 3), (0.1, 0.25, 0.5), 4
PASSES = (1, 2, 5, 10, 20, 50, 100, 1000)
ROWS = 200


def sampled(model: nn.Module, x: Tensor, n_samples: int, **options: Any) -> Tensor:
    """The mean of so many passes; a single one is the first of two."""
    if n_samples > 1:
        return ensemble.predict(model, x, n_samples, exact=False, **options).mean
    return ensemble.predict(model, x, 2, keep_samples=True, **options).samples[0]


@claim(
    "B2",
    "with one linear layer and softmax, weight scaling equals the renormalised geometric mean of all 2^n subnetworks",
    "'holds' if they differ by at most 1e-12 in every class probability, each mask weighted by its probability, for 48 "
    "random layers of up to 12 inputs, three of each size and rate. Beside it the mean with equal weights 1 / 2^n",
)
def geometric_mean() -> Finding:
    torch.manual_seed(0)
    weighted, equal = 0.0, {}
    for n, p, _ in itertools.product((2, 5, 8, 12), (0.1, 0.3, 0.5, 0.8), range(3)):
        model, x = nn.Sequential(nn.Dropout(p), nn.Linear(n, 5)).double(), torch.randn(4, n, dtype=torch.float64)
        scaled = ensemble.weight_scaling(model, x).softmax(-1)
        weighted = max(weighted, (ensemble.geometric_mean(model, x) - scaled).abs().max().item())

        masks = torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)), dtype=torch.float64)
        with torch.no_grad():
            logs = model[1](x.unsqueeze(1) * masks / (1 - p)).log_softmax(-1).mean(1)
        equal[p] = max(equal.get(p, 0.0), (logs.softmax(-1) - scaled).abs().max().item())

    return Finding(
        verdict(weighted <= EXACT),
        [
            f"masks weighted by their probabilities: largest difference {weighted:.1e}",
            "masks weighted equally: " + ", ".join(f"{miss:.1e} at p = {p}" for p, miss in equal.items()),
        ],
        {"weighted": weighted, "equal": {str(p): miss for p, miss in equal.items()}},
    )


@cache
def distances() -> np.ndarray:
    """Distances of trained networks from their average over all masks, by depth, rate, seed and way.

    The ways are each number of passes, weight scaling, and the geometric mean.
    """
    table = np.empty((len(DEPTHS), len(RATES), SEEDS, len(PASSES) + 2))
    x = digits().test_x[:ROWS]
    for i, j, seed in np.ndindex(table.shape[:3]):
        model = fitted(few_masks(DEPTHS[i], RATES[j]), digits(), seed, steps=600)
        truth = ensemble.exact(model, x, transform="softmax").mean
        found = [sampled(model, x, n, transform="softmax") for n in PASSES]
        found += [ensemble.weight_scaling(model, x).softmax(-1), ensemble.geometric_mean(model, x)]
        table[i, j, seed] = [distance(one, truth) for one in found]
    return table


def by_cell(values: np.ndarray) -> dict[str, tuple[float, float, float]]:
    """The interval over seeds of each depth and rate."""
    cells = itertools.product(range(len(DEPTHS)), range(len(RATES)))
    return {f"depth {DEPTHS[i]}, p = {RATES[j]}": interval(values[i, j]) for i, j in cells}


@claim(
    "B3",
    "in deep networks, weight scaling approximates the average of the 2^n subnetworks",
    "trained ReLU networks of 1, 2 and 3 hidden layers on digits, 12 groups of units, p = .1, .25, .5, 4 seeds: in all "
    "of the 9 cells weight scaling is nearer to the exact average than the mean of 10 passes is (total variation, mean "
    "over 200 test rows, 95 % interval of the difference over seeds). All: 'holds', none: 'fails'",
)
def weight_scaling() -> Finding:
    table = distances()
    gain = by_cell(table[..., PASSES.index(10)] - table[..., -2])
    scaled, geometric = by_cell(table[..., -2]), by_cell(table[..., -1])

    # Errors of means fall as 1 / sqrt(T): the number of passes that are as near as weight scaling.
    worth = (table[..., PASSES.index(100)] * 10 / table[..., -2]) ** 2
    lines = [
        f"{name}: weight scaling {bracketed(scaled[name])}, geometric mean {bracketed(geometric[name])}; 10 passes are "
        f"{bracketed(gain[name])} further; as good as weight scaling: {middle:.0f} passes (median)"
        for name, middle in zip(gain, np.median(worth, -1).ravel(), strict=True)
    ]
    data = {"depths": DEPTHS, "rates": RATES, "passes": PASSES, "distances": table.tolist()}
    return Finding(verdict(*(low > 0 for _, low, _ in gain.values())), lines, data)


@claim(
    "D8a",
    "the mean of Monte-Carlo passes approximates the ensemble's average better than one deterministic pass",
    "on the networks of B3, for T = 1 to 1000 passes: better in a cell if the 95 % interval over seeds of "
    "|deterministic - exact| - |mean of T - exact| is above 0. 'holds' if better in all 9 cells at T = 100, 'fails' if "
    "in none",
)
def better_than_one_pass() -> Finding:
    table = distances()
    lines, better = [], {}
    for k, n in enumerate(PASSES):
        cells = by_cell(table[..., -2] - table[..., k])
        better[n] = [low > 0 for _, low, _ in cells.values()]
        worse = sum(high < 0 for _, _, high in cells.values())
        lines.append(
            f"T = {n}: better in {sum(better[n])} of 9 cells, worse in {worse}; distance over that of one pass "
            + bracketed(interval((table[..., k] / table[..., -2]).mean((0, 1))), 2)
        )
    return Finding(verdict(*better[100]), lines, {"better": {str(n): sum(cells) for n, cells in better.items()}})


@claim(
    "D5",
    "averaging over masks is exact by one pass for linear models; for convex activations it is above it (Jensen), by "
    "B(x) = x^2 p q for the square",
    "over all masks, in float64: linear models of three layers to 1e-12 relatively; square, softplus, ReLU and exp of "
    "random linear maps never below the pass by more than 1e-12; B = x^2 p q with plain masks and x^2 p / q with "
    "scaled ones, and p / q sum w^2 x^2 for several inputs, each to 1e-12 relatively",
)
def jensen() -> Finding:
    torch.manual_seed(1)
    linear, lowest, squares = 0.0, {}, 0.0
    for p in (0.1, 0.5, 0.8):
        x = torch.randn(20, 4, dtype=torch.float64)
        model = nn.Sequential(
            nn.Dropout(p), nn.Linear(4, 5), nn.Dropout(p), nn.Linear(5, 3), nn.Dropout(p), nn.Linear(3, 2)
        ).double()
        once = ensemble.weight_scaling(model, x)
        linear = max(linear, ((ensemble.exact(model, x).mean - once).abs().max() / once.std()).item())

        layer = nn.Sequential(nn.Dropout(p), nn.Linear(4, 6)).double()
        for name, convex in {"square": torch.square, "softplus": F.softplus, "relu": F.relu, "exp": torch.exp}.items():
            bias = ensemble.exact(layer, x, transform=convex).mean - convex(ensemble.weight_scaling(layer, x))
            lowest[name] = min(lowest.get(name, 0.0), bias.min().item())
            if name == "square":
                expected = p / (1 - p) * x.square() @ layer[1].weight.detach().square().T
                squares = max(squares, ((bias - expected).abs().max() / expected.max()).item())

        one = x[:, :1]
        scaled = ensemble.exact(nn.Sequential(nn.Dropout(p)), one, transform=torch.square).mean - one**2
        # A plain mask is a scaled one times q.
        plain = (1 - p) ** 2 * (scaled + one**2) - ((1 - p) * one) ** 2
        for bias, factor in ((scaled, p / (1 - p)), (plain, p * (1 - p))):
            squares = max(squares, (bias / (factor * one**2) - 1).abs().max().item())

    return Finding(
        verdict(linear <= EXACT, min(lowest.values()) >= -EXACT, squares <= EXACT),
        [
            f"linear models: largest deviation {linear:.1e}",
            "lowest E f(z) - f(E z): " + ", ".join(f"{name} {low:.1e}" for name, low in lowest.items()),
            f"x^2 p q, x^2 p / q and p / q sum w^2 x^2: largest relative deviation {squares:.1e}",
        ],
        {"linear": linear, "lowest": lowest, "squares": squares},
    )


@claim(
    "D6",
    "the mean of T members beats them by E_ind - E_ens = (T - 1) / (2T) D, D their mean squared distance",
    "'holds' if to 1e-10 relatively for squared error (Brier) of a trained network's passes, T = 2 to 100, on 500 test "
    "rows in float64. Beside it the cross-entropy and the share of errors, for which it is not stated",
)
def diversity() -> Finding:
    model = fitted(network(64, [64, 64], 10, 0.5), digits(), 0, steps=600).double()
    x, y = digits().test_x[:500].double(), digits().test_y[:500]
    truth, deviation, lines = F.one_hot(y, 10), 0.0, []
    for n in (2, 5, 20, 100):
        found = ensemble.predict(model, x, n, transform="softmax", keep_samples=True)
        predicted = (n - 1) / (2 * n) * found.diversity().mean()
        alone, together = found.samples, found.mean
        gain = (alone - truth).square().sum(-1).mean() - (together - truth).square().sum(-1).mean()
        deviation = max(deviation, (gain / predicted - 1).abs().item())

        entropies = (-part.log()[..., torch.arange(len(y)), y].mean() for part in (alone, together))
        errors = ((part.argmax(-1) != y).double().mean() for part in (alone, together))
        others = [((one - both) / predicted).item() for one, both in (entropies, errors)]
        lines.append(
            f"T = {n}: squared error gains {gain:.5f}, as predicted to {(gain / predicted - 1).abs():.1e}; over the "
            f"prediction: cross-entropy {others[0]:.2f}, errors {others[1]:.2f}"
        )
    return Finding(verdict(deviation <= 1e-10), lines, {"deviation": deviation})


@claim(
    "D8b",
    "the Monte-Carlo mean is unbiased for the deterministic output",
    "over all masks: linear networks of two layers unbiased to 1e-12 of the output's deviation over rows (first part), "
    "the trained ReLU networks of B3 with two and three layers, logits, too (second part)",
)
def unbiased() -> Finding:
    torch.manual_seed(2)
    x = torch.randn(ROWS, 64, dtype=torch.float64)
    model = nn.Sequential(nn.Linear(64, 6), nn.Dropout(0.3), nn.Linear(6, 6), nn.Dropout(0.3), nn.Linear(6, 3)).double()
    once = ensemble.weight_scaling(model, x)
    linear = ((ensemble.exact(model, x).mean - once).abs().max() / once.std()).item()

    bias, x = {}, digits().test_x[:ROWS].double()
    for depth, p in itertools.product((2, 3), RATES):
        bent = fitted(few_masks(depth, p), digits(), 0, steps=600).double()
        once = ensemble.weight_scaling(bent, x)
        off = ensemble.exact(bent, x).mean - once
        bias[f"depth {depth}, p = {p}"] = (off.square().mean().sqrt() / once.std()).item()
    return Finding(
        verdict(linear <= EXACT, max(bias.values()) <= EXACT),
        [
            f"linear: largest bias {linear:.1e}",
            "ReLU, root mean square of the bias over the deviation of the logits: "
            + ", ".join(f"{name}: {off:.3f}" for name, off in bias.items()),
        ],
        {"linear": linear, "relu": bias},
    )


@claim(
    "D8c",
    "the variance of the Monte-Carlo prediction falls as 1 / T",
    "slope of the logarithm of the variance of the mean on log T, T = 1 to 256, 200 predictions each in 10 groups: -1 "
    "within 3 standard errors over groups, with masks of rows' own and with shared ones, passes folded into batches "
    "(first part); the variance that a prediction reports falls likewise (second part)",
)
def falling_variance() -> Finding:
    passes, x = [2**k for k in range(9)], digits().test_x[:32]
    model = fitted(network(64, [32, 32], 10, 0.5), digits(), 0, steps=600)
    found = {}
    for masks in ("per-row", "shared"):
        options = {"masks": masks, "memory": 2**20}
        means = [torch.stack([sampled(model, x, n, **options) for _ in range(200)]) for n in passes]
        found[f"mean, {masks}"] = [one.view(10, 20, -1).var(1).mean(1).log() for one in means]
    reported = [[ensemble.predict(model, x, n).variance.mean().log() for _ in range(10)] for n in passes[1:]]
    found["reported variance"] = list(map(torch.stack, reported))

    lines, parts = [], []
    for name, logs in found.items():
        fits = slopes(np.log(passes[-len(logs) :]), torch.stack(logs, 1).numpy())
        error = fits.std(ddof=1) / len(fits) ** 0.5
        parts.append(bool(abs(fits.mean() + 1) <= 3 * error))
        lines.append(f"{name}: slope {fits.mean():.4f} +- {error:.4f}")
    return Finding(verdict(parts[0] and parts[1], parts[2]), lines)
