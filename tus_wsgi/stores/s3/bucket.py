"""The one door to S3: a method an operation, our errors instead of boto3's.

What its error answers mean is in `answers.py`. Two of them need more thought:

- 403 for a key that is not there: AWS hides absence from whoever lacks `s3:ListBucket`, which we
  do not ask for. See `Bucket.absence_is_hidden`.
- 412 for a conditional write whose first answer was lost and which boto3 sent again. Each
  conditional write carries a token of its own, by which `put` recognises it.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, Self, cast

from botocore.exceptions import BotoCoreError, ClientError

from tus_wsgi.domain.crc import build_crc32
from tus_wsgi.domain.errors import LockLost, StoreUnavailable
from tus_wsgi.domain.parts import Part
from tus_wsgi.spool.payload import Payload
from tus_wsgi.stores.s3.errors import (
    ConditionFailed,
    Forbidden,
    NotFound,
    NotSupported,
    SourceGone,
    translate_error,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

_WRITE_TOKEN = "write"  # noqa: S105 - the name of a metadata key

_UNKNOWN_TYPE = "application/octet-stream"
"""What is said of content of no known type. Where nothing is said, some services (SeaweedFS) look
into the bytes and say what they find, be it a page with a script."""


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """What S3 says of an object. `metadata` has lower-case keys; `etag` has its quotes."""

    size: int
    etag: str
    modified: datetime
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Condition:
    """When a write may happen: the object still has `etag`; with None: there is no object."""

    etag: str | None


@dataclass(frozen=True, slots=True)
class CopyRange:
    """Bytes of an object.

    Attributes:
        key: of the object.
        etag: of the version of it that is meant.
        span: the offsets of the first byte and of the one behind the last; None for all of them.
    """

    key: str
    etag: str
    span: tuple[int, int] | None = None


class Bucket:
    """A bucket, as far as uploads need one.

    Args:
        client: made after fork and after any monkey patching.
        name: the bucket's.
        has_checksums: whether each object and each part is sent with its CRC-32, for the service
            to verify.
    """

    def __init__(self, client: S3Client, name: str, *, has_checksums: bool = True) -> None:
        self.name = name
        self._has_checksums = has_checksums
        self._client = client
        self._can_read = False
        self._has_conditions = True

    @property
    def absence_is_hidden(self) -> bool:
        """Whether a 403 on reading may be taken for absence.

        Only once this process has read an object of the bucket: then its credentials are good and
        may read, and what AWS hides behind a 403 is that there is nothing to read. Before that a
        403 may just as well be a missing permission.
        """
        return self._can_read

    def get(self, key: str) -> tuple[bytes, ObjectFacts]:
        """The whole object.

        Raises:
            Absent: it is not there.
        """
        with self._translate_read_errors("GetObject", key):
            answer = self._client.get_object(Bucket=self.name, Key=key)
            content = answer["Body"].read()
            facts = _object_facts(answer)
        self._can_read = True
        return content, facts

    def head(self, key: str) -> ObjectFacts:
        """What there is to know of the object without reading it.

        Raises:
            Absent: it is not there.
        """
        with self._translate_read_errors("HeadObject", key):
            return _object_facts(self._client.head_object(Bucket=self.name, Key=key))

    def find(self, key: str) -> ObjectFacts | None:
        """What `head` says of the object; None where there is none."""
        try:
            return self.head(key)
        except NotFound:
            return None

    def read(self, key: str, start: int, stop: int, *, etag: str, chunk_size: int) -> ObjectStream:
        """The bytes from `start` up to and without `stop`, `chunk_size` at a time.

        Raises:
            Absent: the object is not there, or has another etag. Before the first byte.
        """
        with self._translate_read_errors("GetObject", key):
            span = f"bytes={start}-{stop - 1}"
            answer = self._client.get_object(Bucket=self.name, Key=key, Range=span, IfMatch=etag)
            _require_field(answer, "ETag")
        return ObjectStream(answer["Body"], chunk_size)

    def presigned_url(self, key: str, lifetime: float, *, type: str, disposition: str) -> str:
        """A URL under which anybody may read the object for so many seconds, rounded up."""
        asked = {
            "Bucket": self.name,
            "Key": key,
            "ResponseContentType": type,
            "ResponseContentDisposition": disposition,
        }
        with self._translate_errors("GetObject", key):
            return self._client.generate_presigned_url(
                "get_object", Params=asked, ExpiresIn=math.ceil(lifetime)
            )

    def put(
        self,
        key: str,
        payload: Payload,
        *,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        condition: Condition | None = None,
    ) -> str:
        """Write the object.

        Returns:
            its etag.

        Raises:
            LockLost: the condition does not hold: somebody else has written.
        """
        described = dict(metadata or {})
        conditions: dict[str, str] = {}
        if condition is not None and self._has_conditions:
            described[_WRITE_TOKEN] = secrets.token_hex(8)
            conditions = _condition_parameters(condition)
        try:
            return self._put(key, payload, content_type, described, conditions)
        except (ConditionFailed, NotFound) as failure:
            # If-Match on an object that was removed is a 412 here and a 404 there.
            if not conditions:
                raise StoreUnavailable("PutObject") from failure
            return self._recognize_write(key, described[_WRITE_TOKEN], failure)
        except NotSupported:
            if not conditions:
                raise
            self._has_conditions = False
            return self.put(key, payload, content_type=content_type, metadata=metadata)

    def _put(
        self,
        key: str,
        payload: Payload,
        content_type: str | None,
        metadata: dict[str, str],
        conditions: dict[str, str],
    ) -> str:
        more: dict[str, Any] = {**conditions, **self._checksum(payload)}
        with self._translate_errors("PutObject", key):
            answer = self._client.put_object(
                Bucket=self.name,
                Key=key,
                Body=_seekable_body(payload),
                ContentType=content_type or _UNKNOWN_TYPE,
                Metadata=metadata,
                **more,
            )
            return answer["ETag"]

    def delete(self, key: str) -> None:
        """Remove the object. There need not be one: some services (Google's) say so."""
        with suppress(NotFound), self._translate_errors("DeleteObject", key):
            self._client.delete_object(Bucket=self.name, Key=key)

    def create_multipart(
        self, key: str, *, content_type: str | None, metadata: dict[str, str]
    ) -> str:
        """Begin a multipart upload; returns its UploadId."""
        more: dict[str, Any] = {}
        if self._has_checksums:
            # Of the whole object: a sum of sums would have to be given part by part at the end, and
            # not every service lists those of parts that another process uploaded.
            more = {"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"}
        with self._translate_errors("CreateMultipartUpload", key):
            answer = self._client.create_multipart_upload(
                Bucket=self.name,
                Key=key,
                ContentType=content_type or _UNKNOWN_TYPE,
                Metadata=metadata,
                **more,
            )
            return answer["UploadId"]

    def upload_part(self, key: str, multipart: str, number: int, payload: Payload) -> Part:
        """Write part `number`.

        Raises:
            Absent: there is no such multipart upload.
        """
        with self._translate_errors("UploadPart", key):
            answer = self._client.upload_part(
                Bucket=self.name,
                Key=key,
                UploadId=multipart,
                PartNumber=number,
                Body=_seekable_body(payload),
                **self._checksum(payload),
            )
            return Part(number, payload.size, answer["ETag"], answer.get("ChecksumCRC32"))

    def copy_part(
        self, key: str, multipart: str, number: int, copy: CopyRange
    ) -> tuple[str, str | None]:
        """Let S3 make part `number` of bytes that it has; returns its etag and its CRC-32.

        Raises:
            SourceGone: the bytes are not there.
            Absent: there is no such multipart upload.
        """
        more: dict[str, Any] = {}
        if copy.span is not None:
            more["CopySourceRange"] = f"bytes={copy.span[0]}-{copy.span[1] - 1}"
        try:
            with self._translate_errors("UploadPartCopy", key):
                answer = self._client.upload_part_copy(
                    Bucket=self.name,
                    Key=key,
                    UploadId=multipart,
                    PartNumber=number,
                    CopySource={"Bucket": self.name, "Key": copy.key},
                    CopySourceIfMatch=copy.etag,
                    **more,
                )
                # rclone knows no such call, and says so by an answer without a result.
                result = answer["CopyPartResult"]
                return result["ETag"], result.get("ChecksumCRC32")
        except (NotFound, ConditionFailed, Forbidden):
            # The answer does not say which of the two is missing, and may hide that one is.
            if not self._is_unchanged(copy):
                raise SourceGone from None
            raise

    def _is_unchanged(self, copy: CopyRange) -> bool:
        try:
            return self.head(copy.key).etag == copy.etag
        except NotFound:
            return False

    def list_parts(self, key: str, multipart: str) -> list[Part]:
        """Every part that is there, in no particular order, perhaps with repetitions.

        Raises:
            Absent: there is no such multipart upload.
        """
        parts: list[Part] = []
        marker = 0
        while True:
            with self._translate_errors("ListParts", key):
                page = self._client.list_parts(
                    Bucket=self.name, Key=key, UploadId=multipart, PartNumberMarker=marker
                )
                _require_field(page, "UploadId")
            listed = page.get("Parts", [])
            parts += [
                Part(one["PartNumber"], one["Size"], one["ETag"], one.get("ChecksumCRC32"))
                for one in listed
            ]
            if not page.get("IsTruncated") or not listed:
                return parts
            marker = page.get("NextPartNumberMarker") or max(one["PartNumber"] for one in listed)

    def complete(self, key: str, multipart: str, parts: list[Part]) -> None:
        """Make the object out of `parts`.

        Raises:
            Absent: there is no such multipart upload; perhaps because this was done before.
        """
        with self._translate_errors("CompleteMultipartUpload", key):
            answer = self._client.complete_multipart_upload(
                Bucket=self.name,
                Key=key,
                UploadId=multipart,
                MultipartUpload={"Parts": [_completed_part(part) for part in parts]},
            )
            _require_field(answer, "ETag")

    def abort(self, key: str, multipart: str) -> None:
        """Forget the multipart upload and its parts. There need not be one."""
        with suppress(NotFound), self._translate_errors("AbortMultipartUpload", key):
            self._client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=multipart)

    def _checksum(self, payload: Payload) -> dict[str, Any]:
        return {"ChecksumCRC32": build_crc32(payload.crc32)} if self._has_checksums else {}

    def _recognize_write(self, key: str, token: str, failure: Exception) -> str:
        try:
            facts = self.head(key)
        except NotFound:
            facts = None
        if facts is None or facts.metadata.get(_WRITE_TOKEN) != token:
            raise LockLost("somebody else has written to this upload") from failure
        return facts.etag

    @contextmanager
    def _translate_read_errors(self, operation: str, key: str) -> Iterator[None]:
        try:
            with self._translate_errors(operation, key):
                yield
        except ConditionFailed as error:
            raise NotFound from error
        except Forbidden as error:
            if not self.absence_is_hidden and "s3:ListBucket" not in error.message:
                raise
            raise NotFound from error

    @contextmanager
    def _translate_errors(self, operation: str, key: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            raise translate_error(operation, error, key) from error
        except (BotoCoreError, OSError, KeyError) as error:
            # A KeyError: a 200 in which nothing is said. It is no answer, least of all "none".
            raise StoreUnavailable(operation, key=key) from error


class ObjectStream:
    """The rest of an answer. Other than a generator's, its `close` works before the first piece.

    Args:
        body: botocore's StreamingBody.
        step: bytes of a piece.
    """

    def __init__(self, body: Any, chunk_size: int) -> None:  # noqa: ANN401 - it comes without types
        self._body = body
        self._chunk_size = chunk_size

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        try:
            piece: bytes = self._body.read(self._chunk_size)
        except (BotoCoreError, OSError) as error:
            self.close()
            raise StoreUnavailable("GetObject") from error
        if not piece:
            self.close()
            raise StopIteration
        time.sleep(0)  # Where S3 and the client are both quick nobody is ever waited for.
        return piece

    def close(self) -> None:
        """Give the connection back; a WSGI server does it when its client has gone."""
        self._body.close()


def _require_field(answer: Mapping[str, Any], field: str) -> None:
    """Let an answer fail that does not even say what it is about."""
    answer[field]


def _seekable_body(payload: Payload) -> bytes | IO[bytes]:
    content = payload.content
    if isinstance(content, bytes):
        # boto3 makes a file of bytes, sends a file with `Expect: 100-continue`, and waits for the
        # answer to that: one way to S3 and back more for each small object.
        content = bytearray(content)
    elif not isinstance(content, bytearray):
        # From its start: an earlier try may have read it, and boto3 sends what it has not.
        content.seek(0)
    # boto3 takes a bytearray as it is, without a copy; only its type stubs do not know.
    return cast("bytes | IO[bytes]", content)


def _completed_part(part: Part) -> CompletedPartTypeDef:
    """What Complete wants to know of a part; its sum too, where it is known."""
    entry: CompletedPartTypeDef = {"PartNumber": part.number, "ETag": part.etag}
    if part.crc32 is not None:
        entry["ChecksumCRC32"] = part.crc32
    return entry


def _condition_parameters(condition: Condition) -> dict[str, str]:
    return {"IfNoneMatch": "*"} if condition.etag is None else {"IfMatch": condition.etag}


def _object_facts(answer: Any) -> ObjectFacts:  # noqa: ANN401 - two TypedDicts with the same four keys
    return ObjectFacts(
        size=answer["ContentLength"],
        etag=answer["ETag"],
        modified=answer["LastModified"],
        metadata={key.lower(): value for key, value in answer.get("Metadata", {}).items()},
    )
