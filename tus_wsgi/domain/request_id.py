"""The id of the current request. The request's log lines and its response contain the id."""

from __future__ import annotations

from contextvars import ContextVar

REQUEST_ID: ContextVar[str] = ContextVar("tus_wsgi.request_id", default="")
"""The id of the current request in this thread or greenlet; empty outside of requests."""
