"""Replace the responses to chosen S3 calls of a client, as a proxy or a policy would."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from botocore.awsrequest import AWSResponse
from botocore.httpsession import URLLib3Session

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: its status and its body, which a response to HEAD does not have."""

    status: int
    body: bytes = b""


HTML = b"<!DOCTYPE html><html><head><title>404</title></head><body><p>Not found<br></body></html>"


def error_document(code: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()


class _Raw(io.BytesIO):
    """The body of a response, with the part of urllib3's interface that botocore uses."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


def respond_with(request: Any, answer: Answer) -> AWSResponse:
    """Return what botocore gets from a server that answers `request` with `answer`."""
    body = b"" if request.method == "HEAD" else answer.body
    headers: Any = {"Content-Length": str(len(body)), "Content-Type": "text/html"}
    return AWSResponse(request.url, answer.status, headers, _Raw(body))


@contextmanager
def answering(
    client: S3Client,
    operation: str,
    answer: Answer,
    *,
    applies_to: Callable[[str], bool] = lambda _key: True,
) -> Iterator[None]:
    """Answer `operation` on the chosen keys in the place of S3, until the block ends."""

    def respond(request: Any, **_: Any) -> Any:
        key = unquote(urlsplit(request.url).path).lstrip("/").partition("/")[2]
        if not applies_to(key):
            return None
        return respond_with(request, answer)

    event = f"before-send.s3.{operation}"
    client.meta.events.register_first(event, respond)
    try:
        yield
    finally:
        client.meta.events.unregister(event, respond)


DENIED = Answer(403, error_document("AccessDenied"))

UNPROVEN = {
    "403": DENIED,
    "403 with HTML": Answer(403, HTML),
    "403 with an empty body": Answer(403),
    "404 with HTML": Answer(404, HTML),
    "404 with an empty body": Answer(404),
    "404 with a document without a code": Answer(404, b"<Error></Error>"),
    "404 with another program's document": Answer(404, b"<html><body/></html>"),
    "404 with the code NotFound": Answer(404, error_document("NotFound")),
    "200 with HTML": Answer(200, HTML),
    "200 with an empty body": Answer(200),
    "500": Answer(500, error_document("InternalError")),
    "503 with HTML": Answer(503, HTML),
}
"""Responses to reads that do not prove absence (D-07)."""


@contextmanager
def responding(
    client: S3Client, respond: Callable[[Any], Answer | AWSResponse | None]
) -> Iterator[None]:
    """Let `respond` answer the calls of a client in the block. If it returns None, S3 answers."""

    def handle(request: Any, **_: Any) -> AWSResponse | None:
        response = respond(request)
        return respond_with(request, response) if isinstance(response, Answer) else response

    events: Any = client.meta.events  # its stubs do not know handlers that answer
    events.register_first("before-send.s3", handle)
    try:
        yield
    finally:
        events.unregister("before-send.s3", handle)


@contextmanager
def answering_reads(
    client: S3Client, answer: Answer, *, applies_to: Callable[[str], bool]
) -> Iterator[None]:
    """Answer GetObject and HeadObject on the chosen keys, until the block ends."""
    with (
        answering(client, "GetObject", answer, applies_to=applies_to),
        answering(client, "HeadObject", answer, applies_to=applies_to),
    ):
        yield


def is_object_read(request: Any) -> bool:
    """Return whether the request is a GetObject or a HeadObject."""
    return request.method in {"GET", "HEAD"} and "uploadId=" not in request.url


def hide_absence(request: Any) -> Answer | AWSResponse | None:
    """Answer 403 where S3 answers 404, as AWS does if the credentials lack `s3:ListBucket`."""
    if not is_object_read(request):
        return None
    response = URLLib3Session().send(request)
    return DENIED if response.status_code == 404 else response


def weaken_etags(request: Any) -> AWSResponse:
    """Mark the ETag of S3's response as weak, as a proxy does that compresses responses."""
    response = URLLib3Session().send(request)
    if "ETag" in response.headers:
        response.headers["ETag"] = f"W/{response.headers['ETag']}"
    return response
