"""Drawing while gradients are computed: checkpointing runs a layer twice, and the mask must be the same both times."""

from contextvars import ContextVar

import torch

__all__ = ["refuse_in_backward", "replaying"]

replaying: ContextVar[bool] = ContextVar("replaying", default=False)


def refuse_in_backward() -> None:
    """Refuse to draw, in a backward pass, from what torch does not rewind, where nothing else has rewound it.

    Raises:
        RuntimeError: it would give the gradient of another mask.
    """
    if torch._C._current_graph_task_id() != -1 and not replaying.get():
        raise RuntimeError(
            "a checkpointed layer with its own generator or seeds was about to draw another mask for its gradient: "
            "pass context_fn=masks.rewinding(generator) to torch.utils.checkpoint.checkpoint(..., "
            "use_reentrant=False) outside of compiled code, or leave the generator out."
        )
