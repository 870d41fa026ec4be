"""Show on a terminal how far a sweep has come."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

INTERVAL = 0.5
"""Seconds between two changes of the line."""


class Progress:
    """A line of a terminal that shows a number. Nothing is written to a file or a pipe.

    Args:
        stream: where the line is shown.
        now: returns the time in seconds.
    """

    def __init__(self, stream: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._now = now
        self._is_terminal = stream.isatty()
        self._shown_at: float | None = None
        self._width = 0

    def show(self, examined: int) -> None:
        """Show the number of entries so far, at most once in `INTERVAL`."""
        if not self._is_terminal:
            return
        now = self._now()
        if self._shown_at is None or now - self._shown_at >= INTERVAL:
            self._shown_at = now
            self._replace(f"{examined} examined")

    def clear(self) -> None:
        """Remove the line, before other text is printed."""
        if self._width:
            self._replace("")

    def _replace(self, text: str) -> None:
        blank = " " * (self._width - len(text))
        end = "" if text else "\r"
        self._stream.write(f"\r{text}{blank}{end}")
        self._stream.flush()
        self._width = len(text)
