"""Compiled code runs as it was written while somebody asks, and compiled again when the last has left."""

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from dropscope.sites.eagerness import uncompiled


def frames():
    """How many frames are compiled now."""
    torch._dynamo.reset()
    counter = CompileCounter()
    torch.compile(lambda x: x + 1, backend=counter)(torch.ones(2))
    return counter.frame_count


def test_nothing_is_compiled_inside_and_all_is_outside():
    with uncompiled():
        assert frames() == 0
    assert frames() == 1


def test_blocks_that_end_in_another_order_leave_nothing_behind():
    """As two threads do: the first to come is the first to leave."""
    one, other = uncompiled(), uncompiled()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert frames() == 0
    other.__exit__(None, None, None)
    assert frames() == 1


def test_an_error_gives_the_stance_back():
    with pytest.raises(RuntimeError, match="stop"), uncompiled():
        raise RuntimeError("stop")
    assert frames() == 1
