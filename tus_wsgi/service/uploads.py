"""`UploadService`: carries commands out. The rules of uploads are here, whatever the protocol.

Every command that may change an upload runs under its lock and in three beats: look it up, check,
act. HEAD takes the lock too: it asks a running request to let go and store what it has, so the
offset that it answers with is one that the next request can go on from.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import assert_never

from tus_wsgi.domain.commands import (
    Append,
    Appended,
    Command,
    Concatenate,
    Create,
    Created,
    Discover,
    Discovered,
    Download,
    Downloadable,
    Inspect,
    Inspected,
    Outcome,
    Terminate,
    Terminated,
    UrlPresigner,
    Verification,
)
from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.domain.errors import (
    BodyMalformed,
    LengthMismatch,
    OffsetMismatch,
    StoreUnavailable,
    TusError,
    UploadComplete,
    UploadFinal,
    UploadGone,
    UploadIncomplete,
    UploadTooLarge,
)
from tus_wsgi.domain.events import UploadCreated, UploadTerminated
from tus_wsgi.domain.expiry import expiry, extended_expiry, is_expired
from tus_wsgi.domain.hooks import OnFinish
from tus_wsgi.domain.interfaces import (
    Body,
    BodyBuffer,
    BodyEnd,
    Lock,
    Locker,
    Observer,
    Store,
    Upload,
)
from tus_wsgi.domain.model import Extension, Final, Metadata, Partial, UploadId, UploadInfo
from tus_wsgi.domain.rules import check_declared, check_fits
from tus_wsgi.service.append import AppendOperation, OnProgress
from tus_wsgi.service.bodies import check_complete, receive_verified
from tus_wsgi.service.cache import UploadCache
from tus_wsgi.service.concatenate import Concatenator, lost_partials_are_final
from tus_wsgi.service.finish import Finisher

log = logging.getLogger(__name__)

Verify = Callable[[int, int], None]
"""Receives the whole body and finds it right, given the upload's offset and its limit."""


