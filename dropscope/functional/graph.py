"""Drop edges, nodes or walked paths of a graph given as `edge_index`: what is left is not rescaled."""

import torch
from torch import Tensor

from dropscope import masks
from dropscope.functional.arguments import check_rate

__all__ = ["edge_dropout", "node_dropout", "path_dropout"]


def edge_dropout(
    edge_index: Tensor,
    p: float | Tensor,
    *,
    training: bool,
    undirected: bool = False,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Drop each edge of a graph with probability `p`.

    What is left is not rescaled, neither the edges' weights nor the nodes' degrees.

    Args:
        edge_index: integers of shape (2, edges): sources in the first row, targets in the second.
        p: probability of dropping, in [0, 1].
        training: whether to drop; if not, `edge_index` itself is returned.
        undirected: whether all edges between the same two nodes share one draw: both directions, and parallel
            edges. If not, every column has its own. Order and number of the columns are free: a direction that
            is not stored is not added, and a self-loop stays single.
        generator: source of randomness; None: torch's own stream.

    Returns:
        The edges that are kept, in their order, and the boolean mask of shape (edges,) that picks them: also from
        attributes, as in `edge_attr[mask]`.

    Raises:
        TypeError: `edge_index` does not hold integers, or `p` is not a number.
        ValueError: `edge_index` is not of shape (2, edges), or `p` is not in [0, 1].

    Example:
        >>> triangle = torch.tensor([[0, 1, 1, 2, 2, 0], [1, 0, 2, 1, 0, 2]])
        >>> _, mask = edge_dropout(triangle, 0.5, training=True, undirected=True)
        >>> torch.equal(mask[0::2], mask[1::2])
        True

    Reference:
        Rong et al., 2020, "DropEdge", arXiv:1907.10903 (which normalises the degrees of the kept edges afterwards).
    """
    check_edges(edge_index)
    p = check_rate(p)
    if not training:
        return edge_index, _all_true(edge_index, edge_index.shape[1])

    masks.refuse_seeds("edge_dropout")
    kept = masks.keep(edge_index.shape[1:], p, device=edge_index.device, generator=generator)
    mask = kept[_draw_of_each_edge(edge_index, undirected)]
    return edge_index[:, mask], mask


def node_dropout(
    edge_index: Tensor,
    p: float | Tensor,
    num_nodes: int,
    *,
    training: bool,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Drop each node of a graph with probability `p`, together with its edges.

    An edge between two nodes survives with probability `q²`, a self-loop with `q = 1 - p`. The nodes keep their
    numbers; nothing is rescaled.

    Args:
        edge_index: integers of shape (2, edges), below `num_nodes`.
        p: probability of dropping a node, in [0, 1].
        num_nodes: number of nodes, isolated ones included.
        training: whether to drop; if not, `edge_index` itself is returned.
        generator: source of randomness; None: torch's own stream.

    Returns:
        The edges that are kept, the boolean mask of shape (edges,) that picks them, and the mask of shape
        (num_nodes,) of the nodes that are kept.

    Raises:
        TypeError: `edge_index` does not hold integers, or `p` is not a number.
        ValueError: `edge_index` is not of shape (2, edges), `p` is not in [0, 1], or in training an edge has a node
            that is not in [0, num_nodes).

    Example:
        >>> path = torch.tensor([[0, 1], [1, 2]])
        >>> edges, mask, nodes = node_dropout(path, 0.5, 3, training=True)
        >>> torch.equal(mask, nodes[:-1] & nodes[1:])
        True

    Reference:
        You et al., 2020, "Graph contrastive learning with augmentations", arXiv:2010.13902.
    """
    check_edges(edge_index)
    p = check_rate(p)
    if not training:
        return edge_index, _all_true(edge_index, edge_index.shape[1]), _all_true(edge_index, num_nodes)

    masks.refuse_seeds("node_dropout")
    _check_nodes(edge_index, num_nodes)
    nodes = masks.keep((num_nodes,), p, device=edge_index.device, generator=generator)
    mask = nodes[edge_index].all(0)
    return edge_index[:, mask], mask, nodes


def path_dropout(
    edge_index: Tensor,
    p: float | Tensor,
    *,
    training: bool,
    length: int = 3,
    undirected: bool = False,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Drop the edges that random walks run over: connected stretches instead of single edges.

    With probability `p` an edge is the first of a walk, which goes on along an edge drawn evenly from those that
    leave the node it has reached, until it has `length` edges or no edge leaves. So more than a fraction `p` of the
    edges is dropped, all of them at `p = 1`, and at `length=1` this is `edge_dropout`. Nothing is rescaled.

    Args:
        edge_index: integers of shape (2, edges): sources in the first row, targets in the second.
        p: probability that a walk starts with an edge, in [0, 1].
        training: whether to drop; if not, `edge_index` itself is returned.
        length: number of edges in a walk.
        undirected: whether a walked edge drops all edges between its two nodes: both directions, and parallel
            edges. They also share the draw of whether a walk starts.
        generator: source of randomness; None: torch's own stream.

    Returns:
        The edges that are kept, in their order, and the boolean mask of shape (edges,) that picks them.

    Raises:
        TypeError: `edge_index` does not hold integers, or `p` is not a number.
        ValueError: `edge_index` is not of shape (2, edges), `p` not in [0, 1] or `length` not positive.

    Example:
        >>> ring = torch.stack([torch.arange(9), (torch.arange(9) + 1) % 9])
        >>> path_dropout(ring, 1.0, training=True)[0].shape
        torch.Size([2, 0])

    Reference:
        Li et al., 2023, "What's behind the mask: MaskGAE", arXiv:2205.10053 (whose walks start at nodes).
    """
    check_edges(edge_index)
    p, length = check_rate(p), check_length(length)
    if not training:
        return edge_index, _all_true(edge_index, edge_index.shape[1])

    masks.refuse_seeds("path_dropout")
    draw_of = _draw_of_each_edge(edge_index, undirected)
    kept = masks.keep(edge_index.shape[1:], p, device=edge_index.device, generator=generator)
    start = kept[draw_of].logical_not().nonzero().squeeze(1)  # the edges that the walks start with
    edge = start  # and those that they have reached
    source, order = edge_index[0].sort()
    for _ in range(length - 1):
        # A draw for each walk there could be: no draw depends on how many there are.
        share = masks.uniform(edge_index.shape[1:], device=edge_index.device, generator=generator)[start]
        goes_on, edge = _next_edges(source, order, edge_index[1, edge], share)
        start = start[goes_on]
        kept[draw_of[edge]] = False
    mask = kept[draw_of]
    return edge_index[:, mask], mask


def check_edges(edge_index: Tensor) -> None:
    """Refuse what is not a list of edges."""
    if edge_index.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"`edge_index` must hold int64 or int32 node numbers, got {edge_index.dtype}.")
    if edge_index.dim() != 2 or edge_index.shape[0] != 2:
        raise ValueError(
            f"`edge_index` must be of shape (2, edges), got {tuple(edge_index.shape)}: "
            "sources in the first row, targets in the second."
        )


def _check_nodes(edge_index: Tensor, num_nodes: int) -> None:
    """Refuse edges between other nodes, where the numbers can be known now."""
    if masks.is_traced(edge_index) or edge_index.numel() == 0:
        return
    low, high = edge_index.aminmax()
    if low < 0 or high >= num_nodes:
        raise ValueError(
            f"`edge_index` must hold nodes in [0, {num_nodes}), got {low} to {high}: `num_nodes` counts all nodes."
        )


def check_length(length: int) -> int:
    """Refuse a number of edges that makes no walk."""
    if type(length) is not int or length < 1:
        raise ValueError(f"`length` must be a positive integer, got {length!r}.")
    return length


def _draw_of_each_edge(edge_index: Tensor, undirected: bool) -> Tensor:
    """Say which of as many draws as edges each edge uses: its own, or that of its pair of nodes."""
    edges = edge_index.shape[1]
    if not undirected or edges == 0:
        return torch.arange(edges, device=edge_index.device)
    low, high = edge_index.long().aminmax(dim=0)
    pair = low * (high.max() + 1) + high
    return torch.searchsorted(pair.sort().values, pair)  # where the pair stands first among the sorted ones


def _next_edges(source: Tensor, order: Tensor, node: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Find which nodes an edge leaves, and the edge of each that lies at `share` of the way through its edges.

    The sources of all edges are given sorted, with the order that sorts them.
    """
    first = torch.searchsorted(source, node)
    degree = torch.searchsorted(source, node, right=True) - first
    step = torch.minimum((share * degree).long(), degree - 1)  # a large product may round up to the degree
    goes_on = degree > 0
    return goes_on, order[(first + step)[goes_on]]


def _all_true(edge_index: Tensor, size: int) -> Tensor:
    return edge_index.new_ones(size, dtype=torch.bool)
