"""A response that its client does not take ends its connection, and no other does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.wsgi.wire import Wire
from tus_wsgi.wsgi.writing import TimeoutResponse, with_write_timeout


class Pieces:
    """Says whether it was closed."""

    def __init__(self) -> None:
        self.is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"one", b"two"])

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as wire:
        yield wire


@pytest.fixture
def pieces() -> Pieces:
    return Pieces()


@pytest.fixture
def response(wire: Wire, pieces: Pieces) -> TimeoutResponse:
    found = with_write_timeout(3.0, pieces, {"gunicorn.socket": wire.server})
    assert isinstance(found, TimeoutResponse)
    return found


def assert_good(wire: Wire) -> None:
    """The next request can come, and be answered."""
    assert wire.server.gettimeout() is None
    wire.send(b"again")
    assert wire.server.recv(10) == b"again"
    wire.server.sendall(b"ok")
    assert wire.client.recv(10) == b"ok"


def test_who_took_it_all_keeps_the_connection(
    wire: Wire, pieces: Pieces, response: TimeoutResponse
) -> None:
    assert wire.server.gettimeout() == 3.0
    assert list(response) == [b"one", b"two"]
    response.close()
    assert pieces.is_closed
    assert_good(wire)


def test_who_is_asked_for_nothing_keeps_it_too(
    wire: Wire, pieces: Pieces, response: TimeoutResponse
) -> None:
    """A middleware around this one may answer HEAD without the body."""
    response.close()
    assert pieces.is_closed
    assert_good(wire)


def test_who_took_only_some_of_it_does_not(
    wire: Wire, pieces: Pieces, response: TimeoutResponse
) -> None:
    assert next(iter(response)) == b"one"
    response.close()
    assert pieces.is_closed
    assert wire.server.recv(1) == b"", "the server need not wait for it"
    assert wire.client.recv(1) == b""


def test_a_connection_that_is_gone_is_no_trouble(wire: Wire, response: TimeoutResponse) -> None:
    next(iter(response))
    wire.server.close()
    response.close()


def test_other_servers_wait_as_they_like() -> None:
    pieces = [b"one"]
    for environ in ({}, {"gunicorn.socket": object()}):
        assert with_write_timeout(3.0, pieces, environ) is pieces
