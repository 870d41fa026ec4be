"""The boto3 client's requests, by endpoint and setting, and its connection pool."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from urllib3 import HTTPResponse

from tests.harness.credentials import FAKE_CREDENTIALS
from tus_wsgi.app import _lease_records_in_s3
from tus_wsgi.domain.addressing import AddressingStyle
from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.settings.settings import LockerKind, Settings
from tus_wsgi.spool.payload import Payload
from tus_wsgi.stores.s3.bucket import Bucket
from tus_wsgi.stores.s3.client import SPARE_CONNECTIONS, ChecksumMode, make_client

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PLAIN, TLS = "http://127.0.0.1:9", "https://s3.example.com"

DATA = b"0123456789"


@pytest.fixture(autouse=True)
def fake_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set credentials that do not exist."""
    for name, value in FAKE_CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def client_for(endpoint: str, patch: pytest.MonkeyPatch, checksum: ChecksumMode) -> S3Client:
    """A client whose endpoint comes from the argument, a variable (`env:`) or AWS (empty)."""
    if endpoint.startswith("env:"):
        patch.setenv("AWS_ENDPOINT_URL", endpoint.removeprefix("env:"))
        endpoint = ""
    return make_client(endpoint=endpoint or None, parallel_parts=1, checksum=checksum)


