"""A cache of the facts about uploads that never change: `UploadFacts`, for the application's hooks.

With this cache, a process reads the record of an upload once for many requests. The cache has a
limit of uploads, and a limit of bytes because metadata may be long.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from tus_wsgi.domain.hooks import UploadFacts
from tus_wsgi.domain.model import MIB, Metadata, UploadId, UploadInfo

MAX_COUNT = 10_000
"""Uploads in a process's cache; the least recently used are evicted first."""

MAX_BYTES = 16 * MIB
"""Bytes of metadata in a process's cache."""


class FactsCache:
    """The facts that a process has read, by the uploads' ids. Methods may be called by any thread.

    Args:
        max_count: the maximum number of uploads.
        max_bytes: the maximum number of bytes of metadata.
    """

    def __init__(self, *, max_count: int = MAX_COUNT, max_bytes: int = MAX_BYTES) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._bytes = 0
        self._facts: OrderedDict[UploadId, UploadFacts] = OrderedDict()
        self._mutex = threading.Lock()

    def get(self, id: UploadId) -> UploadFacts | None:
        """Return the facts of an upload; None if they are not in the cache."""
        with self._mutex:
            facts = self._facts.get(id)
            if facts is not None:
                self._facts.move_to_end(id)
            return facts

    def put(self, facts: UploadFacts) -> None:
        """Add the facts of an upload, and evict the least recently used beyond the limits."""
        with self._mutex:
            self._remove(facts.id)
            self._facts[facts.id] = facts
            self._bytes += _size(facts.metadata)
            while len(self._facts) > self._max_count or self._bytes > self._max_bytes:
                self._remove(next(iter(self._facts)))

    def _remove(self, id: UploadId) -> None:
        facts = self._facts.pop(id, None)
        if facts is not None:
            self._bytes -= _size(facts.metadata)


def facts_of(info: UploadInfo) -> UploadFacts:
    """Return what was fixed when the upload was created."""
    return UploadFacts(info.id, info.length, info.metadata, info.owner, info.created)


def _size(metadata: Metadata) -> int:
    """Return about how many bytes the metadata takes in memory."""
    pairs = sum(len(key) + len(value) for key, value in metadata.pairs)
    return pairs + len(metadata.raw or "")
