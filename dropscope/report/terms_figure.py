"""Figure of the terms behind the orders: blocks by total index, and the strongest pairs and triples."""

from dataclasses import replace

from dropscope.report.law_words import speaks_of
from dropscope.report.order_shares import brackets, percent
from dropscope.report.picture import Figure, Line, Panel
from dropscope.report.reading import sentence
from dropscope.report.stacked_bars import order_colour
from dropscope.spectrum import Terms
from dropscope.spectrum.terms import Ranking

__all__ = ["draw_terms"]

MOST_ROWS = 10
# Characters of names in the sentence.
MOST_SAID = 100
# Characters of a line beside a panel: on a phone, more would leave no room for the panel.
LONGEST = 22
# Height of a row of one line, and of every further line, in panels.
ROW, LINE = 0.07, 0.04
# Two points of one block stand this far from its line.
ASIDE = 0.14


def draw_terms(terms: Terms) -> Figure:
    """Draw the strongest blocks by total index, and the strongest pairs and triples, with 95 % intervals.

    Args:
        terms: what `rank_terms` found.

    Returns:
        The figure; pairs and triples are left out where there are none.
    """
    whole = _points(terms, terms.totals, terms.totals, "circle", "all terms of the block", -ASIDE)
    shared = _points(terms, terms.interacting, terms.totals, "ring", "of it, terms with other blocks", ASIDE)
    panels = [_panel("Blocks", terms, terms.totals, [whole, shared])]

    for size, (title, ranking) in enumerate({"Pairs": terms.pairs, "Triples": terms.triples}.items(), start=2):
        if len(ranking):
            points = _points(terms, ranking, ranking)
            panels.append(_panel(title, terms, ranking, [replace(points, colour=order_colour(f"order {size}"))]))

    caption = (
        "Each share counts all terms that hold the block, pair or triple, alone or with others, so that shares add up "
        "to more than the whole. Whiskers: 95 % interval of each by itself, cut at that of what holds it. "
    )
    if max(map(len, (terms.totals, terms.pairs, terms.triples))) > MOST_ROWS:
        caption += f"Only the first {MOST_ROWS} are shown. "
    if terms.skipped:
        caption += f"Pairs of other blocks were not measured: none has a share above {percent(terms.skipped)}. "
    title = "Which blocks, pairs and triples carry the variance"
    return Figure("terms", title, _reading(terms), caption + speaks_of(terms, terms.names), panels, columns=1)


def _points(
    terms: Terms, ranking: Ranking, rows: Ranking, marker: str = "circle", label: str = "", aside: float = 0.0
) -> Line:
    """Points of a ranking with their whiskers, on the rows that another one names."""
    place = {members: float(i) for i, members in enumerate(rows.members[:MOST_ROWS])}
    kept = [i for i, members in enumerate(ranking.members) if members in place]
    share, low, high = (side[kept].tolist() for side in (ranking.share, ranking.low, ranking.high))

    hover = [
        f"{terms.label(ranking.members[i])}\n{label and label + ': '}{percent(ranking.share[i])} "
        f"{brackets(ranking.low[i], ranking.high[i])}"
        for i in kept
    ]
    x = [place[ranking.members[i]] + aside for i in kept]
    return Line(x, share, label=label, dash="", marker=marker, low=low, high=high, hover=hover)


def _panel(title: str, terms: Terms, ranking: Ranking, lines: list[Line]) -> Panel:
    shown = ranking.members[:MOST_ROWS]
    ticks = {float(i): _tick(terms, members) for i, members in enumerate(shown)}
    further = max((tick.count("\n") for tick in ticks.values()), default=0)
    top = max(0.01, *(end for line in lines for end in (*line.y, *line.high)))
    return Panel(
        title, title.lower().removesuffix("s"), "share of variance", lines, (-0.02 * top, 1.05 * top),
        (len(shown) - 0.4, -0.6), ticks, flipped=True, height=0.35 + (ROW + LINE * further) * len(shown),
    )  # fmt: skip


def _tick(terms: Terms, members: tuple[int, ...]) -> str:
    """Names of blocks on one line, or each on its own where they are long."""
    whole = terms.label(members)
    return whole if len(whole) <= LONGEST else "\n× ".join(terms.label((block,), LONGEST) for block in members)


def _reading(terms: Terms) -> str:
    parts = []
    if len(terms.totals):
        parts.append(f"{_first(terms.totals)} of the variance runs through {_head(terms, terms.totals)}")
    if len(terms.pairs):
        parts.append(f"the strongest pair, {_head(terms, terms.pairs)}, holds {_first(terms.pairs)}")
    else:
        parts.append("no two blocks interact")
    if len(terms.triples):
        parts.append(f"the strongest triple, {_head(terms, terms.triples)}, holds {_first(terms.triples)}")
    return sentence(parts)


def _head(terms: Terms, ranking: Ranking) -> str:
    return terms.label(ranking.members[0], MOST_SAID)


def _first(ranking: Ranking) -> str:
    return f"{percent(ranking.share[0])} {brackets(ranking.low[0], ranking.high[0])}"
