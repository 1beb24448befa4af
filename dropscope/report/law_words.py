"""What must stand beside every spectrum: the law of inputs, the blocks, the method and the budget."""

from collections.abc import Sequence

from dropscope.report.reading import one_line
from dropscope.spectrum import Spectrum, Terms
from dropscope.spectrum.surrogate import SurrogateSpectrum
from dropscope.study import StudyResult

__all__ = ["block_names", "law_of", "list_blocks", "speaks_of"]

MOST_BLOCKS = 15
LAWS = {
    "product": "the product of {} blocks, each drawn from the table apart from the others",
    "joint": "that of the table's own rows, dependence included, over {} blocks",
}


def block_names(blocks: Sequence[Sequence[int]], columns: Sequence[str] | None) -> list[str]:
    """Name blocks by their columns.

    Args:
        blocks: column indices of each block.
        columns: name of each column; by default x0, x1, ...

    Returns:
        Such as "hour" or "hour + day".

    Raises:
        ValueError: there are more or fewer names than columns.
    """
    count = sum(map(len, blocks))
    names = [f"x{j}" for j in range(count)] if columns is None else [*map(str, columns)]
    if len(names) != count:
        raise ValueError(f"`columns` must name all {count} columns, got {len(names)} names.")
    return [" + ".join(names[column] for column in block) for block in blocks]


def law_of(result: StudyResult) -> str:
    """Say which law of inputs all spectra of a study speak of: without it a share says nothing.

    Args:
        result: the study.

    Returns:
        A sentence.
    """
    names = [" + ".join(block) for block in result.blocks]
    listed = list_blocks(names, ", listed below")
    return f"Order counts blocks of columns; law of inputs: the product of {len(names)} blocks: {listed}."


def list_blocks(names: Sequence[str], more: str = "") -> str:
    """List names of blocks, cut to fit a caption.

    Args:
        names: the names.
        more: what is said of those that do not fit.

    Returns:
        The names, separated by commas.
    """
    shown = ", ".join(one_line(name, 24) for name in names[:MOST_BLOCKS])
    hidden = len(names) - MOST_BLOCKS
    return f"{shown} and {hidden} more{more}" if hidden > 0 else shown


def speaks_of(answer: Spectrum | Terms, names: Sequence[str], others: Sequence[Spectrum] = ()) -> str:
    """Say which law of inputs an answer speaks of and what it cost: without them a share says nothing.

    Args:
        answer: a spectrum or ranked terms.
        names: name of each block.
        others: spectra that are shown beside it, of the same blocks and law.

    Returns:
        A few sentences.
    """
    law = LAWS[answer.inputs_law].format(len(names))
    text = f"Order counts blocks of columns; law of inputs: {law}: {list_blocks(names)}. "
    text += f"{max(one.budget for one in (answer, *others)):,} evaluations{' at most' if others else ''}"
    if isinstance(answer, Spectrum):
        text += f", method {' or '.join(dict.fromkeys(one.method for one in (answer, *others)))}"
    text += "."
    return f"{text} Caution: {answer.caveat}." if isinstance(answer, SurrogateSpectrum) else text
