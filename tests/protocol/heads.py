"""Helpers that create request heads and dialects, and read replies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from tus_wsgi.domain.commands import Content
from tus_wsgi.domain.model import Extension, UploadId
from tus_wsgi.protocol.http import Reply, RequestHead
from tus_wsgi.protocol.tus1.dialect import Tus1

ID = UploadId("Q1Hf2sVtT0m3bYwXyZ_-09")

OCTETS = "application/offset+octet-stream"

ALL_EXTENSIONS = tuple(Extension)

MODIFIED = datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC)


class Fields(Mapping[str, str]):
    """Header fields whose names ignore case."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = {name.lower(): value for name, value in fields.items()}

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._fields


@dataclass(frozen=True)
class Bytes:
    """The content of a finished upload, in memory."""

    data: bytes = b"0123456789"
    etag: str = "abc-2"
    modified: datetime = MODIFIED

    @property
    def length(self) -> int:
        return len(self.data)

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        yield self.data[start:stop]

    def presigned_url(self, lifetime: float, *, type: str, disposition: str) -> None:
        pass


CONTENT: Content = Bytes()


def plain(
    method: str,
    target: str | None = None,
    fields: Mapping[str, str] | None = None,
    *,
    has_body: bool = False,
) -> RequestHead:
    """A request that names no version of tus."""
    return RequestHead(method, target, Fields(fields or {}), has_body)


def tus(
    method: str,
    target: str | None = None,
    fields: Mapping[str, str] | None = None,
    *,
    has_body: bool = False,
) -> RequestHead:
    """A request of tus 1.0.0. `fields` may name another version."""
    return plain(method, target, {"Tus-Resumable": "1.0.0", **(fields or {})}, has_body=has_body)


def post(fields: Mapping[str, str] | None = None, *, has_body: bool = False) -> RequestHead:
    """A POST to the base path that creates an upload of 10 bytes."""
    return tus("POST", None, {"Upload-Length": "10", **(fields or {})}, has_body=has_body)


def patch(fields: Mapping[str, str] | None = None, *, target: str = ID) -> RequestHead:
    """A PATCH at offset 0."""
    defaults = {"Upload-Offset": "0", "Content-Type": OCTETS, **(fields or {})}
    return tus("PATCH", target, defaults, has_body=True)


def without(head: RequestHead, *names: str) -> RequestHead:
    """Return `head` without the named fields."""
    removed = {name.lower() for name in names}
    kept = {name: value for name, value in head.fields.items() if name not in removed}
    return plain(head.method, head.target, kept, has_body=head.has_body)


def tus1(
    *,
    extensions: tuple[Extension, ...] = ALL_EXTENSIONS,
    max_size: int = 1000,
    downloads: bool = True,
) -> Tus1:
    """The dialect; by default with all extensions."""
    return Tus1(extensions=extensions, max_size=max_size, downloads=downloads)


def value_of(reply: Reply, name: str) -> str | None:
    """Return the value of a field of `reply`, and check that it is not repeated."""
    values = [value for key, value in reply.fields if key.lower() == name.lower()]
    assert len(values) <= 1, f"{name} occurs {len(values)} times"
    return values[0] if values else None
