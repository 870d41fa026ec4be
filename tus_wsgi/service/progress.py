"""Tell the application's `on_progress` hook how far a request has come."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from tus_wsgi.domain.hidden_ids import log_exception
from tus_wsgi.domain.hooks import Request
from tus_wsgi.domain.interfaces import Body, BodyEnd
from tus_wsgi.domain.model import Partial, UploadInfo
from tus_wsgi.domain.progress import OnProgress, Progress, Stop

log = logging.getLogger(__name__)


class ProgressReporter:
    """Calls the hook for one request, from the thread that stores the body.

    Args:
        hook: the hook.
        interval: seconds between two calls, at least.
        body: the body, which ends if the application stops the upload.
        request: the request.
    """

    def __init__(self, hook: OnProgress, interval: float, body: Body, request: Request) -> None:
        self._hook = hook
        self._interval = interval
        self._body = body
        self._request = request
        self._began = self._last = time.monotonic()
        self._stop: Stop | None = None

    def report(self, info: UploadInfo, storage: Mapping[str, str]) -> None:
        """Call the hook if the interval has passed. `info.offset` is confirmed by the store."""
        if self._stop is None and time.monotonic() - self._last >= self._interval:
            self._call(info, storage)
            if self._stop is not None:
                self._body.interrupt(BodyEnd.INTERRUPTED)

    def finish(self, info: UploadInfo, storage: Mapping[str, str]) -> None:
        """Call the hook at the end of the bytes.

        Raises:
            Stop: the application stops the upload, now or in an earlier call.
        """
        if self._stop is None:
            self._call(info, storage)
        if self._stop is not None:
            raise self._stop

    def _call(self, info: UploadInfo, storage: Mapping[str, str]) -> None:
        progress = Progress(
            id=info.id,
            owner=info.owner,
            offset=info.offset,
            length=info.length,
            seconds=time.monotonic() - self._began,
            private=info.plan.private,
            request=self._request,
            metadata=info.metadata,
            is_partial=isinstance(info.concat, Partial),
            storage=storage,
        )
        try:
            self._hook(progress)
        except Stop as stop:
            self._stop = stop
        except Exception as error:  # noqa: BLE001 - a bug of the application
            log_exception(log, "the application's on_progress hook raised", error, info.id)
        self._last = time.monotonic()
