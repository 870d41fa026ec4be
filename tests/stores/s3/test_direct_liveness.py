"""An idle connection that the service has closed is not used again."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tus_wsgi.stores.s3.client import make_client
from tus_wsgi.stores.s3.direct.liveness import is_usable
from tus_wsgi.stores.s3.direct.pools import adapt_connections

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with client, server:
        yield client, server


def test_a_quiet_connection_is_usable(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    assert is_usable(client)
    server.sendall(b"x")
    client.recv(1)
    assert is_usable(client)


@pytest.mark.parametrize("how", ["shutdown", "close", "reset", "bytes"])
def test_a_connection_with_an_event_is_not_usable(
    pair: tuple[socket.socket, socket.socket], how: str
) -> None:
    client, server = pair
    match how:
        case "shutdown":
            server.shutdown(socket.SHUT_WR)
        case "close":
            server.close()
        case "reset":
            client.sendall(b"unread")
            server.close()
        case _:
            server.sendall(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert not is_usable(client)


def test_a_pool_opens_a_new_connection_after_the_service_has_closed_one() -> None:
    ports: list[int] = []

    def serve(listener: socket.socket) -> None:
        for _ in range(2):
            connection, address = listener.accept()
            with connection:
                for _ in range(2):
                    connection.recv(65536)
                    ports.append(address[1])
                    connection.sendall(RESPONSE)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=[listener])
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        client: Any = make_client(endpoint=url, parallel_parts=1)
        adapt_connections(client)
        adapt_connections(client)
        pool = client._endpoint.http_session._manager.connection_from_url(url)
        for number in range(4):
            assert pool.urlopen("GET", "/", retries=False).status == 200
            if number == 1:
                connection = pool.pool.queue[-1]
                while is_usable(connection.sock):
                    pass
        thread.join()
    assert ports[0] == ports[1]
    assert ports[1] != ports[2]
    assert ports[2] == ports[3]
