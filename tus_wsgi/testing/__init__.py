"""Test the uploads of an application without S3 and without a server.

from tus_wsgi.testing import UploadClient, uploads_in_memory

with uploads_in_memory():
    client = UploadClient(create_app())
    client.post("/login", data={"name": "ada"})
    uploaded = client.upload(b"hello", filename="hello.txt")
    assert client.get(uploaded.url).data == b"hello"
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

from werkzeug.test import Client, TestResponse

from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.stores.memory import MemoryStore

_TYPE = "application/offset+octet-stream"


@contextmanager
def uploads_in_memory() -> Iterator[MemoryStore]:
    """Let each middleware that is created in this block store its uploads in memory.

    The settings are those of the application; `TUS_S3_BUCKET` may be missing. The integrations with
    frameworks create the middleware with the first request.
    """
    store, locker = MemoryStore(), MemoryLocker(timeout=5)
    with (
        mock.patch("tus_wsgi.app.make_store", return_value=store),
        mock.patch("tus_wsgi.app.make_locker", return_value=locker),
        mock.patch.dict(os.environ),
    ):
        os.environ.setdefault("TUS_S3_BUCKET", "uploads-in-memory")
        yield store


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The result of `UploadClient.upload`.

    Attributes:
        response: the response to the PATCH, or to the POST if the creation was refused.
        url: the URL of the upload; empty if the creation was refused.
    """

    response: TestResponse
    url: str = ""


class UploadClient(Client):
    """A client of werkzeug, with cookies, that also uploads files as tus clients do."""

    def upload(
        self,
        data: bytes,
        *,
        filename: str = "",
        path: str = "/files",
        metadata: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Uploaded:
        """Upload a file: a POST that creates the upload, and a PATCH that sends the bytes.

        Args:
            data: the content of the file.
            filename: the name of the file in the metadata.
            path: the value of `TUS_BASE_PATH`.
            metadata: further metadata.
            headers: further header fields of both requests.
        """
        fields = {"Tus-Resumable": "1.0.0", **(headers or {})}
        pairs = {"filename": filename} if filename else {}
        pairs |= metadata or {}
        creation = {"Upload-Length": str(len(data)), "Upload-Metadata": _build_metadata(pairs)}
        created = self.post(path, headers={**fields, **creation})
        if created.status_code != 201:
            return Uploaded(created)
        url = created.headers["Location"]
        append = {"Upload-Offset": "0", "Content-Type": _TYPE}
        return Uploaded(self.patch(url, headers={**fields, **append}, data=data), url)


def _build_metadata(pairs: Mapping[str, str]) -> str:
    return ",".join(f"{key} {b64encode(text.encode()).decode()}" for key, text in pairs.items())
