"""Spans of requests, with OpenTelemetry's SDK."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from werkzeug.exceptions import NotFound

from demo.seaweedfs import SeaweedFS
from tests.app.hooked_app import DATA, TUS, id_of, path_of
from tests.wsgi.linting import LintedClient
from tus_wsgi import Denied, Settings, SettingsError, TusMiddleware
from tus_wsgi.domain.hidden_ids import fingerprint
from tus_wsgi.domain.interfaces import Store
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.stores.memory import MemoryStore
from tus_wsgi.stores.s3 import S3Store

CREATION = {**TUS, "Upload-Length": "10"}
APPEND = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


class Traces:
    """The spans that have ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def clear(self) -> None:
        self._exporter.clear()

    def names(self) -> list[str]:
        return [span.name for span in self.spans]

    def one(self, name: str) -> ReadableSpan:
        (found,) = (span for span in self.spans if span.name == name)
        return found

    def children(self, name: str) -> list[str]:
        parent = self.one(name).context
        assert parent is not None
        return [
            span.name
            for span in self.spans
            if span.parent is not None and span.parent.span_id == parent.span_id
        ]


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> Iterator[Traces]:
    """The spans of middlewares that are created in the test."""
    traces = Traces()
    new_tracer = trace.get_tracer

    def get_tracer(name: str, **_: object) -> object:
        return new_tracer(name, tracer_provider=traces.provider)

    monkeypatch.setattr(trace, "get_tracer", get_tracer)
    yield traces
    traces.provider.shutdown()


def client_of(
    store: Store | None = None, environ: dict[str, str] | None = None, **hooks: Any
) -> LintedClient:
    required = {"TUS_S3_BUCKET": "bucket", "TUS_TRACING": "true"}
    middleware = TusMiddleware(
        NotFound(),
        settings=Settings.from_environ(required | (environ or {})),
        store=store,
        locker=MemoryLocker(timeout=0.5),
        **hooks,
    )
    return LintedClient(middleware)


def test_a_request_has_a_span_with_its_route_and_its_status(traces: Traces) -> None:
    client = client_of(MemoryStore())
    path = path_of(client.post("/files", headers=CREATION))
    created = traces.one("POST /files")
    assert created.kind is SpanKind.SERVER
    assert created.attributes == {
        "http.request.method": "POST",
        "http.route": "/files",
        "http.response.status_code": 201,
        "tus.protocol": "tus1",
        "tus.upload": fingerprint(id_of(path)),
    }
    traces.clear()
    client.patch(path, headers=APPEND, data=DATA)
    appended = traces.one("PATCH /files/{upload}")
    assert appended.attributes is not None
    assert appended.attributes["tus.offset"] == len(DATA)
    assert appended.attributes["tus.bytes"] == len(DATA)
    client.patch(path, headers=APPEND | {"Upload-Offset": "5"}, data=b"x")
    assert traces.spans[-1].attributes is not None
    assert traces.spans[-1].attributes["error.type"] == "OffsetMismatch"
    assert traces.spans[-1].status.is_unset


def test_requests_of_the_application_have_no_span(traces: Traces) -> None:
    client_of(MemoryStore()).get("/elsewhere")
    assert traces.spans == ()


