"""Can the best rate be predicted from networks without dropout alone? The prediction against the measured grid.

Variance of the outputs at order k, in networks without dropout, is W_k; in networks trained on permuted targets for as
many epochs it is spurious, V_k. Of the study's networks, noise * V_k is taken to be spurious, where `noise` is the
share of the target's variance (of the classes' entropy) that they leave unexplained on selection rows, and the rest
signal. Dropout is taken to keep a share s_k of order k, so that the predicted rate minimises

    sum_k (1 - s_k)^2 max(W_k - noise V_k, 0) + s_k^2 noise V_k,        q = 1 - p,

with s_k = q^k at the inputs, which is exact for the least-squares fit of products of k independent inputs; at hidden
layers, of which nothing exact is known, once s_k = q^k too ("as inputs") and once s_k = q^(k-1) ("spares mains": hidden
units replace each other). Variance beyond the highest measured order counts as one order higher.

Reads benchmarks/results/advice.jsonl, so run `advice.py` first; finished tables are appended to advice_theory.jsonl.

    DROPSCOPE_DATA=FOLDER python benchmarks/advice_theory.py
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from advice import append, arguments, finished, loaded
from advice_rivals import Candidate, train
from advice_summary import interval, regrets
from advice_tables import Table
from scipy import stats
from timing import save

from dropscope import spectrum, stack
from dropscope.study import Options
from dropscope.study.chunk import Recipe
from dropscope.study.plan import recipe_of
from dropscope.study.problem import Problem, pose

SHUFFLE = 7  # of the permutations' seeds
PLACES = {"input": 0, "hidden": 1}
MODELS = {"input": {"as inputs": 0}, "hidden": {"as inputs": 0, "spares mains": 1}}  # spared orders


def measure(table: Table, record: dict[str, Any], seeds: int) -> dict[str, Any]:
    """Train networks without dropout on permuted targets and measure their variance by order."""
    start = time.perf_counter()
    options = Options.of(**table.options)
    problem = pose(table.frame, table.target, options)
    recipe = recipe_of(problem, options, record["epochs"])
    epochs = max(1, round(record["arms"][0]["best_epoch"]))
    variances = [spurious(problem, recipe, record["candidates"][0][2], epochs, seed) for seed in range(seeds)]
    return {
        "table": table.name,
        "seconds": record["seconds"],
        "seeds": seeds,
        "split": record["split"],
        "epochs": epochs,
        "spurious": np.mean(variances, axis=0).tolist(),
        "theory_seconds": time.perf_counter() - start,
    }


def spurious(problem: Problem, recipe: Recipe, lr: float, epochs: int, seed: int) -> list[float]:
    """Variance by order of one network whose targets were permuted before anything was learned from them."""
    rest, y = problem.cutter.rest, problem.y.copy()
    y[rest] = np.random.default_rng([SHUFFLE, seed]).permutation(y[rest])
    data = replace(problem, y=y).seed_data(seed)
    fitted = train(data, recipe, [Candidate(0.0, 0.0, lr)], seed, epochs=epochs, patience=epochs, keep="last")

    def outputs(x: torch.Tensor) -> torch.Tensor:
        z = stack.forward(fitted, x)
        return spectrum.centre_logits(z) if recipe.shape.task == "classification" else z

    [found] = spectrum.stack_spectra(
        outputs, torch.from_numpy(data.x[data.cut.fit]), models=1, max_order=recipe.max_order, budget=recipe.budget,
        blocks=recipe.blocks, intervals=False, generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    one = found.to_dict()
    return [one["total"] * share for share in (*one["share"], one["rest"])]


def plain_variance(record: dict[str, Any] | None) -> np.ndarray:
    """Variance by order of the study's networks without dropout; nan where it was not measured."""
    return np.array(record["arms"][0]["variance"] if record else [np.nan], float)


def expected_loss(record: dict[str, Any], permuted: Sequence[float], p: float, spared: int) -> float:
    """Shrinkage bias plus spurious variance at one rate."""
    loss = np.mean(record["arms"][0]["select"])
    noise = min(1.0, (loss / record["spread"]) ** (2 if record["metric"] == "rmse" else 1))
    variance, spurious = plain_variance(record), noise * np.array(permuted)
    kept = (1 - p) ** (np.arange(1, len(variance) + 1) - spared)
    return float((1 - kept) ** 2 @ np.maximum(variance - spurious, 0) + kept**2 @ spurious)


