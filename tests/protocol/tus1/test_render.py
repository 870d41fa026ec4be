"""Replies of tus 1.0.0 to requests that succeeded."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.heads import (
    ALL_EXTENSIONS,
    CONTENT,
    ID,
    patch,
    plain,
    post,
    tus,
    tus1,
    value_of,
)
from tus_wsgi.domain.commands import (
    Appended,
    Created,
    Discovered,
    Downloadable,
    Inspected,
    Outcome,
    Terminated,
)
from tus_wsgi.domain.model import Extension, Metadata, State, UploadId, UploadInfo
from tus_wsgi.protocol.fields import parse_metadata
from tus_wsgi.protocol.http import Reply, RequestHead

URL = f"https://example.com/files/{ID}"

EXPIRES = datetime(2014, 6, 25, 16, 0, tzinfo=UTC)

HALF = UploadInfo(ID, length=10, offset=5)
WHOLE = UploadInfo(ID, length=10, offset=10, state=State.FINISHED)

OUTCOMES: list[tuple[RequestHead, Outcome]] = [
    (plain("OPTIONS"), Discovered(1000, ALL_EXTENSIONS)),
    (tus("HEAD", ID), Inspected(HALF)),
    (post(), Created(HALF, has_data=False)),
    (post(), Created(HALF, has_data=True)),
    (patch(), Appended(HALF)),
    (tus("DELETE", ID), Terminated()),
    (plain("GET", ID), Downloadable(WHOLE, CONTENT)),
    (plain("GET", ID, {"If-Match": '"other"'}), Downloadable(WHOLE, CONTENT)),
    (plain("GET", ID, {"If-None-Match": "*"}), Downloadable(WHOLE, CONTENT)),
]


def render(head: RequestHead, outcome: Outcome) -> Reply:
    def url_of(id: UploadId) -> str:
        return f"https://example.com/files/{id}"

    return tus1().render(head, outcome, url_of)


@pytest.mark.parametrize(("head", "outcome"), OUTCOMES)
def test_replies_have_the_version_and_nosniff(head: RequestHead, outcome: Outcome) -> None:
    """C-01."""
    reply = render(head, outcome)
    assert value_of(reply, "Tus-Resumable") == "1.0.0"
    assert value_of(reply, "X-Content-Type-Options") == "nosniff"


@pytest.mark.parametrize(("head", "outcome"), OUTCOMES)
def test_replies_with_a_body_have_its_length(head: RequestHead, outcome: Outcome) -> None:
    reply = render(head, outcome)
    length = value_of(reply, "Content-Length")
    if head.method == "HEAD" or reply.status in (204, 304):
        assert (length, reply.body, reply.content) == (None, b"", None)
    elif reply.content is None:
        assert length == str(len(reply.body))
    else:
        assert length == str(reply.content[1] - reply.content[0])


def test_discovery_describes_the_server() -> None:
    """C-05, C-07, C-09."""
    reply = render(plain("OPTIONS"), Discovered(1000, ALL_EXTENSIONS))
    assert reply.status == 204
    assert value_of(reply, "Tus-Version") == "1.0.0"
    assert value_of(reply, "Tus-Max-Size") == "1000"
    extensions = (
        "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination,"
        "concatenation,concatenation-unfinished"
    )
    assert value_of(reply, "Tus-Extension") == extensions
    assert value_of(reply, "Tus-Checksum-Algorithm") == "sha1,sha256,sha512,md5,crc32"


def test_discovery_without_extensions_omits_the_field() -> None:
    """C-07."""
    assert value_of(render(plain("OPTIONS"), Discovered(1000, ())), "Tus-Extension") is None


@pytest.mark.parametrize("offset", [0, 5, 10])
def test_head_has_offset_and_length(offset: int) -> None:
    """C-20, C-21, C-22, C-23, CR-02."""
    reply = render(tus("HEAD", ID), Inspected(UploadInfo(ID, length=10, offset=offset)))
    assert reply.status == 200
    assert value_of(reply, "Upload-Offset") == str(offset)
    assert value_of(reply, "Upload-Length") == "10"
    assert value_of(reply, "Upload-Defer-Length") is None
    assert value_of(reply, "Cache-Control") == "no-store"


def test_head_of_an_empty_upload_is_complete() -> None:
    """CR-07."""
    reply = render(tus("HEAD", ID), Inspected(UploadInfo(ID, length=0)))
    assert (value_of(reply, "Upload-Offset"), value_of(reply, "Upload-Length")) == ("0", "0")


def test_head_has_the_deferred_length() -> None:
    """DL-01, DL-03."""
    reply = render(tus("HEAD", ID), Inspected(UploadInfo(ID, length=None, offset=5)))
    assert value_of(reply, "Upload-Defer-Length") == "1"
    assert value_of(reply, "Upload-Length") is None
    assert value_of(reply, "Upload-Offset") == "5"


@pytest.mark.parametrize("raw", ["b Yg==, a YQ==", "empty ,utf8 w7w=", "gr\xc3\xb6 MQ=="])
def test_metadata_is_echoed_exactly(raw: str) -> None:
    """CR-08."""
    info = UploadInfo(ID, length=10, metadata=parse_metadata(raw))
    assert value_of(render(tus("HEAD", ID), Inspected(info)), "Upload-Metadata") == raw


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        pytest.param(Metadata((("a", b"a"), ("flag", b""))), "a YQ==,flag", id="built"),
        pytest.param(Metadata(), None, id="CM-03"),
        pytest.param(Metadata((("a b", b"a"),)), None, id="no valid key"),
    ],
)
def test_metadata_without_stored_text_is_rebuilt(metadata: Metadata, expected: str | None) -> None:
    info = UploadInfo(ID, length=10, metadata=metadata)
    assert value_of(render(tus("HEAD", ID), Inspected(info)), "Upload-Metadata") == expected


def test_a_creation_has_the_location() -> None:
    """CR-01."""
    reply = render(post(), Created(UploadInfo(ID, length=10), has_data=False))
    assert (reply.status, reply.body) == (201, b"")
    assert value_of(reply, "Location") == URL
    assert value_of(reply, "Upload-Offset") is None


@pytest.mark.parametrize("offset", [0, 5, 10])
def test_a_creation_with_data_has_the_offset(offset: int) -> None:
    """CW-02, CW-03, CW-04."""
    info = UploadInfo(ID, length=10, offset=offset)
    reply = render(post(), Created(info, has_data=True))
    assert reply.status == 201
    assert value_of(reply, "Location") == URL
    assert value_of(reply, "Upload-Offset") == str(offset)


def test_an_append_has_the_offset() -> None:
    """C-30."""
    reply = render(patch(), Appended(HALF))
    assert (reply.status, reply.body) == (204, b"")
    assert value_of(reply, "Upload-Offset") == "5"


def test_a_termination_has_no_content() -> None:
    """TE-01."""
    reply = render(tus("DELETE", ID), Terminated())
    assert (reply.status, reply.body) == (204, b"")


@pytest.mark.parametrize(
    ("head", "kind"),
    [(tus("HEAD", ID), Inspected), (patch(), Appended)],
    ids=["EX-07", "EX-02"],
)
def test_incomplete_uploads_have_their_expiry(
    head: RequestHead, kind: type[Inspected | Appended]
) -> None:
    """EX-04, EX-06."""
    expiring = UploadInfo(ID, length=10, expires=EXPIRES)
    assert (
        value_of(render(head, kind(expiring)), "Upload-Expires") == "Wed, 25 Jun 2014 16:00:00 GMT"
    )
    assert value_of(render(head, kind(HALF)), "Upload-Expires") is None
    complete = UploadInfo(ID, length=10, offset=10, state=State.FINISHED, expires=EXPIRES)
    assert value_of(render(head, kind(complete)), "Upload-Expires") is None


def test_a_creation_has_the_expiry() -> None:
    """EX-03."""
    reply = render(post(), Created(UploadInfo(ID, 10, expires=EXPIRES), has_data=False))
    assert value_of(reply, "Upload-Expires") == "Wed, 25 Jun 2014 16:00:00 GMT"


def test_a_download_has_the_content() -> None:
    reply = render(plain("GET", ID), Downloadable(WHOLE, CONTENT))
    assert (reply.status, reply.content) == (200, (0, 10))
    assert value_of(reply, "ETag") == '"abc-2"'


@pytest.mark.property
@given(
    st.integers(0, 2**63 - 1),
    st.none() | st.integers(0, 2**63 - 1),
    st.lists(st.tuples(st.text(), st.binary())).map(tuple),
)
def test_any_upload_gives_a_valid_reply_to_head(
    offset: int, length: int | None, pairs: tuple[tuple[str, bytes], ...]
) -> None:
    """CM-08: fields are valid for WSGI, whatever the bucket contains."""
    info = UploadInfo(ID, length=length, offset=offset, metadata=Metadata(pairs))
    for name, value in render(tus("HEAD", ID), Inspected(info)).fields:
        assert name.isascii()
        value.encode("latin-1")
        assert not any(c < " " or c == "\x7f" for c in value)


def test_extensions_are_announced_in_the_order_given() -> None:
    """C-07."""
    reversed_ = (Extension.TERMINATION, Extension.CREATION)
    reply = render(plain("OPTIONS"), Discovered(1000, reversed_))
    assert value_of(reply, "Tus-Extension") == "termination,creation"
