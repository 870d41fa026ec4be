"""Final uploads: what has to hold before one is made of others, and when it can be.

A final upload is measured and finished like any other (`tus_wsgi.service.finish`); only its
beginning, and what becomes of it without its partial ones, is different.

Where the partials are not finished yet, the final upload waits, and is made by whoever looks at it
after the last of them: HEAD or `tus-wsgi sweep`. The request that finishes a partial does not: it
would have to know the final ones, and to note them would change a record that somebody else holds.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tus_wsgi.domain.errors import InvalidPartial, StoreUnavailable, UploadGone
from tus_wsgi.domain.interfaces import Lock, Store, Upload
from tus_wsgi.domain.model import UploadInfo
from tus_wsgi.domain.rules import check_fits
from tus_wsgi.service.finish import Finisher

log = logging.getLogger(__name__)


class Concatenator:
    """Begins final uploads.

    Args:
        store: where uploads live.
        finisher: makes those that can be made.
        may_wait: whether one may be begun before its partials are finished.
        max_size: bytes of the largest upload.
    """

    def __init__(self, store: Store, finisher: Finisher, *, may_wait: bool, max_size: int) -> None:
        self._store = store
        self._finisher = finisher
        self._may_wait = may_wait
        self._max_size = max_size

    def begin(self, info: UploadInfo, lock: Lock) -> UploadInfo:
        """Begin the final upload `info`, and make it if all its partials are finished.

        The client does not learn the URL of one that could not be made, so nothing is left of it;
        but once its file is there the application may know of it, and then it stays.

        Raises:
            PartialUnusable: it cannot be made of these.
            UploadTooLarge: together they are too long.
            FinishRefused: the application's hook raised.
            LockLost, StoreUnavailable: it could not be made. Try again.
        """
        upload = self._store.create(info, record_now=False)
        upload.load_offset()
        length = upload.info.length
        check_fits(0, None, length, self._max_size)
        if upload.info.is_full:
            self._make(upload, lock)
            return self._finished(upload, lock).info
        if not self._may_wait:
            raise InvalidPartial("not every partial upload is finished")
        return self._store.create(replace(info, length=length), record_now=True).info

    def _make(self, upload: Upload, lock: Lock) -> None:
        try:
            upload.assemble(lock.assert_held)
        except (InvalidPartial, StoreUnavailable, UploadGone):
            try:
                upload.terminate(lock.assert_held)
            except StoreUnavailable as error:
                log.warning("something is left of a final upload: %s", error.brief)
            raise

    def _finished(self, upload: Upload, lock: Lock) -> Upload:
        """Finish what is made. A second try is cheaper than what the client would do: all again."""
        try:
            self._finisher.finish_if_full(upload, lock)
        except StoreUnavailable as error:
            log.warning("the store failed while a final upload was finished: %s", error.brief)
            upload = self._store.open(upload.info.id)
            upload.load_offset()
            self._finisher.finish_if_full(upload, lock)
        return upload


@contextmanager
def lost_partials_are_final() -> Iterator[None]:
    """For a final upload that was begun before: without a partial it can never be made.

    Raises:
        UploadGone: instead of `InvalidPartial`, which tells the client that its list is wrong.
    """
    try:
        yield
    except InvalidPartial as error:
        raise UploadGone(str(error)) from error
