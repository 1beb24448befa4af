"""What order of interactions does a network learn from noisy data, and what does dropout at its input change?

The truth has a variance of 4/3, half of it in main effects and half in pairs. A wide network fitted to 500 noisy rows
has half as much again, most of what it adds in pairs and in orders that the truth does not have. What dropout does
shows in the variance of each order, its share times the total, and not in the shares: with p = 0.3 every order keeps
less than half of its variance, main effects included, which fall below those of the truth, while shares and mean
order stay about where they were. The network comes nearer to the truth by shrinking, not by losing interactions
first.

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


def variances(name: str, spectrum: Spectrum) -> str:
    """Variance in all, variance of each order, and the mean order."""
    orders = "".join(f"{spectrum.total * share:9.3f}" for share in (*spectrum.share, spectrum.rest))
    return f"{name:<8}{spectrum.total:10.3f} {orders}{spectrum.mean_order:13.3f}"


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

    print("          variance   order 1  order 2  order 3      > 3   mean order   squared distance from the truth")
    spectra = [("truth", measured(truth))]
    print(variances(*spectra[0]))
    for p in (0.0, 0.1, 0.3):
        network = fitted(p, x, y)
        distance = mse_loss(network(fresh)[:, 0], truth(fresh)).item()
        spectra.append((f"p = {p:g}", measured(network)))
        print(f"{variances(*spectra[-1])}   {distance:.3f}")

    report.to_png(report.draw_spectra(spectra), out)
    print(f"\nwritten to {out}")


if __name__ == "__main__":
    main()
