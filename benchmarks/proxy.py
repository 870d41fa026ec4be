"""A line to S3 that counts calls, and may be long and thin: each call waits, each connection is
limited.

    python -m benchmarks.proxy --to http://127.0.0.1:8333 --delay 0.04 --rate 40000000

It prints its own URL. `GET /-/counts` answers the calls since the last time, as JSON, and
`GET /-/line?delay=0.04&rate=40000000` changes the line; a rate of 0 is none.
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
STEP = 128 * KIB
"""Bytes that pass at once: 3 ms at 40 MB/s."""

SLACK = 0.04
"""Seconds within which a line makes up for a timer that was late: what is on its way on it."""

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
    """The S3 operation that a request is."""
    url = urlsplit(target)
    query = parse_qs(url.query, keep_blank_values=True)
    named = [name for (verb, key), name in _BY_QUERY.items() if verb == method and key in query]
    return named[0] if named else f"{method.title()}Object"


class _Pace:
    """Lets so many bytes a second pass in one direction of one connection."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._free_at = 0.0

    def begin(self) -> None:
        """The line has been idle: what did not pass meanwhile is not made up for."""
        self._free_at = asyncio.get_running_loop().time()

    async def wait(self, size: int) -> None:
        if not self._line.rate:
            return
        now = asyncio.get_running_loop().time()
        # A timer is late by a millisecond or more, in which a line would have gone on with what its
        # sender had given it. Without the slack the line is a third slower than it is said to be.
        self._free_at = max(now - SLACK, self._free_at) + size / self._line.rate
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)


class Line:
    """The proxy.

    Args:
        to: the service's URL.
        delay: seconds added to each call.
        rate: bytes a second that each connection carries in each direction; 0 for no limit.
    """

    def __init__(self, to: str, *, delay: float = 0.0, rate: float = 0.0) -> None:
        url = urlsplit(to)
        self._host, self._port = url.hostname or HOST, url.port or 80
        self.delay = delay
        self.rate = rate
        self._calls: Counter[str] = Counter()
        self._connections: set[asyncio.Task[None]] = set()

    async def listen(self) -> asyncio.Server:
        """Begin; the port is a free one."""
        return await asyncio.start_server(self._serve, HOST, 0, limit=HEAD_LIMIT)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            up_reader, up_writer = await asyncio.open_connection(
                self._host, self._port, limit=HEAD_LIMIT
            )
            back = asyncio.create_task(self._pump(up_reader, writer))
            try:
                await self._requests(reader, writer, up_writer)
            finally:
                up_writer.close()
                await back
        writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pace = _Pace(self)
        with contextlib.suppress(OSError):
            while data := await reader.read(STEP):
                await pace.wait(len(data))
                writer.write(data)
                await writer.drain()
            writer.close()

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, up: asyncio.StreamWriter
    ) -> None:
        pace = _Pace(self)
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, fields = _parse(head)
            if target.startswith("/-/"):
                writer.write(_response(self._control(target)))
                continue
            self._calls[operation(method, target)] += 1
            await asyncio.sleep(self.delay)
            pace.begin()
            up.write(head)
            if fields.get("transfer-encoding", "").lower() == "chunked":
                await self._chunks(reader, up, pace)
            else:
                await self._bytes(reader, up, pace, int(fields.get("content-length", 0)))

    async def _bytes(
        self, reader: asyncio.StreamReader, up: asyncio.StreamWriter, pace: _Pace, size: int
    ) -> None:
        while size:
            data = await reader.read(min(size, STEP))
            if not data:
                raise asyncio.IncompleteReadError(data, size)
            size -= len(data)
            await pace.wait(len(data))
            up.write(data)
            await up.drain()

    async def _chunks(
        self, reader: asyncio.StreamReader, up: asyncio.StreamWriter, pace: _Pace
    ) -> None:
        while True:
            line = await reader.readuntil(b"\r\n")
            up.write(line)
            size = int(line.split(b";")[0], 16)
            if not size:
                break
            await self._bytes(reader, up, pace, size + 2)
        while line != b"\r\n":
            line = await reader.readuntil(b"\r\n")
            up.write(line)

    def _control(self, target: str) -> object:
        url = urlsplit(target)
        if url.path == "/-/line":
            asked = {name: float(values[0]) for name, values in parse_qs(url.query).items()}
            self.delay, self.rate = asked["delay"], asked["rate"]
            return asked
        counted = dict(self._calls)
        self._calls.clear()
        return counted


class Remote:
    """A proxy that runs in another process, by its URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def counts(self) -> Mapping[str, int]:
        """The calls by operation since this was asked last."""
        counted: dict[str, int] = self._ask("/-/counts")
        return counted

    def set_line(self, *, delay: float, rate: float) -> None:
        """Seconds of each call, bytes a second of each connection."""
        self._ask(f"/-/line?delay={delay}&rate={rate}")

    def _ask(self, path: str) -> dict[str, int]:
        with self._opener.open(self.url + path, timeout=30) as answer:
            said: dict[str, int] = json.load(answer)
            return said


def _parse(head: bytes) -> tuple[str, str, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines if line)
    return method, target, {name.lower(): value.strip() for name, _, value in pairs}


def _response(value: object) -> bytes:
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nContent-Type: application/json\r\n"
    return head.encode() + b"\r\n" + body


async def _main() -> None:
    parser = argparse.ArgumentParser(description="a line to S3 that counts calls")
    parser.add_argument("--to", required=True, help="the service's URL")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds added to each call")
    parser.add_argument("--rate", type=float, default=0.0, help="bytes a second per connection")
    asked = parser.parse_args()
    server = await Line(asked.to, delay=asked.delay, rate=asked.rate).listen()
    print(f"listening at http://{HOST}:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main())
