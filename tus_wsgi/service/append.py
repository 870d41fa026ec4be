"""Append a request's body to an upload, and check why the body ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from tus_wsgi.domain.commands import Append, Create, Verification
from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.domain.errors import (
    BodyDraining,
    BodyIncomplete,
    BodyInterrupted,
    BodyMalformed,
    BodyTimedOut,
    ChecksumMismatch,
    ClientDisconnected,
    LengthExceeded,
    LengthMismatch,
    TusError,
    UploadTooLarge,
)
from tus_wsgi.domain.events import BytesStored
from tus_wsgi.domain.hooks import Request
from tus_wsgi.domain.interfaces import Body, BodyEnd, BufferedBody, Lock, Upload
from tus_wsgi.domain.model import UploadInfo
from tus_wsgi.service.progress import ProgressReporter

SendInterim = Callable[[UploadInfo], None]
"""Sends the client an interim response (1xx) with the upload's current offset.

The record of a new upload must exist by then, because the response may contain the upload's URL.
"""

_ERRORS: dict[BodyEnd, type[BodyIncomplete]] = {
    BodyEnd.DISCONNECTED: ClientDisconnected,
    BodyEnd.STALLED: BodyTimedOut,
    BodyEnd.INTERRUPTED: BodyInterrupted,
    BodyEnd.DRAINING: BodyDraining,
    BodyEnd.MALFORMED: BodyMalformed,
}


@dataclass(frozen=True, slots=True)
class AppendOperation:
    """One request that appends its body to an upload.

    Attributes:
        command: what the request asks for.
        body: the request's body.
        lock: the upload's lock, held by this request.
        max_size: bytes of the largest upload.
        events: receives `BytesStored`.
        send_interim: see `SendInterim`; None if the client gets no interim responses.
        request: the request, for the hooks of the application; None if no hook needs it.
        reporter: calls the application's `on_progress` hook; None if there is none.
    """

    command: Create | Append
    body: Body
    lock: Lock
    max_size: int
    events: EventDispatcher
    send_interim: SendInterim | None
    request: Request | None = None
    reporter: ProgressReporter | None = None

    def store_body(self, upload: Upload) -> BodyEnd:
        """Store the body at the end of the upload, and return why the body ended.

        Raises:
            UploadTooLarge: a body without a Content-Length was longer than the rest of the upload.
            LengthMismatch: the request says that it completes the upload, and its body is too
                short for that.
            Stop: the application stops the upload.
            LockLost, StoreUnavailable, UploadGone: see `Upload.append`.
        """
        before, body = upload.info, self.body
        limit = before.plan.cap(self.max_size) if before.length is None else before.length
        # TUS_MAX_SIZE may have been lowered since the upload began.
        body.limit(max(0, limit - before.offset))
        began = time.monotonic()
        upload.append(body, self.lock.assert_held, self._on_stored(before, upload.storage))
        self._dispatch_bytes_stored(before, upload.info, time.monotonic() - began)
        if self.reporter is not None:
            self.reporter.finish(upload.info, upload.storage)
        if body.end is BodyEnd.TOO_LONG:
            error = UploadTooLarge if before.length is None else LengthExceeded
            raise error(limit, None)
        if body.end is BodyEnd.COMPLETE and self._completes(upload.info):
            self._close(upload)
        return body.end

    @property
    def has_data(self) -> bool:
        """Whether the request's body belongs to the upload."""
        return isinstance(self.command, Append) or self.command.has_data

    def terminates(self, info: UploadInfo, error: TusError) -> bool:
        """Return whether a body that is too long ends the upload for good.

        Never in tus. In the IETF protocol, "the server MUST [...] deactivate the upload".

        Args:
            info: the upload.
            error: the reason why the body was refused.
        """
        if not isinstance(self.command, Append) or not self.command.overrun_is_fatal:
            return False
        if info.length is None:
            return False  # TUS_MAX_SIZE is not the length of the upload.
        content_length = self.body.content_length
        if content_length is None:
            # The length of a chunked body is known only once it turned out to be too long.
            is_longer = isinstance(error, UploadTooLarge) and error.provided is None
        else:
            is_longer = self.command.offset + content_length > info.length
        was_full = replace(info, offset=self.command.offset).is_full
        return is_longer and not was_full

    def _on_stored(
        self, before: UploadInfo, storage: Mapping[str, str]
    ) -> Callable[[int], None] | None:
        receivers: list[Callable[[UploadInfo], None]] = []
        if self.send_interim is not None:
            receivers.append(self.send_interim)
        if self.reporter is not None:
            receivers.append(partial(self.reporter.report, storage=storage))
        if not receivers:
            return None

        def on_stored(offset: int) -> None:
            for receive in receivers:
                receive(replace(before, offset=offset))

        return on_stored

    def _dispatch_bytes_stored(self, before: UploadInfo, after: UploadInfo, seconds: float) -> None:
        end = self.body.end
        cut_short = None if end is BodyEnd.COMPLETE else end.name.lower()
        count = after.offset - before.offset
        self.events.dispatch(BytesStored(before.id, after.offset, count, seconds, cut_short))

    def _completes(self, info: UploadInfo) -> bool:
        """Return whether the client says that no more bytes follow.

        A tus client says so with the upload's last byte.
        """
        at_length = isinstance(self.command, Append) and self.command.ends_at_length
        return self.command.completes or (at_length and info.offset == info.length)

    def _close(self, upload: Upload) -> None:
        """Record that no more bytes follow."""
        info = upload.info
        if info.length not in (None, info.offset):
            raise LengthMismatch(f"{info.length}, as declared before", info.offset)
        if info.is_open:
            upload.declare_length(info.offset, self.lock.assert_held)


def check_complete(end: BodyEnd, offset: int) -> None:
    """Raise the matching error if the body ended early.

    Args:
        end: why the body ended.
        offset: bytes of the upload that are stored nevertheless.

    Raises:
        BodyIncomplete: the body ended early.
    """
    if end in _ERRORS:
        raise _ERRORS[end](offset)


def verify_buffered_body(
    body: BufferedBody, verification: Verification, offset: int, limit: int
) -> None:
    """Read the whole body and verify its checksum. Nothing is stored before this returns.

    An incomplete body is discarded, although the core protocol of tus wants every received byte
    stored: a checksum covers the whole body, so an incomplete body cannot be verified.

    Args:
        body: the request's body.
        verification: the checksum that the client sent.
        offset: bytes of the upload that are stored.
        limit: bytes that the upload may hold.

    Raises:
        ChecksumMismatch: the body does not have this checksum.
        MalformedField: the checksum in the trailer is missing or malformed.
        BodyIncomplete: the body ended early.
        UploadTooLarge: the body is longer than the rest of the upload.
        StoreUnavailable: there is no room to buffer the body.
    """
    body.limit(limit - offset)
    end = body.receive()
    if end is BodyEnd.TOO_LONG:
        raise UploadTooLarge(limit, None)
    check_complete(end, offset)
    for checksum in verification.checksums(body.trailers()):
        if body.digest(checksum.algorithm) != checksum.digest:
            raise ChecksumMismatch(checksum.algorithm)
