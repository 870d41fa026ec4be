"""A test client that runs an application inside `wsgiref.validate`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from wsgiref.validate import validator

from werkzeug.test import Client, TestResponse

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


def linted(app: WSGIApplication) -> WSGIApplication:
    """Wrap an application in `wsgiref.validate`, which requires a Content-Type of empty bodies too.

    HTTP does not: "a sender that generates a message containing content SHOULD generate a
    Content-Type" (RFC 9110, section 8.3).
    """

    def typed(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, fields: list[tuple[str, str]], *exc_info: Any) -> Any:
            has_no_body = status[:3] in ("204", "304")
            if not has_no_body and "content-type" not in {name.lower() for name, _ in fields}:
                assert dict(fields).get("Content-Length", "0") == "0"
                fields = [*fields, ("Content-Type", "application/x-nothing")]
            return start_response(status, fields, *exc_info)

        return app(environ, start)

    return validator(typed)


class LintedClient(Client):
    """A client that reads and closes each response, as a server does."""

    def __init__(self, app: WSGIApplication) -> None:
        super().__init__(linted(app))

    def open(self, *args: Any, **options: Any) -> TestResponse:
        return super().open(*args, **{**options, "buffered": True})
