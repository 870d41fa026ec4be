"""Requests end to end, over a store in memory and inside Python's own WSGI linter."""

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


class Trouble(MemoryStore):
    """A store that raises `error` when it is asked for anything, if there is one."""

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
class Shop:
    """The middleware, and a client of it."""

    mount: UploadRoutes = field(default_factory=lambda: UploadRoutes("/files"))
    cors: CorsPolicy | None = field(default_factory=CorsPolicy)
    observers: list[Callable[[Event], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = Trouble(max_size=MAX)
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
            self._behind,
            service=service,
            dialects=[dialect],
            mount=self.mount,
            cors=self.cors,
            observers=[*self.observers, self.events.append],
        )
        self.client = LintedClient(self.app)

    def _behind(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain"), ("X-App", "yes")])
        return [f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}".encode()]

    def ask(
        self, method: str, path: str = "/files", data: bytes | None = None, /, **fields: str
    ) -> TestResponse:
        """A request of tus 1.0.0. Fields are written with underscores."""
        return self.ask_plainly(method, path, data, **{"Tus_Resumable": "1.0.0", **fields})

    def ask_plainly(
        self, method: str, path: str = "/files", data: bytes | None = None, /, **fields: str
    ) -> TestResponse:
        """A request that knows nothing of tus."""
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        return self.client.open(path, method=method, data=data, headers=headers)

    def create(self, data: bytes | None = None, *, length: int = len(DATA)) -> str:
        """The path of a new upload."""
        response = self.ask("POST", Upload_Length=str(length))
        assert response.status_code == 201
        path = response.headers["Location"].removeprefix("http://localhost")
        if data is not None:
            assert self.patch(path, data).status_code == 204
        return path

    def patch(self, path: str, data: bytes, offset: int = 0, **fields: str) -> TestResponse:
        given = {"Content_Type": OCTETS, "Upload_Offset": str(offset), **fields}
        return self.ask("PATCH", path, data, **given)


@pytest.fixture
def shop() -> Shop:
    return Shop()


# -- every verb ------------------------------------------------------------------------------------


def test_options_tells_what_can_be_done(shop: Shop) -> None:
    """C-05, C-07, C-09."""
    response = shop.ask_plainly("OPTIONS")
    assert response.status_code == 204
    assert response.headers["Tus-Resumable"] == response.headers["Tus-Version"] == "1.0.0"
    assert response.headers["Tus-Extension"] == ",".join(EXTENSIONS)
    assert response.headers["Tus-Max-Size"] == str(MAX)
    assert response.data == b""


def test_a_file_goes_up_and_comes_down(shop: Shop) -> None:
    """CR-01, CR-02, C-20, C-21, C-22, C-30."""
    created = shop.ask("POST", Upload_Length="10", Upload_Metadata="filename YS50eHQ=")
    assert created.status_code == 201
    assert created.headers["Location"] == "http://localhost/files/id0"
    path = "/files/id0"
    first = shop.patch(path, DATA[:4])
    assert (first.status_code, first.headers["Upload-Offset"]) == (204, "4")
    head = shop.ask("HEAD", path)
    assert head.status_code == 200
    assert head.headers["Upload-Offset"] == "4"
    assert head.headers["Upload-Length"] == "10"
    assert head.headers["Upload-Metadata"] == "filename YS50eHQ="
    assert head.headers["Cache-Control"] == "no-store"
    assert head.data == b""
    assert shop.patch(path, DATA[4:], 4).headers["Upload-Offset"] == "10"
    got = shop.ask_plainly("GET", path)
    assert (got.status_code, got.data) == (200, DATA)
    assert got.headers["Content-Length"] == "10"
    assert 'filename="a.txt"' in got.headers["Content-Disposition"]


def test_a_file_may_come_with_its_creation(shop: Shop) -> None:
    """CW-02, CW-03."""
    fields = {"Upload_Length": "10", "Content_Type": OCTETS}
    some = shop.ask("POST", "/files", DATA[:4], **fields)
    assert (some.status_code, some.headers["Upload-Offset"]) == (201, "4")
    whole = shop.ask("POST", "/files", DATA, **fields)
    assert (whole.status_code, whole.headers["Upload-Offset"]) == (201, "10")
    assert shop.ask("GET", "/files/id1").data == DATA


def test_a_body_may_be_chunked(shop: Shop) -> None:
    path = shop.create()
    response = shop.client.patch(
        path,
        input_stream=io.BytesIO(DATA),
        headers={**TUS, "Content-Type": OCTETS, "Upload-Offset": "0"},
        environ_overrides={"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True},
    )
    assert (response.status_code, response.headers["Upload-Offset"]) == (204, "10")
    assert shop.ask("GET", path).data == DATA


def test_an_upload_can_be_removed(shop: Shop) -> None:
    """TE-01, TE-02."""
    path = shop.create(DATA)
    assert shop.ask("DELETE", path).status_code == 204
    for method in ("HEAD", "DELETE", "GET"):
        assert shop.ask(method, path).status_code == 404
    assert shop.patch(path, b"").status_code == 404


@pytest.mark.parametrize(
    ("given", "status", "data"),
    [
        ("bytes=0-3", 206, b"0123"),
        ("bytes=8-", 206, b"89"),
        ("bytes=-2", 206, b"89"),
        ("bytes=4-4", 206, b"4"),
        ("bytes=0-3,5-6", 200, DATA),
        ("bytes=10-", 416, None),
    ],
)
def test_a_part_of_a_file_comes_down(
    shop: Shop, given: str, status: int, data: bytes | None
) -> None:
    response = shop.ask_plainly("GET", shop.create(DATA), Range=given)
    assert response.status_code == status
    if data is not None:
        assert response.data == data
        assert response.headers["Content-Length"] == str(len(data))


def test_a_file_that_the_client_has_is_not_sent(shop: Shop) -> None:
    path = shop.create(DATA)
    etag = shop.ask("GET", path).headers["ETag"]
    again = shop.ask("GET", path, If_None_Match=etag)
    assert (again.status_code, again.data) == (304, b"")


def test_methods_may_be_overridden(shop: Shop) -> None:
    """C-10."""
    path = shop.create()
    fields = {"Content_Type": OCTETS, "Upload_Offset": "0"}
    patched = shop.ask("POST", path, DATA, X_HTTP_Method_Override="PATCH", **fields)
    assert (patched.status_code, patched.headers["Upload-Offset"]) == (204, "10")
    looked = shop.ask("GET", path, X_HTTP_Method_Override="HEAD")
    assert (looked.status_code, looked.data) == (200, b"")
    assert shop.ask("POST", path, X_HTTP_Method_Override="DELETE").status_code == 204
    assert shop.ask("HEAD", path).status_code == 404


def test_a_head_has_no_body_whatever_it_is_overridden_to(shop: Shop) -> None:
    path = shop.create(DATA)
    for override in ("GET", "PATCH", "FOO"):
        response = shop.ask("HEAD", path, X_HTTP_Method_Override=override)
        assert response.data == b""


# -- refusals --------------------------------------------------------------------------------------

REFUSALS: dict[str, tuple[int, Callable[[Shop, str], TestResponse]]] = {
    "wrong version": (412, lambda shop, path: shop.ask("HEAD", path, Tus_Resumable="0.2.2")),
    "no length": (400, lambda shop, _: shop.ask("POST")),
    "too long": (413, lambda shop, _: shop.ask("POST", Upload_Length=str(MAX + 1))),
    "wrong type": (415, lambda shop, path: shop.patch(path, b"x", 4, Content_Type="text/plain")),
    "wrong offset": (409, lambda shop, path: shop.patch(path, b"x", 5)),
    "too much": (413, lambda shop, path: shop.patch(path, b"x" * 7, 4)),
    "unknown": (404, lambda shop, _: shop.ask("HEAD", "/files/unknown")),
    "no id": (404, lambda shop, _: shop.ask("HEAD", "/files/a/b")),
    "wrong method": (405, lambda shop, path: shop.ask("PUT", path, b"x")),
    "unfinished": (409, lambda shop, path: shop.ask("GET", path)),
    "no host": (400, lambda shop, _: shop.ask("POST", Upload_Length="1", Host="a b")),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_changes_nothing_and_says_why(shop: Shop, case: str) -> None:
    """C-01: with Tus-Resumable, like every reply."""
    status, ask = REFUSALS[case]
    path = shop.create(DATA[:4])
    shop.events.clear()
    response = ask(shop, path)
    assert response.status_code == status
    assert response.headers["Tus-Resumable"] == "1.0.0"
    assert response.status == f"{status} {HTTPStatus(status).phrase}"
    if response.request.method != "HEAD":
        assert response.headers["Content-Length"] == str(len(response.data))
        assert response.data
    assert shop.ask("HEAD", path).headers["Upload-Offset"] == "4"
    assert not [event for event in shop.events if isinstance(event, RequestFailed)]


def test_a_refused_body_is_read_so_that_the_client_reads_why(shop: Shop) -> None:
    path = shop.create()
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
    list(shop.app(environ, lambda status, *_: statuses.append(status)))  # type: ignore[arg-type]
    assert statuses == ["415 Unsupported Media Type"]
    assert stream.tell() == 200_000


# -- the application behind it ---------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/file", "/files-x", "/x/files", "/Files"])
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "OPTIONS"])
def test_other_paths_are_the_application_s(shop: Shop, path: str, method: str) -> None:
    response = shop.ask(method, path, b"data")
    assert response.headers["X-App"] == "yes"
    assert response.data == f"{method} {path}".encode()
    assert set(response.headers.keys()) == {"Content-Type", "X-App"}


def test_the_application_gets_the_very_same_environ_and_answer() -> None:
    seen: list[object] = []

    def behind(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        seen.extend((environ, start_response, dict(environ)))
        return answer

    def start_response(*_: object) -> Any:
        raise AssertionError("only the application begins its reply")

    answer = [b"abc"]
    shop = Shop()
    shop.app._app = behind
    environ = create_environ("/other", method="POST", data=b"body")
    before = dict(environ)
    assert shop.app(environ, start_response) is answer
    assert seen[0] is environ
    assert seen[1] is start_response
    assert seen[2] == before
    assert environ["wsgi.input"].read() == b"body"


def test_an_error_of_the_application_is_its_own(shop: Shop) -> None:
    def broken(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        raise KeyError("a bug in the application")

    shop.app._app = broken
    with pytest.raises(KeyError):
        shop.ask("GET", "/other")
    assert shop.events == []


def test_without_a_base_path_there_is_no_application() -> None:
    shop = Shop(mount=UploadRoutes(""))
    created = shop.ask("POST", "/", Upload_Length="10")
    assert created.headers["Location"] == "http://localhost/id0"
    assert shop.ask("HEAD", "/id0").status_code == 200
    assert shop.ask("GET", "/other").status_code == 404


# -- CORS ------------------------------------------------------------------------------------------

PAGE = "https://page.example"


@pytest.mark.parametrize("case", REFUSALS)
def test_pages_of_other_origins_read_refusals_too(shop: Shop, case: str) -> None:
    path = shop.create(DATA[:4])
    assert REFUSALS[case][1](shop, path).headers["Access-Control-Allow-Origin"] == "*"


def test_pages_of_other_origins_read_every_reply(shop: Shop) -> None:
    path = shop.create(DATA)
    for method in ("OPTIONS", "HEAD", "GET", "DELETE"):
        response = shop.ask(method, path, Origin=PAGE)
        assert response.status_code < 300
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "Upload-Offset" in response.headers["Access-Control-Expose-Headers"]
    shop.store.error = RuntimeError("a bug")
    response = shop.ask("HEAD", path, Origin=PAGE)
    assert response.headers["Access-Control-Allow-Origin"] == "*"


def test_a_preflight_is_answered(shop: Shop) -> None:
    response = shop.ask_plainly(
        "OPTIONS",
        Origin=PAGE,
        Access_Control_Request_Method="PATCH",
        Access_Control_Request_Headers="tus-resumable",
    )
    assert response.status_code == 204
    assert "PATCH" in response.headers["Access-Control-Allow-Methods"]
    assert "Tus-Resumable" in response.headers["Access-Control-Allow-Headers"]


def test_cors_may_be_somebody_else_s_business() -> None:
    shop = Shop(cors=None)
    response = shop.ask("OPTIONS", Origin=PAGE, Access_Control_Request_Method="PATCH")
    assert response.status_code == 204
    assert not [name for name in dict(response.headers) if "Access-Control" in name]


# -- faults ----------------------------------------------------------------------------------------

SECRET = "s3cret-key at /var/lib"


@pytest.mark.parametrize("error", [RuntimeError(SECRET), KeyError(SECRET), AssertionError(SECRET)])
@pytest.mark.parametrize("method", ["POST", "PATCH", "HEAD", "DELETE", "GET"])
def test_a_bug_is_a_fault_on_our_side_and_leaks_nothing(
    shop: Shop, method: str, error: Exception
) -> None:
    shop.store.error = error
    path = "/files" if method == "POST" else "/files/a"
    fields = {"Upload_Length": "5", "Upload_Offset": "0", "Content_Type": OCTETS}
    response = shop.ask(method, path, b"01234", **fields)
    assert response.status_code == (423 if method == "HEAD" else 503)
    assert "Retry-After" in response.headers
    assert response.headers["Tus-Resumable"] == "1.0.0"
    assert SECRET not in response.text + str(response.headers)
    (event,) = shop.events
    assert isinstance(event, RequestFailed)
    assert event.error is error


@pytest.mark.parametrize(("full", "status"), [(False, 503), (True, 507)])
def test_a_fault_of_the_store_is_told(shop: Shop, *, full: bool, status: int) -> None:
    shop.store.error = StoreUnavailable(SECRET, full=full)
    response = shop.ask("POST", Upload_Length="5")
    assert response.status_code == status
    assert SECRET not in response.text
    assert [type(event) for event in shop.events] == [RequestFailed]


@pytest.mark.parametrize(("method", "path"), [("POST", "/files"), ("HEAD", "/files/aSecretId")])
def test_a_fault_is_told_of_the_upload_that_the_request_names(
    shop: Shop, method: str, path: str
) -> None:
    shop.store.error = StoreUnavailable("GetObject")
    shop.ask(method, path, Upload_Length="5")
    (event,) = shop.events
    assert isinstance(event, RequestFailed)
    assert event.id == ("aSecretId" if method == "HEAD" else None)


def test_an_observer_that_raises_harms_nobody() -> None:
    def broken(event: Event) -> None:
        raise RuntimeError("a bug in the observer")

    shop = Shop(observers=[broken])
    shop.store.error = RuntimeError("a bug")
    assert shop.ask("POST", Upload_Length="5").status_code == 503
    assert len(shop.events) == 1


def test_what_ends_the_process_is_not_held_up(shop: Shop) -> None:
    shop.store.error = None

    def stop(id: UploadId) -> Any:
        raise SystemExit

    shop.store.open = stop  # type: ignore[method-assign]
    with pytest.raises(SystemExit):
        shop.ask("HEAD", "/files/a")


# -- streams ---------------------------------------------------------------------------------------


class Stream:
    """Content whose pieces know whether they were closed."""

    length = 6
    etag = "e"
    modified = datetime.fromisoformat("2026-01-02T03:04:05+00:00")

    def __init__(self) -> None:
        self.read_pieces = 0
        self.closed = False

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        try:
            for piece in (b"ab", b"cd", b"ef"):
                self.read_pieces += 1
                yield piece
        finally:
            self.closed = True

    def presigned_url(self, lifetime: float, *, type: str, disposition: str) -> None:
        pass


def test_content_is_streamed_and_closed_by_the_server(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Stream()
    content: Content = stream
    monkeypatch.setattr("tus_wsgi.stores.memory.MemoryUpload.content", lambda _: content)
    path = shop.create(DATA)
    environ = create_environ(path, method="GET")
    pieces = shop.app(environ, lambda *_: lambda _: None)
    assert stream.read_pieces == 0
    iterator = iter(pieces)
    assert next(iterator) == b"ab"
    assert stream.read_pieces == 1
    pieces.close()  # type: ignore[attr-defined]
    assert stream.closed
