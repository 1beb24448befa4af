"""DropBlock's calibration in closed form and by enumeration, its mask against a plain loop, and what it keeps."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn.functional import max_pool2d, pad

from dropscope import functional
from dropscope.functional.blocks import _kept, _kept_by_pooling, seed_rate

DROP = {1: functional.drop_block1d, 2: functional.drop_block2d, 3: functional.drop_block3d}
MAPS = [
    ((14, 14), (7, 7)),
    ((7, 7), (7, 7)),
    ((28, 28), (3, 3)),
    ((9, 5), (4, 2)),
    ((50,), (6,)),
    ((4, 9, 6), (2, 5, 5)),
    ((1, 1), (1, 1)),
]
RATES = [1e-12, 0.001, 0.1, 0.5, 0.9, 0.999, 1 - 1e-12]


def covering(size: int, block: int) -> np.ndarray:
    """For each pixel of a line, how many of its blocks cover it: by counting."""
    starts = range(size - block + 1)
    return np.array([sum(start <= pixel < start + block for start in starts) for pixel in range(size)])


def expected_rate(gamma: float, sizes: tuple[int, ...], blocks: tuple[int, ...]) -> float:
    cover = np.ones(())
    for size, block in zip(sizes, blocks, strict=True):
        cover = np.multiply.outer(cover, covering(size, block))
    return float(np.mean(-np.expm1(cover * np.log1p(-gamma))))


class TestTheRateOfSeeds:
    @pytest.mark.parametrize("p", RATES)
    @pytest.mark.parametrize(("sizes", "blocks"), MAPS)
    def test_makes_the_expected_rate_p(self, p, sizes, blocks):
        gamma = seed_rate(p, sizes, blocks, np)
        assert abs(expected_rate(gamma, sizes, blocks) - p) <= 1e-12

    @pytest.mark.parametrize("p", [0.0, 1.0])
    @pytest.mark.parametrize(("sizes", "blocks"), [*MAPS, ((1000, 1000), (50, 50))])
    def test_is_exact_at_the_ends(self, p, sizes, blocks):
        assert seed_rate(p, sizes, blocks, np) == p
        assert seed_rate(torch.tensor(p, dtype=torch.float64), sizes, blocks, torch) == p

    @pytest.mark.parametrize(("sizes", "blocks"), MAPS)
    def test_is_the_same_for_a_tensor(self, sizes, blocks):
        for p in RATES:
            as_tensor = seed_rate(torch.tensor(p, dtype=torch.float64), sizes, blocks, torch)
            assert as_tensor.dtype == torch.float64
            assert math.isclose(as_tensor, seed_rate(p, sizes, blocks, np), rel_tol=0, abs_tol=1e-15)

    def test_agrees_with_enumerating_every_pattern_of_seeds(self):
        size, block, p = (3, 4), 2, 0.3
        gamma = seed_rate(p, size, (block, block), np)
        rate = 0.0
        for seeds in itertools.product([0, 1], repeat=6):
            dropped = np.zeros(size)
            for (row, column), seed in zip(itertools.product(range(2), range(3)), seeds, strict=True):
                if seed:
                    dropped[row : row + block, column : column + block] = 1
            rate += gamma ** sum(seeds) * (1 - gamma) ** (6 - sum(seeds)) * dropped.mean()
        assert abs(rate - p) <= 1e-12


class TestTheMask:
    @pytest.mark.parametrize(
        ("shape", "block"),
        [
            ((14, 14), 7),
            ((7, 7), 7),
            ((4, 4), 7),
            ((6, 6), 7),
            ((28, 28), 3),
            ((13, 6), 4),
            ((5, 40), (3, 20)),
            ((30,), 6),
            ((4,), 7),
            ((4, 9, 6), 3),
            ((3, 8, 8), (7, 2, 3)),
        ],
    )
    @pytest.mark.parametrize("p", [0.1, 0.5])
    def test_drops_the_rate_asked_for(self, shape, block, p, generator):
        """Maps are independent, so the rate of each is one draw of the mean."""
        x = torch.ones(400, 16, *shape)
        y = DROP[len(shape)](x, p, block, training=True, generator=generator)
        rates = (y == 0).flatten(2).double().mean(2)
        error = rates.std().item() / math.sqrt(rates.numel())
        assert abs(rates.mean().item() - p) <= 5 * error

    @pytest.mark.parametrize("block", [1, 2, 3, 4, 6, 7])
    def test_is_a_union_of_whole_blocks(self, block, generator):
        """What opens to itself, eroded by the block and dilated again, is a union of blocks."""
        y = functional.drop_block2d(torch.ones(64, 8, 13, 9), 0.3, block, training=True, generator=generator)
        dropped = (y == 0).float()
        inner = -max_pool2d(-dropped, block, 1)
        opened = max_pool2d(pad(inner, [block - 1] * 4), block, 1)
        assert dropped.any()
        assert not dropped.all()
        assert torch.equal(opened, dropped)

    def test_of_a_volume_is_a_union_of_whole_blocks(self, generator):
        y = functional.drop_block3d(torch.ones(32, 4, 5, 7, 6), 0.3, (2, 3, 4), training=True, generator=generator)
        dropped = (y == 0).float()
        inner = -torch.nn.functional.max_pool3d(-dropped, (2, 3, 4), 1)
        opened = torch.nn.functional.max_pool3d(pad(inner, [3, 3, 2, 2, 1, 1]), (2, 3, 4), 1)
        assert torch.equal(opened, dropped)

    def test_has_the_law_that_independent_seeds_give(self, generator):
        """Each pattern of a tiny map is as frequent as the enumeration of the seeds says."""
        p, n = 0.3, 40_000
        gamma = seed_rate(p, (2, 3), (2, 2), np)
        y = functional.drop_block2d(torch.ones(n, 1, 2, 3), p, 2, training=True, generator=generator)
        left, right = (y[:, 0, 0, 0] == 0), (y[:, 0, 0, 2] == 0)
        for first, second in itertools.product([True, False], repeat=2):
            law = (gamma if first else 1 - gamma) * (gamma if second else 1 - gamma)
            found = ((left == first) & (right == second)).double().mean().item()
            assert abs(found - law) <= 5 * math.sqrt(law * (1 - law) / n)

    def test_differs_between_samples_and_between_channels(self, generator):
        y = functional.drop_block2d(torch.ones(3, 3, 56, 56), 0.5, training=True, generator=generator)
        patterns = {tuple((pattern == 0).flatten().tolist()) for pattern in y.flatten(0, 1)}
        assert len(patterns) == 9


class TestTheScale:
    def test_gives_each_sample_of_ones_the_mean_one(self, generator):
        y = functional.drop_block2d(torch.ones(50, 16, 14, 14).double(), 0.5, training=True, generator=generator)
        torch.testing.assert_close(y.flatten(1).mean(1), torch.ones(50).double(), rtol=0, atol=1e-12)

    def test_is_one_number_per_sample(self, generator):
        y = functional.drop_block2d(torch.ones(50, 4, 14, 14), 0.3, training=True, generator=generator)
        for sample in y:
            kept = (sample != 0).sum().item()
            expected = torch.full((kept,), sample.numel() / max(kept, 1))
            torch.testing.assert_close(sample[sample != 0], expected, rtol=2**-22, atol=0)

    def test_loses_exactly_the_samples_that_are_dropped_whole(self, generator):
        """One channel whose block fills the map: a sample is kept whole, and then not scaled, or all zero."""
        p, n = 0.3, 40_000
        y = functional.drop_block2d(torch.ones(n, 1, 4, 4), p, 7, training=True, generator=generator)
        means = y.flatten(1).mean(1)
        assert set(means.unique().tolist()) == {0.0, 1.0}
        assert abs(means.double().mean().item() - (1 - p)) <= 5 * math.sqrt(p * (1 - p) / n)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_is_counted_beyond_the_range_of_half_types(self, dtype, seed):
        """Half types cannot count to 80 000; kept values are those of float64, rounded once."""
        x = torch.randn(2, 80, 32, 32).to(dtype)

        def run(values):
            generator = torch.Generator().manual_seed(seed)
            return functional.drop_block2d(values, 0.3, training=True, generator=generator)

        assert torch.equal(run(x), run(x.float()).to(dtype))
        assert run(x).isfinite().all()


class TestInputs:
    @pytest.mark.parametrize("axes", [1, 2, 3])
    def test_a_batch_is_optional(self, axes, seed):
        x = torch.randn(3, *[9] * axes)
        alone, batched = (
            DROP[axes](v, 0.3, 3, training=True, generator=torch.Generator().manual_seed(seed)) for v in (x, x[None])
        )
        assert torch.equal(alone, batched[0])

    @pytest.mark.parametrize("axes", [1, 2, 3])
    def test_another_number_of_axes_is_refused(self, axes):
        for x in (torch.ones([2] * axes), torch.ones([2] * (axes + 3))):
            with pytest.raises(ValueError, match=f"`x` must have {axes + 2} axes"):
                DROP[axes](x, 0.3, training=True)

    @pytest.mark.parametrize("block", [0, -1, 2.0, True, (2,), (2, 0), (2, 2, 2)])
    def test_a_bad_block_size_is_refused(self, block):
        with pytest.raises(ValueError, match="`block_size` must be a positive integer or 2 of them, got"):
            functional.drop_block2d(torch.ones(2, 3, 8, 8), 0.3, block, training=False)

    @pytest.mark.parametrize("fill", [math.inf, -math.inf, math.nan])
    def test_a_dropped_inf_or_nan_becomes_zero_in_value_and_gradient(self, fill, seed):
        def run(values):
            generator = torch.Generator().manual_seed(seed)
            return functional.drop_block2d(values, 0.5, 3, training=True, generator=generator)

        dropped = run(torch.ones(4, 3, 9, 9)) == 0
        x = torch.full((4, 3, 9, 9), fill, requires_grad=True)
        y = run(x)
        y.backward(torch.full_like(y, fill))
        assert torch.equal(y == 0, dropped)
        assert torch.equal(x.grad == 0, dropped)

    @pytest.mark.parametrize("fill", [1.0, math.inf, math.nan])
    def test_p_one_gives_zeros_in_value_and_gradient(self, fill):
        x = torch.full((2, 3, 9, 9), fill, requires_grad=True)
        y = functional.drop_block2d(x, 1.0, 3, training=True)
        y.sum().backward()
        assert not y.any()
        assert not x.grad.any()

    def test_the_memory_format_is_kept(self, seed):
        def run(values):
            generator = torch.Generator().manual_seed(seed)
            return functional.drop_block2d(values, 0.3, 3, training=True, generator=generator)

        x = torch.randn(2, 8, 9, 9)
        y = run(x.to(memory_format=torch.channels_last))
        assert y.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(y, run(x))

    @pytest.mark.parametrize("shape", [(0, 3, 9, 9), (2, 0, 9, 9), (2, 3, 0, 9)])
    def test_nothing_may_be_dropped(self, shape):
        assert functional.drop_block2d(torch.ones(shape), 0.3, training=True).shape == shape


@pytest.mark.parametrize(("sizes", "blocks"), MAPS)
def test_compiled_code_keeps_what_eager_code_keeps(sizes, blocks, generator):
    places = [size - block + 1 for size, block in zip(sizes, blocks, strict=True)]
    clear = torch.rand(20, 3, *places, generator=generator) < 0.9
    assert torch.equal(_kept_by_pooling(clear, blocks), _kept(clear, sizes, blocks).bool())
