"""The training loop of a stack: every model trains on its own terms and leaves when it is done."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from dropscope.stack.checks import check_counts, check_descent, check_options, check_rows, epoch_length
from dropscope.stack.inference import Snapshot
from dropscope.stack.layout import Parameters, initial, pad_columns, stacked
from dropscope.stack.losses import BatchLoss
from dropscope.stack.network import Network
from dropscope.stack.noise import Batches, Noise
from dropscope.stack.optimizer import MOMENTUM, StackOptimizer
from dropscope.stack.record import Record, StopLoss
from dropscope.stack.shape import Fitted, Member, Shape, as_rates
from dropscope.stack.weighting import counting_rows, row_weights

__all__ = ["train"]


class Stack:
    """The models in training and all that moves with them, in the order of their (lr, weight decay).

    `models` holds each one's position in `members`, or None for a passenger: a model that only keeps the stack at
    two, trains along and is never recorded.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        members: Sequence[Member],
        shape: Shape,
        optimizer: str,
        batch_size: int,
        label_smoothing: float = 0.0,
        max_norm: float | None = None,
        **descent: Any,
    ) -> None:
        order = sorted(range(len(members)), key=lambda i: (members[i].lr, members[i].weight_decay))
        self.models: list[int | None] = [*order] if len(order) > 1 else [0, None]
        stack = [counting_rows(members[i]) for i in (order if len(order) > 1 else [0, 0])]
        generators = [Generator().manual_seed(member.seed) for member in stack]
        starts = [beginning(member, shape, generator) for member, generator in zip(stack, generators, strict=True)]
        parameters = stacked(starts, x.dtype, x.device)

        self.x = pad_columns(x)
        self.y = targets(y, x, shape)
        self.shape = shape
        batches = [Batches(member.fit, generator) for member, generator in zip(stack, generators, strict=True)]
        self.noise = Noise(stack, batches, shape, batch_size, x.dtype)
        rates = [(member.p_input, *as_rates(member.p_hidden, shape.depth)) for member in stack]
        first, *others = [
            x.new_tensor([1 / (1 - p) for p in place]).view(-1, 1, 1) for place in zip(*rates, strict=True)
        ]
        weights = row_weights(stack, [member.fit for member in stack], x)
        loss = BatchLoss(shape, weights, label_smoothing)
        self.network = Network(parameters, shape, loss, batch_size, first, others)
        settings = [(member.lr, member.weight_decay) for member in stack]
        self.optimizer = StackOptimizer(
            optimizer, parameters.tensors(), self.network.gradients.tensors(), settings, **descent
        )
        self.max_norm = max_norm
        self.stop_loss = StopLoss(stack, x)
        self.best = parameters.select(torch.arange(len(stack), device=x.device))

    def epoch(self, steps: int) -> tuple[list[float], list[float]]:
        """Train every model for so many steps; return the mean training losses and the stop losses."""
        total = torch.zeros(len(self.models), dtype=torch.float64, device=self.x.device)
        for _ in range(steps):
            total += self.network.step(self.x, self.y, self.noise.step(self.x.device))
            self.optimizer.step()
            if self.max_norm is not None:
                self.network.parameters.limit_(self.max_norm)
        stop = self.stop_loss(self.network.parameters, self.x, self.y, self.shape)
        return (total / steps).tolist(), stop.tolist()

    def keep_best(self, improved: Sequence[int]) -> None:
        """Remember the present weights of the models at these places."""
        places = torch.tensor(improved, dtype=torch.int64, device=self.x.device)
        for best, now in zip(self.best.tensors(), self.network.parameters.tensors(), strict=True):
            best.index_copy_(0, places, now.index_select(0, places))

    def go_on(self, staying: Collection[int], records: list[Record], keep: str) -> dict[int, Fitted]:
        """Go on with these members, if any, and return all others as they end."""
        places = {i: place for place, i in enumerate(self.models) if i is not None}
        ended = {
            i: records[i].fitted(self.kept(place, keep), self.shape.activation)
            for i, place in places.items() if i not in staying
        }  # fmt: skip
        if ended and staying:
            self.shrink([place for i, place in places.items() if i in staying])
        return ended

    def shrink(self, places: list[int]) -> None:
        """Go on with the models at these places; a last one takes a passenger along."""
        staying = set(places)
        if len(places) == 1:
            places = sorted([*places, 1 if places[0] == 0 else 0])
        self.models = [self.models[place] if place in staying else None for place in places]

        index = torch.tensor(places, device=self.x.device)
        self.noise.keep(places)
        self.network = self.network.select(index)
        self.optimizer = self.optimizer.select(
            self.network.parameters.tensors(), self.network.gradients.tensors(), index
        )
        self.stop_loss.select(index)
        self.best = self.best.select(index)

    def kept(self, place: int, keep: str) -> Parameters:
        """Copy the best or the last weights of the model at this place."""
        parameters = self.best if keep == "best" else self.network.parameters
        return parameters.single(place, self.shape.sizes)

    def snapshot(self) -> Snapshot:
        """What all models are now; training goes on in the same memory."""
        return Snapshot(self.network.parameters, self.models, self.shape)


def beginning(member: Member, shape: Shape, generator: Generator) -> Parameters:
    """What a model begins with; a start is drawn in any case, so that the batches to come are the same."""
    drawn = initial(shape, generator)
    if member.start is None:
        return drawn
    weights, biases = ([tensor.double() for tensor in part] for part in (member.start.weights, member.start.biases))
    return Parameters(weights, biases)


