"""The request that the application's hooks get: everything except the body."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from werkzeug.test import create_environ
from werkzeug.wrappers import Request as WerkzeugRequest

from tus_wsgi.domain.hooks import Request
from tus_wsgi.wsgi.environ import UploadRoutes
from tus_wsgi.wsgi.hook_request import hook_request

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

BODY = b"name=value"


def environ(**more: object) -> WSGIEnvironment:
    made = create_environ(
        "/files/abc?x=1",
        method="POST",
        data=BODY,
        headers={
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": "session=ada",
            "X-HTTP-Method-Override": "PATCH",
        },
    )
    return {**made, "SCRIPT_NAME": "/mount", "REMOTE_ADDR": "192.0.2.7", **more}


def request_of(made: WSGIEnvironment) -> Request:
    return hook_request(made, UploadRoutes("/files").head(made))


def test_a_hook_sees_the_method_that_takes_effect() -> None:
    request = request_of(environ())
    assert request.method == request.environ["REQUEST_METHOD"] == "PATCH"
    assert "HTTP_X_HTTP_METHOD_OVERRIDE" not in request.environ
    assert request.fields["x-http-method-override"] == "PATCH"


def test_a_hook_sees_path_address_and_all_fields_by_lower_case_names() -> None:
    request = request_of(environ())
    assert (request.path, request.remote) == ("/mount/files/abc", "192.0.2.7")
    assert request.fields["cookie"] == "session=ada"
    assert request.fields["content-type"] == "application/x-www-form-urlencoded"
    assert request.fields["content-length"] == str(len(BODY))


def test_frameworks_can_use_the_environ_and_find_no_body() -> None:
    made = environ()
    request = WerkzeugRequest(dict(request_of(made).environ))
    assert request.cookies["session"] == "ada"
    assert request.args["x"] == "1"
    assert not request.form
    assert request.get_data() == b""
    assert made["wsgi.input"].read() == BODY


def test_a_chunked_body_is_neither_read_nor_announced() -> None:
    made = environ(HTTP_TRANSFER_ENCODING="chunked", HTTP_EXPECT="100-continue")
    del made["CONTENT_LENGTH"]
    request = request_of(made)
    assert WerkzeugRequest(dict(request.environ)).get_data() == b""
    assert "HTTP_TRANSFER_ENCODING" not in request.environ
    assert "HTTP_EXPECT" not in request.environ


def test_the_body_has_no_other_name() -> None:
    made = environ()
    made["eventlet.input"] = made["wsgi.input"]
    request = request_of(made)
    assert "eventlet.input" not in request.environ
    assert made["wsgi.input"].read() == BODY


def test_the_servers_socket_stays_out_of_reach() -> None:
    with socket.socket() as sock:
        made = environ(**{"gunicorn.socket": sock, "werkzeug.socket": sock, "app.user": "ada"})
        request = request_of(made)
    assert sock not in request.environ.values()
    assert request.environ["app.user"] == "ada"
    assert made["gunicorn.socket"] is sock
