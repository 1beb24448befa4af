"""A line on stderr that says how far long work has come."""

import sys
import time

__all__ = ["Progress"]

PATIENCE = 2.0  # seconds until it is shown
PAUSE = 0.2  # seconds between two changes of the line
WIDTH = 30


class Progress:
    """A bar that shows itself once the work has taken two seconds, on a terminal or where it is asked for.

    Args:
        total: number of steps; None: not known.
        shown: whether to show it; None: only on a terminal.
    """

    def __init__(self, total: int | None, shown: bool | None) -> None:
        self.total = total
        self.wanted = sys.stderr.isatty() if shown is None else shown
        self.begun = self.latest = time.monotonic()
        self.done = 0
        self.visible = False

    def advance(self, steps: int) -> None:
        """Note that so many steps are done."""
        self.done += steps
        now = time.monotonic()
        if self.wanted and now - self.begun > PATIENCE and now - self.latest > PAUSE:
            self.latest, self.visible = now, True
            self._write(self._line(now - self.begun))

    def close(self) -> None:
        """Clear the line."""
        if self.visible:
            self._write(" " * 79 + "\r")

    def _line(self, seconds: float) -> str:
        if not self.total:
            return f"\r{self.done:,} passes, {seconds:.0f} s"
        share = min(1.0, self.done / self.total)
        bar = "█" * int(WIDTH * share) + "·" * (WIDTH - int(WIDTH * share))
        return f"\r{bar} {share:4.0%}, {seconds * (1 - share) / share:.0f} s left "

    def _write(self, text: str) -> None:
        sys.stderr.write("\r" + text)
        sys.stderr.flush()
