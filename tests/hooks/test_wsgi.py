"""Hooks that a route of the wrapped application answers."""

from __future__ import annotations

import socket
from typing import Any
from wsgiref.validate import validator

import pytest
from werkzeug.test import Client, create_environ

from tests.hooks.handler import JSON, Handler
from tests.hooks.remote_app import PATH, new_middleware
from tests.hooks.scenario import DATA, metadata
from tests.wsgi.linting import LintedClient
from tus_wsgi import SettingsError, create_app
from tus_wsgi.domain.hooks import Request
from tus_wsgi.hooks.carrier import HookCall, HookCallFailed
from tus_wsgi.hooks.tusd_json import HookEvent
from tus_wsgi.hooks.wsgi import WsgiCarrier, make_environ
from tus_wsgi.wsgi.environ import UploadRoutes
from tus_wsgi.wsgi.hook_request import hook_request

ENVIRON = {"TUS_HOOKS_WSGI": PATH}

CREATE = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(DATA))}


DOCUMENT = b'{"Type": "pre-create", "Event": {"Upload": {"MetaData": {}}}}'


def call(request: Request | None = None, event: HookEvent = HookEvent.PRE_CREATE) -> HookCall:
    return HookCall(event, None, "an-id", DOCUMENT, request)


def request(**overrides: object) -> Request:
    environ = create_environ("/files/x?q=1", method="PATCH", data=b"body", headers=FIELDS)
    environ.update(overrides)
    return hook_request(environ, UploadRoutes("/files").head(environ))


FIELDS = {
    "Cookie": "session=ada",
    "Authorization": "Bearer x",
    "Content-Type": "application/offset+octet-stream",
    "Accept-Encoding": "gzip",
    "If-None-Match": "*",
    "Range": "bytes=0-",
    "Expect": "100-continue",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "X-HTTP-Method-Override": "PATCH",
}


def test_the_route_gets_the_document_as_if_the_client_had_sent_it() -> None:
    with socket.socket() as sock:
        environ = make_environ(
            call(request(**{"gunicorn.socket": sock, "REMOTE_USER": "ada", "SCRIPT_NAME": "/m"})),
            PATH,
        )
    assert environ["wsgi.input"].read() == DOCUMENT
    del environ["wsgi.input"], environ["wsgi.errors"]
    assert environ == {
        "CONTENT_LENGTH": str(len(DOCUMENT)),
        "CONTENT_TYPE": "application/json",
        "HTTP_ACCEPT": "application/json",
        "HTTP_AUTHORIZATION": "Bearer x",
        "HTTP_COOKIE": "session=ada",
        "HTTP_HOST": "localhost",
        "HTTP_WEBHOOK_ID": "an-id",
        "PATH_INFO": PATH,
        "QUERY_STRING": "",
        "REMOTE_USER": "ada",
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "/m",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "tus.hook": True,
        "wsgi.input_terminated": True,
        "wsgi.multiprocess": False,
        "wsgi.multithread": False,
        "wsgi.run_once": False,
        "wsgi.url_scheme": "http",
        "wsgi.version": (1, 0),
    }


def test_a_call_without_a_request_has_the_host_of_the_public_url() -> None:
    environ = make_environ(call(), PATH, "https://example.com:8443/media/files")
    assert environ["HTTP_HOST"] == "example.com:8443"
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("example.com", "8443")
    assert environ["wsgi.url_scheme"] == "https"
    assert make_environ(call(), PATH, "https://example.com/files")["SERVER_PORT"] == "443"
    assert make_environ(call(request()), PATH, "https://example.com")["HTTP_HOST"] == "localhost"


def test_the_call_is_valid_wsgi_with_and_without_a_request() -> None:
    handler = Handler()
    carrier = WsgiCarrier(validator(handler), PATH)
    for given in (request(), None):
        carrier.tell(call(given))
    assert handler.events() == ["pre-create"] * 2


@pytest.mark.parametrize(
    "path",
    [
        PATH,
        f"{PATH}/",
        f"{PATH}/more",
        "//internal//tus",
        "/internal/./tus",
        "/internal/x/../tus",
        "/INTERNAL/Tus",
        "/internal/tus;a=1",
        "\\internal\\tus",
        "/x/../../internal/tus",
        "/internal/tus\n",  # "$" of a regular expression matches before it
        "/internal/tus\x85",  # bottle ignores bytes that are no UTF-8
        "/in\xffternal/tus\xc3",
        "/internal/tu\xc5\xbf",  # U+017F matches "s" if a pattern ignores the case
        "/internal /tus\t",
    ],
)
def test_clients_cannot_reach_the_route(path: str) -> None:
    handler = Handler()
    client = Client(new_middleware(handler, ENVIRON))
    response = client.post("/", data=b"{}", environ_overrides={"PATH_INFO": path, "tus.hook": True})
    assert (response.status_code, handler.documents) == (404, [])


