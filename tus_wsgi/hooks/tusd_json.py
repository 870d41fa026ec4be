"""The JSON of tusd's hooks (version 2): make the documents, and interpret the responses. No I/O.

A response comes from another program, so it is input: `parse_response` checks the type of every
value that is used. As in tusd, every key is optional, the case of keys does not matter, and unknown
keys are ignored.

Source: the documentation of tusd, "Hooks", and documents recorded from tusd 2.10
(`tests/hooks/tusd_recorded.json`). docs/moving-from-tusd.md lists the differences.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import Any
from urllib.parse import quote

from tus_wsgi.domain.answer import Answer, Rejected
from tus_wsgi.domain.creation import UploadPlan
from tus_wsgi.domain.errors import Denied
from tus_wsgi.domain.hooks import Action, Request
from tus_wsgi.domain.model import UploadId
from tus_wsgi.domain.progress import Stop
from tus_wsgi.domain.snapshot import UploadSnapshot

DEFAULT_STATUS = 400
"""The status of a refusal that names none, as in tusd."""

DEFAULT_TYPE = "text/plain; charset=utf-8"
"""The Content-Type of a body that has none, as in tusd."""


class HookEvent(StrEnum):
    """The events that hooks are called for, by the names that tusd gives them."""

    AUTHORIZE = "authorize"
    """Before each request. Not in tusd."""
    PRE_CREATE = "pre-create"
    """Before anything of a new upload is stored."""
    POST_CREATE = "post-create"
    """After an upload was created."""
    POST_RECEIVE = "post-receive"
    """While a request sends bytes."""
    PRE_FINISH = "pre-finish"
    """When the object is complete, before the client gets the response."""
    POST_FINISH = "post-finish"
    """After `PRE_FINISH`."""
    PRE_TERMINATE = "pre-terminate"
    """Before a client removes an upload."""
    POST_TERMINATE = "post-terminate"
    """After an upload was removed."""


DEFAULT_EVENTS = (
    HookEvent.PRE_CREATE,
    HookEvent.POST_CREATE,
    HookEvent.POST_RECEIVE,
    HookEvent.POST_FINISH,
    HookEvent.POST_TERMINATE,
)
"""The events that are enabled unless the settings name others, as in tusd."""


class InvalidHookResponse(ValueError):
    """The response of a hook cannot be used. The message contains no value of the response."""


# -- documents -------------------------------------------------------------------------------------


def build_document(
    event: HookEvent, upload: UploadSnapshot | None, request: Request | None, **more: str
) -> bytes:
    """Return the document of an event, in UTF-8.

    Args:
        event: the event.
        upload: the upload; None if there is none yet.
        request: the request of the client; None if there is none, as in a sweep.
        more: further keys of the event that tusd does not have.
    """
    content = {
        "Type": event.value,
        "Event": {"Upload": _upload(event, upload), "HTTPRequest": _request(request), **more},
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _upload(event: HookEvent, upload: UploadSnapshot | None) -> dict[str, Any]:
    is_new = event is HookEvent.PRE_CREATE or upload is None
    known = upload or UploadSnapshot(id=UploadId(""), length=0)
    return {
        "ID": "" if is_new else known.id,
        "Size": known.length or 0,
        "SizeIsDeferred": known.length is None,
        "Offset": 0 if event is HookEvent.POST_CREATE else known.offset,
        "MetaData": {key: value.decode("utf-8", "replace") for key, value in known.metadata.pairs},
        "IsPartial": known.is_partial,
        "IsFinal": bool(known.partials),
        "PartialUploads": list(known.partials) or None,
        "Storage": None if is_new else dict(known.storage) or None,
    }


def _request(request: Request | None) -> dict[str, Any]:
    if request is None:
        return {"Method": "", "URI": "", "RemoteAddr": "", "Header": {}}
    query = str(request.environ.get("QUERY_STRING") or "")
    # WSGI unquotes the path, and passes each byte as a character. tusd passes the quoted path.
    uri = quote(request.path.encode("latin-1", "replace"), safe="/:@!$&'()*+,;=~")
    return {
        "Method": request.method,
        "URI": f"{uri}?{query}" if query else uri,
        "RemoteAddr": _address(request),
        "Header": {canonical_name(name): [_text(value)] for name, value in request.fields.items()},
    }


def _address(request: Request) -> str:
    """Return the host and the port of the client; empty if it has none, as over a Unix socket."""
    if not request.remote:
        return ""
    host = f"[{request.remote}]" if ":" in request.remote else request.remote
    return f"{host}:{request.environ.get('REMOTE_PORT') or 0}"


def canonical_name(name: str) -> str:
    """Return the name of a header field as Go writes it: `Upload-Length`."""
    return "-".join(word.capitalize() for word in name.split("-"))


def _text(value: str) -> str:
    """Return the value of a field, whose bytes WSGI decodes as Latin-1, decoded as UTF-8."""
    return value.encode("latin-1", "replace").decode("utf-8", "replace")


def webhook_id(event: HookEvent, id: UploadId, number: str = "") -> str:
    """Return the id of an event, by which a receiver recognises a repeated delivery.

    The id of the upload is in it as a hash only, whose beginning is the upload's name in the log.

    Args:
        event: the event.
        id: the upload.
        number: distinguishes events of the same kind for one upload, if there may be several.
    """
    fingerprint = blake2b(id.encode()).hexdigest()[:32]
    return ".".join(filter(None, (event.value, fingerprint, number)))


# -- responses -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class HookResponse:
    """The response of a hook, with checked types.

    Attributes:
        status: `HTTPResponse.StatusCode`; None if it is missing or 0.
        body: `HTTPResponse.Body`.
        fields: `HTTPResponse.Header`.
        reject_upload: `RejectUpload`.
        reject_termination: `RejectTermination`.
        reject_request: `RejectRequest`, which tusd does not have.
        stop_upload: `StopUpload`.
        changes_id: whether `ChangeFileInfo.ID` is set.
        metadata: `ChangeFileInfo.MetaData`; None if it is missing.
        identity: `Identity`, which tusd does not have.
    """

    status: int | None = None
    body: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    reject_upload: bool = False
    reject_termination: bool = False
    reject_request: bool = False
    stop_upload: bool = False
    changes_id: bool = False
    metadata: Mapping[str, str] | None = None
    identity: str | None = None


NO_RESPONSE = HookResponse()
"""The response of a hook that has nothing to say."""


def parse_response(content: bytes) -> HookResponse:
    """Parse the body of a hook's response.

    Raises:
        InvalidHookResponse: it is not a JSON object, or a value has the wrong type.
    """
    root = _Object("", _parse_json(content))
    http, change = root.child("HTTPResponse"), root.child("ChangeFileInfo")
    return HookResponse(
        status=http.status("StatusCode"),
        body=http.text("Body") or "",
        fields=http.texts("Header") or {},
        reject_upload=root.flag("RejectUpload"),
        reject_termination=root.flag("RejectTermination"),
        reject_request=root.flag("RejectRequest"),
        stop_upload=root.flag("StopUpload"),
        changes_id=bool(change.text("ID")),
        metadata=change.texts("MetaData"),
        identity=root.text("Identity"),
    )


def _parse_json(content: bytes) -> object:
    try:
        return json.loads(content.decode(), parse_constant=_refuse_constant)
    # Deeply nested lists exceed the recursion limit.
    except (ValueError, RecursionError) as error:
        raise InvalidHookResponse("expected a JSON object in UTF-8") from error


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


class _Object:
    """A JSON object in a response, whose members are read with the types that they must have.

    Args:
        path: its place in the response, for messages; empty for the whole response.
        value: the value. A member that is None counts as an empty object.
    """

    def __init__(self, path: str, value: object) -> None:
        is_missing_member = value is None and path != ""
        members = {} if is_missing_member else value
        if not isinstance(members, dict):
            raise InvalidHookResponse(f"{path or 'response'}: expected an object")
        self._path = path
        self._members = {key.lower(): member for key, member in members.items()}

    def child(self, name: str) -> _Object:
        return _Object(self._place(name), self._get(name))

    def text(self, name: str) -> str | None:
        value = self._get(name)
        if value is not None and not isinstance(value, str):
            raise InvalidHookResponse(f"{self._place(name)}: expected a string")
        return value

    def flag(self, name: str) -> bool:
        value = self._get(name)
        if value is not None and not isinstance(value, bool):
            raise InvalidHookResponse(f"{self._place(name)}: expected true or false")
        return bool(value)

    def status(self, name: str) -> int | None:
        value = self._get(name)
        if value is None or (type(value) is int and value == 0):
            return None
        if type(value) is not int or not 100 <= value <= 599:
            raise InvalidHookResponse(f"{self._place(name)}: expected a status from 100 to 599")
        return value

    def texts(self, name: str) -> dict[str, str] | None:
        value = self._get(name)
        if value is None:
            return None
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise InvalidHookResponse(f"{self._place(name)}: expected an object of strings")
        return value

    def _get(self, name: str) -> object:
        return self._members.get(name.lower())

    def _place(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name


# -- decisions -------------------------------------------------------------------------------------


def plan_of(response: HookResponse) -> UploadPlan | None:
    """Return the plan that a response to `pre-create` contains; None for no decisions.

    The status and the body of an accepted creation are those of the protocol.

    Raises:
        Denied: the upload is refused.
        InvalidHookResponse: the decision cannot be carried out.
    """
    if response.reject_upload or _is_error(response):
        raise _denied(response, "RejectUpload", "the upload was rejected")
    if response.changes_id:
        raise InvalidHookResponse(
            "ChangeFileInfo.ID: the id of an upload cannot be chosen;"
            " to choose the key of the object, set TUS_S3_OBJECT_KEY"
        )
    fields = _without_type(response.fields)
    if response.metadata is None and not fields:
        return None
    return UploadPlan(metadata=response.metadata, fields=fields)


def check_termination(response: HookResponse) -> None:
    """Check whether a response to `pre-terminate` lets the client remove the upload.

    Raises:
        Denied: the removal is refused.
        InvalidHookResponse: the decision cannot be carried out.
    """
    if response.reject_termination or _is_error(response):
        raise _denied(response, "RejectTermination", "the termination was rejected")


def identity_of(response: HookResponse, action: Action) -> str | None:
    """Return the identity of the client that a response to `authorize` contains.

    Raises:
        Denied: the request is refused.
        InvalidHookResponse: the decision cannot be carried out.
    """
    if response.reject_request or _is_error(response):
        raise _denied(response, "RejectRequest", f"the request to {action.value} was rejected")
    return response.identity


def stop_of(response: HookResponse) -> Stop | None:
    """Return the exception that ends the upload, if a response to `post-receive` asks for it.

    Raises:
        InvalidHookResponse: the decision cannot be carried out.
    """
    if not response.stop_upload:
        return None
    denied = _denied(response, "StopUpload", "the upload was stopped")
    return Stop(denied.status, str(denied), fields=denied.fields)


def answer_of(response: HookResponse) -> Answer | None:
    """Return the answer to the client that a response to `pre-finish` contains; None for none.

    Raises:
        Rejected: the file is refused for good. `RejectUpload` removes the object; a status from 400
            to 499 alone keeps it, as tusd does.
        InvalidHookResponse: the decision cannot be carried out.
    """
    if response.reject_upload or _is_error(response):
        denied = _denied(response, "RejectUpload", "the file was rejected")
        raise _rejected(denied, keep=not response.reject_upload)
    fields = _without_type(response.fields)
    if not fields and not response.body:
        return None
    return Answer(fields=fields, body=response.body.encode(), content_type=_type(response))


def _rejected(denied: Denied, *, keep: bool) -> Rejected:
    """Return the rejection, which is stored without a type: its body is plain text.

    Raises:
        InvalidHookResponse: the rejection cannot be stored.
    """
    try:
        return Rejected(denied.status, str(denied), fields=_without_type(denied.fields), keep=keep)
    except ValueError:
        raise InvalidHookResponse("HTTPResponse: the rejection cannot be stored") from None


def _is_error(response: HookResponse) -> bool:
    """Return whether the response has the status of a refusal, so that the request must fail.

    Raises:
        InvalidHookResponse: the status is neither a success nor a refusal.
    """
    status = response.status
    if status is None:
        return False
    is_success, is_refusal = 200 <= status <= 299, 400 <= status <= 499
    if not (is_success or is_refusal):
        raise InvalidHookResponse(
            "HTTPResponse.StatusCode: expected a status from 200 to 299 or 400 to 499"
        )
    return is_refusal


def _denied(response: HookResponse, key: str, sentence: str) -> Denied:
    """Return the refusal with the status, the body and the fields of a response.

    Raises:
        InvalidHookResponse: the client cannot get such a response.
    """
    status = response.status or DEFAULT_STATUS
    if not 400 <= status <= 499:
        raise InvalidHookResponse(f"HTTPResponse.StatusCode: expected 400 to 499 with {key}")
    fields = _without_type(response.fields)
    if response.body:
        fields["Content-Type"] = _type(response)
    try:
        return Denied(status, response.body or sentence, fields=fields)
    except ValueError:
        # The message of the cause contains the value.
        raise InvalidHookResponse("HTTPResponse.Header: a field cannot be sent") from None


def _type(response: HookResponse) -> str:
    types = (value for name, value in response.fields.items() if name.lower() == "content-type")
    return next(types, DEFAULT_TYPE)


def _without_type(fields: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if name.lower() != "content-type"}
