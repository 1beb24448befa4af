"""Models that are told to leave: with what they have so far, and without a trace in those that stay."""

import pytest
import torch
from small_tables import same, shape, table

from dropscope.stack import train

OPTIONS = {"optimizer": "adam", "batch_size": 20, "epochs": 6, "patience": 9, "extend": False}


@pytest.fixture
def setting(make_member, generator):
    form = shape()
    x, y = table(form, generator)
    return x, y, [make_member(p_hidden=0.1 * i) for i in range(4)], form


def test_who_is_beaten_leaves_with_its_best_so_far(setting):
    x, y, members, form = setting
    whole = train(x, y, members, form, **OPTIONS)
    halved = train(x, y, members, form, **OPTIONS, beaten=lambda epoch, _: {1, 2} if epoch == 3 else set())
    short = train(x, y, members, form, **{**OPTIONS, "epochs": 3})
    assert [one.left_at for one in halved] == [None, 3, 3, None]
    for i, one in enumerate(halved):
        assert same(one, (short if i in (1, 2) else whole)[i])


def test_who_judges_sees_the_stop_losses_of_all_so_far(setting):
    x, y, members, form = setting
    seen = []
    fitted = train(
        x, y, members, form, **OPTIONS,
        beaten=lambda epoch, curves: seen.append([list(curve) for curve in curves]) or ({0} if epoch == 2 else ()),
    )  # fmt: skip
    for epoch, curves in enumerate(seen, start=1):
        assert curves == [one.stop_curve[:epoch] for one in fitted]


def test_who_left_by_itself_was_not_beaten(setting):
    x, y, members, form = setting
    fitted = train(x, y, members, form, **OPTIONS, beaten=lambda epoch, _: range(4) if epoch == 6 else ())
    assert {one.left_at for one in fitted} == {6}
    patient = train(x, y, members, form, **{**OPTIONS, "patience": 1}, beaten=lambda epoch, _: range(4))
    assert [one.left_at for one in patient] == [1 if one.best_epoch == 1 else None for one in patient]


@pytest.mark.parametrize("only", [[2], [0, 3], [0, 1, 2, 3]])
def test_a_probe_may_look_at_some_models_alone(setting, only):
    """Bit for bit what a look at all of them shows: a single one too, whose product would round differently."""
    x, y, members, form = setting
    seen = []
    train(
        x, y, members, form, **OPTIONS, probe_epochs=[2],
        probe=lambda _, forward, indices: seen.append((forward(x), forward(x, only), indices)),
    )  # fmt: skip
    [(every, some, indices)] = seen
    assert torch.equal(some, every[[indices.index(i) for i in only]])
