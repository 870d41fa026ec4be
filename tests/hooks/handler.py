"""A handler of tusd's hooks that does what tusd's example handlers do, as a WSGI application.

The name of the file decides:

- `stop.txt` is stopped while it is received, and `keep.txt` cannot be removed.
- `change.txt` gets other metadata, and `id.txt` another id.
- A file without a name is rejected.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

JSON = [("Content-Type", "application/json")]


def decide(document: dict[str, Any]) -> dict[str, Any]:  # noqa: PLR0911 - a table of cases
    """Return the response to a document."""
    name = document["Event"]["Upload"]["MetaData"].get("filename")
    match document["Type"], name:
        case "pre-create", None:
            return {
                "RejectUpload": True,
                "HTTPResponse": {
                    "StatusCode": 422,
                    "Body": json.dumps({"Error": "no filename provided"}),
                    "Header": {"Content-Type": "application/json", "X-Reason": "name"},
                },
            }
        case "pre-create", "change.txt":
            changes = {"MetaData": {"filename": "changed.txt", "by": "hook"}}
            return {"ChangeFileInfo": changes, "HTTPResponse": {"Header": {"X-Changed": "1"}}}
        case "pre-create", "id.txt":
            return {"ChangeFileInfo": {"ID": "chosen"}}
        case "post-receive", "stop.txt":
            return {"StopUpload": True, "HTTPResponse": {"StatusCode": 403, "Body": "stopped"}}
        case "pre-finish", _:
            fields = {"Content-Type": "application/json", "X-Row": "7"}
            http = {"StatusCode": 200, "Body": '{"row": 7}', "Header": fields}
            return {"HTTPResponse": http}
        case "pre-terminate", "keep.txt":
            return {
                "RejectTermination": True,
                "HTTPResponse": {"StatusCode": 403, "Body": "this file stays"},
            }
        case _:
            return {}


@dataclass
class Handler:
    """The handler, which records the documents.

    Attributes:
        documents: the documents in the order in which they came.
        environs: the header fields of the calls.
        answered: released after each response.
        respond: called with each document; it may start another response and return its body.
    """

    documents: list[dict[str, Any]] = field(default_factory=list)
    environs: list[dict[str, Any]] = field(default_factory=list)
    answered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    respond: Callable[[dict[str, Any], StartResponse], Iterable[bytes] | None] = (
        lambda _document, _start: None
    )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        document = json.loads(body)
        self.documents.append(document)
        self.environs.append({**environ, "body": body})
        try:
            given = self.respond(document, start_response)
            if given is not None:
                return given
            content = json.dumps(decide(document)).encode()
            start_response("200 OK", [*JSON, ("Content-Length", str(len(content)))])
            return [content]
        finally:
            self.answered.release()

    def events(self) -> list[str]:
        return [document["Type"] for document in self.documents]

    def of(self, event: str) -> list[dict[str, Any]]:
        return [document for document in self.documents if document["Type"] == event]

    def ids(self, event: str) -> list[str]:
        """Return the `webhook-id` of each call for an event."""
        pairs = zip(self.documents, self.environs, strict=True)
        return [env["HTTP_WEBHOOK_ID"] for document, env in pairs if document["Type"] == event]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_address = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_args: Any) -> None:
        """Write no access log."""


@contextmanager
def serving(handler: Any) -> Iterator[str]:
    """Serve a WSGI application over HTTP, and yield its URL."""
    with make_server("127.0.0.1", 0, handler, _Server, _Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/hooks"
        finally:
            server.shutdown()
            thread.join()
