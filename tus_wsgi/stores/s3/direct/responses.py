"""Read the successful responses of the frequent calls, with the fields that `Bucket` uses."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

from botocore.response import StreamingBody

from tus_wsgi.stores.s3.direct.connection import Attempt
from tus_wsgi.stores.s3.direct.documents import has_document, read_result

_METADATA = "x-amz-meta-"

_OPTIONAL = {
    "VersionId": "x-amz-version-id",
    "ChecksumCRC32": "x-amz-checksum-crc32",
    "ContentRange": "content-range",
}

_OF_OBJECTS = ("GetObject", "HeadObject")


def read_success(operation: str, attempt: Attempt) -> dict[str, Any] | None:
    """Return the response as boto3 does; None for everything but a clear success.

    A response without a required field is unclear, and so is a document that does not belong to
    the success of this operation.
    """
    headers = attempt.headers
    response = _read_required(operation, attempt)
    if response is None:
        return None
    response["ResponseMetadata"] = {"HTTPStatusCode": attempt.status, "RetryAttempts": 0}
    for name, field in _OPTIONAL.items():
        text = headers.get(field)
        if text is not None:
            response[name] = text
    if operation in _OF_OBJECTS:
        try:
            _add_object_fields(response, headers)
        except (TypeError, ValueError):
            return None
    if operation == "GetObject":
        response["Body"] = StreamingBody(attempt.raw, response["ContentLength"])
    return response


def _read_required(operation: str, attempt: Attempt) -> dict[str, Any] | None:
    """Return what every success of the operation has; None if the response lacks it."""
    if operation == "DeleteObject":
        return {} if attempt.status == 204 and not attempt.content else None
    if attempt.status not in {200, 206}:
        return None
    if has_document(operation):
        return read_result(operation, attempt.content)
    return None if attempt.content else _read_etag(attempt.headers)


def _read_etag(headers: Any) -> dict[str, Any] | None:
    etag = headers.get("etag")
    return None if etag is None else {"ETag": etag}


def _add_object_fields(response: dict[str, Any], headers: Any) -> None:
    """Add what describes an object.

    Raises:
        TypeError, ValueError: a required field is missing or unusual.
    """
    response["ContentLength"] = int(headers.get("content-length"))
    response["LastModified"] = parsedate_to_datetime(headers.get("last-modified"))
    response["Metadata"] = {
        name[len(_METADATA) :]: text
        for name, text in headers.items()
        if name.lower().startswith(_METADATA)
    }
