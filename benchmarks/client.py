"""A tus client that costs little: prepared blocks into a plain socket.

What a client library does for comfort would compete with the server for the processor.
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
"""Seconds that a server may be silent. A benchmark ends by itself; this is for one that hangs."""

BLOCK = MIB


class Refused(Exception):
    """The server did not answer as a tus server does when all is well."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response without its body; the fields' names are in lower case."""

    status: int
    fields: Mapping[str, str]


@functools.cache
def block() -> bytes:
    """The bytes that all uploads consist of, repeated: random, so that nothing compresses them."""
    return random.Random(1).randbytes(BLOCK)


class Client:
    """One kept-alive connection to a tus server. A context manager.

    Args:
        url: where uploads are created.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        parts = urlsplit(url)
        self._host = parts.netloc
        self._path = parts.path
        self.socket = socket.create_connection((parts.hostname or "", parts.port or 80), TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._input = self.socket.makefile("rb")

    def create(self, length: int, *, with_upload: bool = False) -> str:
        """POST: a new upload's path; with all its bytes if they are to go along."""
        fields = {"Upload-Length": length, "Upload-Metadata": "filename YmVuY2g="}
        if with_upload:
            fields["Content-Type"] = "application/offset+octet-stream"
        self.send_head("POST", self._path, fields, length if with_upload else 0)
        if with_upload:
            self.send_body(length)
        answer = self.answer(201)
        if with_upload and answer.fields.get("upload-offset") != str(length):
            raise Refused(f"it stored {answer.fields.get('upload-offset')} of {length} bytes")
        return urlsplit(urljoin(self._url, answer.fields["location"])).path

    def begin_patch(self, path: str, size: int, *, offset: int = 0) -> None:
        """The head of a PATCH; its `size` bytes are the caller's business."""
        fields = {"Upload-Offset": offset, "Content-Type": "application/offset+octet-stream"}
        self.send_head("PATCH", path, fields, size)

    def patch(self, path: str, size: int, *, offset: int = 0) -> None:
        """Append `size` bytes."""
        self.begin_patch(path, size, offset=offset)
        self.send_body(size)
        self.patched(offset + size)

    def patched(self, offset: int) -> None:
        """Read the answer to a PATCH, after which so many bytes are stored."""
        stored = self.answer(204).fields.get("upload-offset")
        if stored != str(offset):
            raise Refused(f"it stored {stored} of {offset} bytes")

    def upload(self, size: int, *, with_upload: bool = False) -> str:
        """A whole upload, in one request or in POST and one PATCH; its path."""
        path = self.create(size, with_upload=with_upload)
        if size and not with_upload:
            self.patch(path, size)
        return path

    def head(self, path: str) -> None:
        """Ask for the offset."""
        self.send_head("HEAD", path, {}, 0)
        self.answer(200, has_body=False)

    def delete(self, path: str) -> None:
        """Terminate the upload."""
        self.send_head("DELETE", path, {}, 0)
        self.answer(204)

    def send_head(self, method: str, path: str, fields: Mapping[str, object], size: int) -> None:
        """The head of a request with `size` bytes of body."""
        lines = {"Host": self._host, "Tus-Resumable": "1.0.0", "Content-Length": size, **fields}
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.socket.sendall(f"{method} {path} HTTP/1.1\r\n{text}\r\n".encode("ascii"))

    def send_body(self, size: int) -> None:
        """`size` bytes."""
        data = memoryview(block())
        while size > 0:
            self.socket.sendall(data[:size])
            size -= len(data)

    def answer(self, expected: int, *, has_body: bool = True) -> Answer:
        """Read a response.

        Raises:
            Refused: its status is not the `expected` one.
        """
        while True:
            status = int(self._line().split(" ", 2)[1])
            fields: dict[str, str] = {}
            while line := self._line():
                name, _, value = line.partition(":")
                fields[name.lower()] = value.strip()
            if status >= 200:
                break
        body = self._body(fields) if has_body and status != 204 else b""
        if status != expected:
            raise Refused(f"it answered {status}, not {expected}: {body[:200]!r}")
        return Answer(status, fields)

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

    def _line(self) -> str:
        line = self._input.readline()
        if not line:
            raise Refused("it closed the connection")
        return line.decode("latin-1").rstrip("\r\n")

    def _body(self, fields: Mapping[str, str]) -> bytes:
        if fields.get("transfer-encoding") != "chunked":
            return self._input.read(int(fields.get("content-length", 0)))
        data = b""
        while size := int(self._line(), 16):
            data += self._input.read(size)
            self._line()
        self._line()
        return data


def seconds_for_upload(url: str, size: int) -> float:
    """Upload `size` bytes in POST and one PATCH over a connection of their own."""
    with Client(url) as client:
        began = time.perf_counter()
        client.upload(size)
        return time.perf_counter() - began
