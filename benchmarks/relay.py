"""A relay from clients to S3 that does no more than it must: the lower bound for CPU time.

    python -m benchmarks.relay --to http://127.0.0.1:8333 --bucket uploads --part-size 16777216

It receives a body into buffers of the size of a part, computes their CRC-32, and sends each one to
S3 as an object, over an open connection. There are no records, locks, signatures, retries or limits
on clients, and all calls block. So what it takes is the kernel's work, the CRC-32, and a few system
calls. It prints its own URL. It is not a tus server: each client gets the response that
`benchmarks.client` expects.
"""

from __future__ import annotations

import argparse
import itertools
import queue
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from urllib.parse import SplitResult, urlsplit

import boto3
from botocore.config import Config

from tus_wsgi.domain.crc import crc32
from tus_wsgi.domain.model import MIB
from tus_wsgi.spool.huge_pages import new_buffer

HOST = "127.0.0.1"

OBJECTS = 512
"""The number of different objects. After these, the relay overwrites the first ones."""

SPARE_BUFFERS = 2
"""Buffers that are filled while the others are sent."""

URL_SECONDS = 7 * 24 * 3600
"""How long the URLs of the objects are valid: the maximum of signature version 4."""

_MAX_HEAD = 64 * 1024


class Relay:
    """Receives bodies from clients, and sends them to S3.

    Args:
        targets: presigned URLs of objects.
        part_size: bytes of an object at most.
        parallel: the number of objects that are sent at once.
    """

    def __init__(self, targets: Sequence[str], part_size: int, parallel: int) -> None:
        self._targets = itertools.cycle([urlsplit(target) for target in targets])
        self._part_size = part_size
        self._senders = ThreadPoolExecutor(parallel)
        self._free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        for _ in range(parallel + SPARE_BUFFERS):
            self._free.put(new_buffer(part_size))
        self._own = threading.local()

    def serve(self, client: socket.socket) -> None:
        """Answer all requests of a client."""
        with client:
            for method, offset, length in _requests(client):
                if length:
                    self._relay(client, length)
                if method == "POST":
                    head = "201 Created\r\nLocation: /files/a\r\nContent-Length: 0"
                else:
                    head = "204 No Content"
                response = f"HTTP/1.1 {head}\r\nUpload-Offset: {offset + length}\r\n\r\n"
                client.sendall(response.encode("ascii"))

    def _relay(self, client: socket.socket, length: int) -> None:
        sent: list[Future[None]] = []
        while length:
            buffer, size = self._free.get(), min(self._part_size, length)
            _receive(client, memoryview(buffer)[:size])
            length -= size
            sent.append(self._senders.submit(self._send, buffer, size))
        for future in sent:
            future.result()

    def _send(self, buffer: bytearray, size: int) -> None:
        target = next(self._targets)
        if not hasattr(self._own, "connection"):
            self._own.connection = _connect(target)
        connection: socket.socket = self._own.connection
        head = (
            f"PUT {target.path}?{target.query} HTTP/1.1\r\n"
            f"Host: {target.netloc}\r\nContent-Length: {size}\r\n\r\n"
        )
        connection.sendall(head.encode("ascii"))
        connection.sendall(memoryview(buffer)[:size])
        response = connection.recv(_MAX_HEAD)
        if not response.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"S3 answered {response[:200]!r}")
        self._free.put(buffer)


def _requests(client: socket.socket) -> Iterator[tuple[str, int, int]]:
    """Yield the method, the offset and the length of each request. The caller reads the body."""
    while True:
        head = b""
        while not head.endswith(b"\r\n\r\n"):  # byte by byte, so that no byte of the body is read
            byte = client.recv(1)
            if not byte:
                return
            head += byte
        request_line, *lines = head.decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines if line)
        offset, length = int(fields.get("upload-offset", 0)), int(fields["content-length"])
        yield request_line.split(" ", 1)[0], offset, length


def _receive(client: socket.socket, part: memoryview) -> int:
    """Fill a part, and return its CRC-32.

    Raises:
        ConnectionError: the client has closed the connection.
    """
    received = checksum = 0
    while received < len(part):
        count = client.recv_into(part[received:])
        if not count:
            raise ConnectionError("the client has closed the connection")
        checksum = crc32(part[received : received + count], checksum)
        received += count
    return checksum


def _connect(target: SplitResult) -> socket.socket:
    connection = socket.create_connection((target.hostname or "", target.port or 80))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _presigned(endpoint: str, bucket: str) -> list[str]:
    """Return URLs that write the objects, with the credentials of the environment."""
    config = Config(signature_version="s3v4", s3={"addressing_style": "path"})
    client = boto3.client("s3", endpoint_url=endpoint, config=config)
    names = [{"Bucket": bucket, "Key": f"relay/{number}"} for number in range(OBJECTS)]
    return [
        client.generate_presigned_url("put_object", Params=name, ExpiresIn=URL_SECONDS)
        for name in names
    ]


def main() -> None:
    """Serve until the process is terminated."""
    parser = argparse.ArgumentParser(description="Relay uploads to S3 with the least CPU time.")
    parser.add_argument("--to", required=True, help="URL of the S3 service")
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--part-size", type=int, default=16 * MIB, help="bytes of an object")
    parser.add_argument("--parallel", type=int, default=4, help="objects that are sent at once")
    arguments = parser.parse_args()
    targets = _presigned(arguments.to, arguments.bucket)
    relay = Relay(targets, arguments.part_size, arguments.parallel)
    with socket.create_server((HOST, 0)) as listener:
        print(f"listening at http://{HOST}:{listener.getsockname()[1]}", flush=True)
        while True:
            client, _ = listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=relay.serve, args=[client], daemon=True).start()


if __name__ == "__main__":
    main()
