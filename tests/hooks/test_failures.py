"""A handler that is wrong, slow or killed: nothing is lost, created or finished by mistake."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.hooks.handler import JSON, Handler
from tests.hooks.remote_app import EVENTS, remote_app, send_in_process
from tests.hooks.scenario import DATA, Response, Send, metadata
from tus_wsgi import Rejected
from tus_wsgi.domain.events import Event, HookCalled, RequestFailed
from tus_wsgi.domain.model import UploadId
from tus_wsgi.stores.memory import MemoryStore

TUS = {"Tus-Resumable": "1.0.0"}

Respond = Callable[[dict[str, Any], Any], Iterable[bytes] | None]


def responding(event: str, status: str, fields: list[tuple[str, str]], body: bytes) -> Respond:
    """Return a function that answers one event in this way."""

    def respond(document: dict[str, Any], start_response: Any) -> Iterable[bytes] | None:
        if document["Type"] != event:
            return None
        start_response(status, [*fields, ("Content-Length", str(len(body)))])
        return [body]

    return respond


def as_the_handler(_document: dict[str, Any], _start_response: Any) -> None:
    """Leave each response to the handler, which answers every event."""


WRONG = {
    "500": ("500 Internal Server Error", JSON, b"{}"),
    "redirect": ("302 Found", [*JSON, ("Location", "/login")], b"{}"),
    "type": ("200 OK", [("Content-Type", "text/html")], b"{}"),
    "no type": ("204 No Content", [], b""),
    "not JSON": ("200 OK", JSON, b"<html>"),
    "not an object": ("200 OK", JSON, b"[]"),
    "wrong value": ("200 OK", JSON, b'{"RejectUpload": "no", "StopUpload": "no"}'),
    "too long": ("200 OK", JSON, b'{"a": "' + b"x" * 5120 + b'"}'),
}


class Uploads:
    """Requests of a tus client to a middleware with a memory store."""

    def __init__(self, app: Any, store: MemoryStore) -> None:
        self._send: Send = send_in_process(app)
        self._store = store

    def post(self, **more: str) -> Response:
        fields = {"Upload-Length": str(len(DATA)), "Upload-Metadata": metadata("a.txt")}
        return self._send("POST", "/files", {**TUS, **fields, **more}, b"")

    def create(self) -> str:
        created = self.post()
        assert created.status == 201, created
        return created.fields["location"].removeprefix("http://localhost")

    def patch(self, path: str, offset: int = 0, data: bytes = DATA) -> Response:
        type = "application/offset+octet-stream"
        fields = {"Upload-Offset": str(offset), "Content-Type": type}
        return self._send("PATCH", path, {**TUS, **fields}, data)

    def request(self, method: str, path: str) -> Response:
        return self._send(method, path, TUS, b"")

    def is_finished(self, path: str) -> bool:
        return self._store.open(UploadId(path.rpartition("/")[2])).info.is_finished

    def count(self) -> int:
        return len(self._store._uploads)


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def uploads(carrier: str, handler: Handler, events: list[Event]) -> Any:
    store = MemoryStore()
    environ = {"TUS_HOOKS_ENABLED_EVENTS": f"{EVENTS},authorize"}
    with remote_app(carrier, handler, environ, store=store, events=events) as app:
        yield Uploads(app, store)


def test_a_wrong_response_to_a_question_changes_nothing(
    uploads: Uploads, handler: Handler, events: list[Event]
) -> None:
    path = uploads.create()
    for kind, given in WRONG.items():
        for event in ("authorize", "pre-create"):
            handler.respond = responding(event, *given)
            refused = uploads.post()
            assert (refused.status, uploads.count()) == (503, 1), (kind, event)
            assert b"secret" not in refused.body
        handler.respond = responding("pre-terminate", *given)
        assert (uploads.request("DELETE", path).status, uploads.count()) == (503, 1), kind
    failed = [event for event in events if isinstance(event, RequestFailed)]
    assert len(failed) == 3 * len(WRONG)
    assert "post-terminate" not in handler.events()
    handler.respond = as_the_handler
    assert uploads.request("DELETE", path).status == 204


def test_no_file_is_finished_before_pre_finish_has_a_right_answer(
    uploads: Uploads, handler: Handler
) -> None:
    """D-06"""
    for kind, given in WRONG.items():
        path = uploads.create()
        handler.respond = responding("pre-finish", *given)
        assert uploads.patch(path).status == 503, kind
        assert not uploads.is_finished(path)
        assert (uploads.request("HEAD", path).status, handler.of("post-finish")) == (423, [])
        handler.respond = as_the_handler
        assert uploads.request("HEAD", path).fields["upload-offset"] == str(len(DATA))
        assert uploads.is_finished(path)
        assert handler.of("post-finish").pop()["Event"]["HTTPRequest"]["Method"] == "HEAD"
        handler.documents.clear()
        handler.environs.clear()


def test_post_finish_arrives_at_least_once_with_the_same_id(
    uploads: Uploads, handler: Handler
) -> None:
    """D-06: tusd does not call the hook again."""
    path = uploads.create()
    handler.respond = responding("post-finish", *WRONG["500"])
    assert uploads.patch(path).status == 503
    assert uploads.request("HEAD", path).status == 423
    assert not uploads.is_finished(path)
    handler.respond = responding("post-finish", "200 OK", [("Content-Type", "text/plain")], b"ok")
    assert uploads.request("HEAD", path).status == 200
    assert uploads.is_finished(path)
    first, *others = handler.ids("post-finish")
    assert len(others) >= 2
    assert set(others) == {first}
    assert set(handler.ids("pre-finish")) == {first.replace("post-", "pre-")}
    assert path.rpartition("/")[2] not in first
    count = len(handler.of("post-finish"))
    assert uploads.request("HEAD", path).fields["x-row"] == "7"
    assert len(handler.of("post-finish")) == count


def test_a_hook_is_called_again_after_its_process_was_killed(
    uploads: Uploads, handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D-06: the store has not recorded yet that the hook was called."""
    path = uploads.create()
    with monkeypatch.context() as killing:
        killing.setattr("tus_wsgi.stores.memory.MemoryUpload.finish", killed)
        with pytest.raises(SystemExit):
            uploads.patch(path)
    assert uploads.request("HEAD", path).status == 200
    first, second = handler.ids("post-finish")
    assert first == second
    with monkeypatch.context() as killing:
        killing.setattr("tus_wsgi.stores.memory.MemoryUpload.terminate", killed)
        with pytest.raises(SystemExit):
            uploads.request("DELETE", path)
    assert uploads.request("HEAD", path).status == 410
    assert uploads.request("DELETE", path).status == 204
    first, second = handler.ids("post-terminate")
    assert first == second


