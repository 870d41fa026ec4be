"""Respect botocore's events: handlers that see or change a call, and the first attempt of a call.

https://boto3.amazonaws.com/v1/documentation/api/latest/guide/events.html
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tus_wsgi.stores.s3.direct.connection import Attempt

_CHANGING_EVENTS = (
    "provide-client-params",
    "before-parameter-build",
    "before-endpoint-resolution",
    "before-call",
    "request-created",
    "choose-signer",
    "before-sign",
    "response-received",
    "before-parse",
    "needs-retry",
    "after-call",
    "after-call-error",
)
"""The events of a call, without `before-send`, which direct calls emit too."""

_LIBRARIES = ("boto3.", "botocore.", "tus_wsgi.stores.s3.")
"""The modules whose handlers direct calls do not need."""

_FIRST_ATTEMPT: ContextVar[Attempt | None] = ContextVar("_FIRST_ATTEMPT", default=None)


class CallEvents:
    """The handlers of a client.

    Args:
        client: the client.

    Raises:
        AttributeError: this version of botocore has other events.
    """

    def __init__(self, client: Any) -> None:
        self._events: Any = client.meta.events
        self._emitter: Any = self._events._emitter
        self._version: object = None
        self._are_unknown: dict[str, bool] = {}
        self._has_send_handlers: dict[str, bool] = {}
        self._check()

    def have_unknown_handlers(self, operation: str) -> bool:
        """Return whether a handler that is not boto3's sees or changes calls of an operation."""
        self._check()
        if operation not in self._are_unknown:
            self._are_unknown[operation] = any(
                self._is_unknown(handler)
                for event in _CHANGING_EVENTS
                for handler in self._handlers(event, operation)
            )
        return self._are_unknown[operation]

    def have_send_handlers(self, operation: str) -> bool:
        """Return whether a handler is called before a request of an operation is sent."""
        self._check()
        if operation not in self._has_send_handlers:
            handlers = list(self._handlers("before-send", operation))
            self._has_send_handlers[operation] = bool(handlers)
        return self._has_send_handlers[operation]

    def before_send(self, operation: str, request: object) -> Any:
        """Call the handlers of `before-send`; return the response that one of them has chosen."""
        responses = self._events.emit(f"before-send.s3.{operation}", request=request)
        return next((response for _, response in responses if response is not None), None)

    def _check(self) -> None:
        # botocore replaces its cache when a handler is registered or unregistered.
        if self._version is not self._emitter._lookup_cache:
            self._version = self._emitter._lookup_cache
            self._are_unknown = {}
            self._has_send_handlers = {}

    def _handlers(self, event: str, operation: str) -> Iterator[Any]:
        yield from self._emitter._handlers.prefix_search(f"{event}.s3.{operation}")

    def _is_unknown(self, handler: Any) -> bool:
        module = getattr(handler, "__module__", None) or ""
        return not module.startswith(_LIBRARIES)


class EndpointEvents:
    """Emits the events of a client's endpoint. The first attempt may have been made without boto3.

    Args:
        events: the events.
    """

    def __init__(self, events: Any) -> None:
        self._events = events

    def emit(self, event_name: str, **details: Any) -> Any:
        """Emit an event.

        If an attempt was already made, do not emit the first `before-send`, but return the outcome
        of the attempt: the handlers were called before the attempt.
        """
        if event_name.startswith("before-send."):
            attempt = _FIRST_ATTEMPT.get()
            if attempt is not None:
                _FIRST_ATTEMPT.set(None)
                return [(None, attempt.response())]
        return self._events.emit(event_name, **details)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._events, name)


@contextmanager
def first_attempt(attempt: Attempt) -> Iterator[None]:
    """Let the call of boto3 in this block use `attempt` as the outcome of its first attempt."""
    token = _FIRST_ATTEMPT.set(attempt)
    try:
        yield
    finally:
        _FIRST_ATTEMPT.reset(token)
