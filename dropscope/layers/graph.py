"""Layers that drop parts of a graph given as `edge_index`, as torch_geometric stores it; plain torch."""

from typing import Any

import torch
from torch import Tensor

from dropscope import functional
from dropscope.functional.graph import check_length
from dropscope.layers.base import DropoutLayer
from dropscope.layers.elementwise import Dropout
from dropscope.masks import refuse_seeds

__all__ = ["EdgeDropout", "FeatureDropout", "NodeDropout", "PathDropout"]


class EdgeDropout(DropoutLayer):
    """Drop edges of a graph in training; in eval `edge_index` itself is returned. Nothing is rescaled.

    Each edge is kept with probability `q = 1 - p`. The number of kept edges is random, so torch.compile breaks
    the graph here, unless `torch._dynamo.config.capture_dynamic_output_shape_ops` is set.

    Args:
        p: probability of dropping, in [0, 1].
        undirected: whether all edges between the same two nodes share one draw.
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `p` is not a number.
        ValueError: `p` is not in [0, 1].

    Example:
        >>> edge_index = torch.tensor([[0, 1, 2], [1, 2, 0]])
        >>> edges, mask = EdgeDropout(0.5).eval()(edge_index)
        >>> edges is edge_index, mask.tolist()
        (True, [True, True, True])

    Reference:
        Rong et al., 2020, "DropEdge", arXiv:1907.10903.
    """

    def __init__(self, p: float = 0.5, *, undirected: bool = False, generator: torch.Generator | None = None) -> None:
        super().__init__(p, generator=generator)
        self.undirected = undirected

    def forward(self, edge_index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the kept edges, and the mask that picks them."""
        return functional.edge_dropout(
            edge_index, self.rate, training=self.training, undirected=self.undirected, generator=self.source
        )

    def shown(self) -> dict[str, Any]:
        """Name the arguments that differ from their defaults."""
        return {"undirected": True} if self.undirected else {}


class NodeDropout(DropoutLayer):
    """Drop nodes of a graph with their edges in training; in eval `edge_index` itself is returned.

    An edge between two nodes survives with probability `q²`, `q = 1 - p`. Nothing is rescaled.

    Args:
        p: probability of dropping a node, in [0, 1].
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `p` is not a number.
        ValueError: `p` is not in [0, 1].

    Example:
        >>> edges, mask, nodes = NodeDropout(1.0)(torch.tensor([[0, 1], [1, 2]]), 4)
        >>> nodes.tolist()
        [False, False, False, False]

    Reference:
        You et al., 2020, "Graph contrastive learning with augmentations", arXiv:2010.13902.
    """

    def forward(self, edge_index: Tensor, num_nodes: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the kept edges, the mask that picks them, and the mask of the kept nodes."""
        return functional.node_dropout(edge_index, self.rate, num_nodes, training=self.training, generator=self.source)


class PathDropout(DropoutLayer):
    """Drop the edges that random walks run over in training; in eval `edge_index` itself is returned.

    With probability `p` an edge is the first of a walk of `length` edges, all of which are dropped. Nothing is
    rescaled.

    Args:
        p: probability that a walk starts with an edge, in [0, 1].
        length: number of edges in a walk.
        undirected: whether a walked edge drops all edges between its two nodes.
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `p` is not a number.
        ValueError: `p` is not in [0, 1], or `length` is not a positive integer.

    Example:
        >>> PathDropout(0.2, length=4)
        PathDropout(p=0.2, length=4)

    Reference:
        Li et al., 2023, "What's behind the mask: MaskGAE", arXiv:2205.10053.
    """

    def __init__(
        self,
        p: float = 0.2,
        *,
        length: int = 3,
        undirected: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(p, generator=generator)
        self.length = check_length(length)
        self.undirected = undirected

    def forward(self, edge_index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the kept edges, and the mask that picks them."""
        return functional.path_dropout(
            edge_index,
            self.rate,
            training=self.training,
            length=self.length,
            undirected=self.undirected,
            generator=self.source,
        )

    def shown(self) -> dict[str, Any]:
        """Name the arguments that differ from their defaults."""
        shown: dict[str, Any] = {} if self.length == 3 else {"length": self.length}
        return shown | ({"undirected": True} if self.undirected else {})


class FeatureDropout(Dropout):
    """Drop node features, each for all nodes at once, in training; the identity in eval.

    `x` is (nodes, features), `y = x · mask / q` with one draw per column: `Dropout` with the axes `per=(-1,)`.
    Other axes give torch_geometric's other modes: `per=(0,)` drops whole nodes' rows, `per=None` single elements.

    Args:
        p: probability of dropping, in [0, 1].
        per: axes that get their own draw, negative ones counted from the end; None: every element.
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `p` is not a number, or `per` not a tuple of integers.
        ValueError: `p` is not in [0, 1], or `per` names one axis twice.

    Example:
        >>> y = FeatureDropout(0.5)(torch.ones(6, 4))
        >>> torch.equal(y, y[:1].expand(6, 4))
        True

    Reference:
        You et al., 2020, "Graph contrastive learning with augmentations", arXiv:2010.13902.
    """

    def __init__(
        self, p: float = 0.5, *, per: tuple[int, ...] | None = (-1,), generator: torch.Generator | None = None
    ) -> None:
        super().__init__(p, per=per, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Drop features of `x` in training mode, else return `x` itself."""
        if self.training:
            refuse_seeds("FeatureDropout")  # the first axis holds nodes, not samples
        return super().forward(x)
