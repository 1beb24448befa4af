"""Replacing: all or none, wherever a module stands."""

import pytest
import torch
from operated import DropPath, Holder, rates
from torch import nn

from dropscope import layers, surgery


class TestReplace:
    def test_a_class_gets_the_old_rate_and_the_mode_is_carried_over(self):
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout2d(0.3), nn.Dropout(0.1))
        model[1].eval()
        assert surgery.replace(model, nn.Dropout2d, layers.DropBlock2d) is model
        assert isinstance(model[1], layers.DropBlock2d)
        assert (model[1].p, model[1].training, model[2].p) == (0.3, False, 0.1)

    def test_a_function_gets_the_old_module_and_may_wrap_it(self):
        model = nn.Sequential(nn.Linear(3, 3), Holder(nn.BatchNorm1d(3)), nn.ReLU())
        model[1].layer.eval()
        model[2].eval()
        surgery.replace(model, nn.Linear, lambda old: layers.DropConnect(old, 0.2))
        surgery.replace(model, (Holder, nn.ReLU), lambda old: nn.Sequential(old, nn.Tanh()))
        assert isinstance(model[0].module, nn.Linear)
        assert [module.training for module in model[1].modules()] == [True, True, False, True]
        assert not any(module.training for module in model[2].modules())

    @pytest.mark.parametrize(
        "old", [nn.Dropout, (nn.Dropout, nn.Dropout1d), lambda module: getattr(module, "p", 0) == 0.5]
    )
    def test_a_class_a_tuple_or_a_predicate_says_what(self, old):
        model = nn.Sequential(nn.Dropout(0.5), nn.Dropout2d(0.1))
        surgery.replace(model, old, nn.AlphaDropout)
        assert [type(module) for module in model] == [nn.AlphaDropout, nn.Dropout2d]

    def test_a_shared_module_becomes_one_new_shared_module(self):
        shared = nn.Dropout(0.5)
        model = nn.Sequential(shared, nn.ReLU(), nn.Sequential(shared))
        surgery.replace(model, nn.Dropout, layers.Dropout, where=lambda path: path == "0")
        assert isinstance(model[0], layers.Dropout)
        assert model[0] is model[2][0]

    def test_the_model_itself(self):
        assert isinstance(surgery.replace(nn.Dropout(0.2), nn.Dropout, layers.Dropout), layers.Dropout)

    def test_matched_modules_inside_matched_modules(self):
        model = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2))))
        surgery.replace(model, nn.Sequential, lambda old: Holder(old), where=bool)
        assert isinstance(model[0], Holder)
        assert isinstance(model[0].layer[1], Holder)
        assert model(torch.ones(1, 2)).shape == (1, 2)

    def test_where_one_cannot_be_made_nothing_changes(self):
        model = nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 2))
        with pytest.raises(TypeError, match="`new` must be a function where the old module has no `p`, got Dropout2d"):
            surgery.replace(model, nn.Module, nn.Dropout2d, where=bool)
        with pytest.raises(TypeError, match=r"`new` must give an nn\.Module, got NoneType"):
            surgery.replace(model, nn.Dropout, lambda old: None)
        assert [type(module) for module in model] == [nn.Dropout, nn.Linear]

    def test_a_union_says_what(self):
        model = nn.Sequential(nn.Dropout(0.5), nn.Dropout2d(0.1), nn.Dropout1d(0.1))
        surgery.replace(model, nn.Dropout | nn.Dropout2d, nn.AlphaDropout)
        assert [type(module) for module in model] == [nn.AlphaDropout, nn.AlphaDropout, nn.Dropout1d]

    @pytest.mark.parametrize("where", [None, lambda path: path == "1"])
    def test_what_matches_nothing_is_refused(self, where):
        with pytest.raises(ValueError, match=r"`old` must match a module of the model.*which matches none"):
            surgery.replace(nn.Sequential(nn.ReLU(), nn.Tanh()), nn.ReLU if where else nn.Dropout, nn.Tanh, where=where)

    def test_a_class_that_takes_no_p_is_refused(self):
        with pytest.raises(
            TypeError, match=r"`new` must be a class that takes `p`, got DropPath: .* `lambda old: DropP"
        ):
            surgery.replace(nn.Dropout(0.1), nn.Dropout, DropPath)

    def test_a_rate_that_is_none_is_zero(self):
        path = DropPath(0.1)
        vars(path)["drop_prob"] = None
        assert surgery.replace(path, DropPath, layers.DropPath).p == 0.0

    def test_what_is_inserted_after_the_old_module_follows_the_new_one(self):
        model = surgery.insert(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.ReLU, lambda: layers.Dropout(1.0))
        surgery.replace(model, nn.ReLU, lambda old: nn.Tanh())
        assert rates(model) == {"1.inserted_dropout": 1.0}
        assert not model(torch.ones(2, 4)).any()
        surgery.replace(model, nn.Tanh, lambda old: Holder(old))
        assert rates(model) == {"1.layer.inserted_dropout": 1.0}
        assert not model(torch.ones(2, 4)).any()

    def test_a_new_module_that_cannot_be_followed_is_refused_before_anything_changes(self):
        model = surgery.insert(nn.Sequential(nn.ReLU(), nn.ReLU()), nn.ReLU, lambda: layers.Dropout(0.1))
        with pytest.raises(ValueError, match="dropout must follow modules that run as a whole, got ModuleList"):
            surgery.replace(model, nn.ReLU, lambda old: nn.ModuleList())
        assert [type(module) for module in model] == [nn.ReLU, nn.ReLU]
