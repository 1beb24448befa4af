"""Sample weights: rows that count for nothing are left out, the others are scaled to a mean of one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dropscope.stack.shape import Member

__all__ = ["RowWeights", "counting_rows", "row_weights"]


@dataclass(frozen=True, eq=False)
class RowWeights:
    """What every row of a table counts for every model: models of the same rows and weights share a line.

    `lines` has shape (lines, rows of the table), `line` (models,).
    """

    lines: Tensor
    line: Tensor

    def select(self, models: Tensor) -> "RowWeights":
        """Go on with some of the models."""
        return RowWeights(self.lines, self.line.index_select(0, models))

    def at(self, rows: Tensor) -> Tensor:
        """Look up what these rows (models, rows) count."""
        return self.lines[self.line.unsqueeze(1), rows]


def counting_rows(member: Member) -> Member:
    """The member on those of its rows alone that have a positive weight."""
    if member.weights is None or bool((member.weights > 0).all()):
        return member
    fit, stop = (rows[member.weights[rows] > 0] for rows in (member.fit, member.stop))
    return replace(member, fit=fit, stop=stop)


def row_weights(members: Sequence[Member], rows: Sequence[Tensor], x: Tensor) -> RowWeights | None:
    """Find what every row of the table counts for every model.

    Args:
        members: the models.
        rows: the indices over which each model's weights have a mean of one.
        x: the table.

    Returns:
        The weights, one for a model without weights; None if no model has any.
    """
    if all(member.weights is None for member in members):
        return None
    keys = [None if one.weights is None else (id(one.weights), id(own)) for one, own in zip(members, rows, strict=True)]
    known = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    lines = torch.ones(len(known), len(x), dtype=torch.float64)
    for key, member, own in zip(keys, members, rows, strict=True):
        if member.weights is not None:
            lines[known[key], own] = scaled(member.weights[own].double())
    return RowWeights(lines.to(x), torch.tensor([known[key] for key in keys], device=x.device))


def scaled(weights: Tensor) -> Tensor:
    """Divide weights by their mean; equal ones become exactly one."""
    shares = weights / weights.max()
    return shares / shares.mean()
