"""Finish full uploads, and remove the remains of abandoned uploads from the bucket.

A sweep removes

- an expired upload: its multipart uploads, its tail and its info object;
- an upload that the application has rejected: its object, unless the application keeps it, and
  after a day its info object;
- an orphaned multipart upload: the info object of the upload with this key exists, but names
  another multipart upload or none;
- an orphaned tail: the upload of the tail is finished;
- the tombstone of a terminated upload, and what S3 has written after the termination, once no write
  can be late any more (`TOMBSTONE_LIFETIME`).

Orphans must have a minimum age (`SweepPolicy.min_age`). A multipart upload **without an info
object** may belong to another deployment or another program, because its key proves nothing (D-12),
and S3 shows neither its creator nor its metadata. Such a multipart upload is reported, and only
aborted if the operator allows that (`abort_unknown`). A tail without an info object is reported
too.

A sweep assembles the object of a full upload. It **never touches the object of a finished upload**,
nor any other data object, except that of a terminated upload: even one that no info object names
may be the only copy of a file.

Only a listing proves that an object does not exist (D-07, D-08; see `strict_bucket.py`). If that
proof is missing, the upload is reported as failed and not changed. Every change happens under the
lock of the upload, after a second examination (D-10). An upload without a due action is not locked,
because that would interrupt a client that is sending.

A sweep reads nothing of a finished upload, because the listing shows that nothing is due (see
`candidates.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial

from tus_wsgi.domain.errors import (
    InvalidPartial,
    LockLost,
    StoreUnavailable,
    TusError,
    UploadGone,
    UploadLocked,
    UploadNotFound,
)
from tus_wsgi.domain.expiry import is_expired
from tus_wsgi.domain.interfaces import AssertHeld, Lock, Locker
from tus_wsgi.domain.model import (
    Final,
    Partial,
    TerminationReason,
    UploadId,
    UploadInfo,
    parse_upload_id,
)
from tus_wsgi.operations.candidates import Candidates
from tus_wsgi.operations.key_ids import candidate_ids, id_of_key
from tus_wsgi.operations.listing import ListedMultipart, ListedObject, Listing
from tus_wsgi.operations.strict_bucket import IS_LISTED, StrictBucket
from tus_wsgi.operations.tombstones import LateWrites, TombstoneRemover
from tus_wsgi.service.finish import Finisher
from tus_wsgi.service.termination import Terminator
from tus_wsgi.stores.s3.bucket import MAX_READ_SIZE
from tus_wsgi.stores.s3.completion import CompletionPending
from tus_wsgi.stores.s3.errors import NotFound, TooLarge, UnprovenAbsence
from tus_wsgi.stores.s3.info import InfoObject, InvalidInfo
from tus_wsgi.stores.s3.keys import Keys
from tus_wsgi.stores.s3.record import UploadRecord
from tus_wsgi.stores.s3.record_size import listed_state
from tus_wsgi.stores.s3.store import S3Store
from tus_wsgi.stores.s3.tails import START_KEY, TERMINATED_KEY
from tus_wsgi.stores.s3.termination import TOMBSTONE_LIFETIME
from tus_wsgi.stores.s3.upload import S3Upload

REJECTED_LIFETIME = timedelta(days=1)
"""The age at which a sweep removes the record of an upload that the application has rejected."""

MAX_WORKERS = 8
"""Threads that process uploads."""

BATCH = 1000
"""Entries that are listed before the threads process them."""

MAX_REASON = 200
"""Maximum characters of the reason why a record is invalid, which may quote the record."""


class ActionKind(StrEnum):
    """What a sweep did, or would do without `is_dry`."""

    FINISHED = "finished"
    RECORDED = "recorded"
    """The object was complete before; only its info object was updated. It is not reported."""
    EXPIRED = "expired"
    ABORTED = "aborted"
    REMOVED = "removed"
    UNKNOWN = "unknown"
    """Nothing, because no record here shows which program wrote the object or created the multipart
    upload."""
    IN_USE = "in use"
    """Nothing, because a request holds the lock, or because a completion may be in progress. The
    next sweep tries again."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SweepResult:
    """The result for one upload, multipart upload or tail.

    Attributes:
        kind: what the sweep did.
        name: the id of the upload, or a key.
        detail: additional information.
        error: the reason of a failure.
    """

    kind: ActionKind
    name: str
    detail: str = ""
    error: Exception | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPolicy:
    """What a sweep may do.

    Attributes:
        now: the current time in UTC.
        min_age: the minimum age, in seconds, of an orphaned multipart upload or tail. A younger one
            may belong to a request in progress.
        finisher: finishes full uploads. If it is None, the sweep only assembles their objects, and
            the next request for the upload calls the application and records the finish.
        max_size: bytes of the largest final upload that is finished.
        is_dry: change nothing and lock nothing.
        abort_unknown: whether to abort multipart uploads without an info object, if their keys have
            the form of an upload's key. The operator knows that no other program creates them.
        terminator: removes uploads, and calls `on_terminate`. If it is None, the sweep leaves an
            upload alone while a call of `on_terminate` is due for it.
        reads_all: whether to read the record of every upload, also of those that are finished
            according to the listing.
    """

    now: datetime
    min_age: float
    finisher: Finisher | None
    max_size: int
    is_dry: bool
    abort_unknown: bool = False
    terminator: Terminator | None = None
    reads_all: bool = False


