"""Resumable uploads for HTTP with a real server: interim responses, cuts, and both protocols."""

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


def upload_fields(interop: int | None, *, complete: bool, **extra: str) -> dict[str, str]:
    named = {name.replace("_", "-"): value for name, value in extra.items()}
    if interop is not None:
        named["Upload-Draft-Interop-Version"] = str(interop)
    if interop == 3:
        return {**named, "Upload-Incomplete": "?0" if complete else "?1"}
    return {**named, "Upload-Complete": "?1" if complete else "?0"}


def append_fields(interop: int | None, offset: int, *, complete: bool) -> dict[str, str]:
    extra = {"Content_Type": "application/partial-upload", "Upload_Offset": str(offset)}
    return upload_fields(interop, complete=complete, **extra)


def read_interim(connection: Connection) -> Response:
    """Read the next response, which may be an interim one."""
    return connection.read_any_response("POST")


def path_of(response: Response) -> str:
    return urlsplit(response["Location"]).path


def request(
    port: int, method: str, path: str, fields: dict[str, str], body: bytes = b""
) -> Response:
    with Connection(port) as connection:
        connection.request(
            method, path, fields, body if body or method in ("POST", "PATCH") else None
        )
        return connection.read_response()


@pytest.fixture(scope="module")
def port(deployment: Deployment) -> int:
    return deployment.start(workers=2).port


@pytest.mark.parametrize("interop", VERSIONS)
def test_the_first_interim_response_contains_the_location(
    deployment: Deployment, port: int, interop: int
) -> None:
    """R-10, R-15: the whole file is in one request."""
    with Connection(port) as connection:
        fields = upload_fields(interop, complete=True, Content_Type="video/mp4")
        connection.send_head("POST", "/files", {**fields, "Content-Length": str(len(FILE))})
        first = read_interim(connection)
        assert first.status == 104
        assert first["Upload-Draft-Interop-Version"] == str(interop)
        connection.send(FILE)
        final = connection.read_response()
    assert (final.status, path_of(final)) == (201, path_of(first))
    assert int(final["Upload-Offset"]) == len(FILE)
    assert deployment.read_object(path_of(final)) == FILE
    assert deployment.head_object(path_of(final))["ContentType"] == "video/mp4"


@pytest.mark.parametrize("interop", VERSIONS)
def test_a_cut_upload_resumes_at_the_location_of_the_interim_response(
    deployment: Deployment, port: int, interop: int
) -> None:
    """R-18, R-46: HEAD returns the number of bytes that arrived before the cut."""
    sent = PART_SIZE + 12_345
    with Connection(port) as connection:
        fields = upload_fields(interop, complete=True)
        connection.send_head("POST", "/files", {**fields, "Content-Length": str(len(FILE))})
        path = path_of(read_interim(connection))
        connection.send(FILE[:sent])
        connection.wait_until_delivered()
        connection.half_close()
        connection.read_to_end()
    version = {"Upload-Draft-Interop-Version": str(interop)}
    found = request(port, "HEAD", path, version)
    assert int(found["Upload-Offset"]) == sent
    fields = append_fields(interop, sent, complete=True)
    assert request(port, "PATCH", path, fields, FILE[sent:]).status in (201, 204)
    assert deployment.read_object(path) == FILE


@pytest.mark.parametrize("interop", [None, 99])
def test_requests_without_a_known_version_get_no_interim_response(
    port: int, interop: int | None
) -> None:
    """R-11: neither without a version nor with an unknown one."""
    with Connection(port) as connection:
        connection.request("POST", "/files", upload_fields(interop, complete=True), b"hello")
        response = read_interim(connection)
    assert response.status == 201


@pytest.mark.parametrize("interop", [None, 5, 6])
def test_an_upload_is_created_first_and_appended_to_afterwards(
    deployment: Deployment, port: int, interop: int | None
) -> None:
    """R-12, R-13, R-37, R-38: tus-js-client uploads like this."""
    created = request(
        port, "POST", "/files", upload_fields(interop, complete=False, Upload_Length="70001")
    )
    assert created.status == 201
    path = path_of(created)
    data = FILE[:70_001]
    half = request(port, "PATCH", path, append_fields(interop, 0, complete=False), data[:1000])
    assert (half["Upload-Offset"], half["Upload-Complete"]) == ("1000", "?0")
    complete = request(
        port, "PATCH", path, append_fields(interop, 1000, complete=True), data[1000:]
    )
    assert (complete["Upload-Offset"], complete["Upload-Complete"]) == ("70001", "?1")
    assert deployment.read_object(path) == data


def test_an_upload_with_all_bytes_is_incomplete_until_the_client_completes_it(
    deployment: Deployment, port: int
) -> None:
    """R-39, and R-43: completing a second time returns the same response."""
    fields = upload_fields(9, complete=False, Upload_Length="5")
    path = path_of(request(port, "POST", "/files", fields))
    full = request(port, "PATCH", path, append_fields(9, 0, complete=False), b"hello")
    assert (full["Upload-Offset"], full["Upload-Complete"]) == ("5", "?0")
    assert request(port, "HEAD", path, {})["Upload-Complete"] == "?0"
    done = request(port, "PATCH", path, append_fields(9, 5, complete=True))
    assert done["Upload-Complete"] == "?1"
    assert deployment.read_object(path) == b"hello"
    again = request(port, "PATCH", path, append_fields(9, 5, complete=True))
    assert (again.status, again["Upload-Complete"]) == (204, "?1"), "R-43: the response was lost"


def test_an_append_beyond_the_length_ends_the_upload(port: int) -> None:
    """R-40: the request is 400, and the upload no longer exists."""
    fields = upload_fields(9, complete=False, Upload_Length="5")
    path = path_of(request(port, "POST", "/files", fields))
    response = request(port, "PATCH", path, append_fields(9, 0, complete=False), b"hello!")
    assert response.status == 400
    assert request(port, "HEAD", path, {}).status in (404, 410)


def test_an_upload_can_continue_in_the_other_protocol(deployment: Deployment, port: int) -> None:
    tus = TusClient(port)
    path = tus.create(10)
    assert request(port, "PATCH", path, append_fields(6, 0, complete=False), b"01234").status == 201
    assert tus.offset(path) == 5
    assert tus.patch(path, 5, b"56789").status == 204
    assert deployment.read_object(path) == b"0123456789"
    assert request(port, "HEAD", path, {})["Upload-Complete"] == "?1"


def test_a_head_supersedes_a_stalled_client(deployment: Deployment, port: int) -> None:
    """R-71: within two seconds, and the received bytes are stored."""

    def take_over() -> float:
        head = {**upload_fields(6, complete=True), "Content-Length": "100"}
        with Connection(port) as connection:
            connection.send_head("POST", "/files", head)
            path = path_of(read_interim(connection))
            connection.send(b"x" * 40)
            connection.wait_until_delivered()
            began = time.monotonic()
            assert request(port, "HEAD", path, {})["Upload-Offset"] == "40"
            took = time.monotonic() - began
        assert request(port, "DELETE", path, {}).status == 204
        assert request(port, "HEAD", path, {}).status == 404
        return took

    assert_takes_less(2, take_over)
