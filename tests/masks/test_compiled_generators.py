"""Generators in compiled code: every draw happens once, in order, and the gradient has the mask of the output."""

import copy
import pickle
import shutil

import pytest
import torch
from sigmas import neighbour_sigmas, rate_sigmas, sigmas
from torch import nn
from torch.utils.checkpoint import checkpoint

from dropscope import layers, masks
from dropscope.masks import tickets

BACKENDS = [
    "eager",
    "aot_eager",
    pytest.param("inductor", marks=pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")),
]
SHAPE = (20, 64)
CHANNELS_LAST = torch.ones(4, 64, 16, 16).to(memory_format=torch.channels_last)


def compiled(model, backend="eager"):
    torch._dynamo.reset()
    return torch.compile(model, backend=backend, fullgraph=True)


class Repeated(nn.Module):
    """Two layers that share a generator; one is called twice, and one draw is not used."""

    def __init__(self, generator):
        super().__init__()
        self.first = layers.Dropout(0.5, generator=generator)
        self.second = layers.Dropout(0.3, generator=generator)

    def forward(self, x):
        y = self.first(x)
        self.second(x)
        return torch.stack([y, self.second(x), self.first(x)])


class TestCompiledGenerators:
    # parts of the compiler are still scripted
    @pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
    @pytest.mark.parametrize("backend", BACKENDS)
    def test_every_draw_happens_once_and_in_order_and_the_gradient_is_its_mask(self, backend, seed):
        generator, twin = (torch.Generator().manual_seed(seed) for _ in range(2))
        expected = compiled(Repeated(twin), "eager")(torch.ones(SHAPE))

        x = torch.ones(SHAPE, requires_grad=True)
        y = compiled(Repeated(generator), backend)(x)
        y.backward(torch.tensor([1.0, 100.0, 10000.0])[:, None, None].expand_as(y))  # told apart in their sum
        first, second, third = y.detach()
        torch.testing.assert_close(y, expected)
        torch.testing.assert_close(x.grad, first + 100 * second + 10000 * third, rtol=1e-6, atol=0)
        assert torch.equal(generator.get_state(), twin.get_state())
        assert not torch.equal(first, third)
        assert not torch.equal(first != 0, second != 0)

    @pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
    @pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
    @pytest.mark.parametrize("x", [torch.ones(1000), torch.ones(1001), CHANNELS_LAST], ids=["1000", "1001", "images"])
    def test_inductor_draws_what_eager_code_draws_at_any_size_and_layout(self, x, seed):
        layers_of = [layers.Dropout(0.3, generator=torch.Generator().manual_seed(seed)) for _ in range(2)]
        expected = compiled(layers_of[0], "eager")(x)

        x = x.clone().requires_grad_()
        y = compiled(layers_of[1], "inductor")(x)
        y.backward(torch.full_like(y, 3.0))
        torch.testing.assert_close(y, expected)
        torch.testing.assert_close(x.grad, 3 * y.detach())
        assert y.stride() == x.stride()

    @pytest.mark.parametrize("backend", ["eager", "aot_eager"])
    def test_the_seed_decides_and_the_state_advances(self, backend, generator):
        run, state = compiled(Repeated(generator), backend), generator.get_state()
        first, second = run(torch.ones(SHAPE)), run(torch.ones(SHAPE))
        after = generator.get_state()
        assert not torch.equal(first, second)
        assert not torch.equal(after, state)
        generator.set_state(state)
        assert torch.equal(run(torch.ones(SHAPE)), first)
        assert torch.equal(run(torch.ones(SHAPE)), second)
        assert torch.equal(generator.get_state(), after)

    def test_the_rate_is_p(self, generator):
        kept = compiled(layers.Dropout(0.3, generator=generator))(torch.ones(1 << 18)) != 0
        assert rate_sigmas(kept, 0.3) < 6
        assert neighbour_sigmas(kept, 0.3) < 6

    @pytest.mark.parametrize("law", [masks.Bernoulli(0.3), masks.Gaussian(0.3), masks.Uniform(0.3)], ids=str)
    def test_every_law_draws_from_it(self, law, seed):
        class Noise(layers.DropoutLayer):
            def forward(self, x):
                return x * law.sample(x.shape, generator=self.source)

        draws = [compiled(Noise(generator=torch.Generator().manual_seed(s)))(torch.ones(1 << 16)) for s in (seed, seed)]
        assert torch.equal(*draws)
        assert sigmas(draws[0], law.mean) < 6
        assert sigmas((draws[0] - 1) ** 2, law.variance) < 6

    @pytest.mark.parametrize("clone", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
    def test_copies_draw_the_same_and_are_independent(self, clone, generator):
        model = Repeated(generator)
        twin = clone(model)
        y = compiled(model)(torch.ones(SHAPE))
        assert torch.equal(compiled(twin)(torch.ones(SHAPE)), y)
        assert twin.first.generator is twin.second.generator is not generator

    def test_a_new_generator_needs_no_new_graph(self, seed):
        layer = layers.Dropout(0.5, generator=torch.Generator().manual_seed(seed))
        counted = torch._dynamo.testing.CompileCounter()
        run = compiled(layer, counted)
        first = run(torch.ones(SHAPE))
        layer.generator = torch.Generator().manual_seed(seed)
        assert torch.equal(run(torch.ones(SHAPE)), first)
        assert counted.frame_count == 1

    def test_torchs_stream_is_left_alone(self, generator):
        run, before = compiled(layers.Dropout(0.5, generator=generator)), torch.get_rng_state()
        run(torch.ones(SHAPE))
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.parametrize("backend", ["eager", "aot_eager"])
    def test_checkpointing_inside_compiled_code_gives_an_error_and_no_wrong_gradient(self, backend, generator):
        model = Repeated(generator)
        run = compiled(lambda x: checkpoint(model, x, use_reentrant=False), backend)
        y = run(torch.ones(SHAPE, requires_grad=True))
        with pytest.raises(RuntimeError, match=r"context_fn=masks.rewinding\(generator\)|modified by an inplace"):
            y.sum().backward()

    def test_a_ticket_outlives_no_generator(self):
        generator = torch.Generator()
        ticket = tickets.ticket(generator)
        del generator
        with pytest.raises(RuntimeError, match="no longer exists"):
            tickets.next_word(ticket)

    def test_the_operator_keeps_torchs_rules(self, generator):
        torch.library.opcheck(
            tickets.next_word, (tickets.ticket(generator),), test_utils=("test_schema", "test_faketensor")
        )
