"""Connections that end in the middle of a body: what had arrived is stored, and nothing else.

A polite end (FIN) comes behind all bytes, so not one of them may be missing. A reset may overtake
bytes that the kernel has not handed over yet: then what is stored is a beginning of what was sent.
"""

from __future__ import annotations

import enum
from urllib.parse import urlsplit

import pytest

from tests.harness.clients.http import Connection
from tests.harness.clients.tus import TusClient, patch_fields
from tests.harness.data import some_bytes
from tests.harness.proxies.cutting import Cut, CuttingProxy
from tests.harness.servers.deployment import PART_SIZE, Deployment
from tests.harness.servers.gunicorn import Gunicorn, wait_until
from tus_wsgi.domain.model import KIB, MIB

pytestmark = pytest.mark.live

FILE = some_bytes(2 * PART_SIZE + 1000)

BEGUN = 3_000
"""Bytes that are acknowledged before the PATCH that is cut."""


class End(enum.Enum):
    CLOSE = "close"
    """FIN, and nobody is there to read the response."""
    HALF_CLOSE = "half-close"
    """FIN, and the client still listens."""
    RESET = "reset"


POINTS = {
    "0": 0,
    "1": 1,
    "64KiB-1": 64 * KIB - 1,
    "64KiB": 64 * KIB,
    "part-1": PART_SIZE - BEGUN - 1,
    "part": PART_SIZE - BEGUN,
    "part+1": PART_SIZE - BEGUN + 1,
    "all-but-one": len(FILE) - BEGUN - 1,
}


def send_some(connection: Connection, path: str, count: int, *, chunked: bool) -> None:
    """Send the head of a PATCH for all that is missing, and the first bytes of it."""
    body = FILE[BEGUN : BEGUN + count]
    if chunked:
        connection.send_head("PATCH", path, patch_fields(BEGUN, Transfer_Encoding="chunked"))
        for start in range(0, count, 90_000):
            connection.send_chunk(body[start : start + 90_000])
    else:
        length = str(len(FILE) - BEGUN)
        connection.send_head("PATCH", path, patch_fields(BEGUN, Content_Length=length))
        connection.send(body)


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("end", End, ids=lambda end: end.value)
@pytest.mark.parametrize("count", POINTS.values(), ids=POINTS)
def test_what_had_arrived_is_stored(
    count: int, end: End, chunked: bool, deployment: Deployment, tus: TusClient
) -> None:
    """C-41"""
    path = tus.create(len(FILE))
    tus.append(path, 0, FILE[:BEGUN])
    with Connection(tus.port) as connection:
        send_some(connection, path, count, chunked=chunked)
        if end is End.RESET:
            connection.wait_until_delivered()
            deployment.wait_for_lock(path)
            connection.reset()
        elif end is End.CLOSE:
            connection.close()
        else:
            connection.half_close()
            response = connection.read_response()
            assert (response.status, response["Upload-Offset"]) == (503, str(BEGUN + count))
    if end is End.RESET:
        offset = tus.offset(path)
        assert BEGUN <= offset <= BEGUN + count
    else:
        # The new request may be quicker than the old one, which comes second then and is refused.
        wait_until(lambda: tus.offset(path) == BEGUN + count, seconds=5)
        offset = BEGUN + count
    tus.append(path, offset, FILE[offset:])
    assert deployment.read_object(path) == FILE


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param(b"", id="between-chunks"),
        pytest.param(b"1", id="in-a-size"),
        pytest.param(b"10\r", id="behind-a-size"),
        pytest.param(b"10\r\n", id="before-the-data"),
        pytest.param(b"0\r\n", id="before-the-last-line"),
    ],
)
def test_a_chunked_body_may_end_anywhere_in_its_framing(
    ending: bytes, deployment: Deployment, tus: TusClient
) -> None:
    """C-41"""
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


def test_a_chunk_that_ends_early_counts_as_far_as_it_came(
    deployment: Deployment, tus: TusClient
) -> None:
    """C-41"""
    path = tus.create(len(FILE))
    with Connection(tus.port) as connection:
        connection.send_head("PATCH", path, patch_fields(0, Transfer_Encoding="chunked"))
        connection.send(b"%x\r\n" % MIB + FILE[: MIB // 2])
        connection.half_close()
        assert connection.read_response()["Upload-Offset"] == str(MIB // 2)
    assert tus.offset(path) == MIB // 2


def test_a_head_that_ends_early_changes_nothing(deployment: Deployment, tus: TusClient) -> None:
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


def test_the_first_bytes_in_a_creation_are_kept_as_far_as_they_came(
    deployment: Deployment, tus: TusClient
) -> None:
    """CW-07: a client that still listens learns where to go on."""
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
def test_an_upload_gets_through_a_network_that_ends_every_connection(
    how: Cut, deployment: Deployment, server: Gunicorn, tus: TusClient
) -> None:
    """Twelve cuts in ten megabytes, each at another place of a part."""
    path = tus.create(len(FILE))
    cuts = range(200_000, 11 * MIB, 901_000)
    offset = 0
    with CuttingProxy(server.port, cuts=cuts, how=how) as network:
        while offset < len(FILE):
            with Connection(network.port) as connection:
                try:
                    connection.request("PATCH", path, patch_fields(offset), FILE[offset:])
                    connection.read_response()
                except (OSError, EOFError):
                    pass
            now = tus.offset(path)
            assert now >= offset
            offset = now
        assert network.cut_count >= 10
    assert deployment.read_object(path) == FILE
