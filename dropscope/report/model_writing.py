"""Write the report of one model's spectrum: the page, one PNG a figure, and the numbers as JSON."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dropscope.report.comparison_figure import draw_spectra
from dropscope.report.filling import fill
from dropscope.report.law_words import block_names, speaks_of
from dropscope.report.order_shares import interactions_tile, mean_order_text, order_shares, percent, reading_of
from dropscope.report.paper_drawing import to_png
from dropscope.report.picture import Figure
from dropscope.report.share_figures import draw_shares, draw_survival
from dropscope.report.tables import Table, number_text
from dropscope.report.terms_figure import draw_terms
from dropscope.spectrum import Spectrum, Terms
from dropscope.spectrum.surrogate import SurrogateSpectrum

__all__ = ["write_spectrum"]

# Names of all figures that there can be, so that none of an earlier report stays.
FIGURES = ("shares", "survival", "spectra", "terms")


def write_spectrum(
    spectrum: Spectrum,
    folder: str | Path,
    *,
    terms: Terms | None = None,
    others: Sequence[tuple[str, Spectrum]] = (),
    columns: Sequence[str] | None = None,
    name: str = "this model",
    data: str = "",
    notes: Sequence[str] = (),
) -> list[str]:
    """Write `spectrum.html`, which opens without a network, its figures as PNG, and `spectrum.json`.

    All files are written before the first takes its place, so that a folder holds one whole report; figures of an
    earlier one that this has not are removed.

    Args:
        spectrum: the spectrum of the model.
        folder: where the files go; it is created if need be.
        terms: what `rank_terms` found in it.
        others: labels and spectra of models to show beside it.
        columns: name of each column of the inputs; by default x0, x1, ...
        name: what the model is called.
        data: what the table is called.
        notes: what a reader should know of how it was measured.

    Returns:
        The paths of the files, the page first.

    Raises:
        ValueError: there are more or fewer names than columns, or the others cannot be compared with the spectrum.
        MissingExtra: plotly, matplotlib or jinja2 is not installed.
    """
    figures = [draw_shares(spectrum, columns), draw_survival(spectrum, columns)]
    figures.append(draw_spectra([(name, spectrum), *others], columns) if others else None)
    figures.append(draw_terms(terms) if terms else None)
    drawn = [figure for figure in figures if figure is not None]

    kept = {
        "model": name, "data": data, "columns": None if columns is None else [*map(str, columns)], "notes": list(notes),
        "spectrum": spectrum.to_dict(), "terms": terms and terms.to_dict(),
        "others": [{"label": label, "spectrum": one.to_dict()} for label, one in others],
    }  # fmt: skip
    shown = {"name": name, "data": data, "notes": notes, **_values(spectrum, terms, columns)}
    texts = {"spectrum.html": fill("spectrum.html", drawn, **shown), "spectrum.json": json.dumps(kept, indent=1) + "\n"}

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _put(folder, texts, drawn)
    for left in set(FIGURES) - {figure.name for figure in drawn}:
        (folder / f"{left}.png").unlink(missing_ok=True)
    names = ["spectrum.html", *(f"{figure.name}.png" for figure in drawn), "spectrum.json"]
    return [str(folder / one) for one in names]


def _put(folder: Path, texts: Mapping[str, str], figures: Sequence[Figure]) -> None:
    """Write all files beside their places, then move them there."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".spectrum-") as beside:
        for name, text in texts.items():
            (Path(beside) / name).write_text(text, encoding="utf-8")
        for figure in figures:
            to_png(figure, Path(beside) / f"{figure.name}.png")
        for path in Path(beside).iterdir():
            path.replace(folder / path.name)


def _values(spectrum: Spectrum, terms: Terms | None, columns: Sequence[str] | None) -> dict[str, Any]:
    """What the page shows beside the figures."""
    blocks = block_names(spectrum.blocks, columns)
    mean = mean_order_text(spectrum)
    numbers = [
        interactions_tile(spectrum),
        *([("mean order", mean.partition(" ")[0])] if mean else []),
        ("variance", number_text(spectrum.total)), ("blocks", f"{len(blocks):,}"),
        ("columns", f"{sum(map(len, spectrum.blocks)):,}"), ("evaluations", f"{spectrum.budget:,}"),
        ("law of inputs", spectrum.inputs_law), ("method", spectrum.method),
    ]  # fmt: skip
    return {
        "headline": reading_of(spectrum), "learned": spectrum.point if isinstance(spectrum, SurrogateSpectrum) else "",
        "answer": f"Mean interaction order {mean}" if mean else "Variance by interaction order",
        "numbers": numbers, "shares": _shares_table(spectrum),
        "terms": terms and _terms_table(terms), "blocks": blocks, "law": speaks_of(spectrum, blocks),
        "versions": {package: version(package) for package in ("dropscope", "torch", "numpy")},
    }  # fmt: skip


def _shares_table(spectrum: Spectrum) -> Table:
    columns = ["", "share", "95 % interval, in percent"]
    rows = [[one.name, one.said, one.ends] for one in order_shares(spectrum)]
    if not isinstance(spectrum, SurrogateSpectrum):
        return Table(columns, rows)

    explained = [*map(percent, spectrum.r2), "–"]
    return Table([*columns, "R² up to here"], [[*row, r2] for row, r2 in zip(rows, explained, strict=True)])


def _terms_table(terms: Terms) -> Table:
    kinds = {"block": terms.totals, "its interactions": terms.interacting, "pair": terms.pairs, "triple": terms.triples}
    rows = [
        [
            terms.label(members),
            kind,
            percent(share),
            f"{100 * low:.2f} to {100 * high:.2f}",
        ]
        for kind, ranking in kinds.items()
        for members, share, low, high in zip(ranking.members, ranking.share, ranking.low, ranking.high, strict=True)
    ]
    return Table(["term", "kind", "share", "95 % interval, in percent"], rows)
