"""Several requests on one connection: rejected bodies, request smuggling and keep-alive."""

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

REJECTED = {
    "409": (409, patch_fields(7)),
    "413": (413, patch_fields(10)),
    "415": (415, {**patch_fields(10), "Content-Type": "text/plain"}),
    "404": (404, patch_fields(0)),
    "412": (412, {**patch_fields(10), "Tus-Resumable": "9.9.9"}),
    "400": (400, {**patch_fields(10), "Upload-Offset": "ten"}),
    "405": (405, patch_fields(10)),
}

rejected = pytest.mark.parametrize("status", REJECTED)

# The length of a chunked body is unknown before it is read, so it gets no early 413.
rejected_and_framed = pytest.mark.parametrize(
    ("status", "chunked"),
    [
        pytest.param(status, chunked, id=f"{status}-{'chunked' if chunked else 'length'}")
        for status in REJECTED
        for chunked in (False, True)
        if not (chunked and status == "413")
    ],
)


@pytest.fixture
def partial_upload(tus: TusClient) -> str:
    """An upload of 1,000 bytes, of which 10 are stored."""
    path = tus.create(1000)
    tus.append(path, 0, b"0123456789")
    return path


def rejected_request(status: str, partial_upload: str) -> tuple[str, str, dict[str, str], int]:
    """Return method, target, fields and expected status of a request that is rejected."""
    number, fields = REJECTED[status]
    method = "PUT" if status == "405" else "PATCH"
    return method, UNKNOWN if status == "404" else partial_upload, fields, number


@rejected_and_framed
def test_a_client_that_reads_after_sending_gets_the_error_response(
    status: str, chunked: bool, partial_upload: str, tus: TusClient
) -> None:
    """C-33, C-31, C-38: the body has ten MiB, of which the server reads the first."""
    method, target, fields, expected = rejected_request(status, partial_upload)
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
            "the connection is not closed, or has a second response"
        )
    assert tus.offset(partial_upload) == 10


@rejected
def test_a_client_that_reads_while_sending_gets_an_early_response(
    status: str, partial_upload: str, tus: TusClient
) -> None:
    """The response arrives within three seconds, before the client has sent the whole body."""
    method, target, fields, expected = rejected_request(status, partial_upload)
    body = some_bytes(LARGE)
    responded = threading.Event()
    sent = 0
    with Connection(tus.port) as connection:

        def send() -> None:
            nonlocal sent
            with suppress(ConnectionError):
                for start in range(0, LARGE, 32 * KIB):
                    if responded.is_set():
                        return
                    connection.send(body[start : start + 32 * KIB])
                    sent += 32 * KIB
                    time.sleep(0.01)

        connection.send_head(method, target, {**fields, "Content-Length": str(LARGE)})
        sender = threading.Thread(target=send)
        sender.start()
        response = connection.read_response()
        responded.set()
        sender.join()
        assert response.status == expected
        assert sent < LARGE
    assert tus.offset(partial_upload) == 10


@rejected_and_framed
def test_the_connection_stays_open_after_a_small_rejected_body(
    status: str, chunked: bool, partial_upload: str, tus: TusClient
) -> None:
    method, target, fields, expected = rejected_request(status, partial_upload)
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
        connection.request("HEAD", partial_upload, VERSION)
        assert connection.read_response()["Upload-Offset"] == "10"


def smuggled_request(victim: str) -> bytes:
    """Return a request that would delete an upload if a body were parsed as requests."""
    request = (
        f"DELETE {victim} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nContent-Length: 0\r\n\r\n"
    )
    return request.encode()


@rejected_and_framed
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["200KiB", "10MiB"])
def test_an_unread_body_is_never_parsed_as_requests(
    status: str, size: int, chunked: bool, partial_upload: str, tus: TusClient
) -> None:
    victim = tus.upload(b"precious")
    method, target, fields, expected = rejected_request(status, partial_upload)
    request = smuggled_request(victim)
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
        assert connection.read_to_end() == b"", "there is more than one response"
    assert tus.request("GET", victim).body == b"precious"


def test_bytes_after_the_content_length_are_the_next_request(
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


def test_pipelined_requests_are_answered_in_order(tus: TusClient) -> None:
    path = tus.create(PART_SIZE + 5)
    body = some_bytes(PART_SIZE + 5)
    with Connection(tus.port) as connection:
        patch = patch_fields(0, Content_Length=str(len(body)))
        requests = [
            connection.encode_head("HEAD", path, VERSION),
            connection.encode_head("PATCH", path, patch) + body,
            connection.encode_head("OPTIONS", "/files"),
            connection.encode_head("GET", path, {"Range": "bytes=1-3"}),
            connection.encode_head("DELETE", path, VERSION),
        ]
        threading.Thread(target=connection.send, args=[b"".join(requests)], daemon=True).start()
        connection.expect("HEAD", "PATCH", "OPTIONS", "GET", "DELETE")
        responses = [connection.read_response() for _ in requests]
    assert [response.status for response in responses] == [200, 204, 204, 206, 204]
    assert responses[3].body == body[1:4]


def test_one_connection_serves_all_requests_of_an_upload(tus: TusClient) -> None:
    """No bytes of a request are left for the next one: chunked or not, with or without a body."""
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


def test_a_chunked_post_with_method_override_and_expect_is_a_patch(
    deployment: Deployment, tus: TusClient
) -> None:
    """C-10: tus-java-client sends PATCH like this."""
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


@rejected
def test_error_responses_have_cors_fields(status: str, partial_upload: str, tus: TusClient) -> None:
    """Without them a browser reports a network error to the script, which would retry."""
    origin = {"Origin": "https://example.com"}
    method, target, fields, expected = rejected_request(status, partial_upload)
    response = tus.request(method, target, {**fields, **origin}, b"x" * 2000)
    assert response.status == expected
    assert response["Access-Control-Allow-Origin"] == "*"
    assert "Upload-Offset" in response["Access-Control-Expose-Headers"]


def test_an_empty_body_changes_nothing_with_any_framing(
    tus: TusClient, partial_upload: str
) -> None:
    """C-37: a PATCH without bytes succeeds."""
    with Connection(tus.port) as connection:
        connection.request("PATCH", partial_upload, patch_fields(10), b"")
        assert connection.read_response().status == 204
        connection.send_head("PATCH", partial_upload, patch_fields(10))
        assert connection.read_response().status == 204
        connection.send_head("PATCH", partial_upload, patch_fields(10, Transfer_Encoding="chunked"))
        connection.send_chunk(b"")
        assert connection.read_response().status == 204
    assert tus.offset(partial_upload) == 10


def test_the_content_type_is_case_insensitive(tus: TusClient, partial_upload: str) -> None:
    """C-32: media types are case-insensitive."""
    fields = {**patch_fields(10), "Content-Type": STREAM["Content-Type"].title()}
    assert tus.request("PATCH", partial_upload, fields, b"x").status == 204
