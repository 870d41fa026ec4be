"""A proxy for S3 that counts calls, and can delay each call and limit each connection's rate.

    python -m benchmarks.proxy --to http://127.0.0.1:8333 --delay 0.04 --rate 40000000

It prints its own URL. `GET /-/counts` returns the calls since the last such request as JSON, and
`GET /-/link?delay=0.04&rate=40000000` changes delay and rate. A rate of 0 means no limit.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import urllib.request
from collections import Counter
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from tus_wsgi.domain.model import KIB, MIB

HOST = "127.0.0.1"
BLOCK_SIZE = 128 * KIB
"""Bytes to forward at a time: 3 ms at 40 MB/s."""

MAX_CATCH_UP = 0.04
"""Seconds of data that a connection may send faster than its rate after a late timer."""

HEAD_LIMIT = 2 * MIB

_BY_QUERY = {
    ("POST", "uploads"): "CreateMultipartUpload",
    ("GET", "uploads"): "ListMultipartUploads",
    ("PUT", "partNumber"): "UploadPart",
    ("GET", "uploadId"): "ListParts",
    ("POST", "uploadId"): "CompleteMultipartUpload",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
    ("POST", "delete"): "DeleteObjects",
    ("GET", "tagging"): "GetObjectTagging",
    ("PUT", "tagging"): "PutObjectTagging",
}


def operation(method: str, target: str) -> str:
    """Return the name of the S3 operation of a request. The query decides, then the method."""
    url = urlsplit(target)
    query = parse_qs(url.query, keep_blank_values=True)
    named = [name for (verb, key), name in _BY_QUERY.items() if verb == method and key in query]
    return named[0] if named else f"{method.title()}Object"


class _RateLimiter:
    """A limiter of the bytes per second in one direction of a connection."""

    def __init__(self, proxy: CountingProxy) -> None:
        self._proxy = proxy
        self._free_at = 0.0

    def begin(self) -> None:
        """Start anew after an idle time, which must not allow a burst."""
        self._free_at = asyncio.get_running_loop().time()

    async def wait(self, size: int) -> None:
        """Wait until the link may transmit the next `size` bytes."""
        if not self._proxy.rate:
            return
        now = asyncio.get_running_loop().time()
        # A timer is late by a millisecond or more, in which a real link would transmit buffered
        # data. Without `MAX_CATCH_UP`, the throughput would be a third below the rate.
        self._free_at = max(now - MAX_CATCH_UP, self._free_at) + size / self._proxy.rate
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)


class CountingProxy:
    """A proxy that counts calls, delays them and limits the rate of connections.

    Args:
        to: the URL of the S3 service.
        delay: the seconds to add to each call.
        rate: the bytes per second of each connection in each direction. 0 means no limit.
    """

    def __init__(self, to: str, *, delay: float = 0.0, rate: float = 0.0) -> None:
        url = urlsplit(to)
        self._host, self._port = url.hostname or HOST, url.port or 80
        self.delay = delay
        self.rate = rate
        self._calls: Counter[str] = Counter()
        self._connections: set[asyncio.Task[None]] = set()

    async def listen(self) -> asyncio.Server:
        """Start listening on a free port."""
        return await asyncio.start_server(self._serve, HOST, 0, limit=HEAD_LIMIT)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward the requests and responses of a connection until the client closes it."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            upstream_reader, upstream_writer = await asyncio.open_connection(
                self._host, self._port, limit=HEAD_LIMIT
            )
            responses = asyncio.create_task(self._forward_responses(upstream_reader, writer))
            try:
                await self._forward_requests(reader, writer, upstream_writer)
            finally:
                upstream_writer.close()
                await responses
        writer.close()

    async def _forward_responses(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        limiter = _RateLimiter(self)
        with contextlib.suppress(OSError):
            while data := await reader.read(BLOCK_SIZE):
                await limiter.wait(len(data))
                writer.write(data)
                await writer.drain()
            writer.close()

    async def _forward_requests(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream: asyncio.StreamWriter,
    ) -> None:
        """Count, delay and forward requests to S3, and answer requests for the control URLs."""
        limiter = _RateLimiter(self)
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, fields = _parse(head)
            if target.startswith("/-/"):
                writer.write(_response(self._control(target)))
                continue
            self._calls[operation(method, target)] += 1
            await asyncio.sleep(self.delay)
            limiter.begin()
            upstream.write(head)
            if fields.get("transfer-encoding", "").lower() == "chunked":
                await self._forward_chunks(reader, upstream, limiter)
            else:
                await self._forward_bytes(
                    reader, upstream, limiter, int(fields.get("content-length", 0))
                )

    async def _forward_bytes(
        self,
        reader: asyncio.StreamReader,
        upstream: asyncio.StreamWriter,
        limiter: _RateLimiter,
        size: int,
    ) -> None:
        while size:
            data = await reader.read(min(size, BLOCK_SIZE))
            if not data:
                raise asyncio.IncompleteReadError(data, size)
            size -= len(data)
            await limiter.wait(len(data))
            upstream.write(data)
            await upstream.drain()

    async def _forward_chunks(
        self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter, limiter: _RateLimiter
    ) -> None:
        """Forward a chunked body as it is: with the sizes of the chunks and with trailers."""
        while True:
            line = await reader.readuntil(b"\r\n")
            upstream.write(line)
            size = int(line.split(b";")[0], 16)
            if not size:
                break
            await self._forward_bytes(reader, upstream, limiter, size + len(b"\r\n"))
        while line != b"\r\n":  # trailers, until an empty line
            line = await reader.readuntil(b"\r\n")
            upstream.write(line)

    def _control(self, target: str) -> object:
        """Change the link, or return the calls since the last time and forget them."""
        url = urlsplit(target)
        if url.path == "/-/link":
            link = {name: float(values[0]) for name, values in parse_qs(url.query).items()}
            self.delay, self.rate = link["delay"], link["rate"]
            return link
        counts = dict(self._calls)
        self._calls.clear()
        return counts


class ProxyClient:
    """A client of the control URLs of a proxy in another process."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def counts(self) -> Mapping[str, int]:
        """Return the calls by operation since the last request for them."""
        counts: dict[str, int] = self._get("/-/counts")
        return counts

    def set_link(self, *, delay: float, rate: float) -> None:
        """Set the seconds to add to each call and the bytes per second of each connection."""
        self._get(f"/-/link?delay={delay}&rate={rate}")

    def _get(self, path: str) -> dict[str, int]:
        with self._opener.open(self.url + path, timeout=30) as response:
            content: dict[str, int] = json.load(response)
            return content


def _parse(head: bytes) -> tuple[str, str, dict[str, str]]:
    """Return the method, the target, and the fields with names in lower case."""
    request_line, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = request_line.split(" ", 2)
    pairs = (line.partition(":") for line in lines if line)
    return method, target, {name.lower(): value.strip() for name, _, value in pairs}


def _response(value: object) -> bytes:
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nContent-Type: application/json\r\n"
    return head.encode() + b"\r\n" + body


async def _main() -> None:
    parser = argparse.ArgumentParser(description="Count and delay calls to S3.")
    parser.add_argument("--to", required=True, help="URL of the S3 service")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds added to each call")
    parser.add_argument(
        "--rate", type=float, default=0.0, help="bytes per second of each connection; 0: no limit"
    )
    arguments = parser.parse_args()
    server = await CountingProxy(arguments.to, delay=arguments.delay, rate=arguments.rate).listen()
    print(f"listening at http://{HOST}:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main())
