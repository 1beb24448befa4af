"""Attention layers: the contract, equality with torch's where nothing is dropped, and the weights they return."""

import itertools
import math
import shutil

import pytest
import torch
from contracts import Case, LayerContract
from torch import nn

from dropscope import layers

L, S, N, E, HEADS = 5, 7, 3, 16, 4


def sequences(**options):
    return tuple(torch.randn(N, length, E, **options) for length in (L, S, S))


def multihead(p, generator=None, **options):
    torch.manual_seed(0)
    return layers.MultiheadAttention(E, HEADS, p, batch_first=True, generator=generator, **options)


def multihead_plain(layer, *inputs):
    return layers.MultiheadAttention.from_torch(layer).eval()(*inputs)[0]


def attention_plain(layer, *inputs):
    return nn.functional.scaled_dot_product_attention(*inputs)


CASES = [
    Case("MultiheadAttention", multihead, sequences, multihead_plain, 1e-5),
    Case(
        "MultiheadAttention-fused",
        multihead,
        lambda: (*sequences(), None, False),
        multihead_plain,
        1e-5,
    ),
    Case("ScaledDotProductAttention", layers.ScaledDotProductAttention, sequences, attention_plain, 1e-5),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestContract(LayerContract):
    pass


def twins(**options):
    """torch's layer and ours, with equal parameters of their own, none of them zero."""
    theirs = nn.MultiheadAttention(E, HEADS, **options)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    ours = layers.MultiheadAttention(E, HEADS, **options)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def mask(kind, shape, dtype=torch.float32):
    """Masks that leave every query some key."""
    hidden = torch.rand(shape) < 0.4
    hidden[..., 0] = False
    return {"none": None, "bool": hidden, "float": torch.randn(shape, dtype=dtype).masked_fill(hidden, -torch.inf)}[
        kind
    ]


def assert_equal_outputs(theirs, ours, inputs, **options):
    """Compare outputs, returned weights, and the gradients of inputs and parameters."""
    found = []
    for layer in (theirs, ours):
        leaves = [x.clone().requires_grad_() for x in inputs]
        y, weights = layer(*leaves, **options)
        loss = (y**2).sum() + (0 if weights is None else (weights**2).sum())
        grads = torch.autograd.grad(loss, leaves + list(layer.parameters()))
        found.append([y, *([] if weights is None else [weights]), *grads])
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6 * max(1.0, float(expected.detach().abs().max())))


