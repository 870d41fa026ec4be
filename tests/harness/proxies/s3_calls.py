"""HTTP/1.1 as far as a proxy between an S3 client and an S3 service needs it.

Heads and bodies are passed on as they are on the wire; nothing is decoded but their ends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import IO
from urllib.parse import parse_qs, unquote, urlsplit

_NO_BODY = re.compile(rb"HTTP/1\.1 (1\d\d|204|304) ")

_PLAIN = {
    "PUT": "PutObject",
    "GET": "GetObject",
    "HEAD": "HeadObject",
    "DELETE": "DeleteObject",
}

_OF_MULTIPART = {
    "POST": "CompleteMultipartUpload",
    "PUT": "UploadPart",
    "GET": "ListParts",
    "DELETE": "AbortMultipartUpload",
}

_OF_BUCKET = {
    ("GET", "list-type"): "ListObjectsV2",
    ("GET", "uploads"): "ListMultipartUploads",
    ("POST", "uploads"): "CreateMultipartUpload",
}


@dataclass(frozen=True, slots=True)
class Message:
    """A request or an answer. `head` ends with its empty line; `body` is as it is on the wire."""

    head: bytes
    body: bytes

    @property
    def whole(self) -> bytes:
        return self.head + self.body


@dataclass(frozen=True, slots=True)
class Operation:
    """What a request asks for.

    Attributes:
        name: S3's for it.
        key: of the object; empty where it is about the bucket.
        part: the part's number, where there is one.
    """

    name: str
    key: str
    part: int | None


def operation_of(head: bytes) -> Operation:
    """What the request of this head asks for."""
    method, target, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
    url = urlsplit(target)
    key = unquote(url.path).lstrip("/").partition("/")[2]
    query = parse_qs(url.query, keep_blank_values=True)
    part = int(query["partNumber"][0]) if "partNumber" in query else None
    for (verb, field), name in _OF_BUCKET.items():
        if verb == method and field in query:
            return Operation(name, key, None)
    name = (_OF_MULTIPART if "uploadId" in query else _PLAIN).get(method, f"{method} {target}")
    if name == "UploadPart" and header(head, b"x-amz-copy-source"):
        name = "UploadPartCopy"
    return Operation(name, key, part)


def receive_answer(stream: IO[bytes], request: Message) -> Message:
    """The answer to `request`.

    Raises:
        ConnectionError: it ends too early.
    """
    head = receive_head(stream)
    if not head:
        raise ConnectionError("the service hung up")
    if request.head.startswith(b"HEAD ") or _NO_BODY.match(head):
        return Message(head, b"")
    body = receive_body(stream, head)
    if body is None:
        raise ConnectionError("the service hung up within its answer")
    return Message(head, body)


def receive_head(stream: IO[bytes]) -> bytes:
    """All up to the empty line; nothing if the connection ends before it."""
    lines: list[bytes] = []
    while line := stream.readline():
        lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)
    return b""


def receive_body(stream: IO[bytes], head: bytes) -> bytes | None:
    """A body as it is on the wire; None when the connection ended within it."""
    if header(head, b"transfer-encoding") == b"chunked":
        return _receive_chunks(stream)
    length = int(header(head, b"content-length") or b"0")
    body = stream.read(length)
    return body if len(body) == length else None


def _receive_chunks(stream: IO[bytes]) -> bytes | None:
    pieces: list[bytes] = []
    while line := stream.readline():
        size = int(line.split(b";")[0], 16)
        pieces += [line, stream.read(size + 2)]
        if size == 0:
            return b"".join(pieces)
    return None


def header(head: bytes, name: bytes) -> bytes:
    """The value of a field in lower case; nothing if it is not there."""
    found = re.search(rb"(?im)^%s:[ \t]*(.*?)[ \t]*\r\n" % re.escape(name), head)
    return found[1].lower() if found else b""


def half(answer: Message) -> bytes:
    """The answer up to the middle of its body; where it has none, some of its fields."""
    if answer.body:
        return answer.head + answer.body[: len(answer.body) // 2]
    lines = answer.head.splitlines(keepends=True)
    return b"".join(lines[: len(lines) // 2])


def hidden(answer: Message) -> Message:
    """The answer as AWS gives it to whoever may not list the bucket: absence looks forbidden."""
    if not answer.head.startswith(b"HTTP/1.1 404 "):
        return answer
    code = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    body = code if answer.body else b""
    fields = b"Content-Type: application/xml\r\nContent-Length: %d\r\n\r\n" % len(body)
    return Message(b"HTTP/1.1 403 Forbidden\r\n" + fields, body)
