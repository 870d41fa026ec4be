"""HTTP/1.1 messages as they are on the wire: find where a head and a body end, decode nothing.

The raw client decodes what it received with these functions. A proxy passes messages on unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO

MAX_LINE = 1 << 16

_STATUSES_WITHOUT_BODY = {204, 304}


@dataclass(frozen=True, slots=True)
class Message:
    """A request or a response.

    Attributes:
        head: the first line and the fields, with the empty line behind them.
        body: the body with its transfer coding.
    """

    head: bytes
    body: bytes

    @property
    def raw(self) -> bytes:
        return self.head + self.body

    @property
    def method(self) -> str:
        """The method of a request."""
        return self.head.split(b" ", 1)[0].decode("ascii")

    @property
    def status(self) -> int:
        """The status of a response."""
        return status_of(self.head)


def encode_head(method: str, target: str, fields: Mapping[str, str]) -> bytes:
    """Return the head of a request."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def encode_chunk(data: bytes) -> bytes:
    """Return one chunk of a chunked body; the empty chunk ends the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def read_line(stream: IO[bytes]) -> bytes:
    """Read a line with its end.

    Raises:
        EOFError: the connection ended within the line.
    """
    line = stream.readline(MAX_LINE)
    if not line.endswith(b"\n"):
        raise EOFError(f"the connection ended in {line!r}")
    return line


def read_head(stream: IO[bytes]) -> bytes:
    """Read up to the empty line, and include it.

    Raises:
        EOFError: the connection ended before the empty line.
    """
    lines = [read_line(stream)]
    while lines[-1] not in {b"\r\n", b"\n"}:
        lines.append(read_line(stream))
    return b"".join(lines)


def read_request(stream: IO[bytes]) -> Message:
    """Read a whole request.

    Raises:
        EOFError: the connection ended within the request.
    """
    head = read_head(stream)
    return Message(head, read_body(stream, head))


def read_body(stream: IO[bytes], head: bytes) -> bytes:
    """Read the body that the head announces; a head without any length has no body.

    Raises:
        EOFError: the connection ended within the body.
    """
    if is_chunked(head):
        return b"".join(_read_chunks(stream))
    return _read_exactly(stream, int(field(head, "content-length") or "0"))


def read_response(stream: IO[bytes], method: str) -> Message:
    """Read the response to a request with this method.

    A response without a length ends with the connection (RFC 9112, section 6.3).

    Raises:
        EOFError: the connection ended within the response.
    """
    head = read_head(stream)
    status = status_of(head)
    is_interim = status < 200
    if method == "HEAD" or is_interim or status in _STATUSES_WITHOUT_BODY:
        return Message(head, b"")
    if is_chunked(head) or field(head, "content-length") is not None:
        return Message(head, read_body(stream, head))
    return Message(head, stream.read())


def status_of(head: bytes) -> int:
    """Return the status of a response's head."""
    version, status, *_ = head.split(b"\r\n", 1)[0].split(b" ", 2)
    assert version.startswith(b"HTTP/1."), version
    return int(status)


def fields_of(head: bytes) -> dict[str, str]:
    """Return the fields by their lower-case names; join repeated fields with a comma."""
    fields: dict[str, str] = {}
    # Not `splitlines`, which also splits at bytes that may be part of a value, such as 0x85.
    for line in head.decode("latin-1").split("\n")[1:-2]:
        name, value = line.split(":", 1)
        key, value = name.lower(), value.strip()
        fields[key] = f"{fields[key]}, {value}" if key in fields else value
    return fields


def field(head: bytes, name: str) -> str | None:
    """Return the value of a field, or None if the head does not have it."""
    found = re.search(rb"(?im)^%s:[ \t]*(.*?)[ \t]*\r?\n" % re.escape(name.encode()), head)
    return None if found is None else found[1].decode("latin-1")


def is_chunked(head: bytes) -> bool:
    """Whether the body of the message has the chunked transfer coding."""
    return "chunked" in (field(head, "transfer-encoding") or "").lower()


def decode_chunks(body: bytes) -> bytes:
    """Return the content of a whole chunked body."""
    content, start = bytearray(), 0
    while True:
        end_of_line = body.index(b"\n", start) + 1
        size = int(body[start:end_of_line].split(b";")[0], 16)
        if not size:
            return bytes(content)
        content += body[end_of_line : end_of_line + size]
        start = end_of_line + size + len(b"\r\n")


def _read_chunks(stream: IO[bytes]) -> Iterator[bytes]:
    """Read the chunks with their framing, and the trailers."""
    while True:
        line = read_line(stream)
        yield line
        size = int(line.split(b";")[0], 16)
        if not size:
            break
        yield _read_exactly(stream, size + len(b"\r\n"))
    while (line := read_line(stream)) not in {b"\r\n", b"\n"}:
        yield line
    yield line


def _read_exactly(stream: IO[bytes], size: int) -> bytes:
    body = stream.read(size)
    if len(body) < size:
        raise EOFError(f"the body ended after {len(body)} of {size} bytes")
    return body
