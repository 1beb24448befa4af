"""The variational networks: their rates, the twins of torch's modules, and what they refuse."""

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter

from dropscope import layers


class TestRates:
    def test_places_without_a_rate_of_their_own_follow_p(self):
        layer = layers.VariationalLSTM(3, 4, p=0.5, p_hidden=0.2)
        layer.p = 0.3
        assert (layer.p_input, layer.p_hidden, layer.p_output) == (0.3, 0.2, 0.3)
        layer.p_hidden = None
        assert layer.p_hidden == 0.3

    def test_a_bad_rate_is_refused_by_name(self):
        with pytest.raises(ValueError, match=r"VariationalGRU.p_hidden: `p` must be in \[0, 1\], got 1.5"):
            layers.VariationalGRU(3, 4, p_hidden=1.5)

    def test_none_of_them_is_part_of_the_compiled_graph(self):
        torch._dynamo.reset()
        layer, counted = layers.VariationalRNN(3, 4, p_hidden=0.5, p_input=0.5, p_output=0.5), CompileCounter()
        compiled = torch.compile(layer, backend=counted, fullgraph=True)
        for p in (0.5, 0.2, 0.0):
            layer.p_input = layer.p_hidden = layer.p_output = p
            compiled(torch.ones(2, 3, 3))
        assert counted.frame_count == 1

    def test_the_repr_shows_what_differs_from_the_defaults(self):
        layer = layers.VariationalLSTM(3, 4, 2, p_hidden=0.25, gates="untied", batch_first=True)
        shown = "3, 4, num_layers=2, batch_first=True, p=0.5, p_hidden=0.25, gates='untied'"
        assert repr(layer) == f"VariationalLSTM({shown})"


class TestFromTorch:
    def test_the_twin_holds_the_same_parameters_and_the_mode(self):
        twin = nn.GRU(3, 4, 2, bidirectional=True, dtype=torch.float16).eval()
        twin.weight_hh_l0.requires_grad_(False)
        network = layers.VariationalGRU.from_torch(twin, p=0.25)
        assert (network.p, network.training, network.weight_ih_l0.dtype) == (0.25, False, torch.float16)
        ours, theirs = dict(network.named_parameters()), dict(twin.named_parameters())
        assert ours.keys() == theirs.keys()
        assert all(ours[name] is theirs[name] for name in theirs)
        assert not network.weight_hh_l0.requires_grad

    def test_another_network_is_refused(self):
        with pytest.raises(TypeError, match=r"`module` must be an nn.LSTM, got GRU"):
            layers.VariationalLSTM.from_torch(nn.GRU(3, 4))

    def test_a_projection_is_refused(self):
        with pytest.raises(ValueError, match="`module` must have `proj_size` 0, got 2"):
            layers.VariationalLSTM.from_torch(nn.LSTM(3, 4, proj_size=2))


class TestBadArguments:
    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize(
        ("x", "hx", "match"),
        [
            (torch.ones(0, 2, 3), None, "at least one time step"),
            (torch.ones(5, 2, 4), None, "must be equal to input_size"),
            (torch.ones(5, 2, 3, 1), None, "must have 3 dimensions"),
            (torch.ones(5, 2, 3).double(), None, "does not match weight dtype"),
            (torch.ones(5, 2, 3), (torch.ones(1, 1, 4),) * 2, "Expected hidden size"),
            (torch.ones(5, 2, 3), torch.ones(1, 2, 4), "`hx` must hold 2 tensors, got 1"),
        ],
    )
    def test_sequences_and_states_that_do_not_fit(self, x, hx, match, training):
        with pytest.raises((ValueError, RuntimeError), match=match):
            layers.VariationalLSTM(3, 4).train(training)(x, hx)

    def test_unknown_gates(self):
        with pytest.raises(ValueError, match="VariationalLSTM: `gates` must be 'tied' or 'untied', got 'loose'"):
            layers.VariationalLSTM(3, 4, gates="loose")

    def test_an_unknown_nonlinearity(self):
        with pytest.raises(ValueError, match="`nonlinearity` must be 'tanh' or 'relu', got 'gelu'"):
            layers.VariationalRNN(3, 4, nonlinearity="gelu")
