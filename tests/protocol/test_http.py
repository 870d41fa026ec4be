"""The method that a client means."""

from __future__ import annotations

import pytest

from tus_wsgi.protocol.http import effective_method


@pytest.mark.parametrize(
    ("method", "override", "meant"),
    [
        pytest.param("POST", None, "POST", id="no override"),
        pytest.param("POST", "PATCH", "PATCH", id="C-10 patch"),
        pytest.param("POST", "DELETE", "DELETE", id="C-10 delete"),
        pytest.param("POST", "HEAD", "HEAD", id="C-10 head"),
        pytest.param("GET", "PATCH", "PATCH", id="C-10 the actual method is ignored"),
        pytest.param("PATCH", "HEAD", "HEAD", id="C-10 whatever it is"),
        pytest.param("POST", "", "POST", id="C-11 empty"),
        pytest.param("POST", "patch", "patch", id="C-11 methods are case-sensitive"),
        pytest.param("POST", "PATCH,PATCH", "PATCH,PATCH", id="C-11 sent twice"),
        pytest.param("POST", "OPTIONS", "OPTIONS", id="C-11 discovery"),
        pytest.param("OPTIONS", "PATCH", "OPTIONS", id="a preflight stays one"),
    ],
)
def test_the_override_is_the_method(method: str, override: str | None, meant: str) -> None:
    assert effective_method(method, override) == meant
