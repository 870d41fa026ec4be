"""Python's own WSGI linter around what is tested, and a client that behaves as it demands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from wsgiref.validate import validator

from werkzeug.test import Client, TestResponse

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


def linted(app: WSGIApplication) -> WSGIApplication:
    """The application inside `wsgiref.validate`, which wants a type even of an empty body.

    HTTP does not: "a sender that generates a message containing content SHOULD generate a
    Content-Type" (RFC 9110, section 8.3).
    """

    def typed(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, fields: list[tuple[str, str]], *exc_info: Any) -> Any:
            bodyless = status[:3] in ("204", "304")
            if not bodyless and "content-type" not in {name.lower() for name, _ in fields}:
                assert dict(fields).get("Content-Length", "0") == "0"
                fields = [*fields, ("Content-Type", "application/x-nothing")]
            return start_response(status, fields, *exc_info)

        return app(environ, start)

    return validator(typed)


class LintedClient(Client):
    """A client that reads each response and closes it, as a server does."""

    def __init__(self, app: WSGIApplication) -> None:
        super().__init__(linted(app))

    def open(self, *args: Any, **options: Any) -> TestResponse:
        return super().open(*args, **{**options, "buffered": True})
