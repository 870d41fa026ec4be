"""Read, write and cache the objects of tails: the newest bytes, which do not fill a part yet.

S3 accepts no part below 5 MiB except the last one, so bytes that do not fill a part are stored in
objects of their own until a later request completes the part. `tail_chain.py` says which objects
are the tail of an upload, and `numbered_tails.py` does so for services that ignore conditions.
"""

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
"""The metadata key of the tail's start: the offset of its first byte. tusd does not set it."""

SEAL_KEY = "seal"
"""The metadata key of the size of the seal, which ends the tail object; see `_build_seal`."""

TERMINATED_KEY = "terminated"
"""The metadata key of the tombstone that replaces the tail of a terminated upload."""


@dataclass(frozen=True, slots=True)
class Tail:
    """A version of a tail in S3.

    Attributes:
        start: the offset of the tail's first byte; None if it is not recorded, as in tusd's tails.
        size: the number of the upload's bytes in the object, without the seal.
        etag: the object's ETag.
    """

    start: int | None
    size: int
    etag: str


class TailCache:
    """Cache of the tails that this process wrote, to save reading them from S3.

    Each key has one entry, with the ETag of the cached version. So a tail that another process has
    replaced is a miss.

    Args:
        budget: bytes of memory for all tails; the least recently used are evicted first.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._size = 0
        # The ETag and the content of each key, the least recently used first.
        self._entries: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._mutex = threading.Lock()

    def put(self, key: str, etag: str, content: bytes) -> None:
        """Cache the content of the object `key` in version `etag`, unless it exceeds the budget."""
        with self._mutex:
            self._discard(key)
            if len(content) > self._budget:
                return
            self._size += len(content)
            self._entries[key] = (etag, content)
            while self._size > self._budget:
                self._discard(next(iter(self._entries)))

    def get(self, key: str, etag: str) -> bytes | None:
        """Return the content; None on a miss."""
        with self._mutex:
            entry = self._entries.get(key)
            if entry is None or entry[0] != etag:
                return None
            self._entries.move_to_end(key)
            return entry[1]

    def discard(self, key: str) -> None:
        """Remove the content of the object `key`, which is not needed any more."""
        with self._mutex:
            self._discard(key)

    def _discard(self, key: str) -> None:
        _etag, content = self._entries.pop(key, ("", b""))
        self._size -= len(content)


class TailObject:
    """An object that holds a tail, or a segment of a tail.

    Args:
        bucket: the bucket of the object.
        key: the object's key.
        cache: the process's cache of tails.
    """

    def __init__(self, bucket: Bucket, key: str, cache: TailCache) -> None:
        self._bucket = bucket
        self._key = key
        self._cache = cache
        self._tail: Tail | None = None
        self._is_terminated = False

    @property
    def exists(self) -> bool:
        """Whether the object existed when it was last loaded or written, whatever its start."""
        return self._tail is not None

    @property
    def size(self) -> int:
        """The number of the upload's bytes in the object; 0 if it does not exist."""
        return 0 if self._tail is None else self._tail.size

    @property
    def is_terminated(self) -> bool:
        """Whether the object that was last loaded is the tombstone of a terminated upload."""
        return self._is_terminated

    def load(self) -> None:
        """Look up the object's start, size and ETag. One S3 call."""
        facts = self._bucket.find(self._key)
        if facts is None:
            self._tail = None
            return
        self._is_terminated = TERMINATED_KEY in facts.metadata
        start = _parse_number(facts.metadata.get(START_KEY))
        seal_size = _parse_number(facts.metadata.get(SEAL_KEY)) or 0
        self._tail = Tail(start, facts.size - seal_size, facts.etag)

    def size_at(self, offset: int, *, default_start: int) -> int:
        """Return the size of the tail if it starts exactly at `offset`, else 0.

        D-02: a tail with another start does not count.

        Args:
            offset: where the parts end.
            default_start: the start of a tail that does not record it, such as tusd's.
        """
        if self._tail is None:
            return 0
        start = default_start if self._tail.start is None else self._tail.start
        return self._tail.size if start == offset else 0

    def read(self) -> Iterator[bytes]:
        """Yield the tail's bytes in chunks, from the cache or from S3.

        Raises:
            StoreUnavailable: S3 did not answer, or the tail has changed.
        """
        assert self._tail is not None
        cached = self._cache.get(self._key, self._tail.etag)
        if cached is not None:
            yield cached
            return
        left = self._tail.size
        try:
            chunks = self._bucket.read(
                self._key, 0, left, etag=self._tail.etag, chunk_size=CHUNK_SIZE
            )
        except NotFound as error:
            raise StoreUnavailable("reading the tail") from error
        with closing(chunks):
            for chunk in chunks:
                left -= len(chunk)
                yield chunk
        if left:  # A truncated tail would shift the bytes that follow it.
            raise StoreUnavailable("reading the tail")

    @property
    def has_start(self) -> bool:
        """Whether the object exists and records its start."""
        return self._tail is not None and self._tail.start is not None

    def write(self, start: int, part: SpooledPart) -> None:
        """Write the bytes of `part` as the tail that starts at the offset `start`. One S3 call.

        D-11: the write is conditional on the ETag, which the seal makes unique.

        Raises:
            LockLost: another request has replaced or deleted the tail.
            StoreUnavailable: S3 did not answer.
        """
        payload = _add_seal(part.payload(), _build_seal(start))
        condition = Condition(None if self._tail is None else self._tail.etag)
        metadata = _build_metadata(start, payload.size - part.size)
        etag = self._bucket.put(self._key, payload, metadata=metadata, condition=condition)
        self._note_written(start, part, payload, etag)

    def write_unconditionally(self, start: int, part: SpooledPart) -> bool:
        """Write the bytes of `part` without a condition; return whether that took one attempt.

        Raises:
            StoreUnavailable: S3 did not answer.
        """
        payload = part.payload()
        metadata = _build_metadata(start, 0)
        written = self._bucket.put_unconditionally(self._key, payload, metadata=metadata)
        self._note_written(start, part, payload, written.etag)
        return written.is_only_attempt

    def _note_written(self, start: int, part: SpooledPart, payload: Payload, etag: str) -> None:
        if isinstance(payload.content, bytes | bytearray):
            with memoryview(payload.content) as content:
                self._cache.put(self._key, etag, bytes(content[: part.size]))
        else:
            self.discard_cached()
        self._tail = Tail(start, part.size, etag)

    def discard_cached(self) -> None:
        """Free the memory of the content, which is in a confirmed part or in the object."""
        self._cache.discard(self._key)

    def delete(self) -> None:
        """Delete the object if it exists."""
        self._bucket.delete(self._key)
        self.discard_cached()
        self._tail = None

    def write_tombstone(self) -> None:
        """Replace the tail, which may not exist, by the tombstone of a terminated upload.

        The tombstone is empty and a tail is not, so their ETags differ, and a late conditional
        write of a tail fails.
        """
        self._bucket.put(self._key, Payload.of(b""), metadata={TERMINATED_KEY: "true"})
        self.discard_cached()
        self._tail = None


