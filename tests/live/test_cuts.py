"""Connections that end in the middle of a body: the received bytes are stored, and no others.

A FIN follows all bytes, so every one of them must be stored. A reset may overtake bytes that the
server has not yet received: then the stored bytes are a prefix of the sent ones.
"""

from __future__ import annotations

import enum
import itertools
from urllib.parse import urlsplit

import pytest

from tests.harness.clients.http import Connection
from tests.harness.clients.tus import TusClient, patch_fields
from tests.harness.data import some_bytes
from tests.harness.proxies.tcp import Cut, TcpProxy
from tests.harness.servers.deployment import PART_SIZE, Deployment
from tests.harness.servers.gunicorn import Gunicorn
from tests.harness.timing import wait_until
from tus_wsgi.domain.model import KIB, MIB

pytestmark = pytest.mark.live

FILE = some_bytes(2 * PART_SIZE + 1000)

ACKNOWLEDGED = 3_000
"""Bytes that are acknowledged before the PATCH that is cut."""


class ConnectionEnd(enum.Enum):
    CLOSE = "close"
    """FIN in both directions: the client does not read the response."""
    HALF_CLOSE = "half-close"
    """FIN in one direction: the client still reads the response."""
    RESET = "reset"


POINTS = {
    "0": 0,
    "1": 1,
    "64KiB-1": 64 * KIB - 1,
    "64KiB": 64 * KIB,
    "part-1": PART_SIZE - ACKNOWLEDGED - 1,
    "part": PART_SIZE - ACKNOWLEDGED,
    "part+1": PART_SIZE - ACKNOWLEDGED + 1,
    "all-but-one": len(FILE) - ACKNOWLEDGED - 1,
}


def send_partial_patch(connection: Connection, path: str, count: int, *, chunked: bool) -> None:
    """Send the head of a PATCH for all remaining bytes, and the first `count` bytes of its body."""
    body = FILE[ACKNOWLEDGED : ACKNOWLEDGED + count]
    if chunked:
        connection.send_head("PATCH", path, patch_fields(ACKNOWLEDGED, Transfer_Encoding="chunked"))
        for start in range(0, count, 90_000):
            connection.send_chunk(body[start : start + 90_000])
    else:
        length = str(len(FILE) - ACKNOWLEDGED)
        connection.send_head("PATCH", path, patch_fields(ACKNOWLEDGED, Content_Length=length))
        connection.send(body)


EVERY_RUN = {
    (ConnectionEnd.CLOSE, False),
    (ConnectionEnd.HALF_CLOSE, True),
    (ConnectionEnd.RESET, False),
}


@pytest.mark.parametrize(
    ("end", "chunked"),
    [
        pytest.param(
            *(end, chunked),
            id=f"{end.value}-{'chunked' if chunked else 'length'}",
            marks=() if (end, chunked) in EVERY_RUN else pytest.mark.long,
        )
        for end, chunked in itertools.product(ConnectionEnd, (False, True))
    ],
)
@pytest.mark.parametrize("count", POINTS.values(), ids=POINTS)
def test_received_bytes_are_stored(
    count: int, end: ConnectionEnd, chunked: bool, deployment: Deployment, tus: TusClient
) -> None:
    """C-41: for each way to end a connection, at each position."""
    path = tus.create(len(FILE))
    tus.append(path, 0, FILE[:ACKNOWLEDGED])
    with Connection(tus.port) as connection:
        send_partial_patch(connection, path, count, chunked=chunked)
        if end is ConnectionEnd.RESET:
            connection.wait_until_delivered()
            deployment.wait_for_lock(path)
            connection.reset()
        elif end is ConnectionEnd.CLOSE:
            connection.close()
        else:
            connection.half_close()
            response = connection.read_response()
            assert (response.status, response["Upload-Offset"]) == (503, str(ACKNOWLEDGED + count))
    if end is ConnectionEnd.RESET:
        offset = tus.offset(path)
        assert ACKNOWLEDGED <= offset <= ACKNOWLEDGED + count
    else:
        # The HEAD may run before the server handles the cut PATCH.
        wait_until(lambda: tus.offset(path) == ACKNOWLEDGED + count)
        offset = ACKNOWLEDGED + count
    tus.append(path, offset, FILE[offset:])
    assert deployment.read_object(path) == FILE


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param(b"", id="between-chunks"),
        pytest.param(b"1", id="in-chunk-size"),
        pytest.param(b"10\r", id="after-chunk-size"),
        pytest.param(b"10\r\n", id="before-chunk-data"),
        pytest.param(b"0\r\n", id="before-last-line"),
    ],
)
def test_a_chunked_body_cut_in_its_framing_keeps_complete_chunks(
    ending: bytes, deployment: Deployment, tus: TusClient
) -> None:
    """C-41: the bytes of the chunk before the cut are stored."""
    path = tus.create(len(FILE))
    with Connection(tus.port) as connection:
        connection.send_head("PATCH", path, patch_fields(0, Transfer_Encoding="chunked"))
        connection.send_chunk(FILE[:100_000])
        connection.send(ending)
        connection.half_close()
        response = connection.read_response()
        assert response["Upload-Offset"] == "100000"
    assert tus.offset(path) == 100_000
    tus.append(path, 100_000, FILE[100_000:])
    assert deployment.read_object(path) == FILE


