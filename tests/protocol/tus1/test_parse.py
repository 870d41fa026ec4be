"""Parse requests of tus 1.0.0, with checks in the specified order."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protocol.heads import ID, OCTETS, Fields, patch, plain, post, tus, tus1, without
from tests.protocol.test_fields import BAD_INTEGERS
from tus_wsgi.domain.commands import Append, Create, Discover, Download, Inspect, Terminate
from tus_wsgi.domain.errors import (
    MalformedField,
    MethodNotAllowed,
    RequestError,
    UnsupportedMediaType,
    UnsupportedVersion,
    UploadNotFound,
    UploadTooLarge,
)
from tus_wsgi.domain.model import Extension, Metadata
from tus_wsgi.protocol.http import Dialect, RequestHead

WRONG_VERSIONS = [
    *("0.2.2", "2.0.0", "1.0", "1.0.0.0", "1.0.0,1.0.0", "abc", "1.0.0 ", "v1.0.0", "9" * 9000),
]

ONLY_CREATION = (Extension.CREATION,)


def parse_error(head: RequestHead) -> RequestError:
    with pytest.raises(RequestError) as caught:
        tus1().parse(head)
    return caught.value


def malformed(head: RequestHead) -> str:
    error = parse_error(head)
    assert isinstance(error, MalformedField)
    return error.field


def test_tus1_is_a_dialect() -> None:
    dialect: Dialect = tus1()
    assert dialect.speaks(tus("HEAD", ID))


@pytest.mark.parametrize("version", ["1.0.0", "0.2.2", ""])
def test_requests_that_name_a_version_of_tus_are_handled(version: str) -> None:
    assert tus1().speaks(plain("POST", None, {"tus-resumable": version}))


def test_requests_without_a_version_are_left_to_other_dialects() -> None:
    assert not tus1().speaks(plain("POST", None, {"Upload-Draft-Interop-Version": "6"}))


@pytest.mark.parametrize(
    "extension", [Extension.CREATION_WITH_UPLOAD, Extension.CREATION_DEFER_LENGTH]
)
def test_extensions_require_their_base(extension: Extension) -> None:
    """C-08, CW-01."""
    with pytest.raises(ValueError, match="expected creation"):
        tus1(extensions=(extension,))


# 1. Discovery


@pytest.mark.parametrize("target", [None, ID, "*", "../x", "\x00"])
@pytest.mark.parametrize("version", [None, "1.0.0", "9.9.9"])
def test_options_is_always_discovery(target: str | None, version: str | None) -> None:
    """C-05, C-06, C-12."""
    fields = {} if version is None else {"Tus-Resumable": version}
    assert tus1().parse(plain("OPTIONS", target, fields)) == Discover()


# 2. The version


@pytest.mark.parametrize("version", WRONG_VERSIONS)
@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
def test_a_wrong_version_is_rejected(method: str, version: str) -> None:
    """C-02."""
    error = parse_error(tus(method, ID, {"Tus-Resumable": version}))
    assert isinstance(error, UnsupportedVersion)
    assert error.provided == version


@pytest.mark.parametrize("version", WRONG_VERSIONS)
def test_a_wrong_version_creates_nothing(version: str) -> None:
    """C-02."""
    assert isinstance(parse_error(post({"Tus-Resumable": version})), UnsupportedVersion)


@pytest.mark.parametrize("fields", [{}, {"Tus-Resumable": ""}], ids=["none", "empty"])
@pytest.mark.parametrize(("method", "target"), [("POST", None), ("PATCH", ID), ("DELETE", ID)])
def test_methods_that_change_an_upload_require_a_version(
    method: str, target: str | None, fields: dict[str, str]
) -> None:
    """C-03."""
    error = parse_error(plain(method, target, fields))
    assert isinstance(error, UnsupportedVersion)
    assert error.provided is None


@pytest.mark.parametrize("fields", [{}, {"Tus-Resumable": ""}], ids=["none", "empty"])
def test_head_does_not_require_a_version(fields: dict[str, str]) -> None:
    """C-03."""
    assert tus1().parse(plain("HEAD", ID, fields)) == Inspect(ID)


@pytest.mark.parametrize("fields", [{}, {"Tus-Resumable": "0.2.2"}], ids=["none", "wrong"])
def test_get_ignores_the_version(fields: dict[str, str]) -> None:
    assert tus1().parse(plain("GET", ID, fields)) == Download(ID)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(patch(target="no/such/upload"), id="404"),
        pytest.param(patch({"Content-Type": "text/plain"}), id="415"),
        pytest.param(patch({"Upload-Offset": "x"}), id="400"),
        pytest.param(tus("PUT", ID), id="405"),
        pytest.param(tus("DELETE"), id="405 on the base path"),
    ],
)
def test_the_version_is_checked_first(head: RequestHead) -> None:
    """C-04."""
    wrong = plain(head.method, head.target, {**head.fields, "tus-resumable": "2.0.0"})
    assert isinstance(parse_error(wrong), UnsupportedVersion)


# 3. The method


@pytest.mark.parametrize("method", ["HEAD", "GET", "PATCH", "DELETE", "PUT", "post", "FOO", ""])
def test_the_base_path_has_only_options_and_post(method: str) -> None:
    """C-11, C-46."""
    error = parse_error(tus(method))
    assert isinstance(error, MethodNotAllowed)
    assert error.allowed == ("OPTIONS", "POST")


@pytest.mark.parametrize("method", ["POST", "PUT", "TRACE", "patch", "PATCH,PATCH", "\ud800"])
def test_other_methods_of_an_upload_are_rejected(method: str) -> None:
    """C-11, C-46."""
    error = parse_error(tus(method, ID))
    assert isinstance(error, MethodNotAllowed)
    assert error.allowed == ("OPTIONS", "HEAD", "PATCH", "DELETE", "GET")


def test_disabled_methods_are_rejected() -> None:
    bare = tus1(extensions=(), downloads=False)
    for method, target in (("DELETE", ID), ("GET", ID), ("POST", None)):
        with pytest.raises(MethodNotAllowed) as caught:
            bare.parse(tus(method, target))
        assert method not in caught.value.allowed


def test_the_method_is_checked_before_the_syntax() -> None:
    head = tus("PUT", "../x", {"Upload-Offset": "x", "Transfer-Encoding": "gzip, chunked"})
    assert isinstance(parse_error(head), MethodNotAllowed)


# 4. Creation


@pytest.mark.parametrize("length", [0, 1, 999, 1000])
def test_a_post_with_a_length_creates_an_upload(length: int) -> None:
    """CR-01, CR-06, CR-07."""
    command = tus1().parse(post({"Upload-Length": str(length)}))
    assert command == Create(length=length, metadata=Metadata(), has_data=False)


def test_one_byte_more_than_the_limit_is_too_large() -> None:
    """CR-06."""
    error = parse_error(post({"Upload-Length": "1001"}))
    assert isinstance(error, UploadTooLarge)
    assert (error.limit, error.provided) == (1000, 1001)


def test_a_creation_requires_a_length() -> None:
    """CR-03."""
    assert malformed(tus("POST")) == "Upload-Length"


@pytest.mark.parametrize("length", ["10", "0"])
@pytest.mark.parametrize("deferred", ["1", "0", ""])
def test_a_length_cannot_be_known_and_deferred(length: str, deferred: str) -> None:
    """CR-04."""
    head = post({"Upload-Length": length, "Upload-Defer-Length": deferred})
    assert malformed(head) == "Upload-Defer-Length"


@pytest.mark.parametrize("text", BAD_INTEGERS)
def test_a_creation_with_a_malformed_length_is_rejected(text: str) -> None:
    """CR-05."""
    assert malformed(post({"Upload-Length": text})) == "Upload-Length"


def test_the_text_of_metadata_is_kept() -> None:
    """CR-08."""
    command = tus1().parse(post({"Upload-Metadata": "b Yg==, a YQ=="}))
    assert isinstance(command, Create)
    assert command.metadata == Metadata((("b", b"b"), ("a", b"a")), raw="b Yg==, a YQ==")


def test_a_creation_with_malformed_metadata_is_rejected() -> None:
    """CM-05."""
    assert malformed(post({"Upload-Metadata": "a YQ==,a YQ=="})) == "Upload-Metadata"


def test_a_length_can_be_deferred() -> None:
    """DL-01."""
    command = tus1().parse(tus("POST", None, {"Upload-Defer-Length": "1"}))
    assert command == Create(length=None, metadata=Metadata(), has_data=False)


@pytest.mark.parametrize("text", ["0", "2", "01", "true", "", "1,1"])
def test_other_values_of_defer_length_are_rejected(text: str) -> None:
    """DL-02."""
    assert malformed(tus("POST", None, {"Upload-Defer-Length": text})) == "Upload-Defer-Length"


def test_deferring_the_length_is_rejected_if_not_offered() -> None:
    """DL-10."""
    with pytest.raises(MalformedField, match="not offered"):
        tus1(extensions=ONLY_CREATION).parse(tus("POST", None, {"Upload-Defer-Length": "1"}))


@pytest.mark.parametrize(
    "type_", [OCTETS, "Application/Offset+Octet-Stream", f"{OCTETS}; x=y"], ids=str
)
@pytest.mark.parametrize("has_body", [True, False])
def test_a_creation_can_have_data(type_: str, *, has_body: bool) -> None:
    """CW-02, CW-04, C-32."""
    command = tus1().parse(post({"Content-Type": type_}, has_body=has_body))
    assert command == Create(length=10, metadata=Metadata(), has_data=True)


def test_a_creation_with_a_deferred_length_can_have_data() -> None:
    """CW-09."""
    fields = {"Upload-Defer-Length": "1", "Content-Type": OCTETS}
    command = tus1().parse(tus("POST", None, fields, has_body=True))
    assert command == Create(length=None, metadata=Metadata(), has_data=True)


@pytest.mark.parametrize("type_", ["application/octet-stream", "text/plain", "", "@@@"])
def test_a_creation_without_a_body_can_have_any_type(type_: str) -> None:
    """CR-10: aiohttp always sends one."""
    command = tus1().parse(post({"Content-Type": type_}))
    assert command == Create(length=10, metadata=Metadata(), has_data=False)


@pytest.mark.parametrize("type_", ["application/octet-stream", "text/plain", "", "@@@", None])
def test_a_creation_with_a_body_of_another_type_is_rejected(type_: str | None) -> None:
    """CR-10."""
    error = parse_error(post({} if type_ is None else {"Content-Type": type_}, has_body=True))
    assert isinstance(error, UnsupportedMediaType)
    assert error.provided == type_


def test_a_creation_with_data_is_rejected_if_not_offered() -> None:
    bare = tus1(extensions=ONLY_CREATION)
    with pytest.raises(MalformedField, match="creation-with-upload"):
        bare.parse(post({"Content-Type": OCTETS}, has_body=True))
    command = bare.parse(post({"Content-Type": OCTETS}))
    assert command == Create(length=10, metadata=Metadata(), has_data=False)


# 5. PATCH


def test_a_patch_appends() -> None:
    """C-30."""
    assert tus1().parse(patch({"Upload-Offset": "7"})) == Append(ID, offset=7)


def test_a_patch_can_declare_the_length() -> None:
    """DL-04."""
    command = tus1().parse(patch({"Upload-Length": "9"}))
    assert command == Append(ID, offset=0, length=9)


@pytest.mark.parametrize("text", BAD_INTEGERS)
@pytest.mark.parametrize("field", ["Upload-Offset", "Upload-Length"])
def test_a_patch_with_a_malformed_number_is_rejected(field: str, text: str) -> None:
    """C-34."""
    assert malformed(patch({field: text})) == field


def test_a_patch_requires_an_offset() -> None:
    """C-34."""
    assert malformed(without(patch(), "Upload-Offset")) == "Upload-Offset"


@pytest.mark.parametrize(
    "type_",
    [
        *("text/plain", "application/octet-stream", "application/partial-upload", "", "@@@"),
        *(f"{OCTETS},{OCTETS}", f"{OCTETS}x", f"x{OCTETS}"),
    ],
)
def test_a_patch_of_another_type_is_rejected(type_: str) -> None:
    """C-31."""
    assert isinstance(parse_error(patch({"Content-Type": type_})), UnsupportedMediaType)


def test_a_patch_requires_a_type() -> None:
    """C-31."""
    assert isinstance(parse_error(without(patch(), "Content-Type")), UnsupportedMediaType)


@pytest.mark.parametrize("type_", ["Application/Offset+Octet-Stream", f"{OCTETS}; x=y"])
def test_types_ignore_case_and_parameters(type_: str) -> None:
    """C-32."""
    assert tus1().parse(patch({"Content-Type": type_})) == Append(ID, offset=0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("Upload-Metadata", "a @@@", id="CM-11"),
        pytest.param("Upload-Metadata", "a YQ==", id="CM-11 well-formed"),
        pytest.param("Content-Encoding", "gzip", id="C-45"),
    ],
)
def test_unrelated_fields_of_a_patch_are_ignored(field: str, value: str) -> None:
    assert tus1().parse(patch({field: value})) == Append(ID, offset=0)


# 6. Other fields and methods


@pytest.mark.parametrize(
    ("head", "field"),
    [
        (post({"Upload-Checksum": "sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk="}), "Upload-Checksum"),
        (patch({"Upload-Checksum": "sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk="}), "Upload-Checksum"),
        (post({"Upload-Concat": "partial"}), "Upload-Concat"),
    ],
)
def test_fields_of_extensions_that_are_not_offered_are_rejected(
    head: RequestHead, field: str
) -> None:
    with pytest.raises(MalformedField) as caught:
        tus1(extensions=ONLY_CREATION).parse(head)
    assert caught.value.field == field


@pytest.mark.parametrize("coding", ["gzip, chunked", "identity", "chunked, chunked", "gzip", ""])
@pytest.mark.parametrize(
    "head", [post(), patch(), tus("HEAD", ID), tus("DELETE", ID)], ids=lambda head: head.method
)
def test_other_transfer_codings_are_rejected(head: RequestHead, coding: str) -> None:
    request = plain(head.method, head.target, {**head.fields, "Transfer-Encoding": coding})
    assert malformed(request) == "Transfer-Encoding"


@pytest.mark.parametrize("coding", ["chunked", "Chunked"])
def test_chunked_bodies_are_accepted(coding: str) -> None:
    assert tus1().parse(patch({"Transfer-Encoding": coding})) == Append(ID, offset=0)


def test_a_delete_terminates() -> None:
    """TE-01, TE-06."""
    assert tus1().parse(tus("DELETE", ID)) == Terminate(ID)
    assert tus1().parse(tus("DELETE", ID, has_body=True)) == Terminate(ID)


@pytest.mark.parametrize("method", ["HEAD", "DELETE", "GET", "PATCH"])
@pytest.mark.parametrize(
    "target",
    ["", "../x", "a/b", "a%2eb", "a.info", "a.part", "a;b", "a b", "a\n", "ü", "\x00", "a" * 201],
)
def test_an_invalid_id_is_not_found(method: str, target: str) -> None:
    """C-24, C-36, TE-03."""
    head = patch(target=target) if method == "PATCH" else tus(method, target)
    assert isinstance(parse_error(head), UploadNotFound)


def test_an_id_of_tusd_is_valid() -> None:
    target = "24e533e02ec3bc40c387f1a0e460e216+JE1o2.h-_~k"
    command = tus1().parse(tus("HEAD", target))
    assert isinstance(command, Inspect)
    assert command.id == target


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        pytest.param(
            patch({"Upload-Offset": "x", "Content-Type": "text/plain"}, target="../x"),
            MalformedField,
            id="400 before 415",
        ),
        pytest.param(
            patch({"Content-Type": "text/plain"}, target="../x"),
            UnsupportedMediaType,
            id="415 before 404",
        ),
        pytest.param(
            post({"Upload-Length": "1001", "Content-Type": "text/plain"}, has_body=True),
            UnsupportedMediaType,
            id="415 before 413",
        ),
        pytest.param(
            post({"Upload-Length": "1001", "Upload-Metadata": "a @"}),
            MalformedField,
            id="400 before 413",
        ),
    ],
)
def test_checks_run_in_order(head: RequestHead, expected: type[RequestError]) -> None:
    """Section 1.11."""
    assert isinstance(parse_error(head), expected)


NAMES = [
    *("Tus-Resumable", "Upload-Length", "Upload-Defer-Length", "Upload-Offset", "Upload-Concat"),
    *("Upload-Metadata", "Upload-Checksum", "Content-Type", "Content-Encoding"),
    *("Transfer-Encoding", "X-HTTP-Method-Override", "Range", "Origin"),
]
VALUES = st.sampled_from(["1.0.0", "1.0.0", "1", "10", "a YQ==", OCTETS, "chunked", ""]) | st.text()
METHODS = st.sampled_from(["POST", "HEAD", "PATCH", "DELETE", "GET", "OPTIONS", "PUT"]) | st.text()
HEADS = st.builds(
    RequestHead,
    METHODS,
    st.none() | st.just(str(ID)) | st.text(),
    st.dictionaries(st.sampled_from(NAMES), VALUES)
    .map(lambda fields: {"Tus-Resumable": "1.0.0", "Content-Type": OCTETS, **fields})
    .map(Fields),
    st.booleans(),
)


@pytest.mark.property
@settings(max_examples=200, deadline=None)
@given(HEADS)
def test_any_request_is_parsed_or_rejected(head: RequestHead) -> None:
    """1.12: the only exception is `RequestError`."""
    try:
        command = tus1().parse(head)
    except RequestError:
        return
    if isinstance(command, Create):
        assert command.length is None or 0 <= command.length <= 1000
    elif isinstance(command, Append):
        assert 0 <= command.offset < 2**63
    else:
        assert isinstance(command, Discover | Inspect | Terminate | Download)
