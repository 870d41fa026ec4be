"""The measurements that observers ask for: requests, S3 calls, hooks, bodies and memory."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import pytest
from werkzeug.exceptions import NotFound

from demo.seaweedfs import SeaweedFS
from tests.app.hooked_app import DATA, IETF, TUS, path_of
from tests.wsgi.linting import LintedClient
from tus_wsgi import Access, Denied, Settings, TusMiddleware
from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.domain.events import (
    BodyClosed,
    BodyOpened,
    BytesStored,
    Event,
    HookCalled,
    Measurement,
    MemoryUsed,
    RequestServed,
    S3Called,
    UploadFinished,
)
from tus_wsgi.domain.interfaces import Store
from tus_wsgi.domain.model import MIB, UploadInfo
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.stores.memory import MemoryStore, MemoryUpload

CREATION = {**TUS, "Upload-Length": "10"}
APPEND = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}


class Recorder:
    """An observer that asks for all measurements."""

    handles = frozenset(get_args(Measurement))

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event, /) -> None:
        self.events.append(event)

    def take(self, kind: type) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


def client_of(recorder: Recorder, store: Store, **hooks: object) -> LintedClient:
    middleware = TusMiddleware(
        NotFound(),
        settings=Settings.from_environ({"TUS_S3_BUCKET": "bucket"}),
        store=store,
        locker=MemoryLocker(timeout=0.5),
        observers=[recorder],
        **hooks,  # type: ignore[arg-type]
    )
    return LintedClient(middleware)


def test_each_request_is_measured_with_protocol_and_error() -> None:
    recorder = Recorder()
    client = client_of(recorder, MemoryStore())
    path = path_of(client.post("/files", headers=CREATION))
    client.patch(path, headers=APPEND | {"Upload-Offset": "5"}, data=b"x")
    client.patch(path, headers=APPEND, data=DATA)
    client.head(path, headers=IETF)
    client.post(path, headers=TUS | {"X-HTTP-Method-Override": "DELETE"})
    client.get("/elsewhere")
    served = recorder.take(RequestServed)
    assert all(isinstance(event, RequestServed) and event.seconds >= 0 for event in served)
    assert [
        (event.method, event.protocol, event.status, event.error)
        for event in served
        if isinstance(event, RequestServed)
    ] == [
        ("POST", "tus1", 201, None),
        ("PATCH", "tus1", 409, "OffsetMismatch"),
        ("PATCH", "tus1", 204, None),
        ("HEAD", "rufh8", 204, None),
        ("DELETE", "tus1", 204, None),
    ]


def test_a_bug_is_measured_without_its_details() -> None:
    recorder = Recorder()

    class BrokenStore(MemoryStore):
        def create(self, info: UploadInfo, *, record_now: bool) -> MemoryUpload:
            raise RuntimeError("a secret")

    client_of(recorder, BrokenStore()).post("/files", headers=CREATION)
    (served,) = recorder.take(RequestServed)
    assert isinstance(served, RequestServed)
    assert (served.status, served.error) == (503, "Unavailable")


def test_bodies_are_measured_from_the_first_read_to_their_end() -> None:
    recorder = Recorder()
    client = client_of(recorder, MemoryStore())
    path = path_of(client.post("/files", headers=CREATION))
    assert recorder.take(BodyOpened) == []
    client.patch(path, headers=APPEND, data=DATA)
    assert recorder.take(BodyOpened) == [BodyOpened()]
    assert recorder.take(BodyClosed) == [BodyClosed(None)]


def test_a_body_that_ends_early_is_measured_with_the_reason() -> None:
    recorder = Recorder()
    client = client_of(recorder, MemoryStore())
    path = path_of(client.post("/files", headers=CREATION))
    shorter = {"CONTENT_LENGTH": "10"}
    client.patch(path, headers=APPEND, data=DATA[:4], environ_overrides=shorter)
    assert recorder.take(BodyClosed) == [BodyClosed("disconnected")]


def test_the_calls_of_s3_are_measured_with_operation_and_outcome(
    s3: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in s3.environ().items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, text)
    recorder = Recorder()
    environ = {name: text for name, text in s3.environ().items() if name.startswith("TUS_")}
    settings = Settings.from_environ(environ | {"TUS_MEMORY_BUDGET": "32MiB"})
    middleware = TusMiddleware(
        NotFound(), settings=settings, locker=MemoryLocker(timeout=1), observers=[recorder]
    )
    client = LintedClient(middleware)
    size = 6 * MIB
    fields = TUS | {"Upload-Length": str(size), "Content-Type": APPEND["Content-Type"]}
    path = path_of(client.post("/files", headers=fields, data=bytes(size)))
    client.delete(path, headers=TUS)
    client.head(path + "x", headers=TUS)
    calls = [event for event in recorder.events if isinstance(event, S3Called)]
    assert Counter(call.operation for call in calls)["PutObject"] >= 1
    assert {call.outcome for call in calls} == {"ok", "not_found"}
    assert not any(call.is_failure for call in calls)
    assert all(call.seconds > 0 for call in calls)
    sizes = [event.size for event in recorder.events if isinstance(event, MemoryUsed)]
    assert max(sizes) >= size
    assert sizes[-1] == 0


def test_hooks_are_measured_and_decisions_are_no_errors() -> None:
    recorder = Recorder()

    def authorize(access: Access) -> str:
        if access.request.fields.get("x-user") != "ada":
            raise Denied(403)
        return "ada"

    def fail(_: object) -> None:
        raise RuntimeError("a bug of the application")

    client = client_of(
        recorder,
        MemoryStore(),
        authorize=authorize,
        on_create=lambda _: None,
        on_progress=lambda _: None,
        on_finish=fail,
        on_terminate=lambda _: None,
    )
    ada = {"X-User": "ada"}
    client.post("/files", headers=CREATION)
    path = path_of(client.post("/files", headers=CREATION | ada))
    assert client.patch(path, headers=APPEND | ada, data=DATA).status_code == 503
    assert client.delete(path, headers=TUS | ada).status_code == 204
    calls = [event for event in recorder.events if isinstance(event, HookCalled)]
    assert [(call.hook, call.error) for call in calls] == [
        ("authorize", None),
        ("authorize", None),
        ("on_create", None),
        ("authorize", None),
        ("on_progress", None),
        ("on_finish", "RuntimeError"),
        ("authorize", None),
        ("on_terminate", None),
    ]


def test_an_observer_without_a_choice_receives_no_measurements() -> None:
    events: list[Event] = []
    dispatcher = EventDispatcher([events.append])
    assert not any(dispatcher.wants(kind) for kind in get_args(Measurement))
    dispatcher.dispatch(BodyOpened())
    dispatcher.dispatch(UploadFinished(id="a", length=1))  # type: ignore[arg-type]
    assert [type(event) for event in events] == [UploadFinished]


def test_an_observer_receives_only_the_events_that_it_handles() -> None:
    recorder = Recorder()
    client = client_of(recorder, MemoryStore())
    client.post("/files", headers=CREATION | {"Content-Type": APPEND["Content-Type"]}, data=DATA)
    assert recorder.take(BytesStored) == []
    assert recorder.take(RequestServed)
