"""Responses that are sent before the request body has ended."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from .rules import PRACTICE, needs, rule
from .server import KIB, MIB, Server, Upload, some_bytes
from .wire import Fields, NoResponse, Response

pytestmark = needs("creation")

LONG_BODY = 10 * MIB


def _case(*, offset: int = 0, fields: dict[str, str] | None = None) -> Callable[[Upload], Fields]:
    """Return a function that returns the fields of a PATCH of an upload."""
    return lambda upload: upload.patch_fields(offset, fields or {})


CASES: dict[str, Callable[[Upload], Fields]] = {
    "409": _case(offset=7),
    "412": _case(fields={"Tus-Resumable": "2.0.0"}),
    "413": _case(),
    "415": _case(fields={"Content-Type": "text/plain"}),
    "400": _case(fields={"Upload-Offset": "x"}),
}
"""The fields of a PATCH that is refused, by the status of the response."""

EXTRA_STATUSES = {"413": {413, 400}}

every_case = pytest.mark.parametrize("case", CASES)


def statuses(case: str) -> set[int]:
    return EXTRA_STATUSES.get(case, {int(case)})


def send_all(upload: Upload, case: str, body: bytes) -> Response:
    """Send the whole body before reading the response."""
    fields = upload.server.fields(CASES[case](upload), body=body)
    with upload.connect() as connection:
        return connection.request("PATCH", upload.target, fields, body)


@rule("EARLY", level=PRACTICE)
@every_case
def test_a_client_that_reads_while_it_sends_gets_the_response(server: Server, case: str) -> None:
    upload = server.create(1000)
    body = some_bytes(LONG_BODY)
    with upload.unchanged(), upload.connect() as connection:
        fields = server.fields(CASES[case](upload), body=body)
        connection.begin("PATCH", upload.target, fields)
        connection.send_until_response(body)
        assert connection.response("PATCH").status in statuses(case)


@rule("EARLY", level=PRACTICE)
@every_case
def test_a_client_that_sends_the_whole_body_first_gets_the_response(
    server: Server, case: str
) -> None:
    upload = server.create(1000)
    with upload.unchanged():
        assert send_all(upload, case, some_bytes(500 * KIB)).status in statuses(case)


@rule("EARLY", level=PRACTICE)
@every_case
def test_a_long_body_of_a_refused_request_changes_nothing(server: Server, case: str) -> None:
    """The response may be lost in the network, but the upload must not change."""
    upload = server.create(1000)
    with upload.unchanged(), suppress(NoResponse, ConnectionResetError):
        assert send_all(upload, case, some_bytes(LONG_BODY)).status in statuses(case)


@rule("EARLY", "FRAMING")
@every_case
@pytest.mark.parametrize("padding", [0, 100_000, 2 * MIB])
def test_the_rest_of_a_body_is_not_parsed_as_a_request(
    server: Server, case: str, padding: int
) -> None:
    """RFC 9112, section 6.3: otherwise the body of one user becomes the request of another.

    The response does not matter here, nor whether the connection is lost.
    """
    upload, victim = server.create(3), server.create(5)
    inner = smuggled(victim)
    body = some_bytes(padding) + inner + some_bytes(1000)
    with victim.unchanged(), upload.connect() as connection:
        fields = server.fields(CASES[case](upload), body=body)
        try:
            connection.begin("PATCH", upload.target, fields)
            connection.send(body)
            connection.response("PATCH")
            connection.closes_within(0.5)
        except (OSError, AssertionError):
            pass


@rule("EARLY", "FRAMING")
@every_case
def test_the_rest_of_a_chunked_body_is_not_parsed_as_a_request(server: Server, case: str) -> None:
    upload, victim = server.create(3), server.create(5)
    inner = smuggled(victim)
    with victim.unchanged(), upload.connect() as connection:
        fields = [("Transfer-Encoding", "chunked"), *CASES[case](upload)]
        try:
            connection.begin("PATCH", upload.target, server.fields(fields))
            connection.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner))
            connection.response("PATCH")
            connection.closes_within(0.5)
        except (OSError, AssertionError):
            pass


def smuggled(victim: Upload) -> bytes:
    """Return the bytes of a request for another upload, to send as a body."""
    lines = [
        f"PATCH {victim.target} HTTP/1.1",
        "Host: x",
        "Tus-Resumable: 1.0.0",
        "Upload-Offset: 0",
        "Content-Type: application/offset+octet-stream",
        "Content-Length: 5",
    ]
    return "\r\n".join([*lines, "", "hello"]).encode()


@rule("EARLY", level=PRACTICE)
@every_case
def test_the_connection_is_reusable_or_closed(server: Server, case: str) -> None:
    upload = server.create(3)
    body = b"hello world"
    with upload.connect() as connection:
        fields = server.fields(CASES[case](upload), body=body)
        first = connection.request("PATCH", upload.target, fields, body)
        assert first.status in statuses(case)
        try:
            connection.begin("HEAD", upload.target, server.fields())
            again = connection.response("HEAD")
        except (NoResponse, OSError):
            return
    assert again["Upload-Offset"] == "0"


@rule("EARLY", level=PRACTICE)
def test_a_refusal_does_not_wait_for_the_body(server: Server) -> None:
    """The client sends only the head of the request."""
    upload = server.create(1000)
    with upload.connect() as connection:
        fields = {"Content-Length": str(LONG_BODY)}
        connection.begin(
            "PATCH", upload.target, server.fields(upload.patch_fields(7, dict(fields)))
        )
        assert connection.response("PATCH").status == 409
