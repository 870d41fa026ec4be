"""Finishes full uploads, and removes what abandoned uploads leave in the bucket.

A sweep removes

- an expired upload: its multipart upload, its tail and its info object;
- an orphaned multipart upload, which no info object names: if its key has the form of an upload's
  key and it is old enough;
- an orphaned tail, which belongs to no unfinished upload: if an upload has written it and it is old
  enough.

A sweep assembles the object of a full upload. It **never touches the object of a finished upload**,
nor anything else: a data object that no info object names may be the only copy of a file.

Only a listing proves that an info object does not exist, because a 403 may have any reason (D-07,
D-08). Every change happens under the lock of the upload, after a second check (D-10). An upload
without a due action is not locked, because that would interrupt a client that is sending.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial

from tus_wsgi.domain.errors import (
    InvalidPartial,
    StoreUnavailable,
    TusError,
    UploadGone,
    UploadLocked,
    UploadNotFound,
)
from tus_wsgi.domain.expiry import is_expired
from tus_wsgi.domain.interfaces import Lock, Locker
from tus_wsgi.domain.model import ID_BITS, MIB, Final, UploadId, UploadInfo, parse_upload_id
from tus_wsgi.operations.listing import ListedMultipart, Listing
from tus_wsgi.service.finish import Finisher
from tus_wsgi.stores.s3.bucket import Bucket
from tus_wsgi.stores.s3.errors import NotFound
from tus_wsgi.stores.s3.info import InfoObject, InvalidInfo
from tus_wsgi.stores.s3.keys import Keys
from tus_wsgi.stores.s3.record import UploadRecord
from tus_wsgi.stores.s3.store import S3Store
from tus_wsgi.stores.s3.tails import START_KEY
from tus_wsgi.stores.s3.upload import S3Upload

MAX_WORKERS = 8
"""Threads that process uploads. A million info objects take about an hour with them."""

PROGRESS_INTERVAL = 1000
"""Entries between two calls of `on_progress`."""

MAX_INFO_SIZE = MIB
"""Bytes of the largest info object. Metadata arrives in a header field, which is far smaller."""

# An id is the URL-safe Base64 of `ID_BITS` random bits. Uploads of tusd have other ids, and tusd
# has to clean up after them.
_UPLOAD_ID = re.compile(rf"[A-Za-z0-9_-]{{{-(-ID_BITS // 6)}}}")


class ActionKind(StrEnum):
    """What a sweep did, or would do without `is_dry`."""

    FINISHED = "finished"
    RECORDED = "recorded"
    """The object was complete before; only its info object was updated. It is not reported."""
    EXPIRED = "expired"
    ABORTED = "aborted"
    REMOVED = "removed"
    IN_USE = "in use"
    """Nothing, because a request holds the lock. The next sweep tries again."""
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
        min_age: seconds after which a multipart upload or a tail without an info object counts as
            orphaned. A younger one may belong to a creation in progress.
        finisher: finishes full uploads. If it is None, the sweep only assembles their objects, and
            the next request for the upload calls the application and records the finish.
        max_size: bytes of the largest final upload that is finished.
        is_dry: change nothing and lock nothing.
    """

    now: datetime
    min_age: float
    finisher: Finisher | None
    max_size: int
    is_dry: bool


_Entry = tuple[str, Callable[[], SweepResult | None]]
"""A key, and the function that processes it."""


