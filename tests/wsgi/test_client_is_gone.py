"""Whether the client of a request has closed the connection."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from werkzeug.exceptions import NotFound
from werkzeug.test import create_environ, run_wsgi_app

from tests.harness.timing import wait_until
from tests.wsgi.gunicorn_connection import GunicornConnection
from tus_wsgi import Settings, TusMiddleware
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.stores.memory import MemoryStore
from tus_wsgi.wsgi.body import WsgiBody
from tus_wsgi.wsgi.draining import LiveBodies

TUS = {"Tus-Resumable": "1.0.0"}


@pytest.fixture
def connection() -> Iterator[GunicornConnection]:
    with GunicornConnection() as connection:
        yield connection


def test_a_client_that_waits_for_the_response_is_not_gone(connection: GunicornConnection) -> None:
    connection.begin(length=0, data=b"GET /next HTTP/1.1\r\n")
    body = connection.body()
    assert not body.client_is_gone()
    assert not body.client_is_gone()


@pytest.mark.parametrize("how", ["close", "half_close", "reset"])
@pytest.mark.parametrize("more", [b"", b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_a_client_that_closed_the_connection_is_gone(
    connection: GunicornConnection, how: str, more: bytes
) -> None:
    """Even if another request waits in the buffer."""
    connection.begin(length=0, data=more)
    body = connection.body()
    getattr(connection, how)()
    wait_until(body.client_is_gone)


def test_it_is_known_for_a_unix_socket_too() -> None:
    server, client = socket.socketpair()
    with closing(server), closing(client):
        environ = {**create_environ(method="POST"), "gunicorn.socket": server}
        body = WsgiBody(environ, timeout=1, live=LiveBodies())
        assert not body.client_is_gone()
        client.close()
        assert body.client_is_gone()


def test_other_servers_do_not_tell() -> None:
    body = WsgiBody(create_environ(method="POST"), timeout=1, live=LiveBodies())
    assert not body.client_is_gone()


def test_the_streams_of_http_2_share_a_connection() -> None:
    server, client = socket.socketpair()
    with closing(server), closing(client):
        environ = {**create_environ(method="POST"), "gunicorn.socket": server}
        environ["SERVER_PROTOCOL"] = "HTTP/2"
        body = WsgiBody(environ, timeout=1, live=LiveBodies())
        client.close()
        assert not body.client_is_gone()


@pytest.mark.parametrize("is_gone", [False, True])
def test_no_final_upload_is_made_for_a_client_that_is_gone(*, is_gone: bool) -> None:
    store = MemoryStore()
    app = TusMiddleware(
        NotFound(),
        settings=Settings(s3_bucket="bucket"),
        store=store,
        locker=MemoryLocker(timeout=1),
    )

    def post(**fields: str) -> dict[str, Any]:
        headers = {**TUS, **{name.replace("_", "-"): value for name, value in fields.items()}}
        return create_environ("/files", method="POST", headers=headers)

    _, _, created = run_wsgi_app(app, post(Upload_Length="0", Upload_Concat="partial"))
    final = post(Upload_Concat=f"final;{created['Location']}")
    server, client = socket.socketpair()
    with closing(server), closing(client):
        if is_gone:
            client.close()
        _, status, _ = run_wsgi_app(app, {**final, "gunicorn.socket": server})
    assert status.startswith("503" if is_gone else "201")
    assert len(store._uploads) == (1 if is_gone else 2)
