"""What the holder of a lock leaves for its successor, so that this one need not look again.

A client that sends its file in many requests mostly sends them over one connection, so to one
process. Only the locker can tell whether anybody else has held the lock between two of them.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from tus_wsgi.domain.interfaces import Upload
from tus_wsgi.domain.model import UploadId

COUNT = 256
"""Uploads that are remembered, per process; the longest untouched are forgotten first."""

LIFETIME = 60.0
"""Seconds until one is forgotten. Nobody but the holders of its lock changes an upload; except the
owner of a bucket, whose rules remove unfinished ones after days."""


class Carrier(Protocol):
    """A lock, as far as memos go."""

    found: Upload | None
    memo: Upload | None


@dataclass(frozen=True, slots=True)
class _Memo:
    mark: Hashable
    upload: Upload
    written: float


class UploadCache:
    """The memos of one process, by upload.

    Args:
        count: how many there are at most.
        lifetime: seconds after which one counts for nothing.
    """

    def __init__(self, *, count: int = COUNT, lifetime: float = LIFETIME) -> None:
        self._count = count
        self._lifetime = lifetime
        self._memos: OrderedDict[UploadId, _Memo] = OrderedDict()
        self._mutex = threading.Lock()

    def leave(self, id: UploadId, mark: Hashable, upload: Upload) -> None:
        """Leave `upload` for whoever finds that the lock was held last under this `mark`."""
        with self._mutex:
            self._memos.pop(id, None)
            self._memos[id] = _Memo(mark, upload, time.monotonic())
            self._forget()

    def take(self, id: UploadId, mark: Hashable) -> Upload | None:
        """What was left by the holder of this `mark`. In any case it is forgotten here."""
        with self._mutex:
            memo = self._memos.pop(id, None)
        if memo is None or memo.mark != mark:
            return None
        return None if self._is_old(memo) else memo.upload

    def _forget(self) -> None:
        """Those that are too many or too old; they are in the order in which they were left."""
        while self._memos:
            oldest = next(iter(self._memos.values()))
            if len(self._memos) <= self._count and not self._is_old(oldest):
                return
            self._memos.popitem(last=False)

    def _is_old(self, memo: _Memo) -> bool:
        return time.monotonic() - memo.written >= self._lifetime

    @contextmanager
    def handed_on(
        self, id: UploadId, lock: Carrier, *, before: Hashable, now: Hashable
    ) -> Iterator[None]:
        """Give `lock` what the holder before has left, and keep what this one does, if it succeeds.

        Args:
            id: the upload.
            lock: what its holder sees of the lock.
            before: the mark of whoever held the lock last, in whatever process.
            now: the mark of this holder; no two are alike.
        """
        lock.found = self.take(id, before)
        yield
        if lock.memo is not None:
            self.leave(id, now, lock.memo)
