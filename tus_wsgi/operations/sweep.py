"""Clears up after uploads that nobody goes on with. What is removed, and nothing else:

- an upload that has lapsed: its multipart upload, its tail, its info;
- a multipart upload that no info names, if its key is one of ours and it is old enough;
- a tail that no unfinished upload has, if it is one of ours and old enough.

An upload that is full is made an object. **No object that an upload has become is ever touched**,
nor is anything of somebody else's: data objects that no info names may be the only copy of a file.

Absence is believed only if it is proved: what no info names is removed only when a listing says
that there is no such info, because a 403 may mean anything. Whatever is changed is looked at
again under the upload's lock first. An upload in which nothing is due is not locked, because that
would interrupt the client that is just sending.
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

AT_ONCE = 8
"""Infos that are read at the same time: a million of them take about an hour then."""

PAGE = 1000
"""Entries between two reports of how far the sweep is."""

MAX_INFO_SIZE = MIB
"""Bytes of what may be an info. Metadata comes in a header field, which is far smaller."""

# Base64 of as many random bits as an id has. What tusd begins and loses is tusd's to clear up.
_OURS = re.compile(rf"[A-Za-z0-9_-]{{{-(-ID_BITS // 6)}}}")


class ActionKind(StrEnum):
    """What was done, or would be in a dry run."""

    FINISHED = "finished"
    NOTED = "noted"
    """Nothing but that the record says now what was so already. Nobody is told of it."""
    EXPIRED = "expired"
    ABORTED = "aborted"
    REMOVED = "removed"
    IN_USE = "in use"
    """Nothing, because a request has the lock. The next sweep looks again."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SweepResult:
    """One thing that the sweep has done.

    Attributes:
        kind: what.
        name: the upload's id, or a key.
        detail: more about it, in words.
        error: why it failed.
    """

    kind: ActionKind
    name: str
    detail: str = ""
    error: Exception | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPolicy:
    """How a sweep goes about it.

    Attributes:
        now: the instant that counts, in UTC.
        min_age: seconds that a multipart upload or a tail without an info must be old, so that a
            creation on its way is not hit.
        finisher: finishes what is full. With None it is only made an object, and whoever looks
            next tells the application and calls it finished.
        max_size: bytes of the largest final upload that is finished.
        is_dry: change nothing, and lock nothing.
    """

    now: datetime
    min_age: float
    finisher: Finisher | None
    max_size: int
    is_dry: bool


_Entry = tuple[str, Callable[[], SweepResult | None]]
"""A key, and what to do about it."""


