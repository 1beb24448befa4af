"""A model's numbers are the same bit for bit whichever models it is trained with, and on however many threads."""

from dataclasses import replace

import pytest
import torch
from small_tables import same, shape, table

from dropscope.stack import forward, train

RATES = [(0.0, 0.0), (0.25, 0.5), (0.05, 0.3), (0.0, 0.25), (0.3, 0.0), (0.1, 0.1), (0.001, 0.999)]


def members(make_member):
    """Seven models that differ in everything, among them in the number of rows and the epoch they leave at."""
    rows = torch.randperm(200)
    return [
        make_member(
            p_input=p_input,
            p_hidden=p_hidden,
            lr=[3e-2, 1e-2, 3e-3][i % 3],
            weight_decay=[0, 0.01][i % 2],
            fit=rows[: 60 + 5 * i],
            stop=rows[100 : 120 + 13 * i],
        )
        for i, (p_input, p_hidden) in enumerate(RATES)
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("task", "outputs", "width", "batch"),
    [
        ("regression", 1, 16, 20),
        ("regression", 1, 33, 7),
        ("classification", 3, 32, 20),
        ("classification", 3, 5, 33),
        ("classification", 10, 17, 9),
        ("classification", 10, 64, 100),
        ("multilabel", 1, 33, 7),
        ("multilabel", 3, 5, 33),
        ("multilabel", 16, 17, 9),
        ("quantile", 1, 33, 7),
        ("quantile", 5, 17, 20),
    ],
)
def test_records_do_not_depend_on_batch_mates(task, outputs, width, batch, dtype, make_member, generator):
    form = shape(outputs, width, columns=(0, 1, 2, 2, 3), task=task)
    x, y = table(form, generator, dtype)
    everyone = members(make_member)
    options = {"epochs": 8, "batch_size": batch, "steps_per_epoch": 3, "patience": 2}

    together = train(x, y, everyone, form, **options)
    reverse = train(x, y, everyone[::-1], form, **options)[::-1]
    chunks = [
        model for start in (0, 3, 5) for model in train(x, y, everyone[start:][: 3 - start // 3], form, **options)
    ]
    alone = [train(x, y, [member], form, **options)[0] for member in everyone]

    assert len({model.epochs for model in together}) > 1, "all models left at the same epoch: nothing was removed"
    for other in (reverse, chunks, alone):
        assert all(same(a, b) for a, b in zip(together, other, strict=True))


@pytest.mark.parametrize(
    ("task", "outputs", "activation"),
    [
        ("regression", 1, "relu"),
        ("classification", 3, "relu"),
        ("regression", 3, "gelu"),
        ("regression", 70, "silu"),
        ("multilabel", 70, "relu"),
        ("multilabel", 1, "tanh"),
        ("quantile", 70, "relu"),
    ],
)
@pytest.mark.parametrize("width", [64, 77])
def test_records_do_not_depend_on_threads(task, outputs, activation, width, make_member, generator):
    form = shape(outputs, width, task=task, activation=activation)
    x, y = table(form, generator, torch.float32)
    # Large enough that every kernel is split between threads.
    models = [make_member(p_input=p / 3, p_hidden=p) for p in (0.0, 0.1, 0.25, 0.3, 0.5, 0.7)]
    options = {"epochs": 2, "batch_size": 100, "steps_per_epoch": 3, "extend": False}

    one_thread = train(x, y, models, form, **options)
    torch.set_num_threads(2)
    two_threads = train(x, y, models, form, **options)
    assert all(same(a, b) for a, b in zip(one_thread, two_threads, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh", "silu"])
@pytest.mark.parametrize(
    ("task", "outputs", "batch"), [("regression", 5, 7), ("regression", 1, 33), ("multilabel", 5, 7)]
)
def test_weights_starts_and_other_activations_leave_the_neighbours_as_they_are(
    task, outputs, batch, activation, dtype, make_member, generator
):
    form = shape(outputs, width=13, task=task, activation=activation, initialisation="glorot")
    x, y = table(form, generator, dtype)
    options = {"epochs": 6, "batch_size": batch, "steps_per_epoch": 3, "patience": 2}
    start = train(x, y, [make_member()], form, **options)[0]
    weights = torch.rand(200, generator=generator) * torch.randint(2, (200,), generator=generator)
    everyone = [
        replace(member, weights=weights if i in (1, 2, 5) else None, start=start if i in (0, 2, 6) else None)
        for i, member in enumerate(members(make_member))
    ]

    together = train(x, y, everyone, form, **options)
    reverse = train(x, y, everyone[::-1], form, **options)[::-1]
    alone = [train(x, y, [member], form, **options)[0] for member in everyone]
    for other in (reverse, alone):
        assert all(same(a, b) for a, b in zip(together, other, strict=True))


@pytest.mark.parametrize("task", ["classification", "multilabel"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_smoothed_and_weighted_labels_do_not_depend_on_batch_mates(smoothing, task, make_member, generator):
    form = shape(11, width=13, task=task)
    x, y = table(form, generator, torch.float32)
    everyone = [make_member(weights=w) for w in (None, torch.rand(200, generator=generator), None)]
    options = {"epochs": 3, "batch_size": 9, "label_smoothing": smoothing, "extend": False}
    together = train(x, y, everyone, form, **options)
    for member, model in zip(everyone, together, strict=True):
        assert same(model, train(x, y, [member], form, **options)[0])


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_removal_leaves_the_others_as_they_were(optimizer, make_member, generator):
    form = shape()
    x, y = table(form, generator, torch.float32)
    # Steps too small to change a float32 weight never improve after the first epoch: these two leave early.
    stays = [make_member(p_hidden=p, lr=lr) for p, lr in [(0.0, 1e-4), (0.1, 1e-4), (0.2, 2e-4)]]
    leaves = [make_member(lr=1e-15), make_member(lr=1e-12)]
    options = {"epochs": 20, "optimizer": optimizer, "batch_size": 20, "steps_per_epoch": 4, "patience": 3}

    with_leavers = train(x, y, [stays[0], leaves[0], stays[1], leaves[1], stays[2]], form, **options)
    without = train(x, y, stays, form, **options)

    assert min(model.epochs for model in with_leavers) < max(model.epochs for model in with_leavers)
    assert all(same(a, b) for a, b in zip(with_leavers[::2], without, strict=True))


def test_the_last_model_in_a_stack_goes_on_as_before(make_member, generator):
    form = shape(width=64)
    x, y = table(form, generator, torch.float32)
    # Its own rows, seen whole in every epoch, are what a model stops on: that loss falls whatever the data.
    rows = torch.arange(14)
    stays = [make_member(lr=lr, fit=rows, stop=rows) for lr in (1e-3, 2e-3)]
    leaves = make_member(lr=1e-15)
    # A product of a single matrix takes another kernel at this batch size, on two threads.
    torch.set_num_threads(2)
    options = {"epochs": 5, "batch_size": 7, "steps_per_epoch": 2, "patience": 2, "extend": False}

    last, gone = train(x, y, [stays[0], leaves], form, **options)
    assert gone.epochs < last.epochs
    assert same(last, train(x, y, stays, form, **options)[0])


@pytest.mark.parametrize(
    ("task", "outputs", "activation"),
    [("regression", 1, "relu"), ("classification", 3, "relu"), ("regression", 3, "silu"), ("regression", 1, "gelu")],
)
def test_forward_does_not_depend_on_batch_mates(task, outputs, activation, make_member, generator):
    form = shape(outputs, width=33, task=task, activation=activation)
    x, y = table(form, generator, torch.float32)
    fitted = train(x, y, [make_member() for _ in range(19)], form, epochs=1, batch_size=20, extend=False)
    rows = torch.randn(1000, 5, generator=generator)
    torch.set_num_threads(2)
    everything = forward(fitted, rows)
    torch.set_num_threads(1)

    assert everything.shape == (19, 1000, outputs)
    for index in (0, 7, 18):
        assert torch.equal(forward(fitted[index : index + 1], rows)[0], everything[index])
    assert torch.equal(forward(fitted[5:12], rows), everything[5:12])
