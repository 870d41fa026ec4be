"""The extensions `checksum` and `checksum-trailer`, as header text."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.heads import (
    EVERYTHING,
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
SAID = "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA="
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
    """A chunked request on a server that hands trailers out."""
    fields = {**dict(head.fields), "transfer-encoding": "chunked", "trailer": trailer}
    return replace(tus(head.method, head.target, fields, has_body=True), can_have_trailers=True)


@pytest.mark.property
@given(algorithm=st.sampled_from(Algorithm), data=st.data())
def test_a_checksum_is_read_as_it_was_written(algorithm: Algorithm, data: st.DataObject) -> None:
    size = algorithm.size
    checksum = Checksum(algorithm, data.draw(st.binary(min_size=size, max_size=size)))
    assert parse_checksum(build_checksum(checksum)) == checksum


@pytest.mark.property
@given(st.text() | st.text("sha1 md5=+/Ab,\t"))
def test_whatever_comes_is_a_checksum_or_malformed(text: str) -> None:
    try:
        checksum = parse_checksum(text)
    except MalformedField:
        return
    assert build_checksum(checksum) == text


@pytest.mark.parametrize("text", BAD, ids=lambda text: ascii(text)[:40])
def test_what_is_no_checksum_is_refused(text: str) -> None:
    """CK-04, CK-05: where it stands makes no difference."""
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
def test_requests_may_name_a_checksum(head: RequestHead) -> None:
    """CK-02, CW-08."""
    assert verification_of(head) is None
    named = replace(head, fields=patch({**dict(head.fields), "upload-checksum": SAID}).fields)
    verification = verification_of(named)
    assert verification is not None
    assert verification.announced == ZEROS
    assert verification.checksums({}) == [ZEROS]


@pytest.mark.parametrize(
    "trailer", ["Upload-Checksum", "upload-checksum", "Expires, Upload-Checksum ,"]
)
def test_a_checksum_may_be_announced_as_a_trailer(trailer: str) -> None:
    """CT-01, CT-03."""
    for head in (patch(), post({"Content-Type": OCTETS})):
        verification = verification_of(with_trailers(head, trailer))
        assert verification is not None
        assert verification.announced is None
        assert verification.checksums({"upload-checksum": SAID}) == [ZEROS]
        with pytest.raises(MalformedField) as caught:
            verification.checksums({"expires": "never"})
        assert caught.value.field == "Upload-Checksum"


def test_both_may_be_said() -> None:
    """CT-02."""
    verification = verification_of(with_trailers(patch({"Upload-Checksum": SAID})))
    assert verification is not None
    other = Checksum(Algorithm.CRC32, bytes(4))
    said = verification.checksums({"upload-checksum": "crc32 AAAAAA=="})
    assert said == [ZEROS, other]


def test_a_trailer_that_nobody_announced_counts_where_the_body_waits_anyway() -> None:
    """CT-04: elsewhere the bytes are stored before it comes."""
    verification = verification_of(with_trailers(patch({"Upload-Checksum": SAID}), "Expires"))
    assert verification is not None
    assert verification.checksums({}) == [ZEROS]
    assert len(verification.checksums({"upload-checksum": "crc32 AAAAAA=="})) == 2
    assert verification_of(with_trailers(patch(), "Expires")) is None


def test_other_trailers_are_nobody_s_business() -> None:
    """CT-05."""
    verification = verification_of(with_trailers(patch()))
    assert verification is not None
    others = {"upload-offset": "7", "upload-length": "3", "tus-resumable": "9", "host": "x"}
    assert verification.checksums({**others, "upload-checksum": SAID}) == [ZEROS]


def test_trailers_are_refused_where_the_server_keeps_them_to_itself() -> None:
    head = with_trailers(patch())
    with pytest.raises(MalformedField) as caught:
        tus1().parse(replace(head, can_have_trailers=False))
    assert caught.value.field == "Trailer"


def test_nobody_is_left_to_believe_in_a_check_that_is_not_made() -> None:
    bare = tus1(extensions=(Extension.CREATION,))
    for head in (patch({"Upload-Checksum": SAID}), with_trailers(patch())):
        with pytest.raises(MalformedField):
            bare.parse(head)
    without_trailers = tus1(extensions=(Extension.CREATION, Extension.CHECKSUM))
    with pytest.raises(MalformedField):
        without_trailers.parse(with_trailers(patch()))


def test_the_syntax_comes_before_the_type_and_the_size() -> None:
    """CK-09."""
    head = patch({"Upload-Checksum": SAID, "Content-Type": "text/plain"})
    with pytest.raises(UnsupportedMediaType):
        tus1().parse(head)
    with pytest.raises(MalformedField):
        tus1().parse(patch({"Upload-Checksum": "?", "Content-Type": "text/plain"}))
    with pytest.raises(UploadTooLarge):
        tus1().parse(post({"Upload-Checksum": SAID, "Upload-Length": "1001"}))


def test_the_trailers_come_with_the_checksums() -> None:
    """C-08."""
    with pytest.raises(ValueError, match="checksum"):
        tus1(extensions=(Extension.CREATION, Extension.CHECKSUM_TRAILER))


@pytest.mark.parametrize("can_have_trailers", [True, False])
def test_discovery_names_the_algorithms_and_only_what_the_server_can_do(
    can_have_trailers: bool,
) -> None:
    """C-08, CK-01."""
    head = replace(plain("OPTIONS"), can_have_trailers=can_have_trailers)
    reply = tus1().render(head, Discovered(1000, EVERYTHING), str)
    assert value_of(reply, "Tus-Checksum-Algorithm") == "sha1,sha256,sha512,md5,crc32"
    offered = (value_of(reply, "Tus-Extension") or "").split(",")
    assert "checksum" in offered
    assert ("checksum-trailer" in offered) is can_have_trailers


def test_discovery_names_no_algorithm_where_there_is_none() -> None:
    reply = tus1().render(plain("OPTIONS"), Discovered(1000, (Extension.CREATION,)), str)
    assert value_of(reply, "Tus-Checksum-Algorithm") is None


def test_a_mismatch_has_a_status_of_its_own() -> None:
    """CK-03."""
    reply = tus1().render_error(patch(), ChecksumMismatch("sha1"))
    assert status_line(reply.status) == "460 Checksum Mismatch"
    assert b"sha1" in reply.body
    assert value_of(reply, "Upload-Offset") is None


def test_other_statuses_have_the_names_that_everybody_knows() -> None:
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
def test_field_names_are_listed_without_their_case(text: str, names: set[str]) -> None:
    assert parse_field_names(text) == names


def test_a_head_without_a_body_may_say_the_checksum_of_nothing() -> None:
    """CK-06."""
    head = without(patch({"Upload-Checksum": f"sha1 {EMPTY_SHA1}"}), "content-length")
    verification = verification_of(replace(head, has_body=False))
    assert verification is not None
    assert b64encode(verification.checksums({})[0].digest).decode() == EMPTY_SHA1
    assert tus1().parse(tus("HEAD", ID, {"Upload-Checksum": "?"})) == Inspect(ID)
