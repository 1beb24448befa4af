"""The channel functions: which axes are channels, and their arguments."""

import pytest
import torch

from dropscope import functional
from dropscope.functional.channels import channel_axes

FUNCTIONS = [
    (functional.dropout1d, (4, 50, 3)),
    (functional.dropout2d, (4, 50, 3, 2)),
    (functional.dropout3d, (50, 3, 2, 2)),
]


@pytest.mark.parametrize(
    ("shape", "positions", "axes"), [((2, 3, 4), "L", (0, 1)), ((3, 4), "L", (0,)), ((3, 4, 4), "HW", (0,))]
)
def test_channels_are_numbered_by_the_axes_before_the_positions(shape, positions, axes):
    assert channel_axes(torch.empty(shape), positions) == axes


def test_the_message_names_the_axes_that_are_expected():
    with pytest.raises(
        ValueError, match=r"`x` must have the axes \(N, C, D, H, W\) or \(C, D, H, W\), got shape \(2, 3\)\."
    ):
        functional.dropout3d(torch.ones(2, 3), 0.5, training=True)


@pytest.mark.parametrize(("function", "shape"), FUNCTIONS)
class TestArguments:
    def test_training_has_no_default(self, function, shape):
        with pytest.raises(TypeError, match="training"):
            function(torch.ones(shape), 0.5)

    def test_p_may_be_a_tensor(self, function, shape):
        y = function(torch.ones(shape), torch.tensor(0.25), training=True)
        assert torch.equal(y.unique(), torch.tensor([0, 4 / 3]))

    def test_the_tensor_itself_comes_back_when_not_training(self, function, shape):
        x = torch.ones(shape)
        assert function(x, 0.5, training=False) is x

    def test_torchs_sampler_has_no_generator(self, function, shape, generator):
        with pytest.raises(ValueError, match="sampler='torch' has no generator="):
            function(torch.ones(shape), 0.5, training=True, sampler="torch", generator=generator)

    def test_an_unknown_sampler_is_refused(self, function, shape):
        with pytest.raises(ValueError, match="`sampler` must be 'fast' or 'torch', got 'slow'"):
            function(torch.ones(shape), 0.5, training=True, sampler="slow")
