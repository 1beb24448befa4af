"""Dropout of whole channels: the contract, and which axes are the channels."""

import pytest
import torch
from mask_contracts import MaskCase, MaskContract
from torch import nn

from dropscope import layers

CASES = [
    MaskCase("Dropout1d", layers.Dropout1d, shape=(32, 8, 25), per=(0, 1)),
    MaskCase("Dropout1d-one-sample", layers.Dropout1d, shape=(200, 25), per=(0,), batch_axis=None),
    MaskCase("Dropout2d", layers.Dropout2d, shape=(32, 8, 5, 5), per=(0, 1)),
    MaskCase("Dropout2d-one-sample", layers.Dropout2d, shape=(200, 5, 5), per=(0,), batch_axis=None),
    MaskCase("Dropout3d", layers.Dropout3d, shape=(32, 8, 3, 3, 3), per=(0, 1)),
    MaskCase("Dropout3d-one-sample", layers.Dropout3d, shape=(200, 3, 3, 3), per=(0,), batch_axis=None),
]
RANKS = [(layers.Dropout1d, 1), (layers.Dropout2d, 2), (layers.Dropout3d, 3)]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestContract(MaskContract):
    pass


@pytest.mark.parametrize(("make", "positions"), RANKS)
class TestAxes:
    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("extra", [0, 3])
    def test_another_number_of_axes_is_refused(self, make, positions, extra, training):
        x = torch.ones((2,) * (positions + extra))
        with pytest.raises(ValueError, match=r"`x` must have the axes \(N, C, .*\) or \(C, .*\), got shape \(2,"):
            make(0.5).train(training)(x)

    def test_one_sample_is_a_batch_of_one(self, make, positions, seed):
        x = torch.randn((300,) + (4,) * positions)
        one = make(0.5, generator=torch.Generator().manual_seed(seed))(x)
        batch = make(0.5, generator=torch.Generator().manual_seed(seed))(x[None])
        assert torch.equal(one, batch[0])


def test_three_axes_of_an_image_are_one_sample_where_torch_drops_rows():
    x = torch.ones(64, 5, 5)
    ours = layers.Dropout2d(0.5)(x)
    with pytest.warns(UserWarning, match="Received a 3D input to dropout2d"):
        theirs = nn.Dropout2d(0.5)(x)
    assert ours.flatten(1).std(1).max() == 0
    assert theirs.flatten(1).std(1).max() > 0


def test_torchs_sampler_is_told_what_it_lacks_and_nothing_else(generator):
    with pytest.raises(ValueError, match=r"^sampler='torch' has no generator=, as torch's dropout has none"):
        layers.Dropout2d(0.5, sampler="torch", generator=generator)
