"""Requests through the middleware, with the memory store and inside `wsgiref.validate`."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.test import TestResponse, create_environ

from tests.wsgi.linting import LintedClient
from tus_wsgi.domain.commands import Content
from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.domain.events import Event, RequestFailed
from tus_wsgi.domain.model import Extension, UploadId, UploadInfo
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.protocol.cors import CorsPolicy
from tus_wsgi.protocol.tus1.dialect import Tus1
from tus_wsgi.service.uploads import UploadService
from tus_wsgi.stores.memory import MemoryStore
from tus_wsgi.wsgi.environ import UploadRoutes
from tus_wsgi.wsgi.middleware import UploadMiddleware

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

MAX = 1000
TUS = {"Tus-Resumable": "1.0.0"}
OCTETS = "application/offset+octet-stream"
DATA = b"0123456789"
EXTENSIONS = (
    Extension.CREATION,
    Extension.CREATION_WITH_UPLOAD,
    Extension.CREATION_DEFER_LENGTH,
    Extension.TERMINATION,
)


class FailingStore(MemoryStore):
    """A store whose methods raise `error` if it is set."""

    error: Exception | None = None

    def open(self, id: UploadId) -> Any:
        if self.error is not None:
            raise self.error
        return super().open(id)

    def create(self, info: UploadInfo, *, record_now: bool) -> Any:
        if self.error is not None:
            raise self.error
        return super().create(info, record_now=record_now)


@dataclass
class Server:
    """The middleware with a memory store, and a client."""

    routes: UploadRoutes = field(default_factory=lambda: UploadRoutes("/files"))
    cors: CorsPolicy | None = field(default_factory=CorsPolicy)
    observers: list[Callable[[Event], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = FailingStore(max_size=MAX)
        self.events: list[Event] = []
        ids = (UploadId(f"id{number}") for number in itertools.count())
        service = UploadService(
            self.store,
            MemoryLocker(timeout=0.2),
            new_id=lambda: next(ids),
            extensions=EXTENSIONS,
        )
        dialect = Tus1(extensions=EXTENSIONS, max_size=service.max_size, downloads=True)
        self.app = UploadMiddleware(
            self._app,
            service=service,
            dialects=[dialect],
            routes=self.routes,
            cors=self.cors,
            observers=[*self.observers, self.events.append],
        )
        self.client = LintedClient(self.app)

    def _app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain"), ("X-App", "yes")])
        return [f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}".encode()]

    def tus_request(
        self, method: str, path: str = "/files", data: bytes | None = None, /, **fields: str
    ) -> TestResponse:
        """Send a tus 1.0.0 request. The names of header fields have underscores."""
        return self.plain_request(method, path, data, **{"Tus_Resumable": "1.0.0", **fields})

    def plain_request(
        self, method: str, path: str = "/files", data: bytes | None = None, /, **fields: str
    ) -> TestResponse:
        """Send a request without Tus-Resumable."""
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        return self.client.open(path, method=method, data=data, headers=headers)

    def create(self, data: bytes | None = None, *, length: int = len(DATA)) -> str:
        """Create an upload and return its path."""
        response = self.tus_request("POST", Upload_Length=str(length))
        assert response.status_code == 201
        path = response.headers["Location"].removeprefix("http://localhost")
        if data is not None:
            assert self.patch(path, data).status_code == 204
        return path

    def patch(self, path: str, data: bytes, offset: int = 0, **fields: str) -> TestResponse:
        given = {"Content_Type": OCTETS, "Upload_Offset": str(offset), **fields}
        return self.tus_request("PATCH", path, data, **given)


@pytest.fixture
def server() -> Server:
    return Server()


# -- methods ---------------------------------------------------------------------------------------


def test_options_returns_versions_extensions_and_the_maximum_size(server: Server) -> None:
    """C-05, C-07, C-09."""
    response = server.plain_request("OPTIONS")
    assert response.status_code == 204
    assert response.headers["Tus-Resumable"] == response.headers["Tus-Version"] == "1.0.0"
    assert response.headers["Tus-Extension"] == ",".join(EXTENSIONS)
    assert response.headers["Tus-Max-Size"] == str(MAX)
    assert response.data == b""


def test_a_file_is_uploaded_and_downloaded(server: Server) -> None:
    """CR-01, CR-02, C-20, C-21, C-22, C-30."""
    created = server.tus_request("POST", Upload_Length="10", Upload_Metadata="filename YS50eHQ=")
    assert created.status_code == 201
    assert created.headers["Location"] == "http://localhost/files/id0"
    path = "/files/id0"
    first = server.patch(path, DATA[:4])
    assert (first.status_code, first.headers["Upload-Offset"]) == (204, "4")
    head = server.tus_request("HEAD", path)
    assert head.status_code == 200
    assert head.headers["Upload-Offset"] == "4"
    assert head.headers["Upload-Length"] == "10"
    assert head.headers["Upload-Metadata"] == "filename YS50eHQ="
    assert head.headers["Cache-Control"] == "no-store"
    assert head.data == b""
    assert server.patch(path, DATA[4:], 4).headers["Upload-Offset"] == "10"
    got = server.plain_request("GET", path)
    assert (got.status_code, got.data) == (200, DATA)
    assert got.headers["Content-Length"] == "10"
    assert 'filename="a.txt"' in got.headers["Content-Disposition"]


def test_a_creation_may_contain_data(server: Server) -> None:
    """CW-02, CW-03."""
    fields = {"Upload_Length": "10", "Content_Type": OCTETS}
    partial = server.tus_request("POST", "/files", DATA[:4], **fields)
    assert (partial.status_code, partial.headers["Upload-Offset"]) == (201, "4")
    complete = server.tus_request("POST", "/files", DATA, **fields)
    assert (complete.status_code, complete.headers["Upload-Offset"]) == (201, "10")
    assert server.tus_request("GET", "/files/id1").data == DATA


def test_a_body_may_be_chunked(server: Server) -> None:
    """D-14: a body without a length is not taken for an empty one."""
    path = server.create()
    response = server.client.patch(
        path,
        input_stream=io.BytesIO(DATA),
        headers={**TUS, "Content-Type": OCTETS, "Upload-Offset": "0"},
        environ_overrides={"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True},
    )
    assert (response.status_code, response.headers["Upload-Offset"]) == (204, "10")
    assert server.tus_request("GET", path).data == DATA


def test_a_chunked_body_that_the_server_does_not_decode_is_refused(server: Server) -> None:
    """D-14: 411, with the fields of every refusal, and nothing is stored or read."""
    path = server.create()
    input = io.BytesIO(b"a\r\n0123456789\r\n0\r\n\r\n")
    response = server.client.patch(
        path,
        input_stream=input,
        headers={**TUS, "Content-Type": OCTETS, "Upload-Offset": "0", "Origin": "http://a.b"},
        environ_overrides={"HTTP_TRANSFER_ENCODING": "chunked"},
    )
    assert response.status_code == 411
    assert response.headers["Tus-Resumable"] == "1.0.0"
    assert "Access-Control-Allow-Origin" in response.headers
    assert "Content-Length" in response.text
    assert input.tell() == 0
    assert server.tus_request("HEAD", path).headers["Upload-Offset"] == "0"


@pytest.mark.parametrize("is_terminated", [True, False])
def test_a_body_of_http2_without_content_length_is_stored_or_refused(
    server: Server, *, is_terminated: bool
) -> None:
    """D-14: it is stored if `wsgi.input` ends by itself; it is never taken for an empty body."""
    path = server.create()
    overrides = {"SERVER_PROTOCOL": "HTTP/2", "CONTENT_LENGTH": ""}
    terminated = {"wsgi.input_terminated": True} if is_terminated else {}
    response = server.client.patch(
        path,
        input_stream=io.BytesIO(DATA),
        headers={**TUS, "Content-Type": OCTETS, "Upload-Offset": "0"},
        environ_overrides={**overrides, **terminated},
    )
    assert response.status_code == (204 if is_terminated else 411)
    stored = server.tus_request("HEAD", path).headers["Upload-Offset"]
    assert stored == ("10" if is_terminated else "0")


def test_a_creation_over_http2_may_have_no_body(server: Server) -> None:
    """D-14: an empty body needs no Content-Type."""
    response = server.client.post(
        "/files",
        headers={**TUS, "Upload-Length": "10"},
        environ_overrides={
            "SERVER_PROTOCOL": "HTTP/2",
            "CONTENT_LENGTH": "",
            "wsgi.input_terminated": True,
        },
    )
    assert response.status_code == 201


def test_delete_terminates_an_upload(server: Server) -> None:
    """TE-01, TE-02."""
    path = server.create(DATA)
    assert server.tus_request("DELETE", path).status_code == 204
    for method in ("HEAD", "DELETE", "GET"):
        assert server.tus_request(method, path).status_code == 404
    assert server.patch(path, b"").status_code == 404


@pytest.mark.parametrize(
    ("range", "status", "data"),
    [
        ("bytes=0-3", 206, b"0123"),
        ("bytes=8-", 206, b"89"),
        ("bytes=-2", 206, b"89"),
        ("bytes=4-4", 206, b"4"),
        ("bytes=0-3,5-6", 200, DATA),
        ("bytes=10-", 416, None),
    ],
)
def test_a_range_of_a_file_is_downloaded(
    server: Server, range: str, status: int, data: bytes | None
) -> None:
    response = server.plain_request("GET", server.create(DATA), Range=range)
    assert response.status_code == status
    if data is not None:
        assert response.data == data
        assert response.headers["Content-Length"] == str(len(data))


def test_if_none_match_with_the_current_etag_returns_304(server: Server) -> None:
    path = server.create(DATA)
    etag = server.tus_request("GET", path).headers["ETag"]
    again = server.tus_request("GET", path, If_None_Match=etag)
    assert (again.status_code, again.data) == (304, b"")


def test_x_http_method_override_replaces_post_and_get(server: Server) -> None:
    """C-10."""
    path = server.create()
    fields = {"Content_Type": OCTETS, "Upload_Offset": "0"}
    patched = server.tus_request("POST", path, DATA, X_HTTP_Method_Override="PATCH", **fields)
    assert (patched.status_code, patched.headers["Upload-Offset"]) == (204, "10")
    head = server.tus_request("GET", path, X_HTTP_Method_Override="HEAD")
    assert (head.status_code, head.data) == (200, b"")
    assert server.tus_request("POST", path, X_HTTP_Method_Override="DELETE").status_code == 204
    assert server.tus_request("HEAD", path).status_code == 404


def test_head_has_no_response_body_with_any_override(server: Server) -> None:
    path = server.create(DATA)
    for override in ("GET", "PATCH", "FOO"):
        response = server.tus_request("HEAD", path, X_HTTP_Method_Override=override)
        assert response.data == b""


# -- refusals --------------------------------------------------------------------------------------

REFUSALS: dict[str, tuple[int, Callable[[Server, str], TestResponse]]] = {
    "wrong version": (
        412,
        lambda server, path: server.tus_request("HEAD", path, Tus_Resumable="0.2.2"),
    ),
    "no length": (400, lambda server, _: server.tus_request("POST")),
    "too long": (413, lambda server, _: server.tus_request("POST", Upload_Length=str(MAX + 1))),
    "wrong type": (
        415,
        lambda server, path: server.patch(path, b"x", 4, Content_Type="text/plain"),
    ),
    "wrong offset": (409, lambda server, path: server.patch(path, b"x", 5)),
    "too much": (413, lambda server, path: server.patch(path, b"x" * 7, 4)),
    "unknown": (404, lambda server, _: server.tus_request("HEAD", "/files/unknown")),
    "no id": (404, lambda server, _: server.tus_request("HEAD", "/files/a/b")),
    "wrong method": (405, lambda server, path: server.tus_request("PUT", path, b"x")),
    "unfinished": (409, lambda server, path: server.tus_request("GET", path)),
    "no host": (400, lambda server, _: server.tus_request("POST", Upload_Length="1", Host="a b")),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_has_a_reason_and_changes_nothing(server: Server, case: str) -> None:
    """C-01: with Tus-Resumable, like every reply."""
    status, send = REFUSALS[case]
    path = server.create(DATA[:4])
    server.events.clear()
    response = send(server, path)
    assert response.status_code == status
    assert response.headers["Tus-Resumable"] == "1.0.0"
    assert response.status == f"{status} {HTTPStatus(status).phrase}"
    if response.request.method != "HEAD":
        assert response.headers["Content-Length"] == str(len(response.data))
        assert response.data
    assert server.tus_request("HEAD", path).headers["Upload-Offset"] == "4"
    assert not [event for event in server.events if isinstance(event, RequestFailed)]


def test_a_small_refused_body_is_discarded(server: Server) -> None:
    path = server.create()
    stream = io.BytesIO(b"x" * 200_000)
    environ = create_environ(
        path,
        method="PATCH",
        input_stream=stream,
        headers={
            **TUS,
            "Upload-Offset": "0",
            "Content-Type": "text/plain",
            "Content-Length": "200000",
        },
    )
    statuses: list[str] = []
    list(server.app(environ, lambda status, *_: statuses.append(status)))  # type: ignore[arg-type]
    assert statuses == ["415 Unsupported Media Type"]
    assert stream.tell() == 200_000


# -- wrapped application ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/file", "/files-x", "/x/files", "/Files"])
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "OPTIONS"])
def test_other_paths_reach_the_application(server: Server, path: str, method: str) -> None:
    response = server.tus_request(method, path, b"data")
    assert response.headers["X-App"] == "yes"
    assert response.data == f"{method} {path}".encode()
    assert set(response.headers.keys()) == {"Content-Type", "X-App"}


def test_the_application_s_environ_and_response_are_passed_on_unchanged() -> None:
    seen: list[object] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        seen.extend((environ, start_response, dict(environ)))
        return response

    def start_response(*_: object) -> Any:
        raise AssertionError("only the application calls start_response")

    response = [b"abc"]
    server = Server()
    server.app._app = app
    environ = create_environ("/other", method="POST", data=b"body")
    before = dict(environ)
    assert server.app(environ, start_response) is response
    assert seen[0] is environ
    assert seen[1] is start_response
    assert seen[2] == before
    assert environ["wsgi.input"].read() == b"body"


def test_an_exception_of_the_application_propagates(server: Server) -> None:
    def broken(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        raise KeyError("a bug in the application")

    server.app._app = broken
    with pytest.raises(KeyError):
        server.tus_request("GET", "/other")
    assert server.events == []


def test_without_a_base_path_no_request_reaches_the_application() -> None:
    server = Server(routes=UploadRoutes(""))
    created = server.tus_request("POST", "/", Upload_Length="10")
    assert created.headers["Location"] == "http://localhost/id0"
    assert server.tus_request("HEAD", "/id0").status_code == 200
    assert server.tus_request("GET", "/other").status_code == 404


# -- CORS ------------------------------------------------------------------------------------------

ORIGIN = "https://page.example"


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_have_cors_fields(server: Server, case: str) -> None:
    path = server.create(DATA[:4])
    assert REFUSALS[case][1](server, path).headers["Access-Control-Allow-Origin"] == "*"


def test_replies_have_cors_fields(server: Server) -> None:
    path = server.create(DATA)
    for method in ("OPTIONS", "HEAD", "GET", "DELETE"):
        response = server.tus_request(method, path, Origin=ORIGIN)
        assert response.status_code < 300
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "Upload-Offset" in response.headers["Access-Control-Expose-Headers"]
    server.store.error = RuntimeError("a bug")
    response = server.tus_request("HEAD", path, Origin=ORIGIN)
    assert response.headers["Access-Control-Allow-Origin"] == "*"


def test_a_preflight_is_answered(server: Server) -> None:
    response = server.plain_request(
        "OPTIONS",
        Origin=ORIGIN,
        Access_Control_Request_Method="PATCH",
        Access_Control_Request_Headers="tus-resumable",
    )
    assert response.status_code == 204
    assert "PATCH" in response.headers["Access-Control-Allow-Methods"]
    assert "Tus-Resumable" in response.headers["Access-Control-Allow-Headers"]


def test_without_a_cors_policy_there_are_no_cors_fields() -> None:
    server = Server(cors=None)
    response = server.tus_request("OPTIONS", Origin=ORIGIN, Access_Control_Request_Method="PATCH")
    assert response.status_code == 204
    assert not [name for name in dict(response.headers) if "Access-Control" in name]


# -- errors ----------------------------------------------------------------------------------------

SECRET = "s3cret-key at /var/lib"


@pytest.mark.parametrize("error", [RuntimeError(SECRET), KeyError(SECRET), AssertionError(SECRET)])
@pytest.mark.parametrize("method", ["POST", "PATCH", "HEAD", "DELETE", "GET"])
def test_a_bug_is_reported_as_unavailable_without_details(
    server: Server, method: str, error: Exception
) -> None:
    server.store.error = error
    path = "/files" if method == "POST" else "/files/a"
    fields = {"Upload_Length": "5", "Upload_Offset": "0", "Content_Type": OCTETS}
    response = server.tus_request(method, path, b"01234", **fields)
    assert response.status_code == (423 if method == "HEAD" else 503)
    assert "Retry-After" in response.headers
    assert response.headers["Tus-Resumable"] == "1.0.0"
    assert SECRET not in response.text + str(response.headers)
    (event,) = server.events
    assert isinstance(event, RequestFailed)
    assert event.error is error


@pytest.mark.parametrize(("full", "status"), [(False, 503), (True, 507)])
def test_a_store_error_is_reported_to_observers(server: Server, *, full: bool, status: int) -> None:
    server.store.error = StoreUnavailable(SECRET, full=full)
    response = server.tus_request("POST", Upload_Length="5")
    assert response.status_code == status
    assert SECRET not in response.text
    assert [type(event) for event in server.events] == [RequestFailed]


@pytest.mark.parametrize(("method", "path"), [("POST", "/files"), ("HEAD", "/files/aSecretId")])
def test_a_failed_request_event_has_the_id_of_the_upload(
    server: Server, method: str, path: str
) -> None:
    server.store.error = StoreUnavailable("GetObject")
    server.tus_request(method, path, Upload_Length="5")
    (event,) = server.events
    assert isinstance(event, RequestFailed)
    assert event.id == ("aSecretId" if method == "HEAD" else None)


def test_an_exception_in_an_observer_is_ignored() -> None:
    def broken(event: Event) -> None:
        raise RuntimeError("a bug in the observer")

    server = Server(observers=[broken])
    server.store.error = RuntimeError("a bug")
    assert server.tus_request("POST", Upload_Length="5").status_code == 503
    assert len(server.events) == 1


def test_system_exit_propagates(server: Server) -> None:
    server.store.error = None

    def stop(id: UploadId) -> Any:
        raise SystemExit

    server.store.open = stop  # type: ignore[method-assign]
    with pytest.raises(SystemExit):
        server.tus_request("HEAD", "/files/a")


# -- downloads -------------------------------------------------------------------------------------


class RecordingContent:
    """Content that records how much was read and whether it was closed."""

    length = 6
    etag = "e"
    modified = datetime.fromisoformat("2026-01-02T03:04:05+00:00")

    def __init__(self) -> None:
        self.read_count = 0
        self.closed = False

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        try:
            for data in (b"ab", b"cd", b"ef"):
                self.read_count += 1
                yield data
        finally:
            self.closed = True

    def presigned_url(self, lifetime: float, *, type: str, disposition: str) -> None:
        pass


def test_content_is_streamed_and_closed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    content = RecordingContent()
    protocol: Content = content
    monkeypatch.setattr("tus_wsgi.stores.memory.MemoryUpload.content", lambda _: protocol)
    path = server.create(DATA)
    environ = create_environ(path, method="GET")
    response_body = server.app(environ, lambda *_: lambda _: None)
    assert content.read_count == 0
    iterator = iter(response_body)
    assert next(iterator) == b"ab"
    assert content.read_count == 1
    response_body.close()  # type: ignore[attr-defined]
    assert content.closed
