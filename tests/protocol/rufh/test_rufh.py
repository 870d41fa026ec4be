"""Requests and replies of each interop version of the IETF draft."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.heads import ID, Bytes, Fields
from tests.protocol.tus1.test_errors import SAMPLES
from tus_wsgi.domain import errors
from tus_wsgi.domain.commands import (
    Append,
    Appended,
    Create,
    Created,
    Discover,
    Discovered,
    Download,
    Downloadable,
    Inspect,
    Inspected,
    Terminate,
    Terminated,
)
from tus_wsgi.domain.errors import (
    LengthExceeded,
    LengthMismatch,
    MalformedField,
    MethodNotAllowed,
    OffsetMismatch,
    RequestError,
    UnsupportedMediaType,
    UploadComplete,
    UploadGone,
    UploadTooLarge,
)
from tus_wsgi.domain.model import State, UploadId, UploadInfo
from tus_wsgi.protocol.http import Dialect, Reply, RequestHead
from tus_wsgi.protocol.rufh.dialect import MEDIA_TYPE, Rufh
from tus_wsgi.protocol.rufh.drafts import DRAFTS

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MAX_SIZE = 1000
OLD = [3, 5, 6]
NEW = [8, 9]
ALL = [*OLD, *NEW]
UPLOAD_ID = UploadId(ID)


def rufh(interop: int) -> Rufh:
    draft = next(draft for draft in DRAFTS if draft.interop == interop)
    return Rufh(draft, is_newest=draft is DRAFTS[0], max_size=MAX_SIZE, now=lambda: NOW)


def head(method: str, target: str | None, fields: dict[str, str], size: int = 0) -> RequestHead:
    length = {} if "Transfer-Encoding" in fields else {"Content-Length": str(size)}
    return RequestHead(method, target, Fields({**length, **fields}), has_body=size > 0)


def version_fields(interop: int, **fields: str) -> dict[str, str]:
    renamed = {name.replace("_", "-"): value for name, value in fields.items()}
    return {"Upload-Draft-Interop-Version": str(interop), **renamed}


def completeness(interop: int, *, complete: bool) -> dict[str, str]:
    if interop == 3:
        return {"Upload-Incomplete": "?0" if complete else "?1"}
    return {"Upload-Complete": "?1" if complete else "?0"}


def creation(interop: int, *, complete: bool, size: int = 0, **more: str) -> RequestHead:
    fields = {**version_fields(interop, **more), **completeness(interop, complete=complete)}
    return head("POST", None, fields, size)


def append(
    interop: int, *, complete: bool | None, offset: str = "3", size: int = 2, **more: str
) -> RequestHead:
    """Return the head of a PATCH.

    Args:
        interop: the version of the draft.
        complete: the value of the field for completeness; None leaves the field out.
        offset: the value of Upload-Offset.
        size: bytes of the body.
        more: further fields, with underscores for hyphens.
    """
    fields = {
        "Upload-Offset": offset,
        "Content-Type": MEDIA_TYPE,
        **version_fields(interop, **more),
    }
    if complete is not None:
        fields |= completeness(interop, complete=complete)
    return head("PATCH", ID, fields, size)


def url_of(id: UploadId) -> str:
    return f"https://example.com/files/{id}"


def field(reply: Reply, name: str) -> str | None:
    """Return the value of a field, which may occur once only; None without it."""
    values = [value for key, value in reply.fields if key.lower() == name.lower()]
    assert len(values) < 2
    return values[0] if values else None


def info(**changes: object) -> UploadInfo:
    return UploadInfo(**{"id": UPLOAD_ID, "length": 10, **changes})  # type: ignore[arg-type]


# -- selection of the dialect ----------------------------------------------------------------------


@pytest.mark.parametrize("interop", ALL)
def test_a_dialect_handles_requests_that_name_its_version(interop: int) -> None:
    dialect: Dialect = rufh(interop)
    assert dialect.speaks(head("HEAD", ID, version_fields(interop)))
    others = [rufh(other) for other in ALL if other != interop]
    assert not any(other.speaks(head("HEAD", ID, version_fields(interop))) for other in others)
    assert not dialect.speaks(
        head("HEAD", ID, {**version_fields(interop), "Tus-Resumable": "1.0.0"})
    )


def test_the_newest_version_handles_requests_without_a_version() -> None:
    request = head("POST", None, {"Upload-Complete": "?1"})
    assert [rufh(interop).speaks(request) for interop in ALL] == [False] * 4 + [True]
    assert rufh(9).speaks(head("HEAD", ID, {}))
    assert not rufh(9).speaks(head("POST", None, {}))


def test_a_get_without_a_version_returns_the_offset_of_an_unfinished_upload() -> None:
    """The upload exists, so an error would be wrong: 204 with the offset."""
    request = head("GET", ID, {})
    assert [rufh(interop).speaks(request) for interop in ALL] == [False] * 4 + [True]
    assert rufh(9).parse(request) == Download(UPLOAD_ID, or_inspect=True)
    reply = rufh(9).render(request, Inspected(info(offset=4)), url_of)
    assert (reply.status, field(reply, "Upload-Offset")) == (204, "4")
    disabled = Rufh(DRAFTS[0], is_newest=True, max_size=MAX_SIZE, downloads=False)
    assert not disabled.speaks(request)
    assert not rufh(9).speaks(head("GET", None, {}))


@pytest.mark.parametrize(("method", "target"), [("PATCH", ID), ("POST", None)])
def test_the_media_type_of_the_draft_needs_no_version(method: str, target: str | None) -> None:
    """The error names the field that is missing, not a field of another protocol."""
    fields = {"Content-Type": "application/partial-upload; a=b", "Upload-Offset": "0"}
    request = head(method, target, fields, size=5)
    assert [rufh(interop).speaks(request) for interop in ALL] == [False] * 4 + [True]
    with pytest.raises(MalformedField) as caught:
        rufh(9).parse(request)
    assert caught.value.field == "Upload-Complete"
    assert not rufh(9).speaks(head(method, target, {**fields, "Tus-Resumable": "1.0.0"}))
    assert not rufh(9).speaks(head(method, target, {"Content-Type": "application/octet-stream"}))


@pytest.mark.parametrize("version", ["4", "10", "x", "6, 6"])
def test_the_newest_version_handles_unknown_versions(version: str) -> None:
    """R-11: without interim responses."""
    fields = {"Upload-Draft-Interop-Version": version}
    unknown = head("POST", None, {**fields, "Upload-Complete": "?1"})
    assert [rufh(interop).speaks(unknown) for interop in ALL] == [False] * 4 + [True]
    assert rufh(9).speaks(head("DELETE", ID, fields))
    assert rufh(9).interim(unknown, url_of) is None
    assert not rufh(9).speaks(head("POST", None, fields))


# -- requests --------------------------------------------------------------------------------------


@pytest.mark.parametrize("interop", ALL)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_creation_that_completes_has_the_length_of_its_content(interop: int, method: str) -> None:
    """R-10, R-14, R-21"""
    fields = {**version_fields(interop), **completeness(interop, complete=True)}
    command = rufh(interop).parse(head(method, None, fields, 7))
    assert isinstance(command, Create)
    assert (command.length, command.is_open, command.completes) == (7, False, True)


@pytest.mark.parametrize("interop", ALL)
def test_a_creation_that_does_not_complete_stays_open(interop: int) -> None:
    """R-12, R-13: the upload ends when the client says so, and not at its length."""
    command = rufh(interop).parse(creation(interop, complete=False, size=3, Upload_Length="10"))
    assert isinstance(command, Create)
    assert (command.length, command.is_open, command.completes) == (10, True, False)
    command = rufh(interop).parse(creation(interop, complete=False))
    assert isinstance(command, Create)
    assert (command.length, command.has_data) == (None, True)


def test_a_chunked_creation_can_complete() -> None:
    fields = {"Transfer-Encoding": "chunked", "Upload-Complete": "?1"}
    command = rufh(9).parse(head("POST", None, fields, 1))
    assert isinstance(command, Create)
    assert (command.length, command.is_open, command.completes) == (None, True, True)


def test_a_creation_of_unknown_length_over_http2_can_complete() -> None:
    """D-14: without a Content-Length, the content is not empty."""
    request = head("POST", None, {"Upload-Complete": "?1", "Content-Length": ""})
    command = rufh(9).parse(replace(request, has_body=True, has_unsized_body=True))
    assert isinstance(command, Create)
    assert (command.length, command.is_open, command.completes) == (None, True, True)


def test_contradictory_lengths_are_rejected() -> None:
    """R-06"""
    with pytest.raises(LengthMismatch):
        rufh(9).parse(creation(9, complete=True, size=7, Upload_Length="8"))
    with pytest.raises(LengthMismatch):
        rufh(9).parse(append(9, complete=True, size=2, Upload_Length="6"))


def test_a_creation_that_is_too_large_is_rejected() -> None:
    """R-16"""
    with pytest.raises(UploadTooLarge):
        rufh(9).parse(creation(9, complete=False, Upload_Length=str(MAX_SIZE + 1)))


@pytest.mark.parametrize("text", ["x", "-1", "1.0"])
def test_a_malformed_length_is_ignored(text: str) -> None:
    """R-03"""
    command = rufh(9).parse(creation(9, complete=False, Upload_Length=text))
    assert isinstance(command, Create)
    assert command.length is None


@pytest.mark.parametrize("interop", ALL)
def test_a_creation_requires_its_completeness(interop: int) -> None:
    """R-02"""
    with pytest.raises(MalformedField):
        rufh(interop).parse(head("POST", None, version_fields(interop, Upload_Complete="true")))


def test_type_and_disposition_become_metadata() -> None:
    """R-21"""
    command = rufh(6).parse(
        creation(
            6,
            complete=True,
            size=1,
            Content_Type="video/mp4",
            Content_Disposition="inline; filename=\"a.mp4\"; filename*=UTF-8''Men%C3%BC.mp4",
        )
    )
    assert isinstance(command, Create)
    assert dict(command.metadata.pairs) == {
        "filetype": b"video/mp4",
        "filename": "Menü.mp4".encode(),
    }


def test_the_type_of_a_partial_upload_is_not_metadata() -> None:
    fields = {"Content_Type": MEDIA_TYPE, "Upload_Metadata": "filename d29ybGQ="}
    command = rufh(6).parse(creation(6, complete=True, size=1, **fields))
    assert isinstance(command, Create)
    assert dict(command.metadata.pairs) == {"filename": b"world"}


@pytest.mark.parametrize("interop", ALL)
def test_an_append_is_parsed(interop: int) -> None:
    """R-37"""
    command = rufh(interop).parse(append(interop, complete=False))
    assert isinstance(command, Append)
    assert (command.id, command.offset, command.length, command.completes) == (ID, 3, None, False)
    command = rufh(interop).parse(append(interop, complete=True))
    assert isinstance(command, Append)
    assert (command.length, command.completes) == (5, True)


@pytest.mark.parametrize(("interop", "completes"), [(3, True), (5, False), (6, False)])
def test_old_versions_have_a_default_completeness_of_an_append(
    *, interop: int, completes: bool
) -> None:
    command = rufh(interop).parse(append(interop, complete=None))
    assert isinstance(command, Append)
    assert command.completes is completes


@pytest.mark.parametrize("interop", NEW)
def test_new_versions_require_the_completeness_of_an_append(interop: int) -> None:
    """R-34"""
    with pytest.raises(MalformedField):
        rufh(interop).parse(append(interop, complete=None))


@pytest.mark.parametrize("interop", ALL)
@pytest.mark.parametrize("offset", ["abc", "-1", "", "1, 2"])
def test_an_append_requires_an_offset(interop: int, offset: str) -> None:
    """R-34"""
    with pytest.raises(MalformedField, match="Upload-Offset"):
        rufh(interop).parse(append(interop, complete=True, offset=offset))


@pytest.mark.parametrize("interop", ALL)
def test_an_append_requires_its_type_since_version_6(interop: int) -> None:
    """R-35"""
    request = append(interop, complete=True, Content_Type="video/mp4")
    if interop < 6:
        assert isinstance(rufh(interop).parse(request), Append)
    else:
        with pytest.raises(UnsupportedMediaType):
            rufh(interop).parse(request)


@pytest.mark.parametrize("interop", ALL)
@pytest.mark.parametrize("method", ["HEAD", "DELETE"])
def test_old_versions_reject_append_fields_in_other_requests(interop: int, method: str) -> None:
    """R-33b"""
    request = head(method, ID, version_fields(interop, Upload_Offset="3"))
    if interop in OLD:
        with pytest.raises(MalformedField):
            rufh(interop).parse(request)
    else:
        assert isinstance(rufh(interop).parse(request), Inspect | Terminate)


def test_other_methods_are_parsed() -> None:
    """R-50, R-60"""
    dialect = rufh(9)
    assert dialect.parse(head("HEAD", ID, {})) == Inspect(UPLOAD_ID)
    assert dialect.parse(head("DELETE", ID, {})) == Terminate(UPLOAD_ID)
    expected = Download(UPLOAD_ID, or_inspect=True, may_redirect=False)
    assert dialect.parse(head("GET", ID, version_fields(9))) == expected
    assert rufh(8).parse(head("GET", ID, version_fields(8))) == Download(UPLOAD_ID)
    assert dialect.parse(head("OPTIONS", None, version_fields(9))) == Discover()
    with pytest.raises(MethodNotAllowed):
        dialect.parse(head("DELETE", None, version_fields(9)))
    with pytest.raises(MethodNotAllowed):
        dialect.parse(head("POST", ID, version_fields(9)))


@pytest.mark.parametrize("interop", ALL)
def test_disabled_methods_are_rejected(interop: int) -> None:
    draft = next(draft for draft in DRAFTS if draft.interop == interop)
    dialect = Rufh(draft, is_newest=False, max_size=MAX_SIZE, downloads=False, terminations=False)
    with pytest.raises(MethodNotAllowed) as caught:
        dialect.parse(head("DELETE", ID, version_fields(interop)))
    assert "DELETE" not in caught.value.allowed
    get = head("GET", ID, version_fields(interop))
    if interop == 9:
        # without downloads, GET works like HEAD.
        assert dialect.parse(get) == Inspect(UPLOAD_ID)
    else:
        with pytest.raises(MethodNotAllowed):
            dialect.parse(get)


_TEXT = st.text(st.characters(max_codepoint=255), max_size=20)


@pytest.mark.parametrize("text", ["x @", "a,a", "user Ym9i,x @"])
def test_malformed_metadata_is_rejected(text: str) -> None:
    """CM-05, CM-07: a description that is ignored without an error is lost."""
    with pytest.raises(MalformedField):
        rufh(6).parse(creation(6, complete=True, Upload_Metadata=text))


def test_the_length_of_a_disposition_is_limited() -> None:
    name = "a" * 5_000
    long = creation(6, complete=True, Content_Disposition=f"inline; filename={name}")
    command = rufh(6).parse(long)
    assert isinstance(command, Create)
    assert dict(command.metadata.pairs) == {"filename": name.encode()}
    too_long = creation(6, complete=True, Content_Disposition=";" * 700_000)
    with pytest.raises(MalformedField, match="Content-Disposition"):
        rufh(6).parse(too_long)


@pytest.mark.property
@given(
    st.sampled_from(ALL),
    st.sampled_from(["POST", "PUT", "PATCH", "HEAD", "DELETE", "GET", "OPTIONS", "BREW", ""]),
    st.none() | st.just(ID) | _TEXT,
    st.dictionaries(
        st.sampled_from(
            [
                *("Upload-Offset", "Upload-Complete", "Upload-Incomplete", "Upload-Length"),
                *("Content-Type", "Content-Length", "Content-Disposition", "Upload-Metadata"),
            ]
        ),
        st.sampled_from(["?0", "?1", "0", "5", MEDIA_TYPE, "inline; filename=a"]) | _TEXT,
    ),
)
def test_any_request_is_parsed_or_rejected(
    interop: int, method: str, target: str | None, fields: dict[str, str]
) -> None:
    request = RequestHead(
        method, target, Fields({**version_fields(interop), **fields}), has_body=True
    )
    reply = Reply(404)
    try:
        rufh(interop).parse(request)
    except RequestError as error:
        reply = rufh(interop).render_error(request, error)
    assert 400 <= reply.status < 500


# -- replies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("interop", ALL)
def test_head_has_offset_completeness_length_and_limits(interop: int) -> None:
    """R-30, R-31"""
    reply = rufh(interop).render(
        head("HEAD", ID, version_fields(interop)), Inspected(info(offset=4, is_open=True)), url_of
    )
    assert reply.status == 204
    assert field(reply, "Upload-Offset") == "4"
    assert field(reply, "Cache-Control") == "no-store"
    assert field(reply, "Upload-Draft-Interop-Version") == str(interop)
    if interop == 3:
        assert field(reply, "Upload-Incomplete") == "?1"
    else:
        assert field(reply, "Upload-Complete") == "?0"
    assert (field(reply, "Upload-Limit") is not None) == (interop >= 6)
    assert field(reply, "Upload-Length") == ("10" if interop >= 6 else None)


def test_an_open_upload_is_complete_only_when_the_client_says_so() -> None:
    request = head("HEAD", ID, version_fields(9))
    open_upload = info(offset=10, is_open=True)
    assert field(rufh(9).render(request, Inspected(open_upload), url_of), "Upload-Complete") == "?0"
    complete = info(offset=10)
    assert field(rufh(9).render(request, Inspected(complete), url_of), "Upload-Complete") == "?1"


def test_the_remaining_lifetime_is_a_limit() -> None:
    expiring = info(expires=NOW + timedelta(seconds=90))
    for interop, key in ((6, "expires"), (8, "max-age"), (9, "max-age")):
        request = head("HEAD", ID, version_fields(interop))
        reply = rufh(interop).render(request, Inspected(expiring), url_of)
        assert field(reply, "Upload-Limit") == f"max-size={MAX_SIZE}, min-size=0, {key}=90"


@pytest.mark.parametrize("interop", ALL)
def test_the_reply_to_a_creation_has_the_location(interop: int) -> None:
    """R-12"""
    request = creation(interop, complete=False)
    outcome = Created(info(length=None, is_open=True), has_data=True)
    reply = rufh(interop).render(request, outcome, url_of)
    assert (reply.status, field(reply, "Location")) == (201, url_of(UPLOAD_ID))
    assert field(reply, "Upload-Offset") == "0"


@pytest.mark.parametrize(("interop", "status"), [(3, 201), (5, 201), (6, 201), (8, 204), (9, 204)])
def test_the_reply_to_an_append_has_the_offset(interop: int, status: int) -> None:
    """R-37, R-38: tus-js-client needs the offset in every version."""
    reply = rufh(interop).render(
        append(interop, complete=True), Appended(info(length=5, offset=5)), url_of
    )
    assert (reply.status, field(reply, "Upload-Offset")) == (status, "5")
    name, value = ("Upload-Incomplete", "?0") if interop == 3 else ("Upload-Complete", "?1")
    assert field(reply, name) == value


@pytest.mark.parametrize("interop", ALL)
def test_a_download_has_the_progress_since_the_newest_version(interop: int) -> None:
    """R-30: the newest version has it in replies to GET too."""
    finished = replace(info(offset=10), state=State.FINISHED)
    reply = rufh(interop).render(
        head("GET", ID, version_fields(interop)), Downloadable(finished, Bytes()), url_of
    )
    assert (reply.status, reply.content) == (200, (0, 10))
    expected = ("10", "?1", "10") if interop == 9 else (None, None, None)
    names = ("Upload-Offset", "Upload-Complete", "Upload-Length")
    assert tuple(field(reply, name) for name in names) == expected


def test_a_deletion_gets_204_and_options_get_the_limits() -> None:
    """R-50, R-60"""
    reply = rufh(9).render(head("DELETE", ID, {}), Terminated(), url_of)
    assert reply.status == 204
    reply = rufh(9).render(
        head("OPTIONS", None, version_fields(9)), Discovered(MAX_SIZE, ()), url_of
    )
    assert field(reply, "Upload-Limit") == f"max-size={MAX_SIZE}, min-size=0"


# -- interim responses -----------------------------------------------------------------------------


@pytest.mark.parametrize("interop", ALL)
def test_interim_responses_to_a_creation_have_the_url_and_then_offsets(interop: int) -> None:
    """R-10, R-15, R-42"""
    render = rufh(interop).interim(creation(interop, complete=True, size=9), url_of)
    assert render is not None
    first = render(info())
    assert first is not None
    assert (first.status, field(first, "Location")) == (104, url_of(UPLOAD_ID))
    assert field(first, "Upload-Draft-Interop-Version") == str(interop)
    later = render(info(offset=5))
    if interop == 3:
        assert later is None
    else:
        assert later is not None
        assert (field(later, "Upload-Offset"), field(later, "Location")) == ("5", None)


def test_requests_without_a_version_get_no_interim_response() -> None:
    """R-11: many libraries treat a 104 as the final response."""
    request = head("POST", None, {"Upload-Complete": "?1"}, 9)
    assert rufh(9).interim(request, url_of) is None
    assert rufh(3).interim(append(3, complete=True), url_of) is None


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("interop", ALL)
def test_a_wrong_offset_has_a_problem_document(interop: int) -> None:
    """R-36"""
    reply = rufh(interop).render_error(append(interop, complete=False), OffsetMismatch(5, 3))
    assert (reply.status, field(reply, "Upload-Offset")) == (409, "5")
    if interop == 3:
        assert field(reply, "Upload-Incomplete") == "?1"
    else:
        assert field(reply, "Upload-Complete") == "?0"
    if interop >= 6:
        assert field(reply, "Content-Type") == "application/problem+json"
        problem = json.loads(reply.body)
        assert problem["type"].endswith("#mismatching-upload-offset")
        assert (problem["expected-offset"], problem["provided-offset"]) == (5, 3)


def test_an_append_beyond_the_length_is_inconsistent() -> None:
    """R-06, R-40"""
    for error in (LengthMismatch("5", 6), LengthExceeded(5, 6)):
        reply = rufh(9).render_error(append(9, complete=True), error)
        assert reply.status == 400
        assert json.loads(reply.body)["type"].endswith("#inconsistent-upload-length")
        # The error does not say the limit of the upload's plan, and no limit is exceeded.
        assert field(reply, "Upload-Limit") is None


def test_an_append_beyond_the_limit_of_the_upload_is_too_large() -> None:
    """R-16, R-44: it does not contradict the length, so the client may append fewer bytes.

    The plan of the upload may have a smaller limit than the server.
    """
    reply = rufh(9).render_error(append(9, complete=False), UploadTooLarge(5, 6))
    assert reply.status == 413
    assert field(reply, "Upload-Limit") == "max-size=5"
    assert field(reply, "Content-Type") == "text/plain; charset=utf-8"


def test_an_append_to_a_complete_upload_has_a_problem_document() -> None:
    """R-43"""
    for interop, name in ((6, "completed-upload"), (9, "inconsistent-upload-length")):
        reply = rufh(interop).render_error(append(interop, complete=True), UploadComplete(5, 6))
        assert reply.status == 400
        assert json.loads(reply.body)["type"].endswith(f"#{name}")


@pytest.mark.parametrize(("interop", "status"), [(3, 404), (5, 404), (6, 404), (8, 410), (9, 410)])
def test_a_deleted_upload_has_the_status_of_the_version(interop: int, status: int) -> None:
    """R-33"""
    reply = rufh(interop).render_error(
        head("HEAD", ID, version_fields(interop)), UploadGone("expired")
    )
    assert (reply.status, field(reply, "Upload-Offset")) == (status, None)


def test_the_reply_to_a_too_large_creation_has_the_limit() -> None:
    """R-16"""
    for limit in (MAX_SIZE, 7):
        reply = rufh(9).render_error(creation(9, complete=False), UploadTooLarge(limit, 2000))
        assert (reply.status, field(reply, "Upload-Limit")) == (413, f"max-size={limit}")


def test_the_reply_to_a_creation_beyond_its_own_length_has_the_limit_of_the_server() -> None:
    """R-16: no plan exists yet."""
    reply = rufh(9).render_error(creation(9, complete=False), LengthExceeded(5, 6))
    assert (reply.status, field(reply, "Upload-Limit")) == (413, f"max-size={MAX_SIZE}")


@pytest.mark.parametrize("interop", ALL)
@pytest.mark.parametrize(
    "error", [error for error, _ in SAMPLES], ids=lambda error: type(error).__name__
)
def test_errors_have_a_valid_status(interop: int, error: errors.TusError) -> None:
    for request in (append(interop, complete=True), head("HEAD", ID, version_fields(interop))):
        reply = rufh(interop).render_error(request, error)
        assert 400 <= reply.status < 600
        if request.method == "HEAD":
            assert not reply.body
            assert reply.status < 500
        if isinstance(error, RequestError):
            assert reply.status < 500


def test_the_drafts_are_all_versions_newest_first() -> None:
    assert [draft.interop for draft in DRAFTS] == sorted(ALL, reverse=True)
    assert inspect.getdoc(Rufh)
