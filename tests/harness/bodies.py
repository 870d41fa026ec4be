"""Scripted request bodies: which chunks arrive, and how the body ends."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Mapping

from tus_wsgi.domain.interfaces import BodyEnd

INTERRUPT_TIMEOUT = 10.0
"""Seconds after which a body that nothing interrupts fails its test."""


class ScriptedBody:
    """A body that arrives chunk by chunk. It implements `tus_wsgi.domain.interfaces.Body`.

    Args:
        chunks: what each read returns. A smaller buffer receives a chunk in several reads.
        content_length: bytes that the request announced; None for a chunked body. By default, the
            size of all chunks.
        ending: how the body ends after its last chunk.
        stalls: whether, after its last chunk, it waits until it is interrupted.
        on_read: called before each read.
        trailers: the trailer fields, by lower-case names.

    Attributes:
        waiting: set when all chunks are read.
        received: bytes that were read.
    """

    SUM = -1
    """A `content_length` that stands for the size of all chunks."""

    def __init__(
        self,
        *chunks: bytes,
        content_length: int | None = SUM,
        ending: BodyEnd = BodyEnd.COMPLETE,
        stalls: bool = False,
        on_read: Callable[[], None] | None = None,
        trailers: Mapping[str, str] | None = None,
    ) -> None:
        self._trailers = trailers or {}
        self._chunks = [memoryview(chunk) for chunk in chunks if chunk]
        total = sum(map(len, chunks))
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
        assert self._end is not None, "the body has not ended"
        return self._end

    @property
    def has_ended(self) -> bool:
        return self._end is not None

    def limit(self, size: int) -> None:
        self._allowed = size

    def readinto(self, buffer: memoryview, /) -> int:
        """Copy the next bytes, at most a chunk of them, and return their number; 0 at the end."""
        assert len(buffer), "the buffer is empty"
        if self._end is not None:
            return 0
        if self._on_read is not None:
            self._on_read()
        if self._allowed is not None and self.received == self._allowed:
            self._end = BodyEnd.TOO_LONG if self._chunks else self._ending
            return 0
        if not self._chunks:
            self._end = self._wait_for_end()
            return 0
        size = len(buffer)
        if self._allowed is not None:
            size = min(size, self._allowed - self.received)
        chunk = self._chunks.pop(0)
        if len(chunk) > size:
            self._chunks.insert(0, chunk[size:])
        count = min(len(chunk), size)
        buffer[:count] = chunk[:count]
        self.received += count
        return count

    def interrupt(self, end: BodyEnd, /) -> None:
        if self._interruption is None:  # a second interruption changes nothing
            self._interruption = end
        self._interrupted.set()

    def is_interrupted(self) -> bool:
        return self._interrupted.is_set()

    def trailers(self) -> Mapping[str, str]:
        assert self.end is BodyEnd.COMPLETE
        return self._trailers

    def _wait_for_end(self) -> BodyEnd:
        self.waiting.set()
        if self._stalls:
            assert self._interrupted.wait(INTERRUPT_TIMEOUT), "the body was not interrupted"
        return self._interruption or self._ending


def sliced(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Cut `data` at these offsets. Ignore offsets outside of it."""
    offsets = sorted({0, len(data), *(cut for cut in cuts if 0 < cut < len(data))})
    return [data[start:stop] for start, stop in itertools.pairwise(offsets)]
