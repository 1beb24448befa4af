"""Claims on what the spread over masks says, and on the mean of masks where they cannot be enumerated."""

import itertools
from functools import cache

import numpy as np
import torch
from claims_networks import Images, bracketed, digits, distance, fitted, grey_cifar, left_out, mnist, network
from claims_record import Finding, claim, interval, verdict
from torch import Tensor, nn
from torch.nn import functional as F

from dropscope import ensemble, layers, stack

ORDERS, COLUMNS, ROWS, STARTS, BOOTSTRAPS = (1, 2, 3, 4), 10, 1000, 4, 10
PLACES = {"input": (0.25, 0.0), "hidden": (0.0, 0.25)}
SMALL = 0.1
SEEDS = 5
MEMBERS = (1, 2, 5, 10, 20, 50, 100)
MARGINS = {"MNIST": 0.1, "digits": 0.5}  # percentage points of error: ten rows of 10,000, three of 597


def spreads(chance: dict[int, float], epochs: int) -> dict[str, np.ndarray]:
    """Mean standard deviation of predictions over that of the target, (orders, starts), by where it comes from.

    The target is the product of the first k of ten 0/1 columns that are each 1 with the given chance.
    """
    generator = torch.Generator().manual_seed(0)
    x, y, members = [], [], {}
    for k, start in itertools.product(ORDERS, range(STARTS)):
        table = (torch.rand(2 * ROWS, COLUMNS, generator=generator) < chance[k]).float()
        first = len(x) * 2 * ROWS
        x.append(table)
        y.append(table[:, :k].prod(1, keepdim=True))
        fit, stop = torch.arange(first, first + ROWS), torch.arange(first + ROWS, first + 2 * ROWS)
        for b in range(BOOTSTRAPS):
            drawn = fit[torch.randint(ROWS, (ROWS,), generator=generator)]
            members["bootstrap", k, start, b] = stack.Member(0, 0, 1e-3, 0, 100 * start + b, 0, drawn, stop)
        for place, rates in PLACES.items():
            members[place, k, start, 0] = stack.Member(*rates, 1e-3, 0, start, len(members), fit, stop)

    shape = stack.Shape(tuple(range(COLUMNS)), 1, 32, 3, "regression")
    models = stack.train(
        torch.cat(x),
        torch.cat(y),
        list(members.values()),
        shape,
        epochs=epochs,
        optimizer="adam",
        patience=epochs,
        extend=False,
    )
    trained = dict(zip(members, models, strict=True))

    found = {way: np.empty((len(ORDERS), STARTS)) for way in ("bootstrap", *PLACES, "input, only in testing")}
    for i, (k, start) in enumerate(itertools.product(ORDERS, range(STARTS))):
        tested, deviation, cell = x[i][ROWS:], y[i][ROWS:].std(), divmod(i, STARTS)
        nets = [trained["bootstrap", k, start, b] for b in range(BOOTSTRAPS)]
        found["bootstrap"][cell] = stack.forward(nets, tested).std(0).mean() / deviation
        dropped = {place: (trained[place, k, start, 0], rates) for place, rates in PLACES.items()}
        dropped["input, only in testing"] = (nets[0], PLACES["input"])
        for way, (model, rates) in dropped.items():
            network = stack.to_sequential(model, shape, *rates)
            found[way][cell] = ensemble.predict(network, tested, 200).std.mean() / deviation
    return found


@claim(
    "A13",
    "Fig. 9: for a product of k Bernoullis, uncertainty by bootstrap is small at every k; that by MC dropout at p = "
    ".25 grows with k, and k = 1 is barely touched",
    "10 columns, 1,000 rows, y = product of k of them without noise, ReLU networks 3 x 32 trained for 4,000 steps of "
    "Adam, weights of the lowest held-out loss, p = .25 in training and testing, 4 starts; columns are 1 with chance "
    "2^(-1/k), so that y is a fair coin at every k. Uncertainty: standard deviation over 10 bootstrapped networks, or "
    "200 passes, mean over fresh rows, over that of y. Small, barely touched: 95 % interval below .1; grows: each step "
    "of k above 0 by an interval of 1 - .05/3. Five parts: bootstrap small at all k; for dropout of the inputs and of "
    "hidden units each: grows, and k = 1 barely touched",
)
def products() -> Finding:
    torch.manual_seed(0)
    fair = spreads({k: 2 ** (-1 / k) for k in ORDERS}, 400)
    short = spreads({k: 2 ** (-1 / k) for k in ORDERS}, 100)
    coins = spreads(dict.fromkeys(ORDERS, 0.5), 100)
    parts = [all(interval(row)[2] < SMALL for row in fair["bootstrap"])]
    for place in PLACES:
        grows = all(interval(step, 1 - 0.05 / 3)[1] > 0 for step in np.diff(fair[place], axis=0))
        parts += [grows, interval(fair[place][0])[2] < SMALL]

    lines = [
        f"{title}, {way}: " + ", ".join(bracketed(interval(row), 3) for row in values) + " for k = 1 to 4"
        for title, found in (
            ("fair y", fair),
            ("fair y, 1,000 steps", short),
            ("columns fair coins, 1,000 steps", coins),
        )
        for way, values in found.items()
    ]
    names = ("bootstrap small", "input grows", "input k = 1 barely", "hidden grows", "hidden k = 1 barely")
    lines.append("; ".join(f"{name}: {'yes' if part else 'no'}" for name, part in zip(names, parts, strict=True)))
    data = {"fair": {name: one.tolist() for name, one in fair.items()}, "orders": ORDERS}
    return Finding(verdict(*parts), lines, data)


