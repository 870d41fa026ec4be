"""A tus client with little CPU overhead: it sends prepared blocks over a plain socket.

The work of a client library would compete with the server for the processor.
"""

from __future__ import annotations

import functools
import random
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urljoin, urlsplit

from tus_wsgi.domain.model import MIB

TIMEOUT = 600.0
"""Socket timeout in seconds. Without it, a server that hangs would block the benchmark."""

BLOCK = MIB


class UnexpectedResponse(Exception):
    """The server's response differs from that of a tus server without errors."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response without its body. The names of its fields are in lower case."""

    status: int
    fields: Mapping[str, str]


@functools.cache
def block() -> bytes:
    """Return the block that all uploads repeat. It is random, so that nothing compresses it."""
    return random.Random(1).randbytes(BLOCK)


class Client:
    """A keep-alive connection to a tus server. A context manager.

    Args:
        url: the URL that creates uploads.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        parts = urlsplit(url)
        self._host = parts.netloc
        self._path = parts.path
        self.socket = socket.create_connection((parts.hostname or "", parts.port or 80), TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._input = self.socket.makefile("rb")

    def create(self, length: int, *, with_data: bool = False) -> str:
        """Create an upload, with its data if `with_data`, and return its path."""
        fields: dict[str, object] = {
            "Upload-Length": length,
            "Upload-Metadata": "filename YmVuY2g=",
        }
        if with_data:
            fields["Content-Type"] = "application/offset+octet-stream"
        self.send_head("POST", self._path, fields, length if with_data else 0)
        if with_data:
            self.send_body(length)
        response = self.read_response(201)
        stored = response.fields.get("upload-offset")
        if with_data and stored != str(length):
            raise UnexpectedResponse(f"the server stored {stored} of {length} bytes")
        return urlsplit(urljoin(self._url, response.fields["location"])).path

    def begin_patch(self, path: str, size: int, *, offset: int = 0) -> None:
        """Send the head of a PATCH. The caller sends the `size` bytes of its body."""
        fields = {"Upload-Offset": offset, "Content-Type": "application/offset+octet-stream"}
        self.send_head("PATCH", path, fields, size)

    def patch(self, path: str, size: int, *, offset: int = 0) -> None:
        """Append `size` bytes at an offset."""
        self.begin_patch(path, size, offset=offset)
        self.send_body(size)
        self.read_patch_response(offset + size)

    def read_patch_response(self, offset: int) -> None:
        """Read the response to a PATCH, which must be 204 with this offset."""
        stored = self.read_response(204).fields.get("upload-offset")
        if stored != str(offset):
            raise UnexpectedResponse(f"the server stored {stored} of {offset} bytes")

    def upload(self, size: int, *, with_data: bool = False) -> str:
        """Upload a file and return its path: in a POST, or without `with_data` also in a PATCH."""
        path = self.create(size, with_data=with_data)
        if size and not with_data:
            self.patch(path, size)
        return path

    def upload_in_steps(self, size: int, step: int) -> str:
        """Upload a file in a POST and a PATCH for each `step` bytes, and return its path."""
        path = self.create(size)
        for offset in range(0, size, step):
            self.patch(path, min(step, size - offset), offset=offset)
        return path

    def head(self, path: str) -> None:
        """Request the offset."""
        self.send_head("HEAD", path, {}, 0)
        self.read_response(200, has_body=False)

    def delete(self, path: str) -> None:
        """Terminate the upload."""
        self.send_head("DELETE", path, {}, 0)
        self.read_response(204)

    def send_head(self, method: str, path: str, fields: Mapping[str, object], size: int) -> None:
        """Send the head of a request whose body has `size` bytes."""
        lines = {"Host": self._host, "Tus-Resumable": "1.0.0", "Content-Length": size, **fields}
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.socket.sendall(f"{method} {path} HTTP/1.1\r\n{text}\r\n".encode("ascii"))

    def send_body(self, size: int) -> None:
        """Send `size` bytes."""
        data = memoryview(block())
        while size > 0:
            self.socket.sendall(data[:size])
            size -= len(data)

    def read_response(self, expected: int, *, has_body: bool = True) -> Response:
        """Read a response.

        Raises:
            UnexpectedResponse: the status differs from `expected`.
        """
        while True:
            status = int(self._read_line().split(" ", 2)[1])
            fields: dict[str, str] = {}
            while line := self._read_line():
                name, _, value = line.partition(":")
                fields[name.lower()] = value.strip()
            if status >= 200:
                break
        body = self._read_body(fields) if has_body and status != 204 else b""
        if status != expected:
            raise UnexpectedResponse(f"expected status {expected}, got {status}: {body[:200]!r}")
        return Response(status, fields)

    def close(self) -> None:
        """Close the connection."""
        self._input.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read_line(self) -> str:
        line = self._input.readline()
        if not line:
            raise UnexpectedResponse("the server closed the connection")
        return line.decode("latin-1").rstrip("\r\n")

    def _read_body(self, fields: Mapping[str, str]) -> bytes:
        """Read a body that is chunked or has a length."""
        if fields.get("transfer-encoding") != "chunked":
            return self._input.read(int(fields.get("content-length", 0)))
        data = b""
        while size := int(self._read_line(), 16):
            data += self._input.read(size)
            self._read_line()
        self._read_line()
        return data


def time_upload(url: str, size: int) -> float:
    """Upload `size` bytes in a POST and a PATCH over a new connection, and return the seconds."""
    with Client(url) as client:
        began = time.perf_counter()
        client.upload(size)
        return time.perf_counter() - began
