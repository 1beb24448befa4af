"""What the library says, in the words of the command line: options for arguments, and names for columns."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

from dropscope.errors import BadTable

__all__ = ["in_options", "told_as_typed", "told_in_options"]

OPTIONS = {
    "inputs": "data", "table": "data", "blocks": "blocks", "budget": "budget", "max_order": "max-order",
    "inputs_law": "inputs-law", "control_variate": "control-variate", "target": "output",
}  # fmt: skip
# An argument, with its value or without, unless it is a column that is said to depend on another one.
ARGUMENT = re.compile(rf"`({'|'.join(OPTIONS)})(?:=\"?(\w*)\"?)?`(?! have| and `\w+` have)")
COLUMN = re.compile(r"(?<=`)x(\d+)(?=`)|(?<=[\[ ])x(\d+)(?==)")

# Advice in Python, for users who call from a shell.
ADVICE = {
    r"pass a function of one of them, `lambda.*?` for the first": "name a callable that picks one, `module:attribute`",
    r"Give the logits, or `lambda.*?` \(`torch\.log` for tensors\)": (
        "Measure the logits instead, of a callable that gives them, `module:attribute`"
    ),
    r", with `lambda.*?` for class 1": " by a callable, `module:attribute`",
    r" and `top=\d+`": "",
}


def in_options(message: str, model: str, columns: Sequence[str] | None = None) -> str:
    """Put options for arguments, the model for `f`, and columns for their numbers.

    Args:
        message: a note or an error of the library.
        model: what the user calls the model.
        columns: name of each column where the library only knew their numbers.

    Returns:
        The message on one line.
    """
    message = " ".join(message.split())
    for code, words in ADVICE.items():
        message = re.sub(code, words, message)

    message = ARGUMENT.sub(lambda found: f"`--{OPTIONS[found[1]]}{f' {found[2]}' if found[2] else ''}`", message)
    message = re.sub(r"`f`|(?<=\bof )f\b|(?<=whether )f\b", lambda _: model, message)
    if columns is None:
        return message
    return COLUMN.sub(lambda found: columns[int(found[1] or found[2])], message)


@contextmanager
def told_in_options(model: str, columns: Sequence[str] | None = None) -> Iterator[None]:
    """Raise the library's errors in these words, and those of the model itself under its name.

    Args:
        model: what the user calls the model.
        columns: name of each column where the library only knew their numbers.

    Raises:
        ValueError: something was wrong.
    """
    try:
        yield
    except Exception as error:
        if _is_the_models(error.__traceback__):
            said = " ".join(str(error).split())
            raise ValueError(f"{model} fails on rows of the table, {type(error).__name__}: {said}") from error
        if isinstance(error, ValueError | TypeError):
            raise ValueError(in_options(str(error), model, columns)) from error
        raise


@contextmanager
def told_as_typed(options: Iterable[str]) -> Iterator[None]:
    """Raise a study's errors with its options as they are typed, `--p-hidden` for `p_hidden`.

    Args:
        options: names of the options.

    Raises:
        ValueError: something was wrong.
    """
    try:
        yield
    except BadTable as error:
        # Its columns may have the names of options.
        raise BadTable(_typed(r"^`(target)`(?= must)|^`(metric)`(?= must be one of)", error)) from error
    except ValueError as error:
        raise ValueError(_typed(rf"`({'|'.join(options)})`", error)) from error


def _typed(pattern: str, error: ValueError) -> str:
    return re.sub(pattern, lambda found: found[0].replace("`", "`--", 1).replace("_", "-"), str(error))


def _is_the_models(trace: TracebackType | None) -> bool:
    """Whether an error came up outside of dropscope while it called the model."""
    called, module = False, ""
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        called |= trace.tb_frame.f_code.co_name == "evaluate" and module == "dropscope.spectrum.calling"
        trace = trace.tb_next
    return called and not module.startswith("dropscope.spectrum")
