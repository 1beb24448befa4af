"""torch's own optimizers on a stack, with a learning rate and weight decay per model.

torch.optim takes one number per parameter group. Models are ordered by (lr, weight decay); each run of equal settings
is a group of views into the stacked tensors, so that the fused kernels see few, large, contiguous pieces.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

__all__ = ["MOMENTUM", "OPTIMIZERS", "StackOptimizer"]

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
MOMENTUM = 0.9  # of sgd, unless another is asked for


class StackOptimizer:
    """One torch optimizer for a whole stack.

    Args:
        name: adam, adamw or sgd.
        tensors: the stacked parameters, models first.
        gradients: tensors of the same shapes, which the caller fills before every step.
        settings: (lr, weight decay) of every model, sorted.
        options: what the optimizer takes beside them, such as momentum.
    """

    def __init__(
        self,
        name: str,
        tensors: list[Tensor],
        gradients: list[Tensor],
        settings: Sequence[tuple[float, float]],
        **options: Any,
    ) -> None:
        self.name = name
        self.settings = list(settings)
        self.options = options
        groups, start = [], 0
        for (lr, weight_decay), models in groupby(self.settings):
            run = slice(start, start + len(list(models)))
            views = [torch.nn.Parameter(tensor[run]) for tensor in tensors]
            for view, gradient in zip(views, gradients, strict=True):
                view.grad = gradient[run]
            groups.append({"params": views, "lr": lr, "weight_decay": weight_decay})
            start = run.stop

        self.optimizer = OPTIMIZERS[name](groups, fused=True, **options)
        self.step = self.optimizer.step

    def select(self, tensors: list[Tensor], gradients: list[Tensor], models: Tensor) -> "StackOptimizer":
        """Continue with some of the models: their parameters, already selected, and their share of the state."""
        settings = [self.settings[model] for model in models.tolist()]
        selected = StackOptimizer(self.name, tensors, gradients, settings, **self.options)
        for position in range(len(tensors)):
            state = self._state(position)
            start = 0
            for group in selected.optimizer.param_groups:
                view = group["params"][position]
                run = models[start : start + len(view)]
                selected.optimizer.state[view] = {
                    key: value.index_select(0, run) if value.dim() else value.clone() for key, value in state.items()
                }
                start += len(view)
        return selected

    def _state(self, position: int) -> dict[str, Tensor]:
        """The state of one stacked tensor, put together over the groups; step counts are equal in all of them."""
        parts = [self.optimizer.state[group["params"][position]] for group in self.optimizer.param_groups]
        return {
            key: torch.cat([part[key] for part in parts]) if value.dim() else value for key, value in parts[0].items()
        }
