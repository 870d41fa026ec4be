"""Upload-Checksum in the trailer of a chunked PATCH."""

from __future__ import annotations

import pytest

from .rules import PRACTICE, needs, rule
from .server import MIB, Server, Upload, assert_refused, some_bytes
from .test_checksum import EMPTY_CHECKSUM, checksum
from .wire import Fields, Response

pytestmark = needs("creation", "checksum", "checksum-trailer")

ANNOUNCED = {"Trailer": "Upload-Checksum"}


@pytest.fixture
def upload(server: Server) -> Upload:
    """An upload with 2 of 5 bytes."""
    upload = server.create(5)
    upload.append(b"he")
    return upload


def patch(upload: Upload, trailers: Fields, **fields: str) -> Response:
    """Send the rest of "hello" with trailers."""
    hyphenated = {name.replace("_", "-"): value for name, value in fields.items()}
    return upload.patch(
        offset=2, fields={**ANNOUNCED, **hyphenated}, chunks=[b"l", b"lo"], trailers=trailers
    )


@rule("CT-01")
def test_a_correct_checksum_is_accepted(upload: Upload) -> None:
    response = patch(upload, {"Upload-Checksum": checksum(b"llo")})
    assert (response.status, response.get("Upload-Offset")) == (204, "5")
    upload.assert_content(b"hello")


@rule("CT-01")
def test_a_wrong_checksum_is_460_and_changes_nothing(upload: Upload) -> None:
    with upload.unchanged():
        assert patch(upload, {"Upload-Checksum": EMPTY_CHECKSUM}).status == 460
    assert patch(upload, {"Upload-Checksum": checksum(b"llo")}).status == 204
    upload.assert_content(b"hello")


@rule("CT-01")
@pytest.mark.parametrize("text", ["sha999 AAAA", "SHA1 YQ=="])
def test_an_unknown_algorithm_is_refused_and_changes_nothing(upload: Upload, text: str) -> None:
    with upload.unchanged():
        assert_refused(patch(upload, {"Upload-Checksum": text}))


@rule("CT-01", level=PRACTICE)
@pytest.mark.parametrize("text", ["", "sha1", "sha1 !!!", "sha1 YWJj"])
def test_a_malformed_checksum_changes_nothing(upload: Upload, text: str) -> None:
    with upload.unchanged():
        assert patch(upload, {"Upload-Checksum": text}).status in {400, 460}


@rule("CT-01", level=PRACTICE)
def test_the_field_name_is_case_insensitive(upload: Upload) -> None:
    assert patch(upload, {"upload-checksum": checksum(b"llo")}).status == 204


@rule("CT-01", level=PRACTICE)
def test_a_long_body_is_verified(server: Server) -> None:
    content = some_bytes(6 * MIB)
    upload = server.create(len(content))
    chunks = [content[start : start + 100_000] for start in range(0, len(content), 100_000)]
    for text, status in ((EMPTY_CHECKSUM, 460), (checksum(content), 204)):
        trailers = {"Upload-Checksum": text}
        response = upload.patch(offset=0, fields=ANNOUNCED, chunks=chunks, trailers=trailers)
        assert response.status == status
    upload.assert_content(content)


@rule("CT-02", level=PRACTICE)
def test_checksums_in_head_and_trailer_must_both_match(upload: Upload) -> None:
    correct = checksum(b"llo")
    for head, trailer in ((correct, EMPTY_CHECKSUM), (EMPTY_CHECKSUM, correct)):
        with upload.unchanged():
            response = patch(upload, {"Upload-Checksum": trailer}, Upload_Checksum=head)
        assert response.status in {400, 460}
    response = patch(upload, {"Upload-Checksum": correct}, Upload_Checksum=correct)
    assert response.status in {204, 400}


@rule("CT-03", level=PRACTICE)
def test_a_missing_announced_trailer_is_400(upload: Upload) -> None:
    with upload.unchanged():
        assert patch(upload, {}).status == 400


@rule("CT-04", level=PRACTICE)
def test_an_unannounced_trailer_is_verified_or_ignored(upload: Upload) -> None:
    trailers = {"Upload-Checksum": EMPTY_CHECKSUM}
    response = upload.patch(offset=2, chunks=[b"llo"], trailers=trailers)
    assert response.status in {204, 460}
    assert upload.offset() == (5 if response.status == 204 else 2)


@rule("CT-05", level=PRACTICE)
@pytest.mark.parametrize(
    "trailer",
    [
        ("Upload-Offset", "0"),
        ("Upload-Length", "2"),
        ("Tus-Resumable", "2.0.0"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("Upload-Metadata", "a YQ=="),
    ],
    ids=lambda pair: str(pair[0]),
)
def test_other_trailer_fields_are_ignored(upload: Upload, trailer: tuple[str, str]) -> None:
    response = patch(upload, [("Upload-Checksum", checksum(b"llo")), trailer])
    assert response.status in {204, 400}
    head = upload.head()
    assert (head["Upload-Offset"], head["Upload-Length"]) in {("2", "5"), ("5", "5")}
    assert "Upload-Metadata" not in head


@rule("CT-01", "CK-08")
@pytest.mark.parametrize("interruption", ["close", "reset"])
def test_an_interruption_before_the_trailer_stores_no_wrong_bytes(
    server: Server, interruption: str
) -> None:
    content = some_bytes(10_000)
    upload = server.create(len(content))
    with upload.connect() as connection:
        fields = {"Transfer-Encoding": "chunked", **ANNOUNCED}
        sent = server.fields(upload.patch_fields(0, dict(fields)))
        connection.begin("PATCH", upload.target, sent)
        connection.send(b"%x\r\n%b\r\n" % (5000, content[:5000]))
        connection.wait_until_delivered()
        if interruption == "reset":
            connection.reset()
    upload.resume(content)
    upload.assert_content(content)
