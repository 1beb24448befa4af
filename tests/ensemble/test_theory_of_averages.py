"""What theory says of averages over masks, beyond `test_enumeration.py` (CLAIMS B2, D5, D8c)."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dropscope import ensemble


@pytest.fixture
def x(generator):
    return torch.randn(6, 4, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("p", [0.2, 0.5, 0.7])
def test_equal_weights_give_the_geometric_mean_at_one_half_alone(p, x):
    model = nn.Sequential(nn.Dropout(p), nn.Linear(4, 3)).double()
    masks = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)), dtype=torch.float64)
    equal = model[1](x.unsqueeze(1) * masks / (1 - p)).log_softmax(-1).mean(1).softmax(-1)
    miss = (equal - ensemble.weight_scaling(model, x).softmax(-1)).abs().max().item()
    assert miss < 1e-12 if p == 0.5 else miss > 1e-4


def test_linear_models_of_several_layers_are_averaged_by_one_pass(x):
    parts = [nn.Dropout(0.3), nn.Linear(4, 5), nn.Dropout(0.6), nn.Linear(5, 3), nn.Dropout(0.1), nn.Linear(3, 2)]
    model = nn.Sequential(*parts).double()
    torch.testing.assert_close(ensemble.exact(model, x).mean, ensemble.weight_scaling(model, x), rtol=0, atol=1e-12)


class TestJensen:
    @pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
    def test_the_square_of_a_linear_map_is_above_its_square_by_the_sum_over_its_inputs(self, p, x):
        model = nn.Sequential(nn.Dropout(p), nn.Linear(4, 5)).double()
        bias = ensemble.exact(model, x, transform=torch.square).mean - ensemble.weight_scaling(model, x).square()
        expected = p / (1 - p) * x.square() @ model[1].weight.detach().square().T
        torch.testing.assert_close(bias, expected, rtol=1e-11, atol=1e-11)

    @pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
    def test_with_plain_masks_the_bias_of_the_square_is_p_q(self, p, x):
        q, one = 1 - p, x[:, :1]
        scaled = ensemble.exact(nn.Sequential(nn.Dropout(p)), one, transform=lambda z: (q * z).square()).mean
        torch.testing.assert_close(scaled - (q * one).square(), p * q * one.square(), rtol=1e-12, atol=1e-14)

    @pytest.mark.parametrize("convex", [F.softplus, torch.relu, torch.exp, torch.cosh])
    def test_the_mean_of_a_convex_function_is_never_below_it(self, convex, x):
        model = nn.Sequential(nn.Dropout(0.4), nn.Linear(4, 5)).double()
        bias = ensemble.exact(model, x, transform=convex).mean - convex(ensemble.weight_scaling(model, x))
        assert bias.min() > -1e-12
        assert bias.max() > 1e-3


@pytest.mark.parametrize("masks", ["per-row", "shared"])
def test_the_variance_of_the_mean_falls_as_one_over_the_passes(masks, seed):
    """On passes folded into batches and streamed: a mask used twice would bend the slope."""
    torch.manual_seed(seed)
    model, x = (
        nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Dropout(0.5), nn.Linear(16, 8), nn.ReLU()),
        torch.randn(8, 4),
    )
    passes, groups, repeats = torch.tensor([2, 16, 128]), 10, 12
    logs = []
    for n in passes.tolist():
        found = [ensemble.predict(model, x, n, masks=masks, memory=2**16).mean for _ in range(groups * repeats)]
        logs.append(torch.stack(found).view(groups, repeats, -1).var(1).mean(1).log())

    scale = passes.double().log() - passes.double().log().mean()
    slopes = scale @ torch.stack(logs).double() / scale.square().sum()
    assert abs(slopes.mean() + 1) < 6 * slopes.std() / math.sqrt(groups)  # 9 degrees of freedom: once in 5,000 runs