def killed(*_arguments: object, **_options: object) -> None:
    raise SystemExit


def test_post_terminate_arrives_at_least_once_with_the_same_id(
    uploads: Uploads, handler: Handler
) -> None:
    path = uploads.create()
    handler.respond = responding("post-terminate", *WRONG["500"])
    assert uploads.request("DELETE", path).status == 503
    assert uploads.request("HEAD", path).status == 410
    questions = len(handler.of("pre-terminate"))
    handler.respond = as_the_handler
    assert uploads.request("DELETE", path).status == 204
    assert (uploads.count(), len(set(handler.ids("post-terminate")))) == (0, 1)
    assert len(handler.of("pre-terminate")) == questions, "the application has agreed before"


def test_wrong_responses_to_advice_disturb_no_upload_and_are_counted(
    uploads: Uploads, handler: Handler, events: list[Event]
) -> None:
    for kind, given in WRONG.items():
        for event in ("post-create", "post-receive"):
            handler.respond = responding(event, *given)
            assert uploads.patch(uploads.create()).status == 200, (kind, event)
    deadline = time.monotonic() + 20
    while ("post-create", "HookCallFailed") not in failures(events):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def failures(events: list[Event]) -> set[tuple[str, str]]:
    """Return the name of each hook that failed, with the name of its error."""
    called = [event for event in events if isinstance(event, HookCalled)]
    return {(event.hook, event.error) for event in called if event.error}


def test_the_owner_is_the_identity_in_the_response(uploads: Uploads, handler: Handler) -> None:
    def as_user(name: bytes) -> Respond:
        return responding("authorize", "200 OK", JSON, b'{"Identity": "%s"}' % name)

    handler.respond = as_user(b"ada")
    path = uploads.create()
    handler.respond = as_user(b"eve")
    assert uploads.request("HEAD", path).status == 404
    refusal = b'{"RejectRequest": true, "HTTPResponse": {"StatusCode": 401, "Body": "log in"}}'
    handler.respond = responding("authorize", "200 OK", JSON, refusal)
    refused = uploads.patch(path)
    assert (refused.status, refused.body) == (401, b"log in")
    handler.respond = as_user(b"ada")
    assert uploads.patch(path).status == 200
    actions = [document["Event"]["Action"] for document in handler.of("authorize")]
    assert actions == ["create", "inspect", "append", "append"]


