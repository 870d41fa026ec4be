"""Upload-Checksum in the header of a PATCH."""

from __future__ import annotations

import hashlib
import zlib
from contextlib import suppress

import pytest

from .rules import PRACTICE, needs, rule
from .server import Capabilities, Server, Upload, as_base64, assert_refused, some_bytes
from .wire import NoResponse

pytestmark = needs("creation", "checksum")

EMPTY_CHECKSUM = "sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk="
"""The sha1 of no bytes: a well-formed checksum that no test data has."""


def digest(algorithm: str, data: bytes) -> bytes:
    if algorithm == "crc32":
        return zlib.crc32(data).to_bytes(4, "big")
    return hashlib.new(algorithm, data).digest()


def checksum(data: bytes, algorithm: str = "sha1") -> str:
    """Return the field value for some data."""
    return f"{algorithm} {as_base64(digest(algorithm, data))}"


@pytest.fixture
def upload(server: Server) -> Upload:
    """An upload with 2 of 5 bytes."""
    upload = server.create(5)
    upload.append(b"he")
    return upload


every_algorithm = pytest.mark.parametrize(
    "algorithm",
    [
        pytest.param(name, marks=needs(f"algorithm:{name}"))
        for name in ("sha1", "md5", "sha256", "sha384", "sha512", "crc32")
    ],
)


@rule("CK-01")
def test_sha1_is_supported(capabilities: Capabilities) -> None:
    assert "sha1" in capabilities.algorithms


@rule("CK-01")
def test_algorithm_names_are_lower_case(capabilities: Capabilities) -> None:
    assert all(name.isascii() and name == name.lower() for name in capabilities.algorithms)


@rule("CK-02")
@every_algorithm
def test_a_correct_checksum_is_accepted(upload: Upload, algorithm: str) -> None:
    upload.append(b"llo", 2, {"Upload-Checksum": checksum(b"llo", algorithm)})
    upload.assert_content(b"hello")


@rule("CK-03", "C-25")
@every_algorithm
def test_a_wrong_checksum_is_460_and_changes_nothing(upload: Upload, algorithm: str) -> None:
    with upload.unchanged():
        response = upload.patch(b"llo", 2, {"Upload-Checksum": checksum(b"llO", algorithm)})
    assert response.status == 460
    upload.append(b"llo", 2, {"Upload-Checksum": checksum(b"llo", algorithm)})
    upload.assert_content(b"hello")


@rule("CK-03", "CK-10")
@pytest.mark.parametrize("size", [1, 100_000, 6_000_000])
def test_a_wrong_checksum_of_a_body_of_any_size_is_460(server: Server, size: int) -> None:
    content = some_bytes(size)
    upload = server.create(size)
    with upload.unchanged():
        assert upload.patch(content, 0, {"Upload-Checksum": EMPTY_CHECKSUM}).status == 460
    upload.append(content, 0, {"Upload-Checksum": checksum(content)})
    upload.assert_content(content)


@rule("CK-03", "CK-10")
def test_a_wrong_checksum_of_a_whole_file_does_not_complete_the_upload(server: Server) -> None:
    upload = server.create(5)
    with upload.unchanged():
        assert upload.patch(b"HELLO", 0, {"Upload-Checksum": checksum(b"hello")}).status == 460
    upload.append(b"hello")
    upload.assert_content(b"hello")


UNKNOWN = ["sha999 AAAA", "SHA1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=", "Sha1 YQ==", "rot13 YQ=="]


@rule("CK-04", "C-25")
@pytest.mark.parametrize("text", UNKNOWN)
def test_an_unknown_algorithm_is_refused_and_changes_nothing(upload: Upload, text: str) -> None:
    """ "The uploaded chunk MUST be discarded.\""""
    with upload.unchanged():
        assert_refused(upload.patch(b"llo", 2, {"Upload-Checksum": text}))


@rule("CK-04", level=PRACTICE)
@pytest.mark.parametrize("text", UNKNOWN)
def test_an_unknown_algorithm_is_400(upload: Upload, text: str) -> None:
    assert upload.patch(b"llo", 2, {"Upload-Checksum": text}).status == 400