def tied_masks() -> dict[str, float]:
    """Largest difference of tied DropConnect from dropout of inputs or outputs, over all masks of a random layer."""
    torch.manual_seed(0)
    weight, bias, x = (torch.randn(*size, dtype=torch.float64) for size in ((6, 6), (6,), (20, 6)))
    masks = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6)), dtype=torch.float64)
    found = dict.fromkeys(
        ("columns, inputs", "rows, relu, bias dropped", "rows, relu, bias kept", "rows, sigmoid"), 0.0
    )
    for m in masks:
        z = F.linear(x, weight, bias)
        pairs = (
            (F.linear(x, weight * m, bias), F.linear(x * m, weight, bias)),
            (F.linear(x, weight * m[:, None], bias * m).relu(), z.relu() * m),
            (F.linear(x, weight * m[:, None], bias).relu(), z.relu() * m),
            (F.linear(x, weight * m[:, None], bias * m).sigmoid(), z.sigmoid() * m),
        )
        found = {name: max(found[name], (a - b).abs().max().item()) for name, (a, b) in zip(found, pairs, strict=True)}
    return found


def matched(model: nn.Sequential, x: Tensor, draws: int = 1000) -> Tensor:
    """Mean of the class probabilities with what DropConnect gives drawn from a normal law of its moments."""
    with torch.no_grad():
        mean, variance = model[2].moments(model[:2](x))
        outputs = [model[3:](torch.normal(mean, variance.sqrt())).softmax(-1) for _ in range(draws)]
    return torch.stack(outputs).mean(0)


@claim(
    "B6",
    "DropConnect masks weights; dropout is its row-tied case; inference by Gaussian moment matching beats one rescaled "
    "pass",
    "matching beats if, in networks 64-64-DropConnect(64)-10 trained on digits with p = .25, .5, .75, its class "
    "probabilities (1,000 draws) are nearer to the mean of 10,000 masks than those of one pass (total variation, 200 "
    "test rows, 95 % interval over 5 seeds above 0) at every rate. With weights (out, in), over all masks of a layer: "
    "'holds' if also rows tied equal dropout of the outputs to 1e-12 for ReLU and sigmoid, bias dropped or not; "
    "'differs' if rows do so only in part and columns tied equal dropout of the inputs; else 'fails'",
)
def drop_connect() -> Finding:
    lines, nearer, data = [], [], {}
    x = digits().test_x[:200]
    for p in (0.25, 0.5, 0.75):
        far = np.empty((SEEDS, 2))
        for seed in range(SEEDS):
            middle = layers.DropConnect(nn.Linear(64, 64), p)
            model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), middle, nn.ReLU(), nn.Linear(64, 10))
            fitted(model, digits(), seed, steps=600)
            with torch.no_grad(), ensemble.dropout_on(model):
                hidden = model[:2](x)
                truth = sum(model[2:](hidden).softmax(-1) for _ in range(10_000)) / 10_000
            ways = (ensemble.weight_scaling(model, x).softmax(-1), matched(model, x))
            far[seed] = [distance(way, truth) for way in ways]
        gain = interval(far[:, 0] - far[:, 1])
        nearer.append(gain[1] > 0)
        data[str(p)] = far.tolist()
        lines.append(
            f"p = {p}: one pass {bracketed(interval(far[:, 0]))}, moments {bracketed(interval(far[:, 1]))} from the "
            f"mean of 10,000 masks; moments nearer by {bracketed(gain)}"
        )

    tied = tied_masks()
    lines += [f"tied {name}: largest difference {miss:.1e}" for name, miss in tied.items()]
    columns, *rows = (miss <= 1e-12 for miss in tied.values())
    if not (all(nearer) and columns and any(rows)):
        return Finding("fails", lines, data)
    return Finding("holds" if all(rows) else "differs", lines, data)


@cache
def on_mnist(seed: int) -> nn.Module:
    """A network trained on all ten digits of MNIST."""
    return fitted(network(784, [256, 256], 10, 0.5, 0.2), mnist(), seed, steps=2000, batch_size=100)