class Sweep:
    """One sweep over a bucket.

    Args:
        store: opens uploads.
        locker: the locker of the servers.
        bucket: for objects that are not uploads.
        keys: the prefixes.
        listing: the listing of the same bucket.
        policy: what the sweep may do.
        on_progress: called with `examined` from time to time.

    Attributes:
        examined: the number of info objects, tails and multipart uploads so far.
    """

    def __init__(
        self,
        store: S3Store,
        locker: Locker,
        bucket: Bucket,
        *,
        keys: Keys,
        listing: Listing,
        policy: SweepPolicy,
        on_progress: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self._store = store
        self._locker = locker
        self._bucket = bucket
        self._keys = keys
        self._listing = listing
        self._policy = policy
        self._on_progress = on_progress
        self.examined = 0

    def run(self) -> Iterator[SweepResult]:
        """Run the sweep, and yield the result of each action."""
        with ThreadPoolExecutor(MAX_WORKERS, thread_name_prefix="tus-sweep") as executor:
            # Uploads come first, because an expired upload includes its multipart upload.
            for entries in (self._objects(), self._multiparts()):
                try:
                    while batch := list(itertools.islice(entries, PROGRESS_INTERVAL)):
                        yield from filter(None, executor.map(self._process, batch))
                        self.examined += len(batch)
                        self._on_progress(self.examined)
                except StoreUnavailable as error:
                    yield SweepResult(ActionKind.FAILED, "listing", str(error), error)

    def _objects(self) -> Iterator[_Entry]:
        for listed in self._listing.objects(self._keys.info_prefix):
            if listed.key.endswith(".info") and listed.size <= MAX_INFO_SIZE:
                yield listed.key, partial(self._process_upload, listed.key)
            elif listed.key.endswith(".part") and self._is_old(listed.modified):
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
        except UploadLocked:
            return SweepResult(ActionKind.IN_USE, name)
        except TusError as error:
            return SweepResult(ActionKind.FAILED, name, str(error), error)

    @contextmanager
    def _locked(self, id: UploadId) -> Iterator[Lock]:
        with self._locker.lock(id, on_release_request=lambda: None) as lock:
            yield lock

    # -- uploads ---------------------------------------------------------------------------------

    def _process_upload(self, key: str) -> SweepResult | None:
        """Finish or remove the upload whose info object is at `key`, if that is due."""
        try:
            record = InfoObject(self._bucket, key).read()
        except (NotFound, InvalidInfo):
            return None
        id = record.info.id
        # An upload without a plan is tusd's, until a client continues it here (D-12).
        if record.plan is None or record.info.is_finished or not self._is_info_key(key, id):
            return None
        kind = self._due_action(self._store.open(id))
        if kind is not None and not self._policy.is_dry:
            with self._locked(id) as lock:
                upload = self._store.open(id)
                kind = self._due_action(upload)
                self._apply(kind, upload, lock)
        if kind is None or kind is ActionKind.RECORDED:
            return None
        return SweepResult(kind, id, _detail(kind, record.info))

    def _is_info_key(self, key: str, id: UploadId) -> bool:
        try:
            return self._keys.info(parse_upload_id(id)) == key
        except UploadNotFound:
            return False

    def _due_action(self, upload: S3Upload) -> ActionKind | None:
        """Return the action that is due. Without the lock, it must be determined again under it."""
        # An upload whose bytes are gone, or a final upload without one of its partial uploads,
        # stays until it expires, so that its client gets the right error.
        with suppress(UploadGone, InvalidPartial):
            upload.load_offset()
        info = upload.info
        if is_expired(info, self._policy.now):
            return ActionKind.EXPIRED
        if isinstance(info.concat, Final) and (info.length or 0) > self._policy.max_size:
            return None  # its partial uploads have grown since its creation; requests get an error
        if not info.is_full or info.is_finished:
            return None
        finisher = self._policy.finisher
        if not self._has_object(upload) or (finisher is not None and finisher.has_hook):
            return ActionKind.FINISHED
        return None if finisher is None else ActionKind.RECORDED

    def _has_object(self, upload: S3Upload) -> bool:
        facts = self._bucket.find(upload.storage["Key"])
        return facts is not None and facts.size == upload.info.length

    def _apply(self, kind: ActionKind | None, upload: S3Upload, lock: Lock) -> None:
        finisher = self._policy.finisher
        if kind is ActionKind.EXPIRED:
            upload.terminate(lock.assert_held)
        elif kind in {ActionKind.FINISHED, ActionKind.RECORDED} and finisher is not None:
            finisher.finish_if_full(upload, lock)
        elif kind is ActionKind.FINISHED:
            upload.assemble(lock.assert_held)

    # -- orphans ---------------------------------------------------------------------------------

    def _remove_tail(self, key: str) -> SweepResult | None:
        """Remove a tail that a late request wrote after the end of its upload."""
        id = _parse_id(key.removesuffix(".part"), self._keys.info_prefix)
        if id is None or not self._is_orphaned_tail(id):
            return None
        if not self._policy.is_dry:
            with self._locked(id) as lock:
                if not self._is_orphaned_tail(id):
                    return None
                lock.assert_held()
                self._bucket.delete(key)
        return SweepResult(ActionKind.REMOVED, key, "the tail of an upload that has ended")

    def _is_orphaned_tail(self, id: UploadId) -> bool:
        record = self._find_record(id)
        if record is not None:
            return record.info.is_finished
        try:
            # An upload's tail records its start. Any other object only has a similar name (D-12).
            return START_KEY in self._bucket.head(self._keys.tail(id)).metadata
        except NotFound:
            return False

    def _abort(self, listed: ListedMultipart) -> SweepResult | None:
        """Abort a multipart upload that was created but never recorded."""
        id = _parse_id(listed.key, self._keys.data_prefix)
        if id is None or not self._is_orphaned(listed, id):
            return None
        if not self._policy.is_dry:
            with self._locked(id) as lock:
                if not self._is_orphaned(listed, id):
                    return None
                lock.assert_held()
                self._bucket.abort(listed.key, listed.multipart)
        detail = f"a multipart upload of {listed.created:%Y-%m-%d}"
        return SweepResult(ActionKind.ABORTED, listed.key, detail)

    def _is_orphaned(self, listed: ListedMultipart, id: UploadId) -> bool:
        record = self._find_record(id)
        if record is None:
            return True
        if record.multipart == listed.multipart:
            return False
        if record.info.is_finished:
            return True
        # The multipart upload in the record must be listed too. Otherwise the service may list
        # it under another UploadId, and this may be that one.
        listed_ids = {other.multipart for other in self._listing.multiparts(listed.key)}
        return record.multipart in listed_ids

    def _find_record(self, id: UploadId) -> UploadRecord | None:
        """Return the record of the upload; None only if a listing proves that there is none."""
        key = self._keys.info(id)
        try:
            return InfoObject(self._bucket, key).read()
        except NotFound:
            if self._listing.has_object(key):
                raise StoreUnavailable("GetObject") from None
            return None


def _parse_id(key: str, prefix: str) -> UploadId | None:
    """Return the id of the upload with this key; None if the key has another form."""
    name = key.removeprefix(prefix)
    is_upload = key.startswith(prefix) and _UPLOAD_ID.fullmatch(name)
    return UploadId(name) if is_upload else None


def _detail(kind: ActionKind, info: UploadInfo) -> str:
    if kind is ActionKind.EXPIRED:
        return f"at {info.expires:%Y-%m-%d %H:%M}" if info.expires else ""
    return f"{info.length} bytes"
