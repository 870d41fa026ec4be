"""IETF resumable uploads: offset retrieval, appends, cancellation and limits."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from urllib.parse import urljoin

import pytest

from .rufh import (
    Client,
    Dialect,
    assert_success,
    every_version,
    for_versions,
    limits_in,
    with_limits,
)
from .rules import PRACTICE, SHOULD, rule
from .selection import MAX_TEST_SIZE
from .server import KIB, Server, Upload, assert_refused, some_bytes, target_of
from .test_interruption import MAX_LOSS
from .wire import NoResponse

SENT = 200 * KIB
"""Bytes of an append that are sent before its connection is lost."""


@pytest.fixture
def client(server: Server, dialect: Dialect) -> Client:
    return Client(server, dialect)


@rule("R-30", "R-31")
@every_version
def test_head_returns_the_offset_and_completeness(client: Client) -> None:
    upload = client.create(b"he")
    client.assert_incomplete_at(upload, 2)
    assert_success(client.append(upload, b"llo", 2, complete=True))
    client.assert_content(upload, b"hello")


@rule("R-30", level=SHOULD)
@every_version
def test_head_must_not_be_cached(client: Client) -> None:
    assert "no-store" in client.head(client.create())["Cache-Control"]


@rule("R-30")
@for_versions(8, 9)
def test_head_returns_the_limits(client: Client) -> None:
    assert "Upload-Limit" in client.head(client.create())


@rule("R-30", "R-31")
@for_versions(9)
def test_get_returns_the_offset_and_completeness(client: Client) -> None:
    """Since version 9, also for an upload without content to download."""
    upload = client.create(b"he")
    response = assert_success(client.server.send("GET", upload.url, client.fields()))
    assert response["Upload-Offset"] == "2"
    assert client.dialect.is_complete(response) is False
    assert "Upload-Limit" in response
    assert_success(client.append(upload, b"llo", 2, complete=True))
    response = assert_success(client.server.send("GET", upload.url, client.fields()))
    assert response["Upload-Offset"] == "5"
    assert client.dialect.is_complete(response) is True


@rule("R-31")
@with_limits
def test_head_returns_the_length(client: Client) -> None:
    upload = client.create(b"he", {"Upload-Length": "5"})
    assert client.head(upload)["Upload-Length"] == "5"


@rule("R-31", level=PRACTICE)
@every_version
def test_reaching_the_length_does_not_complete_the_upload(client: Client) -> None:
    """Unlike in tus, only the client declares an upload complete."""
    upload = client.create(b"hello", {"Upload-Length": "5"})
    client.assert_incomplete_at(upload, 5)
    assert_success(client.append(upload, b"", 5, complete=True))
    client.assert_content(upload, b"hello")


@rule("R-33", "R-51")
@every_version
def test_an_unknown_upload_is_404(client: Client) -> None:
    url = client.server.unknown_url()
    allowed = {404} if client.dialect.version <= 6 else {404, 410}
    for method in ("HEAD", "DELETE"):
        response = client.server.send(method, url, client.fields())
        assert response.status in allowed
        assert "Upload-Offset" not in response


@rule("R-33b")
@pytest.mark.parametrize("method", ["HEAD", "DELETE"])
@for_versions(3, 5, 6)
def test_head_and_delete_refuse_the_fields_of_an_append(client: Client, method: str) -> None:
    upload = client.create(b"he")
    for field in (("Upload-Offset", "2"), client.dialect.complete_field(value=False)):
        response = client.server.send(method, upload.url, client.fields([field]))
        assert response.status == 400
    client.assert_incomplete_at(upload, 2)


@rule("R-35")
@pytest.mark.parametrize("type", ["text/plain", "application/offset+octet-stream", None])
@with_limits
def test_an_append_of_another_content_type_is_refused(client: Client, type: str | None) -> None:
    upload = client.create(b"he")
    response = client.append(upload, b"l", 2, {"Content-Type": type}, complete=False)
    assert response.status in {400, 415}
    client.assert_incomplete_at(upload, 2)


@rule("R-35")
@pytest.mark.parametrize("type", ["text/plain", None])
@for_versions(3, 5)
def test_early_drafts_accept_any_content_type(client: Client, type: str | None) -> None:
    upload = client.create(b"he")
    assert_success(client.append(upload, b"l", 2, {"Content-Type": type}, complete=False))
    client.assert_incomplete_at(upload, 3)


@rule("R-36", "R-04")
@pytest.mark.parametrize("offset", [0, 1, 3, 99])
@every_version
def test_another_offset_is_409(client: Client, offset: int) -> None:
    upload = client.create(b"he")
    response = client.append(upload, b"x", offset, complete=False)
    assert response.status == 409
    assert response["Upload-Offset"] == "2"
    client.assert_incomplete_at(upload, 2)


@rule("R-36")
@for_versions(8, 9)
def test_the_409_returns_upload_complete(client: Client) -> None:
    upload = client.create(b"he")
    assert client.append(upload, b"x", 1, complete=True).get("Upload-Complete") == "?0"


@rule("R-36", level=PRACTICE)
@with_limits
def test_the_problem_details_of_a_409_contain_both_offsets(client: Client) -> None:
    upload = client.create(b"he")
    response = client.append(upload, b"x", 1, complete=False)
    if (response.get("Content-Type") or "").startswith("application/problem+json"):
        assert re.search(rb'"expected-offset": *2', response.body)
        assert re.search(rb'"provided-offset": *1', response.body)


@rule("R-37")
@pytest.mark.parametrize("framing", ["length", "chunked"])
@every_version
def test_an_append_of_some_bytes_leaves_the_upload_incomplete(client: Client, framing: str) -> None:
    upload = client.create(b"he")
    chunks = [b"l", b"l"] if framing == "chunked" else None
    response = assert_success(client.append(upload, b"ll", 2, complete=False, chunks=chunks))
    assert client.dialect.is_complete(response) is not True
    client.assert_incomplete_at(upload, 4)


@rule("R-38")
@pytest.mark.parametrize("framing", ["length", "chunked"])
@every_version
def test_an_append_of_the_remaining_bytes_completes_the_upload(
    client: Client, framing: str
) -> None:
    upload = client.create(b"he")
    chunks = [b"l", b"lo"] if framing == "chunked" else None
    response = assert_success(client.append(upload, b"llo", 2, complete=True, chunks=chunks))
    assert client.dialect.is_complete(response) is not False
    client.assert_content(upload, b"hello")


@rule("R-39", level=PRACTICE)
@every_version
def test_an_empty_append_completes_the_upload(client: Client) -> None:
    upload = client.create(b"hello")
    assert_success(client.append(upload, b"", 5, complete=True))
    client.assert_content(upload, b"hello")


@rule("R-40")
@pytest.mark.parametrize("framing", ["length", "chunked"])
@with_limits
def test_an_append_beyond_the_length_is_refused(client: Client, framing: str) -> None:
    upload = client.create(b"he", {"Upload-Length": "5"})
    chunks = [b"llo", b"!"] if framing == "chunked" else None
    assert_refused(client.append(upload, b"llo!", 2, complete=False, chunks=chunks))
    response = client.server.send("HEAD", upload.url, client.fields())
    assert response.status in {404, 410} or int(response["Upload-Offset"]) <= 5


@rule("R-40")
@for_versions(8, 9)
def test_an_append_beyond_the_length_removes_the_upload(client: Client) -> None:
    upload = client.create(b"he", {"Upload-Length": "5"})
    assert_refused(client.append(upload, b"llo!", 2, complete=False))
    assert client.server.send("HEAD", upload.url, client.fields()).status in {404, 410}


@rule("R-43", "R-04")
@every_version
def test_a_complete_upload_refuses_data(client: Client) -> None:
    upload = client.create(b"he")
    assert_success(client.append(upload, b"llo", 2, complete=True))
    assert_refused(client.append(upload, b"!", 5, complete=True))
    if client.server.access.can_read:
        assert upload.read() == b"hello"


@rule("R-43", level=PRACTICE)
@every_version
def test_a_client_may_repeat_the_last_append(client: Client) -> None:
    upload = client.create(b"he")
    first = client.append(upload, b"llo", 2, complete=True)
    again = client.append(upload, b"", 5, complete=True)
    assert again.status == first.status or 400 <= again.status < 500
    client.assert_content(upload, b"hello")


@rule("R-46", "R-04", level=SHOULD)
@pytest.mark.parametrize("interruption", ["close", "reset", "silence"])
@every_version
def test_an_interrupted_append_can_be_resumed(client: Client, interruption: str) -> None:
    content = some_bytes(300 * KIB)
    upload = client.create()
    with upload.connect() as connection:
        length = {"Content-Length": str(len(content))}
        fields = client.append_fields(0, dict(length), complete=True)
        connection.begin("PATCH", target_of(upload.url), client.server.fields(fields))
        connection.send(content[:SENT])
        connection.wait_until_delivered()
        if interruption == "reset":
            connection.reset()
        elif interruption == "close":
            connection.close()
        began = time.monotonic()
        while (offset := client.offset(upload)) < SENT - MAX_LOSS and time.monotonic() < began + 5:
            time.sleep(0.1)
    assert SENT - MAX_LOSS <= offset <= SENT
    client.assert_incomplete_at(upload, offset)
    assert_success(client.append(upload, content[offset:], offset, complete=True))
    client.assert_content(upload, content)


@rule("R-34", level=PRACTICE)
@every_version
def test_the_version_decides_whether_an_append_without_completeness_completes(
    client: Client,
) -> None:
    """Version 3 completes the upload, versions 5 and 6 do not, and version 8 or later refuses."""
    upload = client.create(b"he")
    omitted = (client.dialect.complete_field(value=True)[0], None)
    response = client.append(upload, b"llo", 2, [omitted], complete=True)
    if client.dialect.version >= 8:
        assert_refused(response)
        client.assert_incomplete_at(upload, 2)
    elif client.dialect.version == 3:
        client.assert_content(upload, b"hello")
    else:
        client.assert_incomplete_at(upload, 5)


@rule("R-50", level=SHOULD)
@every_version
def test_an_upload_can_be_cancelled(client: Client) -> None:
    upload = client.create(b"he")
    assert_success(client.delete(upload))
    for method in ("HEAD", "DELETE"):
        assert client.server.send(method, upload.url, client.fields()).status in {404, 410}
    assert client.append(upload, b"l", 2, complete=False).status in {404, 410}


@rule("R-44", level=SHOULD)
@with_limits
def test_append_sizes_within_the_limits_are_accepted(client: Client) -> None:
    """Without append limits, only the limit of the upload applies."""
    limits = client.limits()
    minimum, maximum = limits.get("min-append-size", 0), limits.get("max-append-size")
    upload = client.create()
    for size in (minimum, minimum + 1):
        assert_success(client.append(upload, bytes(size), client.offset(upload), complete=False))
    offset = client.offset(upload)
    beyond = [minimum - 1] if minimum else []
    if maximum and maximum < MAX_TEST_SIZE:
        beyond.append(maximum + 1)
    for size in beyond:
        response = client.append(upload, bytes(size), offset, complete=False)
        assert_refused(response)
        assert "Upload-Limit" in response
        client.assert_incomplete_at(upload, offset)


@rule("R-60")
@with_limits
def test_options_returns_the_limits(client: Client) -> None:
    assert {"min-size", "max-size"} & set(client.limits())


@rule("R-60", level=PRACTICE, needs=("creation", "interop:9"))
def test_options_without_a_version_returns_the_limits(server: Server) -> None:
    """Clients of the final standard will send no version, and a tus client may send OPTIONS."""
    response = server.options()
    assert {"min-size", "max-size"} & set(limits_in(response))
    assert "Tus-Version" in response


@rule("R-61", level=SHOULD)
@with_limits
def test_limits_of_the_whole_server_are_those_of_uploads(client: Client) -> None:
    """OPTIONS * has limits only "if the same limits apply everywhere"."""
    with client.server.connect() as connection:
        response = connection.request("OPTIONS", "*", client.server.fields(client.fields()))
    assert response.status < 500
    limits = limits_in(response)
    assert limits in ({}, client.limits())


@rule("R-70")
@every_version
def test_bytes_of_two_writers_are_never_mixed(client: Client) -> None:
    size = 200 * KIB
    first_content, second_content = some_bytes(size, seed=1), some_bytes(size, seed=2)
    upload = client.create()
    with upload.connect() as first:
        length = {"Content-Length": str(size)}
        fields = client.append_fields(0, dict(length), complete=False)
        first.begin("PATCH", target_of(upload.url), client.server.fields(fields))
        first.send(first_content[: size // 2])
        first.wait_until_delivered()
        statuses = [client.append(upload, second_content, 0, complete=False).status]
        try:
            first.send(first_content[size // 2 :])
            statuses.append(first.response("PATCH").status)
        except (NoResponse, OSError):
            pass
    assert sum(200 <= status < 300 for status in statuses) <= 1
    offset = client.offset(upload)
    assert_success(client.append(upload, b"end", offset, complete=True))
    if client.server.access.can_read:
        content = upload.read()
        assert content[offset:] == b"end"
        assert content[:offset] in {first_content[:offset], second_content[:offset]}


@rule("R-71", level=SHOULD)
@every_version
def test_a_new_request_takes_over_within_9_seconds(
    client: Client, measure: Callable[[str, str], None]
) -> None:
    content = some_bytes(200 * KIB)
    upload = client.create()
    with upload.connect() as silent:
        length = {"Content-Length": str(len(content))}
        fields = client.append_fields(0, dict(length), complete=True)
        silent.begin("PATCH", target_of(upload.url), client.server.fields(fields))
        silent.send(content[:1000])
        silent.wait_until_delivered()
        began = time.monotonic()
        client.resume(upload, content)
        seconds = time.monotonic() - began
    measure(f"time until takeover in version {client.dialect.version}", f"{seconds:.2f} s")
    assert seconds < 9
    client.assert_content(upload, content)


@rule("R-12", level=PRACTICE, needs=("interop:3", "interop:6", "interop:9"))
def test_requests_of_one_upload_may_use_different_versions(server: Server) -> None:
    upload = Client(server, Dialect(6)).create(b"he")
    Client(server, Dialect(9)).assert_incomplete_at(upload, 2)
    assert_success(Client(server, Dialect(3)).append(upload, b"l", 2, complete=False))
    assert_success(Client(server, Dialect(9)).append(upload, b"lo", 3, complete=True))
    Client(server, Dialect(6)).assert_content(upload, b"hello")


@rule("R-12", level=PRACTICE, needs=("interop:6", "creation"))
def test_a_tus_upload_can_be_resumed_with_the_draft(server: Server) -> None:
    upload = server.create(5)
    upload.append(b"he")
    client = Client(server, Dialect(6))
    assert client.offset(upload) == 2
    assert_success(client.append(upload, b"llo", 2, complete=True))
    upload.assert_content(b"hello")


@rule("R-15", level=PRACTICE)
@every_version
def test_a_relative_location_is_relative_to_the_request(client: Client) -> None:
    location = client.post(b"", complete=False)["Location"]
    upload = Upload(client.server, urljoin(client.server.url, location))
    client.assert_incomplete_at(upload, 0)
