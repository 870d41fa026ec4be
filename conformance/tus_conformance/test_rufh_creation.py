"""IETF resumable uploads: creation and header fields."""

from __future__ import annotations

import time

import pytest

from .rufh import VERSION, Client, Dialect, assert_success, every_version, for_versions, with_limits
from .rules import PRACTICE, SHOULD, rule
from .server import KIB, MIB, Server, Upload, assert_refused, some_bytes
from .test_interruption import MAX_LOSS
from .wire import Connection

SENT = 200 * KIB
"""Bytes of a creation that are sent before its connection is lost."""


@pytest.fixture
def client(server: Server, dialect: Dialect) -> Client:
    return Client(server, dialect)


@rule("R-10", level=SHOULD)
@every_version
def test_a_creation_sends_one_104_with_the_location(client: Client) -> None:
    response = assert_success(client.post(some_bytes(100_000), complete=True))
    locations = [
        interim["Location"]
        for interim in response.interim
        if interim.status == 104 and "Location" in interim
    ]
    assert len(locations) == 1
    for interim in response.interim:
        assert interim.get(VERSION) == str(client.dialect.version)


@rule("R-10")
@every_version
def test_a_creation_may_complete_the_upload(client: Client) -> None:
    content = some_bytes(100_000)
    response = assert_success(client.post(content, complete=True))
    assert client.dialect.is_complete(response) is not False
    created = next((interim for interim in response.interim if "Location" in interim), response)
    client.assert_content(client.server.upload_at(created["Location"]), content)


@rule("R-10", level=SHOULD)
@with_limits
def test_the_104_contains_the_limits(client: Client) -> None:
    response = assert_success(client.post(b"hello", complete=True))
    assert any("Upload-Limit" in interim for interim in response.interim if interim.status == 104)


@rule("R-11")
@pytest.mark.parametrize("version", [None, "99", "2", "x", '"6"', "6, 6"])
@every_version
def test_no_104_is_sent_for_a_missing_or_unknown_version(
    client: Client, version: str | None
) -> None:
    """Many clients treat a 104 as the final response."""
    response = client.post(b"hello", {VERSION: version}, complete=True)
    assert response.interim == ()
    assert response.status < 500


@rule("R-11", level=PRACTICE)
@for_versions(9)
@pytest.mark.parametrize("version", ["4", "99", "x"])
def test_a_client_with_an_unknown_version_can_upload(client: Client, version: str) -> None:
    upload = client.server.upload_at(
        assert_success(client.post(b"he", {VERSION: version}, complete=False))["Location"]
    )
    assert_success(client.append(upload, b"llo", 2, {VERSION: version}, complete=True))
    client.assert_content(upload, b"hello")


@rule("R-11", needs="creation")
@pytest.mark.parametrize("version", ["6", "9"])
def test_a_tus_client_never_gets_a_104(server: Server, version: str) -> None:
    content = some_bytes(2 * MIB)
    fields = {VERSION: version, "Upload-Length": str(len(content))}
    response = server.post(fields)
    assert response.interim == ()
    upload = server.upload_from(response)
    assert upload.patch(content, 0, {VERSION: version}).interim == ()


@rule("R-11", level=PRACTICE, needs="interop:9")
def test_a_client_without_a_version_can_upload(server: Server) -> None:
    fields = {"Tus-Resumable": None, "Upload-Complete": "?1"}
    response = assert_success(server.send("POST", None, fields, b"hello"))
    assert response.interim == ()


@rule("R-12", level=SHOULD)
@every_version
def test_a_creation_with_some_bytes_is_201(client: Client) -> None:
    response = client.post(b"he", complete=False)
    assert response.status == 201
    assert client.dialect.is_complete(response) is False
    upload = client.server.upload_at(response["Location"])
    client.assert_incomplete_at(upload, 2)
    assert_success(client.append(upload, b"llo", 2, complete=True))
    client.assert_content(upload, b"hello")


@rule("R-12", level=SHOULD)
@with_limits
def test_the_201_contains_the_limits(client: Client) -> None:
    assert "Upload-Limit" in client.post(b"he", complete=False)


@rule("R-13")
@every_version
def test_a_creation_may_be_empty(client: Client) -> None:
    client.assert_incomplete_at(client.create(), 0)


