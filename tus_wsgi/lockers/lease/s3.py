"""Lease records in a bucket: a small JSON object for each lock that is held, and for no other.

The JSON is the object's content, from which its ETag comes, and its metadata as well, from where it
is read: a service may be caught between two contents (SeaweedFS then sends none), while metadata
and ETag are read at once.

Every write has a condition: `If-None-Match: *` for a lock of which there is no object, `If-Match`
with the object's ETag for all others, and for its removal. `check` refuses services that do not
keep them.

Permissions: `s3:GetObject`, `s3:PutObject`, `s3:DeleteObject`, which the store needs as well.
Costs: a PUT to take a lock and one for each heartbeat; giving it back is a DELETE, which is free.

A fence begins anew at 1 when a lock was given back in good order: nobody is left then who could
think that it is still theirs.
"""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tus_wsgi.domain.aws_errors import AwsErrorKind, classify_error
from tus_wsgi.domain.errors import LockerUnavailable
from tus_wsgi.lockers.lease.records import Claim, LeaseRecord, LockerUnsupported, OutcomeUnknown

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CALL_TIMEOUT = 1.5
"""Seconds until a call is given up and tried again. S3 answers small writes in some 50 ms; there
have to be two tries in the 3.5 s that a missed heartbeat leaves of a lease."""

CONNECTIONS = 64
"""Each request makes one call at a time."""

_FIELD = "lock"

TRIES = 4
"""How often a write is repeated when somebody else has changed the object just before."""

# AWS answers 403 for an object that does not exist; `check` has seen that reading is allowed.
_NO_RECORD = frozenset({AwsErrorKind.NOT_FOUND, AwsErrorKind.FORBIDDEN})
_OUTCOME_UNKNOWN = frozenset(
    {AwsErrorKind.CONFLICT, AwsErrorKind.THROTTLED, AwsErrorKind.SERVER_ERROR}
)


