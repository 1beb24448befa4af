"""Activation checkpointing of layers with their own generator, or inside `per_sample`."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from dropscope import layers, masks


@pytest.fixture
def model(generator):
    drops = [layers.Dropout(p, generator=generator, save=save) for p, save in ((0.5, "mask"), (0.1, "seed"))]
    return nn.Sequential(drops[0], nn.Linear(30, 30), drops[1], nn.Tanh(), drops[0])


def inputs():
    return torch.ones(10, 30, requires_grad=True)


class TestRewinding:
    def test_gradients_are_those_without_checkpointing(self, model, generator):
        state, x, y = generator.get_state(), inputs(), inputs()
        model(x).sum().backward()
        after = generator.get_state()

        generator.set_state(state)
        out = checkpoint(model, y, use_reentrant=False, context_fn=masks.rewinding(generator))
        out.sum().backward(retain_graph=True)
        assert torch.equal(y.grad, x.grad)
        assert torch.equal(generator.get_state(), after)

        y.grad = None
        out.sum().backward()  # draws a third time
        assert torch.equal(y.grad, x.grad)
        assert torch.equal(generator.get_state(), after)

    def test_one_context_serves_several_checkpoints(self, model, generator):
        state, x, y = generator.get_state(), inputs(), inputs()
        model(model(x)).sum().backward()
        generator.set_state(state)
        rewinding = masks.rewinding(generator)
        hidden = checkpoint(model, y, use_reentrant=False, context_fn=rewinding)
        checkpoint(model, hidden, use_reentrant=False, context_fn=rewinding).sum().backward()
        assert torch.equal(y.grad, x.grad)

    def test_without_it_there_is_an_error_and_no_wrong_gradient(self, model):
        y = checkpoint(model, inputs(), use_reentrant=False)
        with pytest.raises(RuntimeError, match=r"context_fn=masks.rewinding\(generator\)"):
            y.sum().backward()

    @pytest.mark.parametrize("inside", [True, False])
    def test_seeds_of_samples_are_counted_back(self, inside, seed):
        model = nn.Sequential(layers.Dropout(0.5), nn.Tanh(), layers.Dropout(0.3))
        seeds, x, y = torch.arange(10) + seed, inputs(), inputs()
        with masks.per_sample(seeds):
            model(x).sum().backward()
        with masks.per_sample(seeds):
            out = checkpoint(model, y, use_reentrant=False, context_fn=masks.rewinding())
            if inside:
                out.sum().backward()
        if not inside:
            out.sum().backward()
        assert torch.equal(y.grad, x.grad)

    def test_seeds_that_are_not_counted_back_are_an_error(self, seed):
        with masks.per_sample(torch.arange(10) + seed):
            y = checkpoint(layers.Dropout(0.5), inputs(), use_reentrant=False)
            with pytest.raises(RuntimeError, match=r"masks\.rewinding"):
                y.sum().backward()

    def test_compiled_code_can_be_checkpointed_from_outside(self, model, generator):
        torch._dynamo.reset()
        run = torch.compile(model, backend="aot_eager", fullgraph=True)
        state, x, y = generator.get_state(), inputs(), inputs()
        run(x).sum().backward()
        generator.set_state(state)
        checkpoint(run, y, use_reentrant=False, context_fn=masks.rewinding(generator)).sum().backward()
        assert torch.equal(y.grad, x.grad)
