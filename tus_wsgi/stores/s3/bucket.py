"""Make S3 calls: one method for each operation, which raises the store's errors, not boto3's.

`errors.py` translates error responses. Some of them depend on the context:

- 403 to a read: AWS also sends it for a missing object if the credentials lack `s3:ListBucket`,
  which a server does not need. `absence.py` tells the two apart.
- 404 to HEAD: the response has no document, so it does not prove absence (D-07). The response to
  GetObject does. `find` calls GetObject at once, because its objects are often missing; `head`
  calls it only after a 404.
- 412 to a conditional write: boto3 may have repeated a write whose first response was lost. Each
  conditional write stores a token, so that `put` recognizes its own write.

The methods return strong ETags, even if the service or a proxy marks them as weak.
"""

from __future__ import annotations

import math
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, Any, Self, TypeVar, cast

from botocore.exceptions import BotoCoreError, ClientError

from tus_wsgi.domain.crc import build_crc32
from tus_wsgi.domain.errors import LockLost, StoreUnavailable
from tus_wsgi.domain.etags import strip_weakness
from tus_wsgi.domain.events import S3Called
from tus_wsgi.domain.model import MIB
from tus_wsgi.domain.parts import Part
from tus_wsgi.domain.s3_calls import s3_called
from tus_wsgi.spool.payload import Payload
from tus_wsgi.stores.s3.absence import HiddenAbsence, Sightings
from tus_wsgi.stores.s3.conditions import Conditions
from tus_wsgi.stores.s3.direct import direct_calls
from tus_wsgi.stores.s3.errors import (
    ConditionFailed,
    CopyRefused,
    Forbidden,
    InvalidRange,
    NotFound,
    NotSupported,
    SourceGone,
    TooLarge,
    UnprovenAbsence,
    is_copy_refusal,
    translate_error,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

_Read = TypeVar("_Read")

_FIRST_BYTE = "bytes=0-0"

_CONTENT_RANGE = re.compile(r"bytes 0-0/(\d+)")

_WRITE_TOKEN = "write"  # noqa: S105 - the name of a metadata key

MAX_READ_SIZE = MIB
"""Bytes of the largest object that `Bucket.get` reads. Info objects are far smaller, because the
metadata in them arrives in a header field."""

_NO_ETAG = f'"{"0" * 32}"'
"""An ETag that no object has."""

_DEFAULT_TYPE = "application/octet-stream"
"""The Content-Type of objects without a known type. Without it some services (SeaweedFS) guess the
type from the bytes, and so may serve an upload as HTML with a script."""


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """The headers of an object.

    Attributes:
        size: in bytes.
        etag: the ETag with its quotes.
        modified: the time of the write, in UTC.
        metadata: the user metadata, with lower-case keys.
        version: the id of the version; None if the bucket keeps no versions.
        crc32: the CRC-32 of the whole object in Base64; None after a GetObject, or if the service
            does not report it.
    """

    size: int
    etag: str
    modified: datetime
    metadata: dict[str, str] = field(default_factory=dict)
    version: str | None = None
    crc32: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class WrittenObject:
    """The response to a PutObject.

    Attributes:
        etag: the ETag, with its quotes.
        version: see `ObjectFacts`.
        is_only_attempt: whether no earlier attempt of the call was sent. S3 may carry out an
            earlier attempt late (D-09).
    """

    etag: str
    version: str | None = None
    is_only_attempt: bool = True


@dataclass(frozen=True, slots=True)
class Condition:
    """The condition of a write: the object has this ETag or, if that is None, does not exist."""

    etag: str | None


@dataclass(frozen=True, slots=True)
class CopyRange:
    """The source of a part copy: a range of bytes of one version of an object.

    Attributes:
        key: the object's key.
        etag: the ETag of the version.
        span: the start and the (exclusive) stop offset; None for the whole object.
    """

    key: str
    etag: str
    span: tuple[int, int] | None = None


class Bucket:
    """The S3 calls that uploads need, in one bucket.

    Args:
        client: a boto3 client, made after fork and after monkey patching.
        name: the bucket's name.
        has_checksums: whether to send the CRC-32 of each object and part, for S3 to verify.
        write_parameters: more parameters of writes that do not pass their own `parameters`.
        on_call: called after each call of S3; None to measure nothing.
    """

    def __init__(
        self,
        client: S3Client,
        name: str,
        *,
        has_checksums: bool = True,
        write_parameters: Mapping[str, Any] | None = None,
        on_call: Callable[[S3Called], None] | None = None,
    ) -> None:
        self.name = name
        self._on_call = on_call
        self._write_parameters = write_parameters or {}
        self.has_checksums = has_checksums
        self._client = client
        self._direct = direct_calls(client)
        self.conditions = Conditions()
        self._checksum_mode: dict[str, Any] = {"ChecksumMode": "ENABLED"} if has_checksums else {}
        self._sightings = Sightings()
        self._absence = HiddenAbsence(self, self._sightings)

    def get(self, key: str) -> tuple[bytes, ObjectFacts]:
        """Return the content and the headers of a small object, which may not exist.

        Raises:
            NotFound: the object does not exist.
            TooLarge: the object has more than `MAX_READ_SIZE` bytes.
        """
        return self._read_or_prove(key, partial(self._get, key))

    def _get(self, key: str) -> tuple[bytes, ObjectFacts]:
        with self._translate_errors("GetObject", key):
            response = self._direct.get_object(Bucket=self.name, Key=key)
            with _closed_on_error(response):
                facts = _object_facts(response, response["ContentLength"])
                return _read_small(response["Body"], key), facts

    def find(self, key: str, *, is_likely: bool = False) -> ObjectFacts | None:
        """Return the headers of an object; None if it does not exist. One S3 call in general.

        Args:
            key: the object's key.
            is_likely: whether the object is expected to exist. If True, the first call is a HEAD:
                the result has the CRC-32, and only a missing object takes a second call. If False,
                the first call is a GetObject: only an empty object takes a second call.
        """
        try:
            return self._find(key, is_likely=is_likely)
        except NotFound:
            return None

    def _find(self, key: str, *, is_likely: bool) -> ObjectFacts:
        if is_likely:
            with suppress(UnprovenAbsence, Forbidden):
                facts = self._head(key)
                self._sightings.add(key)
                return facts
        return self._read_or_prove(key, partial(self.read_facts, key))

    def head(self, key: str) -> ObjectFacts:
        """Return the headers of an object that should exist. One S3 call if it does.

        If the HEAD fails, a GetObject asks for S3's error document. A 403 that does not prove
        absence is then a failure, because this deployment knows of the object.

        Raises:
            NotFound: the object was deleted.
        """
        try:
            facts = self._head(key)
        except (UnprovenAbsence, Forbidden):
            facts = self._ask_for_document(key)
        self._sightings.add(key)
        return facts

    def _head(self, key: str) -> ObjectFacts:
        with self._translate_errors("HeadObject", key):
            response = self._direct.head_object(Bucket=self.name, Key=key, **self._checksum_mode)
            return _object_facts(response, response["ContentLength"])

    def _ask_for_document(self, key: str) -> ObjectFacts:
        """Repeat a HEAD as a GetObject, whose error response has a document (D-07)."""
        try:
            return self.read_facts(key)
        except Forbidden as error:
            if not error.proves_absence:
                raise
            raise NotFound from error

    def read_facts(self, key: str) -> ObjectFacts:
        """Return the headers of an object with GetObject: unlike HEAD, it proves absence (D-07).

        Raises:
            NotFound: the object does not exist.
            Forbidden: S3 answered 403, which may stand for a missing object.
        """
        try:
            with self._translate_errors("GetObject", key):
                response = self._direct.get_object(Bucket=self.name, Key=key, Range=_FIRST_BYTE)
                with _closed_on_error(response):
                    facts = _object_facts(response, _total_size(response))
                    _release(response)
                    return facts
        except InvalidRange:
            return self._head(key)  # an empty object has no first byte

    def read(self, key: str, start: int, stop: int, *, etag: str, chunk_size: int) -> ObjectStream:
        """Return a stream of the bytes from `start` to `stop` (exclusive).

        Raises:
            NotFound: the object was deleted, or has another ETag.
        """
        try:
            with self._translate_errors("GetObject", key):
                response = self._direct.get_object(
                    Bucket=self.name, Key=key, Range=f"bytes={start}-{stop - 1}", IfMatch=etag
                )
                with _closed_on_error(response):
                    _require_field(response, "ETag")
        except ConditionFailed as error:
            if self.head(key).etag == etag:
                raise  # the service answered 412 although the condition holds
            raise NotFound from error
        except Forbidden as error:
            if not error.proves_absence:
                raise
            raise NotFound from error
        return ObjectStream(response["Body"], chunk_size)

    def presigned_url(self, key: str, lifetime: float, *, type: str, disposition: str) -> str:
        """Return a URL that allows reads without credentials for `lifetime` seconds, rounded up."""
        params = {
            "Bucket": self.name,
            "Key": key,
            "ResponseContentType": type,
            "ResponseContentDisposition": disposition,
        }
        try:
            return self._client.generate_presigned_url(
                "get_object", Params=params, ExpiresIn=math.ceil(lifetime)
            )
        except (BotoCoreError, ClientError) as error:  # there are no credentials
            raise StoreUnavailable("GetObject", key=key) from error

    def put_data(
        self,
        key: str,
        payload: Payload,
        *,
        content_type: str | None,
        metadata: dict[str, str],
        parameters: Mapping[str, Any],
    ) -> WrittenObject:
        """Write a data object without a condition.

        Args:
            key: the object's key.
            payload: the content.
            content_type: the Content-Type; None for the default.
            metadata: the user metadata.
            parameters: more parameters of boto3, such as the encryption.
        """
        try:
            return self._put(key, payload, content_type, metadata, dict(parameters))
        except (ConditionFailed, NotFound) as failure:
            raise StoreUnavailable("PutObject") from failure

    def put(
        self,
        key: str,
        payload: Payload,
        *,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        condition: Condition | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> str:
        """Write the object, and return its ETag.

        If the service has failed the test of conditional writes, the write has no condition.

        Raises:
            LockLost: the condition does not hold, because another request has written the object.
            NotSupported: the service answered 501, although it honours conditions.
        """
        fields = dict(metadata or {})
        extra = dict(self._write_parameters if parameters is None else parameters)
        conditions: dict[str, str] = {}
        if condition is not None and not self.conditions.are_ignored:
            fields[_WRITE_TOKEN] = secrets.token_hex(8)
            conditions = _condition_parameters(condition)
        try:
            return self._put(key, payload, content_type, fields, {**extra, **conditions}).etag
        except (ConditionFailed, NotFound) as failure:
            # Services answer 412 or 404 to If-Match if the object was deleted.
            if not conditions:
                raise StoreUnavailable("PutObject") from failure
            return self._recognize_write(key, fields[_WRITE_TOKEN], failure)
        except NotSupported:
            if not conditions:
                raise
            etag = self.test_conditions(key, payload, content_type=content_type, metadata=metadata)
            if etag is None:
                raise
            return etag

    def put_unconditionally(
        self, key: str, payload: Payload, *, metadata: dict[str, str]
    ) -> WrittenObject:
        """Write an object other than a data object, without a condition."""
        parameters = self._write_parameters
        return self.put_data(
            key, payload, content_type=None, metadata=metadata, parameters=parameters
        )

    def test_conditions(
        self,
        key: str,
        payload: Payload,
        *,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> str | None:
        """Test whether the service honours conditions, by a write whose condition does not hold.

        One S3 call, or two if the service answers 501.

        Returns:
            None if the service honours conditions; then the object is not written. Otherwise the
            ETag of the object, which is written.

        Raises:
            StoreUnavailable: the response does not tell. The object may be written.
        """
        fields, extra = metadata or {}, dict(self._write_parameters)
        conditional = extra | {"IfMatch": _NO_ETAG}
        try:
            etag = self._put(key, payload, content_type, fields, conditional).etag
        except ConditionFailed:
            self.conditions.note_test(honoured=True)
            return None
        except NotFound as failure:
            raise StoreUnavailable("PutObject") from failure
        except NotSupported:
            etag = self.put_data(
                key, payload, content_type=content_type, metadata=fields, parameters=extra
            ).etag
        self.conditions.note_test(honoured=False)
        return etag

    def _put(
        self,
        key: str,
        payload: Payload,
        content_type: str | None,
        metadata: dict[str, str],
        parameters: dict[str, Any],
    ) -> WrittenObject:
        with self._translate_errors("PutObject", key):
            response = self._direct.put_object(
                Bucket=self.name,
                Key=key,
                Body=_request_body(payload),
                ContentType=content_type or _DEFAULT_TYPE,
                Metadata=metadata,
                **parameters,
                **self._checksum(payload),
            )
            etag = strip_weakness(response["ETag"])
        self._sightings.add(key)
        retries = response.get("ResponseMetadata", {}).get("RetryAttempts", 0)
        return WrittenObject(etag, response.get("VersionId"), retries == 0)

    def write_probe(self, key: str) -> None:
        """Write a small object that shows whether objects can be read."""
        content = Payload.of(b"written by tus-wsgi, and removed by it\n")
        self._put(key, content, None, {}, dict(self._write_parameters))
        self._sightings.discard(key)

    def delete_probe(self, key: str) -> None:
        """Delete the object that `write_probe` wrote."""
        self.delete(key)

    def delete(self, key: str) -> None:
        """Delete the object if it exists. If it does not, some services (Google's) answer 404."""
        with suppress(NotFound), self._translate_errors("DeleteObject", key):
            self._direct.delete_object(Bucket=self.name, Key=key)
        self._sightings.discard(key)

    def create_multipart(
        self,
        key: str,
        *,
        content_type: str | None,
        metadata: dict[str, str],
        parameters: Mapping[str, Any] | None = None,
    ) -> str:
        """Create a multipart upload, and return its UploadId."""
        extra = dict(self._write_parameters if parameters is None else parameters)
        if self.has_checksums:
            # FULL_OBJECT: a composite checksum would require the checksum of each part in
            # CompleteMultipartUpload, and not every service lists checksums of parts.
            extra |= {"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"}
        with self._translate_errors("CreateMultipartUpload", key):
            response = self._direct.create_multipart_upload(
                Bucket=self.name,
                Key=key,
                ContentType=content_type or _DEFAULT_TYPE,
                Metadata=metadata,
                **extra,
            )
            multipart: str = response["UploadId"]
            return multipart

    def upload_part(self, key: str, multipart: str, number: int, payload: Payload) -> Part:
        """Upload part `number`.

        Raises:
            NotFound: the multipart upload does not exist.
        """
        with self._translate_errors("UploadPart", key):
            response = self._direct.upload_part(
                Bucket=self.name,
                Key=key,
                UploadId=multipart,
                PartNumber=number,
                Body=_request_body(payload),
                **self._checksum(payload),
            )
            etag = strip_weakness(response["ETag"])
            return Part(number, payload.size, etag, response.get("ChecksumCRC32"))

    def copy_part(
        self, key: str, multipart: str, number: int, copy: CopyRange
    ) -> tuple[str, str | None]:
        """Let S3 copy bytes of an object into part `number`; return the part's ETag and CRC-32.

        Raises:
            SourceGone: the object was deleted or replaced.
            NotFound: the multipart upload does not exist.
            CopyRefused: the service does not copy this part.
        """
        extra: dict[str, Any] = {}
        if copy.span is not None:
            extra["CopySourceRange"] = f"bytes={copy.span[0]}-{copy.span[1] - 1}"
        try:
            with self._translate_errors("UploadPartCopy", key):
                response = self._client.upload_part_copy(
                    Bucket=self.name,
                    Key=key,
                    UploadId=multipart,
                    PartNumber=number,
                    CopySource={"Bucket": self.name, "Key": copy.key},
                    CopySourceIfMatch=copy.etag,
                    **extra,
                )
                # A service that ignores the source (rclone) answers without a result.
                result = response["CopyPartResult"]
                return strip_weakness(result["ETag"]), result.get("ChecksumCRC32")
        except (NotFound, StoreUnavailable) as failure:
            # The response does not say whether the source or the multipart upload is missing.
            is_ambiguous = isinstance(failure, (NotFound, ConditionFailed, Forbidden))
            if is_ambiguous and not self._is_unchanged(copy):
                raise SourceGone from None
            if is_copy_refusal(failure):
                raise CopyRefused("UploadPartCopy", key=key) from failure.__cause__
            raise

    def _is_unchanged(self, copy: CopyRange) -> bool:
        try:
            return self.head(copy.key).etag == copy.etag
        except NotFound:
            return False

    def list_parts(self, key: str, multipart: str, *, after: int = 0) -> list[Part]:
        """Return the uploaded parts, in any order; a part may be listed twice.

        Args:
            key: the key of the data object.
            multipart: the UploadId.
            after: a part number; the parts up to it need not be listed, but may be.

        Raises:
            NotFound: the multipart upload does not exist.
        """
        parts: list[Part] = []
        marker = after
        while True:
            with self._translate_errors("ListParts", key):
                page = self._client.list_parts(
                    Bucket=self.name, Key=key, UploadId=multipart, PartNumberMarker=marker
                )
                _require_field(page, "UploadId")
            listed = page.get("Parts", [])
            parts += [
                Part(
                    part["PartNumber"],
                    part["Size"],
                    strip_weakness(part["ETag"]),
                    part.get("ChecksumCRC32"),
                )
                for part in listed
            ]
            if not page.get("IsTruncated"):
                return parts
            numbers = [part["PartNumber"] for part in listed]
            last = page.get("NextPartNumberMarker") or max(numbers, default=0)
            if last <= marker:  # the service would list the same parts for ever
                raise StoreUnavailable("ListParts", key=key)
            marker = last

    def complete(self, key: str, multipart: str, parts: list[Part]) -> None:
        """Complete the multipart upload: make the object from `parts`.

        Raises:
            NotFound: the multipart upload does not exist; it may have been completed before.
            Refused: S3 does not complete these parts, for example because it requires checksums.
        """
        with self._translate_errors("CompleteMultipartUpload", key):
            response = self._direct.complete_multipart_upload(
                Bucket=self.name,
                Key=key,
                UploadId=multipart,
                MultipartUpload={"Parts": [_completed_part(part) for part in parts]},
            )
            _require_field(response, "ETag")
        self._sightings.add(key)

    def abort(self, key: str, multipart: str) -> None:
        """Abort the multipart upload if it exists, which deletes its parts."""
        with suppress(NotFound), self._translate_errors("AbortMultipartUpload", key):
            self._client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=multipart)

    def _checksum(self, payload: Payload) -> dict[str, Any]:
        return {"ChecksumCRC32": build_crc32(payload.crc32)} if self.has_checksums else {}

    def _recognize_write(self, key: str, token: str, failure: Exception) -> str:
        """Return the ETag of the object if it was written with this token.

        Raises:
            LockLost: another request has written the object, or deleted it.
            StoreUnavailable: the object could not be read.
        """
        facts: ObjectFacts | None = None
        with suppress(NotFound):
            facts = self.head(key)
        if facts is None or facts.metadata.get(_WRITE_TOKEN) != token:
            raise LockLost("another request has written to this upload") from failure
        return facts.etag

    def _read_or_prove(self, key: str, read: Callable[[], _Read]) -> _Read:
        """Return the result of `read`. If S3 answers 403, find out whether the object is missing.

        Raises:
            NotFound: the object does not exist.
        """
        try:
            result = read()
        except Forbidden as error:
            result = self._confirm_absence(key, read, error)
        except NotFound:
            self._sightings.discard(key)
            raise
        self._sightings.add(key)
        return result

    def _confirm_absence(self, key: str, read: Callable[[], _Read], error: Forbidden) -> _Read:
        return self._absence.confirm(key, read, error)

    @contextmanager
    def _translate_errors(self, operation: str, key: str) -> Iterator[None]:
        """Raise the store's error for an error of the call in the block, and measure the call."""
        started = time.monotonic()
        failure: Exception | None = None
        try:
            yield
        except ClientError as error:
            failure = error
            raise translate_error(operation, error, key) from error
        except (BotoCoreError, OSError, KeyError) as error:
            # KeyError: a 200 without its required fields is a failure, not an absence (D-07).
            failure = error
            raise StoreUnavailable(operation, key=key) from error
        finally:
            if self._on_call is not None:
                self._on_call(s3_called(operation, time.monotonic() - started, failure))


class ObjectStream:
    """Iterator over the body of a GetObject response.

    Unlike a generator's, its `close` closes the connection even before the first chunk.

    Args:
        body: botocore's StreamingBody.
        chunk_size: bytes of a chunk.
    """

    def __init__(self, body: Any, chunk_size: int) -> None:  # noqa: ANN401 - it comes without types
        self._body = body
        self._chunk_size = chunk_size

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        try:
            chunk: bytes = self._body.read(self._chunk_size)
        except (BotoCoreError, OSError) as error:
            self.close()
            raise StoreUnavailable("GetObject") from error
        if not chunk:
            self.close()
            raise StopIteration
        # Yield to other greenlets: if S3 and the client are fast, no read or write blocks.
        time.sleep(0)
        return chunk

    def close(self) -> None:
        """Close the body. A WSGI server calls this if the client disconnects."""
        self._body.close()


def _read_small(body: Any, key: str) -> bytes:  # noqa: ANN401 - it comes without types
    content = bytearray()
    # botocore verifies the length and the checksum only at the end of the body.
    while chunk := body.read(MAX_READ_SIZE + 1 - len(content)):
        content += chunk
        if len(content) > MAX_READ_SIZE:
            body.close()
            raise TooLarge("GetObject", key=key)
    return bytes(content)


def _total_size(response: Any) -> int:  # noqa: ANN401 - a TypedDict; some tests use a part of it
    """Return the size of an object whose first byte was requested.

    Raises:
        KeyError: the response does not contain the size.
    """
    if response["ResponseMetadata"]["HTTPStatusCode"] != HTTPStatus.PARTIAL_CONTENT:
        return int(response["ContentLength"])  # the service ignores ranges, as rclone does
    match = _CONTENT_RANGE.fullmatch(response["ContentRange"])
    if match is None:
        raise KeyError("ContentRange")
    return int(match[1])


@contextmanager
def _closed_on_error(response: Mapping[str, Any]) -> Iterator[None]:
    """Close the connection of a response whose body is not read because of an error."""
    try:
        yield
    except BaseException:
        with suppress(KeyError):
            response["Body"].close()
        raise


def _release(response: Any) -> None:  # noqa: ANN401 - see `_total_size`
    """Return the connection of a response with one byte to the pool; close any other."""
    if response["ContentLength"] <= 1:
        response["Body"].read()
    else:
        response["Body"].close()


def _require_field(response: Mapping[str, Any], field: str) -> None:
    """Raise KeyError if the response lacks a field that every valid response has."""
    response[field]


def _request_body(payload: Payload) -> bytes | IO[bytes]:
    content = payload.content
    if isinstance(content, bytes):
        # boto3 wraps bytes in a file, sends files with `Expect: 100-continue`, and waits for the
        # interim response: one more round trip for each small object.
        content = bytearray(content)
    elif not isinstance(content, bytearray):
        # boto3 sends a file from its current position, and an earlier attempt may have read it.
        content.seek(0)
    # boto3 sends a bytearray without a copy; its type stubs do not include bytearray.
    return cast("bytes | IO[bytes]", content)


def _completed_part(part: Part) -> CompletedPartTypeDef:
    """Return the entry of a part in CompleteMultipartUpload, with its checksum if known."""
    entry: CompletedPartTypeDef = {"PartNumber": part.number, "ETag": part.etag}
    if part.crc32 is not None:
        entry["ChecksumCRC32"] = part.crc32
    return entry


def _condition_parameters(condition: Condition) -> dict[str, str]:
    return {"IfNoneMatch": "*"} if condition.etag is None else {"IfMatch": condition.etag}


def _object_facts(response: Any, size: int) -> ObjectFacts:  # noqa: ANN401 - two TypedDicts with the same keys
    return ObjectFacts(
        size=size,
        etag=strip_weakness(response["ETag"]),
        modified=response["LastModified"],
        metadata={key.lower(): value for key, value in response.get("Metadata", {}).items()},
        version=response.get("VersionId"),
        crc32=_whole_crc32(response.get("ChecksumCRC32")),
    )


def _whole_crc32(value: str | None) -> str | None:
    """Return the checksum of the whole object; None for a checksum of its parts' checksums."""
    is_of_parts = value is not None and "-" in value
    return None if is_of_parts else value