def targets(y: Tensor, x: Tensor, shape: Shape) -> Tensor:
    """Put labels, or targets padded like the outputs they are compared with, where the inputs are."""
    if shape.task == "classification":
        return y.to(x.device)
    return y.to(x) if shape.outputs == 1 else pad_columns(y.to(x))


@torch.no_grad()
def train(
    x: Tensor,
    y: Tensor,
    members: Sequence[Member],
    shape: Shape,
    *,
    epochs: int,
    optimizer: str = "adamw",
    batch_size: int = 100,
    steps_per_epoch: int | None = None,
    patience: int = 15,
    extend: bool = True,
    keep: Literal["best", "last"] = "best",
    label_smoothing: float = 0.0,
    momentum: float = MOMENTUM,
    nesterov: bool = False,
    max_norm: float | None = None,
    device: torch.device | str = "cpu",
    beaten: Callable[[int, list[list[float]]], Collection[int]] | None = None,
    probe: Callable[[int, Callable[..., Tensor], list[int]], Any] | None = None,
    probe_epochs: Sequence[int] = (),
    on_epoch: Callable[[int, int, float], Any] | None = None,
) -> list[Fitted]:
    """Train many models of one shape as one, each with its own rates, settings, rows and end.

    A model leaves after `patience` epochs without a lower stop loss, or when its `epochs` are over. Its batches come
    from an endless stream of permutations of its fit rows, all of them full. The numbers of a model do not depend on
    the other members, on their order or on the number of threads.

    Args:
        x: inputs (rows, encoded columns); their dtype is the dtype of everything.
        y: targets (rows, outputs), labels of 0 and 1 of that shape, or integer labels (rows,).
        members: the models; they may use different rows of `x`.
        shape: what they share.
        epochs: the budget of every model.
        optimizer: adamw, adam or sgd.
        batch_size: rows per step.
        steps_per_epoch: by default fit rows // batch size, if all members have equally many (those of weight 0
            included).
        patience: epochs without improvement after which a model leaves.
        extend: whether a model whose best epoch lies in the last 10 % of the budget goes on to twice the budget.
        keep: best keeps the weights of the epoch of lowest stop loss. last keeps those of the last epoch, even
            of a model that diverged, and never extends; with a patience of at least `epochs` the stop rows then have
            no influence on them.
        label_smoothing: the share of a label, in [0, 1), that all classes get alike in the training loss; the stop
            loss is not smoothed.
        momentum: of sgd, in [0, 1).
        nesterov: whether the momentum of sgd is Nesterov's.
        max_norm: after every step the incoming weights of each hidden unit are shrunk to a Euclidean norm of at most
            this, as `constraints.max_norm_` does; None leaves them alone.
        device: where to compute; random numbers are always drawn on the CPU.
        beaten: called as beaten(epoch, stop_curves) after every epoch with the stop losses of all members so far;
            those of the members whose positions it returns that are still in training leave with what they have.
        probe: called as probe(epoch, forward, indices) with the models still in training: forward(x) gives their
            outputs (models, rows, outputs) without dropout, indices their positions in `members`; forward(x, only)
            gives those of the positions in `only`, in the order of `indices`, and forward.copy() may be kept for later.
        probe_epochs: the epochs after which to call it.
        on_epoch: called as on_epoch(epoch, models, loss) after every epoch with the number of models that trained in
            it and the lowest stop loss so far.

    Returns:
        The trained models, in the order of `members`.

    Raises:
        ValueError: arguments that do not fit together; the message says which.
        TypeError: inputs that are neither float32 nor float64.

    Example:
        >>> x = torch.linspace(-1, 1, 200).view(-1, 1)
        >>> rows = torch.arange(200)
        >>> member = Member(0.0, 0.1, 0.01, 0.0, seed=0, mask_seed=1, fit=rows[::2], stop=rows[1::2])
        >>> shape = Shape(columns=(0,), outputs=1, width=16, depth=2, task="regression")
        >>> fitted, = train(x, x.square(), [member], shape, epochs=3, batch_size=50)
        >>> len(fitted.stop_curve) == fitted.epochs
        True
    """
    check_rows(x, y, members, shape)
    check_options(shape, optimizer, keep, label_smoothing)
    check_descent(optimizer, momentum, nesterov, max_norm)
    check_counts(epochs=epochs, batch_size=batch_size, patience=patience)
    steps = epoch_length(members, batch_size, steps_per_epoch)
    descent = {"momentum": momentum, "nesterov": nesterov} if optimizer == "sgd" else {}
    stack = Stack(x.to(device), y, members, shape, optimizer, batch_size, label_smoothing, max_norm, **descent)
    records = [Record() for _ in members]
    results: dict[int, Fitted] = {}

    epoch = 0
    while len(results) < len(members):
        epoch += 1
        losses = list(zip(stack.models, *stack.epoch(steps), strict=True))
        improved = [place for place, (i, fit, stop) in enumerate(losses) if i is not None and records[i].add(fit, stop)]
        stack.keep_best(improved)

        indices = [i for i in stack.models if i is not None]
        if probe is not None and epoch in probe_epochs:
            probe(epoch, stack.snapshot(), indices)
        leaving = () if beaten is None else beaten(epoch, [record.stop_curve for record in records])
        staying = {i for i in indices if records[i].goes_on(epochs, patience, extend and keep == "best", i in leaving)}
        results |= stack.go_on(staying, records, keep)
        if on_epoch is not None:
            on_epoch(epoch, len(indices), min(record.best_loss for record in records))
    return [results[i] for i in range(len(members))]
