"""Tails and the memory of them: the newest bytes of an upload, while they do not fill a part."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import IO, cast

from tus_wsgi.domain.crc import crc32
from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.spool.part import SpooledPart
from tus_wsgi.spool.payload import Payload
from tus_wsgi.stores.s3.bucket import Bucket, Condition
from tus_wsgi.stores.s3.content import CHUNK_SIZE
from tus_wsgi.stores.s3.errors import NotFound

START_KEY = "start"
"""The tail object's metadata key for the offset of its first byte, in decimal.

tusd writes tails without it, and does not see it.
"""


SEAL_KEY = "seal"
"""The metadata key for how many bytes of a tail object are its seal, in decimal; see `_seal`."""


@dataclass(frozen=True, slots=True)
class Tail:
    """A tail that S3 has.

    Attributes:
        start: the offset of its first byte; None where nobody recorded it (tusd).
        size: bytes, without its seal.
        etag: what S3 calls this version of it.
        seal: bytes of its seal.
    """

    start: int | None
    size: int
    etag: str
    seal: int = 0


class TailCache:
    """The bytes of the tails that this process wrote last, so that they need not be read back.

    A tail is found by its etag, so one that another process has replaced is never taken for it.

    Args:
        budget: bytes of memory for all of them; the least recently used go first.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._size = 0
        self._bytes: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._mutex = threading.Lock()

    def put(self, key: str, etag: str, content: bytes) -> None:
        """Remember the object `key` in its version `etag`, if there is room for it at all."""
        if len(content) > self._budget:
            return
        with self._mutex:
            self._size += len(content) - len(self._bytes.pop((key, etag), b""))
            self._bytes[key, etag] = content
            while self._size > self._budget:
                self._size -= len(self._bytes.popitem(last=False)[1])

    def pop(self, key: str, etag: str) -> bytes | None:
        """Hand out what is remembered, and forget it."""
        with self._mutex:
            content = self._bytes.pop((key, etag), None)
            self._size -= len(content or b"")
        return content


class TailObject:
    """The tail object of one upload.

    Args:
        bucket: where it is.
        key: its key.
        cache: what this process remembers of tails.
    """

    def __init__(self, bucket: Bucket, key: str, cache: TailCache) -> None:
        self._bucket = bucket
        self._key = key
        self._cache = cache
        self._tail: Tail | None = None

    @property
    def exists(self) -> bool:
        """Whether there is one, of whatever start, as far as is known."""
        return self._tail is not None

    def load(self) -> None:
        """Find out whether there is one. One S3 call."""
        try:
            facts = self._bucket.head(self._key)
        except NotFound:
            self._tail = None
            return
        start, seal = (
            _number(facts.metadata.get(START_KEY)),
            _number(facts.metadata.get(SEAL_KEY)) or 0,
        )
        self._tail = Tail(start, facts.size - seal, facts.etag, seal)

    def size_at(self, base: int, *, default_start: int) -> int:
        """How many bytes it has, if it begins exactly at `base`; any other counts for nothing.

        Args:
            base: where it has to begin.
            unrecorded_start: where one begins that does not say so; tusd's do not.
        """
        if self._tail is None:
            return 0
        start = default_start if self._tail.start is None else self._tail.start
        return self._tail.size if start == base else 0

    def read(self) -> Iterator[bytes]:
        """Its bytes in pieces, from memory if this process wrote them, else from S3.

        Raises:
            StoreUnavailable: S3 did not answer, or the tail has changed.
        """
        assert self._tail is not None
        kept = self._cache.pop(self._key, self._tail.etag)
        if kept is not None:
            yield kept
            return
        left = self._tail.size
        try:
            pieces = self._bucket.read(
                self._key, 0, left, etag=self._tail.etag, chunk_size=CHUNK_SIZE
            )
        except NotFound as error:
            raise StoreUnavailable("reading the tail") from error
        with closing(pieces):
            for piece in pieces:
                left -= len(piece)
                yield piece
        if left:  # What follows it would be stored too far ahead.
            raise StoreUnavailable("reading the tail")

    def write(self, start: int, part: SpooledPart) -> None:
        """Replace it by the bytes of `part`, the first of which is at `start`.

        Raises:
            LockLost: somebody else has replaced it meanwhile.
            StoreUnavailable: S3 did not answer.
        """
        payload = _sealed(part.payload(), _seal(start))
        seal = payload.size - part.size
        etag = self._bucket.put(
            self._key,
            payload,
            metadata={START_KEY: str(start)} | ({SEAL_KEY: str(seal)} if seal else {}),
            condition=Condition(None if self._tail is None else self._tail.etag),
        )
        if isinstance(payload.content, bytes | bytearray):
            with memoryview(payload.content) as content:
                self._cache.put(self._key, etag, bytes(content[: part.size]))
        self._tail = Tail(start, part.size, etag, seal)

    def delete(self) -> None:
        """Remove it. There need not be one."""
        self._bucket.delete(self._key)
        self._tail = None


def _seal(start: int) -> bytes:
    """What is written behind the bytes of a tail that begins at `start`.

    An etag is the MD5 of the content, and a file may repeat itself. So a tail could have the etag
    of one that lay there before, with another start, and a late write on condition of that one
    would replace this one. Tails of the same start only grow.
    """
    return start.to_bytes(8, "big") if start else b""


def _sealed(payload: Payload, seal: bytes) -> Payload:
    """The same with the seal behind it; as it is, where there is no room on the disk for that."""
    content, size = payload.content, payload.size
    if isinstance(content, bytearray):
        try:
            content += seal
        except BufferError:  # a traceback that somebody keeps still looks at it
            content = content + seal
    elif seal and not _appended(cast("IO[bytes]", content), size, seal):
        return payload
    return Payload(content, size + len(seal), crc32(seal, payload.crc32))


def _appended(file: IO[bytes], size: int, data: bytes) -> bool:
    with suppress(OSError):
        file.seek(size)
        if file.write(data) == len(data):
            return True
    file.truncate(size)
    return False


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
