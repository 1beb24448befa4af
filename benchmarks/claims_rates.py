"""Claims on where to drop more and where less: rates over the depth of a network, and in convolutional networks.

The tables are those of `advice_tables`: bundled ones, and others from the folder DROPSCOPE_DATA. What is not there is
left out, and said.
"""

from functools import cache

import numpy as np
import torch
from advice_tables import LISTS, PLANTED, load
from claims_networks import digits, network
from claims_record import Finding, claim, interval, verdict
from torch import Tensor, nn
from torch.nn import functional as F

from dropscope import stack
from dropscope.errors import MissingData
from dropscope.study import Options
from dropscope.study.plan import recipe_of
from dropscope.study.problem import Problem, SeedData, pose
from dropscope.study.rates import HiddenRate, profile

MEANS = (0.025, 0.1, 0.25, 0.5)
SHAPES = ("flat", "rising", "falling")
SEEDS, UPDATES = 5, 1000
WIDTH, DEPTH = 64, 3
SELECT, TEST = 0, 1

IMAGE_RATES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
IMAGE_SEEDS, PASSES, BATCH = 6, 40, 64
FIT, STOP, REST = 600, 200, 400  # of 1,200 images; the rest choose the rate


def shaped(shape: str, p: float) -> HiddenRate:
    """The rates of hidden layers with a mean of p."""
    return p if shape == "flat" else profile(shape, p, DEPTH)


@cache
def table_losses(name: str) -> np.ndarray:
    """Losses on selection and on test rows: (seeds, shapes, means, 2); the last mean is no dropout."""
    table = load(name)
    options = Options.of(width=WIDTH, depth=DEPTH, **table.options)
    problem = pose(table.frame, table.target, options)
    return np.stack([seed_losses(problem, options, problem.seed_data(seed), seed) for seed in range(SEEDS)])


