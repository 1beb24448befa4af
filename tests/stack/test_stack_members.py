"""What a member may bring along: sample weights, a start, the law of its first weights; and which epoch is kept."""

import math
from dataclasses import replace

import pytest
import torch
from plain_torch import losses_of
from small_tables import same, shape, table
from torch.nn import functional

from dropscope.stack import forward, train
from dropscope.stack.layout import initial
from dropscope.stack.record import TILE
from dropscope.stack.weighting import row_weights

OPTIONS = {"epochs": 6, "batch_size": 20, "steps_per_epoch": 4, "patience": 6, "extend": False}
SIGMAS = 5
TASKS = [("regression", 1), ("regression", 4), ("classification", 3), ("multilabel", 3), ("quantile", 2)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("task", "outputs"), TASKS)
@pytest.mark.parametrize("level", [1.0, 0.1, 3.0])
def test_equal_weights_are_no_weights(level, task, outputs, dtype, make_member, generator):
    form = shape(outputs, task=task)
    x, y = table(form, generator, dtype)
    plain = make_member(p_input=0.1, p_hidden=0.3)
    weighted = replace(plain, weights=torch.full((200,), level))
    for model in train(x, y, [weighted, plain], form, **OPTIONS):
        assert same(model, train(x, y, [plain], form, **OPTIONS)[0])


@pytest.mark.parametrize(("task", "outputs"), TASKS)
def test_a_row_of_weight_zero_is_a_row_left_out(task, outputs, make_member, generator):
    form = shape(outputs, task=task)
    x, y = table(form, generator, torch.float32)
    weights = torch.rand(200, generator=generator) * torch.randint(2, (200,), generator=generator)
    member = make_member(p_hidden=0.3, weights=weights)
    without = replace(member, fit=member.fit[weights[member.fit] > 0], stop=member.stop[weights[member.stop] > 0])
    assert len(without.fit) < len(member.fit)
    assert same(*(train(x, y, [one], form, **OPTIONS)[0] for one in (member, without)))

    # What a row holds that counts for nothing cannot matter either.
    x[weights == 0] = math.nan
    assert same(*(train(x, y, [one], form, **OPTIONS)[0] for one in (member, without)))


@pytest.mark.parametrize(("task", "outputs"), TASKS)
def test_the_batches_of_whole_permutations_have_the_weighted_loss_on_average(task, outputs, make_member, generator):
    form = shape(outputs, task=task)
    x, y = table(form, generator)
    weights = torch.rand(200, generator=generator).square() * 1e6
    # Steps too small to change anything that shows: every batch has the loss of the first weights.
    member = make_member(weights=weights, lr=1e-15)
    (fitted,) = train(x, y, [member], form, epochs=1, batch_size=20, steps_per_epoch=12, extend=False)

    losses = losses_of(forward([fitted], x[member.fit])[0], y[member.fit], form=form)
    shares = weights[member.fit].double() / weights[member.fit].double().sum()
    assert fitted.fit_curve == pytest.approx([(shares * losses).sum().item()], rel=1e-10)


@pytest.mark.parametrize("count", [1, TILE, TILE + 30])
def test_the_stop_loss_is_the_weighted_mean(count, make_member, generator):
    form = shape(3)
    x, y = table(form, generator)
    weights = torch.rand(200, generator=generator)
    members = [make_member(stop=torch.arange(count), weights=w) for w in (weights, None, weights * 2.0**90)]
    for member, model in zip(members, train(x, y, members, form, **OPTIONS | {"epochs": 1}), strict=True):
        shares = weights[:count].double() if member.weights is not None else torch.ones(count, dtype=torch.float64)
        losses = functional.cross_entropy(forward([model], x[:count])[0], y[:count], reduction="none")
        assert model.stop_curve == pytest.approx([((shares * losses).sum() / shares.sum()).item()], abs=1e-12)


def test_without_weights_nothing_is_weighted(make_member):
    members = [make_member(), make_member()]
    assert row_weights(members, [member.fit for member in members], torch.zeros(200, 5)) is None


def test_models_of_the_same_rows_and_weights_share_a_line(make_member, generator):
    weights, rows = torch.rand(200, generator=generator), torch.arange(100)
    own = torch.rand(200, generator=generator)
    members = [make_member(weights=w, fit=rows) for w in (weights, None, own, weights, None)]
    found = row_weights(members, [member.fit for member in members], torch.zeros(200, 5))
    assert found.line.tolist() == [0, 1, 2, 0, 1]
    assert found.lines.shape == (3, 200)
    alone = [row_weights([one], [one.fit], torch.zeros(200, 5)) for one in members]
    at = torch.randint(100, (5, 7), generator=generator)
    for line, rows_of_one, one in zip(found.at(at), at, alone, strict=True):
        assert torch.equal(line, torch.ones(7) if one is None else one.at(rows_of_one.view(1, -1))[0])


def test_extreme_weights_stay_finite(make_member):
    weights = torch.tensor([1e-320, 1e308, 1e308, 5e307] * 50, dtype=torch.float64)
    found = row_weights([make_member(weights=weights)], [torch.arange(200)], torch.zeros(200, 5))
    torch.testing.assert_close(found.at(torch.arange(4).view(1, 4)), torch.tensor([[0, 1.6, 1.6, 0.8]]))


def test_a_start_replaces_the_drawn_weights_and_nothing_else(make_member, generator):
    form = shape()
    x, y = table(form, generator, torch.float32)
    cold = make_member(p_input=0.1, p_hidden=0.3)
    fitted = train(x, y, [cold], form, **OPTIONS)[0]

    drawn = initial(form, torch.Generator().manual_seed(cold.seed))
    start = replace(fitted, weights=drawn.weights, biases=drawn.biases)
    assert same(train(x, y, [replace(cold, start=start)], form, **OPTIONS)[0], fitted)