class UploadService:
    """Carries out what requests ask for.

    Args:
        store: where uploads live.
        locker: who may change one.
        new_id: makes a fresh upload id.
        max_size: bytes of the largest upload; 0 for whatever the store can hold.
        lifetime: seconds after which an unfinished upload lapses; 0 for never.
        extensions: those that are offered.
        quarantine: where bodies wait whose checksum is to be verified; needed where the extension
            is offered.
        delete_partials: whether partial uploads are removed once a final one is made of them.
        presign_url: returns the presigned URL of a download; None to send the file from here.
        on_finish: the application's hook, see `tus_wsgi.domain.hooks`.
        observers: told what happened.
        now: the time, in UTC.
    """

    def __init__(
        self,
        store: Store,
        locker: Locker,
        *,
        new_id: Callable[[], UploadId],
        max_size: int = 0,
        lifetime: float = 0.0,
        extensions: Sequence[Extension] = tuple(Extension),
        quarantine: BodyBuffer | None = None,
        delete_partials: bool = False,
        presign_url: UrlPresigner = lambda _info, _content: None,
        on_finish: OnFinish | None = None,
        observers: Sequence[Observer] = (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._locker = locker
        self._cache = UploadCache()
        self._new_id = new_id
        self.max_size = min(max_size or store.max_size, store.max_size)
        self._lifetime = lifetime
        self.extensions = tuple(extensions)
        self._quarantine = quarantine
        self._presign_url = presign_url
        self._events = EventDispatcher(observers)
        discard = store.discard if delete_partials else None
        self._finisher = Finisher(on_finish, self._events, discard=discard)
        self._joiner = Concatenator(
            store,
            self._finisher,
            may_wait=Extension.CONCATENATION_UNFINISHED in self.extensions,
            max_size=self.max_size,
        )
        self._now = now

    def execute(  # noqa: PLR0911 - a line for each command
        self, command: Command, body: Body, on_progress: OnProgress | None = None
    ) -> Outcome:
        """Carry `command` out; `body` is the request's, which is read only if it is asked for.

        Args:
            command: what to do.
            body: the request's.
            on_progress: told of an upload as soon as others can find it, before its first byte is
                read, and then now and then how many bytes are stored for good.

        Raises:
            RequestError: the request cannot be fulfilled, and nothing was changed.
            UploadLocked: another request did not let go in time.
            BodyCutShort: less came than was announced. What came is stored.
            Unavailable: a fault on our side. What was acknowledged is safe.
        """
        match command:
            case Discover():
                return Discovered(self.max_size, self.extensions)
            case Inspect():
                return self.inspect(command)
            case Create():
                return self.create(command, body, on_progress)
            case Concatenate():
                return self.concatenate(command)
            case Append():
                return self.append(command, body, on_progress)
            case Terminate():
                return self.terminate(command)
            case Download():
                return self.download(command)
            case _:
                assert_never(command)

    def inspect(self, command: Inspect) -> Inspected:
        """Say how far the upload is; finish it if it is full and nobody has."""
        with self._locked(command.id, body=None) as (lock, _), lost_partials_are_final():
            upload = self._store.open(command.id)
            self._measure(upload)
            self._finisher.finish_if_full(upload, lock)
            if isinstance(upload.info.concat, Final):
                # Nobody writes to it, so whoever looks keeps it alive while its partials come.
                self._prolong(upload, lock)
            self._cache_for_next(upload, lock)
            return Inspected(upload.info)

    def create(self, command: Create, body: Body, on_progress: OnProgress | None = None) -> Created:
        """Begin an upload, with its first bytes if the request brings them."""
        content_length = body.content_length if command.has_data else 0
        check_fits(0, content_length, command.length, self.max_size)
        info = replace(
            self._new_info(command.metadata),
            length=command.length,
            is_open=command.is_open,
            concat=Partial() if command.is_partial else None,
        )
        with self._held(command.verification, body) as (taken, verify):
            verify(0, self._limit(command.length))
            if command.has_data or command.length == 0:
                with (
                    self._locked(info.id, taken) as (lock, _),
                    self._events.record_if_hook_fails(info.id),
                ):
                    intake = self._intake(command, taken, lock, on_progress)
                    info = self._create_with(info, intake)
            else:
                upload = self._store.create(info, record_now=True)
                if upload.is_cacheable:
                    self._cache.put(self._locker.last_holder(info.id), upload)
                self._events.dispatch(UploadCreated(info.id, info.length))
        return Created(info, command.has_data)

    def concatenate(self, command: Concatenate) -> Created:
        """Begin an upload that is made of others, and make it if they are finished."""
        info = replace(self._new_info(command.metadata), concat=command.final)
        with (
            self._locked(info.id, body=None) as (lock, _),
            self._events.record_if_hook_fails(info.id),
        ):
            info = self._joiner.begin(info, lock)
        self._events.dispatch(UploadCreated(info.id, info.length))
        return Created(info, has_data=False)

    def append(
        self, command: Append, body: Body, on_progress: OnProgress | None = None
    ) -> Appended:
        """Store the body at the end of the upload, and finish it with its last byte."""
        held = self._held(command.verification, body)
        with held as (taken, verify), self._locked(command.id, taken) as (lock, cached):
            upload = self._load(command.id, cached)
            intake = self._intake(command, taken, lock, on_progress)
            try:
                length = self._check_append(command, upload.info, taken)
                verify(upload.info.offset, self._limit(length))
                end = self._append(upload, intake)
            except (UploadTooLarge, LengthMismatch) as refusal:
                self._end_if_overrun(upload, intake, refusal)
                raise
            check_complete(end, upload.info.offset)
            self._cache_for_next(upload, lock)
            return Appended(upload.info)

    def terminate(self, command: Terminate) -> Terminated:
        """Remove the upload, finished or not."""
        with self._locked(command.id, body=None) as (lock, _):
            self._store.open(command.id).terminate(lock.assert_held)
        self._events.dispatch(UploadTerminated(command.id))
        return Terminated()

    def download(self, command: Download) -> Downloadable | Inspected:
        """Hand out the finished file. It takes no lock, so any number of readers may come."""
        try:
            return self._readable(command)
        except UploadIncomplete:
            if not command.or_inspect:
                raise
            inspected = self.inspect(Inspect(command.id))
            # To look at one that is full is to finish it.
            return self._readable(command) if inspected.info.is_finished else inspected

    # -- in detail -------------------------------------------------------------------------------

    def _readable(self, command: Download) -> Downloadable:
        upload = self._store.open(command.id)
        if not upload.info.is_finished:
            self._measure(upload)
        # Without a hook there is nobody to be told first, and a whole object is enough.
        if self._finisher.has_hook and not upload.info.is_finished:
            raise UploadIncomplete
        content = upload.content()
        presigned_url = None if command.or_inspect else self._presign_url(upload.info, content)
        return Downloadable(upload.info, content, presigned_url)

    @contextmanager
    def _locked(self, id: UploadId, body: Body | None) -> Iterator[tuple[Lock, Upload | None]]:
        """Hold the upload's lock; hand out the upload too, if the cache has it up to date.

        Another request that asks for the lock interrupts the body, and so ends this request.
        """

        def let_go() -> None:
            if body is not None:
                body.interrupt(BodyEnd.INTERRUPTED)

        with self._locker.lock(id, on_release_request=let_go) as lock:
            try:
                yield lock, self._cache.take(id, lock.previous_holder)
            except UploadGone:
                # To one who came too late, what a successor has finished looks removed.
                lock.assert_held()
                raise

    def _new_info(self, metadata: Metadata) -> UploadInfo:
        """An upload that begins now, of unknown length."""
        now = self._now()
        expires = expiry(now, self._lifetime)
        return UploadInfo(self._new_id(), None, metadata=metadata, created=now, expires=expires)

    def _load(self, id: UploadId, cached: Upload | None) -> Upload:
        """Return the upload that an append continues, from the cache or from the store."""
        if cached is not None:
            self._check_alive(cached)
            return cached
        upload = self._store.open(id)
        if isinstance(upload.info.concat, Final):
            raise UploadFinal
        self._measure(upload)
        return upload

    def _cache_for_next(self, upload: Upload, lock: Lock) -> None:
        """Let the next request of this process continue where this one ends."""
        if upload.is_cacheable:
            self._cache.put(lock.holder, upload)

    def _measure(self, upload: Upload) -> None:
        """Find out how far the upload is, that it fits, and that its time is not over."""
        with lost_partials_are_final():
            upload.load_offset()
        if isinstance(upload.info.concat, Final) and not upload.info.is_finished:
            check_fits(0, None, upload.info.length, self.max_size)
        self._check_alive(upload)

    def _check_alive(self, upload: Upload) -> None:
        if is_expired(upload.info, self._now()):
            raise UploadGone("the upload has expired")

    def _prolong(self, upload: Upload, lock: Lock) -> None:
        expires = extended_expiry(upload.info, self._now(), self._lifetime)
        if expires is not None:
            upload.extend_expiry(expires, lock.assert_held)

    @contextmanager
    def _held(self, verification: Verification | None, body: Body) -> Iterator[tuple[Body, Verify]]:
        """The body to go on with, and what to call before anything is changed."""
        if verification is None:
            yield body, lambda _offset, _limit: None
            return
        assert self._quarantine is not None, "checksums are offered, and nothing to hold bodies"
        with self._quarantine(body) as held:
            yield held, partial(receive_verified, held, verification)

    def _limit(self, length: int | None) -> int:
        """Bytes that an upload of this length may hold."""
        return self.max_size if length is None else length

    def _check_append(self, command: Append, info: UploadInfo, body: Body) -> int | None:
        """What must hold before the first byte is read, in the order of protocol.md 1.11.

        Returns:
            the upload's length, as far as it is known now.
        """
        if command.offset != info.offset:
            raise OffsetMismatch(info.offset, command.offset)
        length = info.length
        if command.length is not None:
            check_declared(command.length, info, self.max_size)
            length = command.length
        if info.is_full and body.content_length:
            raise UploadComplete(info.offset, info.offset + body.content_length)
        check_fits(info.offset, body.content_length, length, self.max_size)
        return length

    def _append(self, upload: Upload, intake: AppendOperation) -> BodyEnd:
        """Store the body of an append that may be, and finish the upload with its last byte."""
        length, lock = intake.command.length, intake.lock
        if length is not None and upload.info.length is None:
            upload.declare_length(length, lock.assert_held, is_open=upload.info.is_open)
        # Before the bytes, so that they are not swept away while they come; and behind them,
        # since they may have come slowly.
        self._prolong(upload, lock)
        end = intake.take(upload)
        if end is not BodyEnd.MALFORMED:
            self._finisher.finish_if_full(upload, lock, may_defer=True)
        self._prolong(upload, lock)
        return end

    def _end_if_overrun(self, upload: Upload, intake: AppendOperation, refusal: TusError) -> None:
        if intake.ends(upload.info, refusal):
            upload.terminate(intake.lock.assert_held)
            self._events.dispatch(UploadTerminated(upload.info.id))

    def _create_with(self, info: UploadInfo, intake: AppendOperation) -> UploadInfo:
        """Begin an upload whose first bytes, perhaps all of its none, are in the request.

        A fault after the upload exists is no reason to deny it: the client learns its URL and how
        much of it is stored, and goes on from there.
        """
        lock, on_progress = intake.lock, intake.on_progress
        upload = self._store.create(info, record_now=on_progress is not None)
        if on_progress is not None:
            on_progress(info)
        end = BodyEnd.COMPLETE
        try:
            if intake.has_data:
                end = intake.take(upload)
                self._prolong(upload, lock)  # its bytes may have come slowly
            if end is not BodyEnd.MALFORMED:
                self._finisher.finish_if_full(upload, lock, may_defer=True)
        except StoreUnavailable as error:
            upload = self._found_again(info.id, error)
            self._prolong(upload, lock)
            # A client that reads its own length as the offset goes away, and nobody looks again.
            self._finisher.finish_if_full(upload, lock)
            end = BodyEnd.COMPLETE
        except (UploadTooLarge, LengthMismatch):
            upload.terminate(lock.assert_held)
            raise
        if end is BodyEnd.MALFORMED:
            upload.terminate(lock.assert_held)
            raise BodyMalformed(0)
        self._events.dispatch(UploadCreated(info.id, info.length))
        self._cache_for_next(upload, lock)
        return upload.info

    def _found_again(self, id: UploadId, error: StoreUnavailable) -> Upload:
        log.warning("the store failed while an upload was created: %s", error.brief)
        try:
            upload = self._store.open(id)
            upload.load_offset()
        except TusError:
            raise error from error.__cause__
        return upload

    def _intake(
        self,
        command: Create | Append,
        body: Body,
        lock: Lock,
        on_progress: OnProgress | None,
    ) -> AppendOperation:
        return AppendOperation(command, body, lock, self.max_size, self._events, on_progress)