class TestEqualToTorch:
    """At p = 0, in training, where torch takes its slow path; in float64, so that 1e-6 leaves no doubt."""

    @pytest.fixture(autouse=True)
    def _double(self):
        torch.set_default_dtype(torch.float64)
        yield
        torch.set_default_dtype(torch.float32)

    @pytest.mark.parametrize("need_weights", [True, False])
    @pytest.mark.parametrize(
        ("padding", "attention", "rank"),
        [(a, b, rank) for a, b in itertools.product(["none", "bool", "float"], repeat=2) for rank in (2, 3)],
    )
    # torch itself warns where one mask is boolean and the other is not
    @pytest.mark.filterwarnings("ignore:Support for mismatched:UserWarning")
    def test_with_every_pair_of_masks(self, padding, attention, rank, need_weights):
        theirs, ours = twins(batch_first=True)
        assert_equal_outputs(
            theirs,
            ours,
            sequences(),
            key_padding_mask=mask(padding, (N, S), torch.float64),
            attn_mask=mask(attention, (L, S) if rank == 2 else (N * HEADS, L, S), torch.float64),
            need_weights=need_weights,
        )

    @pytest.mark.parametrize("need_weights", [True, False])
    @pytest.mark.parametrize(
        "options",
        [
            {"bias": False},
            {"add_bias_kv": True},
            {"add_zero_attn": True},
            {"add_bias_kv": True, "add_zero_attn": True, "bias": False},
        ],
        ids=str,
    )
    def test_with_every_option_of_the_constructor(self, options, need_weights):
        theirs, ours = twins(**options)
        inputs = [x.transpose(0, 1) for x in sequences()]
        padding = mask("bool", (N, S))
        assert_equal_outputs(theirs, ours, inputs, key_padding_mask=padding, need_weights=need_weights)

    @pytest.mark.parametrize("average", [True, False])
    def test_with_keys_and_values_of_other_sizes_and_weights_per_head(self, average):
        theirs, ours = twins(kdim=6, vdim=9, batch_first=True)
        inputs = torch.randn(N, L, E), torch.randn(N, S, 6), torch.randn(N, S, 9)
        assert_equal_outputs(theirs, ours, inputs, average_attn_weights=average)

    @pytest.mark.parametrize("batch_first", [True, False])
    @pytest.mark.parametrize("need_weights", [True, False])
    def test_without_the_batch_axis(self, batch_first, need_weights):
        theirs, ours = twins(batch_first=batch_first)
        inputs = [x[0] for x in sequences()]
        options = {"key_padding_mask": mask("bool", (S,)), "attn_mask": mask("bool", (HEADS, L, S))}
        assert_equal_outputs(theirs, ours, inputs, need_weights=need_weights, **options)

    @pytest.mark.parametrize("need_weights", [True, False])
    def test_with_the_causal_hint(self, need_weights):
        theirs, ours = twins(batch_first=True)
        x = torch.randn(N, L, E)
        causal = torch.ones(L, L, dtype=torch.bool).triu(1)
        assert_equal_outputs(theirs, ours, (x, x, x), attn_mask=causal, is_causal=True, need_weights=need_weights)
        hinted = ours(x, x, x, is_causal=True, need_weights=need_weights)[0]
        torch.testing.assert_close(hinted, ours(x, x, x, attn_mask=causal)[0], rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("need_weights", [True, False])
    def test_the_causal_hint_changes_nothing_where_a_mask_is_given(self, need_weights):
        _, ours = twins(batch_first=True)
        x, hidden = torch.randn(N, L, E), mask("bool", (L, L))
        hidden[0, -1] = False  # what is causal would hide it
        given = ours(x, x, x, attn_mask=hidden, need_weights=need_weights)[0]
        hinted = ours(x, x, x, attn_mask=hidden, is_causal=True, need_weights=need_weights)[0]
        assert torch.equal(hinted, given)

    def test_inside_a_transformer_layer(self):
        theirs = nn.TransformerEncoderLayer(E, HEADS, 32, dropout=0.0, batch_first=True)
        x, causal = torch.randn(N, L, E), nn.Transformer.generate_square_subsequent_mask(L)
        for training in (True, False):
            theirs.train(training)
            expected = theirs(x, src_mask=causal, is_causal=True)
            attention, theirs.self_attn = theirs.self_attn, layers.MultiheadAttention.from_torch(theirs.self_attn)
            torch.testing.assert_close(theirs(x, src_mask=causal, is_causal=True), expected, rtol=1e-6, atol=1e-6)
            theirs.self_attn = attention


class TestReturnedWeights:
    @pytest.mark.parametrize("average", [True, False])
    def test_they_sum_to_one_under_dropout_and_masks(self, average):
        layer = multihead(0.5)
        options = {"key_padding_mask": mask("bool", (N, S)), "attn_mask": mask("float", (L, S))}
        y, weights = layer(*sequences(), average_attn_weights=average, **options)
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]), rtol=0, atol=1e-6)
        assert weights.shape == ((N, L, S) if average else (N, HEADS, L, S))
        assert y.isfinite().all()

    def test_they_are_those_of_eval(self):
        layer, inputs = multihead(0.5), sequences()
        assert torch.equal(layer(*inputs)[1], layer.eval()(*inputs)[1])

    @pytest.mark.parametrize("p", [0.0, 0.5])
    @pytest.mark.parametrize("need_weights", [True, False])
    @pytest.mark.parametrize("training", [True, False])
    def test_a_query_without_keys_attends_to_nothing(self, p, need_weights, training):
        layer = multihead(p).train(training)
        inputs = [x.requires_grad_() for x in sequences()]
        padding = torch.zeros(N, S, dtype=torch.bool)
        padding[0] = True
        y, weights = layer(*inputs, key_padding_mask=padding, need_weights=need_weights)
        y.sum().backward()
        torch.testing.assert_close(y[0], layer.out_proj.bias.expand(L, E), rtol=0, atol=1e-7)
        assert weights is None or weights[0].eq(0).all()
        assert all(x.grad.isfinite().all() for x in inputs)

    @pytest.mark.parametrize("need_weights", [True, False])
    def test_what_is_dropped_is_the_same_with_and_without_them(self, need_weights, seed):
        inputs = sequences()
        expected = multihead(0.5, torch.Generator().manual_seed(seed))(*inputs)[0]
        y = multihead(0.5, torch.Generator().manual_seed(seed))(*inputs, need_weights=need_weights)[0]
        torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-6)


