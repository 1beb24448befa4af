"""Schedules: the rules' exact values over depth and time, whole models, checkpoints, and no recompilation."""

import copy
import io
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter

from dropscope import layers, schedules, sites, surgery


def path_of(schedule, steps):
    """The rate of a model of one site over the steps."""
    rates = [schedule.rates[""]]
    for _ in range(steps):
        schedule.step()
        rates.append(schedule.rates[""])
    return rates


class TestDepthRates:
    @pytest.mark.parametrize(
        ("rule", "expected"),
        [
            ("linear", [0.125, 0.25, 0.375, 0.5]),
            ("timm", [0.0, 1 / 6, 1 / 3, 0.5]),
            ("constant", [0.5] * 4),
            ("uniform", [0.5] * 4),
        ],
    )
    def test_values(self, rule, expected):
        assert schedules.depth_rates(4, 0.5, rule) == expected

    @pytest.mark.parametrize(("rule", "expected"), [("linear", 0.5), ("timm", 0.0), ("constant", 0.5)])
    def test_a_single_layer(self, rule, expected):
        assert schedules.depth_rates(1, 0.5, rule) == [expected]

    def test_numbers_of_numpy_count(self):
        assert schedules.depth_rates(np.int64(2), np.float32(0.5)) == [0.25, 0.5]
        assert schedules.Late(nn.Dropout(), steps=np.int64(2)).steps == 2

    def test_timm_is_linspace(self):
        expected = torch.linspace(0, 0.3, 24, dtype=torch.float64).tolist()
        assert schedules.depth_rates(24, 0.3, "timm") == pytest.approx(expected, rel=1e-15)

    @pytest.mark.parametrize("rule", ["linear", "timm", "constant", "uniform"])
    @pytest.mark.parametrize("p_max", [0.0, 0.1, 1.0])
    def test_they_rise_to_exactly_p_max(self, rule, p_max):
        rates = schedules.depth_rates(7, p_max, rule)
        assert rates == sorted(rates)
        assert rates[-1] == p_max
        assert schedules.depth_rates(0, p_max, rule) == []

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((True, 0.5), "`n` must be a number of layers"),
            ((-1, 0.5), "`n` must be a number of layers"),
            ((2.0, 0.5), "`n` must be a number of layers"),
            ((2, 1.5), "`p` must be in"),
            ((2, 0.5, "liner"), "did you mean `linear`.*Valid names: linear, timm, constant, uniform"),
        ],
    )
    def test_bad_arguments_are_refused(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            schedules.depth_rates(*arguments)

    def test_a_layer_with_rate_zero_can_be_raised_later(self):
        model = nn.Sequential(*(layers.DropPath(p) for p in schedules.depth_rates(3, 0.4, "timm")))
        surgery.set_p(model, 0.3)
        assert [layer.p for layer in model] == [0.3] * 3


class TestRules:
    def test_constant(self):
        assert path_of(schedules.Constant(nn.Dropout(), p=0.3), 3) == [0.3] * 4

    def test_linear(self):
        assert path_of(schedules.Linear(nn.Dropout(), steps=4, p=0.5), 6) == [0, 0.125, 0.25, 0.375, 0.5, 0.5, 0.5]
        falling = schedules.Linear(nn.Dropout(), steps=2, start=1.0, end=0.5, p=0.5)
        assert path_of(falling, 3) == [0.5, 0.375, 0.25, 0.25]

    def test_early(self):
        assert path_of(schedules.Early(nn.Dropout(), steps=4, p=0.5), 5) == [0.5, 0.375, 0.25, 0.125, 0, 0]
        constant = schedules.Early(nn.Dropout(), steps=2, shape="constant", p=0.5)
        assert path_of(constant, 3) == [0.5, 0.5, 0, 0]

    def test_late(self):
        assert path_of(schedules.Late(nn.Dropout(), steps=2, p=0.5), 3) == [0, 0, 0.5, 0.5]

    def test_curriculum_keeps_with_the_probability_of_the_paper(self):
        rates = path_of(schedules.Curriculum(nn.Dropout(), gamma=0.01, p=0.3), 500)
        q = 0.7
        kept = [(1 - q) * math.exp(-0.01 * t) + q for t in range(501)]
        assert rates == pytest.approx([1 - k for k in kept], abs=1e-15)

    @pytest.mark.parametrize(
        ("kind", "options", "message"),
        [
            (schedules.Linear, {"steps": 0}, "`steps` must be a positive integer"),
            (schedules.Linear, {"steps": 5, "start": 1.5}, "`start` must be a part of the full rates"),
            (schedules.Linear, {"steps": 5, "end": math.nan}, "`end` must be a part of the full rates"),
            (schedules.Early, {"steps": 2.5}, "`steps` must be a positive integer"),
            (schedules.Early, {"steps": 5, "shape": "cosine"}, "`shape` must be"),
            (schedules.Late, {"steps": True}, "`steps` must be a positive integer"),
            (schedules.Curriculum, {"gamma": 0.0}, "`gamma` must be a positive number"),
            (schedules.Constant, {"p": 1.2}, "`p` must be in"),
            (schedules.Constant, {"p": {"nope": 0.1}}, "must name dropout sites, got 'nope'"),
        ],
    )
    def test_bad_arguments_are_refused_and_change_nothing(self, kind, options, message):
        model = nn.Dropout(0.4)
        with pytest.raises(ValueError, match=message):
            kind(model, **options)
        assert model.p == 0.4

    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            (schedules.Linear, {"steps": 5, "start": "0"}),
            (schedules.Linear, {"steps": 5, "end": None}),
            (schedules.Curriculum, {"gamma": "1"}),
        ],
    )
    def test_what_is_no_number_is_refused(self, kind, options):
        with pytest.raises(TypeError, match=r"must be a .*number"):
            kind(nn.Dropout(), **options)

    @pytest.mark.parametrize("share", [1.2, -0.1, math.nan])
    def test_a_share_beyond_the_full_rates_is_refused_and_the_step_is_not_done(self, share):
        class Jump(schedules.Schedule):
            def share(self, step):
                return share if step == 1 else 0.5

        model = nn.Dropout(0.8)
        schedule = Jump(model)
        with pytest.raises(ValueError, match=f"`share` must give a part of the full rates.*got {share} at step 1"):
            schedule.step()
        assert (schedule.steps_done, model.p) == (0, 0.4)


