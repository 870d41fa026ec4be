"""Remove uploads, and tell the application of it before their records are removed."""

from __future__ import annotations

from contextlib import suppress

from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.domain.errors import Denied, HookFailed, InvalidPartial, UploadGone
from tus_wsgi.domain.events import UploadTerminated
from tus_wsgi.domain.hooks import Request
from tus_wsgi.domain.interfaces import Lock, Store, Upload
from tus_wsgi.domain.model import Partial, TerminationReason, UploadId
from tus_wsgi.domain.snapshot import BeforeTerminate, UploadSnapshot, partials_of
from tus_wsgi.domain.termination import GoneUpload, OnTerminate


class Terminator:
    """Removes uploads.

    Args:
        on_terminate: the application's hook; None for none.
        events: receives `UploadTerminated`.
        before_terminate: decides about terminations that clients ask for; None for none.
    """

    def __init__(
        self,
        on_terminate: OnTerminate | None,
        events: EventDispatcher,
        before_terminate: BeforeTerminate | None = None,
    ) -> None:
        self._on_terminate = on_terminate
        self._before_terminate = before_terminate
        self._events = events

    @property
    def has_hook(self) -> bool:
        """Whether the application has an `on_terminate` hook."""
        return self._on_terminate is not None

    def check_allowed(self, store: Store, id: UploadId, request: Request | None) -> None:
        """Ask the application whether a client may remove an upload. Takes no lock.

        Raises:
            Denied: the application refuses.
            HookFailed: the hook raised. Nothing is removed.
            UploadNotFound: no upload has this id.
            StoreUnavailable: the store did not answer.
        """
        if self._before_terminate is None:
            return
        upload = store.open(id)
        if upload.info.terminating is not None:
            return  # the application has agreed before
        # A final upload may have lost a partial upload: the client may remove it nevertheless.
        with suppress(UploadGone, InvalidPartial):
            upload.load_offset()
        try:
            self._before_terminate(UploadSnapshot.of(upload.info, upload.storage, request))
        except Denied:
            raise
        except Exception as error:
            raise HookFailed("before_terminate", id) from error

    def terminate(
        self,
        upload: Upload,
        lock: Lock,
        reason: TerminationReason,
        request: Request | None = None,
    ) -> None:
        """Remove the bytes, call the hook, and then remove the record.

        If an earlier termination has failed, it is continued, and keeps its reason.

        Raises:
            HookFailed: the hook raised. The record stays, so the hook is called again.
            LockLost, StoreUnavailable: not everything was removed. A retry is safe.
        """
        if self._on_terminate is not None:
            upload.begin_termination(reason, lock.assert_held)
            # D-10: if this holder was frozen, a successor may have removed everything.
            lock.assert_held()
            _call(self._on_terminate, upload, upload.info.terminating or reason, request)
        upload.terminate(lock.assert_held)
        self._events.dispatch(UploadTerminated(upload.info.id))


def _call(
    on_terminate: OnTerminate,
    upload: Upload,
    reason: TerminationReason,
    request: Request | None,
) -> None:
    info = upload.info
    gone = GoneUpload(
        id=info.id,
        owner=info.owner,
        metadata=info.metadata,
        private=info.plan.private,
        reason=reason,
        length=info.length,
        is_partial=isinstance(info.concat, Partial),
        partials=partials_of(info),
        storage=upload.storage,
        request=request,
    )
    try:
        on_terminate(gone)
    except Exception as error:
        raise HookFailed("on_terminate", info.id) from error
