"""Many small networks of one shape, trained as one: a leading `models` axis, and everything else per model.

Rates, learning rates, weight decay, rows, sample weights, starts, batches, masks and the end of training belong to each
model. A model's numbers are the same bit for bit whichever models it is trained with.
"""

from dropscope.stack.inference import forward, to_sequential
from dropscope.stack.memory import memory_per_model
from dropscope.stack.shape import Fitted, Member, Shape
from dropscope.stack.training import train

__all__ = ["Fitted", "Member", "Shape", "forward", "memory_per_model", "to_sequential", "train"]
