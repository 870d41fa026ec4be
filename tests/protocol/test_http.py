"""Method overrides and status lines."""

from __future__ import annotations

import pytest

from tus_wsgi.protocol.http import effective_method, status_line


@pytest.mark.parametrize(
    ("method", "override", "expected"),
    [
        pytest.param("POST", None, "POST", id="no override"),
        pytest.param("POST", "PATCH", "PATCH", id="C-10 patch"),
        pytest.param("POST", "DELETE", "DELETE", id="C-10 delete"),
        pytest.param("POST", "HEAD", "HEAD", id="C-10 head"),
        pytest.param("GET", "PATCH", "PATCH", id="C-10 the actual method is ignored"),
        pytest.param("PATCH", "HEAD", "HEAD", id="C-10 any actual method"),
        pytest.param("POST", "", "POST", id="C-11 empty"),
        pytest.param("POST", "patch", "patch", id="C-11 methods are case-sensitive"),
        pytest.param("POST", "PATCH,PATCH", "PATCH,PATCH", id="C-11 repeated"),
        pytest.param("POST", "OPTIONS", "OPTIONS", id="C-11 discovery"),
        pytest.param("OPTIONS", "PATCH", "OPTIONS", id="a preflight is not overridden"),
    ],
)
def test_override_replaces_the_method(method: str, override: str | None, expected: str) -> None:
    assert effective_method(method, override) == expected


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (204, "204 No Content"),
        (460, "460 Checksum Mismatch"),
        pytest.param(499, "499 Refused", id="a status that only the application knows"),
    ],
)
def test_every_status_has_a_reason_phrase(status: int, line: str) -> None:
    assert status_line(status) == line
