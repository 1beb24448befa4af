"""The advice in words: each kind of answer, what voids it, what is left out, and what may be pasted."""

import math
from dataclasses import replace

import numpy as np
import pytest

from dropscope.study import StudyResult, advise
from dropscope.study.result import arms_of

WIGGLE = np.array([1.0, -1.0, 0.5, -0.5, 0.0])


def record(arm, seed, rmse, *, best=10, lr=1e-3, stop=None, diverged=False, share=(0.7, 0.2, 0.06)):
    spectrum = {"share": list(share), "rest": 1 - sum(share), "total": 1 - arm[1] / 2, "mean_order": 1.5}
    return {
        "p_input": arm[0], "p_hidden": arm[1], "lr": lr, "seed": seed, "best_epoch": best, "diverged": diverged,
        "stop": rmse if stop is None else stop, "n_fit": 300, "n_select": 100, "spectrum": spectrum,
        "select": {"rmse": rmse}, "held": {"rmse": rmse}, "test": {"rmse": 99.0 + seed},
    }  # fmt: skip


def studied(means, *, noise=0.01, constant=9.0, epochs=20, **special):
    """A result from mean losses by arm; `special` holds record options by the arm's position, as `arm2={...}`."""
    trials = [
        record(arm, seed, mean + seed + noise * WIGGLE[seed] * (-1) ** i, **special.get(f"arm{i}", {}))
        for i, (arm, mean) in enumerate(means.items())
        for seed in range(5)
    ]
    references = ({"name": "constant", "label": "mean", "select": [{"rmse": constant}] * 5, "test": []},)
    return StudyResult(
        name="t", target="y", task="regression", metric="rmse", options={"seeds": 5}, source="", notes=(), rows={},
        features=(), classes=(), blocks=(), epochs=epochs, trials=tuple(trials), references=references,
        arms=arms_of(trials, "rmse", epochs),
    )  # fmt: skip


GAIN = {(0.0, 0.0): 4.0, (0.1, 0.0): 3.9, (0.0, 0.25): 3.0, (0.0, 0.5): 3.5, (0.1, 0.25): 3.4}


def test_dropout_is_advised_with_its_measured_reason_and_code():
    advice = advise(studied(GAIN))
    assert (advice.kind, advice.p_input, advice.p_hidden) == ("dropout", 0.0, 0.25)
    assert advice.sentences[0].startswith("Use p=0.25 after each hidden layer: RMSE on selection rows falls by 16.7")
    assert "from 6 to 5" in advice.sentences[0]
    assert "Measured on the trained networks" in advice.sentences[1]
    assert "variance of their outputs by \u221212 %" in advice.sentences[1]
    assert advice.code == "nn.Dropout(p=0.25)  # after the activation of each hidden layer"


def test_a_loss_below_zero_falls_by_a_share_of_its_size():
    advice = advise(studied({arm: mean - 10 for arm, mean in GAIN.items()}))
    assert "falls by 25.0 ± " in advice.sentences[0]
    assert "\u2212" not in advice.sentences[0]
    assert "from -4 to -5" in advice.sentences[0]


def test_both_places_give_two_lines_of_code():
    advice = advise(studied({**GAIN, (0.1, 0.25): 2.0}))
    assert advice.code.count("nn.Dropout(") == 2
    assert "p=0.1 on the inputs and p=0.25 after each hidden layer" in advice.sentences[0]


def test_no_dropout_and_cannot_tell_differ_in_what_may_be_pasted():
    harmful = advise(studied(dict(zip(GAIN, [4.0, 4.2, 4.3, 4.5, 4.9], strict=True)), noise=1e-3))
    assert (harmful.kind, harmful.code) == ("no dropout", "# no nn.Dropout")
    unclear = advise(studied(dict(zip(GAIN, [4.0, 3.9, 4.0, 4.5, 4.9], strict=True)), noise=0.3))
    assert (unclear.kind, unclear.p_input, unclear.p_hidden) == ("cannot tell", 0.1, 0.0)
    assert "gains 1.7 ±" in unclear.sentences[0]
    assert unclear.sentences[0].endswith("The best guess is p=0.1 on the inputs.")
    assert unclear.code.startswith("# a best guess: not shown to beat no dropout\nnn.Dropout(p=0.1)")
    nothing = advise(studied(dict(zip(GAIN, [4.0, 4.02, 4.1, 4.5, 4.9], strict=True)), noise=0.05))
    assert (nothing.kind, nothing.p_hidden, nothing.code) == ("cannot tell", 0.0, "")
    assert nothing.sentences[0].endswith("The best guess is no dropout.")


