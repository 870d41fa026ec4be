"""Remove uploads, and tell the application of it before their records are removed."""

from __future__ import annotations

from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.domain.errors import HookFailed
from tus_wsgi.domain.events import UploadTerminated
from tus_wsgi.domain.interfaces import Lock, Upload
from tus_wsgi.domain.model import TerminationReason
from tus_wsgi.domain.termination import GoneUpload, OnTerminate


class Terminator:
    """Removes uploads.

    Args:
        on_terminate: the application's hook; None for none.
        events: receives `UploadTerminated`.
    """

    def __init__(self, on_terminate: OnTerminate | None, events: EventDispatcher) -> None:
        self._on_terminate = on_terminate
        self._events = events

    @property
    def has_hook(self) -> bool:
        """Whether the application has an `on_terminate` hook."""
        return self._on_terminate is not None

    def terminate(self, upload: Upload, lock: Lock, reason: TerminationReason) -> None:
        """Remove the bytes, call the hook, and then remove the record.

        If an earlier termination has failed, it is continued, and keeps its reason.

        Raises:
            HookFailed: the hook raised. The record stays, so the hook is called again.
            LockLost, StoreUnavailable: not everything was removed. A retry is safe.
        """
        if self._on_terminate is not None:
            upload.begin_termination(reason, lock.assert_held)
            _call(self._on_terminate, upload, upload.info.terminating or reason)
        upload.terminate(lock.assert_held)
        self._events.dispatch(UploadTerminated(upload.info.id))


def _call(on_terminate: OnTerminate, upload: Upload, reason: TerminationReason) -> None:
    info = upload.info
    gone = GoneUpload(
        id=info.id,
        owner=info.owner,
        metadata=info.metadata,
        private=info.plan.private,
        reason=reason,
    )
    try:
        on_terminate(gone)
    except Exception as error:
        raise HookFailed("on_terminate") from error
