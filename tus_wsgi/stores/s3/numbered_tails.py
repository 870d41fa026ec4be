"""Tails on a service that ignores conditional writes: each key has one writer (D-11).

Without conditions, a write that S3 carries out late overwrites whatever is at its key. So a holder
of the lock that does not know of all earlier writes never writes to a key of another holder. The
keys of the tails that start at one offset end with the numbers 1, 2, ...:

1. A new holder looks up the numbers until one is missing.
2. It writes a marker at the missing number. An earlier holder may still write a tail there, which
   is harmless: a tail that was not acknowledged has true bytes too.
3. It writes its own tails at the next number, as long as the outcome of each write is known.

So the numbers have no gap, every reader finds the last one, and the tail with the highest number
has all acknowledged bytes: its writer began with the bytes of the tails before it.

The `.part` object, which tusd writes too, counts if there is no numbered tail.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from tus_wsgi.domain.crc import crc32
from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.spool.part import SpooledPart
from tus_wsgi.spool.payload import Payload
from tus_wsgi.stores.s3.bucket import Bucket
from tus_wsgi.stores.s3.tails import START_KEY, TailCache, TailObject

MARKER = "marker"
"""The recorded start of a marker, which has no bytes of the upload."""


class NumberedTails:
    """The tails of one upload.

    Args:
        bucket: the bucket of the objects.
        key: the key of the `.part` object.
        cache: the process's cache of tails.
    """

    def __init__(self, bucket: Bucket, key: str, cache: TailCache) -> None:
        self._bucket = bucket
        self._key = key
        self._cache = cache
        self._unnumbered = self._current = TailObject(bucket, key, cache)
        self._start = 0
        self._numbers = 0
        self._is_own = False  # whether only this instance writes to the last number

    @property
    def exists(self) -> bool:
        """Whether any object existed when the tails were last loaded or written."""
        return self._numbers > 0 or self._unnumbered.exists

    @property
    def is_terminated(self) -> bool:
        """Whether the `.part` object is the tombstone of a terminated upload."""
        return self._unnumbered.is_terminated

    def load(self) -> None:
        """Look up the `.part` object. One S3 call. `load_numbers` must follow."""
        self._unnumbered.load()

    def load_numbers(self, start: int) -> None:
        """Look up the tails that start at the offset `start`. One S3 call for each, and one."""
        self._start, self._numbers, self._is_own = start, 0, False
        self._current = self._unnumbered
        while (tail := self._load_number(self._numbers + 1)).exists:
            self._numbers += 1
            if tail.has_start:
                self._current = tail

    def size_at(self, offset: int, *, default_start: int) -> int:
        """Return the size of the tail that counts if it starts exactly at `offset`, else 0."""
        return self._current.size_at(offset, default_start=default_start)

    def read(self) -> Iterator[bytes]:
        """Yield the bytes of the tail that counts; see `TailObject.read`."""
        return self._current.read()

    def write(self, start: int, part: SpooledPart) -> None:
        """Write the bytes of `part` as the tail that starts at the offset `start`.

        One S3 call. The first time, or after a write of unknown outcome, two; at a new start,
        one more for each object at the old one, and one to look up the first number.

        Raises:
            StoreUnavailable: S3 did not answer.
        """
        old = [] if start == self._start else self._numbered_keys()
        if start != self._start:
            self.load_numbers(start)
        if not self._is_own:
            self._write_marker()
        self._is_own = False
        tail = TailObject(self._bucket, self._numbered_key(self._numbers), self._cache)
        self._is_own = tail.write_unconditionally(start, part)
        self._current = tail
        for key in old:
            # The bytes of these tails are in a part, so no tail can follow at their keys (D-04).
            with suppress(StoreUnavailable):
                self._bucket.delete(key)

    def delete(self) -> None:
        """Delete the objects, the last number first, so that a retry finds the others."""
        for key in (*self._numbered_keys(), self._key):
            self._bucket.delete(key)
        self._numbers = 0
        self._is_own = False
        self._unnumbered = self._current = TailObject(self._bucket, self._key, self._cache)

    def write_tombstone(self) -> None:
        """Replace the `.part` object by a tombstone, and delete the numbered objects.

        A sweep deletes those that this instance has not found.
        """
        self._unnumbered.write_tombstone()
        for key in self._numbered_keys():
            self._bucket.delete(key)
        self._numbers = 0
        self._is_own = False

    def _load_number(self, number: int) -> TailObject:
        tail = TailObject(self._bucket, self._numbered_key(number), self._cache)
        tail.load()
        return tail

    def _write_marker(self) -> None:
        """Reserve the number after the next one for this instance."""
        payload = Payload(bytearray(1), 1, crc32(bytes(1), 0))
        key = self._numbered_key(self._numbers + 1)
        self._bucket.put(key, payload, metadata={START_KEY: MARKER})
        self._numbers += 2

    def _numbered_keys(self) -> list[str]:
        return [self._numbered_key(number) for number in range(self._numbers, 0, -1)]

    def _numbered_key(self, number: int) -> str:
        return f"{self._key}.{self._start}.{number}"