def network():
    return nn.Sequential(
        nn.Linear(6, 6),
        *(layers.Dropout(p) for p in (0.1, 0.2)),
        nn.Dropout(0.3),
        nn.LSTM(6, 6, num_layers=2, dropout=0.4),
    )


def rates(model):
    return {site.path: site.p for site in sites.find(model)}


class TestWholeModels:
    def test_rates_that_differ_over_depth_go_on_doing_so(self):
        model = network()
        schedule = schedules.Linear(model, steps=2)
        assert set(rates(model).values()) == {0.0}
        schedule.step()
        assert rates(model) == schedule.rates == {"1": 0.05, "2": 0.1, "3": 0.15, "4": 0.2}
        schedule.step()
        assert rates(model) == {"1": 0.1, "2": 0.2, "3": 0.3, "4": 0.4}

    def test_p_and_where_choose_rates_and_sites(self):
        model = network()
        schedules.Early(model, steps=9, p=0.5, where=lambda path: path != "4")
        assert rates(model) == {"1": 0.5, "2": 0.5, "3": 0.5, "4": 0.4}
        schedules.Late(model, steps=9, p={"2": 0.8})
        assert rates(model) == {"1": 0.5, "2": 0.0, "3": 0.5, "4": 0.4}

    def test_a_learned_rate_is_left_alone_unless_named(self):
        model = nn.Sequential(nn.Dropout(0.5), layers.ConcreteDropout(nn.Linear(2, 2), 0.3))
        assert schedules.Late(model, steps=2).rates == {"0": 0.0}
        assert model[1].p == pytest.approx(0.3, abs=1e-6)
        assert list(schedules.Late(model, steps=2, where=lambda path: path == "1").rates) == ["1"]
        assert model[1].p == pytest.approx(1e-7, rel=1e-3)

    def test_stepping_does_not_compile_again(self):
        torch._dynamo.reset()
        counted, model = CompileCounter(), network()[:3]
        compiled = torch.compile(model, backend=counted, fullgraph=True)
        schedule = schedules.Linear(model, steps=10)
        for _ in range(10):
            compiled(torch.ones(2, 6))
            schedule.step()
        assert counted.frame_count == 1


