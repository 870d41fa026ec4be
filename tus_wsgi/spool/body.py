"""Bodies that are buffered until their checksum is verified.

A store keeps every byte that it reads, so it must not read a byte that may be wrong.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

from tus_wsgi.domain.checksums import Algorithm, digest
from tus_wsgi.domain.errors import UploadTooLarge
from tus_wsgi.domain.interfaces import Body, BodyEnd
from tus_wsgi.domain.model import KIB
from tus_wsgi.spool.part import SpooledPart, read_end
from tus_wsgi.spool.spool import Spool

STEP = 256 * KIB
"""Bytes that are hashed at once. Other greenlets can run between two steps."""


class SpooledBody:
    """A body that is received into a spool before it can be read.

    It implements `tus_wsgi.domain.interfaces.BufferedBody`. With `functools.partial` for its first
    argument, the class implements `tus_wsgi.domain.interfaces.BodyBuffer`.

    Args:
        spool: the memory and the disk for the bytes.
        body: the request's body.
    """

    def __init__(self, spool: Spool, body: Body) -> None:
        self._spool = spool
        self._body = body
        self._allowed = 0
        self._part: SpooledPart | None = None
        self._position = 0
        self._interrupted: BodyEnd | None = None

    @property
    def content_length(self) -> int | None:
        """The announced length of the body; after `receive`, the number of received bytes."""
        return self._body.content_length if self._part is None else self._part.size

    @property
    def end(self) -> BodyEnd:
        """Why reading ended: every byte has been read, or the body was interrupted."""
        assert self._part is not None, "asked before the body was received"
        if self._position == self._part.size:
            return BodyEnd.COMPLETE
        assert self._interrupted is not None, "asked before the body had ended"
        return self._interrupted

    def limit(self, size: int) -> None:
        """Receive at most `size` bytes."""
        room = self._spool.max_part_size
        self._allowed = size if room is None else min(size, room)
        self._body.limit(self._allowed)

    def receive(self) -> BodyEnd:
        """Receive the whole body, and return why it ended.

        Raises:
            UploadTooLarge: the body can never be buffered, because it exceeds both budgets.
            StoreUnavailable: the disk is full, or other bodies use up the budget.
        """
        content_length = self._body.content_length
        room = self._spool.max_part_size
        if room is not None and (content_length or 0) > room:
            raise UploadTooLarge(room, content_length)
        capacity = self._allowed if content_length is None else min(content_length, self._allowed)
        # `expected` is None, so that memory grows with the bytes: a client may announce any length.
        self._part = self._spool.part(capacity, None)
        self._part.fill(self._body)
        if self._part.error is not None:
            raise self._part.error
        read_end(self._body)
        if self._body.end is BodyEnd.TOO_LONG and self._allowed == room:
            raise UploadTooLarge(room, None)
        return self._body.end

    def digest(self, algorithm: Algorithm) -> bytes:
        """Return the digest of the received bytes."""
        return digest(algorithm, self._chunks())

    def trailers(self) -> Mapping[str, str]:
        """Return the trailer fields of the request."""
        return self._body.trailers()

    def readinto(self, buffer: memoryview, /) -> int:
        """Read received bytes into `buffer`, and return their number."""
        assert self._part is not None, "asked before the body was received"
        if self._interrupted is not None:
            return 0
        count = self._part.read_into(buffer, self._position)
        self._position += count
        return count

    def interrupt(self, end: BodyEnd, /) -> None:
        """End the body, while it is received or read. Bytes that have been read stay valid."""
        self._interrupted = self._interrupted or end
        self._body.interrupt(end)

    def is_interrupted(self) -> bool:
        """Return whether the body was interrupted, or the request's body by a stopping server.

        A complete body can still be read in the second case.
        """
        return self._interrupted is not None or self._body.is_interrupted()

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

    def _chunks(self) -> Iterator[memoryview]:
        assert self._part is not None, "asked before the body was received"
        step = memoryview(bytearray(STEP))
        start = 0
        while count := self._part.read_into(step, start):
            yield step[:count]
            start += count
            # Hashing does no I/O, so under gevent no other greenlet would run meanwhile.
            time.sleep(0)