@pytest.mark.parametrize(
    "path", ["/internal", "/internal/tusk", "/internal/t\xc3\xbcs", "/x/internal/tus", "/"]
)
def test_other_paths_reach_the_application(path: str) -> None:
    client = Client(new_middleware(Handler(), ENVIRON))
    overrides = {"PATH_INFO": path}
    response = client.post("/", data=DOCUMENT, environ_overrides=overrides)
    assert response.status_code == 200


class Chunks:
    """A response that notes whether it was closed."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks
        self.is_closed = False

    def __iter__(self) -> Any:
        return iter(self._chunks)

    def close(self) -> None:
        self.is_closed = True


def app_of(chunks: Any, status: str = "200 OK") -> Any:
    def app(_environ: Any, start_response: Any) -> Any:
        start_response(status, JSON)
        return chunks

    return app


def test_the_response_is_closed_also_if_it_is_too_long() -> None:
    chunks = Chunks(b"{", b"}")
    WsgiCarrier(app_of(chunks), PATH).ask(call())
    assert chunks.is_closed
    chunks = Chunks(*[b"x" * 1024] * 6)
    with pytest.raises(HookCallFailed, match="5120 bytes"):
        WsgiCarrier(app_of(chunks), PATH).ask(call())
    assert chunks.is_closed


def test_an_application_may_use_write_and_may_start_late() -> None:
    def app(_environ: Any, start_response: Any) -> Any:
        start_response("200 OK", JSON)(b'{"Reject')
        yield b'Upload": true}'

    assert WsgiCarrier(app, PATH).ask(call()).reject_upload
    with pytest.raises(HookCallFailed, match="no status"):
        WsgiCarrier(lambda _environ, _start: [b"{}"], PATH).ask(call())


def test_an_exception_of_the_view_is_a_503_without_details() -> None:
    def app(_environ: Any, _start_response: Any) -> Any:
        raise LookupError("the secret of the application")

    response = LintedClient(new_middleware(app, ENVIRON)).post("/files", headers=CREATE)
    assert response.status_code == 503
    assert b"secret" not in response.data


def test_an_exception_in_advice_disturbs_nothing_and_is_logged_without_its_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def app(_environ: Any, _start_response: Any) -> Any:
        raise LookupError("an-id-that-is-secret")

    WsgiCarrier(app, PATH).post(call())
    assert "LookupError" in caplog.text
    assert "an-id-that-is-secret" not in caplog.text


def test_a_view_may_remove_another_upload_but_not_call_itself_for_ever() -> None:
    paths: list[str] = []
    handler = Handler()
    tus = new_middleware(handler, ENVIRON)
    client = Client(tus)

    def remove_the_others(document: Any, _start_response: Any) -> None:
        if document["Type"] == "pre-create":
            while paths:
                tus.terminate_upload(paths.pop())

    handler.respond = remove_the_others
    fields = {**CREATE, "Upload-Metadata": metadata("a.txt")}
    for _ in range(3):
        location = client.post("/files", headers=fields).headers["Location"]
        paths.append(location.rpartition("/")[2])
    assert len(handler.of("post-terminate")) == 2

    def create_once_more(document: Any, _start_response: Any) -> None:
        if document["Type"] == "pre-create":
            client.post("/files", headers=fields)

    handler.respond = create_once_more
    handler.documents.clear()
    assert client.post("/files", headers=fields).status_code == 201
    assert len(handler.of("pre-create")) == 3


def test_a_server_without_an_application_has_no_route() -> None:
    with pytest.raises(SettingsError, match="TUS_HOOKS_HTTP"):
        create_app({"TUS_S3_BUCKET": "b", **ENVIRON})


def test_a_hook_is_either_a_function_or_an_event() -> None:
    with pytest.raises(SettingsError, match=r"TUS_HOOKS_ENABLED_EVENTS: .* on_finish"):
        new_middleware(Handler(), ENVIRON, on_finish=lambda _upload: None)
    some = {**ENVIRON, "TUS_HOOKS_ENABLED_EVENTS": "pre-create, post-create"}
    new_middleware(Handler(), some, on_finish=lambda _upload: None)
