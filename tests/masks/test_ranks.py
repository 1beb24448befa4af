"""Ranks of a distributed run: seeded alike they draw different masks, and the same with the same generator."""

import pytest
import torch
import torch.multiprocessing as mp
from sigmas import rate_sigmas
from torch.utils.checkpoint import checkpoint

from dropscope import layers, masks

N = 1 << 14


def draw_on_rank(rank, store, seed, results):
    """Everything that is compared, on one rank of two."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    try:
        torch.save(everything(seed), f"{results}/{rank}.pt")
    finally:
        torch.distributed.destroy_process_group()


def everything(seed):
    def seeded(draw):
        torch.manual_seed(seed)
        return draw()

    def gradient(run):
        x = torch.ones(N, requires_grad=True)
        run(x).sum().backward()
        return x.grad

    layer, ones = layers.Dropout(0.3), torch.ones(N)
    drawn = {
        "layer": seeded(lambda: layer(ones)),
        "few": seeded(lambda: layer(ones[:200])),
        "seed": seeded(lambda: layers.Dropout(0.3, save="seed")(ones)),
        "keep": seeded(lambda: masks.keep((N,), 0.3)),
        "uniform": seeded(lambda: masks.uniform((N,))),
        "normal": seeded(lambda: masks.normal((N,))),
        "vmap": seeded(lambda: torch.vmap(layer, randomness="different")(ones.view(-1, 64))),
        "compiled": seeded(lambda: torch.compile(layer, backend="aot_eager", fullgraph=True)(ones)),
        "gradient": seeded(lambda: gradient(layer)),
        "checkpointed": seeded(lambda: gradient(lambda x: checkpoint(layer, x, use_reentrant=False))),
    }
    assert all(torch.equal(drawn["layer"], seeded(lambda: layer(ones))) for _ in range(2))
    alike = {
        "generator": layers.Dropout(0.3, generator=torch.Generator().manual_seed(seed))(ones),
        "torch": seeded(lambda: layers.Dropout(0.3, sampler="torch")(ones)),
        "stream": seeded(lambda: torch.rand(3)),
    }
    return drawn, alike


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What two ranks drew after the same `manual_seed`."""
    folder = tmp_path_factory.mktemp("ranks")
    seed = int(torch.randint(2**31, ()))
    print(f"seed={seed}")
    mp.spawn(draw_on_rank, (folder / "store", seed, folder), nprocs=2)
    alone = everything(seed)
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)] + [alone]


@pytest.mark.slow
class TestRanks:
    def test_the_first_rank_draws_what_a_single_process_draws(self, ranks):
        (first, _), _, (alone, _) = ranks
        assert all(torch.equal(first[name], alone[name]) for name in alone)

    def test_ranks_that_are_seeded_alike_draw_different_and_independent_numbers(self, ranks):
        (first, _), (second, _), _ = ranks
        for name in first:
            assert not torch.equal(first[name], second[name]), name
        both_kept = (first["layer"] != 0) & (second["layer"] != 0)
        assert rate_sigmas(both_kept, 1 - 0.7**2) < 6

    def test_the_rate_is_p_on_every_rank(self, ranks):
        for drawn, _ in ranks[:2]:
            for name in ("layer", "seed", "keep", "vmap", "compiled"):
                assert rate_sigmas(drawn[name] != 0, 0.3) < 6, name

    def test_checkpointing_gives_the_gradient_of_the_same_mask(self, ranks):
        for drawn, _ in ranks:
            assert torch.equal(drawn["gradient"], drawn["layer"])
            assert torch.equal(drawn["checkpointed"], drawn["layer"])

    def test_the_same_generator_gives_the_same_masks_on_all_ranks(self, ranks):
        (_, first), (_, second), (_, alone) = ranks
        for name in first:
            assert torch.equal(first[name], second[name])
            assert torch.equal(first[name], alone[name])
