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

The tail of `tail_chain.py`, which tusd and processes that honour conditions write, counts if there
is no numbered tail. A numbered tail has all bytes from the end of the parts on: without conditions,
no write can depend on what other holders have written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from tus_wsgi.domain.crc import crc32
from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.spool.part import SpooledPart
from tus_wsgi.spool.payload import Payload
from tus_wsgi.spool.spool import Spool
from tus_wsgi.stores.s3.bucket import Bucket
from tus_wsgi.stores.s3.keys import numbered_key
from tus_wsgi.stores.s3.tail_chain import TailChain, TailLayout, prepend
from tus_wsgi.stores.s3.tails import START_KEY, TailCache, TailObject

MARKER = "marker"
"""The recorded start of a marker, which has no bytes of the upload."""


class NumberedTails:
    """The tails of one upload.

    Args:
        bucket: the bucket of the objects.
        key: the key of the `.part` object.
        cache: the process's cache of tails.
        spool: buffers the tail that a request continues.
    """

    def __init__(self, bucket: Bucket, key: str, cache: TailCache, spool: Spool) -> None:
        self._bucket = bucket
        self._key = key
        self._cache = cache
        self._spool = spool
        self._unnumbered = TailChain(bucket, key, cache, spool)
        self._numbered: TailObject | None = None  # the tail with the highest number
        self._start = 0  # the offset at which the numbered tails start
        self._numbers = 0  # the highest number
        self._is_own = False  # whether only this instance writes to the highest number

    @property
    def exists(self) -> bool:
        """Whether any object existed when the tails were last loaded or written."""
        return self._numbers > 0 or self._unnumbered.exists

    @property
    def is_terminated(self) -> bool:
        """Whether the `.part` object is the tombstone of a terminated upload."""
        return self._unnumbered.is_terminated

    def note_absent(self) -> None:
        """Note that the upload is new, so none of the objects exists."""
        self._unnumbered.note_absent()

    def load(self) -> None:
        """Look up the `.part` object. One S3 call. `load_rest` and `load_numbers` must follow."""
        self._unnumbered.load()

    def load_rest(self, layout: TailLayout) -> None:
        """Look up the tail without a number; see `TailChain.load_rest`."""
        self._unnumbered.load_rest(layout)

    def load_numbers(self, start: int) -> None:
        """Look up the tails that start at the offset `start`.

        One S3 call for each, and one to find that the next number is missing.
        """
        self._start, self._numbers, self._is_own = start, 0, False
        self._numbered = None
        while (tail := self._load_number(self._numbers + 1)).exists:
            self._numbers += 1
            if tail.has_start:
                self._numbered = tail

    def size_at(self, offset: int) -> int:
        """Return the size of the tail that counts if it starts exactly at `offset`, else 0."""
        if self._numbered is None:
            return self._unnumbered.size_at(offset)
        return self._numbered.size_at(offset, default_start=offset)

    def read(self) -> Iterator[bytes]:
        """Yield the bytes of the tail that counts; see `TailObject.read`."""
        return (self._numbered or self._unnumbered).read()

    def write(self, layout: TailLayout, position: int, part: SpooledPart) -> None:
        """Write the tail: its bytes so far, and those of `part`.

        Args:
            layout: where the tail is.
            position: the offset of the first byte of `part`: the start, or the end of the tail.
            part: the bytes from `position`.

        One S3 call, or two for the first write and after a write of unknown outcome. The first
        write at a new start takes one more to look up the first number, and one more for each
        object at the old start, which is deleted.

        Raises:
            StoreUnavailable: S3 did not answer, or the spool is full.
        """
        start = layout.start
        if position > start:
            with prepend(self._spool, position - start, self.read(), part) as whole:
                self._write(start, whole)
        else:
            self._write(start, part)

    def _write(self, start: int, part: SpooledPart) -> None:
        old = [] if start == self._start else self._numbered_keys()
        if start != self._start:
            self.load_numbers(start)
        if not self._is_own:
            self._write_marker()
        self._is_own = False
        tail = TailObject(self._bucket, self._numbered_key(self._numbers), self._cache)
        self._is_own = tail.write_unconditionally(start, part)
        self._numbered = tail
        for key in old:
            # The bytes of these tails are in a part, so no tail can follow at their keys (D-04).
            with suppress(StoreUnavailable):
                self._bucket.delete(key)

    def discard_cached(self) -> None:
        """Free the memory of the tail, whose bytes are in a confirmed part or in the object."""
        self._unnumbered.discard_cached()
        if self._numbered is not None:
            self._numbered.discard_cached()

    def delete(self) -> None:
        """Delete the objects, the last number first, so that a retry finds the others."""
        self._delete_numbers()
        self._unnumbered.delete()

    def write_tombstone(self) -> None:
        """Replace the `.part` object by a tombstone, and delete all other objects.

        A sweep deletes the numbered tails that this instance has not found.
        """
        self._unnumbered.write_tombstone()
        self._delete_numbers()

    def _delete_numbers(self) -> None:
        self.discard_cached()
        for key in self._numbered_keys():
            self._bucket.delete(key)
        self._numbered = None
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
        self._numbers += 2  # the marker, and the number that is reserved now

    def _numbered_keys(self) -> list[str]:
        return [self._numbered_key(number) for number in range(self._numbers, 0, -1)]

    def _numbered_key(self, number: int) -> str:
        return numbered_key(self._key, self._start, number)
