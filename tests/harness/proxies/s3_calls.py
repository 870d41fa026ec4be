"""What S3 calls and their responses look like to a proxy."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from tests.harness.http_messages import Message, field

_OBJECT_OPERATIONS = {
    "PUT": "PutObject",
    "GET": "GetObject",
    "HEAD": "HeadObject",
    "DELETE": "DeleteObject",
}

_MULTIPART_OPERATIONS = {
    "POST": "CompleteMultipartUpload",
    "PUT": "UploadPart",
    "GET": "ListParts",
    "DELETE": "AbortMultipartUpload",
}

_OPERATIONS_BY_QUERY = {
    ("GET", "list-type"): "ListObjectsV2",
    ("GET", "uploads"): "ListMultipartUploads",
    ("POST", "uploads"): "CreateMultipartUpload",
}

READS = {"GetObject", "HeadObject"}
REMOVALS = {"DeleteObject", "AbortMultipartUpload"}


@dataclass(frozen=True, slots=True)
class Operation:
    """The S3 operation of a request.

    Attributes:
        name: the name in S3's API.
        key: the key of the object; empty for an operation on the bucket.
        part: the number of the part, if there is one.
    """

    name: str
    key: str
    part: int | None


def operation_of(head: bytes) -> Operation:
    """Return the operation of the request with this head."""
    method, target, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
    url = urlsplit(target)
    key = unquote(url.path).lstrip("/").partition("/")[2]
    query = parse_qs(url.query, keep_blank_values=True)
    part = int(query["partNumber"][0]) if "partNumber" in query else None
    for (verb, name), operation in _OPERATIONS_BY_QUERY.items():
        if verb == method and name in query:
            return Operation(operation, key, None)
    operations = _MULTIPART_OPERATIONS if "uploadId" in query else _OBJECT_OPERATIONS
    operation = operations.get(method, f"{method} {target}")
    if operation == "UploadPart" and field(head, "x-amz-copy-source"):
        operation = "UploadPartCopy"
    return Operation(operation, key, part)


def error_document(code: str, message: str) -> bytes:
    """Return an error as S3 writes it."""
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


def response_head(status: str, length: int, content_type: str = "application/xml") -> bytes:
    """Return the head of a response with a document of this length."""
    fields = f"Content-Type: {content_type}\r\nContent-Length: {length}\r\n"
    return f"HTTP/1.1 {status}\r\n{fields}\r\n".encode()


def first_half(response: Message) -> bytes:
    """Return the response up to the middle of its body, or of its fields if it has no body."""
    if response.body:
        return response.head + response.body[: len(response.body) // 2]
    lines = response.head.splitlines(keepends=True)
    return b"".join(lines[: len(lines) // 2])


def mask_absence(response: Message) -> Message:
    """Turn a 404 into a 403, as AWS does for clients without the permission ListBucket."""
    if response.status != 404:
        return response
    body = error_document("AccessDenied", "Access Denied") if response.body else b""
    return Message(response_head("403 Forbidden", len(body)), body)
