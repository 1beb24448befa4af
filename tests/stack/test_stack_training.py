"""When models leave, what they take along, and what is refused before anything starts."""

import math

import pytest
import torch
from small_tables import same, shape, table
from torch.nn import functional

from dropscope.stack import Shape, forward, memory_per_model, to_sequential, train
from dropscope.stack.layout import initial
from dropscope.stack.record import TILE, Record

OPTIONS = {"batch_size": 20, "steps_per_epoch": 4}


def history(stop_losses, epochs, patience, extend=True):
    """Feed a record with stop losses until it ends; how many epochs it took and the record."""
    record = Record()
    for epoch, loss in enumerate(stop_losses, 1):
        record.add(0.0, loss)
        if not record.goes_on(epochs, patience, extend):
            return epoch, record
    raise AssertionError("the record never ended")


def test_patience_counts_epochs_without_a_lower_loss():
    epochs, record = history([5, 4, 3, 3, 3.5, 2.9, 3, 3, 3, 3, 3], epochs=100, patience=3)
    assert (epochs, record.best_epoch, record.best_loss) == (9, 6, 2.9)


def test_the_earliest_of_equal_losses_is_the_best():
    assert history([3, 2, 2, 2, 2], epochs=4, patience=10)[1].best_epoch == 2


@pytest.mark.parametrize(
    ("best", "extend", "run", "extended"),
    [(20, True, 40, True), (19, True, 40, True), (18, True, 20, False), (20, False, 20, False)],
)
def test_a_best_epoch_in_the_last_tenth_doubles_the_budget_once(best, extend, run, extended):
    losses = [100 - epoch if epoch <= best or epoch > 20 else 100 for epoch in range(1, 100)]
    epochs, record = history(losses, epochs=20, patience=50, extend=extend)
    assert (epochs, record.extended) == (run, extended)


def test_patience_also_ends_an_extension():
    epochs, record = history([*range(100, 90, -1), *[99] * 50], epochs=10, patience=4)
    assert (epochs, record.best_epoch, record.extended) == (14, 10, True)


@pytest.mark.parametrize(("fit", "stop"), [(math.nan, 1.0), (1.0, math.inf)])
def test_a_loss_that_is_not_finite_ends_training_with_the_best_so_far(fit, stop):
    record = Record()
    assert record.add(2.0, 2.0)
    assert not record.add(fit, stop)
    assert record.diverged
    assert record.best_epoch == 1
    assert not record.goes_on(10, 5, True)


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_weights_are_those_of_the_lowest_stop_loss(outputs, make_member, generator):
    form = shape(outputs)
    x, y = table(form, generator)
    settings = [(0.0, 0.03, 100), (0.3, 0.01, 109), (0.1, 0.03, 118)]
    members = [make_member(p_hidden=p, lr=lr, stop=torch.arange(count)) for p, lr, count in settings]
    loss_of = functional.mse_loss if outputs == 1 else functional.cross_entropy
    for member, model in zip(members, train(x, y, members, form, epochs=25, patience=4, **OPTIONS), strict=True):
        assert model.best_epoch == 1 + min(range(model.epochs), key=model.stop_curve.__getitem__)
        assert len(model.fit_curve) == len(model.stop_curve) == model.epochs
        loss = loss_of(forward([model], x[member.stop])[0], y[member.stop]).item()
        assert loss == pytest.approx(model.stop_curve[model.best_epoch - 1], abs=1e-12)


def test_stop_losses_use_exactly_the_rows_of_the_member(make_member, generator):
    form = shape()
    x, y = table(form, generator)
    stops = [torch.arange(count) for count in (1, TILE - 1, TILE, TILE + 1, 200)]
    members = [make_member(stop=stop) for stop in stops]
    fitted = train(x, y, members, form, epochs=1, extend=False, **OPTIONS)
    for model, stop in zip(fitted, stops, strict=True):
        loss = functional.mse_loss(forward([model], x[stop])[0], y[stop]).item()
        assert model.stop_curve == pytest.approx([loss], abs=1e-12)


