"""IETF resumable uploads: offsets in interim responses (104) during a long body."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from .options import Options
from .rufh import Client, Dialect, assert_success, for_versions
from .rules import SHOULD, rule
from .server import KIB, MIB, Server, Upload, some_bytes, target_of
from .wire import Connection, Response

CONTENT = some_bytes(30 * MIB)

BLOCK_SIZE = 256 * KIB

PAUSES = (0.06, 0.24, 0.96)
"""Seconds between blocks: servers send a 104 about once a second, after the first second. A server
on a busy machine may store the blocks more slowly, so the test repeats itself with longer pauses.
"""


@pytest.fixture
def client(server: Server, dialect: Dialect) -> Client:
    return Client(server, dialect)


@rule("R-42", "R-18", "R-46", "R-04", level=SHOULD)
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("begin", ["creation", "append"])
@for_versions(5, 6, 8, 9)
def test_an_offset_in_a_104_is_stored(
    client: Client,
    begin: str,
    count: int,
    options: Options,
    measure: Callable[[str, str], None],
) -> None:
    """The client may discard the bytes before that offset, so they survive a lost connection.

    A server SHOULD send a 104; if it does, it must have stored the bytes. Another worker must know
    the offset too, and is asked first.
    """
    upload, acknowledged = interrupted_upload(
        client, begin_creation if begin == "creation" else begin_append, count
    )
    measure("acknowledged by a 104", f"{acknowledged // MIB} of {len(CONTENT) // MIB} MiB")
    if options.second_url is not None:
        second = Client(Server(options.second_url, client.server.access), client.dialect)
        assert second.offset(upload.on(second.server)) >= acknowledged
    offset = client.offset(upload)
    assert offset >= acknowledged
    assert_success(client.append(upload, CONTENT[offset:], offset, complete=True))
    client.assert_content(upload, CONTENT)


def interrupted_upload(
    client: Client, begin: Callable[[Client, Connection], Upload], count: int
) -> tuple[Upload, int]:
    """Reset the connection of an upload after `count` interim responses with an offset.

    Returns:
        The upload, and the offset in the last of these responses.
    """
    offsets: list[int] = []
    for pause in PAUSES:
        with client.server.connect() as connection:
            upload = begin(client, connection)
            offsets = send_until_acknowledged(connection, count, pause)
            connection.reset()
        if len(offsets) == count:
            return upload, offsets[-1]
    raise AssertionError(f"expected {count} interim responses with an offset, got {offsets}")


def begin_creation(client: Client, connection: Connection) -> Upload:
    """Send the head of a creation and return the upload in its first 104."""
    fields = client.creation({"Content-Length": str(len(CONTENT))}, complete=True)
    connection.begin("POST", client.server.path, client.server.fields(fields))
    return client.server.upload_at(interim(connection)["Location"])


def begin_append(client: Client, connection: Connection) -> Upload:
    """Create an upload and send the head of an append."""
    upload = client.create()
    fields = client.append_fields(0, {"Content-Length": str(len(CONTENT))}, complete=True)
    connection.begin("PATCH", target_of(upload.url), client.server.fields(fields))
    return upload


def send_until_acknowledged(connection: Connection, count: int, pause: float) -> list[int]:
    """Send the content until `count` interim responses have arrived; return their offsets.

    Return fewer offsets if all content is sent before. `pause` is the seconds after each block.
    """
    offsets: list[int] = []
    for sent in range(0, len(CONTENT), BLOCK_SIZE):
        connection.send(CONTENT[sent : sent + BLOCK_SIZE])
        time.sleep(pause)
        while not connection.stays_silent_for(0):
            response = interim(connection)
            assert "Location" not in response
            offsets.append(int(response["Upload-Offset"]))
            assert offsets == sorted(offsets)
            assert 0 < offsets[-1] <= sent + BLOCK_SIZE
            if len(offsets) == count:
                return offsets
    return offsets


def interim(connection: Connection) -> Response:
    response = connection.interim()
    assert response.status == 104
    return response
