"""Lease records in a bucket: a small JSON object for each lock that is held.

The JSON is both the content and the metadata of the object. The content determines the ETag. Only
the metadata is read, because it always matches the ETag of the same response. The content may be
missing while the service replaces it (SeaweedFS).

Every write has a condition: `If-None-Match: *` for a lock without an object, and `If-Match` with
the object's ETag for all other writes and for the removal. `check` rejects services that ignore the
conditions.

D-07: the records are read with HEAD, whose 404 and 403 have no document and so prove nothing. That
is safe here, because absence only leads to writes that fail if the object exists: a lock is created
with `If-None-Match: *`. After a wrong 404, a holder takes its lease for lost and stops too early,
or a release leaves the object, which then expires. Neither lets two requests hold a lock.

ETags are used without `W/`: a weak ETag never satisfies `If-Match`.

Permissions: `s3:GetObject`, `s3:PutObject`, `s3:DeleteObject`, which the store needs as well.
Costs: a PUT to acquire a lock and one for each heartbeat; the DELETE of the release is free.

After a release, fences start again at 1: no earlier request can still believe it holds the lock.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tus_wsgi.domain.addressing import AddressingStyle
from tus_wsgi.domain.aws_errors import AwsErrorKind, classify_error
from tus_wsgi.domain.errors import LockerUnavailable
from tus_wsgi.domain.etags import strip_weakness
from tus_wsgi.domain.events import S3Called
from tus_wsgi.domain.s3_calls import s3_called
from tus_wsgi.lockers.lease.records import Claim, LeaseRecord, LockerUnsupported, OutcomeUnknown

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CALL_TIMEOUT = 1.5
"""Seconds until a call is abandoned and retried. S3 answers small writes in some 50 ms. The 3.5 s
that a missed heartbeat leaves of a lease are enough for two attempts."""

CONNECTIONS = 64
"""Size of the connection pool. Each request makes one call at a time."""

MAX_ATTEMPTS = 4
"""Attempts at a write that fails because another process has changed the object just before."""

_METADATA_KEY = "lock"

# Attributes of `LeaseRecord` by the names of their JSON fields, which must never change: processes
# of several versions share the objects.
_ATTRIBUTES = {
    "holder": "holder",
    "fence": "fence",
    "beat": "heartbeat_id",
    "wanted": "next_waiter",
    "stood": "unchanged_for",
}

# AWS answers 403 for an object that does not exist; `check` has verified that reading is allowed.
_NO_RECORD = frozenset(
    {AwsErrorKind.NOT_FOUND, AwsErrorKind.BARE_NOT_FOUND, AwsErrorKind.FORBIDDEN}
)
# Services answer 412 or 404 to If-Match if the object was removed.
_CONDITION_FAILED = frozenset({AwsErrorKind.CONDITION_FAILED, AwsErrorKind.NOT_FOUND})
_OUTCOME_UNKNOWN = frozenset(
    {AwsErrorKind.CONFLICT, AwsErrorKind.THROTTLED, AwsErrorKind.SERVER_ERROR}
)


class S3Records:
    """`LeaseRecords` in a bucket.

    Args:
        bucket: the name of the bucket.
        prefix: the prefix of the keys of all records; no other objects may have this prefix.
        endpoint: the service's URL; None for AWS, or for the value of AWS_ENDPOINT_URL.
        addressing: where requests name the bucket; None for boto3's choice, or the path if there is
            an endpoint.
        write_parameters: more parameters of boto3's `put_object`, such as the encryption.
        on_call: called after each call of S3; None to measure nothing.
        fast_calls: returns an object that makes `put_object`, `head_object` and `delete_object` of
            a client with less CPU time; None to use the client.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str,
        *,
        endpoint: str | None,
        addressing: AddressingStyle | None = None,
        write_parameters: Mapping[str, Any] | None = None,
        on_call: Callable[[S3Called], None] | None = None,
        fast_calls: Callable[[S3Client], Any] | None = None,
    ) -> None:
        self._bucket = bucket
        self._on_call = on_call
        self._write_parameters = write_parameters or {}
        self._prefix = prefix
        self._deletes_conditionally = True
        by_default = AddressingStyle.PATH if endpoint else None
        style = addressing or by_default
        config = Config(
            connect_timeout=CALL_TIMEOUT,
            read_timeout=CALL_TIMEOUT,
            # The lease retries, because it knows how much time is left.
            retries={"total_max_attempts": 1},
            max_pool_connections=CONNECTIONS,
            parameter_validation=False,
            s3={"addressing_style": style.value if style else "auto"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        self.client: S3Client = boto3.session.Session().client(
            "s3", endpoint_url=endpoint, config=config
        )
        self._calls: Any = self.client if fast_calls is None else fast_calls(self.client)

    @property
    def keeps_fences(self) -> bool:
        """False: a released lock usually has no object, and so no fence."""
        return False

    def check(self) -> None:
        """Check that the service honours conditions, with a temporary object."""
        name = f"check-{secrets.token_hex(8)}"
        try:
            self._check(name)
        except _Unsupported as error:
            raise LockerUnsupported(f"TUS_LOCKER: s3 cannot be used here: {error.lack}") from error
        except _ConditionFailed as error:
            # No other process knows the name, so the answer is not that of the service.
            raise OutcomeUnknown("PutObject") from error
        except LockerUnavailable as error:
            message = f"TUS_LOCKER: the bucket {self._bucket!r} cannot be used ({error.__cause__})"
            raise LockerUnsupported(message) from error
        finally:
            with suppress(ClientError, BotoCoreError):
                self.client.delete_object(Bucket=self._bucket, Key=self._prefix + name)

    def _check(self, name: str) -> None:
        first = self._put(name, LeaseRecord(heartbeat_id="1"), None)
        wrong = replace(first, etag='"0123456789abcdef0123456789abcdef"')
        for condition in (None, wrong):
            try:
                self._put(name, LeaseRecord(heartbeat_id="2"), condition)
            except _ConditionFailed:
                continue
            header = "If-None-Match" if condition is None else "If-Match"
            raise _Unsupported("PutObject", f"the service ignores the {header} header of a PUT")
        second = self._put(name, LeaseRecord(heartbeat_id="2"), first)
        if self._get(name) != second:
            raise _Unsupported("HeadObject", "an object that was written cannot be read back")
        # If the service ignores the condition of a DELETE, or has no such condition, a release
        # writes an object that says that the lock is free.
        try:
            self._delete(name, first)
        except _ConditionFailed:
            self._deletes_conditionally = True
        except _Unsupported:
            self._deletes_conditionally = False
        else:
            self._deletes_conditionally = False

    def try_acquire(self, name: str, claim: Claim) -> LeaseRecord:
        """Make `claim` the holder, if it may acquire the record. See `LeaseRecords`."""
        claimed = LeaseRecord(holder=claim.token, heartbeat_id=claim.heartbeat_id, fence=1)
        if claim.seen is None:
            # A free lock usually has no object. Then a single call acquires it.
            try:
                return self._put(name, claimed, None)
            except _ConditionFailed:
                pass
        current = self._get(name)
        if current.holder == claim.token or not claim.may_acquire(current):
            return current
        try:
            return self._put(name, replace(claimed, fence=current.fence + 1), current)
        except _ConditionFailed:
            return self._get(name)

    def renew(self, name: str, held: LeaseRecord, *, heartbeat_id: str) -> LeaseRecord:
        """Write a heartbeat. See `LeaseRecords`."""
        current = held
        for _ in range(MAX_ATTEMPTS):
            if current.holder != held.holder:
                return current
            renewed = replace(current, heartbeat_id=heartbeat_id, unchanged_for=0.0)
            try:
                return self._put(name, renewed, current)
            except _ConditionFailed:
                # A waiter has written its id, or the response to the last heartbeat was lost.
                current = self._get(name)
        raise OutcomeUnknown("PutObject")

    def request_release(
        self, name: str, seen: LeaseRecord, *, waiter_id: str, unchanged_for: float
    ) -> LeaseRecord:
        """Ask the holder to release the lock. See `LeaseRecords`."""
        requested = replace(seen, next_waiter=waiter_id, unchanged_for=round(unchanged_for, 3))
        try:
            return self._put(name, requested, seen)
        except _ConditionFailed:
            return self._get(name)

    def release(
        self,
        name: str,
        held: LeaseRecord,
        *,
        heartbeat_id: str,
        is_needed: bool = True,
    ) -> None:
        """Make the lock free. See `LeaseRecords`."""
        current = held if held.etag else self._get(name)
        for _ in range(MAX_ATTEMPTS):
            if current.holder != held.holder:
                return
            is_reserved = is_needed and current.next_waiter != ""
            keeps_object = is_reserved or not self._deletes_conditionally
            free = replace(current, holder="", heartbeat_id=heartbeat_id, unchanged_for=0.0)
            try:
                if keeps_object:
                    self._put(name, free, current)
                else:
                    self._delete(name, current)
            except _ConditionFailed:
                current = self._get(name)
            else:
                return
        raise OutcomeUnknown("DeleteObject")

    # -- objects ---------------------------------------------------------------------------------

    def _get(self, name: str) -> LeaseRecord:
        try:
            with self._measured("HeadObject"):
                response = self._calls.head_object(Bucket=self._bucket, Key=self._prefix + name)
        except ClientError as error:
            if classify_error(error).kind in _NO_RECORD:
                return LeaseRecord()
            raise _translated("HeadObject", error) from error
        except (BotoCoreError, OSError) as error:
            raise OutcomeUnknown("HeadObject") from error
        metadata = {key.lower(): value for key, value in response["Metadata"].items()}
        try:
            return _from_json(metadata[_METADATA_KEY], etag=strip_weakness(response["ETag"]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise LockerUnavailable("HeadObject") from error  # not a lock record

    def _put(self, name: str, record: LeaseRecord, current: LeaseRecord | None) -> LeaseRecord:
        """Write the record if `current` is still stored, or, with None, if no record is stored."""
        text = _to_json(record)
        expected = current.etag if current else ""
        condition: dict[str, Any] = {"IfMatch": expected} if expected else {"IfNoneMatch": "*"}
        try:
            with self._measured("PutObject"):
                response = self._calls.put_object(
                    Bucket=self._bucket,
                    Key=self._prefix + name,
                    Body=bytearray(text, "ascii"),  # boto3 would announce bytes with `Expect`
                    ContentType="application/json",
                    Metadata={_METADATA_KEY: text},
                    **condition,
                    **self._write_parameters,
                )
        except ClientError as error:
            raise _translated("PutObject", error) from error
        except (BotoCoreError, OSError) as error:
            raise OutcomeUnknown("PutObject") from error
        etag = response.get("ETag")
        if not etag:  # a proxy has answered, or the rest of the response was lost
            raise OutcomeUnknown("PutObject")
        return replace(record, etag=strip_weakness(etag))

    def _delete(self, name: str, current: LeaseRecord) -> None:
        try:
            with self._measured("DeleteObject"):
                self._calls.delete_object(
                    Bucket=self._bucket, Key=self._prefix + name, IfMatch=current.etag
                )
        except ClientError as error:
            raise _translated("DeleteObject", error) from error
        except (BotoCoreError, OSError) as error:
            raise OutcomeUnknown("DeleteObject") from error

    @contextmanager
    def _measured(self, operation: str) -> Iterator[None]:
        started = time.monotonic()
        failure: Exception | None = None
        try:
            yield
        except (ClientError, BotoCoreError, OSError) as error:
            failure = error
            raise
        finally:
            if self._on_call is not None:
                self._on_call(s3_called(operation, time.monotonic() - started, failure))


class _ConditionFailed(Exception):
    """Another process has changed the object."""


class _Unsupported(LockerUnavailable):
    """The service lacks a feature that locks need. After the check, this is a failure like others.

    Args:
        operation: the call.
        lack: what is missing, for the operator.
    """

    def __init__(self, operation: str, lack: str) -> None:
        super().__init__(operation)
        self.lack = lack


def _to_json(record: LeaseRecord) -> str:
    fields = {field: getattr(record, name) for field, name in _ATTRIBUTES.items()}
    return json.dumps(fields, separators=(",", ":"))


def _from_json(text: str, *, etag: str) -> LeaseRecord:
    fields = {_ATTRIBUTES[field]: value for field, value in json.loads(text).items()}
    return LeaseRecord(**fields, etag=etag)


def _translated(operation: str, error: ClientError) -> Exception:
    response = classify_error(error)
    if response.kind in _CONDITION_FAILED:
        return _ConditionFailed(operation)
    if response.kind is AwsErrorKind.NOT_SUPPORTED:
        return _Unsupported(operation, f"the service has no conditional {operation}")
    # No response to HEAD has a document.
    is_known = response.has_document or operation == "HeadObject"
    if response.kind in _OUTCOME_UNKNOWN or response.is_server_error or not is_known:
        return OutcomeUnknown(operation)
    return LockerUnavailable(operation)