def test_the_id_of_a_question_differs_each_time(uploads: Uploads, handler: Handler) -> None:
    path = uploads.create()
    for _ in range(3):
        handler.respond = responding("pre-terminate", "200 OK", JSON, b'{"RejectTermination":true}')
        assert uploads.request("DELETE", path).status == 400
    assert len(set(handler.ids("pre-terminate"))) == 3


def test_a_finished_upload_is_reported_complete_before_its_removal(
    uploads: Uploads, handler: Handler
) -> None:
    path = uploads.create()
    uploads.patch(path)
    assert uploads.request("DELETE", path).status == 204
    (document,) = handler.of("pre-terminate")
    assert document["Event"]["Upload"]["Offset"] == len(DATA)


def test_a_final_upload_can_be_removed_after_one_of_its_partial_uploads(
    uploads: Uploads, handler: Handler
) -> None:
    partials = [uploads.post(**{"Upload-Concat": "partial"}).fields["location"] for _ in range(2)]
    fields = {"Upload-Concat": f"final;{' '.join(partials)}", "Upload-Metadata": metadata("a.txt")}
    final = uploads._send("POST", "/files", {**TUS, **fields}, b"").fields["location"]
    for url in (partials[0], final):
        path = url.removeprefix("http://localhost")
        assert uploads.request("DELETE", path).status == 204
    assert uploads.count() == 1
    assert len(handler.of("pre-terminate")) == len(handler.of("post-terminate")) == 2


def test_post_create_is_told_of_an_upload_that_is_full_but_open(
    uploads: Uploads, handler: Handler
) -> None:
    fields = {
        "Upload-Draft-Interop-Version": "8",
        "Upload-Length": "3",
        "Upload-Complete": "?0",
        "Content-Disposition": 'attachment; filename="a.txt"',
    }
    assert uploads._send("POST", "/files", fields, b"abc").status == 201
    while "post-create" not in handler.events():
        assert handler.answered.acquire(timeout=20)
    assert "pre-finish" not in handler.events()


def test_post_create_is_told_before_the_end_of_an_upload_of_one_request(
    carrier: str, uploads: Uploads, handler: Handler
) -> None:
    data = {"Content-Type": "application/offset+octet-stream"}
    created = uploads._send(
        "POST",
        "/files",
        {**TUS, **data, "Upload-Length": "3", "Upload-Metadata": metadata("a.txt")},
        b"abc",
    )
    assert created.status == 201
    expected = ["authorize", "pre-create", "post-create", "pre-finish", "post-finish"]
    while len(handler.events()) < len(expected) + 1:
        assert handler.answered.acquire(timeout=20)
    events = [event for event in handler.events() if event != "post-receive"]
    if carrier == "wsgi":
        assert events == expected
    else:
        # Over HTTP, another thread delivers post-create, so it may come later.
        assert sorted(events) == sorted(expected)
    (document,) = handler.of("post-create")
    assert document["Event"]["Upload"]["Offset"] == 0


@pytest.mark.parametrize("failure", [LookupError(), Rejected(422, "no")], ids=["fails", "rejects"])
def test_post_create_is_told_if_on_finish_of_the_application_fails(
    handler: Handler, failure: Exception
) -> None:
    """The upload exists, although the client gets an error."""

    def fail(_upload: object) -> None:
        raise failure

    environ = {"TUS_HOOKS_ENABLED_EVENTS": "post-create"}
    with remote_app("wsgi", handler, environ, on_finish=fail) as app:
        send = send_in_process(app)
        data = {**TUS, "Upload-Length": "3", "Content-Type": "application/offset+octet-stream"}
        assert send("POST", "/files", data, b"abc").status in {422, 503}
        (document,) = handler.of("post-create")
        assert document["Event"]["Upload"]["Storage"] is not None
        partial = send("POST", "/files", {**data, "Upload-Concat": "partial"}, b"abc")
        final = {**TUS, "Upload-Concat": f"final;{partial.fields['location']}"}
        assert send("POST", "/files", final, b"").status in {422, 503}
    assert handler.events() == ["post-create"] * 3
