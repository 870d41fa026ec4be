"""A test client that runs an application inside `wsgiref.validate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from wsgiref.validate import validator

from werkzeug.test import Client, TestResponse

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication


class LintedClient(Client):
    """A client that reads and closes each response, as a server does."""

    def __init__(self, app: WSGIApplication) -> None:
        super().__init__(validator(app))

    def open(self, *args: Any, **options: Any) -> TestResponse:
        return super().open(*args, **{**options, "buffered": True})
