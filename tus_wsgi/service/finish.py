"""Finish uploads: make the object, then call the application's hook, then record the state."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from tus_wsgi.domain.answer import Answer, Rejected, Rejection, checked_answer
from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.domain.errors import (
    LockLost,
    OnFinishFailed,
    StoreUnavailable,
    UploadGone,
    UploadRejected,
)
from tus_wsgi.domain.events import UploadFinished
from tus_wsgi.domain.events import UploadRejected as UploadRejectedEvent
from tus_wsgi.domain.hooks import FinishedUpload, OnFinish, Request
from tus_wsgi.domain.interfaces import AssertHeld, Lock, Upload
from tus_wsgi.domain.model import Final, Partial, UploadId, UploadInfo
from tus_wsgi.domain.snapshot import partials_of
from tus_wsgi.service.file_access import FileAccess, Presign

log = logging.getLogger(__name__)


class Finisher:
    """Finishes uploads that are full. Any request for such an upload may finish it (D-06).

    Args:
        on_finish: the application's hook; None for none.
        events: receives `UploadFinished`.
        discard: removes the partial uploads of a finished final upload; None to keep them.
        presign: makes the links of `FinishedUpload.link`.
    """

    def __init__(
        self,
        on_finish: OnFinish | None,
        events: EventDispatcher,
        *,
        discard: Callable[[Iterable[UploadId]], None] | None = None,
        presign: Presign = lambda _info, _content, _lifetime: None,
    ) -> None:
        self._on_finish = on_finish
        self._presign = presign
        self._events = events
        self._discard = discard

    @property
    def has_hook(self) -> bool:
        """Whether the application has an `on_finish` hook."""
        return self._on_finish is not None

    def may_defer_record(self, info: UploadInfo) -> bool:
        """Return whether the record of a finished upload may keep its earlier state.

        False if there is a hook, because the next request would call the hook again. False for a
        partial upload, because a concatenation has to see that the upload is finished.
        """
        return self._on_finish is None and info.concat is None

    def finish_if_full(
        self,
        upload: Upload,
        lock: Lock,
        request: Request | None = None,
        *,
        may_defer: bool = False,
        assert_wanted: AssertHeld | None = None,
    ) -> None:
        """Finish an upload that is full and not finished yet: object, then hook, then record.

        Args:
            upload: the upload, whose offset is loaded.
            lock: the upload's lock.
            request: the request, for the hook; None if there is none.
            may_defer: whether the record need not be written if the object alone shows that the
                upload is finished, because no other request is expected.
            assert_wanted: called before each write of `assemble`; None to check the lock.

        Raises:
            OnFinishFailed: the application's hook raised.
            UploadRejected: the application's hook rejected the file for good.
            InvalidPartial: a partial upload of a final upload was removed meanwhile.
            LockLost, StoreUnavailable: the next request for the upload finishes it.
            UploadGone: the stored bytes were removed.
        """
        if not upload.info.is_full or upload.info.is_finished:
            return
        concat = upload.info.concat
        may_defer = may_defer and self.may_defer_record(upload.info)
        # The hook is called for the final upload, not for its partial uploads.
        on_finish = None if isinstance(concat, Partial) else self._on_finish
        made = upload.assemble(assert_wanted or lock.assert_held)
        answer = None if on_finish is None else self._ask(on_finish, upload, lock, request)
        upload.finish(lock.assert_held, may_defer=may_defer, answer=answer)
        is_finished_here = made or on_finish is not None
        if is_finished_here and not isinstance(concat, Partial):
            self._events.dispatch(UploadFinished(upload.info.id, upload.info.offset))
        if isinstance(concat, Final) and self._discard is not None:
            self._discard_partials(concat, self._discard)

    def _discard_partials(
        self, final: Final, discard: Callable[[Iterable[UploadId]], None]
    ) -> None:
        """Remove the partial uploads. If that fails, only log it: the file itself is complete.

        `LockLost` means that another request is removing a partial upload.
        """
        try:
            discard(final.partials)
        except (StoreUnavailable, LockLost) as error:
            reason = error.brief if isinstance(error, StoreUnavailable) else error.reason
            log.warning("some partial uploads could not be removed: %s", reason)

    def _ask(
        self, on_finish: OnFinish, upload: Upload, lock: Lock, request: Request | None
    ) -> Answer | None:
        finished = self._describe(upload, request)
        # D-10: if this holder was frozen, a successor may have had the file rejected and removed.
        # No call to S3 comes between this check and the hook.
        lock.assert_held()
        try:
            answer = on_finish(finished)
            return None if answer is None else checked_answer(answer)
        except Rejected as rejected:
            self._reject(upload, lock, rejected.rejection)
            raise _error_of(rejected.rejection, upload) from None
        except Exception as error:
            raise OnFinishFailed(upload.info.id, upload.info.offset) from error

    def _describe(self, upload: Upload, request: Request | None) -> FinishedUpload:
        info = upload.info
        return FinishedUpload(
            info.id,
            info.offset,
            info.metadata,
            upload.storage,
            owner=info.owner,
            private=info.plan.private,
            created=info.created,
            stored=upload.stored_object,
            request=request,
            access=FileAccess(upload, self._presign),
            partials=partials_of(info),
        )

    def _reject(self, upload: Upload, lock: Lock, rejection: Rejection) -> None:
        """Record the rejection, and then remove the object (D-13)."""
        upload.reject(rejection, lock.assert_held)
        self._events.dispatch(UploadRejectedEvent(upload.info.id, rejection.status))
        _remove_rejected(upload, lock)


def check_not_ended(upload: Upload, lock: Lock | None = None) -> None:
    """Refuse a request for an upload that is rejected, or that is being removed.

    With a lock, remove the object of a rejected upload again: the process that rejected the upload
    may have been killed before it removed the object, or S3 may have written the object late.

    Raises:
        UploadGone: the upload is being removed.
        UploadRejected: the upload was rejected.
    """
    if upload.info.terminating is not None:
        raise UploadGone("the upload was removed")
    rejection = upload.info.rejection
    if rejection is None:
        return
    if lock is not None:
        _remove_rejected(upload, lock)
    raise _error_of(rejection, upload)


@contextmanager
def rejected_means_gone() -> Iterator[None]:
    """Treat a rejected upload as gone, for requests that do not send the file.

    Raises:
        UploadGone: instead of `UploadRejected`.
    """
    try:
        yield
    except UploadRejected as error:
        raise UploadGone(str(error)) from error


def _remove_rejected(upload: Upload, lock: Lock) -> None:
    """Remove the object. If that fails, only log it, because the rejection is already recorded.

    The next request for the upload, or a sweep, tries again.
    """
    try:
        upload.remove_rejected(lock.assert_held)
    except StoreUnavailable as error:
        log.warning("the object of a rejected upload could not be removed: %s", error.brief)


def _error_of(rejection: Rejection, upload: Upload) -> UploadRejected:
    error = UploadRejected(rejection.status, rejection.sentence, fields=rejection.fields)
    error.length = upload.info.length
    return error
