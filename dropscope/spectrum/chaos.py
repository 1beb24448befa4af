"""Sparse polynomial chaos: an explicit function close to the model, whose variance per order is known exactly."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dropscope.spectrum.polynomials import Polynomials

__all__ = ["Expansion", "fit_expansion"]

ROUNDS = 4
SCREEN_ROWS = 4000
SCREEN_PRODUCTS = 512


@dataclass(frozen=True, eq=False)
class Expansion:
    """`fhat(x) = mean + sum_a c_a psi_a(x)` over a few orthonormal products.

    Attributes:
        polynomials: the orthonormal polynomials.
        products: the products, of shape (products, 4, 2).
        coefficients: of shape (products, outputs).
        mean: constant term, of shape (outputs,).
        r2: share of the variance of rows held out of the fit that is explained.
    """

    polynomials: Polynomials
    products: Tensor
    coefficients: Tensor
    mean: Tensor
    r2: float

    def predict(self, rows):
        device = rows.device
        return self.polynomials.evaluate(self.products, rows).T @ self.coefficients.to(device) + self.mean.to(device)

    def variances(self, orders):
        order = (self.products[..., 1] > 0).sum(1)
        out = torch.zeros(orders, dtype=torch.float64)
        return out.index_add_(0, order - 1, self.coefficients.square().sum(1))


def fit_expansion(polynomials, rows, outputs, max_order=4):
    outputs = outputs.double()
    cut = len(rows) * 4 // 5
    train, held = rows[:cut], rows[cut:]
    mean = outputs[:cut].mean(0)
    centred = outputs - mean
    residual = centred[:cut]
    var = residual.square().mean(0).sum()
    columns = torch.arange(rows.shape[1])
    products = torch.empty(0, 4, 2, dtype=torch.int64)
    best = None
    r2 = 0.0
    added = max(8, min(200, cut // 20))
    for _ in range(ROUNDS):
        candidates = polynomials.products(columns, max_order)
        scores = []
        for chunk in candidates.split(SCREEN_PRODUCTS):
            v = polynomials.evaluate(chunk, train[:SCREEN_ROWS])
            scores.append((v @ residual[:SCREEN_ROWS]).square().sum(1) / v.square().sum(1).clamp_min(1e-300))
        scores = torch.cat(scores)
        top = scores.topk(min(added, len(scores))).indices
        products = torch.cat([products, candidates[top]]).unique(dim=0)
        for prune in (True, False):
            design = polynomials.evaluate(products, train).T
            coef = torch.linalg.lstsq(design, centred[:cut], driver="gelsy").solution
            residual = centred[:cut] - design @ coef
            if prune:
                noise = residual.square().mean(0).sum() / cut
                keep = coef.square().sum(1) > torch.maximum(9 * noise, 1e-8 * var)
                if keep.any():
                    products = products[keep]
        e = centred[cut:] - polynomials.evaluate(products, held).T @ coef
        new = 1 - float(e.square().sum() / (centred[cut:] - centred[cut:].mean(0)).square().sum())
        if new <= r2:
            break
        r2 = new
        best = Expansion(polynomials, products, coef, mean, r2)
        columns = products[..., 0][products[..., 1] > 0].unique()
        if r2 > 1 - 1e-8:
            break
    return best
