"""Small shapes and tables for the tests of the stack, and when two trained models are the same."""

import torch

from dropscope.stack import Shape


def shape(outputs=1, width=16, depth=2, columns=(0, 1, 2, 3, 4), task=None, **options):
    """A shape whose task follows from its outputs, unless it is given; quantile is the regression of one.

    At a quantile of .9 the slopes of two rows below and eighteen above cancel exactly; what rounding leaves of them is
    divided by Adam's epsilon and fed back by its weight decay. At .87 no batch of less than 100 rows cancels.
    """
    if task == "quantile":
        task, options = "regression", {"quantile": 0.87, **options}
    return Shape(
        columns, outputs, width, depth, task or ("regression" if outputs == 1 else "classification"), **options
    )


def table(shape, generator, dtype=torch.float64):
    """A table of 200 rows with something to learn."""
    x = torch.randn(200, len(shape.columns), dtype=dtype, generator=generator)
    signal = x[:, :1] * x[:, 1:2] + x[:, 2:3]
    if shape.task != "classification":
        y = signal + 0.3 * torch.randn(200, shape.outputs, dtype=dtype, generator=generator)
        return x, (y > 0).to(dtype) if shape.task == "multilabel" else y
    return x, (signal[:, 0] * 2).round().long().remainder(shape.outputs)


def same(first, second):
    """Whether two trained models agree in every bit and every record."""
    records = ("best_epoch", "epochs", "extended", "activation", "fit_curve", "stop_curve", "diverged")
    tensors = zip([*first.weights, *first.biases], [*second.weights, *second.biases], strict=True)
    return all(torch.equal(a, b) for a, b in tensors) and all(
        getattr(first, name) == getattr(second, name) for name in records
    )
