"""Setting rates: all or none, whoever wrote the site, and without compiling again."""

import pytest
import torch
from operated import network, rates
from torch import nn
from torch._dynamo.testing import CompileCounter

from dropscope import layers, schedules, surgery


class TestSetP:
    def test_a_number_for_all(self):
        model = network()
        changed = surgery.set_p(model, 0.25)
        assert rates(model) == dict.fromkeys("12345", 0.25)
        assert [(site.path, site.p) for site in changed] == [(path, 0.25) for path in "12345"]
        assert model[1].p == model[2].dropout == model[3].dropout == model[4].p == model[5].drop_prob == 0.25

    def test_a_mapping_changes_what_it_names(self):
        model = network()
        changed = surgery.set_p(model, {"1": 0.0, "3": 0.4})
        assert [site.path for site in changed] == ["1", "3"]
        assert rates(model) == {"1": 0.0, "2": 0.3, "3": 0.4, "4": 0.1, "5": 0.4}

    def test_a_function_sees_the_site(self):
        model = network()
        surgery.set_p(model, lambda site: 0.9 if site.kind == "Dropout" else site.p / 2)
        assert rates(model) == {"1": 0.9, "2": 0.15, "3": 0.1, "4": 0.9, "5": 0.2}

    def test_where_chooses_paths(self):
        model = network()
        assert [site.path for site in surgery.set_p(model, 0.0, where=lambda path: path > "3")] == ["4", "5"]
        assert rates(model) == {"1": 0.5, "2": 0.3, "3": 0.2, "4": 0.0, "5": 0.0}

    @pytest.mark.parametrize(
        ("p", "message"),
        [
            (1.5, "Dropout at '1': `p` must be in"),
            (True, "`p` must be a number"),
            ({"1": 0.1, "nope": 0.2}, "must name dropout sites, got 'nope'.*Valid names: 1, 2"),
            ({"1": 0.1, "2": -1}, "LSTM at '2': `p` must be in"),
            (lambda site: None, "`p` must be a number"),
            (0.6, "too much"),  # refused by the last site itself, when the others are set
        ],
    )
    def test_where_one_value_is_bad_nothing_changes(self, p, message):
        model = network()
        before = rates(model)
        with pytest.raises((TypeError, ValueError, RuntimeError), match=message):
            surgery.set_p(model, p)
        assert rates(model) == before

    def test_a_compiled_model_of_our_layers_is_not_compiled_again(self):
        torch._dynamo.reset()
        counted = CompileCounter()
        model = nn.Sequential(nn.Linear(6, 6), layers.Dropout(0.5), layers.DropPath(0.1))
        compiled = torch.compile(model, backend=counted, fullgraph=True)
        for p in (0.5, 0.2, 0.9, 0.0):
            surgery.set_p(model, p)
            y = compiled(torch.ones(2, 6))
        torch.testing.assert_close(y, model[0](torch.ones(2, 6)))
        assert counted.frame_count == 1

    def test_the_new_rate_is_the_one_that_drops(self):
        model = network()[:3]
        surgery.set_p(model, 1.0, where=lambda path: path == "1")
        assert not model[:2](torch.ones(2, 6)).any()

    @pytest.mark.parametrize("p", [1.0, {"0": 0.2, "1": 1.0}])
    def test_a_law_that_cannot_drop_all_refuses_it_by_name_before_anything_changes(self, p):
        model = nn.Sequential(layers.Dropout(0.1), layers.GaussianDropout(0.1))
        with pytest.raises(ValueError, match=r"GaussianDropout at '1': `p` must be in \[0, 1\), got 1.0"):
            surgery.set_p(model, p)
        assert set(rates(model).values()) == {0.1}

    def test_a_learned_rate_changes_only_where_it_is_named(self):
        model = nn.Sequential(nn.Dropout(0.5), layers.ConcreteDropout(nn.Linear(2, 2), 0.3))
        for p in (0.1, lambda site: site.p / 2):
            assert [site.path for site in surgery.set_p(model, p)] == ["0"]
            assert model[1].p == pytest.approx(0.3, abs=1e-6)
        surgery.set_p(model, {"1": 0.2})
        assert model[1].p == pytest.approx(0.2, abs=1e-6)
        surgery.set_p(model, 0.1, where=lambda path: path == "1")
        assert model[1].p == pytest.approx(0.1, abs=1e-6)

    def test_what_a_class_does_in_train_and_eval_is_never_called(self):
        class Loud(nn.Sequential):
            def train(self, mode=True):
                raise RuntimeError("called")

        model = Loud(nn.Dropout(0.5))
        (site,) = surgery.set_p(model, lambda site: site.p / 2)
        assert (site.p, site.active_in_train, site.active_in_eval) == (0.25, None, None)
        schedules.Late(model, steps=3)
        with surgery.freeze(model):
            model(torch.ones(3))
        surgery.strip(model)
