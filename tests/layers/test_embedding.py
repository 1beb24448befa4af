"""Embedding dropout: the contract of every layer, and a dropped table as the reference."""

import copy
import math

import pytest
import torch
from contracts import Case, LayerContract, seeded
from torch import nn

from dropscope import functional, layers

TABLE = nn.Embedding(50, 4)
IDS = "ids are integers: the derivatives are those of the table, checked below"
CASES = [
    Case(
        "EmbeddingDropout",
        lambda p, **options: layers.EmbeddingDropout(copy.deepcopy(TABLE), p, **options),
        lambda: (torch.arange(60).remainder(50).view(6, 10),),
        lambda layer, ids: layer.module(ids),
        batch_axis=None,
        skip={
            "test_first_and_second_derivatives_are_right": IDS,
            "test_the_type_is_kept": IDS,
            "test_other_than_floating_point_is_refused": IDS,
        },
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestContract(LayerContract):
    pass


def dropped_rows(size, p, seed):
    """The factor of each word that a layer on this seed draws."""
    vectors = functional.embedding_dropout(
        torch.ones(size, 1), torch.arange(size), p, num_embeddings=size, training=True, generator=seeded(seed)
    )
    return vectors[:, 0]


class TestEmbeddingDropout:
    def test_it_equals_looking_words_up_in_a_dropped_table_bitwise_and_its_gradient(self, seed):
        layer = layers.EmbeddingDropout(copy.deepcopy(TABLE), 0.5, generator=seeded(seed))
        ids = torch.randint(50, (8, 30), generator=seeded(seed))
        y = layer(ids)
        y.sum().backward()

        table = TABLE.weight.detach().clone().requires_grad_()
        expected = nn.functional.embedding(ids, table * dropped_rows(50, 0.5, seed)[:, None])
        expected.sum().backward()
        assert torch.equal(y, expected)
        assert torch.equal(layer.module.weight.grad, table.grad)

    def test_a_word_is_dropped_at_every_place_or_none(self, seed):
        layer = layers.EmbeddingDropout(nn.Embedding.from_pretrained(torch.ones(5, 2)), 0.5, generator=seeded(seed))
        ids = torch.arange(5).repeat(40, 1)
        y = layer(ids)
        assert torch.equal(y, y[:1].expand_as(y))

    @pytest.mark.parametrize("p", [0.1, 0.5])
    def test_words_are_dropped_with_probability_p(self, p, seed):
        kept = dropped_rows(1 << 17, p, seed) != 0
        error = math.sqrt(p * (1 - p) / kept.numel())
        assert abs((~kept).double().mean().item() - p) < 6 * error

    def test_a_dropped_inf_becomes_zero_in_value_and_gradient(self, seed):
        vectors = torch.full((50, 2), math.inf, requires_grad=True)
        y = functional.embedding_dropout(
            vectors, torch.arange(50), 0.5, num_embeddings=50, training=True, generator=seeded(seed)
        )
        y.sum().backward()
        dropped = dropped_rows(50, 0.5, seed) == 0
        assert dropped.any()
        assert (y[dropped] == 0).all()
        assert (vectors.grad[dropped] == 0).all()
        assert y[~dropped].isinf().all()

    def test_the_padding_row_has_no_gradient(self):
        layer = layers.EmbeddingDropout(nn.Embedding(5, 2, padding_idx=3), 0.1)
        layer(torch.arange(5)).sum().backward()
        assert (layer.module.weight.grad[3] == 0).all()

    def test_sparse_gradients_stay_sparse(self):
        layer = layers.EmbeddingDropout(nn.Embedding(1000, 2, sparse=True), 0.5)
        layer(torch.tensor([1, 7, 7])).sum().backward()
        assert layer.module.weight.grad.is_sparse
        assert layer.module.weight.grad.coalesce().indices().tolist() == [[1, 7]]

    def test_gradients_are_scaled_by_frequency(self):
        layer = layers.EmbeddingDropout(nn.Embedding(3, 1, scale_grad_by_freq=True), 0.0)
        layer(torch.tensor([0, 0, 0, 1])).sum().backward()
        assert layer.module.weight.grad.flatten().tolist() == [1, 1, 0]

    def test_rows_are_renormalised_before_they_are_scaled(self, seed):
        table = nn.Embedding(50, 4, max_norm=0.5)
        y = layers.EmbeddingDropout(table, 0.5, generator=seeded(seed))(torch.arange(50))
        norms = y.norm(dim=1)
        assert ((norms == 0) | (norms <= 1 + 1e-5)).all()
        assert norms.max() > 0.9

    def test_the_mask_is_the_only_thing_as_large_as_the_vocabulary(self):
        """Beside the looked-up vectors nothing of the table's size is kept for the backward pass."""
        layer, saved = layers.EmbeddingDropout(nn.Embedding(10_000, 64), 0.5), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
            layer(torch.arange(20))
        assert sum(t.numel() for t in saved) < 10_000

    def test_an_output_layer_may_share_the_table(self):
        layer, output = layers.EmbeddingDropout(nn.Embedding(6, 3), 0.5), nn.Linear(3, 6, bias=False)
        output.weight = layer.module.weight
        before = output.weight.detach().clone()
        output(layer(torch.arange(6))).sum().backward()
        assert torch.equal(output.weight, before)
        assert output.weight is layer.module.weight

    def test_what_is_no_embedding_is_refused(self):
        with pytest.raises(TypeError, match="got Linear"):
            layers.EmbeddingDropout(nn.Linear(2, 2))

    def test_a_bag_of_words_is_refused(self):
        with pytest.raises(TypeError, match="one vector per id, got EmbeddingBag"):
            layers.EmbeddingDropout(nn.EmbeddingBag(4, 2))

    @pytest.mark.parametrize("training", [True, False])
    def test_vectors_that_are_not_one_for_each_id_are_refused(self, training):
        ids = torch.zeros(3, 2, dtype=torch.int64)
        with pytest.raises(ValueError, match=r"shape \(3, 2, 'features'\), got \(3, 5\)"):
            functional.embedding_dropout(torch.ones(3, 5), ids, 0.5, num_embeddings=1, training=training)

    def test_vectors_must_be_floating_point(self):
        with pytest.raises(TypeError, match="`vectors` must be a real floating-point tensor"):
            functional.embedding_dropout(
                torch.ones(3, 2, dtype=torch.int64), torch.arange(3), 0.5, num_embeddings=3, training=False
            )