class Sweep:
    """One sweep over the bucket.

    Args:
        store: opens uploads.
        locker: the one that the servers use.
        bucket: for what is no upload.
        keys: the prefixes.
        listing: of the same bucket.
        rules: how to go about it.
        on_progress: told now and then how many infos, tails and multipart uploads were looked at.

    Attributes:
        examined: how many that were.
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
        """Do it, and tell each deed when it is done."""
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tus-sweep") as executor:
            # Uploads come first: those that lapse take their multipart uploads along.
            for entries in (self._objects(), self._multiparts()):
                try:
                    while page := list(itertools.islice(entries, PAGE)):
                        yield from filter(None, executor.map(self._carefully, page))
                        self.examined += len(page)
                        self._on_progress(self.examined)
                except StoreUnavailable as error:
                    yield SweepResult(ActionKind.FAILED, "listing", str(error), error)

    def _objects(self) -> Iterator[_Entry]:
        for listed in self._listing.objects(self._keys.info_prefix):
            if listed.key.endswith(".info") and listed.size <= MAX_INFO_SIZE:
                yield listed.key, partial(self._tend, listed.key)
            elif listed.key.endswith(".part") and self._is_old(listed.modified):
                yield listed.key, partial(self._remove_tail, listed.key)

    def _multiparts(self) -> Iterator[_Entry]:
        for listed in self._listing.multiparts(self._keys.data_prefix):
            if self._is_old(listed.begun):
                yield listed.key, partial(self._abort, listed)

    def _is_old(self, instant: datetime) -> bool:
        return self._policy.now - instant >= timedelta(seconds=self._policy.min_age)

    def _carefully(self, entry: _Entry) -> SweepResult | None:
        """One entry, whose trouble is not the others'."""
        name, act = entry
        try:
            return act()
        except UploadNotFound:
            return None  # a client has just removed it
        except UploadLocked:
            return SweepResult(ActionKind.IN_USE, name)
        except TusError as error:
            return SweepResult(ActionKind.FAILED, name, str(error), error)

    @contextmanager
    def _locked(self, id: UploadId) -> Iterator[Lock]:
        with self._locker.lock(id, on_release_request=lambda: None) as lock:
            yield lock

    # -- uploads ---------------------------------------------------------------------------------

    def _tend(self, key: str) -> SweepResult | None:
        """Finish or remove the upload whose info object is at `key`, if that is due."""
        try:
            record = InfoObject(self._bucket, key).read()
        except (NotFound, InvalidInfo):
            return None
        id = record.info.id
        # Without a plan it is tusd's, until a client has gone on with it here.
        if record.plan is None or record.info.is_finished or not self._is_info_of(id, key):
            return None
        deed = self._due(self._store.open(id))
        if deed is not None and not self._policy.is_dry:
            with self._locked(id) as lock:
                upload = self._store.open(id)
                deed = self._due(upload)
                self._carry_out(deed, upload, lock)
        if deed is None or deed is ActionKind.NOTED:
            return None
        return SweepResult(deed, id, _described(deed, record.info))

    def _is_info_of(self, id: UploadId, key: str) -> bool:
        try:
            return self._keys.info(parse_upload_id(id)) == key
        except UploadNotFound:
            return False

    def _due(self, upload: S3Upload) -> ActionKind | None:
        """What is to be done with the upload. It may be asked without the lock; then ask again."""
        # One that is gone stays as long as any other, so that its client is told; and so does a
        # final one without one of its partials.
        with suppress(UploadGone, InvalidPartial):
            upload.load_offset()
        info = upload.info
        if is_expired(info, self._policy.now):
            return ActionKind.EXPIRED
        if isinstance(info.concat, Final) and (info.length or 0) > self._policy.max_size:
            return None  # its partials have grown since it was begun, and requests are told so
        if not info.is_full or info.is_finished:
            return None
        finisher = self._policy.finisher
        if not self._is_object(upload) or (finisher is not None and finisher.has_hook):
            return ActionKind.FINISHED
        return None if finisher is None else ActionKind.NOTED

    def _is_object(self, upload: S3Upload) -> bool:
        found = self._bucket.find(upload.storage["Key"])
        return found is not None and found.size == upload.info.length

    def _carry_out(self, deed: ActionKind | None, upload: S3Upload, lock: Lock) -> None:
        if deed is ActionKind.EXPIRED:
            upload.terminate(lock.assert_held)
        elif deed in {ActionKind.FINISHED, ActionKind.NOTED} and self._policy.finisher is not None:
            self._policy.finisher.finish_if_full(upload, lock)
        elif deed is ActionKind.FINISHED:
            upload.assemble(lock.assert_held)

    # -- what no info names ----------------------------------------------------------------------

    def _remove_tail(self, key: str) -> SweepResult | None:
        """Remove a tail that was written after its upload had ended, by a request that was late."""
        id = _our_id(key.removesuffix(".part"), self._keys.info_prefix)
        if id is None or not self._is_stray_tail(id):
            return None
        if not self._policy.is_dry:
            with self._locked(id) as lock:
                if not self._is_stray_tail(id):
                    return None
                lock.assert_held()
                self._bucket.delete(key)
        return SweepResult(ActionKind.REMOVED, key, "the tail of an upload that has ended")

    def _is_stray_tail(self, id: UploadId) -> bool:
        record = self._record(id)
        if record is not None:
            return record.info.is_finished
        try:
            # Ours say where they begin. Anything else just has a similar name.
            return START_KEY in self._bucket.head(self._keys.tail(id)).metadata
        except NotFound:
            return False

    def _abort(self, listed: ListedMultipart) -> SweepResult | None:
        """Abort a multipart upload that was begun and never recorded."""
        id = _our_id(listed.key, self._keys.data_prefix)
        if id is None or not self._is_stray(id, listed):
            return None
        if not self._policy.is_dry:
            with self._locked(id) as lock:
                if not self._is_stray(id, listed):
                    return None
                lock.assert_held()
                self._bucket.abort(listed.key, listed.multipart)
        return SweepResult(
            ActionKind.ABORTED, listed.key, f"a multipart upload of {listed.begun:%Y-%m-%d}"
        )

    def _is_stray(self, id: UploadId, listed: ListedMultipart) -> bool:
        record = self._record(id)
        if record is None:
            return True
        if record.multipart == listed.multipart:
            return False
        if record.info.is_finished:
            return True
        # The one that the record names must be listed as well. Otherwise this may be that one, by
        # another name.
        names = {other.multipart for other in self._listing.multiparts(listed.key)}
        return record.multipart in names

    def _record(self, id: UploadId) -> UploadRecord | None:
        """The upload's record; None only if it is certain that there is none."""
        key = self._keys.info(id)
        try:
            return InfoObject(self._bucket, key).read()
        except NotFound:
            if self._listing.has(key):
                raise StoreUnavailable("GetObject") from None
            return None


def _our_id(key: str, prefix: str) -> UploadId | None:
    """The id that an upload of ours with this key has; None for keys of any other form."""
    name = key.removeprefix(prefix)
    return UploadId(name) if key.startswith(prefix) and _OURS.fullmatch(name) else None


def _described(deed: ActionKind, info: UploadInfo) -> str:
    if deed is ActionKind.EXPIRED:
        return f"at {info.expires:%Y-%m-%d %H:%M}" if info.expires else ""
    return f"{info.length} bytes"
