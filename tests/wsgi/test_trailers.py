"""Whose trailers can be read: gunicorn's, as it is now, and nobody else's."""

from __future__ import annotations

import io
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tus_wsgi.wsgi.connection import hands_out_trailers, trailers_of


class ChunkedReader:
    """Like gunicorn's, as far as anybody looks."""

    def __init__(self, trailers: object) -> None:
        self.req = SimpleNamespace(trailers=trailers)


def chunked(trailers: object) -> dict[str, Any]:
    return {"wsgi.input": SimpleNamespace(reader=ChunkedReader(trailers))}


def bodyless(module: ModuleType | None) -> dict[str, Any]:
    """A request without a body, from a server whose body class lives in `module`."""
    name = f"server_{id(module)}"
    kind = type("Body", (), {"reader": object(), "__module__": name})
    if module is not None:
        sys.modules[name] = module
    return {"wsgi.input": kind()}


def test_a_reader_like_gunicorn_s_hands_them_out() -> None:
    assert hands_out_trailers(chunked([]))
    assert not hands_out_trailers(chunked(None))


def test_without_a_body_the_server_s_module_tells() -> None:
    """OPTIONS has no body, and is where the extension is announced."""
    known = ModuleType("known")
    known.ChunkedReader = type("ChunkedReader", (), {"parse_trailers": print})  # type: ignore[attr-defined]
    older = ModuleType("older")
    older.ChunkedReader = type("ChunkedReader", (), {})  # type: ignore[attr-defined]
    other = ModuleType("other")
    environs = [bodyless(module) for module in (known, older, other, None)]
    try:
        assert list(map(hands_out_trailers, environs)) == [True, False, False, False]
    finally:
        for environ in environs:
            sys.modules.pop(type(environ["wsgi.input"]).__module__, None)


@pytest.mark.parametrize("environ", [{}, {"wsgi.input": io.BytesIO()}, {"wsgi.input": None}])
def test_other_servers_have_none(environ: dict[str, Any]) -> None:
    assert not hands_out_trailers(environ)


def test_gunicorn_is_as_it_was_when_this_was_written() -> None:
    body = pytest.importorskip("gunicorn.http.body")
    assert hands_out_trailers({"wsgi.input": body.Body(body.LengthReader(None, 0))})


def test_trailers_are_found_by_lower_case_names_and_joined() -> None:
    found = [("UPLOAD-CHECKSUM", "sha1 A"), ("EXPIRES", "0"), ("UPLOAD-CHECKSUM", "sha1 B")]
    assert trailers_of(chunked(found)["wsgi.input"]) == {
        "upload-checksum": "sha1 A,sha1 B",
        "expires": "0",
    }
    assert trailers_of(chunked([])["wsgi.input"]) == {}
    assert trailers_of(chunked(None)["wsgi.input"]) == {}
    assert trailers_of(io.BytesIO()) == {}