def put_request(client: S3Client, checksum: ChecksumMode) -> AWSPreparedRequest:
    """Return the request of a PutObject without sending it."""
    caught = list[AWSPreparedRequest]()

    def catch(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        caught.append(request)
        fields = HTTPHeaders.from_dict({"ETag": '"e"'})
        return AWSResponse(request.url, 200, fields, HTTPResponse(BytesIO(), preload_content=False))

    client.meta.events.register("before-send.s3", catch)  # type: ignore[arg-type]
    bucket = Bucket(client, "uploads", has_checksums=checksum is not ChecksumMode.OFF)
    bucket.put("a", Payload.of(DATA))
    (request,) = caught
    return request


def field(request: AWSPreparedRequest, name: str) -> str | None:
    value: str | bytes | None = request.headers.get(name)
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.parametrize(
    ("checksum", "over_plain", "over_tls"),
    [
        (ChecksumMode.AUTO, (False, True), (False, True)),
        (ChecksumMode.REQUIRED, (True, True), (True, True)),
        (ChecksumMode.OFF, (True, False), (False, False)),
    ],
)
@pytest.mark.parametrize("endpoint", [PLAIN, TLS, f"env:{PLAIN}", f"env:{TLS}", ""])
def test_bytes_are_always_protected_by_tls_a_signature_or_a_checksum(
    endpoint: str,
    checksum: ChecksumMode,
    over_plain: tuple[bool, bool],
    over_tls: tuple[bool, bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`over_plain` and `over_tls`: whether the bytes are signed, and whether they have a CRC-32."""
    request = put_request(client_for(endpoint, monkeypatch, checksum), checksum)
    is_plain = request.url.startswith("http:")
    assert is_plain == endpoint.endswith(PLAIN)
    is_signed = field(request, "X-Amz-Content-SHA256") != "UNSIGNED-PAYLOAD"
    has_crc = field(request, "x-amz-checksum-crc32") is not None
    assert (is_signed, has_crc) == (over_plain if is_plain else over_tls)
    if has_crc:
        assert "x-amz-checksum-crc32" in (field(request, "Authorization") or "")


PRESIGNED_URLS = [
    ("", "eu-central-1", "uploads", "https://uploads.s3.eu-central-1.amazonaws.com/a"),
    ("", "us-east-1", "uploads", "https://uploads.s3.amazonaws.com/a"),
    ("", "cn-north-1", "uploads", "https://uploads.s3.cn-north-1.amazonaws.com.cn/a"),
    # No certificate covers host names with further dots.
    ("", "eu-central-1", "up.loads", "https://s3.eu-central-1.amazonaws.com/up.loads/a"),
    (TLS, "eu-central-1", "uploads", f"{TLS}/uploads/a"),
    (PLAIN, "eu-central-1", "up.loads", f"{PLAIN}/up.loads/a"),
    (f"env:{TLS}", "eu-central-1", "uploads", f"{TLS}/uploads/a"),
    (f"env:{PLAIN}", "eu-central-1", "up.loads", f"{PLAIN}/up.loads/a"),
]


@pytest.mark.parametrize(("endpoint", "region", "bucket", "url"), PRESIGNED_URLS)
def test_a_presigned_url_has_the_host_of_the_bucket(
    endpoint: str, region: str, bucket: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS's first region redirects or refuses requests for buckets of other regions."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    client = client_for(endpoint, monkeypatch, ChecksumMode.AUTO)
    presigned_url = client.generate_presigned_url(
        "get_object", Params={"Bucket": bucket, "Key": "a"}
    )
    assert presigned_url.partition("?")[0] == url
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in presigned_url


# -- connections -----------------------------------------------------------------------------------

STYLES = [
    (None, "", f"{TLS}/uploads/a"),
    (None, "path", f"{TLS}/uploads/a"),
    (None, "auto", f"{TLS}/uploads/a"),
    (None, "virtual", "https://uploads.s3.example.com/a"),
    (AddressingStyle.VIRTUAL, "", "https://uploads.s3.example.com/a"),
    (AddressingStyle.VIRTUAL, "path", "https://uploads.s3.example.com/a"),
    (AddressingStyle.PATH, "virtual", f"{TLS}/uploads/a"),
]


@pytest.mark.parametrize(("setting", "configured", "url"), STYLES)
def test_requests_name_the_bucket_where_the_setting_or_the_configuration_says(
    setting: AddressingStyle | None,
    configured: str,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Some services take the bucket in the host name only."""
    file = tmp_path / "config"
    style = f"s3 =\n    addressing_style = {configured}\n" if configured else ""
    file.write_text(f"[default]\n{style}")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    client = make_client(endpoint=TLS, parallel_parts=1, addressing=setting)
    assert put_request(client, ChecksumMode.AUTO).url == url
    settings = Settings(
        s3_bucket="uploads", s3_endpoint=TLS, s3_addressing_style=setting, locker=LockerKind.S3
    )
    records = _lease_records_in_s3(settings, EventDispatcher([]))()
    signed = records.client.generate_presigned_url(
        "get_object", Params={"Bucket": "uploads", "Key": "a"}
    )
    assert signed.partition("?")[0] == url


CONCURRENT_CALLS = 100
"""Concurrent calls."""


class BarrierServer(ThreadingHTTPServer):
    """A server that responds only after `CONCURRENT_CALLS` requests have arrived."""

    daemon_threads = True
    request_queue_size = 2 * CONCURRENT_CALLS

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), BarrierHandler)
        self.barrier = threading.Barrier(CONCURRENT_CALLS)
        self.connections = 0

    def get_request(self) -> tuple[object, object]:  # type: ignore[override]
        self.connections += 1
        return super().get_request()


class BarrierHandler(BaseHTTPRequestHandler):
    server: BarrierServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.server.barrier.wait(30)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.send_header("ETag", '"e"')
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Do not log."""


@pytest.fixture
def barrier_server() -> Iterator[BarrierServer]:
    with BarrierServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_hundred_concurrent_small_calls_reuse_their_connections(
    barrier_server: BarrierServer, caplog: pytest.LogCaptureFixture
) -> None:
    assert CONCURRENT_CALLS <= SPARE_CONNECTIONS
    client = make_client(
        endpoint=f"http://127.0.0.1:{barrier_server.server_port}", parallel_parts=1
    )

    def call(_number: int) -> None:
        client.head_object(Bucket="uploads", Key="a")

    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(CONCURRENT_CALLS) as threads:
        for _ in range(3):
            list(threads.map(call, range(CONCURRENT_CALLS)))
    client.close()
    assert barrier_server.connections == CONCURRENT_CALLS
    assert [record.message for record in caplog.records] == []
