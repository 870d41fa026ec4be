"""Create final uploads, which are concatenated from partial uploads.

A final upload is loaded and finished like any other (`tus_wsgi.service.finish`). Only its creation
and the handling of missing partial uploads are different.

If a partial upload is not finished yet, the final upload waits. After the last partial upload was
finished, the next HEAD request for the final upload, or `tus-wsgi sweep`, makes the object. The
request that finishes the last partial upload does not make the object: it would need a list of the
waiting final uploads, and another request may hold the lock of the record with that list.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tus_wsgi.domain.errors import (
    ClientDisconnected,
    InvalidPartial,
    StoreUnavailable,
    UploadGone,
)
from tus_wsgi.domain.hooks import Request
from tus_wsgi.domain.interfaces import AssertHeld, Lock, Store, Upload
from tus_wsgi.domain.model import UploadInfo
from tus_wsgi.domain.rules import check_fits
from tus_wsgi.service.authorize import NO_CALLER, Caller, ClientIsGone
from tus_wsgi.service.finish import Finisher

log = logging.getLogger(__name__)


class Concatenator:
    """Creates final uploads.

    Args:
        store: stores the uploads.
        finisher: finishes a final upload whose partial uploads are all finished.
        may_wait: whether a final upload may be created before its partial uploads are finished.
        max_size: bytes of the largest upload.
    """

    def __init__(self, store: Store, finisher: Finisher, *, may_wait: bool, max_size: int) -> None:
        self._store = store
        self._finisher = finisher
        self._may_wait = may_wait
        self._max_size = max_size

    def create_final(self, info: UploadInfo, lock: Lock, caller: Caller = NO_CALLER) -> Upload:
        """Create the final upload `info`, and its object if all partial uploads are finished.

        If the object cannot be made, the final upload is removed, because the client does not learn
        its URL. Once the object exists, the upload stays, because the application may know of it.
        Then call `finish`.

        Raises:
            InvalidPartial: the upload cannot be made of these partial uploads.
            UploadTooLarge: the partial uploads are too long together.
            ClientDisconnected: the client is gone, so nothing is made.
            LockLost, StoreUnavailable: the object could not be made. The client may try again.
        """
        upload = self._store.create(info, record_now=False)
        upload.load_offset()
        length = upload.info.length
        check_fits(0, None, length, info.plan.cap(self._max_size))
        if upload.info.is_full:
            self._assemble(upload, lock, caller.client_is_gone)
            return upload
        if not self._may_wait:
            raise InvalidPartial("not every partial upload is finished")
        # `upload` was not recorded. Record the final upload, now with its length.
        return self._store.create(replace(info, length=length), record_now=True)

    def _assemble(self, upload: Upload, lock: Lock, client_is_gone: ClientIsGone) -> None:
        """Make the object, or remove the upload if that fails."""
        try:
            upload.assemble(wanted_check(lock, client_is_gone))
        except (InvalidPartial, StoreUnavailable, UploadGone, ClientDisconnected):
            try:
                upload.terminate(lock.assert_held)
            except StoreUnavailable as error:
                log.warning("a final upload was not removed completely: %s", error.brief)
            raise

    def finish(self, upload: Upload, lock: Lock, request: Request | None) -> Upload:
        """Finish a new upload if it is assembled. Return it as it is then.

        Retry once: after an error, the client starts from zero.

        Raises:
            OnFinishFailed, UploadRejected: the application's hook raised, or rejected the file.
            LockLost, StoreUnavailable: the next request for the upload finishes it.
        """
        try:
            self._finisher.finish_if_full(upload, lock, request)
        except StoreUnavailable as error:
            log.warning("the store failed while a final upload was finished: %s", error.brief)
            upload = self._store.open(upload.info.id)
            upload.load_offset(lock.assert_held)
            self._finisher.finish_if_full(upload, lock, request)
        return upload


def wanted_check(lock: Lock, client_is_gone: ClientIsGone) -> AssertHeld:
    """Return a function that checks the lock, and that the client still waits for the response.

    A concatenation may take minutes. A client that gave up must not occupy the server.

    The function raises:
        LockLost: another request holds the lock.
        ClientDisconnected: the client is gone.
    """

    def check() -> None:
        lock.assert_held()
        if client_is_gone():
            raise ClientDisconnected(0)

    return check


@contextmanager
def missing_partial_means_gone() -> Iterator[None]:
    """Treat an existing final upload without one of its partial uploads as gone for good.

    Raises:
        UploadGone: instead of `InvalidPartial`, which tells the client that its list is wrong.
    """
    try:
        yield
    except InvalidPartial as error:
        raise UploadGone(str(error)) from error
