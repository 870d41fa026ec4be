"""Decide whether a 403 to a read stands for a missing object.

If the credentials lack `s3:ListBucket`, which a server does not need, S3 answers 403 instead of 404
for an object that does not exist. A missing permission, a policy that is being changed, and an
outage of the identity service look the same. D-07: such a 403 counts as absence only if

1. a random key in the same folder gets a 403 too, so absence is hidden here;
2. then another object in the same folder can be read, so reads are allowed;
3. then the first read is repeated, and gets a 403 again;
4. this process has not read or written the object within `TRACE_TIME`.

Otherwise it is a failure. Policies grant permissions by key prefix, so evidence counts only in the
folder of the object: the part of its key up to the last slash.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeVar

from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.stores.s3.errors import Forbidden, NotFound

TRACE_TIME = 5.0
"""Seconds for which an object that was read or written counts as existing, even after a 403."""

VERDICT_TIME = 60.0
"""Seconds for which a process remembers that S3 hides absence in a folder."""

MAX_SIGHTINGS = 128
"""Objects that are remembered; the least recently seen are forgotten first."""

MAX_READS = 3
"""The maximum number of known objects that a proof tries to read. One may be too few, because
another process may have deleted it."""

PROBE_INTERVAL = 1.0
"""Seconds between two temporary objects in a folder, so that unknown ids do not cause many."""

PROBE_PREFIX = "tus-wsgi-check-"
"""The prefix of names that no upload has: an upload's id has 22 characters."""

_Read = TypeVar("_Read")


class Sightings:
    """The objects that this process has read or written successfully, and when."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, float] = OrderedDict()
        self._mutex = threading.Lock()

    def add(self, key: str) -> None:
        """Remember that the object exists now."""
        with self._mutex:
            self._times[key] = time.monotonic()
            self._times.move_to_end(key)
            if len(self._times) > MAX_SIGHTINGS:
                self._times.popitem(last=False)

    def discard(self, key: str) -> None:
        """Forget the object, which was deleted."""
        with self._mutex:
            self._times.pop(key, None)

    def is_recent(self, key: str) -> bool:
        """Return whether the object existed within the last `TRACE_TIME`."""
        with self._mutex:
            seen = self._times.get(key)
        return seen is not None and time.monotonic() - seen < TRACE_TIME

    def in_folder(self, folder: str) -> list[str]:
        """Return the known objects in a folder, the most recently seen first."""
        with self._mutex:
            return [key for key in reversed(self._times) if folder_of(key) == folder]


class ObjectAccess(Protocol):
    """The S3 calls that a proof needs."""

    def read_facts(self, key: str) -> object:
        """Read from an object with GetObject.

        Raises:
            NotFound: S3's error document says that the object does not exist.
            Forbidden: S3 answered 403.
            StoreUnavailable: any other failure.
        """

    def write_probe(self, key: str) -> None:
        """Write a small object."""

    def delete_probe(self, key: str) -> None:
        """Delete the small object."""


class HiddenAbsence:
    """Proves that objects are missing where S3 answers 403 for them.

    Args:
        access: makes the S3 calls.
        sightings: the objects that can be read if reads are allowed.
    """

    def __init__(self, access: ObjectAccess, sightings: Sightings) -> None:
        self._access = access
        self._sightings = sightings
        self._hidden_until: dict[str, float] = {}
        self._next_probe: dict[str, float] = {}

    def confirm(self, key: str, read: Callable[[], _Read], error: Forbidden) -> _Read:
        """Raise NotFound if a 403 stands for a missing object; otherwise repeat the read.

        Two S3 calls, or four if this process has not checked the folder within `VERDICT_TIME`.
        Returns the result of the second read.

        Args:
            key: the object that `read` reads.
            read: repeats the read.
            error: S3's answer to the first read.

        Raises:
            NotFound: the object does not exist.
            StoreUnavailable: the 403 does not stand for a missing object.
        """
        if error.proves_absence:
            raise NotFound from error
        if not error.has_document or self._sightings.is_recent(key):
            raise error
        if not self._hides_only_absence(folder_of(key)):
            raise error
        try:
            return read()
        except Forbidden as second:
            if not second.has_document:
                raise
            raise NotFound from second

    def _hides_only_absence(self, folder: str) -> bool:
        """Return whether S3 hides absence in the folder, and allows reads now."""
        if time.monotonic() < self._hidden_until.get(folder, 0.0):
            return self._can_read(folder)
        hides_only_absence = self._is_hidden(folder) and self._can_read(folder)
        # Probe a second time, because the result is remembered: the first 403 may come from an
        # outage that is over now.
        is_certain = hides_only_absence and self._is_hidden(folder)
        if not is_certain:
            return False
        _set_bounded(self._hidden_until, folder, time.monotonic() + VERDICT_TIME)
        return True

    def _is_hidden(self, folder: str) -> bool:
        """Return whether S3 answers 403 for a key that certainly does not exist. One S3 call."""
        try:
            self._access.read_facts(folder + PROBE_PREFIX + secrets.token_hex(8))
        except Forbidden as error:
            return error.has_document
        except NotFound:
            return False
        return False

    def _can_read(self, folder: str) -> bool:
        """Return whether an object in the folder can be read. One S3 call in general.

        If this process knows no object that exists, three calls write, read and delete one.
        """
        for key in self._sightings.in_folder(folder)[:MAX_READS]:
            with suppress(NotFound, Forbidden):
                self._access.read_facts(key)
                return True
        if time.monotonic() < self._next_probe.get(folder, 0.0):
            return False
        can_read = self._can_read_probe(folder + PROBE_PREFIX + secrets.token_hex(8))
        if can_read:
            _set_bounded(self._next_probe, folder, time.monotonic() + PROBE_INTERVAL)
        return can_read

    def _can_read_probe(self, key: str) -> bool:
        """Return whether an object that is written for this purpose can be read."""
        try:
            self._access.write_probe(key)
            self._access.read_facts(key)
        except (NotFound, Forbidden):
            return False
        finally:
            with suppress(NotFound, StoreUnavailable):
                self._access.delete_probe(key)
        return True


def _set_bounded(times: dict[str, float], folder: str, instant: float) -> None:
    """Set the time of a folder, and forget the other folders if there are many."""
    if len(times) >= MAX_SIGHTINGS:
        times.clear()
    times[folder] = instant


def folder_of(key: str) -> str:
    """Return the part of the key up to and including the last slash; empty if it has none."""
    return key[: key.rfind("/") + 1]
