"""The JSON of tusd's hooks: documents, responses, and the decisions that responses contain."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tus_wsgi.domain.answer import Answer, Rejected
from tus_wsgi.domain.creation import UploadPlan
from tus_wsgi.domain.errors import Denied
from tus_wsgi.domain.hooks import Action, Request
from tus_wsgi.domain.model import Metadata, UploadId
from tus_wsgi.domain.snapshot import UploadSnapshot
from tus_wsgi.hooks.tusd_json import (
    NO_RESPONSE,
    HookEvent,
    HookResponse,
    InvalidHookResponse,
    answer_of,
    build_document,
    canonical_name,
    check_termination,
    identity_of,
    parse_response,
    plan_of,
    stop_of,
    webhook_id,
)

ID = UploadId("an-id")
S3 = {"Type": "s3store", "Bucket": "b", "Key": "k"}


def upload(**more: Any) -> UploadSnapshot:
    return UploadSnapshot(**{"id": ID, "length": 10, "storage": S3, **more})


def request(**more: Any) -> Request:
    given: dict[str, Any] = {"method": "PATCH", "path": "/files/an-id", "remote": "192.0.2.1"}
    return Request(**{**given, "fields": {}, "environ": {"REMOTE_PORT": "5000"}, **more})


def event_of(event: HookEvent, known: UploadSnapshot | None, of: Request | None) -> Any:
    document = json.loads(build_document(event, known, of))
    assert list(document) == ["Type", "Event"]
    assert document["Type"] == event.value
    return document["Event"]


# -- documents -------------------------------------------------------------------------------------


def test_an_upload_has_the_keys_of_tusd_in_their_order() -> None:
    known = upload(offset=4, metadata=Metadata((("name", "ü".encode()), ("raw", b"a\xff"))))
    event = event_of(HookEvent.POST_FINISH, known, None)
    assert list(event["Upload"].items()) == [
        ("ID", ID),
        ("Size", 10),
        ("SizeIsDeferred", False),
        ("Offset", 4),
        ("MetaData", {"name": "ü", "raw": "a\ufffd"}),
        ("IsPartial", False),
        ("IsFinal", False),
        ("PartialUploads", None),
        ("Storage", S3),
    ]


def test_a_new_upload_has_neither_id_nor_storage() -> None:
    event = event_of(HookEvent.PRE_CREATE, upload(length=None, storage={}), None)
    assert (event["Upload"]["ID"], event["Upload"]["Storage"]) == ("", None)
    assert (event["Upload"]["Size"], event["Upload"]["SizeIsDeferred"]) == (0, True)
    assert event["Upload"]["MetaData"] == {}


def test_the_uploads_of_a_concatenation_say_their_roles() -> None:
    final = upload(partials=(UploadId("a"), UploadId("b")))
    event = event_of(HookEvent.POST_CREATE, final, None)
    assert (event["Upload"]["IsFinal"], event["Upload"]["PartialUploads"]) == (True, ["a", "b"])
    event = event_of(HookEvent.POST_CREATE, upload(is_partial=True), None)
    assert (event["Upload"]["IsPartial"], event["Upload"]["IsFinal"]) == (True, False)


def test_a_request_is_described_as_go_does() -> None:
    fields = {"upload-length": "10", "x-b3-traceid": "1", "dnt": "1", "x-name": "\xc3\xbc"}
    sent = request(fields=fields, path="/a b/\xc3\xbc", environ={"QUERY_STRING": "q=1"})
    assert event_of(HookEvent.POST_CREATE, upload(), sent)["HTTPRequest"] == {
        "Method": "PATCH",
        "URI": "/a%20b/%C3%BC?q=1",
        "RemoteAddr": "192.0.2.1:0",
        "Header": {
            "Upload-Length": ["10"],
            "X-B3-Traceid": ["1"],
            "Dnt": ["1"],
            "X-Name": ["ü"],
        },
    }


@pytest.mark.parametrize(
    ("remote", "address"),
    [("192.0.2.1", "192.0.2.1:5000"), ("::1", "[::1]:5000"), ("", "")],
)
def test_an_address_has_a_host_and_a_port(remote: str, address: str) -> None:
    event = event_of(HookEvent.POST_CREATE, upload(), request(remote=remote))
    assert event["HTTPRequest"]["RemoteAddr"] == address


def test_without_a_request_its_keys_are_empty() -> None:
    event = event_of(HookEvent.POST_FINISH, upload(), None)
    assert event["HTTPRequest"] == {"Method": "", "URI": "", "RemoteAddr": "", "Header": {}}


def test_authorize_names_the_action() -> None:
    document = build_document(HookEvent.AUTHORIZE, None, None, Action="create")
    assert json.loads(document)["Event"]["Action"] == "create"
    assert json.loads(document)["Event"]["Upload"]["ID"] == ""


@given(st.text(alphabet="abcXYZ019-", min_size=1))
def test_names_of_fields_are_written_in_one_way(name: str) -> None:
    assert canonical_name(name.lower()) == canonical_name(name.upper()) == canonical_name(name)


def test_the_id_of_an_event_is_stable_and_hides_the_upload() -> None:
    first = webhook_id(HookEvent.POST_FINISH, ID)
    assert first == webhook_id(HookEvent.POST_FINISH, ID)
    assert first.startswith("post-finish.")
    assert ID not in first
    others = {
        webhook_id(HookEvent.PRE_FINISH, ID),
        webhook_id(HookEvent.POST_FINISH, UploadId("an-ie")),
        webhook_id(HookEvent.POST_FINISH, ID, "5"),
        first,
    }
    assert len(others) == 4


# -- responses -------------------------------------------------------------------------------------


def parsed(**response: Any) -> HookResponse:
    return parse_response(json.dumps(response).encode())


def test_every_key_is_optional() -> None:
    assert parse_response(b"{}") == NO_RESPONSE
    nothing = dict.fromkeys(("HTTPResponse", "RejectUpload", "ChangeFileInfo", "StopUpload"))
    assert parsed(**nothing) == NO_RESPONSE
    empty = {"StatusCode": 0, "Body": "", "Header": None}
    assert parsed(HTTPResponse=empty, ChangeFileInfo={"ID": ""}) == NO_RESPONSE


def test_the_case_of_keys_does_not_matter_and_unknown_keys_are_ignored() -> None:
    response = parsed(httpresponse={"statuscode": 418, "X": 1}, rejectUPLOAD=True, New=[{}])
    assert (response.status, response.reject_upload) == (418, True)


def test_headers_is_no_key_of_tusd() -> None:
    """The Python example of tusd writes it, and tusd ignores it."""
    assert parsed(HTTPResponse={"Headers": {"X": "1"}}).fields == {}


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"", "JSON object"),
        (b"ok", "JSON object"),
        (b"\xff{}", "JSON object"),
        (b"\xef\xbb\xbf{}", "JSON object"),
        (b'{"RejectUpload": NaN}', "JSON object"),
        (b"[" * 5000, "JSON object"),
        (b"{} {}", "JSON object"),
        (b"[]", "response"),
        (b"null", "response"),
        (b'"text"', "response"),
        (b'{"RejectUpload": "true"}', "RejectUpload"),
        (b'{"RejectUpload": 1}', "RejectUpload"),
        (b'{"StopUpload": []}', "StopUpload"),
        (b'{"RejectTermination": 0}', "RejectTermination"),
        (b'{"HTTPResponse": []}', "HTTPResponse"),
        (b'{"HTTPResponse": {"StatusCode": "400"}}', "HTTPResponse.StatusCode"),
        (b'{"HTTPResponse": {"StatusCode": 400.0}}', "HTTPResponse.StatusCode"),
        (b'{"HTTPResponse": {"StatusCode": true}}', "HTTPResponse.StatusCode"),
        (b'{"HTTPResponse": {"StatusCode": 99}}', "HTTPResponse.StatusCode"),
        (b'{"HTTPResponse": {"StatusCode": 600}}', "HTTPResponse.StatusCode"),
        (b'{"HTTPResponse": {"StatusCode": -1}}', "HTTPResponse.StatusCode"),
        (b'{"HTTPResponse": {"Body": {}}}', "HTTPResponse.Body"),
        (b'{"HTTPResponse": {"Header": {"X": ["1"]}}}', "HTTPResponse.Header"),
        (b'{"HTTPResponse": {"Header": "X: 1"}}', "HTTPResponse.Header"),
        (b'{"ChangeFileInfo": 7}', "ChangeFileInfo"),
        (b'{"ChangeFileInfo": {"ID": 7}}', "ChangeFileInfo.ID"),
        (b'{"ChangeFileInfo": {"MetaData": {"size": 7}}}', "ChangeFileInfo.MetaData"),
        (b'{"Identity": 7}', "Identity"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(content: bytes, place: str) -> None:
    with pytest.raises(InvalidHookResponse) as caught:
        parse_response(content)
    assert place in str(caught.value)


@given(
    st.binary()
    | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(
        lambda value: json.dumps({"RejectUpload": value, "HTTPResponse": {"Body": value}}).encode()
    )
)
def test_any_response_is_parsed_or_refused(content: bytes) -> None:
    with suppress(InvalidHookResponse):
        parse_response(content)


# -- decisions -------------------------------------------------------------------------------------


def test_an_empty_response_accepts_everything() -> None:
    assert plan_of(NO_RESPONSE) is None
    assert answer_of(NO_RESPONSE) is None
    assert stop_of(NO_RESPONSE) is None
    assert identity_of(NO_RESPONSE, Action.CREATE) is None
    check_termination(NO_RESPONSE)


JSON = {"Content-Type": "application/json", "X-Reason": "name"}


def refusal(decide: Any, response: HookResponse) -> Denied:
    with pytest.raises(Denied) as caught:
        decide(response)
    return caught.value


@pytest.mark.parametrize(
    ("key", "decide"),
    [
        ("RejectUpload", plan_of),
        ("RejectTermination", check_termination),
        ("RejectRequest", lambda response: identity_of(response, Action.APPEND)),
    ],
)
def test_a_refusal_has_the_status_the_body_and_the_fields_of_the_response(
    key: str, decide: Any
) -> None:
    http = {"StatusCode": 415, "Body": '{"Error": "x"}', "Header": JSON}
    denied = refusal(decide, parsed(**{key: True}, HTTPResponse=http))
    assert (denied.status, str(denied), dict(denied.fields)) == (415, '{"Error": "x"}', JSON)
    denied = refusal(decide, parsed(**{key: True}))
    assert denied.status == 400
    assert dict(denied.fields) == {}
    for status in (200, 302, 503):
        with pytest.raises(InvalidHookResponse, match=f"with {key}"):
            decide(parsed(**{key: True}, HTTPResponse={"StatusCode": status}))
    for name in ("Content-Length", "Connection", "a b", "Access-Control-Allow-Origin"):
        with pytest.raises(InvalidHookResponse, match="Header"):
            decide(parsed(**{key: True}, HTTPResponse={"Header": {name: "1"}}))


def test_stop_upload_ends_the_upload() -> None:
    http = {"StatusCode": 403, "Body": "enough", "Header": {"X-Reason": "quota"}}
    stop = stop_of(parsed(StopUpload=True, HTTPResponse=http))
    assert stop is not None
    assert (stop.status, str(stop), stop.fields["X-Reason"]) == (403, "enough", "quota")
    stop = stop_of(parsed(StopUpload=True))
    assert stop is not None
    assert stop.status == 400


def test_metadata_and_fields_of_a_new_upload_are_its_plan() -> None:
    assert plan_of(parsed(ChangeFileInfo={"MetaData": {"name": "b"}})) == UploadPlan(
        metadata={"name": "b"}
    )
    assert plan_of(parsed(ChangeFileInfo={"MetaData": {}})) == UploadPlan(metadata={})
    accepted = {"StatusCode": 200, "Body": "ignored", "Header": JSON}
    assert plan_of(parsed(HTTPResponse=accepted)) == UploadPlan(fields={"X-Reason": "name"})


def test_a_client_that_gets_an_error_has_created_nothing() -> None:
    """tusd creates the upload and tells the client that it failed."""
    assert refusal(plan_of, parsed(HTTPResponse={"StatusCode": 403})).status == 403


@pytest.mark.parametrize("status", [100, 302, 500, 503])
@pytest.mark.parametrize(
    "decide", [plan_of, check_termination, partial(identity_of, action=Action.INSPECT)]
)
def test_a_status_of_neither_success_nor_refusal_permits_nothing(
    decide: Callable[[HookResponse], object], status: int
) -> None:
    with pytest.raises(InvalidHookResponse, match="StatusCode"):
        decide(parsed(HTTPResponse={"StatusCode": status}))


def test_storage_is_ignored_as_tusd_does_on_s3() -> None:
    assert plan_of(parsed(ChangeFileInfo={"Storage": {"Path": "/etc"}})) is None


def test_another_id_is_refused_with_a_clear_message() -> None:
    with pytest.raises(InvalidHookResponse, match="ChangeFileInfo.ID: .* TUS_S3_OBJECT_KEY"):
        plan_of(parsed(ChangeFileInfo={"ID": "mine"}))


def test_the_answer_has_the_fields_the_body_and_the_type_of_the_response() -> None:
    http = {"StatusCode": 200, "Body": '{"row": 7}', "Header": JSON}
    assert answer_of(parsed(HTTPResponse=http)) == Answer(
        fields={"X-Reason": "name"}, body=b'{"row": 7}', content_type="application/json"
    )
    answer = answer_of(parsed(HTTPResponse={"Body": "grüß"}))
    assert answer == Answer(body="grüß".encode(), content_type="text/plain; charset=utf-8")


@pytest.mark.parametrize(
    ("response", "status", "keeps"),
    [
        ({"HTTPResponse": {"StatusCode": 422, "Body": "no"}}, 422, True),
        ({"HTTPResponse": {"StatusCode": 422, "Body": "no"}, "RejectUpload": True}, 422, False),
        ({"HTTPResponse": {"Body": "no", "Header": JSON}, "RejectUpload": True}, 400, False),
    ],
)
def test_a_file_is_rejected_for_good(response: Any, status: int, keeps: bool) -> None:
    with pytest.raises(Rejected) as caught:
        answer_of(parsed(**response))
    rejection = caught.value.rejection
    assert (rejection.status, rejection.sentence, rejection.keep) == (status, "no", keeps)


def test_a_rejection_that_cannot_be_stored_is_refused_without_its_values() -> None:
    for http in ({"Header": {"Upload-Offset": "an-id"}}, {"Body": "an-id" * 1000}):
        with pytest.raises(InvalidHookResponse, match="stored") as caught:
            answer_of(parsed(RejectUpload=True, HTTPResponse=http))
        assert "an-id" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("status", [100, 302, 500, 503])
def test_a_file_is_not_finished_with_a_status_of_neither_success_nor_refusal(status: int) -> None:
    with pytest.raises(InvalidHookResponse, match="StatusCode"):
        answer_of(parsed(HTTPResponse={"StatusCode": status}))


def test_the_identity_of_a_client_is_in_the_response() -> None:
    assert identity_of(parsed(Identity="ada"), Action.CREATE) == "ada"
