"""Replace the responses to chosen S3 calls of a client, as a proxy or a policy would."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from botocore.awsrequest import AWSResponse

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
