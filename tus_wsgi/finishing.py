"""The end of an upload: the object, then the application, and only then the word "finished"."""

from __future__ import annotations

from tus_wsgi.audience import Audience
from tus_wsgi.errors import FinishRefused
from tus_wsgi.events import UploadFinished
from tus_wsgi.hooks import FinishedUpload, OnFinish
from tus_wsgi.ports import Lock, Upload


class Finisher:
    """Finishes uploads that are full, whoever finds them so.

    Args:
        on_finish: the application's hook; None for none.
        audience: told of each upload that is finished.
    """

    def __init__(self, on_finish: OnFinish | None, audience: Audience) -> None:
        self._on_finish = on_finish
        self._audience = audience

    @property
    def has_hook(self) -> bool:
        """Whether the application is told before an upload is finished."""
        return self._on_finish is not None

    def finish_if_full(self, upload: Upload, lock: Lock, *, is_new: bool = False) -> None:
        """Make the object, tell the application, and only then call the upload finished.

        Args:
            upload: perhaps full; nothing happens if it is not, or if it is finished already.
            lock: the upload's.
            is_new: it was begun by this very request, so that nobody else knows of it yet.

        Raises:
            FinishRefused: the application's hook raised.
            LockLost, StoreUnavailable: somebody else will have to do it.
            UploadGone: what was stored is there no more.
        """
        if not upload.info.is_full or upload.info.is_finished:
            return
        lock.assert_held()
        made = upload.assemble(lock.assert_held)
        if self._on_finish is not None:
            _call(self._on_finish, upload)
        lock.assert_held()
        # A hook would run again if the record were left for whoever looks next.
        upload.finish(lazily=is_new and not self.has_hook)
        if made or self.has_hook:
            self._audience.tell(UploadFinished(upload.info.id, upload.info.offset))


def _call(on_finish: OnFinish, upload: Upload) -> None:
    info = upload.info
    try:
        on_finish(FinishedUpload(info.id, info.offset, info.metadata, upload.storage))
    except Exception as error:
        raise FinishRefused from error