@rule("R-13", level=PRACTICE)
@every_version
def test_every_response_contains_the_offset(client: Client) -> None:
    """tus-js-client needs Upload-Offset in every version."""
    response = client.post(b"", complete=False)
    assert response["Upload-Offset"] == "0"
    upload = client.server.upload_at(response["Location"])
    assert client.append(upload, b"he", 0, complete=False)["Upload-Offset"] == "2"
    assert client.append(upload, b"llo", 2, complete=True)["Upload-Offset"] == "5"


@rule("R-14", level=PRACTICE)
@every_version
def test_an_empty_upload_may_be_complete(client: Client) -> None:
    assert_success(client.post(b"", complete=True))


@rule("R-15")
@every_version
def test_all_responses_contain_the_same_location(client: Client) -> None:
    response = client.post(some_bytes(100_000), complete=False)
    responses = [*response.interim, response]
    locations = {message["Location"] for message in responses if "Location" in message}
    assert len(locations) == 1


@rule("R-16", level=SHOULD, needs="small-max-size")
@with_limits
def test_a_length_over_the_limit_is_refused(client: Client, server: Server) -> None:
    size = (server.capabilities().max_size or 0) + 1
    response = client.post(b"", {"Upload-Length": str(size)}, complete=False)
    assert response.status in {400, 413}
    assert "Upload-Limit" in response
    assert "Location" not in response


@rule("R-17", level=PRACTICE)
@with_limits
def test_an_upload_of_the_minimum_size_can_be_created(client: Client) -> None:
    """A smaller upload may be accepted, but not as a resumable one. The default minimum is 0."""
    minimum = client.limits().get("min-size", 0)
    client.assert_incomplete_at(client.create(b"", {"Upload-Length": str(minimum)}), 0)
    if minimum:
        response = client.post(b"", {"Upload-Length": str(minimum - 1)}, complete=False)
        assert response.interim == ()
        assert 200 <= response.status < 300 or "Upload-Limit" in response


def begin_creation(client: Client, body: bytes, content_length: int) -> tuple[Upload, Connection]:
    """Send a part of a creation; return the upload in its 104, and the connection."""
    connection = client.server.connect()
    fields = client.creation({"Content-Length": str(content_length)}, complete=True)
    connection.begin("POST", client.server.path, client.server.fields(fields))
    connection.send(body)
    interim = connection.interim()
    assert interim.status == 104
    return client.server.upload_at(interim["Location"]), connection


@rule("R-18", "R-04", level=SHOULD)
@pytest.mark.parametrize("interruption", ["close", "reset"])
@every_version
def test_an_interrupted_creation_can_be_resumed(client: Client, interruption: str) -> None:
    content = some_bytes(300 * KIB)
    upload, connection = begin_creation(client, content[:SENT], len(content))
    if interruption == "reset":
        connection.reset()
    else:
        connection.close()
    deadline = time.monotonic() + 5
    while (offset := client.offset(upload)) < SENT - MAX_LOSS and time.monotonic() < deadline:
        time.sleep(0.1)
    assert SENT - MAX_LOSS <= offset <= SENT
    client.assert_incomplete_at(upload, offset)
    assert_success(client.append(upload, content[offset:], offset, complete=True))
    client.assert_content(upload, content)


@rule("R-20", "R-32", "R-45", level=SHOULD)
@every_version
def test_an_unfinished_upload_is_not_redirected(client: Client) -> None:
    upload = client.create(b"he")
    statuses = [client.head(upload).status, client.append(upload, b"l", 2, complete=False).status]
    assert not set(statuses) & {301, 302, 303}


@rule("R-21", level=PRACTICE)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "POST"])
@every_version
def test_put_patch_and_post_create_uploads(client: Client, method: str) -> None:
    fields = client.creation({"Content-Type": "text/plain"}, complete=False)
    response = client.server.send(method, None, fields, b"he")
    assert response.status == 201
    client.assert_incomplete_at(client.server.upload_at(response["Location"]), 2)


@rule("R-21", level=PRACTICE, needs="get")
@every_version
def test_name_type_and_encoded_bytes_of_a_file_are_kept(client: Client) -> None:
    fields = {
        "Content-Type": "application/pdf",
        "Content-Encoding": "gzip",
        "Content-Disposition": 'inline; filename="report.pdf"',
    }
    upload = client.create(b"he", fields)
    assert_success(client.append(upload, b"llo", 2, complete=True))
    response = client.server.send("GET", upload.url, client.fields())
    assert response.body == b"hello"
    assert response["Content-Type"].startswith("application/pdf")
    assert "report.pdf" in response["Content-Disposition"]


