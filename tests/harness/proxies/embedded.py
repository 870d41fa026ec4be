"""MiniStack's S3 in this process, and faults between it and boto3's clients.

No byte is sent over a socket: boto3 asks a handler for the response before it sends a request. So a
call costs half as much processor time as with `FaultProxy`, and a silent fault takes no time.
Everything above boto3's HTTP client is as in production.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
from urllib3 import HTTPHeaderDict, HTTPResponse

from tests.harness.http_messages import Message, encode_head, fields_of
from tests.harness.proxies.fault_proxy import FaultInjector

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


Service = Callable[[Message], Message]
"""Executes a request, and returns the response."""


class EmbeddedS3:
    """MiniStack's S3. Calling it executes a request."""

    def __init__(self) -> None:
        from ministack.services import s3

        self._handle = s3.handle_request
        self._mutex = threading.Lock()

    def __call__(self, request: Message) -> Message:
        """Return the response to a request."""
        method, target, _ = request.head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
        url = urlsplit(target)
        coroutine = self._handle(
            method,
            unquote(url.path),
            fields_of(request.head),
            request.body,
            parse_qs(url.query, keep_blank_values=True),
        )
        with self._mutex:
            # The handler never waits, so it returns at its first step, without an event loop.
            try:
                coroutine.send(None)
            except StopIteration as stop:
                status, fields, body = stop.value
            else:
                raise AssertionError("the handler waits for something")
        content = body.encode() if isinstance(body, str) else bytes(body)
        lines = [f"HTTP/1.1 {status} Status", *(f"{k}: {v}" for k, v in fields.items())]
        if "content-length" not in {name.lower() for name in fields}:
            lines.append(f"Content-Length: {len(content)}")
        return Message("\r\n".join([*lines, "", ""]).encode("latin-1"), content)


class EmbeddedProxy(FaultInjector):
    """Let chosen calls of attached clients fail.

    Args:
        service: the service, or another proxy's `forward`.
        name: distinguishes proxies in one process.

    Attributes:
        endpoint, second_endpoint: as in `FaultProxy`, but no server listens: `attach` the clients.
    """

    def __init__(self, service: Service, name: str) -> None:
        super().__init__(service)
        self._service = service
        self.endpoint, self.second_endpoint = (f"http://{name}-{i}.s3.test" for i in (1, 2))

    def attach(self, client: S3Client) -> None:
        """Handle the calls of a client whose endpoint is one of this proxy's."""
        can_freeze = client.meta.endpoint_url == self.endpoint
        attach(client, partial(self.forward, can_freeze=can_freeze))

    def forward(self, request: Message, *, can_freeze: bool = False) -> Message:
        """Return the response to a call.

        Raises:
            EOFError: the client does not receive the whole head.
            TimeoutError: the client does not receive anything until it times out.
        """
        link = _EmbeddedLink(self._service)
        self.handle(link, request, can_freeze=can_freeze)
        if link.is_silent:
            raise TimeoutError
        head, separator, body = link.response.partition(b"\r\n\r\n")
        if not separator:
            raise EOFError
        return Message(head + separator, body)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Do nothing: there are no connections."""


def attach(client: S3Client, service: Service) -> None:
    """Let a client call a service in this process."""
    handler: Any = partial(_respond, service)
    client.meta.events.register("before-send.s3", handler)


def _respond(service: Service, request: AWSPreparedRequest, **_: object) -> AWSResponse:
    """Return what botocore's HTTP client would return, or raise what it would raise."""
    try:
        response = service(_to_message(request))
    except TimeoutError as error:
        raise ReadTimeoutError(endpoint_url=request.url) from error
    except EOFError as error:
        raise ConnectionClosedError(endpoint_url=request.url) from error
    fields = fields_of(response.head)
    length = int(fields.get("content-length", len(response.body)))
    is_cut = len(response.body) < length and request.method != "HEAD"
    if is_cut and not request.stream_output:
        raise ConnectionClosedError(endpoint_url=request.url)
    headers: Any = HTTPHeaderDict(fields)
    content: Any = HTTPResponse(
        io.BytesIO(response.body),
        headers=fields,
        preload_content=False,
        request_method=request.method,
    )
    return AWSResponse(request.url, response.status, headers, content)


class _EmbeddedLink:
    """Collects what the client receives."""

    client_port = 0

    def __init__(self, service: Service) -> None:
        self._service = service
        self.response = b""
        self.is_silent = False

    def forward(self, request: Message) -> Message:
        return self._service(request)

    def send(self, response: bytes) -> None:
        self.response += response

    def wait_until_client_closes(self) -> None:
        """Note that the client has to time out."""
        self.is_silent = True


def _to_message(request: AWSPreparedRequest) -> Message:
    """Return a request of botocore as a message."""
    url = urlsplit(request.url)
    target = f"{url.path}?{url.query}" if url.query else url.path
    fields = {name: _text(value) for name, value in request.headers.items()}
    return Message(encode_head(request.method, target, fields), _read(request.body))


def _read(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    stream: IO[bytes] = body
    return stream.read()


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
