"""Claims on gradients at the start of training: what masks on inputs, or on hidden activations, leave of them."""

import itertools

import numpy as np
import torch
from claims_record import Finding, claim, interval, verdict
from torch import Tensor, nn

from dropscope.layers import Dropout
from dropscope.spectrum import purify, theory

RATES = (0.1, 0.25, 0.5)
ORDERS = (1, 2, 3, 4)
INPUTS = 5
STARTS, SLOPE_STARTS = 6, 30
# Rows, and the factor of every input in the target: as published, with fewer rows, and with a target of unit inputs.
SETTINGS = {"as published": (10_000, 10.0), "fewer rows": (2_000, 10.0), "smaller target": (2_000, 1.0)}
EXACT = 1e-10


def relu_network(*sizes: int, generator: torch.Generator, bias: float = 0.0) -> nn.Sequential:
    """A ReLU network from Glorot's uniform law in float64, biases normal of a given deviation."""
    network = nn.Sequential()
    for inputs, outputs in itertools.pairwise(sizes):
        linear = nn.utils.skip_init(nn.Linear, inputs, outputs, dtype=torch.float64)
        nn.init.xavier_uniform_(linear.weight, generator=generator)
        nn.init.normal_(linear.bias, std=bias, generator=generator)
        network.extend([linear, nn.ReLU()])
    return network[:-1]


def gradient(loss: Tensor, network: nn.Module) -> Tensor:
    parts = torch.autograd.grad(loss, tuple(network.parameters()), retain_graph=True)
    return torch.cat([part.flatten() for part in parts])


def norm_ratios(rows: int, factor: float, generator: torch.Generator) -> dict[str, np.ndarray]:
    """Ratio of l1 norms of the squared loss's gradients, masked by plain, of shape (starts, rates, orders)."""
    ratios = {kind: np.empty((STARTS, len(RATES), len(ORDERS))) for kind in ("plain", "inverted")}

    for start in range(STARTS):
        network = relu_network(INPUTS, *[200] * 6, 1, generator=generator)
        x = 2 * torch.rand(rows, INPUTS, generator=generator, dtype=torch.float64) - 1
        y = [(factor * x[:, :k]).prod(1) for k in ORDERS]

        def norms(masked: Tensor, network: nn.Module = network, y: list[Tensor] = y) -> np.ndarray:
            output = network(masked)[:, 0]
            return np.array([float(gradient((output - one).square().mean() / 2, network).abs().sum()) for one in y])

        unmasked = norms(x)
        for i, p in enumerate(RATES):
            inverted = Dropout(p, generator=generator)(x)
            ratios["inverted"][start, i] = norms(inverted) / unmasked
            ratios["plain"][start, i] = norms((1 - p) * inverted) / unmasked
    return ratios


def exact_slopes(generator: torch.Generator, p: float = 0.5) -> dict[str, np.ndarray]:
    """Slopes of the expected gradient of y f over all signs, masks and, for resampling, new signs: (starts, orders)."""
    cube = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=INPUTS)), dtype=torch.float64)
    masks = (cube + 1) / 2
    chances = p ** (INPUTS - masks.sum(1)) * (1 - p) ** masks.sum(1)
    slopes = {kind: np.empty((SLOPE_STARTS, len(ORDERS))) for kind in ("zeroed", "resampled")}

    for start in range(SLOPE_STARTS):
        network = relu_network(INPUTS, 32, 32, 1, generator=generator, bias=0.5)
        mixed = cube[:, None, None] * masks[:, None] + cube * (1 - masks)[:, None]
        outputs = {
            "plain": network(cube)[:, 0],
            "zeroed": network(cube[:, None] * masks)[..., 0] @ chances,
            "resampled": network(mixed)[..., 0].mean(2) @ chances,
        }
        for place, order in enumerate(ORDERS):
            y = cube[:, :order].prod(1)
            found = {kind: gradient((y * output).mean(), network).numpy() for kind, output in outputs.items()}
            for kind, column in slopes.items():
                column[start, place] = theory.gradient_slope(found[kind], found["plain"])
    return slopes


def shown(sample: np.ndarray) -> str:
    """Mean and interval over starts for each order."""
    return ", ".join("{:.3f} [{:.3f}, {:.3f}]".format(*interval(column)) for column in sample.T)


@claim(
    "A3",
    "Corollary 1.2, Fig. 2: at initialisation, norms of gradients relative to no dropout shrink with p, and far more "
    "for products of four inputs than for one",
    "l1 norms over 6 starts, for plain and for inverted masks each: shrinks if, for every order, the paired change "
    "from each rate to the next is below 0 (95 % intervals), starting from 1; far more if at p = .5 the ratio for "
    "k = 4 is below half that for k = 1. All four, as published (10,000 rows, y the product of 10 x): 'holds'; none: "
    "'fails'. Beside it other settings and, exactly, the slope that carries the law",
)
def gradients_at_the_start() -> Finding:
    generator = torch.Generator().manual_seed(6)
    lines, parts, data = [], [], {}

    for name, (rows, factor) in SETTINGS.items():
        for kind, found in norm_ratios(rows, factor, generator).items():
            steps = np.diff(found, axis=1, prepend=1.0)
            shrinks = all(interval(steps[:, i, j])[2] < 0 for i, j in np.ndindex(steps.shape[1:]))
            more = interval(found[:, -1, 3] - found[:, -1, 0] / 2)[2] < 0
            parts += [shrinks, more] if name == "as published" else []
            lines.append(f"{name}, {kind} masks: shrinks {shrinks}, far more {more}")
            lines += [f"    l1 ratio, p = {p}, k = 1..4: {shown(found[:, i])}" for i, p in enumerate(RATES)]
            data[f"{name}, {kind}"] = found.tolist()

    slopes = exact_slopes(generator)
    lines.append(f"slope of the expected gradient, p = .5, k = 1..4, resampled: {shown(slopes['resampled'])}")
    lines.append(f"    zeroed (plain masks): {shown(slopes['zeroed'])}")
    data |= {kind: values.tolist() for kind, values in slopes.items()}
    return Finding(verdict(*parts), lines, {"rates": RATES, "orders": ORDERS, **data})


