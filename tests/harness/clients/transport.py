"""The ways from a client to the server: into a WSGI application, or over HTTP to gunicorn."""

from __future__ import annotations

import contextlib
import io
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import pytest
from werkzeug.test import create_environ, run_wsgi_app

from tests.harness.clients.http import Connection
from tus_wsgi.wsgi import interim

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

SECONDS = 30.0
"""What a server may take for a request."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `fields` are by lower-case names."""

    status: int
    fields: Mapping[str, str]

    @property
    def offset(self) -> int | None:
        """The Upload-Offset, if there is one."""
        text = self.fields.get("upload-offset")
        return None if text is None else int(text)

    @property
    def is_fine(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_worth_another_try(self) -> bool:
        """What tus-js-client retries: 409, 423 and 5xx."""
        return self.status in {409, 423} or self.status >= 500


Early = Callable[[Answer], None]
"""Told of each interim response, in its order."""


def ignored(answer: Answer) -> None:
    """Where nobody cares for interim responses."""


class Transport(Protocol):
    """Carries a request to a server, and an answer back."""

    def __call__(
        self,
        method: str,
        url: str,
        fields: Mapping[str, str],
        body: bytes,
        content_length: int,
        *,
        on_early: Early = ignored,
    ) -> Answer:
        """Send a request that announces `content_length` bytes and is cut after `body`.

        Raises:
            OSError: there was no answer.
        """


def in_process(app: Callable[[], WSGIApplication]) -> Transport:
    """Calls a WSGI application; `app` says which one, at each request."""

    def send(
        method: str,
        url: str,
        fields: Mapping[str, str],
        body: bytes,
        content_length: int,
        *,
        on_early: Early = ignored,
    ) -> Answer:
        environ = create_environ(
            path=urlsplit(url).path,
            base_url="http://uploads.test/",
            method=method,
            headers=dict(fields),
            input_stream=io.BytesIO(body),
        )
        # werkzeug would say how much there is, and not how much there was to be.
        environ["CONTENT_LENGTH"] = str(content_length) if content_length else ""
        with _interim_responses() as (connection, read):
            environ["gunicorn.socket"] = connection
            pieces, status, headers = run_wsgi_app(app(), environ, buffered=True)
            for _ in pieces:
                pass
            for early in read():
                on_early(early)
        return Answer(int(status.split()[0]), {k.lower(): v for k, v in headers})

    return send


@contextlib.contextmanager
def _interim_responses() -> Iterator[tuple[socket.socket, Callable[[], list[Answer]]]]:
    """A connection as gunicorn hands it out, and what was written to it. None is left out."""
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.MonkeyPatch.context() as patch:
        patch.setattr(interim, "EVERY_SECONDS", 0.0)
        patch.setattr(interim, "EVERY_BYTES", 0)

        def read() -> list[Answer]:
            theirs.shutdown(socket.SHUT_WR)
            text = b"".join(iter(lambda: ours.recv(1 << 16), b"")).decode("ascii")
            return [_parsed(head) for head in text.split("\r\n\r\n") if head]

        yield theirs, read


def _parsed(head: str) -> Answer:
    first, *lines = head.split("\r\n")
    fields = (line.partition(": ") for line in lines)
    return Answer(int(first.split(" ")[1]), {name.lower(): value for name, _, value in fields})


def over_http(port: int) -> Transport:
    """A connection for each request, so that none meets a worker that has died."""

    def send(
        method: str,
        url: str,
        fields: Mapping[str, str],
        body: bytes,
        content_length: int,
        *,
        on_early: Early = ignored,
    ) -> Answer:
        length = (
            {"Content-Length": str(content_length)} if content_length or method != "HEAD" else {}
        )
        with Connection(port, timeout=SECONDS) as connection:
            connection.send_head(method, urlsplit(url).path, {**fields, **length})
            try:
                with contextlib.suppress(ConnectionError):
                    connection.send(body)
                    if len(body) < content_length:
                        connection.half_close()
                while (response := connection.read_any_response(method)).status < 200:
                    on_early(Answer(response.status, response.fields))
            except EOFError as error:
                raise ConnectionError("the answer broke off") from error
        return Answer(response.status, response.fields)

    return send