def _build_metadata(start: int, seal_size: int) -> dict[str, str]:
    seal = {SEAL_KEY: str(seal_size)} if seal_size else {}
    return {START_KEY: str(start), **seal}


def _build_seal(start: int) -> bytes:
    """Return the bytes that follow the content of a tail that starts at the offset `start`.

    An ETag is the MD5 of the content, and the bytes of a file may repeat. So without the seal, a
    tail could have the ETag of an earlier tail with another start, and a late write that is
    conditional on the earlier tail would overwrite it. Tails with the same start always differ,
    because they only grow.
    """
    return start.to_bytes(8, "big") if start else b""


def _add_seal(payload: Payload, seal: bytes) -> Payload:
    """Append the seal to the payload; return the payload unchanged if the disk is full."""
    content, size = payload.content, payload.size
    if isinstance(content, bytearray):
        try:
            content += seal
        except BufferError:  # a traceback still references a view of the buffer
            content = content + seal
    elif seal and not _try_append(cast("IO[bytes]", content), size, seal):
        return payload
    return Payload(content, size + len(seal), crc32(seal, payload.crc32))


def _try_append(file: IO[bytes], size: int, data: bytes) -> bool:
    with suppress(OSError):
        file.seek(size)
        if file.write(data) == len(data):
            return True
    file.truncate(size)
    return False


def _parse_number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