def test_a_span_continues_the_trace_of_the_request(traces: Traces) -> None:
    fields = CREATION | {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    client_of(MemoryStore()).post("/files", headers=fields)
    span = traces.one("POST /files")
    assert span.context is not None
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == PARENT


def test_the_span_of_an_instrumented_server_is_the_parent_and_loses_the_path(
    traces: Traces,
) -> None:
    client = client_of(MemoryStore())
    path = path_of(client.post("/files", headers=CREATION))
    traces.clear()
    tracer = traces.provider.get_tracer("server")
    facts = {"http.target": path, "url.path": path, "http.method": "HEAD"}
    with tracer.start_as_current_span(f"HEAD {path}", attributes=facts):
        client.head(path, headers=TUS)
    inner, outer = traces.spans
    assert outer.name == inner.name == "HEAD /files/{upload}"
    assert inner.kind is SpanKind.INTERNAL
    assert inner.parent == outer.context
    assert id_of(path) not in str([span.to_json() for span in traces.spans])


def test_hooks_are_children_of_the_request_and_parents_of_their_own_spans(traces: Traces) -> None:
    def on_create(_: object) -> None:
        with traces.provider.get_tracer("app").start_as_current_span("SELECT quota"):
            raise Denied(403, "no space left")

    client_of(MemoryStore(), on_create=on_create).post("/files", headers=CREATION)
    assert traces.children("POST /files") == ["hook on_create"]
    assert traces.children("hook on_create") == ["SELECT quota"]
    hook = traces.one("hook on_create")
    assert hook.attributes == {"error.type": "Denied"}
    assert hook.status.is_unset


@pytest.fixture
def s3_settings(s3: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, text in s3.environ().items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, text)
    return {name: text for name, text in s3.environ().items() if name.startswith("TUS_")}


def test_calls_of_s3_are_children_of_the_request_whichever_thread_makes_them(
    traces: Traces, s3_settings: dict[str, str]
) -> None:
    """The executor's threads would otherwise begin traces of their own."""
    size = 11 * 1024 * 1024
    part = {"TUS_S3_PART_SIZE": "5MiB"}
    client = client_of(environ=s3_settings | part)
    path = path_of(client.post("/files", headers=TUS | {"Upload-Length": str(size)}))
    traces.clear()
    client.patch(path, headers=APPEND, data=bytes(size))
    children = traces.children("PATCH /files/{upload}")
    assert children.count("S3 UploadPart") == 3
    assert children.count("S3 CompleteMultipartUpload") == 1
    assert {span.parent is None for span in traces.spans} == {True, False}
    assert [span.name for span in traces.spans if span.parent is None] == ["PATCH /files/{upload}"]
    call = traces.spans[0]
    assert call.attributes is not None
    assert call.attributes["rpc.system"] == "aws-api"
    assert call.start_time is not None
    assert call.end_time is not None
    assert call.start_time < call.end_time
    assert id_of(path) not in str([span.to_json() for span in traces.spans])


def test_waits_for_locks_are_children_of_the_request(
    traces: Traces, s3_settings: dict[str, str], tmp_path: Any
) -> None:
    settings = Settings.from_environ(
        s3_settings | {"TUS_TRACING": "true", "TUS_LOCK_DIR": str(tmp_path / "locks")}
    )
    client = LintedClient(TusMiddleware(NotFound(), settings=settings, store=MemoryStore()))
    path = path_of(client.post("/files", headers=CREATION))
    traces.clear()
    client.head(path, headers=TUS)
    assert traces.children("HEAD /files/{upload}") == ["lock"]


def test_a_failure_of_the_server_is_an_error_without_its_message(traces: Traces) -> None:
    class BrokenStore(MemoryStore):
        def create(self, *_: object, **__: object) -> Any:
            raise RuntimeError("a secret")

    client_of(BrokenStore()).post("/files", headers=CREATION)
    span = traces.one("POST /files")
    assert not span.status.is_ok
    assert not span.status.is_unset
    assert "a secret" not in span.to_json()


def test_the_executors_pass_the_context_on(s3_settings: dict[str, str]) -> None:
    from contextvars import ContextVar

    variable = ContextVar[str]("variable")
    variable.set("of the caller")
    store = TusMiddleware(NotFound(), settings=Settings.from_environ(s3_settings))._service._store
    assert isinstance(store, S3Store)
    for executor in (store._context.part_executor, store._context.call_executor):
        assert executor.submit(variable.get).result() == "of the caller"


def test_a_missing_package_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tus_wsgi.observers.tracing", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delattr("tus_wsgi.observers.tracing", raising=False)
    with pytest.raises(SettingsError, match=r"tus-wsgi-s3\[tracing\]"):
        client_of(MemoryStore())
