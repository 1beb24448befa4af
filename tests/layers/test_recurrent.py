"""The variational networks: the contract of every layer, torch's own as the twin, and a naive loop with the masks."""

import shutil

import pytest
import torch
from contracts import Case, LayerContract, seeded
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from dropscope import functional, layers, masks

KINDS = {
    "LSTM": (layers.VariationalLSTM, nn.LSTM, {}),
    "GRU": (layers.VariationalGRU, nn.GRU, {}),
    "RNN": (layers.VariationalRNN, nn.RNN, {}),
    "RNN-relu": (layers.VariationalRNN, nn.RNN, {"nonlinearity": "relu"}),
}
NEARLY_ZERO = 1e-30  # drops nothing, but the loop with masks runs instead of torch's kernel
NOTHING = {"p_input": 0.0, "p_hidden": 0.0, "p_output": 0.0}


def plain(layer, x):
    """What torch's module gives with the parameters of `layer`."""
    twin = layer.twin(layer.input_size, layer.hidden_size, layer.num_layers, bidirectional=layer.bidirectional)
    twin.load_state_dict(layer.state_dict())
    return twin(x)[0]


def case(name, kind, *sizes, **options):
    return Case(
        name,
        lambda p, **more: kind(*sizes, p=p, **options, **more),
        example=lambda: (torch.randn(2, 3, sizes[0]),),
        plain=plain,
        tolerance=1e-6,
        batch_axis=1,
    )


