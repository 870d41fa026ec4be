"""The extensions of tus 1.0.0 as clients use them, with gunicorn and a real S3."""

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
from tests.harness.timing import wait_until
from tests.live.clients.drivers import aiotus_multiple

pytestmark = pytest.mark.live

NewSite = Callable[..., Deployment]


def test_aiotus_uploads_several_files_into_one_object(
    new_deployment: NewSite, tmp_path: Path
) -> None:
    """CO-02: partials of any size, through three cuts. TUS_DELETE_PARTIALS deletes them."""
    deployment = new_deployment(TUS_DELETE_PARTIALS="true")
    data = some_bytes(2 * PART_SIZE + 1234)
    contents = [data[: PART_SIZE + 7], data[PART_SIZE + 7 : PART_SIZE + 10], data[PART_SIZE + 10 :]]
    files = [tmp_path / str(number) for number in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    cuts = [300_000, 5_000_000, 9_000_000]
    with TcpProxy(deployment.start().port, cuts=cuts) as network:
        url = aiotus_multiple(f"http://127.0.0.1:{network.port}/files", files, chunk=1_000_000)
        assert network.cut_count == len(cuts)
    assert deployment.read_object(url) == data
    assert set(deployment.list_keys()) == {deployment.key(url), deployment.key(url) + ".info"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("count", [300, pytest.param(1000, marks=pytest.mark.long)])
def test_hundreds_of_partials_become_one_object(count: int, new_deployment: NewSite) -> None:
    """CO-02: if a request field may contain their URLs. Every twentieth partial is empty."""
    deployment = new_deployment()
    tus = TusClient(deployment.start(arguments=["--limit-request-field_size", "65536"]).port)
    contents = [some_bytes(number % 20, seed=number) for number in range(count)]

    def create_partial(content: bytes) -> str:
        fields = {**STREAM, "Upload-Length": str(len(content)), "Upload-Concat": "partial"}
        created = tus.request("POST", tus.base, fields, content)
        assert created.status == 201, created
        return urlsplit(created["Location"]).path

    with ThreadPoolExecutor(8) as threads:
        partials = list(threads.map(create_partial, contents))
    with Connection(tus.port, timeout=120) as connection:
        concat = "final;" + " ".join(partials)
        assert len(concat) > 30 * count
        connection.request("POST", tus.base, {**VERSION, "Upload-Concat": concat}, b"")
        created = connection.read_response()
    assert created.status == 201, created
    path = urlsplit(created["Location"]).path
    assert deployment.read_object(path) == b"".join(contents)
    assert tus.head(path)["Upload-Concat"] == concat


def test_every_worker_handles_a_final_upload(new_deployment: NewSite) -> None:
    """CU-01, CU-02: a final upload before and after its partials are complete, with 3 workers."""
    deployment = new_deployment()
    tus = TusClient(deployment.start(workers=3).port)
    partial = {"Upload-Concat": "partial"}
    first, last = tus.create(3, partial), tus.create(4, partial)
    tus.append(first, 0, b"abc")
    fields = {"Upload-Concat": f"final;{first} {last}"}
    created = tus.request("POST", tus.base, fields)
    assert created.status == 201
    unfinished = tus.head(created["Location"].removeprefix(f"http://127.0.0.1:{tus.port}"))
    assert unfinished.get("Upload-Offset") is None
    assert unfinished["Upload-Length"] == "7"
    tus.append(last, 0, b"defg")
    path = created["Location"].removeprefix(f"http://127.0.0.1:{tus.port}")
    assert tus.offset(path) == 7
    assert tus.head(path)["Upload-Concat"] == fields["Upload-Concat"]
    assert deployment.read_object(path) == b"abcdefg"


def test_an_unfinished_upload_expires(new_deployment: NewSite) -> None:
    """EX-02, EX-05: according to the server's clock."""
    deployment = new_deployment(TUS_EXPIRES="1s")
    tus = TusClient(deployment.start(workers=2).port)
    path = tus.create(10)
    assert tus.head(path).get("Upload-Expires")
    wait_until(lambda: tus.head(path).status == 410)
    assert tus.patch(path, 0, b"x").status == 410