def test_a_diverging_model_is_marked_and_poisons_nobody(make_member, generator):
    form = shape()
    x, y = table(form, generator, torch.float32)
    fine = [make_member(lr=1e-4, p_hidden=0.2), make_member(lr=2e-4)]
    wild = make_member(lr=1e10)
    options = {"epochs": 8, "optimizer": "sgd", **OPTIONS}
    first, broken, second = train(x, y, [fine[0], wild, fine[1]], form, **options)

    assert broken.diverged
    assert broken.best_epoch == 0
    start = initial(form, torch.Generator().manual_seed(wild.seed))
    assert torch.equal(broken.weights[0], start.weights[0].float())
    assert not math.isfinite(broken.fit_curve[-1]) or not math.isfinite(broken.stop_curve[-1])
    assert all(same(a, b) for a, b in zip([first, second], train(x, y, fine, form, **options), strict=True))


def test_training_learns(make_member, generator):
    form = shape(width=32)
    x, y = table(form, generator, torch.float32)
    (fitted,) = train(x, y, [make_member(lr=3e-3)], form, epochs=60, batch_size=20)
    assert min(fitted.stop_curve) < 0.6 * y.var().item()


def test_probe_and_progress_see_the_models_in_training(make_member, generator):
    form = shape()
    x, y = table(form, generator)
    probed, progress = [], []
    members = [make_member(lr=1e-12, stop=torch.tensor([0])), make_member(lr=1e-3), make_member(lr=1e-4)]
    fitted = train(
        x,
        y,
        members,
        form,
        epochs=6,
        patience=2,
        extend=False,
        **OPTIONS,
        probe_epochs=(1, 6),
        probe=lambda epoch, forward, indices: probed.append((epoch, forward(x[:9]), indices)),
        on_epoch=lambda *seen: progress.append(seen),
    )
    assert [epoch for epoch, *_ in progress] == list(range(1, max(model.epochs for model in fitted) + 1))
    for epoch, alive, best in progress:
        assert alive == sum(model.epochs >= epoch for model in fitted)
        assert best == min(min(model.stop_curve[:epoch]) for model in fitted)
    for epoch, outputs, indices in probed:
        assert sorted(indices) == [i for i, model in enumerate(fitted) if model.epochs >= epoch]
        assert outputs.shape == (len(indices), 9, 1)
        for place, i in enumerate(indices):
            if fitted[i].best_epoch == epoch:
                torch.testing.assert_close(outputs[place], forward([fitted[i]], x[:9])[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh", "silu"])
@pytest.mark.parametrize(("outputs", "p_input", "p_hidden", "layers"), [(1, 0.1, 0.5, 8), (3, 0.0, 0.0, 5)])
@pytest.mark.parametrize("task", ["regression", None])
def test_the_plain_network_gives_the_same_outputs(
    task, outputs, p_input, p_hidden, layers, activation, make_member, generator
):
    form = shape(outputs, columns=(0, 1, 1, 2, 2), task=task, activation=activation)
    x, y = table(form, generator)
    fitted = train(x, y, [make_member(), make_member()], form, epochs=1, **OPTIONS)
    network = to_sequential(fitted[1], form, p_input, p_hidden)
    assert len(network) == layers
    torch.testing.assert_close(network(x), forward(fitted, x)[1], rtol=1e-12, atol=1e-12)


def test_memory_grows_with_the_model():
    small, large = (memory_per_model(shape(width=width)) for width in (32, 128))
    assert 100_000 < small < large < 10_000_000
    assert small < memory_per_model(shape(width=32, activation="gelu")) < 2 * small


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"p_input": 1.0}, "`p_input` must be in"),
        ({"p_hidden": -0.1}, "`p_hidden` must be in"),
        ({"p_hidden": math.nan}, "`p_hidden` must be in"),
        ({"lr": 0.0}, "`lr` must be positive"),
        ({"weight_decay": -1.0}, "`weight_decay` must be at least 0"),
        ({"weights": torch.tensor([1.0, -1.0])}, "`weights` must be at least 0 and finite"),
        ({"weights": torch.tensor([1.0, math.inf])}, "`weights` must be at least 0 and finite"),
        ({"weights": torch.tensor([1.0, math.nan])}, "`weights` must be at least 0 and finite"),
        ({"fit": torch.tensor([], dtype=torch.int64)}, "`fit` must be a list of at least one row"),
        ({"stop": torch.tensor([], dtype=torch.int64)}, "`stop` must be a list of at least one row"),
    ],
)
def test_a_bad_member_is_one_clear_line(change, message, make_member):
    with pytest.raises(ValueError, match=message):
        make_member(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": (0, 2)}, "`columns` must use every index"),
        ({"columns": ()}, "`columns` must use every index"),
        ({"width": 0}, "`width` must be at least 1"),
        ({"depth": 0}, "`depth` must be at least 1"),
        ({"outputs": 0}, "`outputs` must be at least 1"),
        ({"initialisation": "xavier"}, "`initialisation` must be he or glorot"),
        ({"activation": "elu"}, "`activation` must be relu or gelu or tanh or silu"),
        ({"task": "ranking"}, "`task` must be regression or classification"),
        ({"task": "classification"}, "`outputs` must be at least 2"),
    ],
)
def test_a_bad_shape_is_one_clear_line(change, message):
    fine = {"columns": (0, 1), "outputs": 1, "width": 4, "depth": 1, "task": "regression"}
    with pytest.raises(ValueError, match=message):
        Shape(**(fine | change))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"optimizer": "adamm"}, ValueError, "did you mean `adam`"),
        ({"keep": "lst"}, ValueError, "did you mean `last`"),
        ({"label_smoothing": 1.0}, ValueError, r"`label_smoothing` must be in \[0, 1\)"),
        ({"label_smoothing": 0.1}, ValueError, "`label_smoothing` must be 0 for regression"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be at least 1"),
        ({"epochs": 0}, ValueError, "`epochs` must be at least 1"),
        ({"patience": 0}, ValueError, "`patience` must be at least 1"),
        ({"steps_per_epoch": 0}, ValueError, "`steps_per_epoch` must be at least 1"),
        ({"members": []}, ValueError, "`members` must hold at least one"),
        ({"x": torch.zeros(200, 4)}, ValueError, r"`x` must be \(rows, 5\)"),
        ({"x": torch.zeros(200, 5, dtype=torch.float16)}, TypeError, "`x` must be float32 or float64"),
        ({"x": torch.zeros(150, 5)}, ValueError, "`y` must have as many rows"),
        ({"y": torch.zeros(200)}, ValueError, "`y` must be float of shape"),
        ({"y": torch.zeros(200, 2)}, ValueError, "`y` must be float of shape"),
        ({"y": torch.zeros(200, 1, dtype=torch.int64)}, ValueError, "`y` must be float of shape"),
    ],
)
def test_bad_arguments_of_train_are_one_clear_line(change, error, message, make_member, generator):
    form = shape()
    x, y = table(form, generator)
    arguments = {"x": x, "y": y, "members": [make_member()], "shape": form, "epochs": 1} | change
    with pytest.raises(error, match=message):
        train(**arguments)


def test_labels_and_rows_outside_their_range_are_refused(make_member, generator):
    form = shape(3)
    x, y = table(form, generator)
    with pytest.raises(ValueError, match=r"`y` must hold labels in \[0, 3\)"):
        train(x, y + 1, [make_member()], form, epochs=1)
    with pytest.raises(ValueError, match=r"`fit` must hold int64 indices of rows in \[0, 200\)"):
        train(x, y, [make_member(fit=torch.tensor([200]))], form, epochs=1)


def test_differing_numbers_of_fit_rows_need_an_epoch_length(make_member, generator):
    form = shape()
    x, y = table(form, generator)
    members = [make_member(fit=torch.arange(50)), make_member(fit=torch.arange(60))]
    with pytest.raises(ValueError, match="`steps_per_epoch` must be given"):
        train(x, y, members, form, epochs=1)
