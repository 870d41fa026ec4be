"""Method overrides and status lines."""

from __future__ import annotations

import pytest

from tus_wsgi.protocol.http import MethodOverride, effective_method, status_line

SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")


@pytest.mark.parametrize(
    ("method", "override", "expected"),
    [
        pytest.param("POST", None, "POST", id="no override"),
        pytest.param("POST", "PATCH", "PATCH", id="C-10 patch"),
        pytest.param("POST", "DELETE", "DELETE", id="C-10 delete"),
        pytest.param("POST", "HEAD", "HEAD", id="C-10 head"),
        pytest.param("PUT", "PATCH", "PATCH", id="C-10 the actual method is ignored"),
        pytest.param("PATCH", "HEAD", "HEAD", id="C-10 any actual method"),
        pytest.param("POST", "", "POST", id="C-11 empty"),
        pytest.param("POST", "patch", "patch", id="C-11 methods are case-sensitive"),
        pytest.param("POST", "PATCH,PATCH", "PATCH,PATCH", id="C-11 repeated"),
        pytest.param("POST", "OPTIONS", "OPTIONS", id="C-11 discovery"),
        pytest.param("GET", "HEAD", "HEAD", id="both methods are safe"),
        pytest.param("OPTIONS", "GET", "OPTIONS", id="a preflight is not overridden"),
    ],
)
@pytest.mark.parametrize("policy", [MethodOverride.UNSAFE, MethodOverride.ANY])
def test_override_replaces_the_method(
    method: str, override: str | None, expected: str, policy: MethodOverride
) -> None:
    assert effective_method(method, override, policy) == expected


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("override", ["DELETE", "PATCH", "POST", "get", "FOO"])
def test_a_safe_method_never_becomes_an_unsafe_one(method: str, override: str) -> None:
    """A proxy that lets only GET pass has not checked a DELETE."""
    for policy in MethodOverride:
        if policy is not MethodOverride.ANY:
            expected = None
        elif method == "OPTIONS":
            expected = method
        else:
            expected = override
        assert effective_method(method, override, policy) == expected


def test_overrides_can_be_limited_to_post() -> None:
    policy = MethodOverride.POST
    assert effective_method("POST", "PATCH", policy) == "PATCH"
    assert effective_method("PUT", "PATCH", policy) is None
    assert effective_method("GET", "HEAD", policy) is None
    assert effective_method("PATCH", "PATCH", policy) == "PATCH"


def test_overrides_can_be_refused() -> None:
    policy = MethodOverride.OFF
    assert effective_method("POST", "PATCH", policy) is None
    assert effective_method("POST", "", policy) == "POST"
    assert effective_method("PATCH", "PATCH", policy) == "PATCH"


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
