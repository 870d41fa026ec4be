"""A cache of uploads between two requests of one process.

A client that sends its file in many requests mostly sends them over one connection, and so to the
same process. The next request need not read the upload from the store again if no other request
has changed it meanwhile. Only the lock can tell: see `Lock.previous_holder`.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from tus_wsgi.domain.interfaces import Upload
from tus_wsgi.domain.model import UploadId

MAX_COUNT = 256
"""Uploads in a process's cache; the least recently cached are evicted first."""

MAX_AGE = 60.0
"""Seconds after which a cached upload is ignored. Only the holder of the lock changes an upload,
except for the bucket's lifecycle rules, which remove unfinished uploads after days."""


@dataclass(frozen=True, slots=True)
class _Entry:
    holder: Hashable
    upload: Upload
    cached_at: float


class UploadCache:
    """The uploads that a process has cached, by their ids. Methods may be called from any thread.

    Args:
        max_count: the maximum number of cached uploads.
        max_age: seconds after which a cached upload is ignored.
    """

    def __init__(self, *, max_count: int = MAX_COUNT, max_age: float = MAX_AGE) -> None:
        self._max_count = max_count
        self._max_age = max_age
        self._entries: OrderedDict[UploadId, _Entry] = OrderedDict()
        self._mutex = threading.Lock()

    def put(self, holder: Hashable | None, upload: Upload) -> None:
        """Cache `upload` for the next holder of its lock. Call this before the lock is released.

        Args:
            holder: see `Lock.holder`. If it is None, the upload is not cached.
            upload: the upload. The holder must not use it any more.
        """
        if holder is None:
            return
        id = upload.info.id
        with self._mutex:
            self._entries.pop(id, None)
            self._entries[id] = _Entry(holder, upload, time.monotonic())
            self._evict()

    def take(self, id: UploadId, previous_holder: Hashable | None) -> Upload | None:
        """Remove the upload from the cache, and return it if it is still up to date.

        Args:
            id: the upload.
            previous_holder: see `Lock.previous_holder`.
        """
        with self._mutex:
            entry = self._entries.pop(id, None)
        if entry is None or previous_holder is None or entry.holder != previous_holder:
            return None
        return None if self._is_too_old(entry) else entry.upload

    def _evict(self) -> None:
        """Remove entries beyond the maximum count or age. The oldest entry is the first."""
        while self._entries:
            oldest = next(iter(self._entries.values()))
            if len(self._entries) <= self._max_count and not self._is_too_old(oldest):
                return
            self._entries.popitem(last=False)

    def _is_too_old(self, entry: _Entry) -> bool:
        return time.monotonic() - entry.cached_at >= self._max_age
