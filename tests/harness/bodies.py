"""Request bodies as plain values: what arrives in which pieces, and how it ends."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Mapping

from tus_wsgi.domain.interfaces import BodyEnd

PATIENCE = 10.0
"""Seconds until a body that waits to be interrupted gives up, and its test with it."""


class ScriptedBody:
    """A body that arrives piece by piece. It implements `tus_wsgi.domain.interfaces.Body`.

    Args:
        pieces: what each read finds. A reader with a smaller buffer gets a piece in several reads.
        announced: bytes that the request announced; None for a chunked one. Not given: the sum.
        ending: how the body ends behind its last piece.
        stalls: whether it waits there until it is interrupted.
        on_read: called before each read.
        trailers: the fields behind it, by lower-case names.
    """

    SUM = -1

    def __init__(
        self,
        *pieces: bytes,
        content_length: int | None = SUM,
        ending: BodyEnd = BodyEnd.COMPLETE,
        stalls: bool = False,
        on_read: Callable[[], None] | None = None,
        trailers: Mapping[str, str] | None = None,
    ) -> None:
        self._trailers = trailers or {}
        self._pieces = [memoryview(piece) for piece in pieces if piece]
        total = sum(map(len, pieces))
        self.content_length = total if content_length == self.SUM else content_length
        self._ending = ending
        self._stalls = stalls
        self._on_read = on_read
        self._allowed: int | None = None
        self._interrupted = threading.Event()
        self._interruption: BodyEnd | None = None
        self._end: BodyEnd | None = None
        self.waiting = threading.Event()
        self.received = 0

    @property
    def end(self) -> BodyEnd:
        assert self._end is not None, "asked before the body had ended"
        return self._end

    @property
    def has_ended(self) -> bool:
        return self._end is not None

    def limit(self, size: int) -> None:
        self._allowed = size

    def readinto(self, buffer: memoryview, /) -> int:
        assert len(buffer), "there is nothing to read into"
        if self._end is not None:
            return 0
        if self._on_read is not None:
            self._on_read()
        if self._allowed is not None and self.received == self._allowed:
            self._end = BodyEnd.TOO_LONG if self._pieces else self._ending
            return 0
        if not self._pieces:
            self._end = self._how_it_ends()
            return 0
        room = len(buffer)
        if self._allowed is not None:
            room = min(room, self._allowed - self.received)
        piece = self._pieces.pop(0)
        if len(piece) > room:
            self._pieces.insert(0, piece[room:])
        count = min(len(piece), room)
        buffer[:count] = piece[:count]
        self.received += count
        return count

    def interrupt(self, end: BodyEnd, /) -> None:
        self._interruption = self._interruption or end
        self._interrupted.set()

    def trailers(self) -> Mapping[str, str]:
        assert self.end is BodyEnd.COMPLETE
        return self._trailers

    def _how_it_ends(self) -> BodyEnd:
        self.waiting.set()
        if self._stalls:
            assert self._interrupted.wait(PATIENCE), "nobody interrupted the body"
        return self._interruption or self._ending


def sliced(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """`data` cut at these offsets, the pieces in order. Cuts outside of it do nothing."""
    places = sorted({0, len(data), *(cut for cut in cuts if 0 < cut < len(data))})
    return [data[start:stop] for start, stop in itertools.pairwise(places)]
