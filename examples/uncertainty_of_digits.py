"""What does Monte-Carlo dropout add to a classifier: honest probabilities, and a sense of what it has never seen?

A network learns the digits 0 to 4 from 400 small images with noise, then meets others of the same kind, and digits 5
to 9. Printed are the calibration error with dropout off, over 100 passes, and with a temperature fitted to held-out
rows; and how well entropy and mutual information tell the unseen digits from the known ones.

    python examples/uncertainty_of_digits.py --out docs
"""

import argparse
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dropscope import ensemble, layers, report
from dropscope.ensemble import calibration


def images() -> tuple[Tensor, Tensor]:
    """Pixels between 0 and 1, with noise, and the digits that they show, in random order."""
    digits = load_digits()
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(digits.target), generator=generator)
    x = torch.from_numpy(digits.data).float()[order] / 16
    return x + 0.3 * torch.randn(x.shape, generator=generator), torch.from_numpy(digits.target)[order]


def fitted(x: Tensor, y: Tensor, epochs: int = 150) -> nn.Module:
    """A network of two hidden layers, trained with dropout until it knows its images by heart."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(64, 256), nn.ReLU(), layers.Dropout(0.3), nn.Linear(256, 256), nn.ReLU(), layers.Dropout(0.3),
        nn.Linear(256, 5),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(50):
            optimizer.zero_grad()
            cross_entropy(network(x[batch]), y[batch]).backward()
            optimizer.step()
    return network.eval()


def main() -> None:
    """Fit, predict, measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path())
    out = parser.parse_args().out

    x, y = images()
    known, unseen = (x[y < 5], y[y < 5]), x[y >= 5]
    (x_fit, x_held, x_test), (y_fit, y_held, y_test) = (part.split([400, 200, len(part) - 600]) for part in known)
    model = fitted(x_fit, y_fit)

    generator = torch.Generator().manual_seed(0)
    held_out = ensemble.predict(model, x_held, keep_samples=True, generator=generator)
    temperature = calibration.fit_temperature(held_out, y_held)
    print(temperature)
    off = model(x_test).detach().softmax(1)
    ways = {"dropout off": off}
    for name, transform in (("100 passes", "softmax"), ("100 passes, temperature", temperature)):
        ways[name] = ensemble.predict(model, x_test, transform=transform, generator=generator)
    for name, prediction in ways.items():
        print(f"\n{name}\n{calibration.reliability(prediction, y_test, generator=generator)}")
    reliability = calibration.reliability(ways["100 passes"], y_test, generator=generator)
    report.to_png(report.draw_reliability(reliability), out / "reliability.png")

    scores = ("entropy", "mutual_information", "soft_variation_ratio")
    found = ensemble.out_of_distribution(model, x_test, unseen, score=scores, transform="softmax", generator=generator)
    for detection in found.values():
        print(f"\n{detection}")
    report.to_png(report.draw_detection(found["entropy"]), out / "detection.png")


if __name__ == "__main__":
    main()