def test_the_received_bytes_of_an_incomplete_chunk_are_stored(
    deployment: Deployment, tus: TusClient
) -> None:
    """C-41: half of a chunk of 1 MiB."""
    path = tus.create(len(FILE))
    with Connection(tus.port) as connection:
        connection.send_head("PATCH", path, patch_fields(0, Transfer_Encoding="chunked"))
        connection.send(b"%x\r\n" % MIB + FILE[: MIB // 2])
        connection.half_close()
        assert connection.read_response()["Upload-Offset"] == str(MIB // 2)
    assert tus.offset(path) == MIB // 2


def test_an_incomplete_request_head_changes_nothing(deployment: Deployment, tus: TusClient) -> None:
    path = tus.create(len(FILE))
    before = deployment.list_contents()
    for cut in (1, 20, 60, 120):
        with Connection(tus.port) as connection:
            head = connection.encode_head("PATCH", path, patch_fields(0, Content_Length="5"))
            connection.send(head[:cut])
            connection.half_close()
            connection.read_to_end()
    assert tus.offset(path) == 0
    assert deployment.list_contents() == before


def test_an_interrupted_creation_with_upload_keeps_the_received_bytes(
    deployment: Deployment, tus: TusClient
) -> None:
    """CW-07: a client that still reads gets the offset to resume from."""
    with Connection(tus.port) as connection:
        fields = {"Upload-Length": str(len(FILE)), "Content-Length": str(len(FILE))}
        fields |= {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}
        connection.send_head("POST", "/files", fields)
        connection.send(FILE[: PART_SIZE + 77])
        connection.half_close()
        response = connection.read_response()
    assert (response.status, response["Upload-Offset"]) == (201, str(PART_SIZE + 77))
    path = urlsplit(response["Location"]).path
    tus.append(path, PART_SIZE + 77, FILE[PART_SIZE + 77 :])
    assert deployment.read_object(path) == FILE


@pytest.mark.parametrize("how", Cut, ids=lambda how: how.name)
def test_an_upload_completes_although_every_connection_is_cut(
    how: Cut, deployment: Deployment, server: Gunicorn, tus: TusClient
) -> None:
    """Twelve cuts in ten megabytes, each at another position of a part."""
    path = tus.create(len(FILE))
    cuts = range(200_000, 11 * MIB, 901_000)
    offset = 0
    with TcpProxy(server.port, cuts=cuts, how=how) as network:
        while offset < len(FILE):
            with Connection(network.port) as connection:
                try:
                    connection.request("PATCH", path, patch_fields(offset), FILE[offset:])
                    connection.read_response()
                except (OSError, EOFError):
                    pass
            new_offset = tus.offset(path)
            assert new_offset >= offset
            offset = new_offset
        assert network.cut_count >= 10
    assert deployment.read_object(path) == FILE