class S3Records:
    """`LeaseRecords` in a bucket.

    Args:
        bucket: its name.
        prefix: what the keys of all records begin with; nothing else may be there.
        endpoint: the service's URL; None for AWS, or whatever AWS_ENDPOINT_URL says.
    """

    def __init__(self, bucket: str, prefix: str, *, endpoint: str | None) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._removes = True
        config = Config(
            connect_timeout=CALL_TIMEOUT,
            read_timeout=CALL_TIMEOUT,
            # Trying again is the lease's business, which knows how long it is worth while.
            retries={"total_max_attempts": 1},
            max_pool_connections=CONNECTIONS,
            parameter_validation=False,
            s3={"addressing_style": "auto" if endpoint is None else "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        self.client: S3Client = boto3.session.Session().client(
            "s3", endpoint_url=endpoint, config=config
        )

    @property
    def keeps_fences(self) -> bool:
        """They do not: a lock that is given back has no object any more, and so no fence."""
        return False

    def check(self) -> None:
        """Find out whether conditions are kept, with an object that is removed again."""
        name = f"check-{secrets.token_hex(8)}"
        try:
            self._check(name)
        except _Refused as error:
            raise LockerUnsupported(f"TUS_LOCKER: s3 cannot be used here: {error}") from error
        except LockerUnavailable as error:
            said = f"TUS_LOCKER: the bucket {self._bucket!r} cannot be used ({error.__cause__})"
            raise LockerUnsupported(said) from error
        finally:
            with suppress(ClientError, BotoCoreError):
                self.client.delete_object(Bucket=self._bucket, Key=self._prefix + name)

    def _check(self, name: str) -> None:
        first = self._put(name, LeaseRecord(beat="1"), None)
        wrong = replace(first, etag='"0123456789abcdef0123456789abcdef"')
        for condition in (None, wrong):
            try:
                self._put(name, LeaseRecord(beat="2"), condition)
            except _ConditionFailed:
                continue
            header = "If-None-Match" if condition is None else "If-Match"
            raise _Refused(f"the service takes {header} for no condition of a PUT")
        second = self._put(name, LeaseRecord(beat="2"), first)
        if self._get(name) != second:
            raise _Refused("an object that was written cannot be read back")
        try:
            self._delete(name, first)
        except _ConditionFailed:
            self._removes = True
        except _Refused:
            self._removes = False
        else:
            # Then locks that were given back stay as objects that say so.
            self._removes = False

    def take(self, name: str, claim: Claim) -> LeaseRecord:
        """Make `claim` the holder, if it may. See `LeaseRecords`."""
        mine = LeaseRecord(holder=claim.token, beat=claim.beat, fence=1)
        if claim.seen is None:
            # A lock that nobody holds has no object, and is ours with a single call.
            try:
                return self._put(name, mine, None)
            except _ConditionFailed:
                pass
        now = self._get(name)
        if now.holder == claim.token or not claim.may_take(now):
            return now
        try:
            return self._put(name, replace(mine, fence=now.fence + 1), now)
        except _ConditionFailed:
            return self._get(name)

    def renew(self, name: str, held: LeaseRecord, *, beat: str) -> LeaseRecord:
        """Write another beat. See `LeaseRecords`."""
        now = held
        for _ in range(TRIES):
            if now.holder != held.holder:
                return now
            try:
                return self._put(name, replace(now, beat=beat, stood=0.0), now)
            except _ConditionFailed:
                # Somebody asked for the lock, or the answer to our last beat was lost.
                now = self._get(name)
        raise OutcomeUnknown("PutObject")

    def ask(self, name: str, seen: LeaseRecord, *, seat: str, stood: float) -> LeaseRecord:
        """Write who is next. See `LeaseRecords`."""
        try:
            return self._put(name, replace(seen, wanted=seat, stood=round(stood, 3)), seen)
        except _ConditionFailed:
            return self._get(name)

    def release(self, name: str, held: LeaseRecord, *, beat: str) -> None:
        """Make the lock free. See `LeaseRecords`."""
        now = held if held.etag else self._get(name)
        for _ in range(TRIES):
            if now.holder != held.holder:
                return
            try:
                if now.wanted or not self._removes:
                    self._put(name, replace(now, holder="", beat=beat, stood=0.0), now)
                else:
                    self._delete(name, now)
            except _ConditionFailed:
                now = self._get(name)
            else:
                return
        raise OutcomeUnknown("DeleteObject")

    # -- objects ---------------------------------------------------------------------------------

    def _get(self, name: str) -> LeaseRecord:
        try:
            answer = self.client.head_object(Bucket=self._bucket, Key=self._prefix + name)
        except ClientError as error:
            if classify_error(error).kind in _NO_RECORD:
                return LeaseRecord()
            raise _translated("HeadObject", error) from error
        except (BotoCoreError, OSError) as error:
            raise OutcomeUnknown("HeadObject") from error
        metadata = {key.lower(): value for key, value in answer["Metadata"].items()}
        try:
            return LeaseRecord(**json.loads(metadata[_FIELD]), etag=answer["ETag"])
        except (KeyError, TypeError, ValueError) as error:
            raise LockerUnavailable("HeadObject") from error  # whatever it is, it is no lock

    def _put(self, name: str, record: LeaseRecord, now: LeaseRecord | None) -> LeaseRecord:
        """Write the record if it is still as it was in `now`; None for: if there is none."""
        fields = asdict(record)
        del fields["etag"]
        text = json.dumps(fields, separators=(",", ":"))
        etag = now.etag if now else ""
        condition: dict[str, Any] = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        try:
            answer = self.client.put_object(
                Bucket=self._bucket,
                Key=self._prefix + name,
                Body=text.encode("ascii"),
                ContentType="application/json",
                Metadata={_FIELD: text},
                **condition,
            )
        except ClientError as error:
            raise _translated("PutObject", error) from error
        except (BotoCoreError, OSError) as error:
            raise OutcomeUnknown("PutObject") from error
        return replace(record, etag=answer["ETag"])

    def _delete(self, name: str, now: LeaseRecord) -> None:
        try:
            self.client.delete_object(
                Bucket=self._bucket, Key=self._prefix + name, IfMatch=now.etag
            )
        except ClientError as error:
            raise _translated("DeleteObject", error) from error
        except (BotoCoreError, OSError) as error:
            raise OutcomeUnknown("DeleteObject") from error


class _ConditionFailed(Exception):
    """Somebody else has changed the object."""


class _Refused(Exception):
    """The service has not what locks need."""


def _translated(operation: str, error: ClientError) -> Exception:
    response = classify_error(error)
    # Services answer 412 or 404 to If-Match on an object that was removed.
    if response.kind in {AwsErrorKind.CONDITION_FAILED, AwsErrorKind.NOT_FOUND}:
        return _ConditionFailed(operation)
    if response.kind is AwsErrorKind.NOT_SUPPORTED:
        return _Refused(f"the service has no conditional {operation}")
    if response.kind in _OUTCOME_UNKNOWN or response.is_server_error:
        return OutcomeUnknown(operation)
    return LockerUnavailable(operation)