class _View:
    """The uploads as one of the two examinations sees them.

    Args:
        store: the store of the servers.
        bucket: makes its S3 calls.
    """

    def __init__(self, store: S3Store, bucket: StrictBucket) -> None:
        self.store = store.with_bucket(bucket)
        self.bucket = bucket


_HAS_OBJECT = "the expired upload looks unfinished, but there is an object at its key: check it"

_REVIVED = "S3 wrote its record after its termination"

_OTHER_OBJECT = "an object of another size is at the key of a terminated upload, not touched"

_UNTOUCHED = ", not touched: no record here names it"

_Entry = tuple[str, Callable[[], SweepResult | None]]
"""A key, and the function that processes it."""


class Sweep:
    """One sweep over a bucket.

    Args:
        store: opens uploads.
        locker: the locker of the servers.
        bucket: the bucket of the store. The sweep makes all S3 calls through it.
        keys: the prefixes.
        listing: the listing of the same bucket.
        policy: what the sweep may do.

    Attributes:
        examined: the number of info objects, tails and multipart uploads so far.
    """

    def __init__(
        self,
        store: S3Store,
        locker: Locker,
        bucket: StrictBucket,
        *,
        keys: Keys,
        listing: Listing,
        policy: SweepPolicy,
    ) -> None:
        self._locker = locker
        # The first examination does without listings as proof, because they cost calls. For most
        # uploads it is the only one: they are in progress, and no action is due.
        self._preview = _View(store, bucket)
        self._proof = _View(store, bucket.with_listing(listing))
        self._keys = keys
        self._listing = listing
        self._policy = policy
        self._on_progress: Callable[[int], None] = lambda _examined: None
        self.examined = 0

    def run(self, on_progress: Callable[[int], None] | None = None) -> Iterator[SweepResult]:
        """Run the sweep, and yield the result of each action.

        Args:
            on_progress: called with `examined` after each entry; None for nothing.
        """
        self._on_progress = on_progress or self._on_progress
        with ThreadPoolExecutor(MAX_WORKERS, thread_name_prefix="tus-sweep") as executor:
            # Uploads come first: removing an expired upload also aborts its multipart upload.
            for entries in (self._objects(), self._multiparts()):
                try:
                    for batch in _batches(entries):
                        for result in executor.map(self._process, batch):
                            self._count()
                            if result is not None:
                                yield result
                except StoreUnavailable as error:
                    yield SweepResult(ActionKind.FAILED, "listing", str(error), error)

    def _count(self) -> None:
        self.examined += 1
        self._on_progress(self.examined)

    def _objects(self) -> Iterator[_Entry]:
        policy = self._policy
        candidates = Candidates(
            self._keys,
            self._listing,
            may_have_hook=policy.finisher is not None and policy.finisher.has_hook,
            reads_all=policy.reads_all,
            on_skipped=self._count,
        )
        for listed in candidates:
            if listed.key.endswith(".info"):
                yield listed.key, partial(self._process_upload, listed)
            elif listed.size == 0:  # no tail is empty, but the tombstone of a tail is
                yield listed.key, partial(self._remove_revived, listed.key)
            elif self._is_old(listed.modified):
                yield listed.key, partial(self._remove_tail, listed.key)

    def _multiparts(self) -> Iterator[_Entry]:
        for listed in self._listing.multiparts(self._keys.data_prefix):
            if self._is_old(listed.created):
                yield listed.key, partial(self._abort, listed)

    def _is_old(self, time: datetime) -> bool:
        return self._policy.now - time >= timedelta(seconds=self._policy.min_age)

    def _process(self, entry: _Entry) -> SweepResult | None:
        """Process one entry. Its failure does not end the sweep."""
        name, act = entry
        try:
            return act()
        except UploadNotFound:
            return None  # a client has just terminated it
        except (UploadLocked, CompletionPending):
            return SweepResult(ActionKind.IN_USE, name)
        except InvalidInfo as error:
            return SweepResult(ActionKind.FAILED, name, _describe(error))
        except TusError as error:
            return SweepResult(ActionKind.FAILED, name, str(error), error)
        except Exception as error:  # noqa: BLE001 - it must not end the sweep of the others
            return SweepResult(ActionKind.FAILED, name, repr(error), error)

    @contextmanager
    def _locked(self, id: UploadId) -> Iterator[Lock]:
        with self._locker.lock(id, on_release_request=lambda: None) as lock:
            yield lock

    # -- uploads ---------------------------------------------------------------------------------

    def _process_upload(self, listed: ListedObject) -> SweepResult | None:
        """Finish or remove the upload with this info object, if that is due."""
        key = listed.key
        if self._id_of_info(key) is None:
            return None
        info_object = InfoObject(self._preview.bucket, key)
        try:
            record = info_object.read()
        except NotFound:
            return None
        id = record.info.id
        if not self._is_info_key(key, id):
            return None
        if record.info.terminating is not None or record.info.rejection is not None:
            return self._process_ended(record, listed.modified)
        if record.is_terminated:
            is_due = self._policy.now - listed.modified >= TOMBSTONE_LIFETIME
            return self._remove_tombstone(id) if is_due else None
        return self._finish_or_expire(record, info_object, listed)

    def _process_ended(self, record: UploadRecord, modified: datetime) -> SweepResult | None:
        if record.info.terminating is not None:
            return self._continue_termination(record.info.id)
        return self._remove_rejected(record, modified)

    def _finish_or_expire(
        self, record: UploadRecord, info_object: InfoObject, listed: ListedObject
    ) -> SweepResult | None:
        # An upload without a plan is tusd's, until a client continues it here (D-12).
        if record.plan is None:
            return None
        if record.info.is_finished:
            if listed_state(listed.size) is None:
                self._update_size(record)
            return None
        id = record.info.id
        try:
            self._check_key(record)
            kind = self._examine(record, info_object)
        except InvalidInfo as error:
            return SweepResult(ActionKind.FAILED, id, _describe(error))
        if kind is None or kind is ActionKind.RECORDED:
            return None
        return SweepResult(kind, id, _detail(kind, record.info))

    def _update_size(self, record: UploadRecord) -> None:
        """Write the record of a finished upload again, so that its size shows the finish.

        An earlier version has written it. From now on, no sweep has to read it.
        """
        # `S3Store.discard` takes no lock, so it may remove a partial upload at the same time.
        if self._policy.is_dry or isinstance(record.info.concat, Partial):
            return
        with self._locked(record.info.id) as lock, suppress(LockLost, NotFound):
            info_object = InfoObject(self._proof.bucket, self._keys.info(record.info.id))
            if info_object.read() == record:
                info_object.write(record, lock.assert_held)

    def _examine(self, record: UploadRecord, info_object: InfoObject) -> ActionKind | None:
        """Take the action that is due, if any, and return it. A dry run only returns it."""
        if self._policy.is_dry:
            upload = self._proof.store.open_read(record, info_object)
            return self._due_action(self._proof, upload)
        if self._may_be_due(self._preview.store.open_read(record, info_object)):
            with self._locked(record.info.id) as lock:
                upload = self._proof.store.open(record.info.id)
                kind = self._due_action(self._proof, upload, lock.assert_held)
                self._apply(kind, upload, lock)
                return kind
        return None

    def _may_be_due(self, upload: S3Upload) -> bool:
        """Return whether the upload has to be examined under its lock."""
        try:
            return self._due_action(self._preview, upload) is not None
        except CompletionPending:
            if not is_expired(upload.info, self._policy.now):
                return False
            self._check_gone(upload)
            return True  # D-09: under the lock, the record gets the time of this observation

    def _id_of_info(self, key: str) -> str | None:
        """Return the id in the key; None if it is not the id of an upload."""
        name = key.removeprefix(self._keys.info_prefix).removesuffix(".info")
        try:
            return parse_upload_id(name)
        except UploadNotFound:
            return None

    def _is_info_key(self, key: str, id: UploadId) -> bool:
        try:
            return self._keys.info(parse_upload_id(id)) == key
        except UploadNotFound:
            return False

    def _check_key(self, record: UploadRecord) -> None:
        if record.key and not self._keys.is_data_key(record.key):
            raise InvalidInfo("the record names a key that no data object has here (D-12)")

    def _due_action(
        self, view: _View, upload: S3Upload, assert_held: AssertHeld | None = None
    ) -> ActionKind | None:
        """Return the action that is due. It is only certain if the caller holds the lock.

        Raises:
            CompletionPending: a completion may be in progress.
        """
        now = self._policy.now
        # An upload whose bytes are gone, or a final upload without one of its partial uploads,
        # stays until it expires, so that its client gets the right error.
        try:
            with suppress(InvalidPartial):
                upload.load_offset(assert_held)
        except UploadGone:
            # A completion in progress may look the same for minutes.
            now -= timedelta(seconds=self._policy.min_age)
            self._check_gone(upload)
        info = upload.info
        if is_expired(info, now):
            self._check_no_object(view, upload)
            return ActionKind.EXPIRED
        is_too_large = (info.length or 0) > info.plan.cap(self._policy.max_size)
        if isinstance(info.concat, Final) and is_too_large:
            return None  # its partial uploads have grown since its creation; requests get an error
        if not info.is_full or info.is_finished:
            return None
        finisher = self._policy.finisher
        has_object = self._has_object(view, upload)
        if not has_object or (finisher is not None and finisher.has_hook):
            return ActionKind.FINISHED
        return None if finisher is None else ActionKind.RECORDED

    def _check_gone(self, upload: S3Upload) -> None:
        """Check that the multipart upload in the record is not listed.

        Raises:
            UnprovenAbsence: it is listed, although ListParts did not find it.
        """
        record, key = self._find_record(upload.info.id), upload.storage["Key"]
        if record is None or record.multipart is None:
            return
        if self._listing.has_multipart(key, record.multipart):
            raise UnprovenAbsence("ListParts", IS_LISTED, key=key)

    def _check_no_object(self, view: _View, upload: S3Upload) -> None:
        """Check that an expired upload has no data object. `terminate` would delete the object.

        Some services still list all or some parts after the completion. So an upload that looks
        unfinished may be a complete file.

        Raises:
            UnprovenAbsence: there is an object, so the sweep must not delete the upload.
        """
        key = upload.storage["Key"]
        if self._keys.is_own(key, upload.info.id) and view.bucket.find(key) is not None:
            raise UnprovenAbsence("HeadObject", _HAS_OBJECT, key=key)

    def _has_object(self, view: _View, upload: S3Upload) -> bool:
        facts = view.bucket.find(upload.storage["Key"])
        return facts is not None and facts.size == upload.info.length

    def _apply(self, kind: ActionKind | None, upload: S3Upload, lock: Lock) -> None:
        finisher = self._policy.finisher
        if kind is ActionKind.EXPIRED:
            self._abort_multiparts(upload, lock)
            self._terminate(upload, lock, TerminationReason.EXPIRED)
        elif kind in {ActionKind.FINISHED, ActionKind.RECORDED} and finisher is not None:
            finisher.finish_if_full(upload, lock)
        elif kind is ActionKind.FINISHED:
            upload.assemble(lock.assert_held)

    def _terminate(self, upload: S3Upload, lock: Lock, reason: TerminationReason) -> None:
        if self._policy.terminator is None:
            upload.terminate(lock.assert_held)
        else:
            self._policy.terminator.terminate(upload, lock, reason)

    def _continue_termination(self, id: UploadId) -> SweepResult | None:
        """Tell the application of a termination again, because its hook has raised."""
        if self._policy.terminator is None:
            return None
        if not self._policy.is_dry:
            with self._locked(id) as lock:
                upload = self._proof.store.open(id)
                if upload.info.terminating is None:
                    return None
                self._terminate(upload, lock, upload.info.terminating)
        return SweepResult(ActionKind.REMOVED, id, "terminated before")

    def _abort_multiparts(self, upload: S3Upload, lock: Lock) -> None:
        """Abort an expired upload's multipart uploads that its record does not name.

        This needs the record, so `terminate` comes later. Only a key that contains the random id is
        certain to belong to this upload alone.
        """
        record = self._find_record(upload.info.id)
        key = upload.storage["Key"]
        if record is None or not self._keys.is_own(key, upload.info.id):
            return
        if record.key not in ("", key):
            return
        for listed in list(self._listing.multiparts(key)):
            is_recorded = listed.multipart == record.multipart  # `terminate` aborts it
            if listed.key == key and not is_recorded:
                lock.assert_held()
                self._proof.bucket.abort(key, listed.multipart)

    # -- rejected uploads ------------------------------------------------------------------------

    def _remove_rejected(self, record: UploadRecord, modified: datetime) -> SweepResult | None:
        """Remove the object that a killed process has left, and later the record.

        The record stays for a while, so that the client learns that its file is rejected.
        """
        info = record.info
        is_due = self._policy.now - modified >= REJECTED_LIFETIME
        keeps_object = info.rejection is None or info.rejection.keep
        if not is_due and (keeps_object or self._preview.bucket.find(record.key) is None):
            return None
        if not self._policy.is_dry:
            with self._locked(info.id) as lock:
                upload = self._proof.store.open(info.id)
                if upload.info.rejection is None:
                    return None
                upload.remove_rejected(lock.assert_held)
                if is_due:
                    self._terminate(upload, lock, TerminationReason.EXPIRED)
        return SweepResult(ActionKind.REMOVED, info.id, "rejected by the application")

    # -- terminated uploads ----------------------------------------------------------------------

    def _remove_tombstone(self, id: UploadId) -> SweepResult | None:
        """Remove a tombstone, and what S3 wrote after the termination."""
        remover = TombstoneRemover(self._proof.bucket, self._listing, self._keys)
        if self._policy.is_dry:
            tombstone = self._find_record(id)
            return None if tombstone is None else _late(remover.find_late_writes(tombstone), id)
        with self._locked(id) as lock:
            tombstone = self._find_record(id)
            if tombstone is None or not tombstone.is_terminated:
                return None
            late = remover.find_late_writes(tombstone)
            remover.remove(tombstone, late, lock.assert_held)
        return _late(late, id)

    def _remove_revived(self, tail_key: str) -> SweepResult | None:
        """Remove an upload again if S3 wrote its record after the termination.

        Only a service that ignores conditions does so. The tombstone at the key of the tail is
        written after the one in the info object was confirmed, so the record is older (D-08).
        """
        id = id_of_key(tail_key.removesuffix(".part"), self._keys.info_prefix)
        if id is None or not self._is_revived(id):
            return None
        if not self._policy.is_dry:
            with self._locked(id) as lock:
                if not self._is_revived(id):
                    return None
                upload = self._proof.store.open(id)
                self._abort_multiparts(upload, lock)
                upload.terminate(lock.assert_held)
        return SweepResult(ActionKind.REMOVED, id, _REVIVED)

    def _is_revived(self, id: UploadId) -> bool:
        record = self._find_record(id)
        if record is None or record.is_terminated:
            return False
        tail = self._proof.bucket.find(self._keys.tail(id))
        return tail is not None and TERMINATED_KEY in tail.metadata

    # -- orphans ---------------------------------------------------------------------------------

    def _remove_tail(self, key: str) -> SweepResult | None:
        """Remove a tail that a late request wrote after its upload was finished."""
        name = self._keys.object_id_of_tail(key) or ""
        id = id_of_key(self._keys.info_prefix + name, self._keys.info_prefix)
        if id is None:
            return None
        record = self._find_record(id)
        if record is None:
            return self._report_unknown_tail(key)
        if not record.info.is_finished:
            return None
        if not self._policy.is_dry:
            with self._locked(id) as lock:
                record = self._find_record(id)
                if record is None or not record.info.is_finished:
                    return None
                lock.assert_held()
                self._proof.bucket.delete(key)
        return SweepResult(ActionKind.REMOVED, key, "the tail of an upload that has ended")

    def _report_unknown_tail(self, key: str) -> SweepResult | None:
        """Report a tail without a record, which another deployment may have written (D-12)."""
        tail = self._proof.bucket.find(key)
        if tail is None or START_KEY not in tail.metadata:
            return None  # an upload's tail records its start; this object only has a similar name
        return SweepResult(ActionKind.UNKNOWN, key, f"a tail{_UNTOUCHED}")

    def _abort(self, listed: ListedMultipart) -> SweepResult | None:
        """Abort a multipart upload that was created but never recorded."""
        id = id_of_key(listed.key, self._keys.data_prefix) or self._find_id(listed.key)
        if id is None:
            return None
        kind = self._orphan_action(listed, id)
        if kind is ActionKind.ABORTED and not self._policy.is_dry:
            with self._locked(id) as lock:
                kind = self._orphan_action(listed, id)
                if kind is ActionKind.ABORTED:
                    lock.assert_held()
                    self._proof.bucket.abort(listed.key, listed.multipart)
        if kind is None:
            return None
        suffix = _UNTOUCHED if kind is ActionKind.UNKNOWN else ""
        detail = f"a multipart upload of {listed.created:%Y-%m-%d}{suffix}"
        return SweepResult(kind, listed.key, detail)

    def _find_id(self, key: str) -> UploadId | None:
        """Return the id in a key that an application or a template chose, if a record names it."""
        for id in candidate_ids(key.removeprefix(self._keys.data_prefix)):
            record = self._find_record(id)
            if record is not None and record.key == key:
                return id
        return None

    def _orphan_action(self, listed: ListedMultipart, id: UploadId) -> ActionKind | None:
        record = self._find_record(id)
        if record is None:
            return ActionKind.ABORTED if self._policy.abort_unknown else ActionKind.UNKNOWN
        return ActionKind.ABORTED if self._is_orphaned(listed, record) else None

    def _is_orphaned(self, listed: ListedMultipart, record: UploadRecord) -> bool:
        """Return whether the multipart upload belongs to the record's upload, but is unused."""
        # A record without a plan is tusd's (D-12).
        if record.plan is None or (record.key or listed.key) != listed.key:
            return False
        if record.multipart == listed.multipart:
            return False
        if record.is_terminated:
            return False  # it is aborted together with the tombstone
        if record.info.is_finished or record.multipart is None:
            return True
        # The multipart upload in the record must be listed too. Otherwise `listed` may be that
        # upload, if the service lists it under another UploadId.
        return self._listing.has_multipart(listed.key, record.multipart)

    def _find_record(self, id: UploadId) -> UploadRecord | None:
        """Return the record of the upload; None only if a listing proves that there is none."""
        try:
            record = InfoObject(self._proof.bucket, self._keys.info(id)).read()
        except NotFound:
            return None
        if record.info.id != id:
            raise InvalidInfo("the record names another id (D-12)")
        return record


