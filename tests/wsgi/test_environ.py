"""Request heads from environs, and the URLs of uploads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from werkzeug.test import create_environ

from tus_wsgi.domain.errors import MalformedField
from tus_wsgi.domain.model import UploadId
from tus_wsgi.wsgi.environ import Fields, UploadRoutes

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

ID = UploadId("Q1Hf2sVtT0m3bYwXyZ_-09")
FILES = UploadRoutes("/files")
ROOT = UploadRoutes("")


def environ(path: str = "/files", method: str = "POST", **more: str) -> WSGIEnvironment:
    return {**create_environ(method=method), "PATH_INFO": path, **more}


# -- routes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/files", None),
        ("/files/", None),
        ("/files/a", "a"),
        ("/files/a/b", "a/b"),
        ("/files//", "/"),
        ("/files//a", "/a"),
        ("/files/a/", "a/"),
        ("/files/../x", "../x"),
        ("/files/\xe9", "\xe9"),
    ],
)
def test_the_base_path_and_paths_below_it_are_covered(path: str, target: str | None) -> None:
    assert FILES.covers(environ(path))
    assert FILES.head(environ(path)).target == target


@pytest.mark.parametrize(
    "path", ["", "/", "/file", "/files-x", "/filesx", "/Files", "//files", "/x/files", "files"]
)
def test_other_paths_are_not_covered(path: str) -> None:
    assert not FILES.covers(environ(path))


@pytest.mark.parametrize(
    ("path", "target"), [("", None), ("/", None), ("/a", "a"), ("/files/a", "files/a")]
)
def test_an_empty_base_path_covers_everything(path: str, target: str | None) -> None:
    assert ROOT.covers(environ(path))
    assert ROOT.head(environ(path)).target == target


def test_options_for_the_server_is_covered_only_by_an_empty_base_path() -> None:
    """C-12, R-61: `OPTIONS *`."""
    assert not FILES.covers(environ("*", "OPTIONS"))
    assert ROOT.covers(environ("*", "OPTIONS"))
    assert ROOT.head(environ("*", "OPTIONS")).target is None


def test_a_base_path_may_have_several_segments() -> None:
    routes = UploadRoutes("/api/v1/files")
    assert routes.covers(environ("/api/v1/files/a"))
    assert routes.head(environ("/api/v1/files/a")).target == "a"
    assert not routes.covers(environ("/api/v1"))


# -- heads -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "override", "effective"),
    [
        ("POST", "PATCH", "PATCH"),
        ("POST", "DELETE", "DELETE"),
        ("GET", "HEAD", "HEAD"),
        ("POST", "patch", "patch"),
        ("POST", "", "POST"),
        ("OPTIONS", "PATCH", "OPTIONS"),
    ],
)
def test_x_http_method_override_replaces_the_method(
    method: str, override: str, effective: str
) -> None:
    """C-10, C-11."""
    head = FILES.head(environ(method=method, HTTP_X_HTTP_METHOD_OVERRIDE=override))
    assert head.method == effective


@pytest.mark.parametrize(
    ("more", "has_body"),
    [
        ({}, False),
        ({"CONTENT_LENGTH": ""}, False),
        ({"CONTENT_LENGTH": "0"}, False),
        ({"CONTENT_LENGTH": "1"}, True),
        ({"CONTENT_LENGTH": "9" * 40}, True),
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, True),
        ({"HTTP_TRANSFER_ENCODING": ""}, False),
    ],
)
def test_has_body_follows_content_length_and_transfer_encoding(
    *, more: dict[str, str], has_body: bool
) -> None:
    assert FILES.head(environ(**more)).has_body is has_body


def test_field_names_are_case_insensitive() -> None:
    fields = FILES.head(
        environ(HTTP_UPLOAD_OFFSET="5", CONTENT_TYPE="a/b", CONTENT_LENGTH="7")
    ).fields
    for name in ("Upload-Offset", "upload-offset", "UPLOAD-OFFSET"):
        assert fields[name] == "5"
    assert fields["content-TYPE"] == "a/b"
    assert fields["Content-Length"] == "7"
    assert "Upload-Length" not in fields
    assert fields.get("Upload-Length") is None
    with pytest.raises(KeyError):
        fields["Upload-Length"]


def test_fields_iterate_over_the_header() -> None:
    fields = Fields({"HTTP_HOST": "a", "HTTP_X_B": "", "CONTENT_TYPE": "", "wsgi.input": None})
    assert sorted(fields) == ["Host", "X-B"]
    assert len(fields) == 2
    assert dict(fields) == {"Host": "a", "X-B": ""}


def test_a_field_that_some_servers_pass_under_a_second_key_is_listed_once() -> None:
    """For `content_type: a/b`, hypercorn and a2wsgi set `HTTP_CONTENT_TYPE`."""
    second = {"HTTP_CONTENT_TYPE": "a/b", "HTTP_CONTENT_LENGTH": "7"}
    assert dict(Fields(second)) == {}
    assert list(Fields({**second, "CONTENT_TYPE": "c/d"})) == ["content-type"]


# -- URLs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("routes", "more", "url"),
    [
        (FILES, {"HTTP_HOST": "example.com"}, "http://example.com/files/"),
        (FILES, {"HTTP_HOST": "example.com:8080"}, "http://example.com:8080/files/"),
        (FILES, {"HTTP_HOST": "[::1]:8080"}, "http://[::1]:8080/files/"),
        (FILES, {"HTTP_HOST": "a", "wsgi.url_scheme": "https"}, "https://a/files/"),
        (FILES, {"HTTP_HOST": "a", "SCRIPT_NAME": "/app"}, "http://a/app/files/"),
        (FILES, {"HTTP_HOST": "a", "SCRIPT_NAME": "/app/"}, "http://a/app/files/"),
        (FILES, {"HTTP_HOST": "a", "SCRIPT_NAME": "/\xc3\xa4 b"}, "http://a/%C3%A4%20b/files/"),
        (ROOT, {"HTTP_HOST": "a"}, "http://a/"),
        (ROOT, {"HTTP_HOST": "a", "SCRIPT_NAME": "/app"}, "http://a/app/"),
        (
            UploadRoutes("/files", "https://up.example.com"),
            {"HTTP_HOST": "a"},
            "https://up.example.com/",
        ),
        (
            UploadRoutes("/files", "https://example.com/app/files"),
            {"HTTP_HOST": "a", "SCRIPT_NAME": "/inner"},
            "https://example.com/app/files/",
        ),
    ],
)
def test_urls_are_absolute_as_the_client_sees_them(
    routes: UploadRoutes, more: dict[str, str], url: str
) -> None:
    assert routes.head(environ(**more)).url_of(ID) == url + ID


def test_without_a_host_urls_have_the_server_name() -> None:
    """HTTP/1.0 has no Host."""
    request = environ(SERVER_NAME="internal", SERVER_PORT="81")
    request.pop("HTTP_HOST", None)
    FILES.check_host(request)
    assert FILES.head(request).url_of(ID) == f"http://internal:81/files/{ID}"


@pytest.mark.parametrize("host", ["a b", "a/b", "a@b", "a\\b", "<a>", "a?b", "a#b", "ü"])
def test_an_invalid_host_is_refused(host: str) -> None:
    """The host is sent back in Location, where it must not inject anything."""
    with pytest.raises(MalformedField) as caught:
        FILES.check_host(environ(HTTP_HOST=host))
    assert caught.value.field == "Host"


def test_a_public_url_does_not_need_a_host() -> None:
    routes = UploadRoutes("/files", "https://example.com/files")
    routes.check_host(environ(HTTP_HOST="a b"))
    assert routes.head(environ(HTTP_HOST="a b")).url_of(ID) == f"https://example.com/files/{ID}"


def test_forwarded_fields_are_ignored() -> None:
    forged = {
        "HTTP_X_FORWARDED_HOST": "evil.example",
        "HTTP_X_FORWARDED_PROTO": "ftp",
        "HTTP_FORWARDED": "host=evil.example;proto=ftp",
    }
    assert FILES.head(environ(HTTP_HOST="a", **forged)).url_of(ID) == f"http://a/files/{ID}"
