"""How much dropout should a network of your own have? A small convolutional network on noisy digits.

`run_model` takes any nn.Module and any rows. Here the module has dropout at two places, whose rates are turned
together; every rate trains with every seed, on rows cut anew for each. Printed are the losses and the advice.

    python examples/own_model_study.py --out studies/digits
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset, random_split

from dropscope import report, study

PARTS = [900, 300, 297]  # fit, stop, select


def build() -> nn.Module:
    """A network with dropout; what rate it is built with does not matter."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Dropout2d(),
        nn.Flatten(), nn.Linear(576, 128), nn.ReLU(), nn.Dropout(), nn.Linear(128, 10),
    )  # fmt: skip


def load(seed: int) -> list:
    """Fit, stop, select and test rows; the test rows are the same for every seed."""
    digits, generator = load_digits(), torch.Generator().manual_seed(0)
    x = torch.from_numpy(digits.images).float().unsqueeze(1) / 16
    x += 0.5 * torch.randn(x.shape, generator=generator)
    rest, test = random_split(TensorDataset(x, torch.from_numpy(digits.target)), [1497, 300], generator)
    return [*random_split(rest, PARTS, generator.manual_seed(seed)), test]


def optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """What trains each network."""
    return torch.optim.AdamW(parameters, lr=3e-3)


def main() -> None:
    """Study, print the arms and the advice, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("studies/digits"))
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()

    result = study.run_model(
        build, load, loss=nn.CrossEntropyLoss(), metric="log_loss", p=(0, 0.25, 0.5, 0.75), optimizer=optimizer,
        epochs=25, patience=6, out=arguments.out, workers=arguments.workers, name="digits",
        target="digit",
    )  # fmt: skip

    for arm in result.arms:
        print(f"p = {arm.p_hidden:<5g} selection log-loss {arm.select:.4f} ± {arm.select_se:.4f}, test {arm.test:.4f}")
    print("", *result.advice.sentences, result.advice.code, sep="\n")
    print("", report.write_report(result, arguments.out)[0], sep="\n")


if __name__ == "__main__":
    main()
