"""The PDF: vectors, not pixels; all of the answer, of the table and of the captions, and nothing off the page."""

import re
from itertools import takewhile

import pytest
import synthetic
from matplotlib.text import Text

from dropscope.report import to_pdf, write_pdf
from dropscope.report.paper_drawing import paper_style
from dropscope.report.pdf_pages import pages
from dropscope.report.tables import arms_table
from dropscope.report.writing import figures_of

HUNDRED = [(0.0, 0.0), *((i / 120, 0.0) for i in range(1, 100))]
STUDIES = {
    "regression": synthetic.make,
    "nasty names": lambda: synthetic.make(
        target=synthetic.NASTY + "y" * 300, names=["c" * 300, "$x_1$ \\frac", "a\nb", "d", "e"]
    ),
}


@pytest.fixture(scope="module", params=STUDIES)
def drawn(request):
    """A study and its pages: those of the answer, and those of figures."""
    result = STUDIES[request.param]()
    with paper_style():
        every = list(pages(result))
    count = len(figures_of(result))
    return result, every[:-count], every[-count:]


def words(page):
    return " ".join(" ".join(text.get_text() for text in page.findobj(Text)).split())


def test_a_figure_is_drawn_in_lines_and_letters_and_is_the_same_every_time(tmp_path):
    figure = figures_of(synthetic.make())[0]
    for name in ("one.pdf", "two.pdf"):
        to_pdf(figure, tmp_path / name)
    content = (tmp_path / "one.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert b"/Subtype /Image" not in content
    assert b"/CreationDate" not in content
    assert content == (tmp_path / "two.pdf").read_bytes()


def cells(drawn_pages):
    return [text.get_text() for page in drawn_pages for text in page.findobj(Text)]


def test_the_first_page_has_the_answer_and_every_rate(drawn):
    result, [first], _ = drawn
    for sentence in result.advice.sentences:
        assert " ".join(sentence.split()) in words(first)
    found = cells([first])
    assert f"{len(result.trials):,}" in found
    for row in arms_table(result).rows:
        assert all(cell in found for cell in row)


def test_a_long_table_goes_on_and_loses_no_row():
    result = synthetic.make(arms=HUNDRED, seeds=2)
    with paper_style():
        found = cells(takewhile(lambda page: not page.subfigs, pages(result)))
    losses = [row[2] for row in arms_table(result).rows]
    assert [cell for cell in found if cell in losses] == losses
    assert found.count("All rates, continued") == found.count("input p") - 1 >= 1


def test_every_figure_has_a_page_with_its_title_sentence_and_caption(drawn):
    result, _, drawn_pages = drawn
    for figure, page in zip(figures_of(result), drawn_pages, strict=True):
        text = words(page).replace(" ", "")
        for part in (figure.title, figure.reading, figure.caption):
            assert "".join(part.split()) in text


def test_nothing_stands_off_the_page_or_on_another_text(drawn):
    for page in (*drawn[1], *drawn[2]):
        page.canvas.draw()
        width, height = page.bbox.width, page.bbox.height
        boxes = [text.get_window_extent() for text in page.texts if text.get_text().strip()]
        assert all(box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height for box in boxes)
        for axis in (axis for part in page.subfigs for axis in part.axes):
            plot = axis.get_tightbbox()
            assert plot is None or not any(plot.y0 < box.y1 - 1 and box.y0 + 1 < plot.y1 for box in boxes)


def test_the_file_has_all_pages(tmp_path):
    result = synthetic.make(seeds=2, arms=synthetic.ARMS[:3])
    path = write_pdf(result, tmp_path / "new folder")
    content = (tmp_path / "new folder" / "report.pdf").read_bytes()
    assert path == str(tmp_path / "new folder" / "report.pdf")
    assert len(re.findall(rb"/Type /Page\b", content)) == 1 + len(figures_of(result))
    assert b"/Subtype /Image" not in content
    assert b"/CreationDate" not in content
