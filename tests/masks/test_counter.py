"""Numbers that are a function of seed and position: against the published generator, and against chance."""

import itertools

import pytest
import torch
from sigmas import neighbour_sigmas, sigmas

from dropscope.masks import counter

N = 1 << 18
WORD = 2**64


def splitmix(seed: int):
    """The generator as Steele, Lea & Flood wrote it, in unbounded integers."""
    for step in itertools.count(1):
        z = (seed + step * 0x9E3779B97F4A7C15) % WORD
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % WORD
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % WORD
        yield z ^ (z >> 31)


class TestMixed:
    def test_it_is_splitmix64(self):
        words = counter.mixed(1234567 + torch.arange(1, 4) * counter.GAMMA)
        assert [word % WORD for word in words.tolist()] == [
            6457827717110365317,  # the first three numbers of the seed 1234567, as widely published
            3203168211198807973,
            9817491932198370423,
        ]

    def test_no_two_seeds_collide(self):
        assert counter.mixed(torch.arange(-N, N)).unique().numel() == 2 * N


class TestUniform:
    def test_each_row_is_the_stream_of_its_mixed_seed_to_53_bits(self, seed):
        seeds = torch.tensor([seed, -seed, 2**62])
        found = counter.uniform(seeds, (3, 2, 5), torch.float64).flatten(1) * 2**53
        for row, start in zip(found.tolist(), counter.mixed(seeds).tolist(), strict=True):
            assert row == [word >> 11 for word in itertools.islice(splitmix(start % WORD), 10)]

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_numbers_are_uniform_below_one(self, dtype, seed):
        u = counter.uniform(torch.tensor(seed), (N,), dtype)
        middle = (1 - 2.0 ** -counter.BITS[dtype]) / 2  # halfway between the smallest and the largest
        assert u.dtype == dtype
        assert u.min() >= 0
        assert u.max() < 1
        assert sigmas(u, middle) < 6

    def test_neighbours_and_neighbouring_seeds_are_independent(self, seed):
        u = counter.uniform(torch.arange(512) + seed, (512, 512), torch.float32)
        assert neighbour_sigmas(u < 0.7, 0.3) < 6
        assert neighbour_sigmas(u.t() < 0.7, 0.3) < 6

    @pytest.mark.parametrize("shape", [(3, 0), (0, 4), (3,)])
    def test_any_shape_is_taken(self, shape):
        assert counter.uniform(torch.zeros(shape[0], dtype=torch.int64), shape, torch.float32).shape == shape


class TestNormal:
    def test_moments_are_those_of_the_normal_law(self, seed):
        z = counter.normal(torch.tensor(seed), (N,), torch.float64)
        for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3)):
            assert sigmas(z**power, moment) < 6
        assert neighbour_sigmas(z < 0, 0.5) < 6

    def test_halves_are_rounded_once(self, seed):
        wide = counter.normal(torch.tensor(seed), (100,), torch.float64)
        assert torch.equal(counter.normal(torch.tensor(seed), (100,), torch.bfloat16), wide.to(torch.bfloat16))
