"""Small objects are sent without `Expect: 100-continue`."""

from __future__ import annotations

from typing import Any

import pytest

from demo.seaweedfs import SeaweedFS
from tus_wsgi.spool.payload import Payload
from tus_wsgi.spool.spool import Spool
from tus_wsgi.stores.s3.bucket import Bucket
from tus_wsgi.stores.s3.client import make_client


@pytest.fixture
def sent(s3: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> tuple[Bucket, list[Any]]:
    """A bucket, and the list of the requests sent to it."""
    for name, text in s3.environ().items():
        monkeypatch.setenv(name, text)
    requests: list[Any] = []
    client = make_client(endpoint=s3.endpoint, parallel_parts=1)
    client.meta.events.register("before-send.s3", lambda request, **_: requests.append(request))
    return Bucket(client, s3.bucket), requests


def test_a_small_object_is_sent_without_expect_100_continue(sent: tuple[Bucket, list[Any]]) -> None:
    """Waiting for the interim response would cost a round trip."""
    bucket, requests = sent
    bucket.put("small", Payload.of(b"some bytes"))
    (request,) = requests
    assert "Expect" not in request.headers
    assert request.headers["User-Agent"].startswith(b"tus-wsgi-s3 ")
    assert bucket.get("small")[0] == b"some bytes"


def test_a_tail_is_sent_without_expect_100_continue(sent: tuple[Bucket, list[Any]]) -> None:
    bucket, requests = sent
    with Spool(1024).part(1024, None) as part:
        part.write(b"some bytes")
        bucket.put("rest", part.payload())
    (request,) = requests
    assert "Expect" not in request.headers
    assert bucket.get("rest")[0] == b"some bytes"
