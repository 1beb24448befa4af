"""Graph dropout: the contract, torch_geometric as the reference, and what undirected graphs need."""

import math
import shutil

import pytest
import torch
from contracts import Case, LayerContract
from mask_contracts import MaskCase, MaskContract

from dropscope import functional, layers, masks

NODES = 60
INTEGERS = "takes integers, which have no derivatives"
KEPT = "the number of kept edges is random: "
SKIP = {
    "test_first_and_second_derivatives_are_right": INTEGERS,
    "test_the_type_is_kept": INTEGERS + "; int32 and int64 have their own test",
    "test_p_one_is_finite_in_value_and_gradient": INTEGERS + "; that p = 1 drops all has its own test",
    "test_compiled_gradients_are_those_of_the_same_draw": INTEGERS,
    "test_checkpointing_gives_the_same_gradients": INTEGERS,
    "test_other_than_floating_point_is_refused": "takes integers; what is refused has its own test",
    "test_the_device_is_kept": KEPT + "the meta device knows no such shape",
    "test_vmap_draws_as_it_is_told": KEPT + "vmap knows no such shape",
    "test_compiles_into_one_graph_that_survives_three_changes_of_p": KEPT + "has its own test, with Dynamo's option",
}


def graph() -> tuple[torch.Tensor]:
    return (torch.randint(0, NODES, (2, 400), generator=torch.Generator().manual_seed(5)),)


def edges_alone(layer, edge_index, *rest):
    return edge_index


CASES = [
    Case("EdgeDropout", layers.EdgeDropout, graph, edges_alone, batch_axis=None, skip=SKIP),
    Case(
        "EdgeDropout-undirected",
        lambda p, **options: layers.EdgeDropout(p, undirected=True, **options),
        graph,
        edges_alone,
        batch_axis=None,
        skip=SKIP,
    ),
    Case("NodeDropout", layers.NodeDropout, lambda: (*graph(), NODES), edges_alone, batch_axis=None, skip=SKIP),
    Case("PathDropout", layers.PathDropout, graph, edges_alone, batch_axis=None, skip=SKIP),
]
FEATURES = [MaskCase("FeatureDropout", layers.FeatureDropout, shape=(6, 40), per=(-1,), batch_axis=None)]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestContract(LayerContract):
    pass


@pytest.mark.parametrize("case", [*CASES, *FEATURES], ids=str)
def test_seeds_per_sample_are_refused_even_where_the_shapes_would_fit(case):
    inputs = case.example()
    for size in (1, *inputs[0].shape, NODES):
        with masks.per_sample(torch.arange(size)), pytest.raises(ValueError, match=r"masks\.per_sample"):
            case.make(0.5)(*inputs)


@pytest.mark.parametrize("nodes", [[[0, 5], [1, 0]], [[0, -1], [1, 0]]])
def test_edges_between_nodes_that_are_not_there_are_refused(nodes):
    with pytest.raises(ValueError, match=r"`edge_index` must hold nodes in \[0, 3\), got"):
        layers.NodeDropout(0.5)(torch.tensor(nodes), 3)


@pytest.mark.parametrize("case", FEATURES, ids=str)
class TestFeatureContract(MaskContract):
    pass


@pytest.mark.parametrize("case", CASES, ids=str)
class TestEveryGraphLayer:
    def test_eval_returns_the_edges_themselves_and_true_masks(self, case):
        inputs = case.example()
        edges, *kept = case.make(0.5).eval()(*inputs)
        assert edges is inputs[0]
        assert all(mask.all() for mask in kept)

    def test_p_one_drops_all(self, case):
        edges, *kept = case.make(1.0)(*case.example())
        assert edges.shape == (2, 0)
        assert not any(mask.any() for mask in kept)

    @pytest.mark.parametrize("p", [0.0, 0.3])
    @pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
    def test_the_mask_picks_the_kept_edges_in_their_order(self, case, p, dtype):
        edge_index, *rest = case.example()
        edges, mask, *_ = case.make(p)(edge_index.to(dtype), *rest)
        assert edges.dtype == dtype
        assert torch.equal(edges, edge_index[:, mask])

    @pytest.mark.parametrize("training", [True, False])
    def test_a_graph_without_edges_is_taken(self, case, training):
        _, *rest = case.example()
        edges, mask, *_ = case.make(0.5).train(training)(torch.empty(2, 0, dtype=torch.int64), *rest)
        assert edges.shape == (2, 0)
        assert mask.shape == (0,)

    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("bad", [torch.ones(2, 3), torch.ones(3, 2).long(), torch.ones(4).long()])
    def test_what_is_no_list_of_edges_is_refused(self, case, training, bad):
        _, *rest = case.example()
        with pytest.raises((TypeError, ValueError), match="`edge_index` must"):
            case.make(0.5).train(training)(bad, *rest)

    def test_compiles_into_one_graph_where_dynamo_may_record_random_shapes(self, case, seed):
        torch._dynamo.reset()
        counted = torch._dynamo.testing.CompileCounter()
        layer, inputs = case.make(0.5), case.example()
        with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
            compiled = torch.compile(layer, backend=counted, fullgraph=True)
            for p in (0.5, 0.2, 0.9, 0.0):
                layer.p = p
                edges, *_ = compiled(*inputs)
        assert torch.equal(edges, inputs[0])
        assert counted.frame_count == 1


