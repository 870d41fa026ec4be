"""The progress of a sweep on a terminal."""

from __future__ import annotations

import io

from tus_wsgi.operations.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_is_written_to_a_file_or_a_pipe() -> None:
    """The log of a cron job stays short, and a report in JSON can be parsed."""
    stream = io.StringIO()
    progress = Progress(stream)
    progress.show(5)
    progress.clear()
    assert stream.getvalue() == ""


def test_a_terminal_shows_the_number_twice_a_second() -> None:
    terminal, now = Terminal(), iter([0.0, 0.1, 0.49, 0.5, 0.9, 1.2])
    progress = Progress(terminal, lambda: next(now))
    for examined in range(1, 7):
        progress.show(examined)
    assert terminal.getvalue() == "\r1 examined\r4 examined\r6 examined"


def test_the_line_is_removed_before_other_text() -> None:
    terminal, now = Terminal(), iter([0.0, 1.0, 2.0])
    progress = Progress(terminal, lambda: next(now))
    progress.show(10)
    progress.show(9)
    progress.clear()
    progress.clear()
    assert terminal.getvalue() == "\r10 examined\r9 examined \r          \r"
    progress.show(8)
    assert terminal.getvalue().endswith("\r8 examined")
