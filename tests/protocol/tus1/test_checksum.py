"""Header fields of the extensions `checksum` and `checksum-trailer`."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.heads import (
    ALL_EXTENSIONS,
    ID,
    OCTETS,
    patch,
    plain,
    post,
    tus,
    tus1,
    value_of,
    without,
)
from tus_wsgi.domain.checksums import Algorithm, Checksum
from tus_wsgi.domain.commands import Append, Create, Discovered, Inspect, Verification
from tus_wsgi.domain.errors import (
    ChecksumMismatch,
    MalformedField,
    UnsupportedMediaType,
    UploadTooLarge,
)
from tus_wsgi.domain.model import Extension
from tus_wsgi.protocol.fields import build_checksum, parse_checksum, parse_field_names
from tus_wsgi.protocol.http import RequestHead, status_line

ZEROS = Checksum(Algorithm.SHA1, bytes(20))
SHA1_ZEROS = "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA="
EMPTY_SHA1 = "2jmj7l5rSw0yVb/vlWAYkK/YBwk="

BAD = [
    *("", " ", "sha1", "sha1 ", "sha1  " + EMPTY_SHA1, "sha1\t" + EMPTY_SHA1, EMPTY_SHA1),
    *("sha999 " + EMPTY_SHA1, "SHA1 " + EMPTY_SHA1, "sha-1 " + EMPTY_SHA1),
    *("sha1 !!!", "sha1 " + EMPTY_SHA1[:-1], "sha1 da39a3ee5e6b4b0d3255bfef95601890afd80709"),
    *("sha1 YWJj", "sha256 " + EMPTY_SHA1, "md5 " + EMPTY_SHA1, "crc32 AAAA"),
    *(f"sha1 {EMPTY_SHA1} x", f"sha1 {EMPTY_SHA1},sha1 {EMPTY_SHA1}", f" sha1 {EMPTY_SHA1}"),
    *("sha1 2jmj7l5rSw0yVb_vlWAYkK_YBwk=", "sha1 \xff", "\udc80 x", "sha1 " + "A" * 9000),
]


def verification_of(head: RequestHead) -> Verification | None:
    command = tus1().parse(head)
    assert isinstance(command, Append | Create)
    return command.verification


def with_trailers(head: RequestHead, trailer: str = "Upload-Checksum") -> RequestHead:
    """Return a chunked request to a server that exposes trailers."""
    fields = {**dict(head.fields), "transfer-encoding": "chunked", "trailer": trailer}
    return replace(tus(head.method, head.target, fields, has_body=True), can_have_trailers=True)


@pytest.mark.property
@given(algorithm=st.sampled_from(Algorithm), data=st.data())
def test_parse_checksum_is_the_inverse_of_build_checksum(
    algorithm: Algorithm, data: st.DataObject
) -> None:
    size = algorithm.size
    checksum = Checksum(algorithm, data.draw(st.binary(min_size=size, max_size=size)))
    assert parse_checksum(build_checksum(checksum)) == checksum


@pytest.mark.property
@given(st.text() | st.text("sha1 md5=+/Ab,\t"))
def test_any_checksum_is_parsed_or_rejected(text: str) -> None:
    try:
        checksum = parse_checksum(text)
    except MalformedField:
        return
    assert build_checksum(checksum) == text


@pytest.mark.parametrize("text", BAD, ids=lambda text: ascii(text)[:40])
def test_an_invalid_checksum_is_rejected(text: str) -> None:
    """CK-04, CK-05: in the header and in the trailer."""
    for head in (patch({"Upload-Checksum": text}), post({"Upload-Checksum": text})):
        with pytest.raises(MalformedField) as caught:
            tus1().parse(head)
        assert caught.value.field == "Upload-Checksum"
        assert len(caught.value.reason) < 200
    verification = verification_of(with_trailers(patch()))
    assert verification is not None
    with pytest.raises(MalformedField):
        verification.checksums({"upload-checksum": text})


@pytest.mark.parametrize("head", [patch(), post(), post({"Content-Type": OCTETS}, has_body=True)])
def test_a_request_can_have_a_checksum(head: RequestHead) -> None:
    """CK-02, CW-08."""
    assert verification_of(head) is None
    request = replace(
        head, fields=patch({**dict(head.fields), "upload-checksum": SHA1_ZEROS}).fields
    )
    verification = verification_of(request)
    assert verification is not None
    assert verification.header_checksum == ZEROS
    assert verification.checksums({}) == [ZEROS]


@pytest.mark.parametrize(
    "trailer", ["Upload-Checksum", "upload-checksum", "Expires, Upload-Checksum ,"]
)
def test_a_checksum_can_be_announced_as_a_trailer(trailer: str) -> None:
    """CT-01, CT-03."""
    for head in (patch(), post({"Content-Type": OCTETS})):
        verification = verification_of(with_trailers(head, trailer))
        assert verification is not None
        assert verification.header_checksum is None
        assert verification.checksums({"upload-checksum": SHA1_ZEROS}) == [ZEROS]
        with pytest.raises(MalformedField) as caught:
            verification.checksums({"expires": "never"})
        assert caught.value.field == "Upload-Checksum"


def test_header_and_trailer_can_both_have_a_checksum() -> None:
    """CT-02."""
    verification = verification_of(with_trailers(patch({"Upload-Checksum": SHA1_ZEROS})))
    assert verification is not None
    other = Checksum(Algorithm.CRC32, bytes(4))
    checksums = verification.checksums({"upload-checksum": "crc32 AAAAAA=="})
    assert checksums == [ZEROS, other]


def test_an_unannounced_trailer_counts_only_beside_a_header() -> None:
    """CT-04: without a header the body is stored before the trailer arrives."""
    verification = verification_of(with_trailers(patch({"Upload-Checksum": SHA1_ZEROS}), "Expires"))
    assert verification is not None
    assert verification.checksums({}) == [ZEROS]
    assert len(verification.checksums({"upload-checksum": "crc32 AAAAAA=="})) == 2
    assert verification_of(with_trailers(patch(), "Expires")) is None


def test_other_trailers_are_ignored() -> None:
    """CT-05."""
    verification = verification_of(with_trailers(patch()))
    assert verification is not None
    others = {"upload-offset": "7", "upload-length": "3", "tus-resumable": "9", "host": "x"}
    assert verification.checksums({**others, "upload-checksum": SHA1_ZEROS}) == [ZEROS]


def test_announced_trailers_are_rejected_if_the_server_has_none() -> None:
    head = with_trailers(patch())
    with pytest.raises(MalformedField) as caught:
        tus1().parse(replace(head, can_have_trailers=False))
    assert caught.value.field == "Trailer"


def test_a_checksum_is_rejected_if_the_extension_is_not_offered() -> None:
    bare = tus1(extensions=(Extension.CREATION,))
    for head in (patch({"Upload-Checksum": SHA1_ZEROS}), with_trailers(patch())):
        with pytest.raises(MalformedField):
            bare.parse(head)
    without_trailers = tus1(extensions=(Extension.CREATION, Extension.CHECKSUM))
    with pytest.raises(MalformedField):
        without_trailers.parse(with_trailers(patch()))


def test_syntax_is_checked_before_type_and_size() -> None:
    """CK-09."""
    head = patch({"Upload-Checksum": SHA1_ZEROS, "Content-Type": "text/plain"})
    with pytest.raises(UnsupportedMediaType):
        tus1().parse(head)
    with pytest.raises(MalformedField):
        tus1().parse(patch({"Upload-Checksum": "?", "Content-Type": "text/plain"}))
    with pytest.raises(UploadTooLarge):
        tus1().parse(post({"Upload-Checksum": SHA1_ZEROS, "Upload-Length": "1001"}))


def test_checksum_trailer_requires_checksum() -> None:
    """C-08."""
    with pytest.raises(ValueError, match="checksum"):
        tus1(extensions=(Extension.CREATION, Extension.CHECKSUM_TRAILER))


@pytest.mark.parametrize("can_have_trailers", [True, False])
def test_discovery_announces_trailers_only_if_the_server_has_them(
    can_have_trailers: bool,
) -> None:
    """C-08, CK-01."""
    head = replace(plain("OPTIONS"), can_have_trailers=can_have_trailers)
    reply = tus1().render(head, Discovered(1000, ALL_EXTENSIONS), str)
    assert value_of(reply, "Tus-Checksum-Algorithm") == "sha1,sha256,sha512,md5,crc32"
    extensions = (value_of(reply, "Tus-Extension") or "").split(",")
    assert "checksum" in extensions
    assert ("checksum-trailer" in extensions) is can_have_trailers


def test_discovery_without_the_extension_has_no_algorithms() -> None:
    reply = tus1().render(plain("OPTIONS"), Discovered(1000, (Extension.CREATION,)), str)
    assert value_of(reply, "Tus-Checksum-Algorithm") is None


def test_a_mismatch_has_its_own_status() -> None:
    """CK-03."""
    reply = tus1().render_error(patch(), ChecksumMismatch("sha1"))
    assert status_line(reply.status) == "460 Checksum Mismatch"
    assert b"sha1" in reply.body
    assert value_of(reply, "Upload-Offset") is None


def test_other_statuses_have_standard_phrases() -> None:
    assert status_line(204) == "204 No Content"
    assert status_line(413).startswith("413 ")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", set()),
        (" , ,", set()),
        ("A", {"a"}),
        ("Upload-Checksum,\tExpires ", {"upload-checksum", "expires"}),
    ],
)
def test_field_names_ignore_case(text: str, names: set[str]) -> None:
    assert parse_field_names(text) == names


def test_a_request_without_a_body_can_have_a_checksum() -> None:
    """CK-06."""
    head = without(patch({"Upload-Checksum": f"sha1 {EMPTY_SHA1}"}), "content-length")
    verification = verification_of(replace(head, has_body=False))
    assert verification is not None
    assert b64encode(verification.checksums({})[0].digest).decode() == EMPTY_SHA1
    assert tus1().parse(tus("HEAD", ID, {"Upload-Checksum": "?"})) == Inspect(ID)
