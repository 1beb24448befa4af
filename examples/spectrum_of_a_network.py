"""What order of interactions does a network learn from noisy data, and what does dropout at its input change?

The truth is half main effects and half pairs. A wide network fitted to a few hundred noisy rows adds as much variance
of its own, much of it in higher orders. With dropout the total falls threefold; compare the shares, the totals (total
times share is the variance of an order) and the distance from the truth.

    python examples/spectrum_of_a_network.py --out spectra.png
"""

import argparse

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from dropscope import layers, report
from dropscope.spectrum import Spectrum, interaction_spectrum

COLUMNS = 12


def truth(x: Tensor) -> Tensor:
    """Half of its variance lies in two main effects, half in two pairs."""
    return x[:, 0] + x[:, 1] + 3**0.5 * (x[:, 2] * x[:, 3] + x[:, 4] * x[:, 5])


def fitted(p: float, x: Tensor, y: Tensor, epochs: int = 400) -> nn.Module:
    """A network of two hidden layers, trained with dropout at its input."""
    torch.manual_seed(0)
    network = nn.Sequential(
        layers.Dropout(p), nn.Linear(COLUMNS, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1)
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)

    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(50):
            optimizer.zero_grad()
            mse_loss(network(x[batch])[:, 0], y[batch]).backward()
            optimizer.step()
    return network.eval()


def main() -> None:
    """Fit, measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="spectra.png")
    out = parser.parse_args().out

    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.rand(500, COLUMNS, generator=generator) - 1
    y = truth(x) + torch.randn(500, generator=generator)
    fresh = 2 * torch.rand(20_000, COLUMNS, generator=generator) - 1

    def measured(f: object) -> Spectrum:
        return interaction_spectrum(f, fresh, budget=200_000, generator=generator)

    spectra = [("truth", measured(truth))]
    for p in (0.0, 0.1, 0.3):
        network = fitted(p, x, y)
        error = mse_loss(network(fresh)[:, 0], truth(fresh)).item()
        spectra.append((f"p = {p:g}", measured(network)))
        print(f"\np = {p:g}: mean squared distance from the truth {error:.3f}\n{spectra[-1][1]}")

    report.to_png(report.draw_spectra(spectra), out)
    print(f"\nwritten to {out}")


if __name__ == "__main__":
    main()
