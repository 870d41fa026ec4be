"""Header fields of the extensions `concatenation` and `concatenation-unfinished`."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.heads import ID, OCTETS, patch, tus, tus1, value_of
from tus_wsgi.domain.commands import Append, Concatenate, Create, Created, Inspected
from tus_wsgi.domain.errors import InvalidPartial, MalformedField, UploadFinal
from tus_wsgi.domain.model import Extension, Final, Metadata, Partial, State, UploadId, UploadInfo
from tus_wsgi.protocol.http import Reply, RequestHead
from tus_wsgi.protocol.tus1.concat import MAX_PARTIALS, build_concat, parse_concat

BASE = "https://example.com/api/files"
A, B = UploadId("a-_1"), UploadId("b")

PARTIAL_INFO = UploadInfo(ID, length=10, offset=5, concat=Partial())
FINAL = Final((A, B), "final;/api/files/a-_1 b")

ids = st.from_regex(r"[A-Za-z0-9_-]{1,30}", fullmatch=True).map(UploadId)


def url_of(id: UploadId) -> str:
    return f"{BASE}/{id}"


def final(concat: str, **fields: str) -> RequestHead:
    """A request for a final upload."""
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return replace(tus("POST", None, {"Upload-Concat": concat, **named}), base_url=BASE)


# -- requests --------------------------------------------------------------------------------------


@pytest.mark.property
@given(st.lists(ids, min_size=1, max_size=8))
def test_parse_concat_is_the_inverse_of_build_concat(partials: list[UploadId]) -> None:
    """CO-02, CO-06: in the order of the list, which may contain duplicates."""
    text = build_concat(Final(tuple(partials)), url_of)
    assert parse_concat(text, BASE) == Final(tuple(partials), text)
    assert build_concat(parse_concat(text, BASE), url_of) == text


@pytest.mark.property
@given(st.text() | st.text("partial;fn:/ .%?#@[]0"), st.sampled_from([BASE, "http://h", ""]))
def test_any_value_is_parsed_or_rejected(text: str, base_url: str) -> None:
    for value in (text, "final;" + text):
        try:
            concat = parse_concat(value, base_url)
        except MalformedField:
            continue
        assert build_concat(concat, url_of) == value
        assert value.isascii()
        assert value.isprintable()


@pytest.mark.parametrize(
    "reference",
    [
        "https://example.com/api/files/a-_1",
        "http://example.com/api/files/a-_1",
        "https://EXAMPLE.com:443/api/files/a-_1",
        "http://example.com:80/api/files/a-_1",
        "//example.com/api/files/a-_1",
        "/api/files/a-_1",
        "files/a-_1",
        "a-_1",
        "/api/files/a-_1?token=x%20y",
        "a-_1?token=x",
        "/api/%66iles/a%2D_1",
        "/api/files/../files/a-_1",
        "a%2D_1",
    ],
)
def test_equivalent_urls_name_the_same_upload(reference: str) -> None:
    """CO-07."""
    assert parse_concat(f"final;{reference}", BASE) == Final((A,), f"final;{reference}")


@pytest.mark.parametrize(
    "reference",
    [
        *("https://other.example/api/files/a", "https://example.com:444/api/files/a"),
        *("http://example.com:443/api/files/a", "https://example.com.evil/api/files/a"),
        *("https://user@other/api/files/a", "ftp://example.com/api/files/a", "file:///api/files/a"),
        *("/files/a", "/api/files", "/api/files/", "/api/files-x/a", "/api/files//a", "/a", "./a"),
        *("/api/files/a/b", "/api/files/a.info", "a.info", "../a", "a/b"),
        *("https://[/api/files/a", "https://example.com:x/api/files/a", "https://", "javascript:a"),
        *("a%00", "a%2Fb", "a%", "%C3%A4", "\xe4", "a\tb", "x" * 300, "#a", "?a"),
    ],
)
def test_urls_of_other_resources_are_rejected(reference: str) -> None:
    """CO-07: other hosts, other paths, and invalid ids."""
    with pytest.raises(MalformedField) as caught:
        parse_concat(f"final;{reference}", BASE)
    assert caught.value.field == "Upload-Concat"
    assert len(caught.value.reason) < 200


def test_the_number_of_partials_is_limited() -> None:
    longest = f"final;{' '.join(['a-_1'] * MAX_PARTIALS)}"
    assert parse_concat(longest, BASE) == Final((A,) * MAX_PARTIALS, longest)
    with pytest.raises(MalformedField, match="expected at most 2000 partial uploads, got 2001"):
        parse_concat(f"{longest} b", BASE)


def test_urls_are_resolved_against_the_base_url_of_the_request() -> None:
    for base in ("http://127.0.0.1:8080/files", "http://[::1]/files", "http://h"):
        raw = f"final;{base}/a-_1 {base}/b"
        assert parse_concat(raw, base) == Final((A, B), raw)
        with pytest.raises(MalformedField):
            parse_concat(raw, BASE)


@pytest.mark.parametrize("value", ["final; a-_1 b", "final;a-_1   b", "final;a-_1 b "])
def test_additional_spaces_are_accepted(value: str) -> None:
    """CO-10: the field is sent back unchanged."""
    assert parse_concat(value, BASE) == Final((A, B), value)


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "final", "final;", "final; ", "final ;a", "Final;a", "FINAL;a", "final:a"),
        *("partial;a", "partial ", " partial", "PARTIAL", "Partial", "partial,partial", "foo"),
        *("final;a,b/c d", "final;a;b", "final;a\tb", "final;a\nb"),
    ],
)
def test_other_forms_are_rejected(value: str) -> None:
    """CO-09, CO-10."""
    with pytest.raises(MalformedField):
        tus1().parse(final(value, Upload_Length="1"))


def test_a_creation_can_be_partial() -> None:
    """CO-01, CW-10."""
    fields = {"Upload-Concat": "partial", "Content-Type": OCTETS}
    head = tus("POST", None, {**fields, "Upload-Length": "10"}, has_body=True)
    assert tus1().parse(head) == Create(10, Metadata(), has_data=True, is_partial=True)
    deferred = tus("POST", None, {**fields, "Upload-Defer-Length": "1"})
    assert tus1().parse(deferred) == Create(None, Metadata(), has_data=True, is_partial=True)


def test_a_final_upload_has_partials_and_its_own_metadata() -> None:
    """CO-02, CO-05."""
    head = final("final;/api/files/a-_1 b", Upload_Metadata="a YQ==")
    expected = Concatenate(FINAL, Metadata((("a", b"a"),), "a YQ=="))
    assert tus1().parse(head) == expected
    typed = final("final;/api/files/a-_1 b", Upload_Metadata="a YQ==", Content_Type="text/plain")
    assert tus1().parse(typed) == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Upload-Length", "10"),
        ("Upload-Defer-Length", "1"),
        ("Upload-Checksum", "sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk="),
        ("Upload-Metadata", "a YQ==,a YQ=="),
    ],
)
def test_fields_about_a_body_are_rejected_in_a_final_upload(field: str, value: str) -> None:
    """CO-11."""
    with pytest.raises(MalformedField):
        tus1().parse(final("final;a", **{field: value}))


def test_a_body_is_rejected_in_a_final_upload() -> None:
    """CO-11, CW-10."""
    for type in ({}, {"Content_Type": OCTETS}):
        with pytest.raises(MalformedField):
            tus1().parse(replace(final("final;a", **type), has_body=True))


def test_the_field_is_rejected_if_the_extension_is_not_offered() -> None:
    bare = tus1(extensions=(Extension.CREATION,))
    for value in ("partial", "final;a"):
        with pytest.raises(MalformedField):
            bare.parse(final(value, Upload_Length="1"))


def test_the_field_is_ignored_in_other_requests() -> None:
    """Only a creation can be partial or final."""
    assert tus1().parse(patch({"Upload-Concat": "?"})) == Append(ID, 0)


@pytest.mark.parametrize(
    "extensions",
    [
        (Extension.CONCATENATION,),
        (Extension.CREATION, Extension.CONCATENATION_UNFINISHED),
    ],
)
def test_the_extensions_require_their_base(extensions: tuple[Extension, ...]) -> None:
    """C-08."""
    with pytest.raises(ValueError, match="expected"):
        tus1(extensions=extensions)


# -- replies ---------------------------------------------------------------------------------------


def head_of(info: UploadInfo) -> Reply:
    return tus1().render(tus("HEAD", ID), Inspected(info), url_of)


def test_head_of_a_partial_upload_has_the_field_and_the_offset() -> None:
    """CO-01."""
    reply = head_of(PARTIAL_INFO)
    assert value_of(reply, "Upload-Concat") == "partial"
    assert value_of(reply, "Upload-Offset") == "5"


@pytest.mark.parametrize("length", [10, None])
def test_head_of_an_unfinished_final_upload_has_no_offset(length: int | None) -> None:
    """CU-01."""
    reply = head_of(UploadInfo(ID, length, 5, concat=FINAL))
    assert reply.status == 200
    assert value_of(reply, "Upload-Concat") == FINAL.raw
    assert value_of(reply, "Upload-Offset") is None
    assert value_of(reply, "Upload-Length") == (None if length is None else "10")
    assert value_of(reply, "Upload-Defer-Length") is None


def test_head_of_a_finished_final_upload_has_offset_and_length() -> None:
    """CO-03."""
    reply = head_of(UploadInfo(ID, 10, 10, state=State.FINISHED, concat=FINAL))
    assert value_of(reply, "Upload-Concat") == FINAL.raw
    assert value_of(reply, "Upload-Offset") == value_of(reply, "Upload-Length") == "10"


def test_head_of_a_final_upload_of_tusd_has_absolute_urls() -> None:
    reply = head_of(UploadInfo(ID, 10, 10, concat=Final((A, B))))
    assert value_of(reply, "Upload-Concat") == f"final;{BASE}/a-_1 {BASE}/b"


def test_a_creation_of_a_final_upload_has_the_location() -> None:
    info = UploadInfo(ID, 10, 0, concat=FINAL)
    reply = tus1().render(final("final;a"), Created(info, has_data=False), url_of)
    assert reply.status == 201
    assert value_of(reply, "Location") == url_of(ID)
    assert value_of(reply, "Upload-Offset") is None


def test_errors_of_concatenation_are_permanent() -> None:
    """CO-04, CO-08, CO-09: clients do not retry after these statuses."""
    assert tus1().render_error(patch(), UploadFinal()).status == 403
    rejected = tus1().render_error(final("final;a"), InvalidPartial("the partial upload a is gone"))
    assert rejected.status == 400
    assert b"upload a is gone" in rejected.body