def test_nothing_to_gain_on_a_loss_of_zero():
    perfect = studied(dict.fromkeys(GAIN, 0.0), noise=0.0)
    zero = {"select": {"rmse": 0.0}, "held": {"rmse": 0.0}}
    perfect = replace(perfect, trials=tuple({**t, **zero} for t in perfect.trials))
    perfect = replace(perfect, arms=arms_of(list(perfect.trials), "rmse", 20))
    assert advise(perfect).kind == "no dropout"


def test_the_largest_rate_being_best_is_said():
    assert "widen the grid" in advise(studied({**GAIN, (0.0, 0.5): 2.0})).sentences[0]


def test_arms_that_were_still_improving_may_win_and_are_named():
    advice = advise(studied(GAIN, arm2={"best": 37}))  # the last 10 % of 2 x 20 epochs
    assert (advice.kind, advice.p_hidden, advice.excluded) == ("dropout", 0.25, ())
    assert "Still improving when training ended: (0, 0.25)." in advice.sentences[1]
    assert "improving" not in advise(studied(GAIN, arm2={"best": 36})).sentences[1]


def test_one_diverged_network_takes_its_arm_out():
    advice = advise(studied(GAIN, arm2={"diverged": True}))
    assert advice.excluded == ((0.0, 0.25),)
    assert (advice.p_input, advice.p_hidden) == (0.1, 0.25)
    assert "Left out because training diverged: (0, 0.25)." in advice.sentences[1]


def test_over_unconverged_networks_without_dropout_nothing_is_claimed():
    advice = advise(studied(GAIN, arm0={"best": 40}))
    assert (advice.kind, advice.p_hidden, advice.seeds_needed) == ("cannot tell", 0.25, None)
    assert "without dropout were still improving when training ended; train longer" in advice.sentences[0]
    assert advice.sentences[0].endswith("The best guess is p=0.25 after each hidden layer.")


def test_diverged_networks_without_dropout_void_the_advice():
    advice = advise(studied(GAIN, arm0={"diverged": True}))
    assert advice.kind == "void"
    assert "training of the networks without dropout diverged" in advice.sentences[0]
    assert math.isnan(advice.p_hidden)


def test_losing_to_the_constant_voids_the_advice():
    result = studied(GAIN, constant=4.9)
    advice = advise(result)
    assert advice.kind == "void"
    assert replace(result, advice=advice).advised_arm is None
    assert "loses to the constant (4.9)" in advice.sentences[0]
    assert (advice.p_input, advice.p_hidden) == (0, 0.25)
    assert advice.sentences[1].endswith("Those with p=0.25 after each hidden layer come closest.")
    assert advice.code == ""


def test_test_scores_change_nothing():
    result = studied(GAIN)
    blind = replace(result, trials=tuple({**t, "test": {"rmse": 1 / (1 + t["seed"])}} for t in result.trials))
    assert advise(blind).sentences == advise(result).sentences


@pytest.mark.parametrize("better", [1e-3, 1e-2])
def test_each_arm_takes_its_learning_rate_by_stop_loss_alone(better):
    """Selection losses point the other way: they must not choose."""
    arms = [(0.0, 0.0), (0.0, 0.5)]
    trials = [
        record(arm, seed, 5.0 if lr == better else 1.0, lr=lr, stop=0.1 if lr == better else 0.9)
        for arm in arms
        for lr in (1e-3, 1e-2)
        for seed in range(3)
    ]
    chosen = arms_of(trials, "rmse", 20)
    assert [arm.lr for arm in chosen] == [better, better]
    assert chosen[0].select == 5.0


def test_standard_errors_are_those_of_the_mean():
    arm = studied(GAIN, noise=0.0).arms[0]
    assert arm.select_se == pytest.approx(np.std(range(5), ddof=1) / 5**0.5)
