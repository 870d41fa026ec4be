"""A minimal client of HTTP/2 without TLS ("prior knowledge"): one request at a time."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset

from tests.harness.clients.http import Response
from tests.harness.sockets import HOST


class Http2Connection:
    """One connection. A context manager that closes the connection.

    Args:
        port: where the server listens.
        timeout: seconds that any send or receive may take.
    """

    def __init__(self, port: int, *, timeout: float = 15.0) -> None:
        self.socket = socket.create_connection((HOST, port), timeout)
        self._authority = f"{HOST}:{port}"
        self._state = H2Connection(H2Configuration(header_encoding="ascii"))
        self._state.initiate_connection()
        self._flush()

    def request(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str] | None = None,
        data: Sequence[bytes] = (),
        *,
        ends: bool = True,
    ) -> int:
        """Send a request without a Content-Length, and return the id of its stream.

        Args:
            method: the method.
            path: the target.
            fields: header fields.
            data: the payloads of the DATA frames. Together they fit the first window.
            ends: whether the last frame ends the stream. Otherwise the body stays incomplete.
        """
        pseudo = {":method": method, ":scheme": "http", ":authority": self._authority}
        named = {name.lower(): value for name, value in (fields or {}).items()}
        stream = self._state.get_next_available_stream_id()
        header = list({**pseudo, ":path": path, **named}.items())
        self._state.send_headers(stream, header, end_stream=ends and not data)
        for index, payload in enumerate(data):
            is_last = index == len(data) - 1
            self._state.send_data(stream, payload, end_stream=ends and is_last)
        self._flush()
        return stream

    def reset(self, stream: int) -> None:
        """Abort a request."""
        self._state.reset_stream(stream)
        self._flush()

    def read_response(self, stream: int) -> Response:
        """Read the response to a request.

        Raises:
            EOFError: the server closed the connection or reset the stream.
            OSError: the connection broke, or nothing arrived in time.
        """
        fields: dict[str, str] = {}
        body = b""
        while data := self.socket.recv(64 * 1024):
            for event in self._state.receive_data(data):
                match event:
                    case ResponseReceived(stream_id=id) if id == stream:
                        fields = {str(name): str(value) for name, value in event.headers}
                    case DataReceived(stream_id=id) if id == stream:
                        body += event.data
                    case StreamReset(stream_id=id) if id == stream:
                        raise EOFError("the server reset the stream")
                    case StreamEnded(stream_id=id) if id == stream:
                        return Response(int(fields.pop(":status")), fields, body)
            self._flush()
        raise EOFError("the server closed the connection")

    def _flush(self) -> None:
        self.socket.sendall(self._state.data_to_send())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()
