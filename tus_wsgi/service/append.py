"""Taking a request's body in, and what its end means."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from tus_wsgi.domain.commands import Append, Create
from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.domain.errors import LengthExceeded, LengthMismatch, TusError, UploadTooLarge
from tus_wsgi.domain.events import BytesStored
from tus_wsgi.domain.interfaces import Body, BodyEnd, Lock, Upload
from tus_wsgi.domain.model import UploadInfo

OnProgress = Callable[[UploadInfo], None]
"""Told how far an upload is while its bytes come."""


@dataclass(frozen=True, slots=True)
class AppendOperation:
    """A request that brings bytes, and what goes with it.

    Attributes:
        command: what it asks for.
        body: its bytes.
        lock: the upload's.
        max_size: bytes of the largest upload.
        audience: told what was stored.
        on_progress: told how far it is; None where nobody wants to know.
    """

    command: Create | Append
    body: Body
    lock: Lock
    max_size: int
    events: EventDispatcher
    on_progress: OnProgress | None

    def take(self, upload: Upload) -> BodyEnd:
        """Store the body, and say why it ended.

        Raises:
            UploadTooLarge: it did not say how long it is, and was longer than what is missing.
            LengthMismatch: it was to be all that is missing, and was less.
            LockLost, StoreUnavailable, UploadGone: as `Upload.append`.
        """
        before, body = upload.info, self.body
        limit = self.max_size if before.length is None else before.length
        body.limit(max(0, limit - before.offset))  # TUS_MAX_SIZE may have been lowered
        began = time.monotonic()
        upload.append(body, self.lock.assert_held, self._on_stored(before))
        self._report(before, upload.info, time.monotonic() - began)
        if body.end is BodyEnd.TOO_LONG:
            raise (UploadTooLarge if before.length is None else LengthExceeded)(limit, None)
        if body.end is BodyEnd.COMPLETE and self._is_last(upload.info):
            self._close(upload)
        return body.end

    def _on_stored(self, before: UploadInfo) -> Callable[[int], None] | None:
        dispatched = self.on_progress
        return dispatched and (lambda offset: dispatched(replace(before, offset=offset)))

    def _report(self, before: UploadInfo, after: UploadInfo, seconds: float) -> None:
        end = self.body.end
        cut = None if end is BodyEnd.COMPLETE else end.name.lower()
        count = after.offset - before.offset
        self.events.dispatch(BytesStored(before.id, after.offset, count, seconds, cut))

    def _is_last(self, info: UploadInfo) -> bool:
        """Whether the client says that this was all; in tus it does so with the last byte."""
        at_length = isinstance(self.command, Append) and self.command.ends_at_length
        return self.command.completes or (at_length and info.offset == info.length)

    def _close(self, upload: Upload) -> None:
        """Take the client's word for it that this was all."""
        info = upload.info
        if info.length not in (None, info.offset):
            raise LengthMismatch(f"{info.length}, as declared before", info.offset)
        if info.is_open:
            upload.declare_length(info.offset, self.lock.assert_held)

    @property
    def has_data(self) -> bool:
        """Whether the body belongs to the upload."""
        return isinstance(self.command, Append) or self.command.has_data

    def ends(self, info: UploadInfo, refusal: TusError) -> bool:
        """Whether the upload is to end because the body is longer than what it misses.

        In tus it never is. The IETF's draft: "the server MUST [...] deactivate the upload".
        """
        if not isinstance(self.command, Append) or not self.command.overrun_is_fatal:
            return False
        if info.length is None:
            return False  # what the server takes is no length of the upload's
        content_length = self.body.content_length
        if content_length is None:
            # How long it was became known only when it was too long.
            is_longer = isinstance(refusal, UploadTooLarge) and refusal.provided is None
        else:
            is_longer = self.command.offset + content_length > info.length
        was_full = replace(info, offset=self.command.offset).is_full
        return is_longer and not was_full