def compare(record: dict[str, Any], theory: dict[str, Any], place: str, spared: int) -> dict[str, Any]:
    """Positions on the grid of one place: the predicted rate, the measured best by selection, and by test halves."""
    arms, axis = record["arms"], PLACES[place]
    rates = [(arm["p_input"], arm["p_hidden"]) for arm in arms]
    grid = sorted((i for i, rate in enumerate(rates) if rate[1 - axis] == 0), key=lambda i: rates[i][axis])
    expected = [expected_loss(record, theory["spurious"], rates[i][axis], spared) for i in grid]
    select = [np.mean(arms[i]["select"]) for i in grid]
    test = np.mean(record["test"], axis=0)[grid]
    predicted = int(np.argmin(expected))
    followed = regrets({**record, "choices": {"theory": grid[predicted]}})["theory"]
    return {"grid": len(grid), "predicted": predicted, "selection": [int(np.argmin(select))],
            "test": test.argmin(0).tolist(), "regret": followed}  # fmt: skip


def hits(position: int, best: Sequence[int]) -> float:
    """Share of the measured best positions that lie within one step of a predicted one."""
    return float(np.mean([abs(position - one) <= 1 for one in best]))


def judge(compared: Sequence[dict[str, Any]], by: str) -> dict[str, Any]:
    """Compare the hit rate of the prediction with that of the best single position, the same for all tables."""
    theory = np.array([hits(one["predicted"], one[by]) for one in compared])
    fixed = np.array([[hits(j, one[by]) for one in compared] for j in range(compared[0]["grid"])])
    best = int(fixed.mean(1).argmax())
    predicted = [one["predicted"] for one in compared]
    measured = [np.mean(one[by]) for one in compared]
    varies = len(set(predicted)) > 1 and len(set(measured)) > 1
    rank = float(stats.spearmanr(predicted, measured).statistic) if varies else float("nan")
    gain = interval(theory - fixed[best])
    return {"by": by, "hits": float(theory.mean()), "fixed": best, "fixed_hits": float(fixed[best].mean()),
            "gain": gain, "rank": rank, "helps": bool(gain["t_low"] > 0)}  # fmt: skip


def show(records: dict[str, Any], theories: dict[str, Any]) -> list[dict[str, Any]]:
    """Print, for each place and model, how often the prediction is right, at what cost, and whether it helps."""
    names = [name for name in theories if name in records]
    rows = []
    for place, models in MODELS.items():
        for model, spared in models.items():
            compared = {name: compare(records[name], theories[name], place, spared) for name in names}
            print(f"\n{place} p, {model}: predicted position on the grid (0 is p=0), best by selection, by test halves")
            print("  " + ", ".join(f"{n} {c['predicted']} {c['selection']} {c['test']}" for n, c in compared.items()))
            regret = float(np.mean([one["regret"] for one in compared.values()]))
            for by in ("selection", "test"):
                row = {"place": place, "model": model, "regret": regret, **judge(list(compared.values()), by)}
                rows.append(row)
                print(
                    f"  within one step of the best by {by}: {row['hits']:.0%}; position {row['fixed']} for every "
                    f"table: {row['fixed_hits']:.0%}; difference {100 * row['gain']['mean']:+.0f} "
                    f"[{100 * row['gain']['t_low']:.0f}, {100 * row['gain']['t_high']:.0f}] points; "
                    f"rank correlation {row['rank']:.2f}: {'helps' if row['helps'] else 'does not help'}"
                )
            print(f"  mean relative regret of following it: {100 * regret:.1f} %")
    cost = np.mean([theories[n]["theory_seconds"] / records[n]["study_seconds"] for n in names])
    print(f"\ncost, beside the study's own networks without dropout: {cost:.0%} of the study's seconds")
    return [*rows, {"cost": float(cost), "tables": names}]


def main() -> None:
    options = arguments(__doc__, seeds=3)
    records = finished(options.folder / "advice.jsonl", seconds=options.seconds, split=options.split)
    path = options.folder / "advice_theory.jsonl"
    settings = {"seconds": options.seconds, "seeds": options.seeds, "split": options.split}
    known = finished(path, **settings)
    # Without two blocks of columns there is no spectrum.
    usable = [name for name in options.only if np.isfinite(plain_variance(records.get(name))).all()]
    for table in loaded([name for name in usable if name not in known], options.split):
        record = measure(table, records[table.name], options.seeds)
        append(path, record)
        print(f"{table.name}: {record['epochs']} epochs, {record['theory_seconds']:.0f} s", flush=True)

    rows = show(records, {name: one for name, one in finished(path, **settings).items() if name in usable})
    if not options.smoke:
        print("written:", save("advice_theory", [{**settings, **row} for row in rows]))


if __name__ == "__main__":
    main()
