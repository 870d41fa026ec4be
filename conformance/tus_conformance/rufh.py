"""A client of IETF resumable uploads (draft-ietf-httpbis-resumable-upload).

The interop versions of the draft differ in field names and values; see `Dialect`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from .rules import needs
from .server import Server, Upload
from .wire import Fields, Response, merge_fields

_LIMIT = re.compile(r"([a-z*][a-z0-9_.*-]*)=([0-9]+)")

VERSION = "Upload-Draft-Interop-Version"
APPEND = "application/partial-upload"


@dataclass(frozen=True, slots=True)
class Dialect:
    """An interop version of the draft."""

    version: int

    def complete_field(self, value: bool) -> tuple[str, str]:
        """Return the field that declares whether a request completes the upload."""
        true, false = "?1", "?0"
        if self.version <= 3:
            return "Upload-Incomplete", false if value else true
        return "Upload-Complete", true if value else false

    def is_complete(self, response: Response) -> bool | None:
        """Return whether a response says that the upload is complete; None if it does not say."""
        name, complete = self.complete_field(value=True)
        value = response.get(name)
        return None if value is None else value == complete

    @property
    def version_field(self) -> dict[str, str]:
        """The field with the version."""
        return {VERSION: str(self.version)}


VERSIONS = (3, 5, 6, 8, 9)


def for_versions(*versions: int) -> pytest.MarkDecorator:
    """Run a test for each of these versions that the server speaks."""
    return pytest.mark.parametrize(
        "dialect",
        [
            pytest.param(Dialect(number), marks=needs(f"interop:{number}"), id=f"v{number}")
            for number in versions
        ],
    )


every_version = for_versions(*VERSIONS)
with_limits = for_versions(6, 8, 9)


class Client:
    """A client that speaks one dialect."""

    def __init__(self, server: Server, dialect: Dialect) -> None:
        self.server = server
        self.dialect = dialect

    def fields(self, fields: Fields = ()) -> Fields:
        """Return the version field and `fields`, without Tus-Resumable."""
        return merge_fields(
            {**self.dialect.version_field}, [("Tus-Resumable", None), *merge_fields({}, fields)]
        )

    def creation(self, fields: Fields = (), *, complete: bool) -> Fields:
        """Return the fields of a creation."""
        return self.fields([self.dialect.complete_field(complete), *merge_fields({}, fields)])

    def post(self, body: bytes = b"", fields: Fields = (), *, complete: bool) -> Response:
        """Send POST for a new upload."""
        return self.server.send("POST", None, self.creation(fields, complete=complete), body)

    def create(self, body: bytes = b"", fields: Fields = ()) -> Upload:
        """Create an upload and leave it incomplete."""
        response = self.post(body, fields, complete=False)
        assert response.status == 201, response
        return self.server.upload_at(response["Location"])

    def head(self, upload: Upload, fields: Fields = ()) -> Response:
        """Send HEAD, which must succeed."""
        response = self.server.send("HEAD", upload.url, self.fields(fields))
        assert response.status in {200, 204}, response
        return response

    def offset(self, upload: Upload) -> int:
        """Return the offset."""
        return int(self.head(upload)["Upload-Offset"])

    def append_fields(self, offset: int | str, fields: Fields = (), *, complete: bool) -> Fields:
        """Return the fields of an append."""
        defaults = {"Upload-Offset": str(offset), "Content-Type": APPEND}
        name, value = self.dialect.complete_field(complete)
        return self.fields(merge_fields({**defaults, name: value}, fields))

    def append(
        self,
        upload: Upload,
        body: bytes,
        offset: int | str,
        fields: Fields = (),
        *,
        complete: bool,
        chunks: Iterable[bytes] | None = None,
    ) -> Response:
        """Send PATCH with `body`, or with `chunks` instead, in the chunked transfer coding."""
        sent = self.append_fields(offset, fields, complete=complete)
        whole = None if chunks is not None else body
        return self.server.send("PATCH", upload.url, sent, whole, chunks=chunks)

    def resume(self, upload: Upload, content: bytes) -> None:
        """Complete an upload as a client does after an interruption.

        After a 409 it asks again: the old request may have stored bytes after the HEAD.
        """
        deadline = time.monotonic() + self.server.access.timeout
        while True:
            offset = self.offset(upload)
            response = self.append(upload, content[offset:], offset, complete=True)
            if response.status not in {409, 423} or time.monotonic() > deadline:
                assert_success(response)
                return

    def limits(self) -> dict[str, int]:
        """Return the limits in the response to OPTIONS."""
        response = assert_success(self.server.send("OPTIONS", None, self.fields()))
        return limits_in(response)

    def delete(self, upload: Upload, fields: Fields = ()) -> Response:
        """Send DELETE."""
        return self.server.send("DELETE", upload.url, self.fields(fields))

    def assert_content(self, upload: Upload, content: bytes) -> None:
        """Fail unless the upload is complete and, if it can be read, has this content."""
        head = self.head(upload)
        assert head["Upload-Offset"] == str(len(content)), head
        assert self.dialect.is_complete(head) is True, head
        if self.server.access.can_read:
            assert upload.read() == content

    def assert_incomplete_at(self, upload: Upload, offset: int) -> None:
        """Fail unless the upload is incomplete and has this offset."""
        head = self.head(upload)
        assert head["Upload-Offset"] == str(offset), head
        assert self.dialect.is_complete(head) is False, head


def limits_in(response: Response) -> dict[str, int]:
    """Return the members of Upload-Limit that are integers."""
    return {name: int(value) for name, value in _LIMIT.findall(response.get("Upload-Limit") or "")}


def assert_success(response: Response) -> Response:
    """Fail unless the response is a success; return it."""
    assert 200 <= response.status < 300, response
    return response