def seed_losses(problem: Problem, options: Options, data: SeedData, seed: int) -> np.ndarray:
    """Train all rates of a seed as one stack: from one start, on one order of batches."""
    steps = recipe_of(problem, options, 1).steps_per_epoch
    recipe = recipe_of(problem, options, UPDATES // steps)
    fit, stop = torch.from_numpy(data.cut.fit), torch.from_numpy(data.cut.stop)
    rates = [*(shaped(shape, p) for shape in SHAPES for p in MEANS), 0.0]
    members = [
        stack.Member(0.0, p, 1e-3, 0.0, seed=seed, mask_seed=1000 * (seed + 1) + i, fit=fit, stop=stop)
        for i, p in enumerate(rates)
    ]
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    models = stack.train(
        x, y, members, recipe.shape, epochs=recipe.epochs, batch_size=recipe.batch_size, steps_per_epoch=steps,
        patience=recipe.patience,
    )  # fmt: skip
    parts = [torch.from_numpy(rows) for rows in (data.cut.select, problem.cutter.test)]
    found = np.array([[loss(z, y[rows]) for z in stack.forward(models, x[rows])] for rows in parts]).T
    shapes = found[:-1].reshape(len(SHAPES), len(MEANS), 2)
    return np.concatenate([shapes, np.broadcast_to(found[-1], (len(SHAPES), 1, 2))], 1)


def loss(z: Tensor, y: Tensor) -> float:
    """Root mean squared error in standard deviations of the target, or cross-entropy."""
    if y.is_floating_point():
        return F.mse_loss(z, y).sqrt().item()
    return F.cross_entropy(z, y).item()


def gains(losses: np.ndarray, own: bool) -> np.ndarray:
    """Test losses of flat and of falling rates over those of rising ones, in percent of flat's: (2, seeds).

    The mean rate is the one of the lowest mean selection loss: of each shape by itself if `own`, else of flat rates.
    """
    choosing = losses[:, :, : len(MEANS), SELECT].mean(0)
    chosen = choosing.argmin(1) if own else np.full(len(SHAPES), choosing[0].argmin())
    test = losses[:, np.arange(len(SHAPES)), chosen, TEST]
    flat, rising, falling = test.T
    return 100 * np.stack([flat - rising, falling - rising]) / flat.mean()


def measured_tables() -> tuple[dict[str, np.ndarray], list[str]]:
    """Losses by table, and the tables that are not there."""
    found, missing = {}, []
    for name in (name for name in LISTS["first"] if name not in PLANTED):
        try:
            found[name] = table_losses(name)
        except MissingData:
            missing.append(name)
    return found, missing


@claim(
    "A17a",
    "lower rates in early layers, higher in deep ones",
    "networks of three hidden layers whose rates rise from p/2 to 3p/2, are flat, or fall, on all real tables at hand. "
    "The mean rate p of each shape is chosen on selection rows, of four; losses are compared on test rows, paired by "
    "seed, the mean over seeds being one number a table. 'holds' if rising rates beat both flat and falling ones (95 % "
    "interval over tables above 0), 'holds in part' if they beat one, 'fails' if none",
)
def rising_rates() -> Finding:
    found, missing = measured_tables()
    lines, data, beats = [], {}, []
    for title, own in (
        ("each shape at its own best mean rate", True),
        ("all at the best mean rate of flat ones", False),
    ):
        by_table = {name: gains(losses, own) for name, losses in found.items()}
        means = np.array([one.mean(1) for one in by_table.values()])
        errors = np.array([one.std(1, ddof=1) / SEEDS**0.5 for one in by_table.values()])
        for i, rival in enumerate(("flat", "falling")):
            mean, low, high = interval(means[:, i])
            clear = [int((sign * means[:, i] > 2 * errors[:, i]).sum()) for sign in (1, -1)]
            lines.append(
                f"{title}: rising over {rival} {mean:+.2f} % of the loss [{low:+.2f}, {high:+.2f}] over {len(means)} "
                f"tables; better by two standard errors on {clear[0]}, worse on {clear[1]}"
            )
            if own:
                beats.append(low > 0)
        data[title] = {name: [one.mean(1).tolist(), one.std(1, ddof=1).tolist()] for name, one in by_table.items()}
    lines += [by_task(found), by_rate(found), *([f"left out, as not there: {', '.join(missing)}"] * bool(missing))]
    return Finding(verdict(*beats), lines, {**data, "losses": {name: one.tolist() for name, one in found.items()}})


def by_task(found: dict[str, np.ndarray]) -> str:
    """What dropout gains at all on the tables, and what shape is best how often."""
    best, helped = [], []
    for losses in found.values():
        chosen = losses[..., SELECT].mean(0)[:, : len(MEANS)].argmin(1)
        test = losses[:, np.arange(len(SHAPES)), chosen, TEST].mean(0)
        best.append(SHAPES[int(test.argmin())])
        helped.append(100 * (1 - test[0] / losses[:, 0, -1, TEST].mean()))
    counts = ", ".join(f"{shape} {best.count(shape)}" for shape in SHAPES)
    mean, low, high = interval(helped)
    return f"lowest test loss: {counts}; flat dropout itself gains {mean:+.2f} % [{low:+.2f}, {high:+.2f}] over none"


def by_rate(found: dict[str, np.ndarray]) -> str:
    """What rising rates gain over falling ones where selection rows chose little dropout, and where they chose more."""
    chosen: dict[float, list[float]] = {p: [] for p in MEANS}
    for losses in found.values():
        p = MEANS[losses[:, 0, : len(MEANS), SELECT].mean(0).argmin()]
        chosen[p].append(gains(losses, own=True)[1].mean())
    told = [f"p = {p:g}: {np.mean(each):+.2f} % ({len(each)} tables)" for p, each in chosen.items() if each]
    return "rising over falling by the mean rate that flat rates chose: " + ", ".join(told)


def convolutional(p: float) -> nn.Sequential:
    """Two convolutions of 3 by 3 with ReLU and dropout of single units after each, and one linear layer."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Dropout(p),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(p), nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip


NETWORKS = {"dense": lambda p: network(64, [128, 128], 10, p), "convolutional": convolutional}


def image_losses(kind: str, p: float, seed: int) -> tuple[float, float]:
    """Cross-entropy on images that choose the rate and on test images, at the best of 40 passes on stop images."""
    images = digits()
    order = torch.randperm(len(images.x), generator=torch.Generator().manual_seed(seed))
    fit, stop, rest = order.split([FIT, STOP, REST])
    torch.manual_seed(seed)
    model = NETWORKS[kind](p)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    parts = [(images.x[stop], images.y[stop]), (images.x[rest], images.y[rest]), (images.test_x, images.test_y)]

    best = (np.inf, np.inf, np.inf)
    for _ in range(PASSES):
        for rows in fit[torch.randperm(FIT)].split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model.train()(images.x[rows]), images.y[rows]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            best = min(best, tuple(F.cross_entropy(model(x), y).item() for x, y in parts))
    return best[1:]


def best_rates(losses: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """The rate of the lowest mean selection loss, for each draw of seeds: losses (rates, seeds)."""
    return np.array(IMAGE_RATES)[losses[:, draws].mean(2).argmin(0)]


@claim(
    "A17b",
    "convolutional nets need less",
    "on scikit-learn's digits, 600 images to fit on, the best of eight rates (lowest mean cross-entropy on selection "
    "images, 6 seeds) of a net with two convolutions lies below that of a dense one with two hidden layers: 'holds' if "
    "the 95 % bootstrap interval over seeds of the difference is above 0, else 'fails'. Beside it what the best rate "
    "gains on test images",
)
def convolutions() -> Finding:
    found = {
        kind: np.array([[image_losses(kind, p, seed) for seed in range(IMAGE_SEEDS)] for p in IMAGE_RATES])
        for kind in NETWORKS
    }
    every = np.arange(IMAGE_SEEDS)[None]
    draws = np.random.default_rng(0).integers(IMAGE_SEEDS, size=(10_000, IMAGE_SEEDS))
    rates = {kind: best_rates(one[..., SELECT], every)[0] for kind, one in found.items()}
    drawn = {kind: best_rates(one[..., SELECT], draws) for kind, one in found.items()}
    less = drawn["dense"] - drawn["convolutional"]
    low, high = np.quantile(less, [0.025, 0.975])

    gap = rates["dense"] - rates["convolutional"]
    lines = [f"best rate of the dense net less that of the convolutional one: {gap:+.1f} [{low:+.1f}, {high:+.1f}]"]
    for kind, one in found.items():
        test, chosen = one[..., TEST], IMAGE_RATES.index(rates[kind])
        gain, least, most = interval(100 * (test[0] - test[chosen]) / test[0].mean())
        lines.append(
            f"{kind}: best rate {rates[kind]:.1f} (90 % of draws of seeds: {spread(drawn[kind])}), gains {gain:.0f} "
            f"[{least:.0f}, {most:.0f}] % of the test loss without dropout; test loss by rate {curve(test)}"
        )
    data = {kind: one.tolist() for kind, one in found.items()}
    return Finding(verdict(low > 0), lines, {"rates": IMAGE_RATES, **data})


def spread(rates: np.ndarray) -> str:
    low, high = np.quantile(rates, [0.05, 0.95])
    return f"{low:.1f} to {high:.1f}"


def curve(losses: np.ndarray) -> str:
    return ", ".join(f"{p:g}: {mean:.3f}" for p, mean in zip(IMAGE_RATES, np.mean(losses, 1), strict=True))
