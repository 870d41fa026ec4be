"""Tries a bucket with what uploads are going to ask of it, and removes what it has written.

Every call is one that uploads make, through the same door. What is written lies under the prefixes
of uploads and has unguessable names that say what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tus_wsgi.domain.errors import LockLost, StoreUnavailable
from tus_wsgi.domain.model import UploadId
from tus_wsgi.operations.diagnostics import Address, diagnose, is_denied, may_be_done
from tus_wsgi.spool.payload import Payload
from tus_wsgi.stores.s3.bucket import Bucket, Condition
from tus_wsgi.stores.s3.errors import NotFound
from tus_wsgi.stores.s3.keys import Keys

ID_PREFIX = "tus-wsgi-check-"
"""What the ids of a probe begin with. No upload's does: theirs have 22 characters."""

_CONTENT = b"written by tus-wsgi check, and removed by it\n"

_NO_MULTIPART = "none"
"""Whether something is allowed shows on a multipart upload that is not there, too."""

_OTHER_ETAG = '"0123456789abcdef0123456789abcdef"'


class Status(StrEnum):
    """What a check found."""

    OK = "ok"
    FAILED = "FAILED"
    SKIPPED = "skipped"
    """It could not be tried, because of an earlier failure."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one check.

    Attributes:
        check: what was looked at.
        verdict: what was found.
        detail: what is wrong and what to do; or what there is to know.
    """

    check: str
    verdict: Status
    detail: str = ""


class _Failed(Exception):
    """S3 did what it was asked, and it is not what was asked for."""


class _Skipped(Exception):
    """Something that is needed for the check failed before."""


class Probe:
    """One try of a bucket.

    Args:
        bucket: the one to try.
        keys: the prefixes of uploads.
        token: random; makes the names unguessable.
        address: for explanations.
    """

    def __init__(self, bucket: Bucket, keys: Keys, token: str, address: Address) -> None:
        id = UploadId(ID_PREFIX + token)
        self._bucket = bucket
        self._address = address
        self._data, self._info = self._keys = keys.data(id), keys.info(id)
        self._written: set[str] = set()
        self._multiparts: set[str] = set()
        self._can_read = False

    def run(self) -> list[CheckResult]:
        """Try everything. Nothing is left behind, or the last finding says what."""
        try:
            findings = self._try()
        finally:
            left = self._clean_up()
        if left:
            detail = f"remove by hand: {', '.join(left)}"
            findings.append(CheckResult("cleaning up", Status.FAILED, detail))
        return findings

    def _try(self) -> list[CheckResult]:
        findings: list[CheckResult] = []
        denied: set[str] = set()
        for name, check in self._checks():
            # Whoever may not do one thing may do another; all else is in the way of everything.
            if findings and findings[0].verdict is Status.FAILED and not denied:
                findings.append(CheckResult(name, Status.SKIPPED))
                continue
            try:
                findings.append(CheckResult(name, Status.OK, check()))
            except _Skipped:
                findings.append(CheckResult(name, Status.SKIPPED))
            except _Failed as failure:
                findings.append(CheckResult(name, Status.FAILED, str(failure)))
            except (StoreUnavailable, NotFound, KeyError) as error:
                if is_denied(error):
                    denied.add(name)
                detail = diagnose(error, self._address)
                findings.append(CheckResult(name, Status.FAILED, detail))
        return self._all_denied(findings) if _tried(findings) == denied else findings

    def _all_denied(self, findings: list[CheckResult]) -> list[CheckResult]:
        """Say once what five missing permissions have in common."""
        detail = (
            f"nothing is allowed in the bucket {self._address.bucket!r}: check TUS_S3_BUCKET, "
            f"whose bucket it is, and whose credentials these are; {findings[0].detail}"
        )
        skipped = [CheckResult(one.check, Status.SKIPPED) for one in findings[1:]]
        return [CheckResult(findings[0].check, Status.FAILED, detail), *skipped]

    def _checks(self) -> list[tuple[str, Callable[[], str]]]:
        return [
            ("one-part upload", self._put),
            ("reading", self._get),
            ("conditional writes", self._conditions),
            ("multipart upload", self._multipart),
            ("listing parts", self._list_parts),
            ("aborting", self._abort),
            ("deleting", self._delete),
        ]

    # -- the checks, each of which says what there is to know ------------------------------------

    def _put(self) -> str:
        for key in self._keys:
            self._written.add(key)
            try:
                self._bucket.put(key, Payload.of(_CONTENT))
            except StoreUnavailable as error:
                if not may_be_done(error):
                    self._written.discard(key)
                raise
        return "s3:PutObject"

    def _get(self) -> str:
        if self._written != set(self._keys):
            raise _Skipped
        for key in self._keys:
            self._compare(key)
        self._can_read = True
        return "s3:GetObject"

    def _conditions(self) -> str:
        if not self._can_read:
            raise _Skipped
        for condition in (Condition(None), Condition(_OTHER_ETAG)):
            try:
                self._bucket.put(self._info, Payload.of(_CONTENT), condition=condition)
            except LockLost:
                continue
            return "not honoured here, so only the lock keeps two writers of one upload apart"
        return "honoured"

    def _multipart(self) -> str:
        multipart = self._begin()
        part = self._bucket.upload_part(self._data, multipart, 1, Payload.of(_CONTENT))
        self._bucket.complete(self._data, multipart, [part])
        self._multiparts.discard(multipart)
        if self._can_read:
            self._compare(self._data)
        return "s3:PutObject"

    def _list_parts(self) -> str:
        sizes = []
        try:
            multipart = self._begin()
            self._bucket.upload_part(self._data, multipart, 1, Payload.of(_CONTENT))
            sizes = [len(_CONTENT)]
        except StoreUnavailable:
            multipart = _NO_MULTIPART
        try:
            listed = self._bucket.list_parts(self._data, multipart)
        except NotFound:
            listed = []
        if [part.size for part in listed] != sizes:
            raise _Failed(f"a part of {len(_CONTENT)} bytes was sent, and listed as {listed!r}")
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
            if self._can_read and self._is_there(key):
                raise _Failed(f"{key} was deleted and is still there")
        return "s3:DeleteObject"

    # -- in detail -------------------------------------------------------------------------------

    def _compare(self, key: str) -> None:
        try:
            content, _facts = self._bucket.get(key)
        except NotFound as error:
            raise _Failed(f"{key} was written and is not there") from error
        if content != _CONTENT:
            raise _Failed(f"{key} was written and reads differently, got {content[:80]!r}")

    def _begin(self) -> str:
        multipart = self._bucket.create_multipart(self._data, content_type=None, metadata={})
        self._multiparts.add(multipart)
        return multipart

    def _is_there(self, key: str) -> bool:
        try:
            self._bucket.head(key)
        except NotFound:
            return False
        return True

    def _clean_up(self) -> list[str]:
        """Remove what is there; returns what could not be removed."""
        left: list[str] = []
        for multipart in sorted(self._multiparts):
            try:
                self._bucket.abort(self._data, multipart)
            except StoreUnavailable:
                left.append(f"the multipart upload {multipart} of {self._data}")
        for key in sorted(self._written):
            try:
                self._bucket.delete(key)
            except StoreUnavailable:
                left.append(key)
        return left


def _tried(findings: list[CheckResult]) -> set[str]:
    return {finding.check for finding in findings if finding.verdict is not Status.SKIPPED}
