"""The refusals of hooks."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from tus_wsgi.domain.errors import Denied


def test_a_refusal_has_a_status_a_sentence_and_fields() -> None:
    denied = Denied(HTTPStatus.UNAUTHORIZED, "log in", fields={"WWW-Authenticate": "Basic"})
    assert (denied.status, str(denied)) == (401, "log in")
    assert denied.fields == {"WWW-Authenticate": "Basic"}
    assert (Denied().status, Denied().fields) == (403, {})
    assert str(Denied())


@pytest.mark.parametrize("status", [0, 200, 302, 399, 500, 503])
def test_a_refusal_has_a_status_that_blames_the_client(status: int) -> None:
    with pytest.raises(ValueError, match="400 to 499"):
        Denied(status)


@pytest.mark.parametrize(
    "fields",
    [
        {"X-A": "1\r\nX-B: 2"},
        {"X-A": "tab\t"},
        {"X-A": "\u20ac"},
        {"X A": "1"},
        {"": "1"},
        {"X-A:": "1"},
        {"Content-Length": "0"},
        {"connection": "close"},
        {"Access-Control-Allow-Origin": "*"},
    ],
)
def test_fields_that_cannot_be_sent_are_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="field"):
        Denied(fields=fields)


def test_changes_of_the_given_fields_do_not_change_the_refusal() -> None:
    fields = {"X-A": "1"}
    denied = Denied(fields=fields)
    fields["X-B"] = "2"
    assert denied.fields == {"X-A": "1"}
