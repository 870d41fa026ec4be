"""A service may take bytes slowly: only a time without progress is a failure."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ConnectionClosedError, ReadTimeoutError

from tests.harness.credentials import FAKE_CREDENTIALS
from tests.harness.timing import MAX_WAIT
from tus_wsgi.domain.model import KIB, MIB
from tus_wsgi.domain.read_limit import limited_reads
from tus_wsgi.stores.s3.client import READ_TIMEOUT, make_client
from tus_wsgi.stores.s3.direct import direct_calls

STEP = 256 * KIB

STEP_SECONDS = 0.1
"""The service reads a step, and then nothing for this long."""

SIZE = 8 * MIB
"""Bytes of a body. The kernel's buffers hold at most half of them, so that sending them takes
longer than `CONNECT_SECONDS`."""

CONNECT_SECONDS = 1.0


class SlowService:
    """A service that reads large bodies slowly, and stores nothing.

    Attributes:
        received: bytes of the large bodies that it has read.
        stops: an event after which it reads nothing more.
        is_silent: whether it answers nothing.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.received = 0
        self.stops = threading.Event()
        self.is_silent = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError), connection.makefile("rb") as stream:
            while line := stream.readline():
                is_read = line.startswith(b"GET")
                size = 0
                while (line := stream.readline()) not in {b"\r\n", b""}:
                    name, _, value = line.lower().partition(b":")
                    size = int(value) if name == b"content-length" else size
                self._read(stream, size)
                if self.is_silent:
                    time.sleep(MAX_WAIT)
                content = b"abc" if is_read else b""
                head = f'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: {len(content)}\r\n\r\n'
                connection.sendall(head.encode("ascii"))
                connection.sendall(content)

    def _read(self, stream: Any, size: int) -> None:
        while size > 0:
            count = len(stream.read(min(STEP, size)))
            if not count:
                return
            size -= count
            self.received += count
            if size:
                time.sleep(STEP_SECONDS)
            if self.stops.is_set():
                time.sleep(MAX_WAIT)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowService]:
    for name, value in FAKE_CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr("tus_wsgi.stores.s3.client.CONNECT_TIMEOUT", CONNECT_SECONDS)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)
        yield SlowService(listener)


@pytest.mark.parametrize("calls_before", [0, 2], ids=["by boto3", "directly"])
def test_a_part_may_take_longer_than_a_connection_attempt(
    service: SlowService, calls_before: int
) -> None:
    """Otherwise each attempt to send a part over a slow link would fail, for ever."""
    direct = direct_calls(make_client(endpoint=service.url, parallel_parts=1))
    for _ in range(calls_before):  # the first one teaches the direct calls
        direct.put_object(Bucket="uploads", Key="small", Body=bytearray(b"a"))
    before = service.received
    began = time.monotonic()
    direct.put_object(Bucket="uploads", Key="large", Body=bytearray(SIZE))
    assert time.monotonic() - began > CONNECT_SECONDS
    assert service.received - before == SIZE


@pytest.mark.parametrize("calls_before", [0, 2], ids=["by boto3", "directly"])
def test_a_service_that_takes_no_more_bytes_is_given_up(
    service: SlowService, calls_before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tus_wsgi.stores.s3.client.READ_TIMEOUT", 5.0)
    direct = direct_calls(make_client(endpoint=service.url, parallel_parts=1))
    for _ in range(calls_before):
        direct.put_object(Bucket="uploads", Key="small", Body=bytearray(b"a"))
    service.stops.set()
    with pytest.raises(ConnectionClosedError):
        direct.put_object(Bucket="uploads", Key="large", Body=bytearray(SIZE))


def test_a_proxy_that_does_not_answer_is_given_up_like_a_connection_attempt(
    service: SlowService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", service.url)
    monkeypatch.setattr("tus_wsgi.stores.s3.client.READ_TIMEOUT", 10 * MAX_WAIT)
    direct = direct_calls(make_client(endpoint="https://s3.example.org", parallel_parts=1))
    service.is_silent = True
    began = time.monotonic()
    with pytest.raises(BotoCoreError):
        direct.put_object(Bucket="uploads", Key="a", Body=bytearray(b"a"))
    assert time.monotonic() - began < MAX_WAIT


READS: dict[str, dict[str, Any]] = {
    "head_object": {"Key": "a"},
    "get_object": {"Key": "a"},
    "list_parts": {"Key": "a", "UploadId": "u"},
}


@pytest.mark.parametrize("method", READS)
def test_a_head_does_not_wait_long_for_a_service_that_does_not_answer(
    method: str, service: SlowService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would answer with 504 after a minute, and the client would start again at zero."""
    monkeypatch.setattr("tus_wsgi.stores.s3.client.READ_TIMEOUT", 10 * MAX_WAIT)
    client = make_client(endpoint=service.url, parallel_parts=1)
    direct = direct_calls(client)
    direct.put_object(Bucket="uploads", Key="a", Body=bytearray(b"a"))  # opens the connection
    call = getattr(direct, method, None) or getattr(client, method)
    service.is_silent = True
    began = time.monotonic()
    with limited_reads(0.1), pytest.raises(ReadTimeoutError):
        call(Bucket="uploads", **READS[method])
    assert time.monotonic() - began < MAX_WAIT


def test_the_body_of_a_read_may_take_longer_than_its_beginning(service: SlowService) -> None:
    direct = direct_calls(make_client(endpoint=service.url, parallel_parts=1))
    with limited_reads(MAX_WAIT / 2):
        body = direct.get_object(Bucket="uploads", Key="a")["Body"]
    assert body._raw_stream._connection.sock.gettimeout() == READ_TIMEOUT
    assert body.read() == b"abc"
