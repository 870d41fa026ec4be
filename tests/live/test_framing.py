"""Requests on one connection: refused bodies, smuggled requests, and connections that are kept."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from tests.harness.clients.http import Connection
from tests.harness.clients.tus import STREAM, VERSION, TusClient, patch_fields
from tests.harness.data import some_bytes
from tests.harness.servers.deployment import PART_SIZE, Deployment
from tus_wsgi.domain.model import KIB, MIB

pytestmark = pytest.mark.live

LARGE = 10 * MIB
SMALL = 200 * KIB

UNKNOWN = "/files/aaaaaaaaaaaaaaaaaaaaaa"

REFUSED = {
    "409": (409, patch_fields(7)),
    "413": (413, patch_fields(10)),
    "415": (415, {**patch_fields(10), "Content-Type": "text/plain"}),
    "404": (404, patch_fields(0)),
    "412": (412, {**patch_fields(10), "Tus-Resumable": "9.9.9"}),
    "400": (400, {**patch_fields(10), "Upload-Offset": "ten"}),
    "405": (405, patch_fields(10)),
}

refused = pytest.mark.parametrize("status", REFUSED)

# Nobody knows that a chunked body is too long before it is read, so there is no early 413 for it.
refused_and_framed = pytest.mark.parametrize(
    ("status", "chunked"),
    [
        pytest.param(status, chunked, id=f"{status}-{'chunked' if chunked else 'length'}")
        for status in REFUSED
        for chunked in (False, True)
        if not (chunked and status == "413")
    ],
)


@pytest.fixture
def begun(tus: TusClient) -> str:
    """An upload of 1,000 bytes of which 10 are there."""
    path = tus.create(1000)
    tus.append(path, 0, b"0123456789")
    return path


def refusable(status: str, begun: str) -> tuple[str, str, dict[str, str], int]:
    """A request that is refused with `status`: method, target, fields, status."""
    number, fields = REFUSED[status]
    method = "PUT" if status == "405" else "PATCH"
    return method, UNKNOWN if status == "404" else begun, fields, number


@refused_and_framed
def test_a_client_that_sends_everything_first_reads_why_it_was_refused(
    status: str, chunked: bool, begun: str, tus: TusClient
) -> None:
    """C-33, C-31, C-38: ten megabytes, of which the server reads the first."""
    method, target, fields, expected = refusable(status, begun)
    body = some_bytes(LARGE)
    with Connection(tus.port) as connection:
        if chunked:
            connection.send_head(method, target, {**fields, "Transfer-Encoding": "chunked"})
            with suppress(ConnectionError):
                for start in range(0, LARGE, MIB):
                    connection.send_chunk(body[start : start + MIB])
                connection.send_chunk(b"")
        else:
            connection.request(method, target, fields, body)
        response = connection.read_response()
        assert response.status == expected
        assert response["Tus-Resumable"] == "1.0.0"
        assert connection.read_to_end() == b"", (
            "the connection is closed, and nothing else was answered"
        )
    assert tus.offset(begun) == 10


@refused
def test_a_client_that_listens_while_it_sends_is_told_early(
    status: str, begun: str, tus: TusClient
) -> None:
    """The answer comes before the tenth megabyte, and within the time for discarding."""
    method, target, fields, expected = refusable(status, begun)
    body = some_bytes(LARGE)
    answered = threading.Event()
    sent = 0
    with Connection(tus.port) as connection:

        def send() -> None:
            nonlocal sent
            with suppress(ConnectionError):
                for start in range(0, LARGE, 32 * KIB):
                    if answered.is_set():
                        return
                    connection.send(body[start : start + 32 * KIB])
                    sent += 32 * KIB
                    time.sleep(0.01)

        began = time.monotonic()
        connection.send_head(method, target, {**fields, "Content-Length": str(LARGE)})
        sender = threading.Thread(target=send)
        sender.start()
        response = connection.read_response()
        answered.set()
        sender.join()
        assert response.status == expected
        assert time.monotonic() - began < 3
        assert sent < LARGE
    assert tus.offset(begun) == 10


@refused_and_framed
def test_after_a_small_refused_body_the_connection_is_as_good_as_ever(
    status: str, chunked: bool, begun: str, tus: TusClient
) -> None:
    method, target, fields, expected = refusable(status, begun)
    body = some_bytes(SMALL)
    with Connection(tus.port) as connection:
        for _ in range(3):
            if chunked:
                connection.send_head(method, target, {**fields, "Transfer-Encoding": "chunked"})
                connection.send_chunk(body)
                connection.send_chunk(b"")
            else:
                connection.request(method, target, fields, body)
            assert connection.read_response().status == expected
        connection.request("HEAD", begun, VERSION)
        assert connection.read_response()["Upload-Offset"] == "10"


def smuggled(victim: str) -> bytes:
    """Bodies that would remove an upload if they were taken for requests."""
    request = (
        f"DELETE {victim} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nContent-Length: 0\r\n\r\n"
    )
    return request.encode()


@refused_and_framed
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["200KiB", "10MiB"])
def test_an_unread_body_is_never_taken_for_requests(
    status: str, size: int, chunked: bool, begun: str, tus: TusClient
) -> None:
    victim = tus.upload(b"precious")
    method, target, fields, expected = refusable(status, begun)
    request = smuggled(victim)
    body = request * (size // len(request))
    with Connection(tus.port) as connection:
        if chunked:
            connection.send_head(method, target, {**fields, "Transfer-Encoding": "chunked"})
            with suppress(ConnectionError):
                connection.send_chunk(body)
                connection.send_chunk(b"")
        else:
            connection.request(method, target, fields, body)
        assert connection.read_response().status == expected
        with suppress(OSError):  # the server may have closed it
            connection.half_close()
        assert connection.read_to_end() == b"", "one request has one response"
    assert tus.request("GET", victim).body == b"precious"


def test_more_than_was_announced_is_the_next_request_and_no_data(
    deployment: Deployment, tus: TusClient
) -> None:
    path = tus.create(20)
    with Connection(tus.port) as connection:
        head = connection.encode_head("PATCH", path, patch_fields(0, Content_Length="10"))
        again = connection.encode_head("PATCH", path, patch_fields(10, Content_Length="10"))
        connection.send(head + b"0123456789" + again + b"abcdefghij")
        assert connection.read_response()["Upload-Offset"] == "10"
        assert connection.read_response()["Upload-Offset"] == "20"
    assert deployment.read_object(path) == b"0123456789abcdefghij"


def test_pipelined_requests_are_answered_in_their_order(tus: TusClient) -> None:
    path = tus.create(PART_SIZE + 5)
    body = some_bytes(PART_SIZE + 5)
    with Connection(tus.port) as connection:
        patch = patch_fields(0, Content_Length=str(len(body)))
        asked = [
            connection.encode_head("HEAD", path, VERSION),
            connection.encode_head("PATCH", path, patch) + body,
            connection.encode_head("OPTIONS", "/files"),
            connection.encode_head("GET", path, {"Range": "bytes=1-3"}),
            connection.encode_head("DELETE", path, VERSION),
        ]
        threading.Thread(target=connection.send, args=[b"".join(asked)], daemon=True).start()
        connection.expect("HEAD", "PATCH", "OPTIONS", "GET", "DELETE")
        responses = [connection.read_response() for _ in asked]
    assert [response.status for response in responses] == [200, 204, 204, 206, 204]
    assert responses[3].body == body[1:4]


def test_one_connection_carries_an_upload_from_its_creation_to_its_removal(tus: TusClient) -> None:
    """Chunked or not, with a body or without: nothing of one request is left for the next."""
    body = some_bytes(2 * PART_SIZE)
    half = PART_SIZE + 1
    with Connection(tus.port) as connection:
        connection.request("OPTIONS", "/files")
        assert connection.read_response().status == 204
        fields = {**VERSION, "Upload-Length": str(len(body)), "Content-Length": "0"}
        connection.request("POST", "/files", fields)
        created = connection.read_response()
        path = urlsplit(created["Location"]).path
        connection.request("PATCH", path, patch_fields(0), body[:100])
        assert connection.read_response()["Upload-Offset"] == "100"
        connection.send_head("PATCH", path, patch_fields(100, Transfer_Encoding="chunked"))
        for start in range(100, half, 70_000):
            connection.send_chunk(body[start : min(half, start + 70_000)])
        connection.send_chunk(b"")
        assert connection.read_response()["Upload-Offset"] == str(half)
        connection.request("PATCH", path, patch_fields(5), b"late")
        assert connection.read_response().status == 409
        connection.request("HEAD", path, VERSION)
        assert connection.read_response()["Upload-Offset"] == str(half)
        connection.request("PATCH", path, patch_fields(half), body[half:])
        assert connection.read_response().status == 204
        connection.request("GET", path)
        assert connection.read_response().body == body
        connection.request("DELETE", path, VERSION)
        assert connection.read_response().status == 204
        connection.request("HEAD", path, VERSION)
        assert connection.read_response().status == 404


def test_expect_100_continue_is_answered_and_the_body_arrives(
    deployment: Deployment, tus: TusClient
) -> None:
    path = tus.create(5)
    with Connection(tus.port) as connection:
        fields = patch_fields(0, Content_Length="5", Expect="100-continue")
        connection.send_head("PATCH", path, fields)
        assert connection.read_line().startswith(b"HTTP/1.1 100")
        assert connection.read_line() == b""
        connection.send(b"hello")
        assert connection.read_response().status == 204
    assert deployment.read_object(path) == b"hello"


def test_the_client_of_java_sends_patch_as_a_chunked_post_that_expects(
    deployment: Deployment, tus: TusClient
) -> None:
    """C-10, as tus-java-client does it."""
    path = tus.create(5)
    with Connection(tus.port) as connection:
        connection.send_head(
            "POST",
            path,
            {
                **patch_fields(0, Transfer_Encoding="chunked", Expect="100-continue"),
                "X-HTTP-Method-Override": "PATCH",
            },
        )
        connection.send_chunk(b"hello")
        connection.send_chunk(b"")
        assert connection.read_response().status == 204
    assert deployment.read_object(path) == b"hello"


@refused
def test_pages_of_other_origins_can_read_every_error(
    status: str, begun: str, tus: TusClient
) -> None:
    """What a script may not read is a network error to it, and it would try again."""
    origin = {"Origin": "https://example.com"}
    method, target, fields, expected = refusable(status, begun)
    response = tus.request(method, target, {**fields, **origin}, b"x" * 2000)
    assert response.status == expected
    assert response["Access-Control-Allow-Origin"] == "*"
    assert "Upload-Offset" in response["Access-Control-Expose-Headers"]


def test_a_zero_byte_body_with_every_framing_is_a_no_op(tus: TusClient, begun: str) -> None:
    """C-37"""
    with Connection(tus.port) as connection:
        connection.request("PATCH", begun, patch_fields(10), b"")
        assert connection.read_response().status == 204
        connection.send_head("PATCH", begun, patch_fields(10))
        assert connection.read_response().status == 204
        connection.send_head("PATCH", begun, patch_fields(10, Transfer_Encoding="chunked"))
        connection.send_chunk(b"")
        assert connection.read_response().status == 204
    assert tus.offset(begun) == 10


def test_the_stream_type_may_be_written_in_any_case(tus: TusClient, begun: str) -> None:
    """C-32"""
    fields = {**patch_fields(10), "Content-Type": STREAM["Content-Type"].title()}
    assert tus.request("PATCH", begun, fields, b"x").status == 204