def anchored_law(generator: torch.Generator) -> float:
    """Deviation of E_M grad f(h o M) from sum_u q^|u| grad f_u, for effects that vanish with any of eight units."""
    units = 8
    below = relu_network(INPUTS, units, generator=generator, bias=0.5)
    above = relu_network(units, units, 1, generator=generator, bias=0.5)
    whole = nn.ModuleList([below, above])
    x = torch.randn(16, INPUTS, generator=generator, dtype=torch.float64)
    y = torch.randn(16, 1, generator=generator, dtype=torch.float64)

    masks = torch.tensor(list(itertools.product([0.0, 1.0], repeat=units)), dtype=torch.float64)
    hidden = below(x).relu()
    gradients = torch.stack([gradient((y * above(hidden * mask)).mean(), whole) for mask in masks])

    # f_u(h) = sum over v inside u of (-1)^|u minus v| f(h_v, 0), with h_v the units kept.
    effects = gradients.reshape(*[2] * units, -1).clone()
    for axis in range(units):
        effects.select(axis, 1).sub_(effects.select(axis, 0))
    effects = effects.reshape(len(masks), -1)

    kept = masks.sum(1)
    deviation = 0.0
    for p in RATES:
        expected = (p ** (units - kept) * (1 - p) ** kept) @ gradients
        deviation = max(deviation, float((expected - (1 - p) ** kept @ effects).abs().max()))
    return deviation


def pure_law(generator: torch.Generator, p: float = 0.5) -> tuple[float, list[float]]:
    """Pure effects of gradients on four units: deviation of Theorem 1, and means of leaks over their effects."""
    units = 4
    first = relu_network(INPUTS, units, generator=generator)
    above = relu_network(units, 8, 1, generator=generator, bias=0.5)
    before = first(torch.randn(7, INPUTS, generator=generator, dtype=torch.float64)).detach()
    # Medians as thresholds: about half of each unit's activations are zero, as dropped ones are.
    hidden = (before - before.median(0).values).relu().sort(0).values

    grid = torch.cartesian_prod(*hidden.T)
    gradients = torch.stack([gradient(above(cell)[0], above) for cell in grid]).T.reshape(-1, *[len(hidden)] * units)
    deviation, means = 0.0, []
    for values in gradients.numpy():
        if np.ptp(values) == 0:
            continue
        averaged = theory.masked_effect(values, [0] * units, p)
        total = np.zeros_like(values)
        for u, effect in purify(values).effects.items():
            shrunk, leak = theory.masked_effect(effect, [0] * len(u), p)
            total += np.expand_dims(shrunk + leak, [axis for axis in range(units) if axis not in u])
            if u and effect.std() > 1e-6 * values.std():
                means.append(float(abs(leak.mean()) / effect.std()))
        deviation = max(deviation, float(np.abs(total - sum(averaged)).max()))
    return deviation, means


@claim(
    "A4",
    "Corollary 1.3: the same law for Activation Dropout, in hidden activations: gradients of effects of k hidden units "
    "shrink by (1-p)^k, and the rest has mean 0",
    "over all masks of a hidden layer, the gradient is sum_u q^|u| grad f_u + grad a_u to 1e-10: 'holds' if so and "
    "|E grad a_u| <= 1e-10 for pure effects, 'differs' if so and the law without a rest is exact for effects that "
    "vanish at zeroed units, 'fails' otherwise",
)
def hidden_activations() -> Finding:
    generator = torch.Generator().manual_seed(7)
    anchored = anchored_law(generator)
    deviation, means = pure_law(generator)

    exact = max(anchored, deviation) <= EXACT
    return Finding(
        "holds" if exact and max(means) <= EXACT else "differs" if exact else "fails",
        [
            f"pure effects of 4 units, all weights above them: deviation of sum_u q^|u| grad f_u + grad a_u "
            f"{deviation:.1e}",
            f"    |E grad a_u| over the deviation of grad f_u, p = .5: {np.median(means):.3f} (median), "
            f"{max(means):.3f} (largest), not 0",
            "effects that vanish with any unit (f_u = sum_v (-1)^|u minus v| f(h_v, 0)), 8 units, all weights: "
            f"deviation of sum_u q^|u| grad f_u alone {anchored:.1e}",
        ],
        {"anchored": anchored, "deviation": deviation, "means": means},
    )
