"""`UploadService`: carry out commands. The rules here are the same for every protocol.

The application's `authorize` hook is asked first. Every command that may change an upload then runs
under the upload's lock, in three steps: load the upload, check the command, act. HEAD acquires the
lock too: a running append is interrupted and stores what it has received, so the client can resume
at the offset that HEAD returns.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
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
    OnFinishFailed,
    StoreUnavailable,
    TusError,
    UploadComplete,
    UploadFinal,
    UploadGone,
    UploadIncomplete,
    UploadNotFound,
    UploadRejected,
    UploadTooLarge,
)
from tus_wsgi.domain.events import UploadCreated, UploadTerminated
from tus_wsgi.domain.expiry import is_expired
from tus_wsgi.domain.hook_set import NO_HOOKS, Hooks
from tus_wsgi.domain.hooks import Request
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
from tus_wsgi.domain.model import (
    Extension,
    Final,
    Partial,
    TerminationReason,
    UploadId,
    UploadInfo,
)
from tus_wsgi.domain.progress import Stop
from tus_wsgi.domain.read_limit import limited_reads
from tus_wsgi.domain.rules import check_declared, check_fits
from tus_wsgi.domain.snapshot import UploadSnapshot
from tus_wsgi.service.append import (
    AppendOperation,
    SendInterim,
    check_complete,
    verify_buffered_body,
)
from tus_wsgi.service.authorize import NO_CALLER, Authorizer, Caller, ClientIsGone
from tus_wsgi.service.cache import UploadCache
from tus_wsgi.service.concatenate import (
    Concatenator,
    missing_partial_means_gone,
    wanted_check,
)
from tus_wsgi.service.file_access import Presign
from tus_wsgi.service.finish import Finisher, check_not_ended, rejected_means_gone
from tus_wsgi.service.planning import Planner
from tus_wsgi.service.progress import ProgressReporter
from tus_wsgi.service.termination import Terminator

log = logging.getLogger(__name__)

VerifyChecksum = Callable[[int, int], None]
"""Verifies the body's checksum, given the upload's offset and the bytes that the upload may hold.
See `verify_buffered_body`."""


def _authorizer_of(hooks: Hooks, store: Store) -> Authorizer | None:
    """Return what asks the `authorize` hook; None if the application has no such hook."""
    if hooks.authorize is None:
        return None
    return Authorizer(hooks.authorize, store, owner_only=hooks.owner_only)


class UploadService:
    """Carries out commands on uploads.

    Args:
        store: stores the uploads.
        locker: locks an upload for one request at a time.
        new_id: returns a new upload id.
        max_size: bytes of the largest upload; 0 for the store's limit.
        lifetime: seconds after which an unfinished upload expires; 0 for never.
        extensions: the tus extensions that are offered.
        body_buffer: buffers a body whose checksum has to be verified; required if the checksum
            extension is offered.
        delete_partials: whether partial uploads are removed after they were concatenated.
        presign_url: returns the presigned URL of a download, or None to send the file from this
            server.
        presign: returns a presigned URL of a file for the application, see `FileAccess`.
        hooks: the hooks of the application.
        observers: receive events.
        now: returns the current time, in UTC.
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
        body_buffer: BodyBuffer | None = None,
        delete_partials: bool = False,
        presign_url: UrlPresigner = lambda _info, _content: None,
        presign: Presign = lambda _info, _content, _lifetime: None,
        hooks: Hooks = NO_HOOKS,
        observers: Sequence[Observer] = (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._locker = locker
        self._cache = UploadCache()
        self._new_id = new_id
        self.max_size = min(max_size or store.max_size, store.max_size)
        self._planner = Planner(hooks.on_create, lifetime)
        self.extensions = tuple(extensions)
        self._body_buffer = body_buffer
        self._presign_url = presign_url
        self._events = EventDispatcher(observers)
        discard = store.discard if delete_partials else None
        self._terminator = Terminator(hooks.on_terminate, self._events, hooks.before_terminate)
        self._finisher = Finisher(hooks.on_finish, self._events, discard=discard, presign=presign)
        self._concatenator = Concatenator(
            store,
            self._finisher,
            may_wait=Extension.CONCATENATION_UNFINISHED in self.extensions,
            max_size=self.max_size,
        )
        self._now = now
        self._hooks = hooks
        self._authorizer = _authorizer_of(hooks, store)

    @property
    def needs_request(self) -> bool:
        """Whether a hook of the application needs the request of a command."""
        return self._hooks.need_request

    def execute(
        self,
        command: Command,
        body: Body,
        send_interim: SendInterim | None = None,
        request: Request | None = None,
        client_is_gone: ClientIsGone = lambda: False,
    ) -> Outcome:
        """Carry out `command`. A HEAD does not wait long for the store (`read_limit.py`).

        Args:
            command, body: the request; only some commands read the body.
            send_interim: called when an upload was created, and while bytes are stored.
            request: the request of the command; required if `needs_request`.
            client_is_gone: a concatenation ends if it returns True. Called by any thread.

        Raises:
            RequestError: the request is refused, and nothing was changed.
            UploadLocked: another request did not release the upload's lock in time.
            BodyIncomplete: the body ended early, or the client is gone. Received bytes are stored.
            Unavailable: the server failed. A retry may succeed.
        """
        with limited_reads() if isinstance(command, Inspect) else nullcontext():
            caller = self._caller(command, request, client_is_gone)
            return self._execute(command, body, send_interim, caller)

    def _execute(  # noqa: PLR0911 - one return for each command
        self, command: Command, body: Body, send_interim: SendInterim | None, caller: Caller
    ) -> Outcome:
        match command:
            case Discover():
                return Discovered(self.max_size, self.extensions)
            case Inspect():
                return self.inspect(command, caller)
            case Create():
                return self.create(command, body, send_interim, caller)
            case Concatenate():
                return self.concatenate(command, caller)
            case Append():
                return self.append(command, body, send_interim, caller)
            case Terminate():
                return self._terminate_if_allowed(command, caller.request)
            case Download():
                return self.download(command, caller)
            case _:
                assert_never(command)

    def inspect(self, command: Inspect, caller: Caller = NO_CALLER) -> Inspected:
        """Return the upload's offset. An upload that is full is finished first.

        If the client disconnects before a final upload is finished, the next request continues
        the concatenation.
        """
        with (
            self._locked(command.id, body=None) as (lock, _),
            missing_partial_means_gone(),
            rejected_means_gone(),
        ):
            upload = self._store.open(command.id)
            check_not_ended(upload, lock)
            self._load_offset(upload, lock)
            is_final = isinstance(upload.info.concat, Final)
            check = wanted_check(lock, caller.client_is_gone) if is_final else None
            self._finisher.finish_if_full(upload, lock, caller.request, assert_wanted=check)
            if is_final:
                # No request writes to a final upload, so HEAD keeps it from expiring while its
                # partial uploads are sent.
                self._extend_expiry(upload, lock)
            self._cache_for_next(upload, lock)
            return Inspected(upload.info)

    def create(
        self,
        command: Create,
        body: Body,
        send_interim: SendInterim | None = None,
        caller: Caller = NO_CALLER,
    ) -> Created:
        """Create an upload, and store its first bytes if they are in the request."""
        content_length = body.content_length if command.has_data else 0
        check_fits(0, content_length, command.length, self.max_size)
        concat = Partial() if command.is_partial else None
        info = UploadInfo(self._new_id(), command.length, is_open=command.is_open, concat=concat)
        info, fields = self._plan(info, command, caller)
        # The application's plan may set a smaller maximum size.
        check_fits(0, content_length, command.length, self._max_size_of(info))
        with self._verifiable(command.verification, body) as (content, verify_checksum):
            verify_checksum(0, self._max_length(info, command.length))
            if command.has_data or command.length == 0:
                with self._locked(info.id, content) as (lock, _):
                    append = self._append_operation(command, content, lock, send_interim, caller)
                    info = self._create_with_data(info, append)
            else:
                upload = self._store.create(info, record_now=True)
                if upload.is_cacheable:
                    self._cache.put(self._locker.last_holder(info.id), upload)
                self._announce(upload, caller.request)
        self._remember(info)
        return Created(info, command.has_data, fields)

    def concatenate(self, command: Concatenate, caller: Caller = NO_CALLER) -> Created:
        """Create a final upload, and make its object if all its partial uploads are finished.

        If the client is gone before the object is complete, the final upload is removed.
        """
        info = UploadInfo(self._new_id(), None, concat=command.final)
        info, fields = self._plan(info, command, caller)
        with self._locked(info.id, body=None) as (lock, _):
            upload = self._concatenator.create_final(info, lock, caller)
            with self._announced_if_hook_fails(upload, caller.request):
                upload = self._concatenator.finish(upload, lock, caller.request)
        self._announce(upload, caller.request)
        self._remember(upload.info)
        return Created(upload.info, has_data=False, fields=fields)

    def append(
        self,
        command: Append,
        body: Body,
        send_interim: SendInterim | None = None,
        caller: Caller = NO_CALLER,
    ) -> Appended:
        """Store the body at the end of the upload, and finish the upload with its last byte."""
        verifiable = self._verifiable(command.verification, body)
        with (
            verifiable as (content, verify_checksum),
            self._locked(command.id, content) as (lock, cached),
        ):
            upload = self._load(command.id, lock, cached)
            append = self._append_operation(command, content, lock, send_interim, caller)
            try:
                length = self._check_append(command, upload.info, content)
                verify_checksum(upload.info.offset, self._max_length(upload.info, length))
                end = self._store_and_finish(upload, append)
            except (UploadTooLarge, LengthMismatch) as error:
                self._terminate_if_too_long(upload, append, error)
                raise
            except Stop:
                reason = TerminationReason.STOPPED
                self._terminator.terminate(upload, lock, reason, caller.request)
                raise
            check_complete(end, upload.info.offset)
            self._cache_for_next(upload, lock)
            return Appended(upload.info)

    def terminate(
        self,
        command: Terminate,
        reason: TerminationReason = TerminationReason.CLIENT,
        request: Request | None = None,
    ) -> Terminated:
        """Remove the upload, finished or not. An upload in the cache is not loaded again."""
        with self._locked(command.id, body=None) as (lock, cached):
            if cached is not None:
                self._terminator.terminate(cached, lock, reason, request)
            elif self._terminator.has_hook:
                self._terminate_with_hook(command.id, lock, reason, request)
            else:
                self._store.terminate(command.id, lock.assert_held)
                self._events.dispatch(UploadTerminated(command.id))
        return Terminated()

    def _terminate_if_allowed(self, command: Terminate, request: Request | None) -> Terminated:
        # Ask before requesting the lock: a client that is refused must not interrupt another one.
        self._terminator.check_allowed(self._store, command.id, request)
        return self.terminate(command, request=request)

    def _terminate_with_hook(
        self, id: UploadId, lock: Lock, reason: TerminationReason, request: Request | None
    ) -> None:
        try:
            upload = self._store.open(id)
        except UploadNotFound:
            # If the last termination has failed after the hook, this continues it.
            self._store.terminate(id, lock.assert_held)
            raise
        self._terminator.terminate(upload, lock, reason, request)

    def download(self, command: Download, caller: Caller = NO_CALLER) -> Downloadable | Inspected:
        """Return the finished file. Takes no lock, so any number of clients may read at once."""
        try:
            return self._downloadable(command)
        except UploadIncomplete:
            if not command.or_inspect:
                raise
            inspected = self.inspect(Inspect(command.id), caller)
            # `inspect` has finished an upload that was full.
            return self._downloadable(command) if inspected.info.is_finished else inspected

    def _caller(
        self, command: Command, request: Request | None, client_is_gone: ClientIsGone
    ) -> Caller:
        """Authorize the command, before its upload is locked and its body is read."""
        identity = None
        if self._authorizer is not None and not isinstance(command, Discover):
            assert request is not None, "authorize needs the request"
            identity = self._authorizer.identify(command, request, client_is_gone)
        return Caller(identity, request, client_is_gone=client_is_gone)

    def _announce(self, upload: Upload, request: Request | None) -> None:
        """Tell the observers, and hooks outside of the process, that an upload was created."""
        info = upload.info
        self._events.dispatch(UploadCreated(info.id, info.length))
        if self._hooks.on_created is not None and request is not None:
            self._hooks.on_created(UploadSnapshot.of(info, upload.storage, request))

    @contextmanager
    def _announced_if_hook_fails(self, upload: Upload, request: Request | None) -> Iterator[None]:
        """Announce a new upload if `on_finish` fails for it, or rejects it.

        In both cases the upload exists, although the client gets an error.
        """
        try:
            yield
        except (OnFinishFailed, UploadRejected):
            self._announce(upload, request)
            raise

    def _remember(self, info: UploadInfo) -> None:
        """Remember a new upload, to authorize its next request without reading the record."""
        if self._authorizer is not None:
            self._authorizer.add(info)

    # -- loading and locking ---------------------------------------------------------------------

    @contextmanager
    def _locked(self, id: UploadId, body: Body | None) -> Iterator[tuple[Lock, Upload | None]]:
        """Hold the upload's lock; also yield the upload if the cache has an up-to-date one.

        If another request asks for the lock, the body is interrupted, which ends this request.
        """

        def release_soon() -> None:
            if body is not None:
                body.interrupt(BodyEnd.INTERRUPTED)

        with self._locker.lock(id, on_release_request=release_soon) as lock:
            try:
                yield lock, self._cache.take(id, lock.previous_holder)
            except UploadGone:
                # If the lock was lost, the successor's finished upload looks deleted.
                lock.assert_held()
                raise

    def _load(self, id: UploadId, lock: Lock, cached: Upload | None) -> Upload:
        """Return the upload that an append continues, from the cache or from the store."""
        if cached is not None:
            self._check_not_expired(cached)
            return cached
        upload = self._store.open(id)
        check_not_ended(upload, lock)
        if isinstance(upload.info.concat, Final):
            raise UploadFinal
        self._load_offset(upload, lock)
        return upload

    def _load_offset(self, upload: Upload, lock: Lock | None) -> None:
        """Load the upload's offset, and check that the upload has not expired."""
        with missing_partial_means_gone():
            upload.load_offset(None if lock is None else lock.assert_held)
        if isinstance(upload.info.concat, Final) and not upload.info.is_finished:
            check_fits(0, None, upload.info.length, self._max_size_of(upload.info))
        self._check_not_expired(upload)

    def _check_not_expired(self, upload: Upload) -> None:
        if is_expired(upload.info, self._now()):
            raise UploadGone("the upload has expired")

    def _cache_for_next(self, upload: Upload, lock: Lock) -> None:
        """Let the next request of this process continue where this one ends."""
        if upload.is_cacheable:
            self._cache.put(lock.holder, upload)

    def _extend_expiry(self, upload: Upload, lock: Lock) -> None:
        expires = self._planner.extended_expiry(upload.info, self._now())
        if expires is not None:
            upload.extend_expiry(expires, lock.assert_held)

    @contextmanager
    def _verifiable(
        self, verification: Verification | None, body: Body
    ) -> Iterator[tuple[Body, VerifyChecksum]]:
        """Yield the body to store, and the function that verifies it before any change."""
        if verification is None:
            yield body, lambda _offset, _limit: None
            return
        assert self._body_buffer is not None, "the checksum extension needs a body_buffer"
        with self._body_buffer(body) as buffered:
            yield buffered, partial(verify_buffered_body, buffered, verification)

    def _max_size_of(self, info: UploadInfo) -> int:
        """Return the size that the server and the application accept for this upload."""
        return info.plan.cap(self.max_size)

    def _max_length(self, info: UploadInfo, length: int | None) -> int:
        """Return the maximum size of an upload of this length, which may be unknown."""
        return self._max_size_of(info) if length is None else length

    # -- appending -------------------------------------------------------------------------------

    def _append_operation(
        self,
        command: Create | Append,
        body: Body,
        lock: Lock,
        send_interim: SendInterim | None,
        caller: Caller,
    ) -> AppendOperation:
        hook, request = self._hooks.on_progress, caller.request
        reporter: ProgressReporter | None = None
        if hook is not None and request is not None:
            reporter = ProgressReporter(hook, self._hooks.progress_interval, body, request)
        return AppendOperation(
            command, body, lock, self.max_size, self._events, send_interim, request, reporter
        )

    def _check_append(self, command: Append, info: UploadInfo, body: Body) -> int | None:
        """Check the command before the first byte is read.

        Returns:
            the upload's length; None if it is still unknown.
        """
        if command.offset != info.offset:
            raise OffsetMismatch(info.offset, command.offset)
        length = info.length
        if command.length is not None:
            check_declared(command.length, info, self._max_size_of(info))
            length = command.length
        if info.is_full and body.content_length:
            raise UploadComplete(info.offset, info.offset + body.content_length)
        check_fits(info.offset, body.content_length, length, self._max_size_of(info))
        return length

    def _store_and_finish(self, upload: Upload, append: AppendOperation) -> BodyEnd:
        """Store the body of a checked append, and finish the upload with its last byte."""
        length, lock = append.command.length, append.lock
        if length is not None and upload.info.length is None:
            upload.declare_length(length, lock.assert_held, is_open=upload.info.is_open)
        # Extend before the bytes arrive, so that no sweep removes the upload meanwhile, and again
        # afterwards, because they may have arrived slowly.
        self._extend_expiry(upload, lock)
        end = append.store_body(upload)
        if end is not BodyEnd.MALFORMED:
            self._finisher.finish_if_full(upload, lock, append.request, may_defer=True)
        self._extend_expiry(upload, lock)
        return end

    def _terminate_if_too_long(
        self, upload: Upload, append: AppendOperation, error: TusError
    ) -> None:
        if append.terminates(upload.info, error):
            reason = TerminationReason.CLIENT
            self._terminator.terminate(upload, append.lock, reason, append.request)

    # -- creating --------------------------------------------------------------------------------

    def _plan(
        self, info: UploadInfo, command: Create | Concatenate, caller: Caller
    ) -> tuple[UploadInfo, Mapping[str, str]]:
        """Return the info of a new upload, and the response fields that the application adds."""
        now = self._now()
        info = replace(info, metadata=command.metadata, created=now, owner=caller.identity)
        if caller.plan is not None:
            return self._planner.apply(caller.plan(info.id), info, now)
        return self._planner.plan(info, now, caller.request)

    def _create_with_data(self, info: UploadInfo, append: AppendOperation) -> UploadInfo:
        """Create an upload whose first bytes (possibly zero) arrive with the request.

        If the store fails after the upload exists, the request succeeds nevertheless: the client
        gets the upload's URL and its offset, and resumes from there.
        """
        lock, send_interim, request = append.lock, append.send_interim, append.request
        upload = self._store.create(info, record_now=send_interim is not None)
        if send_interim is not None:
            send_interim(info)
        end = BodyEnd.COMPLETE
        try:
            if append.has_data:
                end = append.store_body(upload)
                self._extend_expiry(upload, lock)  # the bytes may have arrived slowly
            if end is not BodyEnd.MALFORMED:
                with self._announced_if_hook_fails(upload, request):
                    self._finisher.finish_if_full(upload, lock, request, may_defer=True)
        except StoreUnavailable as error:
            upload = self._reopen(info.id, append, error)
            end = BodyEnd.COMPLETE
        except (UploadTooLarge, LengthMismatch):
            upload.terminate(lock.assert_held)
            raise
        except Stop:
            self._announce(upload, request)
            self._terminator.terminate(upload, lock, TerminationReason.STOPPED, request)
            raise
        if end is BodyEnd.MALFORMED:
            upload.terminate(lock.assert_held)
            raise BodyMalformed(0)
        self._announce(upload, request)
        self._cache_for_next(upload, lock)
        return upload.info

    def _reopen(self, id: UploadId, append: AppendOperation, error: StoreUnavailable) -> Upload:
        """Return a new upload as it is after the failure `error` of the store. Finish it if full.

        Raises:
            OnFinishFailed, UploadRejected: the application's hook raised, or rejected the file.
            StoreUnavailable: the upload cannot be loaded; raises `error`.
        """
        log.warning("the store failed while an upload was created: %s", error.brief)
        lock, request = append.lock, append.request
        try:
            upload = self._store.open(id)
            with self._announced_if_hook_fails(upload, request):
                check_not_ended(upload, lock)
            upload.load_offset(lock.assert_held)
        except UploadRejected:
            raise
        except TusError:
            raise error from error.__cause__
        self._extend_expiry(upload, lock)
        # Finish now: a client that gets the full length as the offset sends no more requests.
        with self._announced_if_hook_fails(upload, request):
            self._finisher.finish_if_full(upload, lock, request)
        return upload

    # -- downloading -----------------------------------------------------------------------------

    def _downloadable(self, command: Download) -> Downloadable:
        upload = self._store.open(command.id)
        with rejected_means_gone():
            check_not_ended(upload)
        if not upload.info.is_finished:
            self._load_offset(upload, lock=None)
        # If there is a hook, the upload is not finished before the hook has returned.
        if self._finisher.has_hook and not upload.info.is_finished:
            raise UploadIncomplete
        content = upload.content()
        url = self._presign_url(upload.info, content) if command.may_redirect else None
        return Downloadable(upload.info, content, url)
