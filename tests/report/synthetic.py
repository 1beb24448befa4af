"""Studies made of formulas: every number that the report shows is known, and no network is trained."""

from dataclasses import replace

import numpy as np

from dropscope.study import StudyResult, advise
from dropscope.study.options import Options
from dropscope.study.result import arms_of

NASTY = "<script>alert(1)</script>"
ARMS = Options().arms()
EPOCHS = 40


def spectrum(rng, p, blocks):
    share = np.array([0.55 + 0.4 * p, 0.25 - 0.2 * p, 0.1 - 0.1 * p]) * (1 + 0.03 * rng.normal(size=3))
    rest = 1 - share.sum()
    values = [*share, rest]
    orders = [*share, rest, *[0.0] * (blocks - 4)]
    return {
        "share": share.tolist(), "rest": rest, "low": [v - 0.04 for v in values], "high": [v + 0.05 for v in values],
        "total": 0.8 * (1 - p) * (1 + 0.03 * rng.normal()), "mean_order": float(np.arange(1, 5) @ values),
        "mean_order_low": 1.2, "mean_order_high": 2.0, "orders": orders, "budget": 50_000,
        "method": "cube", "inputs_law": "product",
        "blocks": [[j] for j in range(blocks)], "point": "smooth",
    }  # fmt: skip


def trial(rng, arm, seed, metric, optimum, *, spectra=True, lr=1e-3):
    p = max(arm)
    loss = 40 * (1 + 0.6 * (p - optimum) ** 2 + 0.3 * (arm[0] > 0.15)) + 2 * np.sin(seed) + 0.1 * rng.normal()
    best = int(15 + 20 * p) + seed % 3
    stop = [0.15 + 0.8 / epoch**0.9 + 0.0005 * max(0, epoch - best) for epoch in range(1, best + 16)]
    fit = [0.9 / epoch**0.9 + 0.1 + 0.3 * p for epoch in range(1, best + 16)]
    scores = {"rmse": loss, "mae": 0.7 * loss, "r2": 0.8}
    if metric == "log_loss":
        scores = {
            "log_loss": loss / 100,
            "error": 0.1,
            "balanced_error": 0.12,
            "accuracy": 0.9,
            "balanced_accuracy": 0.88,
        }
    probed = [2**k for k in range(7) if 2**k <= len(stop)]
    return {
        "key": f"{arm}{seed}{lr}", "p_input": arm[0], "p_hidden": arm[1], "lr": lr, "seed": seed, "best_epoch": best,
        "epochs": len(stop), "extended": False, "diverged": False, "stop": stop[best - 1], "fit_curve": fit,
        "stop_curve": stop, "n_fit": 4000, "n_select": 1333, "select": scores, "held": scores,
        "test": {name: 1.02 * value for name, value in scores.items()},
        "spectrum": spectrum(rng, p, 8) if spectra else None,
        "curve": {epoch: spectrum(rng, p / epoch, 8) for epoch in probed} if spectra else {}, "seconds": 1.25, "pid": 1,
    }  # fmt: skip


def make(
    *,
    arms=ARMS,
    seeds=5,
    metric="rmse",
    optimum=0.3,
    constant=90.0,
    spectra=True,
    target="price",
    names=None,
    lrs=(1e-3,),
):
    """A study of `arms` × `seeds` whose loss is lowest at `optimum`."""
    rng = np.random.default_rng(7)
    trials = [
        trial(rng, arm, seed, metric, optimum, spectra=spectra, lr=lr)
        for seed in range(seeds)
        for arm in arms
        for lr in lrs
    ]
    names = names or [f"column_{j}" for j in range(8)]
    scale = 1 if metric == "rmse" else 0.01
    levels = {"constant": constant, "linear": 48.0, "boosting": 39.5}
    rows = [
        {"name": name, "label": f"{name} model", **{
            part: [{**trials[0][part], metric: level * scale + seed * scale} for seed in range(seeds)]
            for part in ("select", "test")
        }}
        for name, level in levels.items()
    ]  # fmt: skip
    result = StudyResult(
        name="houses", target=target, task="regression" if metric == "rmse" else "classification", metric=metric,
        options=dict(vars(Options.of(lr=lrs))), source="a formula", notes=("2 columns are constant.",),
        rows={"all": 8333, "fit": 4000, "stop": 1333, "select": 1333, "test": 1667}, features=tuple(names),
        classes=() if metric == "rmse" else ("no", "yes"),
        blocks=tuple((name,) for name in names) if spectra else (tuple(names),),
        epochs=EPOCHS, trials=tuple(trials), references=tuple(rows), arms=arms_of(trials, metric, EPOCHS),
        refit={"lr": 1e-3, "best_epoch": 17, "rows": 5333, "test": trials[0]["test"]},
        files=("out/model.pt", "out/model.json", "out/result.json"), seconds=171.4,
    )  # fmt: skip
    return replace(result, advice=advise(result))
