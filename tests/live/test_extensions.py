"""The extensions of tus 1.0.0 as real clients use them, through gunicorn and real S3."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.harness.clients.http import Connection
from tests.harness.clients.tus import STREAM, VERSION, TusClient
from tests.harness.data import some_bytes
from tests.harness.proxies.tcp import TcpProxy
from tests.harness.servers.deployment import PART_SIZE, Deployment
from tests.harness.servers.gunicorn import wait_until
from tests.live.clients.drivers import aiotus_multiple

pytestmark = pytest.mark.live

NewSite = Callable[..., Deployment]


def test_aiotus_uploads_a_file_in_several_that_are_joined(
    new_deployment: NewSite, tmp_path: Path
) -> None:
    """CO-02: pieces of any size, through three cuts, and with the setting none of them is left."""
    deployment = new_deployment(TUS_DELETE_PARTIALS="true")
    data = some_bytes(2 * PART_SIZE + 1234)
    pieces = [data[: PART_SIZE + 7], data[PART_SIZE + 7 : PART_SIZE + 10], data[PART_SIZE + 10 :]]
    files = [tmp_path / str(number) for number in range(len(pieces))]
    for file, piece in zip(files, pieces, strict=True):
        file.write_bytes(piece)
    cuts = [300_000, 5_000_000, 9_000_000]
    with TcpProxy(deployment.start().port, cuts=cuts) as network:
        url = aiotus_multiple(f"http://127.0.0.1:{network.port}/files", files, chunk=1_000_000)
        assert network.cut_count == len(cuts)
    assert deployment.read_object(url) == data
    assert set(deployment.list_contents()) == {deployment.key(url), deployment.key(url) + ".info"}


@pytest.mark.timeout(300)
def test_a_thousand_partials_become_one_object(new_deployment: NewSite) -> None:
    """CO-02: once a request field has room for their URLs. Each twentieth of them is empty."""
    deployment = new_deployment()
    tus = TusClient(deployment.start(arguments=["--limit-request-field_size", "65536"]).port)
    pieces = [some_bytes(number % 20, seed=number) for number in range(1000)]

    def partial(piece: bytes) -> str:
        said = {**STREAM, "Upload-Length": str(len(piece)), "Upload-Concat": "partial"}
        created = tus.request("POST", tus.base, said, piece)
        assert created.status == 201, created
        return urlsplit(created["Location"]).path

    with ThreadPoolExecutor(8) as threads:
        partials = list(threads.map(partial, pieces))
    with Connection(tus.port, timeout=120) as connection:
        named = "final;" + " ".join(partials)
        assert len(named) > 30_000
        connection.request("POST", tus.base, {**VERSION, "Upload-Concat": named}, b"")
        created = connection.read_response()
    assert created.status == 201, created
    path = urlsplit(created["Location"]).path
    assert deployment.read_object(path) == b"".join(pieces)
    assert tus.head(path)["Upload-Concat"] == named


def test_a_whole_is_found_by_another_worker(new_deployment: NewSite) -> None:
    """CU-01, CU-02: with several workers nobody remembers anything."""
    deployment = new_deployment()
    tus = TusClient(deployment.start(workers=3).port)
    partial = {"Upload-Concat": "partial"}
    first, last = tus.create(3, partial), tus.create(4, partial)
    tus.append(first, 0, b"abc")
    named = {"Upload-Concat": f"final;{first} {last}"}
    created = tus.request("POST", tus.base, named)
    assert created.status == 201
    waiting = tus.head(created["Location"].removeprefix(f"http://127.0.0.1:{tus.port}"))
    assert waiting.get("Upload-Offset") is None
    assert waiting["Upload-Length"] == "7"
    tus.append(last, 0, b"defg")
    path = created["Location"].removeprefix(f"http://127.0.0.1:{tus.port}")
    assert tus.offset(path) == 7
    assert tus.head(path)["Upload-Concat"] == named["Upload-Concat"]
    assert deployment.read_object(path) == b"abcdefg"


def test_an_upload_lapses(new_deployment: NewSite) -> None:
    """EX-02, EX-05, against the server's own clock."""
    deployment = new_deployment(TUS_EXPIRES="1s")
    tus = TusClient(deployment.start(workers=2).port)
    path = tus.create(10)
    assert tus.head(path).get("Upload-Expires")
    wait_until(lambda: tus.head(path).status == 410, seconds=10)
    assert tus.patch(path, 0, b"x").status == 410
