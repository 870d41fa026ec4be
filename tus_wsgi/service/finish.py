"""The end of an upload: the object, then the application, and only then the word "finished"."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.domain.errors import OnFinishFailed, StoreUnavailable
from tus_wsgi.domain.events import UploadFinished
from tus_wsgi.domain.hooks import FinishedUpload, OnFinish
from tus_wsgi.domain.interfaces import Lock, Upload
from tus_wsgi.domain.model import Final, Partial, UploadId, UploadInfo

log = logging.getLogger(__name__)


class Finisher:
    """Finishes uploads that are full, whoever finds them so.

    Args:
        on_finish: the application's hook; None for none.
        audience: told of each upload that is finished.
        discard: removes what a final upload was made of, once it is finished; None to keep it.
    """

    def __init__(
        self,
        on_finish: OnFinish | None,
        events: EventDispatcher,
        *,
        discard: Callable[[Iterable[UploadId]], None] | None = None,
    ) -> None:
        self._on_finish = on_finish
        self._events = events
        self._discard = discard

    @property
    def has_hook(self) -> bool:
        """Whether the application is told before an upload is finished."""
        return self._on_finish is not None

    def may_be_lazy(self, info: UploadInfo) -> bool:
        """Whether nobody minds if the upload is finished and its record does not say so.

        A hook would run again for whoever looks next, and who joins a partial one wants to see at
        once that it is finished.
        """
        return self._on_finish is None and info.concat is None

    def finish_if_full(self, upload: Upload, lock: Lock, *, may_defer: bool = False) -> None:
        """Make the object, tell the application, and only then call the upload finished.

        Args:
            upload: perhaps full; nothing happens if it is not, or if it is finished already.
            lock: the upload's.
            lazily: this request has sent the last byte, so that it may well be the last one.

        Raises:
            FinishRefused: the application's hook raised.
            PartialUnusable: a partial one of a final upload was removed meanwhile.
            LockLost, StoreUnavailable: somebody else will have to do it.
            UploadGone: what was stored is there no more.
        """
        if not upload.info.is_full or upload.info.is_finished:
            return
        concat = upload.info.concat
        # A partial upload is no file of the application's.
        on_finish = None if isinstance(concat, Partial) else self._on_finish
        made = upload.assemble(lock.assert_held)
        if on_finish is not None:
            _call(on_finish, upload)
        upload.finish(lock.assert_held, may_defer=may_defer and self.may_be_lazy(upload.info))
        if (made or on_finish is not None) and not isinstance(concat, Partial):
            self._events.dispatch(UploadFinished(upload.info.id, upload.info.offset))
        if isinstance(concat, Final) and self._discard is not None:
            self._discard_partials(concat, self._discard)

    def _discard_partials(
        self, final: Final, discard: Callable[[Iterable[UploadId]], None]
    ) -> None:
        """Remove what nobody needs any more. If that fails, the file is there all the same."""
        try:
            discard(final.partials)
        except StoreUnavailable as error:
            log.warning("some partial uploads could not be removed: %s", error.brief)


def _call(on_finish: OnFinish, upload: Upload) -> None:
    info = upload.info
    try:
        on_finish(FinishedUpload(info.id, info.offset, info.metadata, upload.storage))
    except Exception as error:
        raise OnFinishFailed(info.id, info.offset) from error
