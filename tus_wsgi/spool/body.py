"""Bodies that nobody gets a byte of before all of them is here and their checksum is right.

A store keeps what it gets, so bytes that may be wrong must not reach it: they wait in the spool, in
memory within its budget and then on disk.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

from tus_wsgi.domain.checksums import Algorithm, digest
from tus_wsgi.domain.interfaces import Body, BodyEnd
from tus_wsgi.domain.model import KIB
from tus_wsgi.spool.spool import Spool, SpooledPart, read_end

STEP = 256 * KIB
"""Bytes that are read from the spool at once. Between two steps others get their turn."""


class BodyBuffer:
    """Where the bodies of a process wait. It implements `tus_wsgi.domain.interfaces.BodyBuffer`.

    Args:
        spool: the memory and the disk for them.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def __call__(self, body: Body, /) -> BufferedBody:
        """Hold `body` back."""
        return BufferedBody(self._spool, body)


class BufferedBody:
    """A body that waits. It implements `tus_wsgi.domain.interfaces.BufferedBody`."""

    def __init__(self, spool: Spool, body: Body) -> None:
        self._spool = spool
        self._body = body
        self._allowed = 0
        self._part: SpooledPart | None = None
        self._handed_out = 0
        self._interrupted: BodyEnd | None = None

    @property
    def content_length(self) -> int | None:
        """Bytes of the whole body: certain once it is here."""
        return self._body.content_length if self._part is None else self._part.size

    @property
    def end(self) -> BodyEnd:
        """Why it ended on its way on: all of it went, or somebody interrupted."""
        assert self._part is not None, "asked before the body was received"
        if self._handed_out == self._part.size:
            return BodyEnd.COMPLETE
        assert self._interrupted is not None, "asked before the body had ended"
        return self._interrupted

    def limit(self, size: int) -> None:
        """Take in at most `size` bytes."""
        self._allowed = size
        self._body.limit(size)

    def receive(self) -> BodyEnd:
        """Take in the whole body, and say why it ended.

        Raises:
            StoreUnavailable: there is no room on the disk.
        """
        content_length = self._body.content_length
        capacity = self._allowed if content_length is None else min(content_length, self._allowed)
        # Nothing is expected, so that memory is taken as bytes come: a client may announce much.
        self._part = self._spool.part(capacity, None)
        self._part.fill(self._body)
        if self._part.trouble is not None:
            raise self._part.trouble
        read_end(self._body)
        return self._body.end

    def digest(self, algorithm: Algorithm) -> bytes:
        """The checksum of what was received."""
        return digest(algorithm, self._pieces())

    def trailers(self) -> Mapping[str, str]:
        """The fields that followed the body."""
        return self._body.trailers()

    def readinto(self, buffer: memoryview, /) -> int:
        """Hand on what was received."""
        assert self._part is not None, "asked before the body was received"
        if self._interrupted is not None:
            return 0
        count = self._part.read_into(buffer, self._handed_out)
        self._handed_out += count
        return count

    def interrupt(self, end: BodyEnd, /) -> None:
        """End the body, be it on its way in or out. What went out is right all the same."""
        self._interrupted = self._interrupted or end
        self._body.interrupt(end)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._part is not None:
            self._part.close()

    def _pieces(self) -> Iterator[memoryview]:
        assert self._part is not None, "asked before the body was received"
        step = memoryview(bytearray(STEP))
        start = 0
        while count := self._part.read_into(step, start):
            yield step[:count]
            start += count
            # Hashing waits for nobody, so under gevent nobody else would run meanwhile.
            time.sleep(0)
