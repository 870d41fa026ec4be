"""Send a request over an open connection and read its response, without urllib3.

urllib3 and http.client take three quarters of the time of a small call, mostly for header objects
that are made for e-mails. Here a request is sent at once, and a success that has arrived as a whole
is parsed in one step. http.client reads every other response.
"""

from __future__ import annotations

import errno
import http.client
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from urllib3 import HTTPHeaderDict

from tus_wsgi.domain.model import KIB, MIB

MAX_COPIED_BODY = 128 * KIB
"""Bytes of the largest body that is copied behind the head, to send both at once. The copy takes
less time than a second system call, which would wake the receiver a second time."""

SEND_STEP = 4 * MIB
"""Bytes to send at once. OpenSSL sends all of them before it returns, so over TLS they have to be
sent within the timeout. Without TLS, progress of a single byte is enough."""

_MAX_HEAD = 64 * KIB
"""Bytes to receive at once."""

_FOLD = re.compile(r"[ \t]*\r?\n[ \t]+")

_SUCCESS = re.compile(rb"HTTP/1\.1 20[04] [^\r\n]*(?:\r\n[A-Za-z0-9_-]+:[^\r\n]*)*")
"""The head of a success without anything unusual, such as a field in several lines."""

_UNSENDABLE = frozenset({errno.EPIPE, errno.ECONNRESET})
"""Errors of a service that has closed the connection, perhaps after an early response."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response.

    Attributes:
        status: the status.
        headers: the header fields, by case-insensitive names, or by names in lower case.
        content: the body.
        is_last: whether the connection cannot be used again.
    """

    status: int
    headers: Any
    content: bytes
    is_last: bool = False


def build_head(
    method: str, target: str, host: str, headers: Mapping[str, str], size: int | None
) -> bytes | None:
    """Return the head of a request as urllib3 sends it; None if a field is invalid.

    Args:
        method: the HTTP method.
        target: the quoted path and query.
        host: the host that the request names.
        headers: more header fields.
        size: bytes of the body; None if the request has no body.
    """
    length = [] if size is None else [f"Content-Length: {size}"]
    lines = [
        f"{method} {target} HTTP/1.1",
        f"Host: {host}",
        "Accept-Encoding: identity",
        *length,
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    text = "\r\n".join(lines)
    breaks = len(lines) - 1
    # A value must not break out of its line.
    has_more_breaks = text.count("\n") != breaks or text.count("\r") != breaks
    if has_more_breaks or not text.isascii():
        return None
    return f"{text}\r\n\r\n".encode("ascii")


def send(sock: Any, head: bytes, body: bytearray) -> None:
    """Send a request. The socket's timeout limits the time without progress.

    Raises:
        OSError: the connection failed.
    """
    try:
        if len(body) <= MAX_COPIED_BODY:
            sock.sendall(head + body)
        else:
            sock.sendall(head)
            _send_in_steps(sock, body)
    except OSError as error:
        # Like urllib3, read the response: it may say why the service has closed the connection.
        if error.errno not in _UNSENDABLE:
            raise


def _send_in_steps(sock: Any, body: bytearray) -> None:
    """Send a body. `sendall` would apply the timeout to the whole body.

    Raises:
        OSError: the connection failed.
    """
    with memoryview(body) as view:
        sent = 0
        while sent < len(view):
            sent += sock.send(view[sent : sent + SEND_STEP])


def receive(sock: Any, method: str) -> Response:
    """Receive a response.

    Raises:
        OSError, HTTPException: the connection failed, or the response is invalid.
    """
    data = sock.recv(_MAX_HEAD)
    success = parse_success(data, method)
    if success is not None:
        return success
    # http.client uses nothing of a socket but this method.
    reader: Any = _Reader(data, sock)
    response = http.client.HTTPResponse(reader, method=method)
    response.begin()
    content = response.read()
    fields = [(name, _FOLD.sub(" ", value)) for name, value in response.headers.items()]
    headers = HTTPHeaderDict(fields)
    return Response(response.status, headers, content, response.will_close)


def parse_success(data: bytes, method: str) -> Response | None:
    """Return a response 200 or 204 that has arrived as a whole.

    None for every other response, and for a response that is incomplete or unusual.

    Args:
        data: what has arrived.
        method: the method of the request. A response to a HEAD has no body.
    """
    head, end, content = data.partition(b"\r\n\r\n")
    if not end or _SUCCESS.fullmatch(head) is None:
        return None
    fields: dict[str, str] = {}
    lines = head.decode("latin-1").split("\r\n")[1:]
    for line in lines:
        name, _, value = line.partition(":")
        fields[name.lower()] = value.strip(" \t")
    status = int(head[9:12])  # behind `HTTP/1.1 `
    has_repeated_field = len(fields) < len(lines)
    is_kept = fields.get("connection", "keep-alive").lower() == "keep-alive"
    length = fields.get("content-length")
    if method == "HEAD":
        is_whole = not content
    elif status == 204:  # no body, and usually no length (RFC 9110, section 15.3.5)
        is_whole = not content and length in {None, "0"}
    else:
        is_whole = length == str(len(content))
    if has_repeated_field or "transfer-encoding" in fields or not is_kept or not is_whole:
        return None
    return Response(status, fields, content)


class _Reader(io.RawIOBase):
    """A connection of which some bytes were received already."""

    def __init__(self, data: bytes, sock: Any) -> None:
        self._data = data
        self._socket = sock

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._data:
            return int(self._socket.recv_into(buffer))
        count = min(len(buffer), len(self._data))
        buffer[:count] = self._data[:count]
        self._data = self._data[count:]
        return count
