"""Upload-Metadata: which values are accepted, returned and harmless."""

from __future__ import annotations

from base64 import b64decode

import pytest

from .rules import PRACTICE, SHOULD, needs, rule
from .server import Server, as_base64, assert_refused
from .wire import Value

pytestmark = needs("creation")

VALID = {
    "one": "filename d29ybGQ=",
    "two": "a YQ==,b Yg==",
    "order": "b Yg==,a YQ==,c Yw==",
    "long-value": f"a {as_base64('x' * 3000)}",
    "same-value": "a YQ==,b YQ==",
    "case": "Name YQ==,name Yg==",
}

FLAGS = {
    "alone": "flag",
    "with-a-space": "flag ",
    "last": "a YQ==,flag",
    "first": "flag,a YQ==",
    "tus-js-client": "empty ,utf8 w7w=",
}

UNUSUAL_KEYS: dict[str, Value] = {
    "non-ascii": "schlüssel YQ==",
    "obs-text": b"schl\xfcssel YQ==",
    "signs": '=;"/\\ YQ==',
    "slash": "../../x YQ==",
    "long": f"{'k' * 1000} YQ==",
    "field-name": "Content-Type YQ==",
}

EMPTY_KEYS = {
    "comma": ",",
    "in-the-middle": "a YQ==,,b Yg==",
    "at-the-end": "a YQ==,",
    "at-the-end-with-a-space": "a YQ==, ",
}

INVALID_BASE64 = {
    "signs": "a @@@",
    "no-padding": "a YQ",
    "url-alphabet": "a _-8=",
    "two-values": "a YQ== YQ==",
    "two-spaces": "a  YQ==",
    "tab": "a\tYQ==",
    "inner-padding": "a YQ==YQ==",
}

VALUES = {
    "nul": b"a\0b",
    "line-break": b"x\r\nX-Injected: yes\r\n\r\nbody",
    "quote": b'a"; filename="evil.html',
    "utf-8": "Menü – 文件.pdf".encode(),
    "latin-1": bytes(range(0x80, 0x100)),
    "path": b"../../../etc/passwd",
    "4KiB": b"x" * 4096,
}


def parse_pairs(text: str | None) -> dict[str, bytes]:
    """Parse the pairs of a field leniently."""
    pairs = (item.strip(" \t").partition(" ") for item in (text or "").split(",") if item.strip())
    return {key: b64decode(value) for key, _, value in pairs}


@rule("CM-01", "CR-08")
@pytest.mark.parametrize("text", VALID.values(), ids=VALID)
def test_head_returns_the_metadata(server: Server, text: str) -> None:
    head = server.create(5, {"Upload-Metadata": text}).head()
    assert parse_pairs(head["Upload-Metadata"]) == parse_pairs(text)


@rule("CM-01", "CR-08")
def test_patch_does_not_change_the_metadata(server: Server) -> None:
    upload = server.create(5, {"Upload-Metadata": VALID["two"]})
    for offset, data in ((0, b"he"), (2, b"llo")):
        upload.append(data, offset)
        assert parse_pairs(upload.head()["Upload-Metadata"]) == parse_pairs(VALID["two"])


@rule("CM-02", "CR-08")
@pytest.mark.parametrize("text", FLAGS.values(), ids=FLAGS)
def test_a_value_may_be_empty(server: Server, text: str) -> None:
    head = server.create(5, {"Upload-Metadata": text}).head()
    assert parse_pairs(head["Upload-Metadata"]) == parse_pairs(text)


@rule("CR-08", level=PRACTICE)
@pytest.mark.parametrize("text", [*VALID.values(), *FLAGS.values()], ids=[*VALID, *FLAGS])
def test_head_returns_the_metadata_unchanged(server: Server, text: str) -> None:
    """ "Its value as specified by the Client": not another spelling of it."""
    head = server.create(5, {"Upload-Metadata": text}).head()
    assert head["Upload-Metadata"] == text.strip(" ")


@rule("CM-03", level=PRACTICE)
@pytest.mark.parametrize("text", ["", " "], ids=["empty", "space"])
def test_an_empty_upload_metadata_is_ignored(server: Server, text: str) -> None:
    """tuspy sends an empty field if there is no metadata."""
    assert not server.create(5, {"Upload-Metadata": text}).head().get("Upload-Metadata")


@rule("CM-04", level=PRACTICE)
@pytest.mark.parametrize("text", ["a YQ==, b Yg==", "a YQ== ,b Yg==", "a YQ== , b Yg=="])
def test_white_space_around_commas_is_ignored(server: Server, text: str) -> None:
    head = server.create(5, {"Upload-Metadata": text}).head()
    assert parse_pairs(head["Upload-Metadata"]) == {"a": b"a", "b": b"b"}


