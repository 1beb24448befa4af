"""Temperature scaling: where its likelihood is highest, how well it is known, and its use in a prediction."""

import math

import pytest
import torch
from torch import nn
from zoo import FLAT

from dropscope import ensemble
from dropscope.ensemble.calibration import fit_temperature


def drawn(n, temperature, generator, passes=None, spread=3.0):
    """Logits, and labels drawn from their probabilities at a temperature."""
    logits = spread * torch.randn(n, 4, generator=generator, dtype=torch.float64)
    if passes:
        logits = logits + 2 * torch.randn(passes, n, 4, generator=generator, dtype=torch.float64)
    p = (logits / temperature).softmax(-1)
    return logits, torch.multinomial(p.mean(0) if passes else p, 1, generator=generator).squeeze(1)


def loss(logits, labels, temperature):
    p = (logits / temperature).softmax(-1)
    p = p.mean(0) if p.dim() == 3 else p
    return -p.gather(1, labels.unsqueeze(1)).log().mean()


class TestFit:
    @pytest.mark.parametrize("passes", [None, 5])
    def test_the_slope_of_the_loss_is_zero(self, passes, generator):
        logits, labels = drawn(400, 1.7, generator, passes)
        found = fit_temperature(logits, labels)
        t = torch.tensor(found.value, dtype=torch.float64, requires_grad=True)
        value = loss(logits, labels, t)
        assert torch.autograd.grad(value, t)[0].abs() < 1e-6
        assert found.nll == pytest.approx(value.item())
        assert found.nll_before == pytest.approx(loss(logits, labels, 1.0).item())
        assert found.nll <= min(loss(logits, labels, found.value * factor).item() for factor in (0.3, 0.9, 1.1, 3))

    def test_a_single_logit_has_a_closed_form(self):
        logits = torch.full((10,), 2.0)
        found = fit_temperature(logits, [1] * 7 + [0] * 3)
        assert found.value == pytest.approx(2 / math.log(7 / 3), rel=1e-6)
        assert found(logits).tolist() == pytest.approx([0.7] * 10)
        assert found.link == "sigmoid"

    def test_a_single_logit_is_a_pair_with_zero(self, generator):
        z = 2 * torch.randn(200, 1, generator=generator) + 0.3 * torch.randn(3, 200, 1, generator=generator)
        labels = torch.bernoulli(z.sigmoid().mean(0), generator=generator)
        one, two = fit_temperature(z, labels), fit_temperature(torch.cat([0 * z, z], -1), labels)
        assert one.value == pytest.approx(two.value)

    def test_equal_passes_are_one(self, generator):
        logits, labels = drawn(100, 2.0, generator)
        assert fit_temperature(logits.expand(3, -1, -1), labels).value == pytest.approx(
            fit_temperature(logits, labels).value, rel=1e-6
        )

    def test_classes_may_be_on_any_axis(self, generator):
        logits, labels = drawn(60, 2.0, generator)
        maps, marks = logits.reshape(10, 6, 4).movedim(-1, 1), labels.reshape(10, 6)
        found = fit_temperature(maps, marks, class_axis=1)
        assert found.value == pytest.approx(fit_temperature(logits, labels).value)
        torch.testing.assert_close(found(maps).sum(1), torch.ones(10, 6, dtype=torch.float64))

    def test_the_axis_of_the_classes_is_that_of_the_output_of_one_pass(self, generator):
        logits, labels = drawn(60, 1.0, generator, passes=3)
        maps, marks = logits.reshape(3, 10, 6, 4).movedim(-1, 2), labels.reshape(10, 6)
        assert fit_temperature(maps, marks, class_axis=1).value == fit_temperature(logits, labels).value
        single, mean = logits[:, :, 0].reshape(3, 10, 1, 6), logits[:, :, 0].mean(0)
        signs = (mean > 0).long()
        signs[mean.abs().argmax()] = (mean[mean.abs().argmax()] < 0).long()  # else no temperature would be too low
        one = fit_temperature(single, signs.reshape(10, 6), class_axis=1)
        assert one.value == fit_temperature(single.reshape(3, 60, 1), signs).value

    @pytest.mark.parametrize("axis", [2, 7, -3])
    def test_an_axis_that_is_none_is_refused(self, axis, generator):
        logits, labels = drawn(60, 2.0, generator)
        with pytest.raises(ValueError, match=r"`class_axis` must be an axis of outputs of shape \(60, 4\), got"):
            fit_temperature(logits, labels, class_axis=axis)
        with pytest.raises(ValueError, match=r"`class_axis` must be an axis of outputs of shape \(60, 1\), got"):
            fit_temperature(logits[:, 0], labels.clamp(max=1), class_axis=axis)

    @pytest.mark.parametrize("passes", [None, 4])
    def test_the_true_temperature_is_found_within_its_error(self, passes, generator):
        found = [fit_temperature(*drawn(300, 2.5, generator, passes)) for _ in range(60)]
        values = torch.tensor([one.value for one in found])
        claimed = torch.tensor([one.error for one in found]).square().mean().sqrt()
        assert 0.6 < claimed / values.std() < 1.6  # the scatter is known to 1 / √(2 · 59) = 9 %
        # The mean of a likeliest value is off by a term of order 1 / rows.
        assert abs(values.mean() - 2.5) < 5 * values.std() / math.sqrt(60) + claimed**2