CORRECT = as_base64(digest("sha1", b"llo"))
MALFORMED = {
    "no-digest": "sha1",
    "empty-digest": "sha1 ",
    "signs": "sha1 !!!",
    "hexadecimal": f"sha1 {digest('sha1', b'llo').hex()}",
    "too-short": "sha1 YWJj",
    "no-padding": f"sha1 {CORRECT.rstrip('=')}",
    "two": f"sha1 {CORRECT},sha1 {CORRECT}",
    "more-words": f"sha1 {CORRECT} x",
    "two-spaces": f"sha1  {CORRECT}",
    "equals": f"sha1={CORRECT}",
    "empty": "",
    "digest-only": CORRECT,
}


@rule("CK-05", level=PRACTICE)
@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_checksum_is_400_and_changes_nothing(upload: Upload, text: str) -> None:
    """460 is accepted too: the server may treat the value as a checksum that does not match."""
    with upload.unchanged():
        assert upload.patch(b"llo", 2, {"Upload-Checksum": text}).status in {400, 460}


@rule("CK-06", level=PRACTICE)
def test_the_checksum_of_an_empty_body_is_verified(upload: Upload) -> None:
    with upload.unchanged():
        upload.append(b"", 2, {"Upload-Checksum": EMPTY_CHECKSUM})
        assert upload.patch(b"", 2, {"Upload-Checksum": checksum(b"x")}).status == 460


@rule("CK-07")
def test_each_checksum_covers_only_its_own_request(server: Server) -> None:
    content = some_bytes(3000)
    upload = server.create(len(content))
    for offset in range(0, 3000, 1000):
        chunk = content[offset : offset + 1000]
        upload.append(chunk, offset, {"Upload-Checksum": checksum(chunk)})
    upload.assert_content(content)


@rule("CK-07", level=PRACTICE)
def test_the_checksum_covers_decoded_chunks(upload: Upload) -> None:
    fields = {"Upload-Checksum": checksum(b"llo")}
    response = upload.patch(offset=2, fields=fields, chunks=[b"l", b"lo"])
    assert response.status == 204
    upload.assert_content(b"hello")


@rule("CK-08")
@pytest.mark.parametrize("interruption", ["close", "half-close", "reset"])
def test_an_interrupted_request_stores_no_wrong_bytes(server: Server, interruption: str) -> None:
    content = some_bytes(100_000)
    upload = server.create(len(content))
    interrupt(upload, content, interruption)
    upload.resume(content)
    upload.assert_content(content)


@rule("CK-08", level=PRACTICE)
@pytest.mark.parametrize("interruption", ["close", "half-close", "reset"])
def test_an_interrupted_request_with_a_checksum_stores_nothing(
    server: Server, interruption: str
) -> None:
    content = some_bytes(100_000)
    upload = server.create(len(content))
    interrupt(upload, content, interruption)
    assert upload.offset() == 0


def interrupt(upload: Upload, content: bytes, interruption: str) -> None:
    """Send half of the content with the checksum of all of it, then end the connection."""
    with upload.connect() as connection:
        fields = {"Upload-Checksum": checksum(content), "Content-Length": str(len(content))}
        sent = upload.server.fields(upload.patch_fields(0, dict(fields)))
        connection.begin("PATCH", upload.target, sent)
        connection.send(content[:50_000])
        connection.wait_until_delivered()
        if interruption == "reset":
            connection.reset()
        elif interruption == "half-close":
            connection.half_close()
            with suppress(NoResponse):
                assert connection.response("PATCH").status != 204


@rule("CK-09", level=PRACTICE)
def test_other_errors_take_precedence_over_460(server: Server, upload: Upload) -> None:
    wrong = {"Upload-Checksum": EMPTY_CHECKSUM}
    assert upload.patch(b"llo", 1, wrong).status == 409
    assert upload.patch(b"llo", 2, {**wrong, "Content-Type": "text/plain"}).status == 415
    assert Upload(server, server.unknown_url()).patch(b"llo", 0, wrong).status == 404


@rule("CK-10", needs="content")
def test_unverified_bytes_cannot_be_read(server: Server) -> None:
    upload = server.create(5)
    upload.patch(b"HELLO", 0, {"Upload-Checksum": EMPTY_CHECKSUM})
    assert upload.offset() == 0
    assert server.send("GET", upload.url).body != b"HELLO"