class TestDropout:
    def test_weights_are_dropped_and_scaled(self, seed):
        """With the values an identity matrix the output is the dropped weights themselves."""
        query, key, _ = (torch.randn(2, 20, 8, dtype=torch.float64) for _ in range(3))
        value = torch.eye(20, dtype=torch.float64).expand(2, 20, 20)
        layer = layers.ScaledDotProductAttention(0.25, generator=torch.Generator().manual_seed(seed))
        dropped, plain = layer(query, key, value), layer.eval()(query, key, value)
        kept = dropped != 0
        torch.testing.assert_close(dropped[kept], plain[kept] / 0.75, rtol=1e-12, atol=0)
        assert abs(kept.double().mean() - 0.75) <= 6 * math.sqrt(0.25 * 0.75 / kept.numel())

    def test_the_output_is_right_on_average(self, generator):
        layer, inputs = multihead(0.3, generator), sequences()
        draws = torch.stack([layer(*inputs)[0].detach() for _ in range(2000)]).double()
        error = draws.std(0) / math.sqrt(len(draws))
        assert ((draws.mean(0) - layer.eval()(*inputs)[0]).abs() <= 6 * error).all()

    def test_eval_drops_nothing_where_torchs_function_does(self):
        layer, inputs = layers.ScaledDotProductAttention(0.5).eval(), sequences()
        plain = nn.functional.scaled_dot_product_attention(*inputs)
        assert torch.equal(layer(*inputs), plain)
        assert not torch.equal(nn.functional.scaled_dot_product_attention(*inputs, dropout_p=0.5), plain)

    def test_p_and_dropout_are_one(self):
        layer = multihead(0.1)
        layer.dropout = 0.4
        assert layer.p == layer.dropout == 0.4
        with pytest.raises(ValueError, match="MultiheadAttention: `p` must be in"):
            layer.dropout = -1.0


@pytest.mark.parametrize(("embed_dim", "num_heads"), [(10, 3), (8, 0), (0, 1)])
def test_heads_of_unequal_size_are_refused(embed_dim, num_heads):
    with pytest.raises(ValueError, match="`embed_dim` must be a multiple of `num_heads`, got"):
        layers.MultiheadAttention(embed_dim, num_heads)


def test_a_scale_is_a_number():
    with pytest.raises(TypeError, match="ScaledDotProductAttention: `scale` must be a number or None, got 'a'"):
        layers.ScaledDotProductAttention(scale="a")


def test_repr_shows_the_sizes():
    shown = repr(layers.MultiheadAttention(16, 4, 0.1, kdim=6, batch_first=True))
    assert shown.startswith("MultiheadAttention(\n  16, 4, p=0.1, kdim=6, batch_first=True\n")


class TestFromTorch:
    @pytest.mark.parametrize("options", [{"kdim": 6, "add_bias_kv": True}, {"bias": False, "add_zero_attn": True}])
    def test_the_twin_holds_the_same_parameters(self, options):
        module = nn.MultiheadAttention(E, HEADS, dropout=0.2, batch_first=True, dtype=torch.float64, **options).eval()
        twin = layers.MultiheadAttention.from_torch(module)
        ours, theirs = dict(twin.named_parameters()), dict(module.named_parameters())
        assert ours.keys() == theirs.keys()
        assert all(ours[name] is theirs[name] for name in theirs)
        assert (twin.p, twin.training, twin.batch_first) == (0.2, False, True)

    def test_frozen_parameters_stay_frozen(self):
        module = nn.MultiheadAttention(E, HEADS).requires_grad_(False)
        assert not any(p.requires_grad for p in layers.MultiheadAttention.from_torch(module).parameters())


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@torch.no_grad()
def test_inductor_drops_weights_on_average(seed):
    torch._dynamo.reset()
    torch.manual_seed(seed)
    layer, inputs = layers.ScaledDotProductAttention(0.3), sequences()
    compiled = torch.compile(layer, fullgraph=True)
    draws = torch.stack([compiled(*inputs) for _ in range(1000)]).double()
    error = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - layer.eval()(*inputs)).abs() <= 6 * error).all()
