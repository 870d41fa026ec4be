"""Check that a locker works."""

from __future__ import annotations

import secrets

from tus_wsgi.domain.interfaces import Locker
from tus_wsgi.domain.model import UploadId


class LockerCheck:
    """A check that acquires and releases the lock of an upload that does not exist.

    Args:
        locker: a locker whose locks cost nothing.
    """

    def __init__(self, locker: Locker) -> None:
        self._locker = locker
        self._id = UploadId(f"health-{secrets.token_hex(8)}")

    def __call__(self) -> None:
        """Acquire and release the lock.

        Raises:
            UploadLocked, OSError: the locker does not work.
        """
        with self._locker.lock(self._id, on_release_request=_ignore):
            pass


def _ignore() -> None:
    """Ignore a request for the lock: it is released at once."""
