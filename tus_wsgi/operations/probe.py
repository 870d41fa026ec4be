"""Test a bucket with every call that uploads make, and remove the objects that the test wrote.

The calls use the same code as uploads. The objects are written below the prefixes of uploads, with
unguessable names that start with `ID_PREFIX`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tus_wsgi.domain.errors import LockLost, StoreUnavailable
from tus_wsgi.domain.model import UploadId
from tus_wsgi.domain.parts import Part
from tus_wsgi.spool.payload import Payload
from tus_wsgi.stores.s3.bucket import Bucket, Condition, CopyRange
from tus_wsgi.stores.s3.diagnostics import (
    BucketAddress,
    diagnose,
    is_denied,
    may_have_succeeded,
)
from tus_wsgi.stores.s3.errors import CopyRefused, NotFound, Refused, SourceGone
from tus_wsgi.stores.s3.keys import Keys
from tus_wsgi.stores.s3.multipart import with_listed_checksums

ID_PREFIX = "tus-wsgi-check-"
"""The prefix of a probe's ids. They cannot collide with an upload's id, which has 22 characters."""

_CONTENT = b"written by tus-wsgi check, and removed by it\n" * 100
"""Larger than 3 KiB: Garage copies no smaller objects."""

_NO_MULTIPART = "none"
"""An UploadId that does not exist. A call with it also shows whether the operation is allowed."""

_OTHER_ETAG = '"0123456789abcdef0123456789abcdef"'


class Status(StrEnum):
    """The status of a check."""

    OK = "ok"
    WARNING = "warning"
    """It works, but may be a mistake."""
    FAILED = "FAILED"
    SKIPPED = "skipped"
    """An earlier failure made the check impossible."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check.

    Attributes:
        check: the name of the check.
        status: whether it passed.
        detail: what is wrong and what to do; or additional information.
    """

    check: str
    status: Status
    detail: str = ""


class _CheckFailed(Exception):
    """S3 accepted a call, but the result is wrong."""


class _CheckSkipped(Exception):
    """The check needs something that an earlier check failed to do."""


class Probe:
    """A test of one bucket.

    Args:
        bucket: the bucket.
        keys: the prefixes of uploads.
        token: random text that makes the names unguessable.
        address: the bucket, for the explanations of failures.
        data_parameters: the options of data objects, as parameters of boto3.
    """

    def __init__(
        self,
        bucket: Bucket,
        keys: Keys,
        token: str,
        address: BucketAddress,
        *,
        data_parameters: Mapping[str, Any] | None = None,
    ) -> None:
        id = UploadId(ID_PREFIX + token)
        self._data_parameters = data_parameters or {}
        self._bucket = bucket
        self._address = address
        self._data = keys.data(id)
        self._info = keys.info(id)
        self._keys = (self._data, self._info)
        self._written: set[str] = set()
        self._multiparts: set[str] = set()
        self._can_read = False

    def run(self) -> list[CheckResult]:
        """Run every check and clean up. The last result lists what could not be removed."""
        try:
            results = self._run_checks()
        finally:
            leftovers = self._clean_up()
        if leftovers:
            detail = f"remove by hand: {', '.join(leftovers)}"
            results.append(CheckResult("cleaning up", Status.FAILED, detail))
        return results

    def _run_checks(self) -> list[CheckResult]:
        results: list[CheckResult] = []
        denied: set[str] = set()
        for name, check in self._checks():
            # Skip the rest if the first check failed for another reason than a missing permission.
            first_failed = bool(results) and results[0].status is Status.FAILED
            if first_failed and not denied:
                results.append(CheckResult(name, Status.SKIPPED))
                continue
            try:
                results.append(CheckResult(name, Status.OK, check()))
            except _CheckSkipped:
                results.append(CheckResult(name, Status.SKIPPED))
            except _CheckFailed as failure:
                results.append(CheckResult(name, Status.FAILED, str(failure)))
            except (StoreUnavailable, NotFound, KeyError) as error:
                if is_denied(error):
                    denied.add(name)
                detail = diagnose(error, self._address)
                results.append(CheckResult(name, Status.FAILED, detail))
        return self._merge_denied(results) if _attempted(results) == denied else results

    def _merge_denied(self, results: list[CheckResult]) -> list[CheckResult]:
        """Report one failure if S3 denied every call."""
        detail = (
            f"nothing is allowed in the bucket {self._address.bucket!r}: check TUS_S3_BUCKET, the "
            f"owner of the bucket, and the credentials; {results[0].detail}"
        )
        skipped = [CheckResult(result.check, Status.SKIPPED) for result in results[1:]]
        return [CheckResult(results[0].check, Status.FAILED, detail), *skipped]

    def _checks(self) -> list[tuple[str, Callable[[], str]]]:
        return [
            ("one-part upload", self._put),
            ("reading", self._get),
            ("conditional writes", self._conditions),
            ("multipart upload", self._multipart),
            ("copying parts", self._copy),
            ("listing parts", self._list_parts),
            ("aborting", self._abort),
            ("deleting", self._delete),
        ]

    # -- the checks, each of which returns the detail of its result -------------------------------

    def _put(self) -> str:
        for key in self._keys:
            self._written.add(key)
            try:
                parameters = self._data_parameters if key == self._data else None
                self._bucket.put(key, Payload.of(_CONTENT), parameters=parameters)
            except StoreUnavailable as error:
                if not may_have_succeeded(error):
                    self._written.discard(key)
                raise
        return "s3:PutObject"

    def _get(self) -> str:
        if self._written != set(self._keys):
            raise _CheckSkipped
        for key in self._keys:
            self._compare(key)
        self._can_read = True
        return "s3:GetObject"

    def _conditions(self) -> str:
        if not self._can_read:
            raise _CheckSkipped
        for condition in (Condition(None), Condition(_OTHER_ETAG)):
            try:
                self._bucket.put(self._info, Payload.of(_CONTENT), condition=condition)
            except LockLost:
                continue
            return "not honoured: only the lock protects an upload from a second writer"
        return "honoured"

    def _multipart(self) -> str:
        multipart = self._create_multipart()
        part = self._bucket.upload_part(self._data, multipart, 1, Payload.of(_CONTENT))
        self._bucket.complete(self._data, multipart, [part])
        self._multiparts.discard(multipart)
        if self._can_read:
            self._compare(self._data)
        return "s3:PutObject"

    def _copy(self) -> str:
        if not self._can_read:
            raise _CheckSkipped
        multipart = self._create_multipart()
        try:
            self._complete_copy(multipart)
        except (CopyRefused, Refused) as refusal:
            reason = diagnose(refusal, self._address)
            return f"not possible: the server sends the bytes of concatenated uploads ({reason})"
        except SourceGone as error:
            raise _CheckFailed(f"{self._info} does not exist after it was written") from error
        self._multiparts.discard(multipart)
        self._compare(self._data)
        return "s3:GetObject"

    def _list_parts(self) -> str:
        sizes = []
        try:
            multipart = self._create_multipart()
            self._bucket.upload_part(self._data, multipart, 1, Payload.of(_CONTENT))
            sizes = [len(_CONTENT)]
        except StoreUnavailable:
            multipart = _NO_MULTIPART
        try:
            listed = self._bucket.list_parts(self._data, multipart)
        except NotFound:
            listed = []
        if [part.size for part in listed] != sizes:
            raise _CheckFailed(f"expected one part of {len(_CONTENT)} bytes, got {listed!r}")
        return "s3:ListMultipartUploadParts"

    def _abort(self) -> str:
        for multipart in sorted(self._multiparts) or [_NO_MULTIPART]:
            self._bucket.abort(self._data, multipart)
            self._multiparts.discard(multipart)
        return "s3:AbortMultipartUpload"

    def _delete(self) -> str:
        for key in self._keys:
            self._bucket.delete(key)
            self._written.discard(key)
            if self._can_read and self._exists(key):
                raise _CheckFailed(f"{key} still exists after it was deleted")
        return "s3:DeleteObject"

    # -- helpers -----------------------------------------------------------------------------------

    def _compare(self, key: str) -> None:
        try:
            content, _facts = self._bucket.get(key)
        except NotFound as error:
            raise _CheckFailed(f"{key} does not exist after it was written") from error
        if content != _CONTENT:
            raise _CheckFailed(f"{key} has other content than was written, got {content[:80]!r}")

    def _complete_copy(self, multipart: str) -> None:
        """Copy the info object into a multipart upload and complete it, as a concatenation does."""
        source = CopyRange(self._info, self._bucket.head(self._info).etag)
        etag, crc32 = self._bucket.copy_part(self._data, multipart, 1, source)
        parts = [Part(1, len(_CONTENT), etag, crc32)]
        try:
            self._bucket.complete(self._data, multipart, parts)
        except Refused:
            listed = with_listed_checksums(self._bucket, self._data, multipart, parts)
            if listed == parts:
                raise
            self._bucket.complete(self._data, multipart, listed)

    def _create_multipart(self) -> str:
        multipart = self._bucket.create_multipart(
            self._data, content_type=None, metadata={}, parameters=self._data_parameters
        )
        self._multiparts.add(multipart)
        return multipart

    def _exists(self, key: str) -> bool:
        return self._bucket.find(key) is not None

    def _clean_up(self) -> list[str]:
        """Remove everything that was written, and return what could not be removed."""
        leftovers: list[str] = []
        for multipart in sorted(self._multiparts):
            try:
                self._bucket.abort(self._data, multipart)
            except StoreUnavailable:
                leftovers.append(f"the multipart upload {multipart} of {self._data}")
        for key in sorted(self._written):
            try:
                self._bucket.delete(key)
            except StoreUnavailable:
                leftovers.append(key)
        return leftovers


def _attempted(results: list[CheckResult]) -> set[str]:
    return {result.check for result in results if result.status is not Status.SKIPPED}