@pytest.mark.parametrize("outputs", [1, 3])
def test_training_goes_on_where_the_start_left_off(outputs, make_member, generator):
    form = shape(outputs)
    x, y = table(form, generator, torch.float32)
    start = train(x, y, [make_member()], form, **OPTIONS)[0]
    still = train(x, y, [make_member(start=start, lr=1e-15)], form, **OPTIONS)[0]
    # Drawn weights are of order one, so that no step of 1e-15 shows in them; biases may start near zero.
    for before, after in zip([*start.weights, *start.biases], [*still.weights, *still.biases], strict=True):
        torch.testing.assert_close(after, before, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("change", [{"width": 8}, {"depth": 3}, {"outputs": 3}, {"activation": "tanh"}])
def test_a_start_of_another_shape_is_refused(change, make_member, generator):
    form = shape(**change)
    start = train(*table(form, generator), [make_member()], form, **OPTIONS | {"epochs": 1})[0]
    x, y = table(shape(), generator)
    with pytest.raises(ValueError, match=r"`start` must (have layers|be a model with relu)"):
        train(x, y, [make_member(start=start)], shape(), **OPTIONS)


def test_weights_that_do_not_fit_the_table_are_refused(make_member, generator):
    form = shape()
    x, y = table(form, generator)
    with pytest.raises(ValueError, match=r"`weights` must be one per row of `x` \(200,\), got \(120,\)"):
        train(x, y, [make_member(weights=torch.ones(120))], form, **OPTIONS)
    for name in ("fit", "stop"):
        member = make_member(weights=torch.ones(200))
        member.weights[getattr(member, name)] = 0
        with pytest.raises(ValueError, match=f"`weights` must be positive for at least one row of `{name}`"):
            train(x, y, [member], form, **OPTIONS)


def test_the_last_weights_are_those_of_the_last_epoch(make_member, generator):
    form = shape()
    x, y = table(form, generator)
    members = [
        make_member(p_hidden=p, lr=lr, stop=torch.arange(5)) for p, lr in [(0.0, 0.05), (0.3, 0.03), (0.1, 0.01)]
    ]
    options = OPTIONS | {"epochs": 25, "patience": 4}
    best, last = (train(x, y, members, form, keep=keep, **options) for keep in ("best", "last"))

    for member, first, second in zip(members, best, last, strict=True):
        assert (first.stop_curve, first.best_epoch) == (second.stop_curve, second.best_epoch)
        loss = functional.mse_loss(forward([second], x[member.stop])[0], y[member.stop]).item()
        assert loss == pytest.approx(second.stop_curve[-1], abs=1e-12)
    assert any(model.best_epoch < model.epochs for model in last)


def test_stop_rows_have_no_influence_on_the_last_weights(make_member, generator):
    form = shape()
    x, y = table(form, generator, torch.float32)
    member = make_member(p_hidden=0.1, lr=3e-3)
    # Targets far on the other side: what is learned from the fit rows makes the loss on these worse.
    x, y = torch.cat([x, x[member.fit]]), torch.cat([y, -10 * y[member.fit]])
    stops = [member.fit, torch.arange(200, len(x)), torch.tensor([0])]
    options = OPTIONS | {"epochs": 12, "patience": 12, "extend": True}
    fitted = train(x, y, [replace(member, stop=stop) for stop in stops], form, keep="last", **options)

    assert fitted[0].best_epoch > fitted[1].best_epoch
    assert all(model.epochs == 12 and not model.extended for model in fitted)
    for model in fitted:
        assert all(torch.equal(a, b) for a, b in zip(model.weights, fitted[0].weights, strict=True))
        assert model.fit_curve == fitted[0].fit_curve


def test_glorot_draws_from_his_uniform_law(generator):
    form = shape(40, width=90, depth=2, initialisation="glorot")
    drawn = [initial(form, generator) for _ in range(20)]
    for layer, (inputs, outs) in enumerate([(5, 90), (90, 90), (90, 40)]):
        shares = torch.stack([model.weights[layer] for model in drawn]) / math.sqrt(6 / (inputs + outs))
        count = shares.numel()
        # A uniform law on (-1, 1): mean 0, variance 1/3, fourth moment 1/5, and nothing beyond its ends.
        assert shares.abs().max() <= 1
        assert shares.abs().max() > 1 - 40 / count
        assert abs(shares.mean()) < SIGMAS * math.sqrt(1 / 3 / count)
        assert abs(shares.square().mean() - 1 / 3) < SIGMAS * math.sqrt((1 / 5 - 1 / 9) / count)
        assert abs(shares.pow(4).mean() - 1 / 5) < SIGMAS * math.sqrt((1 / 9 - 1 / 25) / count)
        assert all(not model.biases[layer].any() for model in drawn)


def test_he_draws_from_his_normal_law(generator):
    form = shape(40, width=90, depth=2)
    drawn = [initial(form, generator) for _ in range(20)]
    for layer, inputs in enumerate([5, 90, 90]):
        shares = torch.stack([model.weights[layer] for model in drawn]) / math.sqrt(2 / inputs)
        assert abs(shares.mean()) < SIGMAS * math.sqrt(1 / shares.numel())
        assert abs(shares.square().mean() - 1) < SIGMAS * math.sqrt(2 / shares.numel())
        assert abs(shares.pow(4).mean() - 3) < SIGMAS * math.sqrt(96 / shares.numel())