CASES = [
    case("LSTM", layers.VariationalLSTM, 4, 5),
    case("GRU-untied", layers.VariationalGRU, 4, 5, gates="untied"),
    case("RNN-deep-bidirectional", layers.VariationalRNN, 4, 5, 2, bidirectional=True),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestContract(LayerContract):
    pass


def twins(kind, **options):
    """Torch's module in float64 and the variational one with its parameters, which drops next to nothing."""
    variational, torchs, more = KINDS[kind]
    gates = {"gates": options.pop("gates", "tied")} | options.pop("rates", {"p": NEARLY_ZERO})
    twin = torchs(3, 4, **more, **options).double()
    return twin, variational.from_torch(twin, **gates)


def everything(network, x, hx):
    """Output, final state and all gradients of a loss that weighs each of them differently."""
    data = x.data if isinstance(x, PackedSequence) else x
    states = (hx if isinstance(hx, tuple) else (hx,)) if hx is not None else ()
    output, final = network(x, hx)
    results = [
        output.data if isinstance(x, PackedSequence) else output,
        *(final if isinstance(final, tuple) else [final]),
    ]
    loss = sum((part * torch.arange(part.numel()).view(part.shape).sin()).sum() for part in results)
    return [*results, *torch.autograd.grad(loss, [data, *states, *network.parameters()])]


def assert_equal(twin, network, x, hx=None):
    for expected, found in zip(everything(twin, x, hx), everything(network, x, hx), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def leaf(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def state_for(twin, batch):
    rows = twin.num_layers * (1 + twin.bidirectional)
    shape = (rows, 4) if batch is None else (rows, batch, 4)
    return (leaf(*shape), leaf(*shape)) if isinstance(twin, nn.LSTM) else leaf(*shape)


@pytest.mark.parametrize("gates", ["tied", "untied"])
@pytest.mark.parametrize("kind", KINDS)
class TestWithoutDropoutItIsTorchsModule:
    @pytest.mark.parametrize(
        "options",
        [{}, {"num_layers": 2, "bidirectional": True}, {"num_layers": 3, "bias": False}, {"batch_first": True}],
        ids=str,
    )
    def test_on_padded_sequences(self, kind, gates, options):
        twin, network = twins(kind, gates=gates, **options)
        assert_equal(twin, network, leaf(5, 6, 3))
        assert_equal(twin, network, leaf(5, 6, 3), state_for(twin, 5 if twin.batch_first else 6))

    @pytest.mark.parametrize("batch_first", [False, True])
    def test_on_one_sequence(self, kind, gates, batch_first):
        twin, network = twins(kind, gates=gates, num_layers=2, batch_first=batch_first)
        assert_equal(twin, network, leaf(5, 3))
        assert_equal(twin, network, leaf(5, 3), state_for(twin, None))

    @pytest.mark.parametrize("lengths", [(6, 4, 4, 1), (3, 6, 1, 4)])
    def test_on_packed_sequences(self, kind, gates, lengths):
        twin, network = twins(kind, gates=gates, num_layers=2, bidirectional=True)
        x = pack_padded_sequence(torch.randn(6, 4, 3).double(), lengths, enforce_sorted=lengths[0] == 6)
        x = PackedSequence(x.data.requires_grad_(), *x[1:])
        assert_equal(twin, network, x)
        assert_equal(twin, network, x, state_for(twin, 4))

    def test_with_no_sequence_at_all(self, kind, gates):
        twin, network = twins(kind, gates=gates)
        assert [part.shape for part in everything(network, leaf(5, 0, 3), None)] == [
            part.shape for part in everything(twin, leaf(5, 0, 3), None)
        ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("off", ["eval", "p=0"])
def test_with_nothing_to_drop_torchs_kernel_runs(kind, off):
    twin, network = twins(kind, num_layers=2, rates={"p": 0.5})
    _ = network.eval() if off == "eval" else setattr(network, "p", 0.0)
    x = leaf(5, 6, 3)
    assert all(torch.equal(a, b) for a, b in zip(everything(twin, x, None), everything(network, x, None), strict=True))


def naive(network, x, source):
    """One layer, sequence by sequence, gate by gate, with the masks that `source` draws."""
    lstm = isinstance(network, layers.VariationalLSTM)
    count, size, batch = 4 if lstm else 3, network.hidden_size, x.shape[1]
    blocks = count if network.gates == "untied" else 1
    ones = torch.ones(1, *x.shape[1:], dtype=x.dtype)
    options = {"training": True, "generator": source}
    mask_x = [functional.locked_dropout(ones, network.p_input, **options)[0] for _ in range(blocks)]
    mask_h = masks.keep((batch, blocks, size), network.p_hidden, generator=source) / (1 - network.p_hidden)
    mask_y = functional.locked_dropout(torch.ones(1, batch, size, dtype=x.dtype), network.p_output, **options)[0]

    w_ih, w_hh, b_ih, b_hh = (part.chunk(count) for part in network.parameters())
    y = torch.zeros(len(x), batch, size, dtype=x.dtype)
    for b in range(batch):
        h = c = torch.zeros(size, dtype=x.dtype)
        for t in range(len(x)):
            block = [k % blocks for k in range(count)]
            fed = [w_ih[k] @ (x[t, b] * mask_x[block[k]][b]) + b_ih[k] for k in range(count)]
            back = [w_hh[k] @ (h * mask_h[b, block[k]]) + b_hh[k] for k in range(count)]
            if lstm:
                i, f, g, o = (a + r for a, r in zip(fed, back, strict=True))
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * c.tanh()
            else:
                reset, update = (fed[0] + back[0]).sigmoid(), (fed[1] + back[1]).sigmoid()
                h = (1 - update) * torch.tanh(fed[2] + reset * back[2]) + update * h
            y[t, b] = h * mask_y[b]
    return y


class TestMasks:
    @pytest.mark.parametrize("gates", ["tied", "untied"])
    @pytest.mark.parametrize("kind", ["LSTM", "GRU"])
    def test_a_naive_loop_with_the_same_masks_gives_the_same(self, kind, gates, seed):
        rates = {"p_input": 0.3, "p_hidden": 0.5, "p_output": 0.4}
        _, network = twins(kind, gates=gates, rates=rates)
        network.generator = seeded(seed)
        x = leaf(5, 6, 3)
        torch.testing.assert_close(network(x)[0], naive(network, x, seeded(seed)), rtol=0, atol=1e-12)

    @pytest.mark.parametrize("kind", KINDS)
    def test_dropped_inputs_are_those_of_locked_dropout(self, kind, seed):
        twin, network = twins(kind, rates=NOTHING | {"p_input": 0.5})
        network.generator = seeded(seed)
        x = leaf(5, 6, 3)
        seen = functional.locked_dropout(x, 0.5, training=True, generator=seeded(seed))
        torch.testing.assert_close(network(x)[0], twin(seen)[0], rtol=0, atol=1e-12)

    def test_output_is_dropped_at_all_time_steps_and_the_final_state_is_not(self):
        twin, network = twins("LSTM", rates=NOTHING | {"p_output": 0.5})
        x = leaf(5, 60, 3)
        output, final = network(x)
        expected, state = twin(x)
        dropped = (output == 0)[0]
        assert dropped.any()
        torch.testing.assert_close(output, expected.masked_fill(dropped, 0) * 2, rtol=0, atol=1e-12)
        assert all(torch.allclose(a, b, rtol=0, atol=1e-12) for a, b in zip(final, state, strict=True))

    def test_between_layers_only_the_input_of_the_next_is_dropped(self, seed):
        """Two layers against two networks of one, of which the last alone drops its output."""
        rates = {"p_input": 0.3, "p_hidden": 0.0, "p_output": 0.4}
        _, network = twins("LSTM", num_layers=2, rates=rates)
        first, second = (layers.VariationalLSTM(size, 4, dtype=torch.float64, **rates) for size in (3, 4))
        first.p_output = 0.0
        for layer, own in enumerate((first, second)):
            for name, value in own.named_parameters():
                value.data.copy_(network.get_parameter(name.replace("l0", f"l{layer}")))
        x, network.generator = leaf(5, 6, 3), seeded(seed)
        first.generator = second.generator = seeded(seed)
        torch.testing.assert_close(network(x)[0], second(first(x)[0])[0], rtol=0, atol=1e-12)

    @pytest.mark.parametrize("gates", ["tied", "untied"])
    def test_packed_sequences_get_the_masks_of_the_padded_ones(self, gates, seed):
        lengths = torch.tensor([3, 6, 1, 4])
        _, network = twins("LSTM", gates=gates, num_layers=2, rates={"p": 0.4})
        x = leaf(6, 4, 3)
        network.generator = seeded(seed)
        packed, (packed_h, _) = network(pack_padded_sequence(x, lengths, enforce_sorted=False))
        network.generator = seeded(seed)
        padded = network(x)[0]
        inside = (torch.arange(6)[:, None] < lengths)[..., None]
        torch.testing.assert_close(pad_packed_sequence(packed)[0], padded.where(inside, 0), rtol=0, atol=1e-12)
        assert packed_h.shape == (2, 4, 4)

    @pytest.mark.parametrize("gates", ["tied", "untied"])
    def test_a_sequence_with_a_seed_of_its_own_does_not_depend_on_its_batch(self, gates, seed):
        _, network = twins("GRU", gates=gates, num_layers=2, bidirectional=True, rates={"p": 0.4})
        x, seeds, rows = leaf(5, 6, 3), seed + torch.arange(6), torch.tensor([4, 1])
        with masks.per_sample(seeds):
            expected = network(x)[0][:, rows]
        with masks.per_sample(seeds[rows]):
            torch.testing.assert_close(network(x[:, rows])[0], expected, rtol=0, atol=1e-12)

    def test_an_infinite_hidden_unit_that_is_dropped_does_not_leak(self):
        network = layers.VariationalRNN(1, 2, nonlinearity="relu", bias=False, **NOTHING | {"p_hidden": 0.5})
        with torch.no_grad():
            network.weight_ih_l0.copy_(torch.tensor([[torch.inf], [1.0]]))
            network.weight_hh_l0.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
        finite = network(torch.ones(2, 200, 1))[0][1, :, 1].isfinite()
        assert finite.any()
        assert not finite.all()


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")  # inductor's own imports
def test_inductor_gives_what_torchs_module_gives():
    torch._dynamo.reset()
    layer, x = layers.VariationalGRU(4, 5, p=0.5), torch.randn(2, 3, 4)
    compiled = torch.compile(layer, fullgraph=True)
    assert compiled(x)[0].isfinite().all()
    layer.p = 0.0
    torch.testing.assert_close(compiled(x)[0], plain(layer, x))
