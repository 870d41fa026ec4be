"""The id of the request that runs: it joins the lines of a log, and a response with them."""

from __future__ import annotations

from contextvars import ContextVar

REQUEST_ID: ContextVar[str] = ContextVar("tus_wsgi.request_id", default="")
"""The id of the current request in this thread or greenlet; empty outside of requests."""
