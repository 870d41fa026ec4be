"""Transports for the uploaders: into a WSGI app in this process, or over HTTP to a server."""

from __future__ import annotations

import contextlib
import io
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import pytest
from werkzeug.test import create_environ, run_wsgi_app

from tests.harness import http_messages
from tests.harness.clients.http import Connection, OnInterim, Response, ignore
from tus_wsgi.wsgi import interim

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

REQUEST_TIMEOUT = 30.0
"""Seconds that a server may take for a request."""


class Transport(Protocol):
    """Sends a request to a server, and returns the response."""

    def __call__(
        self,
        method: str,
        url: str,
        fields: Mapping[str, str],
        body: bytes = b"",
        content_length: int | None = None,
        *,
        on_interim: OnInterim = ignore,
    ) -> Response:
        """Send a request. If it announces more than `body`, the connection is cut after `body`.

        Args:
            content_length: bytes that the request announces; None for the size of `body`.

        Raises:
            OSError: there was no response.
        """


def in_process(app: Callable[[], WSGIApplication]) -> Transport:
    """Return a transport into WSGI apps: `app` returns the app for the next request."""

    def send(
        method: str,
        url: str,
        fields: Mapping[str, str],
        body: bytes = b"",
        content_length: int | None = None,
        *,
        on_interim: OnInterim = ignore,
    ) -> Response:
        environ = create_environ(
            path=urlsplit(url).path,
            base_url="http://uploads.test/",
            method=method,
            headers=dict(fields),
            input_stream=io.BytesIO(body),
        )
        # werkzeug would announce the length of the input, not that of the uncut body.
        length = len(body) if content_length is None else content_length
        environ["CONTENT_LENGTH"] = str(length) if length else ""
        with _interim_responses(is_cut=len(body) < length) as (connection, read):
            environ["gunicorn.socket"] = connection
            chunks, status, headers = run_wsgi_app(app(), environ, buffered=True)
            content = b"".join(chunks)
            for response in read():
                on_interim(response)
        named = {name.lower(): value for name, value in headers}
        return Response(int(status.split()[0]), named, content)

    return send


@contextlib.contextmanager
def _interim_responses(
    *, is_cut: bool
) -> Iterator[tuple[socket.socket, Callable[[], list[Response]]]]:
    """Let an app send interim responses in the block, without a limit to their rate.

    Args:
        is_cut: whether the client has closed its side of the connection.

    Yields:
        The connection as gunicorn passes it to apps; a function that ends the connection and
        returns the interim responses that the app has sent.
    """
    client, server = socket.socketpair()
    with client, server, pytest.MonkeyPatch.context() as patch:
        if is_cut:
            client.shutdown(socket.SHUT_WR)
        patch.setattr(interim, "EVERY_SECONDS", 0.0)
        patch.setattr(interim, "EVERY_BYTES", 0)

        def read() -> list[Response]:
            server.shutdown(socket.SHUT_WR)
            sent = b"".join(iter(lambda: client.recv(1 << 16), b""))
            heads = [head + b"\r\n\r\n" for head in sent.split(b"\r\n\r\n") if head]
            return [
                Response(http_messages.status_of(head), http_messages.fields_of(head))
                for head in heads
            ]

        yield server, read


def over_http(port: int) -> Transport:
    """Return a transport over HTTP.

    Each request has a connection of its own. So no request goes to a worker that has died.
    """

    def send(
        method: str,
        url: str,
        fields: Mapping[str, str],
        body: bytes = b"",
        content_length: int | None = None,
        *,
        on_interim: OnInterim = ignore,
    ) -> Response:
        length = len(body) if content_length is None else content_length
        framing = {"Content-Length": str(length)} if length or method != "HEAD" else {}
        with Connection(port, timeout=REQUEST_TIMEOUT) as connection:
            connection.send_head(method, urlsplit(url).path, {**fields, **framing})
            try:
                with contextlib.suppress(ConnectionError):
                    connection.send(body)
                    if len(body) < length:
                        connection.half_close()
                return connection.read_response(on_interim=on_interim)
            except EOFError as error:
                raise ConnectionError("the response was incomplete") from error

    return send