def _batches(entries: Iterator[_Entry]) -> Iterator[list[_Entry]]:
    """Yield lists of entries. Before raising a failure, yield the entries listed so far.

    Raises:
        StoreUnavailable: S3 did not answer, or the credentials do not allow listing.
    """
    batch: list[_Entry] = []
    try:
        for entry in entries:
            batch.append(entry)
            if len(batch) == BATCH:
                yield batch
                batch = []
    except StoreUnavailable:
        yield batch
        raise
    yield batch


def _late(late: LateWrites, id: UploadId) -> SweepResult | None:
    """Return the result for a tombstone; None if S3 wrote nothing after the termination."""
    if late.has_other_object:
        return SweepResult(ActionKind.UNKNOWN, id, _OTHER_OBJECT)
    if late.has_object or late.multiparts:
        return SweepResult(ActionKind.REMOVED, id, "S3 wrote to it after its termination")
    return None


def _detail(kind: ActionKind, info: UploadInfo) -> str:
    if kind is ActionKind.EXPIRED:
        return f"at {info.expires:%Y-%m-%d %H:%M}" if info.expires else ""
    return f"{info.length} bytes"


def _describe(error: InvalidInfo) -> str:
    """Return what is wrong with a record."""
    cause = error.__cause__
    reason = error.operation if cause is None else str(cause)
    if isinstance(cause, TooLarge):
        reason = f"it has more than {MAX_READ_SIZE} bytes"
    elif isinstance(cause, KeyError | AttributeError | TypeError):
        reason = "a field has the wrong type"
    effect = "nothing of this upload was changed"
    return f"the info object is not a valid record: {reason[:MAX_REASON]}; {effect}"