@rule("R-22")
@every_version
def test_100_continue_is_sent_beside_104(client: Client) -> None:
    with client.server.connect() as connection:
        fields = {"Expect": "100-continue", "Content-Length": "5"}
        sent = client.server.fields(client.creation(dict(fields), complete=True))
        connection.begin("POST", client.server.path, sent)
        connection.stays_silent_for(1)
        connection.send(b"hello")
        response = assert_success(connection.response("POST"))
    assert 100 in [interim.status for interim in response.interim]


NON_INTEGERS = ["abc", "-1", "1.0", '"1"', "1000000000000000", "1, 2", "", "?1"]


@rule("R-01", "R-34", "R-04")
@pytest.mark.parametrize("text", NON_INTEGERS)
@every_version
def test_an_invalid_offset_changes_nothing(client: Client, text: str) -> None:
    upload = client.create(b"h")
    assert client.append(upload, b"e", text, complete=False).status in {400, 409}
    client.assert_incomplete_at(upload, 1)


@rule("R-34")
@every_version
def test_an_append_without_an_offset_changes_nothing(client: Client) -> None:
    upload = client.create(b"h")
    response = client.append(upload, b"e", 1, {"Upload-Offset": None}, complete=False)
    assert response.status in {400, 409}
    client.assert_incomplete_at(upload, 1)


@rule("R-01", level=PRACTICE)
@pytest.mark.parametrize("text", ["1;x=2", "01", "1;a", " 1 "])
@every_version
def test_an_offset_may_be_any_structured_integer(client: Client, text: str) -> None:
    upload = client.create(b"h")
    assert_success(client.append(upload, b"e", text, complete=False))
    client.assert_incomplete_at(upload, 2)


@rule("R-02")
@pytest.mark.parametrize("text", ["1", "true", "?2", "", "?"])
@every_version
def test_an_invalid_completeness_creates_no_resumable_upload(client: Client, text: str) -> None:
    name, _ = client.dialect.complete_field(value=True)
    response = client.server.send("POST", None, client.fields({name: text}), b"hello")
    assert response.status < 500
    assert response.interim == ()


@rule("R-03", level=PRACTICE)
@pytest.mark.parametrize("text", ["x", "-5", "5.0"])
@with_limits
def test_an_invalid_length_is_ignored(client: Client, text: str) -> None:
    upload = client.create(b"he", {"Upload-Length": text})
    assert "Upload-Length" not in client.head(upload)


@rule("R-05", level=SHOULD)
@every_version
def test_a_location_is_hard_to_guess(client: Client) -> None:
    ids = {client.create().id for _ in range(3)}
    assert len({id[:12] for id in ids}) == 3
    assert all(len(id) >= 16 for id in ids)


@rule("R-06")
@with_limits
def test_a_length_that_contradicts_the_content_is_refused(client: Client) -> None:
    assert_refused(client.post(b"hello", {"Upload-Length": "6"}, complete=True))
    upload = client.create(b"he")
    assert_refused(client.append(upload, b"llo", 2, {"Upload-Length": "6"}, complete=True))
    client.assert_incomplete_at(upload, 2)


@rule("R-06", "R-41")
@with_limits
def test_a_declared_length_does_not_change(client: Client) -> None:
    upload = client.create(b"he", {"Upload-Length": "5"})
    assert_refused(client.append(upload, b"l", 2, {"Upload-Length": "6"}, complete=False))
    assert client.head(upload)["Upload-Length"] == "5"
    assert_success(client.append(upload, b"l", 2, {"Upload-Length": "5"}, complete=False))
    assert_success(client.append(upload, b"lo", 3, complete=True))
    client.assert_content(upload, b"hello")


@rule("R-07", level=PRACTICE)
@with_limits
def test_a_chunked_append_below_the_length_cannot_complete(client: Client) -> None:
    upload = client.create(b"he", {"Upload-Length": "9"})
    assert_refused(client.append(upload, b"", 2, complete=True, chunks=[b"l", b"lo"]))
    assert 2 <= int(client.head(upload)["Upload-Offset"]) <= 5
    assert client.head(upload)["Upload-Length"] == "9"


@rule("R-41")
@with_limits
def test_a_length_may_be_declared_later(client: Client) -> None:
    upload = client.create(b"he")
    assert_success(client.append(upload, b"l", 2, {"Upload-Length": "5"}, complete=False))
    assert client.head(upload)["Upload-Length"] == "5"
