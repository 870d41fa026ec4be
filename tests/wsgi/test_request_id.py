"""The id of a request: in the log, and in the response to a request that failed."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from tests.wsgi.test_middleware import Server
from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.domain.request_id import REQUEST_ID
from tus_wsgi.wsgi.request_id import RequestIds

RANDOM = re.compile(r"[0-9a-f]{16}")


@pytest.fixture(autouse=True)
def no_request() -> None:
    REQUEST_ID.set("")


def test_without_the_setting_the_ids_are_random_whatever_the_client_sends() -> None:
    ids = RequestIds()
    found = {ids.assign({"HTTP_X_REQUEST_ID": "forged"}) for _ in range(20)}
    assert len(found) == 20
    assert all(RANDOM.fullmatch(id) for id in found)
    assert REQUEST_ID.get() in found


@pytest.mark.parametrize("id", ["abc-1.2:3", "Root=1-67891233-abcdef012345678912345678", "a" * 128])
def test_a_trusted_field_is_the_id(id: str) -> None:
    assert RequestIds("X-Amzn-Trace-Id").assign({"HTTP_X_AMZN_TRACE_ID": id}) == id
    assert REQUEST_ID.get() == id


@pytest.mark.parametrize("id", ["", "a b", "a\nb", 'a"', "ä", "a" * 129])
def test_a_value_that_could_forge_lines_is_replaced(id: str) -> None:
    assert RANDOM.fullmatch(RequestIds("X-Request-Id").assign({"HTTP_X_REQUEST_ID": id}))


@pytest.mark.parametrize("error", [StoreUnavailable("open"), KeyError("a bug")])
def test_only_the_response_to_a_failed_request_has_the_id(error: Exception) -> None:
    server = Server()
    created = server.tus_request("POST", Upload_Length="4")
    assert created.status_code == 201
    assert "X-Request-Id" not in created.headers
    server.store.error = error
    failed = server.patch(urlsplit(created.headers["Location"]).path, b"data", Origin="http://a")
    assert failed.status_code == 503
    assert failed.headers["X-Request-Id"] == REQUEST_ID.get()
    assert "X-Request-Id" in failed.headers["Access-Control-Expose-Headers"]
    assert RANDOM.fullmatch(REQUEST_ID.get())
