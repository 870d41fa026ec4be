"""Spans for OpenTelemetry. Needs the extra `tracing`, and an SDK that the application sets up.

A request has a span, which continues the trace of the request's `traceparent` field. Calls of S3,
waits for locks and hooks are its children. No name and no attribute contains an id, a key or a path
of an upload, because every program that reads the trace could use the upload: `tus.upload` is the
fingerprint that the log contains too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.propagate import extract
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider

from tus_wsgi.domain.events import (
    BytesStored,
    Event,
    LeaseLost,
    LockAcquired,
    LockTakenOver,
    LockTimedOut,
    RequestServed,
    S3Called,
    UploadCreated,
)
from tus_wsgi.domain.hidden_ids import fingerprint

_METHODS = frozenset({"OPTIONS", "HEAD", "GET", "POST", "PUT", "PATCH", "DELETE"})

_PATH_ATTRIBUTES = ("http.target", "http.url", "url.path", "url.full")
"""Attributes in which instrumentations of WSGI record the path, in older and newer versions."""


class TracingObserver:
    """Creates spans.

    Args:
        base_path: the path of the uploads, without a trailing slash.
        provider: creates the spans; None for the global provider.
    """

    handles = frozenset(
        {
            *(BytesStored, LeaseLost, LockAcquired, LockTakenOver, LockTimedOut),
            *(RequestServed, S3Called, UploadCreated),
        }
    )

    def __init__(self, base_path: str, provider: TracerProvider | None = None) -> None:
        self._base_path = base_path
        self._tracer = trace.get_tracer("tus_wsgi", tracer_provider=provider)

    @contextmanager
    def request(self, environ: Mapping[str, object]) -> Iterator[None]:
        """Create the span of a request, which ends with the block.

        If the server is instrumented as well, its span is the parent. The name and the attributes
        of the parent contain the path, so they are replaced.
        """
        given = str(environ.get("REQUEST_METHOD"))
        method = given if given in _METHODS else "HTTP"
        is_base = str(environ.get("PATH_INFO", "")).rstrip("/") == self._base_path
        route = self._base_path + ("" if is_base else "/{upload}")
        outer = trace.get_current_span()
        is_nested = outer.get_span_context().is_valid
        if is_nested:
            _hide_path(outer, f"{method} {route}", route)
        with self._tracer.start_as_current_span(
            f"{method} {route}",
            context=None if is_nested else extract(environ, getter=_FIELDS),
            kind=SpanKind.INTERNAL if is_nested else SpanKind.SERVER,
            attributes={"http.request.method": method, "http.route": route},
            # A message could contain an id.
            record_exception=False,
        ):
            yield

    @contextmanager
    def hook(self, name: str) -> Iterator[None]:
        """Create the span of a hook's call, which ends with the block."""
        with self._tracer.start_as_current_span(
            f"hook {name}", record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except Exception as error:
                # Decisions such as Denied are set too, so that the trace shows them.
                span.set_attribute("error.type", type(error).__name__)
                raise

    def __call__(self, event: Event, /) -> None:
        """Add an event to the span of the current request."""
        span = trace.get_current_span()
        if not span.is_recording():
            return
        match event:
            case RequestServed():
                _add_response(span, event)
            case S3Called(operation=operation, seconds=seconds):
                facts = {"rpc.system": "aws-api", "rpc.service": "S3", "rpc.method": operation}
                facts["tus.outcome"] = event.outcome
                self._add_child(f"S3 {operation}", seconds, facts, is_error=event.is_failure)
            case LockAcquired(seconds=seconds):
                self._add_child("lock", seconds, {})
            case LockTimedOut(seconds=seconds):
                self._add_child("lock", seconds, {}, is_error=True)
            case LockTakenOver() | LeaseLost():
                span.add_event(type(event).__name__)
            case BytesStored(id=id, offset=offset, count=count):
                span.set_attribute("tus.upload", fingerprint(id))
                span.set_attribute("tus.offset", offset)
                span.set_attribute("tus.bytes", count)
                if event.cut_short is not None:
                    span.set_attribute("tus.cut_short", event.cut_short)
            case UploadCreated(id=id):
                span.set_attribute("tus.upload", fingerprint(id))
            case _:
                pass

    def _add_child(
        self, name: str, seconds: float, attributes: Mapping[str, str], *, is_error: bool = False
    ) -> None:
        """Add a span of something that has just ended."""
        end = time.time_ns()
        is_call = name.startswith("S3 ")
        span = self._tracer.start_span(
            name,
            kind=SpanKind.CLIENT if is_call else SpanKind.INTERNAL,
            attributes=attributes,
            start_time=end - round(seconds * 1e9),
        )
        if is_error:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)


def _add_response(span: Span, event: RequestServed) -> None:
    span.set_attribute("http.response.status_code", event.status)
    span.set_attribute("tus.protocol", event.protocol)
    if event.error is not None:
        span.set_attribute("error.type", event.error)
    if event.status >= 500:
        span.set_status(Status(StatusCode.ERROR))


def _hide_path(span: Span, name: str, route: str) -> None:
    span.update_name(name)
    # Only the spans of an SDK have readable attributes.
    known: Mapping[str, object] = getattr(span, "attributes", None) or {}
    for attribute in _PATH_ATTRIBUTES:
        if attribute in known:
            span.set_attribute(attribute, route)


class _Fields(Getter[Mapping[str, object]]):
    """Reads header fields from an environ."""

    def get(self, carrier: Mapping[str, object], key: str) -> list[str] | None:
        value = carrier.get("HTTP_" + key.upper().replace("-", "_"))
        return None if value is None else [str(value)]

    def keys(self, carrier: Mapping[str, object]) -> list[str]:
        prefix = "HTTP_"
        return [
            name.removeprefix(prefix).replace("_", "-").lower()
            for name in carrier
            if name.startswith(prefix)
        ]


_FIELDS = _Fields()
