"""What comes before the first draw runs once, passes run together where that changes nothing, and else it is said."""

import pytest
import torch
from alone import one_by_one, sampled
from torch import nn
from torch.nn import functional as F
from zoo import FLAT, IMAGE, mlp, rows

from dropscope import ensemble


class Counted(nn.Module):
    """Counts the rows that pass through it."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.rows = inner, 0

    def forward(self, x):
        self.rows += len(x)
        return self.inner(x)


PROBE = 2 + 4 + 2 + 8  # rows that the model is tried out on


class TestWhatComesBeforeTheFirstDraw:
    def test_runs_once_for_each_row(self):
        body = Counted(nn.Linear(4, 8))
        model = nn.Sequential(body, nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
        found = sampled(model, FLAT)
        assert body.rows <= len(FLAT) + PROBE
        torch.testing.assert_close(found.samples, one_by_one(model, FLAT))

    def test_is_found_by_running_not_by_the_order_of_registration(self):
        class Backwards(nn.Module):
            def __init__(self):
                super().__init__()
                self.drop, self.last = nn.Dropout(0.5), nn.Linear(8, 2)
                self.body = Counted(nn.Linear(4, 8))

            def forward(self, x):
                return self.last(F.relu(self.drop(F.relu(self.body(x)))))

        model = Backwards()
        found = sampled(model, FLAT)
        assert model.body.rows <= len(FLAT) + PROBE
        torch.testing.assert_close(found.samples, one_by_one(model, FLAT))
        assert "computed once before the first draw: 1 calls (Counted)" in found.notes

    @pytest.mark.parametrize("inplace", [False, True])
    def test_may_be_a_residual_network_whose_tensors_are_written_into(self, inplace):
        class Block(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv, self.norm, self.relu = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(inplace)

            def forward(self, x):
                y = self.norm(self.conv(self.relu(x * 1)))
                y += x
                return self.relu(y)

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.second, self.drop = Counted(Block()), Block(), nn.Dropout(0.5, inplace=inplace)
                self.last = nn.Linear(50, 2)

            def forward(self, x):
                h = self.second(self.first(x))
                kept = self.drop(h.flatten(1))
                return self.last(kept + h.flatten(1)).tanh()

        model = Net().eval()
        expected, model.first.rows = one_by_one(model, IMAGE), 0
        for memory in (1 << 28, 1):  # passes together, and one by one
            found = sampled(model, IMAGE, batch_size=5, memory=memory)
            assert model.first.rows <= len(IMAGE) + 2 * PROBE
            model.first.rows = 0
            torch.testing.assert_close(found.samples, expected)

    def test_is_not_reused_where_hooks_of_others_would_change_it_twice(self):
        model = mlp(nn.Dropout(0.5), nn.Tanh())
        model[0].register_forward_hook(lambda module, args, output: output + 1)
        found = sampled(model, FLAT)
        torch.testing.assert_close(found.samples, one_by_one(model, FLAT))

    def test_is_not_reused_when_weights_change_between_calls(self):
        model = mlp(nn.Dropout(0.5), nn.Tanh())
        first = sampled(model, FLAT).samples
        with torch.no_grad():
            model[0].weight.mul_(2)
        second = sampled(model, FLAT).samples
        assert not torch.allclose(first, second)
        torch.testing.assert_close(second, one_by_one(model, FLAT))


class TestPassesTogether:
    def test_are_given_up_where_rows_depend_on_one_another(self):
        class Centred(nn.Module):
            def __init__(self):
                super().__init__()
                self.drop = nn.Dropout(0.5)

            def forward(self, x):
                y = self.drop(x)
                return y - y.mean(0)

        model = Centred()
        found = sampled(model, FLAT)
        assert "the rows of a batch depend on one another: passes are run one by one" in found.notes
        torch.testing.assert_close(found.samples, one_by_one(model, FLAT))

    def test_are_given_up_where_the_batch_has_a_fixed_size(self):
        class Fixed(nn.Module):
            def __init__(self):
                super().__init__()
                self.drop = nn.Dropout(0.5)

            def forward(self, x):
                return self.drop(x).view(5, 2, 2).sum(-1)

        found = sampled(Fixed(), FLAT)
        assert any("runs on no other number of rows" in note for note in found.notes)
        torch.testing.assert_close(found.samples, one_by_one(Fixed(), FLAT))

    def test_are_given_up_for_random_numbers_that_belong_to_no_site(self):
        class Noisy(nn.Module):
            def __init__(self):
                super().__init__()
                self.drop = nn.Dropout(0.5)

            def forward(self, x):
                return self.drop(x) + torch.randn(len(x), 1)

        stream = torch.get_rng_state()
        with pytest.warns(UserWarning, match="random in eval, too"):
            found = sampled(Noisy(), FLAT)
        assert torch.equal(torch.get_rng_state(), stream)
        with pytest.warns(UserWarning, match="random in eval, too"):
            assert torch.equal(found.samples, sampled(Noisy(), FLAT).samples)
        assert any("belong to no site" in note for note in found.notes)
        with pytest.raises(ValueError, match="must be 'per-row' for this model"):
            sampled(Noisy(), FLAT, masks="shared")

    def test_dropout_that_is_always_on_is_predicted_with(self):
        class Always(nn.Module):
            def forward(self, x):
                return F.dropout(x, 0.5)

        with pytest.warns(UserWarning, match="random in eval, too"):
            assert (sampled(Always(), FLAT).variance > 0).all()

    def test_halve_when_memory_ends(self):
        class Small(nn.Module):
            largest = 64

            def __init__(self):
                super().__init__()
                self.drop, self.seen = nn.Dropout(0.5), []

            def forward(self, x):
                self.seen.append(len(x))
                if len(x) > self.largest:
                    raise torch.OutOfMemoryError("CUDA out of memory")
                return self.drop(x).tanh()

        model = Small()
        found = sampled(model, FLAT, 200)
        assert max(model.seen) > 64 >= model.seen[-1]
        torch.testing.assert_close(found.samples, one_by_one(model, FLAT, 200))
        model.largest = 4
        with pytest.raises(torch.OutOfMemoryError):
            sampled(model, FLAT, 5)

    def test_a_model_that_writes_into_its_input_gets_a_copy_each_time(self):
        class Writing(nn.Module):
            def __init__(self):
                super().__init__()
                self.drop = nn.Dropout(0.5)

            def forward(self, x):
                x += 1
                return self.drop(x)

        x, expected = FLAT.clone(), (FLAT + 1) * 2
        for memory in (1 << 28, 1):
            found = sampled(Writing(), x, 200, batch_size=5, memory=memory)
            assert torch.equal(x, FLAT)
            assert ((found.samples == 0) | (found.samples - expected).abs().lt(1e-5)).all()


def test_ten_thousand_passes_hold_no_more_than_ten():
    held = []
    model, x = mlp(nn.Dropout(0.5), nn.Tanh()), rows(4)
    for count in (10, 10_000):
        sizes = []
        hook = model[-1].register_forward_hook(lambda module, args, output, sizes=sizes: sizes.append(output.nbytes))
        prediction = ensemble.predict(model, x, count, memory=1 << 16)
        hook.remove()
        held.append(max(sizes))
        assert prediction.n_samples == count
    assert held[1] <= 1 << 16
