"""Seeds per sample: a row depends on its seed and the number of the draw, and on nothing else."""

import functools
import threading

import pytest
import torch
from sigmas import neighbour_sigmas, rate_sigmas
from torch import nn

from dropscope import layers, masks

DRAWS = {
    "keep": functools.partial(masks.keep, p=0.3),
    "uniform": masks.uniform,
    "normal": masks.normal,
    "drop": lambda shape: masks.drop(torch.ones(shape), 0.3),
    "drop-seed": lambda shape: masks.drop(torch.ones(shape), 0.3, save="seed"),
    **{law.__class__.__name__: law.sample for law in (masks.Gaussian(0.3), masks.Uniform(0.3), masks.Bernoulli(0.3))},
}


@pytest.fixture
def seeds(seed):
    return torch.arange(6) * 1000 + seed


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
class TestEveryDraw:
    def test_a_row_depends_on_its_seed_alone(self, draw, seeds):
        with masks.per_sample(seeds):
            together = draw((6, 40))
        with masks.per_sample(seeds.flip(0)):
            assert torch.equal(draw((6, 40)), together.flip(0))
        with masks.per_sample(seeds[2:3]):
            assert torch.equal(draw((1, 40))[0], together[2])

    def test_two_draws_differ_and_the_block_starts_anew(self, draw, seeds):
        with masks.per_sample(seeds):
            first, second = draw((6, 40)), draw((6, 40))
        with masks.per_sample(seeds):
            assert torch.equal(draw((6, 40)), first)
        assert not torch.equal(first, second)

    def test_torchs_stream_is_left_alone(self, draw, seeds):
        before = torch.get_rng_state()
        with masks.per_sample(seeds):
            draw((6, 40))
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.parametrize("shape", [(5, 6), (1, 6), ()])
    def test_a_draw_without_the_batch_on_axis_0_is_refused(self, draw, shape, seeds):
        with masks.per_sample(seeds), pytest.raises(ValueError, match="axis 0 of every draw must be the batch of 6"):
            draw(shape)


class TestPerSample:
    @pytest.mark.parametrize("p", [0.5, 0.1])
    def test_the_rate_is_p_and_neighbours_are_independent(self, p, seed):
        with masks.per_sample(torch.arange(512) + seed):
            kept = masks.keep((512, 512), p)
            again = masks.keep((512, 512), p)
        assert rate_sigmas(kept, p) < 6
        assert neighbour_sigmas(kept, p) < 6
        assert neighbour_sigmas(kept.t(), p) < 6
        assert neighbour_sigmas(torch.stack([kept, again], -1), p, lags=(1,)) < 6

    def test_neighbouring_seeds_and_draws_have_nothing_in_common(self, seed):
        with masks.per_sample(seed + torch.arange(8)):
            rows = torch.cat([masks.uniform((8, 3)) for _ in range(8)])
        assert rows.unique(dim=0).shape == rows.shape

    def test_two_layers_of_a_model_draw_differently(self, seeds):
        model = nn.ModuleList([layers.Dropout(0.5), layers.Dropout(0.5)])
        with masks.per_sample(seeds):
            first, second = (layer(torch.ones(6, 40)) for layer in model)
        assert not torch.equal(first, second)

    def test_a_generator_yields_to_the_seeds(self, seeds, generator):
        state = generator.get_state()
        with masks.per_sample(seeds):
            first = masks.uniform((6, 3), generator=generator)
        with masks.per_sample(seeds):
            assert torch.equal(masks.uniform((6, 3)), first)
        assert torch.equal(generator.get_state(), state)

    def test_blocks_nest_and_end_with_an_error(self, seeds):
        with masks.per_sample(seeds):
            expected = [masks.uniform((6, 3)) for _ in range(2)]
        with masks.per_sample(seeds):
            found = [masks.uniform((6, 3))]
            with pytest.raises(ValueError, match="axis 0"), masks.per_sample(seeds[:2]):
                masks.uniform((6, 3))
            found += [masks.uniform((6, 3))]
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
        assert masks.uniform((7, 3)).shape == (7, 3)

    def test_other_threads_draw_as_ever(self, seeds):
        shapes = []
        thread = threading.Thread(target=lambda: shapes.append(masks.uniform((7, 3)).shape))
        with masks.per_sample(seeds):
            thread.start()
            thread.join()
        assert shapes == [(7, 3)]

    def test_the_seeds_may_be_changed_afterwards(self, seeds):
        with masks.per_sample(seeds):
            expected = masks.uniform((6, 3))
        changed = seeds.clone()
        with masks.per_sample(changed):
            changed.zero_()
            assert torch.equal(masks.uniform((6, 3)), expected)

    @pytest.mark.parametrize("bad", [3, [1, 2], torch.tensor([1.0]), torch.tensor(3), torch.ones(2, 2).long()])
    def test_bad_seeds_are_refused(self, bad):
        with pytest.raises(TypeError, match="`seeds` must be an int64 tensor"), masks.per_sample(bad):
            pass

    def test_traced_code_is_refused(self, seeds):
        torch._dynamo.reset()
        compiled = torch.compile(layers.Dropout(0.5), backend="eager", fullgraph=True)
        compiled(torch.ones(6, 4))
        with masks.per_sample(seeds):
            with pytest.raises(RuntimeError, match="works only in code that simply runs"):
                compiled(torch.ones(6, 4))
            with pytest.raises(RuntimeError, match="works only in code that simply runs"):
                torch.vmap(layers.Dropout(0.5), randomness="different")(torch.ones(6, 4))
        assert compiled(torch.ones(6, 4)).shape == (6, 4)

    def test_compiled_code_of_other_threads_runs_as_ever(self, seeds):
        torch._dynamo.reset()
        compiled = torch.compile(layers.Dropout(0.5), backend="eager", fullgraph=True)
        refused, done = [], threading.Event()

        def block():
            with masks.per_sample(seeds):
                opened.set()
                done.wait()
                with pytest.raises(RuntimeError, match="works only in code that simply runs"):
                    compiled(torch.ones(6, 4))
                refused.append(True)

        opened = threading.Event()
        thread = threading.Thread(target=block)
        thread.start()
        opened.wait()
        try:
            assert compiled(torch.ones(6, 4)).shape == (6, 4)
        finally:
            done.set()
            thread.join()
        assert refused == [True]

    @pytest.mark.parametrize("per", [(), (1,), (-1,)])
    def test_a_draw_that_samples_share_is_refused_also_in_a_batch_of_one(self, per, seeds):
        with masks.per_sample(seeds[:1]), pytest.raises(ValueError, match="a draw that samples share cannot be used"):
            masks.drop(torch.ones(1, 4), 0.5, per=per)

    def test_torchs_own_sampler_is_refused(self, seeds):
        with masks.per_sample(seeds), pytest.raises(ValueError, match="cannot be used inside"):
            layers.Dropout(0.5, sampler="torch")(torch.ones(6, 4))
