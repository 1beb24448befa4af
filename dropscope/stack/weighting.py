"""Sample weights: rows that count for nothing are left out, the others are scaled to a mean of one."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from dropscope.stack.shape import Member

__all__ = ["counting_rows", "row_weights"]


def counting_rows(member: Member) -> Member:
    """The member on those of its rows alone that have a positive weight."""
    if member.weights is None:
        return member
    fit, stop = (rows[member.weights[rows] > 0] for rows in (member.fit, member.stop))
    return replace(member, fit=fit, stop=stop)


def row_weights(members: Sequence[Member], rows: Sequence[Tensor], x: Tensor) -> Tensor | None:
    """Look up what every row of the table counts for every model.

    Args:
        members: the models.
        rows: the indices over which each model's weights have a mean of one.
        x: the table.

    Returns:
        Weights (models, rows of the table), one for a model without weights; None if no model has any.
    """
    if all(member.weights is None for member in members):
        return None
    table = torch.ones(len(members), len(x), dtype=torch.float64)
    for line, member, own in zip(table, members, rows, strict=True):
        if member.weights is not None:
            line[own] = scaled(member.weights[own].double())
    return table.to(x)


def scaled(weights: Tensor) -> Tensor:
    """Divide weights by their mean; equal ones become exactly one."""
    shares = weights / weights.max()
    return shares / shares.mean()