@rule("CM-04", level=PRACTICE)
def test_repeated_fields_are_combined(server: Server) -> None:
    fields = [("Upload-Metadata", "a YQ=="), ("Upload-Metadata", "b Yg==")]
    assert parse_pairs(server.create(5, fields).head()["Upload-Metadata"]) == {"a": b"a", "b": b"b"}


@rule("CM-05", level=PRACTICE)
def test_a_duplicate_key_is_400(server: Server) -> None:
    """ "All keys MUST be unique.\""""
    assert server.post({"Upload-Length": "5", "Upload-Metadata": "a YQ==,a Yg=="}).status == 400


@rule("CM-06", level=PRACTICE)
@pytest.mark.parametrize("text", EMPTY_KEYS.values(), ids=EMPTY_KEYS)
def test_an_empty_key_is_400_or_ignored(server: Server, text: str) -> None:
    response = server.post({"Upload-Length": "5", "Upload-Metadata": text})
    assert response.status in {201, 400}


@rule("CM-07", level=PRACTICE)
@pytest.mark.parametrize("text", INVALID_BASE64.values(), ids=INVALID_BASE64)
def test_a_value_that_is_not_base64_is_400(server: Server, text: str) -> None:
    assert server.post({"Upload-Length": "5", "Upload-Metadata": text}).status == 400


@rule("CM-08", "CR-08")
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_a_value_may_be_any_bytes(server: Server, value: bytes) -> None:
    upload = server.create(5, {"Upload-Metadata": f"filename {as_base64(value)}"})
    upload.append(b"hello")
    head = upload.head()
    assert parse_pairs(head["Upload-Metadata"]) == {"filename": value}
    assert head["Upload-Offset"] == "5"


@rule("CM-08", "GET", level=SHOULD, needs="get")
@pytest.mark.parametrize("key", ["filename", "filetype", "name", "type", "contentType"])
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_a_value_cannot_inject_header_fields(server: Server, key: str, value: bytes) -> None:
    """ "Values SHOULD be validated": a server may put them into the header of a download."""
    upload = server.upload(b"hello", {"Upload-Metadata": f"{key} {as_base64(value)}"})
    response = server.send("GET", upload.url)
    assert (response.status, response.body) == (200, b"hello")
    assert "X-Injected" not in response
    values = " ".join(value for _, value in response.fields)
    assert "\0" not in values
    assert 'filename="evil.html' not in values


@rule("CM-09", level=PRACTICE)
@pytest.mark.parametrize("text", UNUSUAL_KEYS.values(), ids=UNUSUAL_KEYS)
def test_an_unusual_key_is_accepted_or_400(server: Server, text: Value) -> None:
    response = server.post({"Upload-Length": "5", "Upload-Metadata": text})
    assert response.status in {201, 400}
    if response.status == 201:
        upload = server.upload_from(response)
        upload.append(b"hello")
        upload.assert_content(b"hello")


@rule("CM-10", level=PRACTICE)
def test_four_kilobytes_of_metadata_are_accepted(server: Server) -> None:
    text = f"a {as_base64('x' * 2900)},b YQ=="
    head = server.create(5, {"Upload-Metadata": text}).head()
    assert parse_pairs(head["Upload-Metadata"]) == parse_pairs(text)


@rule("CM-10", "FRAMING", level=PRACTICE)
def test_100_000_bytes_of_metadata_are_accepted_or_refused(server: Server) -> None:
    try:
        response = server.post({"Upload-Length": "5", "Upload-Metadata": f"a {'YWJj' * 25_000}"})
    except ConnectionError:
        pass  # The HTTP server closed the connection.
    else:
        assert response.status == 201 or 400 <= response.status < 500
    server.assert_works()


@rule("CM-11", level=PRACTICE)
@pytest.mark.parametrize("text", ["c Yw==", "a @@@"], ids=["other", "malformed"])
def test_upload_metadata_at_patch_changes_nothing(server: Server, text: str) -> None:
    upload = server.create(5, {"Upload-Metadata": "a YQ=="})
    response = upload.patch(b"hello", 0, {"Upload-Metadata": text})
    assert response.status == 204 or 400 <= response.status < 500
    assert parse_pairs(upload.head()["Upload-Metadata"]) == {"a": b"a"}


@rule("CM-05", "CM-06", "CM-07")
@pytest.mark.parametrize("text", ["a YQ==,a Yg==", ",", "a @@@", " , , "])
def test_invalid_metadata_does_no_harm(server: Server, text: str) -> None:
    response = server.post({"Upload-Length": "5", "Upload-Metadata": text})
    if response.status == 201:
        upload = server.upload_from(response)
        upload.append(b"hello")
        upload.assert_content(b"hello")
    else:
        assert_refused(response)
