"""A tus 1.0.0 client for single requests, with a connection for each request.

`clients.uploader` sends whole files, and resumes after failures.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from tests.harness.clients.http import Connection, Response

VERSION = {"Tus-Resumable": "1.0.0"}
STREAM = {"Content-Type": "application/offset+octet-stream"}


def patch_fields(offset: int, **more: str) -> dict[str, str]:
    """Return the fields of a PATCH; the names in `more` have underscores instead of hyphens."""
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return {**VERSION, **STREAM, "Upload-Offset": str(offset), **named}


class TusClient:
    """A client of one server.

    Args:
        port: where the server listens.
        base: the path at which uploads are created.
        tls: the certificates to trust, if the server speaks TLS.
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
        """Send a request over a new connection, and return the response."""
        with Connection(self.port, tls=self.tls) as connection:
            connection.request(method, target, {**VERSION, **(fields or {})}, body)
            return connection.read_response()

    def create(self, length: int | None, fields: Mapping[str, str] | None = None) -> str:
        """Create an upload and return its path. With a `length` of None, the length is deferred."""
        if length is None:
            declared = {"Upload-Defer-Length": "1"}
        else:
            declared = {"Upload-Length": str(length)}
        response = self.request("POST", self.base, {**declared, **(fields or {})})
        assert response.status == 201, response
        return urlsplit(response["Location"]).path

    def head(self, path: str) -> Response:
        return self.request("HEAD", path)

    def offset(self, path: str) -> int:
        """Return the offset that HEAD states."""
        response = self.head(path)
        assert response.status == 200, response
        return int(response["Upload-Offset"])

    def delete(self, path: str) -> Response:
        return self.request("DELETE", path)

    def patch(self, path: str, offset: int, body: bytes) -> Response:
        return self.request("PATCH", path, patch_fields(offset), body)

    def append(self, path: str, offset: int, body: bytes) -> None:
        """Append bytes; the request has to succeed."""
        response = self.patch(path, offset, body)
        assert response.status == 204, response
        assert response["Upload-Offset"] == str(offset + len(body))

    def upload(self, body: bytes) -> str:
        """Upload a whole file with two requests; return its path."""
        path = self.create(len(body))
        if body:
            self.append(path, 0, body)
        return path
