"""Draw the pictures of the pages in docs/layers: for each group of layers, what one draw of each multiplies ones with.

Run it with the page's name to draw one picture, without to draw all: `python docs/draw_masks.py [group ...]`.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

from dropscope import functional, layers, masks

FOLDER = Path(__file__).parent / "layers"
Panels = dict[str, Tensor]  # title: a matrix of factors, 0 where dropped


def of_ones(layer: nn.Module, *shape: int) -> Tensor:
    return layer(torch.ones(shape))


def rows(images: Tensor) -> Tensor:
    """Lay the images (rows, columns, height, width) out as one matrix, with a gap between them."""
    padded = nn.functional.pad(images, (1, 1, 1, 1), value=float("nan"))
    return torch.cat([torch.cat(list(row), dim=1) for row in padded])


def elementwise() -> Panels:
    side = 24
    return {
        "Dropout(.5)": of_ones(layers.Dropout(0.5), side, side),
        "Dropout(.5, per=(0,))": of_ones(layers.Dropout(0.5, per=(0,)), side, side),
        "Dropout2d(.5)": rows(of_ones(layers.Dropout2d(0.5), 4, 4, 4, 4)),
        "GaussianDropout(.2)": of_ones(layers.GaussianDropout(0.2), side, side),
        "UniformDropout(.2)": of_ones(layers.UniformDropout(0.2), side, side),
        "AlphaDropout(.5) of normal x": layers.AlphaDropout(0.5)(torch.randn(side, side)),
    }


def structured() -> Panels:
    skipping = layers.LayerDrop([nn.Identity() for _ in range(12)], 0.3)
    kept = torch.stack([masks.keep((len(skipping.layers),), skipping.p) for _ in range(24)])
    return {
        "DropBlock2d(.25, 3), channels": rows(of_ones(layers.DropBlock2d(0.25, 3), 4, 4, 9, 9)),
        "DropBlock2d(.25, 7), one map": of_ones(layers.DropBlock2d(0.25, 7), 1, 36, 36)[0],
        "DropPath(.3): sample by feature": of_ones(layers.DropPath(0.3), 24, 24),
        "LayerDrop(.3): batch by layer": kept.float(),
        "TokenDropout(.3): token by feature": of_ones(layers.TokenDropout(0.3), 1, 24, 24)[0],
    }


def weights() -> Panels:
    side = 24
    words = torch.arange(side) * 5 % 8
    linear = nn.Linear(side, side)
    tied = {"": None, ", (1,)": (1,), ", (0,)": (0,)}
    panels = {
        f"DropConnect(.5{name}): W": layers.DropConnect(linear, 0.5, per=per).dropped()["weight"] != 0
        for name, per in tied.items()
    }
    table = nn.Embedding.from_pretrained(torch.ones(8, side))
    return panels | {"EmbeddingDropout(.5): 24 words": layers.EmbeddingDropout(table, 0.5)(words)}


def recurrent() -> Panels:
    steps, units = 24, 24
    state, states = torch.zeros(units), []
    zoneout = layers.Zoneout(0.7)
    for step in range(steps):
        state = zoneout(torch.full((units,), float(step)), state)
        states.append(state)
    return {
        "Dropout(.5): time by unit": of_ones(layers.Dropout(0.5), steps, units),
        "LockedDropout(.5): time by unit": of_ones(layers.LockedDropout(0.5), steps, 1, units)[:, 0],
        "Zoneout(.7) of a clock: time by unit": torch.stack(states),
    }


def learned() -> Panels:
    ones = torch.ones(24, 24)
    logit = torch.logit(torch.tensor(0.3))
    return {
        f"p=.3 at temperature {t}": functional.concrete_dropout(ones, logit, temperature=t, training=True)
        for t in (0.01, 0.1, 0.67, 2.0)
    }


def attention() -> Panels:
    query, key, value = torch.randn(3, 1, 1, 24, 16).unbind()
    value = torch.eye(24).expand(1, 1, 24, 24)  # the output is then the matrix of weights
    attend = functional.scaled_dot_product_attention
    panels = {
        "attention weights": attend(query, key, value, training=False)[0, 0],
        "p=.3: the weights used": attend(query, key, value, 0.3, training=True)[0, 0],
    }
    return panels | {"HeadDropout(.3): 4 × 6 heads": rows(of_ones(layers.HeadDropout(0.3), 4, 6, 5, 5))}


def graph() -> Panels:
    side = 24
    ring = torch.arange(side)
    pairs = torch.stack([torch.cat([ring, ring, ring]), torch.cat([ring + 1, ring + 2, ring + 5]) % side])
    edges = torch.cat([pairs, pairs.flip(0)], 1)

    def matrix(kept: Tensor) -> Tensor:
        return torch.zeros(side, side).index_put_((kept[0], kept[1]), torch.tensor(1.0))

    return {
        "a graph": matrix(edges),
        "EdgeDropout(.5)": matrix(layers.EdgeDropout(0.5)(edges)[0]),
        "EdgeDropout(.5, undirected=True)": matrix(layers.EdgeDropout(0.5, undirected=True)(edges)[0]),
        "NodeDropout(.3)": matrix(layers.NodeDropout(0.3)(edges, side)[0]),
        "PathDropout(.1)": matrix(layers.PathDropout(0.1)(edges)[0]),
    }


def draw(group: str, panels: Panels) -> None:
    colours = plt.get_cmap("Blues").with_extremes(bad="0.85")  # grey between the images of `rows`
    figure, axes = plt.subplots(1, len(panels), figsize=(2.4 * len(panels), 2.7), squeeze=False, layout="constrained")
    for axis, (title, matrix) in zip(axes[0], panels.items(), strict=True):
        axis.imshow(matrix.detach().float(), cmap=colours, interpolation="nearest")
        axis.set_title(title, fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.savefig(FOLDER / f"{group}.png", dpi=110)
    plt.close(figure)


GROUPS: dict[str, Callable[[], Panels]] = {
    function.__name__: function for function in (elementwise, structured, weights, recurrent, learned, attention, graph)
}


def main() -> None:
    for group in sys.argv[1:] or GROUPS:
        torch.manual_seed(1)
        draw(group, GROUPS[group]())
        print(FOLDER / f"{group}.png")


if __name__ == "__main__":
    main()
