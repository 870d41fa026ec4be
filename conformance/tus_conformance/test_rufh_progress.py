"""Resumable uploads of the IETF: what a 104 says of a body that is still coming."""

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

STEP = 256 * KIB

PAUSE = 0.06
"""Seconds between two steps: servers say how far they are once a second or so, and not at once."""


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
    """The client forgets those bytes, and the connection is reset right behind the message.

    That there is such a message is a SHOULD; that its offset holds is none. Another worker has to
    know as well, and is asked first.
    """
    with client.server.connect() as connection:
        upload = (begin_creation if begin == "creation" else begin_append)(client, connection)
        said = send_until_told(connection, count)
        connection.reset()
    measure("called safe by a 104", f"{said // MIB} of {len(CONTENT) // MIB} MiB")
    if options.second_url is not None:
        second = Client(Server(options.second_url, client.server.access), client.dialect)
        assert second.offset(upload.on(second.server)) >= said
    offset = client.offset(upload)
    assert offset >= said
    assert_success(client.append(upload, CONTENT[offset:], offset, complete=True))
    client.assert_content(upload, CONTENT)


def begin_creation(client: Client, connection: Connection) -> Upload:
    """A creation whose body is still to come; the upload is the one that its first 104 names."""
    fields = client.creation({"Content-Length": str(len(CONTENT))}, complete=True)
    connection.begin("POST", client.server.path, client.server.fields(fields))
    return client.server.upload_at(interim(connection)["Location"])


def begin_append(client: Client, connection: Connection) -> Upload:
    """An append whose body is still to come."""
    upload = client.create()
    fields = client.append_fields(0, {"Content-Length": str(len(CONTENT))}, complete=True)
    connection.begin("PATCH", target_of(upload.url), client.server.fields(fields))
    return upload


def send_until_told(connection: Connection, count: int) -> int:
    """Send the content until so many 104s have come; the offset in the last of them."""
    told: list[int] = []
    for sent in range(0, len(CONTENT), STEP):
        connection.send(CONTENT[sent : sent + STEP])
        time.sleep(PAUSE)
        while not connection.stays_silent_for(0):
            response = interim(connection)
            assert "Location" not in response
            told.append(int(response["Upload-Offset"]))
            assert told == sorted(told)
            assert 0 < told[-1] <= sent + STEP
            if len(told) == count:
                return told[-1]
    raise AssertionError(f"expected {count} interim responses with an offset, got {told}")


def interim(connection: Connection) -> Response:
    response = connection.interim()
    assert response.status == 104
    return response
