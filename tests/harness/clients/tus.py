"""tus 1.0.0 as a client speaks it, one connection for each request."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from tests.harness.clients.http import Connection, Response

VERSION = {"Tus-Resumable": "1.0.0"}
STREAM = {"Content-Type": "application/offset+octet-stream"}


def patch_fields(offset: int, **more: str) -> dict[str, str]:
    """The fields of a PATCH; `more` has underscores where the names have hyphens."""
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return {**VERSION, **STREAM, "Upload-Offset": str(offset), **named}


class TusClient:
    """The uploads of one server.

    Args:
        port: where it listens.
        base: their path.
        tls: whom to trust, where the server speaks TLS.
    """

    def __init__(
        self, port: int, *, base: str = "/files", tls: ssl.SSLContext | None = None
    ) -> None:
        self.port = port
        self.base = base
        self.tls = tls

    def request(
        self,
        method: str,
        target: str,
        fields: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Response:
        """Send one request over a new connection, and read the response."""
        with Connection(self.port, tls=self.tls) as connection:
            connection.request(method, target, {**VERSION, **(fields or {})}, body)
            return connection.read_response()

    def create(self, length: int | None, fields: Mapping[str, str] | None = None) -> str:
        """Begin an upload, of unknown length for None; returns its path."""
        said = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
        response = self.request("POST", self.base, {**said, **(fields or {})})
        assert response.status == 201, response
        return urlsplit(response["Location"]).path

    def head(self, path: str) -> Response:
        return self.request("HEAD", path)

    def offset(self, path: str) -> int:
        """How far the server says it is."""
        response = self.head(path)
        assert response.status == 200, response
        return int(response["Upload-Offset"])

    def delete(self, path: str) -> Response:
        return self.request("DELETE", path)

    def patch(self, path: str, offset: int, body: bytes) -> Response:
        return self.request("PATCH", path, patch_fields(offset), body)

    def append(self, path: str, offset: int, body: bytes) -> None:
        """Append bytes, which must succeed."""
        response = self.patch(path, offset, body)
        assert response.status == 204, response
        assert response["Upload-Offset"] == str(offset + len(body))

    def upload(self, body: bytes) -> str:
        """Upload a whole file with two requests; returns its path."""
        path = self.create(len(body))
        if body:
            self.append(path, 0, body)
        return path
