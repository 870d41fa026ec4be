"""A client of the IETF's resumable uploads (draft-ietf-httpbis-resumable-upload).

Those that were deployed differ in names and numbers; `Dialect` knows how.
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
    """One interop version."""

    version: int

    def complete_field(self, value: bool) -> tuple[str, str]:
        """The field that says whether this request completes the upload."""
        if self.version <= 3:
            return "Upload-Incomplete", "?0" if value else "?1"
        return "Upload-Complete", "?1" if value else "?0"

    def is_complete(self, response: Response) -> bool | None:
        """What a response says of that; None for nothing."""
        said = response.get(self.complete_field(value=True)[0])
        return None if said is None else said == self.complete_field(value=True)[1]

    @property
    def version_field(self) -> dict[str, str]:
        """The field that names the version."""
        return {VERSION: str(self.version)}

    @property
    def has_limits(self) -> bool:
        """Whether there are Upload-Length and Upload-Limit."""
        return self.version >= 6


VERSIONS = (3, 5, 6, 8, 9)


def for_versions(*versions: int) -> pytest.MarkDecorator:
    """Run a test once for each of these versions that the server speaks."""
    return pytest.mark.parametrize(
        "dialect",
        [pytest.param(Dialect(at), marks=needs(f"interop:{at}"), id=f"v{at}") for at in versions],
    )


every_version = for_versions(*VERSIONS)
with_limits = for_versions(6, 8, 9)


class Client:
    """Speaks a dialect to a server."""

    def __init__(self, server: Server, dialect: Dialect) -> None:
        self.server = server
        self.dialect = dialect

    def fields(self, fields: Fields = ()) -> Fields:
        """The version, and `fields`; nothing of tus."""
        return merge_fields(
            {**self.dialect.version_field}, [("Tus-Resumable", None), *merge_fields({}, fields)]
        )

    def creation(self, fields: Fields = (), *, complete: bool) -> Fields:
        """The fields of a creation."""
        return self.fields([self.dialect.complete_field(complete), *merge_fields({}, fields)])

    def post(self, body: bytes = b"", fields: Fields = (), *, complete: bool) -> Response:
        """Create an upload."""
        return self.server.send("POST", None, self.creation(fields, complete=complete), body)

    def create(self, body: bytes = b"", fields: Fields = ()) -> Upload:
        """A new upload that is not complete."""
        response = self.post(body, fields, complete=False)
        assert response.status == 201, response
        return self.server.upload_at(response["Location"])

    def head(self, upload: Upload, fields: Fields = ()) -> Response:
        """HEAD, which has to succeed."""
        response = self.server.send("HEAD", upload.url, self.fields(fields))
        assert response.status in {200, 204}, response
        return response

    def offset(self, upload: Upload) -> int:
        """How far it is."""
        return int(self.head(upload)["Upload-Offset"])

    def append_fields(self, offset: int | str, fields: Fields = (), *, complete: bool) -> Fields:
        """The fields of an append."""
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
        """PATCH."""
        sent = self.append_fields(offset, fields, complete=complete)
        whole = None if chunks is not None else body
        return self.server.send("PATCH", upload.url, sent, whole, chunks=chunks)

    def resume(self, upload: Upload, content: bytes) -> None:
        """Complete an upload as a client does that was cut off.

        A 409 is no failure: the old request may have been slower than HEAD.
        """
        deadline = time.monotonic() + self.server.access.timeout
        while True:
            offset = self.offset(upload)
            response = self.append(upload, content[offset:], offset, complete=True)
            if response.status not in {409, 423} or time.monotonic() > deadline:
                assert_success(response)
                return

    def limits(self) -> dict[str, int]:
        """What OPTIONS says of limits, by their names."""
        response = assert_success(self.server.send("OPTIONS", None, self.fields()))
        return limits_in(response)

    def delete(self, upload: Upload, fields: Fields = ()) -> Response:
        """DELETE."""
        return self.server.send("DELETE", upload.url, self.fields(fields))

    def assert_content(self, upload: Upload, content: bytes) -> None:
        """Fail unless the upload is complete and its content is this."""
        head = self.head(upload)
        assert head["Upload-Offset"] == str(len(content)), head
        assert self.dialect.is_complete(head) is True, head
        if self.server.access.can_read:
            assert upload.read() == content

    def assert_incomplete_at(self, upload: Upload, offset: int) -> None:
        """Fail unless the upload is there, and not complete."""
        head = self.head(upload)
        assert head["Upload-Offset"] == str(offset), head
        assert self.dialect.is_complete(head) is False, head


def limits_in(response: Response) -> dict[str, int]:
    """The members of Upload-Limit that are integers."""
    return {name: int(value) for name, value in _LIMIT.findall(response.get("Upload-Limit") or "")}


def assert_success(response: Response) -> Response:
    """The response, which has to be a success."""
    assert 200 <= response.status < 300, response
    return response
