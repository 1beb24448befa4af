"""The report of a study as PDF: the answer, its numbers and all rates, then every figure on a page of its own."""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dropscope.errors import need
from dropscope.report.page import answer_of, numbers_of
from dropscope.report.paper_drawing import draw_panels, natural_size, paper_style
from dropscope.report.picture import LIGHT, Figure
from dropscope.report.reading import advised_name, one_line
from dropscope.report.tables import Table, arms_table
from dropscope.report.writing import figures_of
from dropscope.study import StudyResult

__all__ = ["pages", "write_pdf"]

# A4 across; inches.
WIDTH, HEIGHT, MARGIN = 11.69, 8.27, 0.55
ROOM = WIDTH - 2 * MARGIN
# In sizes of the letters: mean width of one, of a bold one and of a digit, height of the first line and of a line.
LETTER, BOLD, DIGIT, RISE, LINE = 0.53, 0.63, 0.6, 0.95, 1.45
ENLARGED = 1.5  # a figure at most
LONGEST = 60  # letters of a user's name
HEAD = 15  # letters of a column's name on one line
ROW = 0.19
WIDEST = 1.35  # stretch of a table


def write_pdf(result: StudyResult, folder: str | Path) -> str:
    """Write `report.pdf`: the answer in words, key numbers, all rates, and every figure with its caption.

    Args:
        result: a finished study.
        folder: where it goes; it is created if need be.

    Returns:
        The path of the file.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    backend = need("matplotlib.backends.backend_pdf", "study")
    path = Path(folder) / "report.pdf"
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"Title": f"How much dropout for {result.target}?", "CreationDate": None}
    with paper_style(), backend.PdfPages(path, metadata=about) as pdf:
        for page in pages(result):
            pdf.savefig(page)
    return str(path)


def pages(result: StudyResult) -> Iterator[Any]:
    """Draw the pages one after the other, in the style of paper.

    Args:
        result: a finished study.

    Yields:
        Figures of matplotlib, in the size of the paper.
    """
    yield from _first_pages(result)
    for figure in figures_of(result):
        yield _figure_page(figure)


class _Sheet:
    """A page that is written from the top down; places and sizes in inches, letters in points."""

    def __init__(self) -> None:
        self.page = need("matplotlib.figure", "study").Figure(figsize=(WIDTH, HEIGHT))
        self.y = MARGIN

    @property
    def left(self) -> float:
        """Inches above the lower margin."""
        return HEIGHT - MARGIN - self.y

    def put(self, text: str, x: float, size: float, **style: Any) -> None:
        """Put a text at the current height, `x` inches from the left margin."""
        at = (MARGIN + x) / WIDTH, 1 - (self.y + RISE * size / 72) / HEIGHT
        self.page.text(*at, text, va="baseline", fontsize=size, linespacing=1.25, **style)

    def write(self, text: str, size: float, **style: Any) -> None:
        """Write a paragraph and go on below it."""
        letter = BOLD if style.get("weight") == "bold" else LETTER
        for line in text.splitlines():
            for part in textwrap.wrap(line, int(ROOM * 72 / (letter * size))) or [""]:
                self.put(part, 0, size, **style)
                self.y += LINE * size / 72


def _first_pages(result: StudyResult) -> Iterator[Any]:
    """The answer and the table of all rates, which may need more pages."""
    sheet, answer = _Sheet(), answer_of(result)
    sheet.write(f"dropscope study of {one_line(result.name, LONGEST)}", 9, color=LIGHT["muted"])
    sheet.write(f"How much dropout for {one_line(result.target, LONGEST)}?", 19, weight="bold")
    sheet.y += 0.12
    sheet.write(answer["title"], 11, color=LIGHT["blue"], weight="bold")
    sheet.write(answer["sentences"][0], 11)
    sheet.y += 0.05
    sheet.write(answer["sentences"][1], 9)
    if answer["code"]:
        sheet.y += 0.08
        sheet.write(answer["code"], 9, family="monospace")
    sheet.y += 0.15
    _numbers(sheet, numbers_of(result))

    table = arms_table(result)
    done = 0
    while done < len(table.rows):
        if sheet.left < 6 * ROW:
            yield sheet.page
            sheet = _Sheet()
        sheet.write("All rates" + (", continued" if done else ""), 11, weight="bold")
        done += _rows(sheet, table, done)
    if sheet.left > ROW:
        sheet.y += 0.06
        marked = f"; marked: {advised_name(result)}" if table.marked else ""
        sheet.write(f"Mean over seeds ± one standard error; at each order, its share of the variance{marked}.", 8,
                    color=LIGHT["muted"])  # fmt: skip
    yield sheet.page


def _numbers(sheet: _Sheet, numbers: list[tuple[str, str]]) -> None:
    step = ROOM / len(numbers)
    for i, (name, _) in enumerate(numbers):
        sheet.put(name, i * step, 8, color=LIGHT["muted"])
    sheet.y += 0.18
    for i, (_, value) in enumerate(numbers):
        sheet.put(value, i * step, 11, weight="bold")
    sheet.y += 0.45


def _rows(sheet: _Sheet, table: Table, start: int) -> int:
    """Write the head of a table and as many rows as fit; return their number."""
    heads = ["\n".join(textwrap.wrap(name, HEAD, break_on_hyphens=False)) for name in table.columns]
    widths = [2 + max(map(len, (*head.split("\n"), *(row[i] for row in table.rows)))) for i, head in enumerate(heads)]
    size = min(8.5, ROOM * 72 / (DIGIT * sum(widths)))
    width = min(ROOM / sum(widths), WIDEST * DIGIT * size / 72)  # of a letter and the space around it
    ends = [width * sum(widths[: i + 1]) for i in range(len(widths))]
    lines = max(head.count("\n") for head in heads)  # above the last one, on which all heads stand

    sheet.y += 0.05 + lines * LINE * size / 72
    for head, end in zip(heads, ends, strict=True):
        sheet.put(head, end, size, ha="right", color=LIGHT["muted"])
    sheet.y += ROW + 0.03
    count = min(len(table.rows) - start, int(sheet.left / ROW))
    for i in range(start, start + count):
        style = {"weight": "bold", "color": LIGHT["blue"]} if i in table.marked else {}
        for cell, end in zip(table.rows[i], ends, strict=True):
            sheet.put(cell, end, size, ha="right", **style)
        sheet.y += ROW
    return count


def _figure_page(figure: Figure) -> Any:
    """A figure below its title and sentence, as large as it reads well, and its caption below it."""
    sheet = _Sheet()
    sheet.write(figure.title, 14, weight="bold")
    sheet.write(figure.reading, 9.5)
    caption = textwrap.wrap(" ".join(figure.caption.split()), int(ROOM * 72 / (LETTER * 8)))
    room = sheet.left - 0.2 - len(caption) * LINE * 8 / 72
    width, height = natural_size(figure)
    scale = min(ENLARGED, ROOM / width, room / height)
    width, height = (min(most, size * max(scale, 1)) for most, size in ((ROOM, width), (room, height)))

    above = sheet.y + 0.1
    sheet.page.set_layout_engine("constrained")
    canvas = sheet.page.subfigures(
        3,
        3,
        height_ratios=(above, height, HEIGHT - above - height),
        width_ratios=(MARGIN, width, WIDTH - MARGIN - width),
    )[1, 1]
    draw_panels(canvas, figure, width)
    sheet.y += height + 0.2
    sheet.write("\n".join(caption), 8, color=LIGHT["muted"])
    return sheet.page
