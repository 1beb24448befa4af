"""The losses of labels and quantiles and their gradients, against torch's own and against closed forms."""

import math

import pytest
import torch
from small_tables import shape
from torch.nn import functional

from dropscope.stack import Shape, train
from dropscope.stack.layout import pad_columns
from dropscope.stack.losses import BatchLoss, row_losses


def batch(form, generator, models=3, count=40):
    """Outputs and targets of some batches, padded as the stack pads them, with the rows of each batch."""
    z = torch.randn(models, count, form.outputs, dtype=torch.float64, generator=generator) * 20
    y = torch.randn(100, form.outputs, dtype=torch.float64, generator=generator)
    y = (y > 0).double() if form.task == "multilabel" else y
    rows = torch.randint(100, (models, count), generator=generator)
    return (z, y, rows) if form.outputs == 1 else (pad_columns(z), pad_columns(y), rows)


@pytest.mark.parametrize("outputs", [1, 3, 8, 13])
def test_labels_have_the_loss_of_torch_bitwise_and_its_gradient(outputs, generator):
    form = shape(outputs, task="multilabel")
    z, y, rows = batch(form, generator)
    losses, gradient = BatchLoss(form)(z, y, rows)

    own = z[..., :outputs].clone().requires_grad_()
    each = functional.binary_cross_entropy_with_logits(own, y[rows][..., :outputs], reduction="none")
    each.mean((1, 2)).sum().backward()
    single = shape(1, task="multilabel")
    alone = [row_losses(own[..., j : j + 1], y[rows][..., j : j + 1], single) for j in range(outputs)]
    assert torch.equal(torch.stack(alone, 2), each)
    torch.testing.assert_close(losses, each.mean((1, 2)), rtol=1e-15, atol=0)
    torch.testing.assert_close(gradient[..., :outputs], own.grad, rtol=0, atol=1e-17)
    assert not gradient[..., outputs:].any()


def test_logits_of_any_size_have_a_finite_loss_and_slope():
    form = shape(1, task="multilabel")
    z = torch.tensor([-1e4, -100.0, 0.0, 100.0, 1e4]).view(1, 5, 1)
    for label in (0.0, 1.0):
        losses, gradient = BatchLoss(form)(z, torch.full((5, 1), label), torch.arange(5).view(1, 5))
        assert losses.isfinite().all()
        assert gradient[0, 2] == (0.5 - label) / 5
        assert gradient[0, :, 0].tolist() == sorted(gradient[0, :, 0].tolist())


@pytest.mark.parametrize("outputs", [1, 3, 8])
@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_the_pinball_loss_has_the_gradient_of_autograd(quantile, outputs, generator):
    form = shape(outputs, task="quantile", quantile=quantile)
    z, y, rows = batch(form, generator)
    losses, gradient = BatchLoss(form)(z, y, rows)

    own = z[..., :outputs].clone().requires_grad_()
    errors = y[rows][..., :outputs] - own
    expected = torch.where(errors > 0, quantile * errors, (quantile - 1) * errors).mean((1, 2))
    expected.sum().backward()
    torch.testing.assert_close(losses, expected.detach(), rtol=1e-14, atol=0)
    torch.testing.assert_close(gradient[..., :outputs], own.grad, rtol=1e-14, atol=0)
    assert not gradient[..., outputs:].any()


def test_an_output_that_hits_its_target_has_neither_loss_nor_slope(generator):
    form = shape(3, task="quantile")
    y = pad_columns(torch.randn(5, 3, generator=generator))
    losses, gradient = BatchLoss(form)(y.unsqueeze(0), y, torch.arange(5).view(1, 5))
    assert not losses.any()
    assert not gradient.any()


def test_the_pinball_loss_of_a_half_is_half_the_absolute_error(generator):
    z, y = torch.randn(2, 1, 50, 1, dtype=torch.float64, generator=generator)
    losses = row_losses(z, y, shape(1, task="quantile", quantile=0.5))
    assert torch.equal(losses, (z - y).abs()[..., 0] / 2)


def test_a_network_that_sees_nothing_predicts_the_quantile(make_member, generator):
    """The only input is always 0: what is learned is a number, the quantile of the targets."""
    form = Shape((0,), 1, 2, 1, "regression", quantile=0.75)
    x, y = torch.zeros(200, 1), torch.arange(200.0).view(-1, 1) / 200
    every = torch.arange(200)
    member = make_member(fit=every, stop=every, lr=1e-3)
    fitted = train(x, y, [member], form, epochs=400, batch_size=100, patience=400, optimizer="adam")[0]
    assert fitted.biases[-1].item() == pytest.approx(0.75, abs=0.02)
    assert min(fitted.stop_curve) == pytest.approx(0.75 * 0.25 / 2, rel=0.01)  # of the uniform law


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quantile": 0.0}, r"`quantile` must be in \(0, 1\), got 0.0"),
        ({"quantile": 1.0}, r"`quantile` must be in \(0, 1\), got 1.0"),
        ({"quantile": math.nan}, r"`quantile` must be in \(0, 1\), got nan"),
        ({"quantile": 0.5, "task": "multilabel"}, "`quantile` is predicted in regression alone"),
        ({"outputs": 0, "task": "multilabel"}, "`outputs` must be at least 1"),
    ],
)
def test_shapes_that_make_no_sense_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Shape(**{"columns": (0,), "outputs": 1, "width": 2, "depth": 1, "task": "regression", **change})


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (torch.full((200, 2), 0.5), "labels of 0 and 1"),
        (torch.zeros(200, 2, dtype=torch.int64), r"float of shape \(200, 2\) for multilabel"),
        (torch.zeros(200), r"float of shape \(200, 2\) for multilabel"),
    ],
)
def test_labels_that_are_none_are_refused(y, message, make_member):
    form = shape(2, task="multilabel")
    with pytest.raises(ValueError, match=message):
        train(torch.zeros(200, 5), y, [make_member()], form, epochs=1)