def sides(seed: int) -> dict[str, tuple[nn.Module, Tensor, Tensor]]:
    """Trained networks with rows as they know them, and rows of another kind."""

    def half(images: Images, model: nn.Module, **options: int) -> tuple[nn.Module, Tensor, Tensor]:
        known, new = images.only(range(5)), images.only(range(5, 10))
        return fitted(model, known, seed, **options), known.test_x[:1000], new.test_x[:1000]

    found = {"digits 0-4, 5-9": half(digits(), network(64, [128, 128], 5, 0.5), steps=600)}
    if mnist() is not None:
        model = network(784, [256, 256], 5, 0.5, 0.2)
        found["MNIST 0-4, 5-9"] = half(mnist(), model, steps=1000, batch_size=100)
        if grey_cifar() is not None:
            found["MNIST, grey CIFAR-10"] = (on_mnist(seed), mnist().test_x[:1000], grey_cifar()[:1000])
    return found


@claim(
    "D8d",
    "the variance over masks is higher out of distribution",
    "AUROC of the variance of the class probabilities over 50 passes (mean over classes), rows of another kind "
    "positive, networks of 5 seeds, for each pair of sets there is: 95 % interval above .5. Beside it other scores, "
    "and the largest probability of the deterministic pass",
)
def out_of_distribution() -> Finding:
    names, found = ["variance", "mutual_information", "entropy"], {}
    for seed in range(SEEDS):
        for pair, (model, inside, outside) in sides(seed).items():
            scores = ensemble.out_of_distribution(model, inside, outside, names, 50, transform="softmax")
            unsure = (1 - ensemble.weight_scaling(model, x).softmax(-1).amax(-1) for x in (inside, outside))
            once = ensemble.detection(*unsure, score="deterministic")
            found.setdefault(pair, []).append([*(one.auroc for one in scores.values()), once.auroc, once.auroc_error])

    lines, parts = [], []
    for pair, values in ((pair, np.array(rows)) for pair, rows in found.items()):
        parts.append(interval(values[:, 0])[1] > 0.5)
        lines.append(
            f"{pair}: AUROC "
            + ", ".join(f"{name} {bracketed(interval(values[:, k]), 3)}" for k, name in enumerate([*names, "one pass"]))
            + f"; entropy above one pass by {bracketed(interval(values[:, 2] - values[:, 3]))}; "
            f"error over rows {values[:, 4].mean():.3f}"
        )
    return Finding(verdict(*parts), [*lines, *left_out()], {"auroc": found})


def missed(model: nn.Module, x: Tensor, y: Tensor) -> list[float]:
    """Percent of errors of weight scaling, and of means of so many sampled networks, each mean over groups of them."""
    samples = ensemble.predict(model, x, MEMBERS[-1], masks="shared", transform="softmax", keep_samples=True).samples
    means = [samples.unflatten(0, (-1, k)).mean(1) for k in MEMBERS]
    found = [ensemble.weight_scaling(model, x), *means]
    return [100 * (one.argmax(-1) != y).double().mean().item() for one in found]


@claim(
    "E4",
    "averaging about 50 sampled networks matches weight scaling on MNIST-like data (Fig. 11)",
    "error of the mean of k sampled networks minus that of weight scaling, whole test set, networks of 5 seeds (MNIST "
    "784-256-256-10, p = .2 and .5; digits 64-128-128-10, p = .5): matches if the 95 % interval lies within .1 points "
    "on MNIST (.5 on digits) at k = 50 (first part); one to five networks are worse (second part); on each set found",
)
def sampled_networks() -> Finding:
    sets = {"digits": digits(), "MNIST": mnist()}
    lines, parts, data = [], [], {}
    for name, images in ((name, images) for name, images in sets.items() if images is not None):
        errors = np.empty((SEEDS, 1 + len(MEMBERS)))
        for seed in range(SEEDS):
            small = name == "digits"
            model = fitted(network(64, [128, 128], 10, 0.5), images, seed, steps=1000) if small else on_mnist(seed)
            errors[seed] = missed(model, images.test_x, images.test_y)
        above = {k: interval(errors[:, 1 + i] - errors[:, 0]) for i, k in enumerate(MEMBERS)}
        data[name] = errors.tolist()

        _, low, high = above[50]
        parts += [max(-low, high) <= MARGINS[name], all(above[k][1] > 0 for k in (1, 2, 5))]
        lines.append(
            f"{name}: weight scaling {bracketed(interval(errors[:, 0]), 2)} % errors; sampled networks above it by "
            + ", ".join(f"{bracketed(three, 2)} (k = {k})" for k, three in above.items())
        )
    return Finding(verdict(*parts), [*lines, *left_out()], data)