class TestRowsThatDoNotTell:
    def test_of_rows_that_are_all_right_the_temperature_stops_at_its_bound(self):
        logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 1.0]])
        with pytest.warns(UserWarning, match="all are right"):
            found = fit_temperature(logits, [0, 1])
        assert found.at_bound
        assert found.value == pytest.approx(found.bounds[0])
        assert "stopped at its bound" in str(found)
        assert found(logits).isfinite().all()

    def test_of_rows_that_are_all_wrong_too(self):
        with pytest.warns(UserWarning, match="no more than chance"):
            found = fit_temperature(torch.tensor([[2.0, 0.0], [2.0, 0.0]]), [1, 1])
        assert found.value == pytest.approx(found.bounds[1])

    def test_others_warn_of_nothing(self, generator):
        assert not fit_temperature(*drawn(100, 1.0, generator)).at_bound


class TestInAPrediction:
    @pytest.mark.parametrize("outputs", [3, 1])
    def test_transforms_each_pass_and_gives_probabilities(self, outputs):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, outputs))
        held_out = ensemble.predict(model, FLAT, 30, keep_samples=True, masks="fixed")
        labels = held_out.mean.argmax(1) if outputs > 1 else (held_out.mean > 0).long().squeeze(1)
        labels[0] = 1 - labels[0].clamp(max=1)  # with all right, no temperature would be too low
        temperature = fit_temperature(held_out, labels)
        found = ensemble.predict(model, FLAT, 30, transform=temperature, masks="fixed")

        torch.testing.assert_close(found.mean, temperature(held_out.samples).mean(0), rtol=1e-4, atol=1e-6)
        both = torch.cat([1 - found.mean, found.mean], 1) if outputs == 1 else found.mean
        torch.testing.assert_close(found.entropy().flatten(), torch.special.entr(both).sum(-1), rtol=1e-4, atol=1e-5)
        assert ensemble.calibration.reliability(found, labels).nll == pytest.approx(temperature.nll, rel=1e-4)

    def test_needs_samples_of_logits(self):
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3))
        with pytest.raises(ValueError, match="keep_samples=True"):
            fit_temperature(ensemble.predict(model, FLAT), [0] * 5)
        with pytest.raises(ValueError, match="without `transform`"):
            fit_temperature(ensemble.predict(model, FLAT, transform="softmax", keep_samples=True), [0] * 5)


@pytest.mark.parametrize("shape", [(6, 3), (4, 6, 3), (4, 5), (5, 4, 3)])
def test_shapes_that_do_not_fit_are_named(shape):
    with pytest.raises(ValueError, match=r"for labels of shape \(5,\)"):
        fit_temperature(torch.zeros(shape), [0] * 5)


@pytest.mark.parametrize("logits", [torch.zeros(3, 2), torch.full((2, 3, 4), 7.0), torch.zeros(3, 1)])
def test_of_equal_logits_no_temperature_is_likeliest(logits):
    with pytest.raises(ValueError, match="must differ between the classes"):
        fit_temperature(logits, [0, 1, 0])


def test_probabilities_are_not_taken_for_logits():
    with pytest.raises(ValueError, match="got probabilities: take what the model gives before the softmax"):
        fit_temperature(torch.randn(6, 3).softmax(-1), [0, 1, 2] * 2)


def test_logits_must_be_finite():
    with pytest.raises(ValueError, match="at least one row"):
        fit_temperature(torch.zeros(0, 2), [])
    with pytest.raises(ValueError, match="finite"):
        fit_temperature(torch.tensor([[math.nan, 0.0]]), [0])