class TestUndirected:
    def both_ways(self, generator):
        """A graph without self-loops or parallel edges, each edge stored as low-high and, further on, as high-low."""
        low, high = torch.triu_indices(NODES, NODES, 1)
        some = torch.rand(low.numel(), generator=generator) < 0.4
        edges = torch.stack([low[some], high[some]])
        return torch.cat([edges, edges.flip(0)], dim=1)

    def test_both_directions_share_one_draw(self, generator):
        edge_index = self.both_ways(generator)
        _, mask = functional.edge_dropout(edge_index, 0.5, training=True, undirected=True, generator=generator)
        there, back = mask.chunk(2)
        assert torch.equal(there, back)
        assert 0 < there.sum() < there.numel()

    def test_each_pair_has_its_own_draw(self, generator):
        edge_index = self.both_ways(generator)
        draws = torch.stack(
            [
                functional.edge_dropout(edge_index, 0.3, training=True, undirected=True, generator=generator)[1]
                for _ in range(200)
            ]
        )
        pairs = draws[:, : edge_index.shape[1] // 2].double()
        error = math.sqrt(0.3 * 0.7 / pairs.numel())
        assert abs(pairs.mean() - 0.7) < 6 * error
        # the count of kept pairs has the binomial variance, whose estimate has relative error √(2 / 199)
        assert abs(pairs.sum(1).var() / (0.21 * pairs.shape[1]) - 1) < 6 * math.sqrt(2 / 199)

    def test_self_loops_stay_single_and_one_way_edges_are_neither_lost_nor_mirrored(self, generator):
        # 0-0, 1-1; 3→1 and 2→0 stored only as high-low; 1-2 both ways; 0→3 twice
        edge_index = torch.tensor([[0, 3, 1, 1, 2, 2, 0, 0], [0, 1, 1, 2, 1, 0, 3, 3]])
        seen = torch.zeros(8, dtype=torch.int64)
        for _ in range(300):
            edges, mask = functional.edge_dropout(edge_index, 0.5, training=True, undirected=True, generator=generator)
            assert torch.equal(edges, edge_index[:, mask])
            assert mask[3] == mask[4]  # the two directions
            assert mask[6] == mask[7]  # the parallel edges
            seen += mask
        # each edge is kept half the time: 150 ± 8.7
        assert ((seen - 150).abs() < 6 * math.sqrt(75)).all()

    def test_parallel_edges_of_a_directed_graph_have_their_own_draws(self, generator):
        edge_index = torch.zeros(2, 200, dtype=torch.int64)
        _, mask = functional.edge_dropout(edge_index, 0.5, training=True, generator=generator)
        assert 0 < mask.sum() < 200


class TestAgainstTorchGeometric:
    """With the same uniform draws the same edges are kept."""

    @pytest.fixture
    def utils(self, monkeypatch, generator):
        utils = pytest.importorskip("torch_geometric.utils", reason="torch_geometric is not installed")
        draws = torch.rand(10_000, generator=generator)
        monkeypatch.setattr(masks, "keep", lambda shape, p, **_: draws[: math.prod(shape)] >= p)
        monkeypatch.setattr(torch, "rand", lambda size, **_: draws[:size])
        return utils

    @pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
    def test_edges(self, utils, p):
        found = functional.edge_dropout(*graph(), p, training=True)
        assert all(map(torch.equal, found, utils.dropout_edge(*graph(), p)))

    @pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
    def test_nodes(self, utils, p):
        found = functional.node_dropout(*graph(), p, NODES, training=True)
        assert all(map(torch.equal, found, utils.dropout_node(*graph(), p, NODES)))

    def test_undirected_edges_where_each_is_stored_once_per_direction(self, utils, monkeypatch):
        """The graph on which both are right: their kept edges are those whose low-high column is kept."""
        low, high = torch.triu_indices(20, 20, 1)
        edge_index = torch.stack([torch.cat([low, high]), torch.cat([high, low])])
        theirs, _ = utils.dropout_edge(edge_index, 0.3, force_undirected=True)
        # Pairs in the order of the sorted columns: ours draws once for each, at the pair's first place.
        draws = torch.rand(2 * low.numel())
        monkeypatch.setattr(masks, "keep", lambda shape, p, **_: draws.repeat_interleave(2)[: math.prod(shape)] >= p)
        ours, _ = functional.edge_dropout(edge_index, 0.3, training=True, undirected=True)
        assert torch.equal(ours, theirs)

    def test_it_doubles_self_loops_and_loses_edges_stored_high_to_low(self, utils):
        """Why ours differs; should this fail, the document's remark is out of date."""
        edges, _ = utils.dropout_edge(torch.tensor([[0, 3], [0, 1]]), 1e-9, force_undirected=True)
        assert edges.tolist() == [[0, 0], [0, 0]]


class TestPaths:
    def test_walks_of_one_edge_are_edge_dropout(self, seed):
        (edge_index,) = graph()
        found, expected = (
            run(edge_index, 0.3, training=True, generator=torch.Generator().manual_seed(seed), **options)
            for run, options in ((functional.path_dropout, {"length": 1}), (functional.edge_dropout, {}))
        )
        assert all(map(torch.equal, found, expected))

    @pytest.mark.parametrize("length", [1, 2, 3, 10])
    def test_on_a_line_a_walk_takes_the_edges_that_follow(self, length, generator):
        """Edge e is dropped where a walk starts at e, or at one of the `length - 1` edges before it."""
        line = torch.stack([torch.arange(300), torch.arange(300) + 1])
        state = generator.get_state()
        starts = ~masks.keep((300,), 0.1, generator=generator)
        generator.set_state(state)
        _, mask = functional.path_dropout(line, 0.1, training=True, length=length, generator=generator)
        expected = torch.stack([torch.cat([starts.new_zeros(k), starts[: 300 - k]]) for k in range(length)]).any(0)
        assert torch.equal(mask, ~expected)

    def test_the_next_edge_is_drawn_evenly_from_those_that_leave(self, generator):
        """One edge into a hub, which five edges leave: with p so small that a walk from the first is told apart."""
        hub = torch.tensor([[0, 1, 1, 1, 1, 1], [1, 2, 3, 4, 5, 6]])
        counts = torch.zeros(5)
        for _ in range(4000):
            _, mask = functional.path_dropout(hub, 0.1, training=True, length=2, generator=generator)
            if not mask[0] and (~mask[1:]).sum() == 1:
                counts += (~mask[1:]).float()
        n = counts.sum().item()
        assert n > 100
        chi_square = ((counts - n / 5) ** 2 / (n / 5)).sum().item()
        assert chi_square < 46  # 4 degrees of freedom: exceeded with probability 2.5e-9

    def test_a_dead_end_stops_the_walk(self, seed):
        """No edge leaves an odd node: every walk ends after its first edge."""
        edge_index = torch.stack([2 * torch.randint(0, 50, (300,)), 2 * torch.randint(0, 50, (300,)) + 1])
        found, expected = (
            run(edge_index, 0.3, training=True, generator=torch.Generator().manual_seed(seed), **options)
            for run, options in ((functional.path_dropout, {"length": 5}), (functional.edge_dropout, {}))
        )
        assert all(map(torch.equal, found, expected))

    def test_the_order_of_the_columns_changes_nothing_where_pairs_draw(self, seed, generator):
        line = torch.stack([torch.arange(300), torch.arange(300) + 1])
        order = torch.randperm(300, generator=generator)
        mask, shuffled = (
            functional.path_dropout(
                edges, 0.1, training=True, undirected=True, generator=torch.Generator().manual_seed(seed)
            )[1]
            for edges in (line, line[:, order])
        )
        assert torch.equal(shuffled, mask[order])

    def test_an_undirected_walk_drops_both_directions(self, generator):
        line = torch.stack([torch.arange(300), torch.arange(300) + 1])
        edge_index = torch.cat([line, line.flip(0)], dim=1)
        _, mask = functional.path_dropout(edge_index, 0.1, training=True, undirected=True, generator=generator)
        there, back = mask.chunk(2)
        assert torch.equal(there, back)
        assert 0 < there.sum() < 270

    @pytest.mark.parametrize("length", [0, -1, 2.0, True])
    def test_a_bad_length_is_refused_in_the_constructor(self, length):
        with pytest.raises(ValueError, match="`length` must be a positive integer"):
            layers.PathDropout(0.2, length=length)


def test_an_edge_between_two_nodes_survives_with_q_squared(generator):
    edge_index = torch.arange(4000).reshape(2, -1)  # 2000 disjoint edges
    kept = torch.stack(
        [functional.node_dropout(edge_index, 0.3, 4000, training=True, generator=generator)[1] for _ in range(20)]
    ).double()
    assert abs(kept.mean() - 0.49) < 6 * math.sqrt(0.49 * 0.51 / kept.numel())


# importing inductor scripts functions of torch's own
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_inductor_keeps_what_the_mask_picks():
    torch._dynamo.reset()
    (edge_index,) = graph()
    edges, mask = torch.compile(layers.EdgeDropout(0.5, undirected=True))(edge_index)
    assert torch.equal(edges, edge_index[:, mask])
    assert 0 < mask.sum() < mask.numel()
