"""CORS, for uploads from browsers (https://fetch.spec.whatwg.org/#http-cors-protocol)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .rules import PRACTICE, needs, rule
from .server import Server, Upload, parse_list
from .wire import Response

pytestmark = needs("creation")

ORIGIN = {"Origin": "https://app.example"}

METHODS = ["POST", "HEAD", "PATCH"]

REQUEST_FIELDS = [
    *("Content-Type", "Tus-Resumable", "Upload-Length", "Upload-Offset", "Upload-Metadata"),
    *("Upload-Defer-Length", "X-HTTP-Method-Override", "X-Requested-With"),
]

RESPONSE_FIELDS = [
    *("Location", "Upload-Offset", "Upload-Length", "Upload-Metadata", "Tus-Resumable"),
    *("Tus-Version", "Tus-Max-Size", "Tus-Extension"),
]


def preflight(server: Server, method: str, fields: str, url: str | None = None) -> Response:
    """Send the preflight request that a browser sends before a cross-origin request."""
    return server.options(
        {
            **ORIGIN,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": fields,
        },
        url,
    )


def allows_origin(response: Response) -> bool:
    return response.get("Access-Control-Allow-Origin") in {"*", ORIGIN["Origin"]}


def names(response: Response, field: str) -> set[str]:
    return {name.lower() for name in parse_list(response.get(field))}


@rule("CORS", level=PRACTICE)
@pytest.mark.parametrize("method", [*METHODS, pytest.param("DELETE", marks=needs("termination"))])
def test_a_preflight_allows_the_methods(server: Server, method: str) -> None:
    url = None if method == "POST" else server.create().url
    response = preflight(server, method, "tus-resumable", url)
    assert response.status in {200, 204}
    assert allows_origin(response)
    assert names(response, "Access-Control-Allow-Methods") & {method.lower(), "*"}


@rule("CORS", level=PRACTICE)
@pytest.mark.parametrize("field", REQUEST_FIELDS)
def test_a_preflight_allows_the_request_fields(server: Server, field: str) -> None:
    response = preflight(server, "PATCH", field.lower())
    assert names(response, "Access-Control-Allow-Headers") & {field.lower(), "*"}


@rule("CORS", level=PRACTICE)
@pytest.mark.parametrize("field", RESPONSE_FIELDS)
def test_response_fields_are_exposed(server: Server, field: str) -> None:
    response = server.create().head(ORIGIN)
    assert allows_origin(response)
    assert names(response, "Access-Control-Expose-Headers") & {field.lower(), "*"}


RESPONSES: dict[str, Callable[[Upload], Response]] = {
    "201": lambda u: u.server.post({**ORIGIN, "Upload-Length": "5"}),
    "200": lambda u: u.head(ORIGIN),
    "204": lambda u: u.patch(b"", 0, ORIGIN),
    "400": lambda u: u.patch(b"", "x", ORIGIN),
    "404": lambda u: u.server.send("HEAD", u.server.unknown_url(), ORIGIN),
    "409": lambda u: u.patch(b"", 1, ORIGIN),
    "412": lambda u: u.head({**ORIGIN, "Tus-Resumable": "2.0.0"}),
    "415": lambda u: u.patch(b"", 0, {**ORIGIN, "Content-Type": "text/plain"}),
}


@rule("CORS", level=PRACTICE)
@pytest.mark.parametrize("status", RESPONSES)
def test_every_response_allows_the_origin(server: Server, status: str) -> None:
    """A page sees an error that it cannot read as a network failure."""
    response = RESPONSES[status](server.create())
    assert response.status == int(status)
    assert allows_origin(response)
    assert names(response, "Access-Control-Expose-Headers") & {"tus-resumable", "*"}


@rule("CORS", level=PRACTICE)
def test_credentials_are_not_allowed_for_every_origin(server: Server) -> None:
    """An echoed origin with credentials lets every page act as the user."""
    response = server.create().head(ORIGIN)
    credentials = response.get("Access-Control-Allow-Credentials") == "true"
    assert not (credentials and allows_origin(response))


@rule("CORS", level=PRACTICE)
def test_a_response_with_an_echoed_origin_varies_by_origin(server: Server) -> None:
    response = server.create().head(ORIGIN)
    if response.get("Access-Control-Allow-Origin") == ORIGIN["Origin"]:
        assert "origin" in names(response, "Vary")