class TestCheckpoints:
    KINDS = (
        lambda model: schedules.Constant(model),
        lambda model: schedules.Linear(model, steps=7, end=0.9),
        lambda model: schedules.Early(model, steps=7),
        lambda model: schedules.Late(model, steps=7),
        lambda model: schedules.Curriculum(model, gamma=0.1),
    )

    @pytest.mark.parametrize("make", KINDS)
    def test_a_resumed_training_goes_on_bit_for_bit(self, make, seed):
        def train(model, schedule, steps):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in range(steps):
                optimizer.zero_grad()
                model[:4](torch.ones(4, 6)).square().sum().backward()
                optimizer.step()
                schedule.step()

        torch.manual_seed(seed)
        model = network()
        schedule = make(model)
        train(model, schedule, 5)
        file = io.BytesIO()
        torch.save([model.state_dict(), schedule.state_dict(), torch.get_rng_state()], file)
        train(model, schedule, 5)

        file.seek(0)
        weights, state, stream = torch.load(file, weights_only=True)
        resumed = network()
        resumed.load_state_dict(weights)
        again = make(resumed)
        again.load_state_dict(state)
        torch.set_rng_state(stream)
        train(resumed, again, 5)
        assert again.rates == schedule.rates == rates(resumed)
        assert all(map(torch.equal, resumed.state_dict().values(), model.state_dict().values()))

    def test_full_rates_come_from_the_checkpoint_not_from_a_model_saved_on_the_way(self):
        model = network()
        schedule = schedules.Linear(model, steps=4)
        schedule.step()
        halfway = copy.deepcopy(model)
        again = schedules.Linear(halfway, steps=4)
        again.load_state_dict(schedule.state_dict())
        for _ in range(3):
            again.step()
        assert rates(halfway) == rates(network())

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                {"rule": "Linear(steps=5, start=0.0, end=1.0)"},
                r"must be of Linear\(steps=4.*got one of Linear\(steps=5",
            ),
            ({"steps_done": -1}, "must hold a number of steps done, 0 or more, got -1"),
            ({"steps_done": 1.5}, "must hold a number of steps done"),
            ({"full": {"1": 0.1}}, r"must be of a model with the same dropout sites, got other \['2'\]"),
            ({"full": {"1": 0.1, "2": 1.2}}, "Dropout at '2': `p` must be in"),
            ({"full": {"1": 0.1, "2": "0.2"}}, "Dropout at '2': `p` must be a number"),
            (None, "`state` must be what `state_dict` gave, got {}"),
        ],
    )
    def test_a_bad_state_is_refused_and_nothing_changes(self, change, message):
        model = network()[:3]
        schedule = schedules.Linear(model, steps=4)
        schedule.step()
        before = schedule.state_dict()
        with pytest.raises((TypeError, ValueError), match=message):
            schedule.load_state_dict({} if change is None else {**before, "steps_done": 3, **change})
        assert schedule.state_dict() == before
        assert rates(model) == {"1": 0.025, "2": 0.05}

    def test_a_compiled_model_has_the_state_of_the_plain_one(self):
        plain, compiled = network()[:3], torch.compile(network()[:3], backend="eager")
        state = schedules.Linear(plain, steps=4).state_dict()
        schedule = schedules.Linear(compiled, steps=4)
        assert schedule.state_dict() == state
        schedule.load_state_dict({**state, "steps_done": 4})
        assert rates(compiled) == {"_orig_mod.1": 0.1, "_orig_mod.2": 0.2}
