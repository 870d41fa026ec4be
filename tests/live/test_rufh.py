"""Resumable uploads for HTTP through a real server: interim responses, cuts, and both protocols."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import pytest

from tests.harness.clients.http import Connection, Response
from tests.harness.clients.tus import TusClient
from tests.harness.data import some_bytes
from tests.harness.servers.deployment import PART_SIZE, Deployment
from tests.harness.timing import assert_takes_less

pytestmark = pytest.mark.live

FILE = some_bytes(3 * PART_SIZE + 70_001)

VERSIONS = [3, 5, 6, 8, 9]


def fields(interop: int | None, *, complete: bool, **more: str) -> dict[str, str]:
    named = {name.replace("_", "-"): value for name, value in more.items()}
    if interop is not None:
        named["Upload-Draft-Interop-Version"] = str(interop)
    if interop == 3:
        return {**named, "Upload-Incomplete": "?0" if complete else "?1"}
    return {**named, "Upload-Complete": "?1" if complete else "?0"}


def partial(interop: int | None, offset: int, *, complete: bool) -> dict[str, str]:
    more = {"Content_Type": "application/partial-upload", "Upload_Offset": str(offset)}
    return fields(interop, complete=complete, **more)


def interim(connection: Connection) -> Response:
    """The next response, be it an interim one."""
    return connection.read_any_response("POST")


def path_of(response: Response) -> str:
    return urlsplit(response["Location"]).path


def ask(port: int, method: str, path: str, said: dict[str, str], body: bytes = b"") -> Response:
    with Connection(port) as connection:
        connection.request(
            method, path, said, body if body or method in ("POST", "PATCH") else None
        )
        return connection.read_response()


@pytest.fixture(scope="module")
def port(deployment: Deployment) -> int:
    return deployment.start(workers=2).port


@pytest.mark.parametrize("interop", VERSIONS)
def test_a_whole_file_in_one_request_is_told_first_where_it_is(
    deployment: Deployment, port: int, interop: int
) -> None:
    """R-10, R-15"""
    with Connection(port) as connection:
        said = fields(interop, complete=True, Content_Type="video/mp4")
        connection.send_head("POST", "/files", {**said, "Content-Length": str(len(FILE))})
        first = interim(connection)
        assert first.status == 104
        assert first["Upload-Draft-Interop-Version"] == str(interop)
        connection.send(FILE)
        final = connection.read_response()
    assert (final.status, path_of(final)) == (201, path_of(first))
    assert int(final["Upload-Offset"]) == len(FILE)
    assert deployment.read_object(path_of(final)) == FILE
    assert deployment.head_object(path_of(final))["ContentType"] == "video/mp4"


@pytest.mark.parametrize("interop", VERSIONS)
def test_what_a_cut_left_is_found_at_the_location_of_the_interim_response(
    deployment: Deployment, port: int, interop: int
) -> None:
    """R-18, R-46"""
    sent = PART_SIZE + 12_345
    with Connection(port) as connection:
        said = fields(interop, complete=True)
        connection.send_head("POST", "/files", {**said, "Content-Length": str(len(FILE))})
        path = path_of(interim(connection))
        connection.send(FILE[:sent])
        connection.wait_until_delivered()
        connection.half_close()
        connection.read_to_end()
    version = {"Upload-Draft-Interop-Version": str(interop)}
    found = ask(port, "HEAD", path, version)
    assert int(found["Upload-Offset"]) == sent
    rest = partial(interop, sent, complete=True)
    assert ask(port, "PATCH", path, rest, FILE[sent:]).status in (201, 204)
    assert deployment.read_object(path) == FILE


@pytest.mark.parametrize("interop", [None, 99])
def test_who_names_no_version_that_is_known_gets_one_response(
    port: int, interop: int | None
) -> None:
    """R-11"""
    with Connection(port) as connection:
        connection.request("POST", "/files", fields(interop, complete=True), b"hello")
        only = interim(connection)
    assert only.status == 201


@pytest.mark.parametrize("interop", [None, 5, 6])
def test_a_careful_client_creates_first_and_sends_afterwards(
    deployment: Deployment, port: int, interop: int | None
) -> None:
    """R-12, R-13, R-37, R-38: as tus-js-client does it."""
    begun = ask(port, "POST", "/files", fields(interop, complete=False, Upload_Length="70001"))
    assert begun.status == 201
    path = path_of(begun)
    data = FILE[:70_001]
    half = ask(port, "PATCH", path, partial(interop, 0, complete=False), data[:1000])
    assert (half["Upload-Offset"], half["Upload-Complete"]) == ("1000", "?0")
    whole = ask(port, "PATCH", path, partial(interop, 1000, complete=True), data[1000:])
    assert (whole["Upload-Offset"], whole["Upload-Complete"]) == ("70001", "?1")
    assert deployment.read_object(path) == data


def test_the_length_is_not_the_end_until_the_client_says_so(
    deployment: Deployment, port: int
) -> None:
    """R-39"""
    said = fields(9, complete=False, Upload_Length="5")
    path = path_of(ask(port, "POST", "/files", said))
    full = ask(port, "PATCH", path, partial(9, 0, complete=False), b"hello")
    assert (full["Upload-Offset"], full["Upload-Complete"]) == ("5", "?0")
    assert ask(port, "HEAD", path, {})["Upload-Complete"] == "?0"
    done = ask(port, "PATCH", path, partial(9, 5, complete=True))
    assert done["Upload-Complete"] == "?1"
    assert deployment.read_object(path) == b"hello"
    again = ask(port, "PATCH", path, partial(9, 5, complete=True))
    assert (again.status, again["Upload-Complete"]) == (204, "?1"), "R-43: the answer was lost"


def test_an_append_past_the_length_is_the_end_of_the_upload(port: int) -> None:
    """R-40"""
    said = fields(9, complete=False, Upload_Length="5")
    path = path_of(ask(port, "POST", "/files", said))
    refused = ask(port, "PATCH", path, partial(9, 0, complete=False), b"hello!")
    assert refused.status == 400
    assert ask(port, "HEAD", path, {}).status in (404, 410)


def test_one_protocol_goes_on_where_another_began(deployment: Deployment, port: int) -> None:
    tus = TusClient(port)
    path = tus.create(10)
    assert ask(port, "PATCH", path, partial(6, 0, complete=False), b"01234").status == 201
    assert tus.offset(path) == 5
    assert tus.patch(path, 5, b"56789").status == 204
    assert deployment.read_object(path) == b"0123456789"
    assert ask(port, "HEAD", path, {})["Upload-Complete"] == "?1"


def test_a_newcomer_takes_over_from_a_stalled_client(deployment: Deployment, port: int) -> None:
    """R-71"""

    def take_over() -> float:
        head = {**fields(6, complete=True), "Content-Length": "100"}
        with Connection(port) as connection:
            connection.send_head("POST", "/files", head)
            path = path_of(interim(connection))
            connection.send(b"x" * 40)
            connection.wait_until_delivered()
            began = time.monotonic()
            assert ask(port, "HEAD", path, {})["Upload-Offset"] == "40"
            took = time.monotonic() - began
        assert ask(port, "DELETE", path, {}).status == 204
        assert ask(port, "HEAD", path, {}).status == 404
        return took

    assert_takes_less(2, take_over)
