"""The server under test: what it offers, and uploads on it.

Seconds are `float`, sizes bytes. Methods that begin with a verb of HTTP send one request and
return whatever comes back; the others are what a client does, and fail where a client would.
"""

from __future__ import annotations

import random
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from .wire import (
    Connection,
    Fields,
    NoResponse,
    Origin,
    Response,
    Value,
    encode_chunks,
    merge_fields,
)

VERSION = "1.0.0"
STREAM = "application/offset+octet-stream"

KIB = 1024
MIB = 1024 * KIB


def some_bytes(size: int, *, seed: int = 0) -> bytes:
    """Bytes that look random, and are the same each time."""
    return random.Random(seed).randbytes(size)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What OPTIONS says.

    Attributes:
        versions: the best one first.
        extensions: by their names.
        algorithms: of checksums.
        max_size: bytes of the largest upload; None when it is not said.
    """

    versions: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = ()
    max_size: int | None = None


@dataclass(frozen=True, slots=True)
class State:
    """All that HEAD says of an upload."""

    status: int
    offset: str | None
    length: str | None
    deferred: str | None
    metadata: str | None
    concat: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to talk to a server.

    Attributes:
        fields: sent with every request, for servers that ask who is there.
        timeout: seconds that any one send or receive may take.
        download: where a finished file can be read, if not at the upload's own URL: a URL or a
            path with `{id}` in it; None for the upload's URL.
        reads: whether files can be read at all.
    """

    fields: dict[str, Value] = field(default_factory=dict)
    timeout: float = 10.0
    download: str | None = None
    can_read: bool = False


class Server:
    """A server, by the URL at which uploads are created."""

    def __init__(self, url: str, access: Access) -> None:
        self.url = url
        self.access = access
        self.path = target_of(url)

    def connect(self, url: str | None = None) -> Connection:
        """A new connection."""
        return Connection(origin_of(url or self.url), timeout=self.access.timeout)

    def fields(self, fields: Fields = (), *, body: bytes | None = None) -> Fields:
        """Those that every request has, and `fields`."""
        defaults: dict[str, Value] = {"Tus-Resumable": VERSION, **self.access.fields}
        if body is not None:
            defaults["Content-Length"] = str(len(body))
        return merge_fields(defaults, fields)

    def send(
        self,
        method: str,
        url: str | None = None,
        fields: Fields = (),
        body: bytes | None = None,
        *,
        chunks: Iterable[bytes] | None = None,
        trailers: Fields = (),
    ) -> Response:
        """Send one request over a new connection.

        Args:
            method: of HTTP.
            url: the server's own when it is left out.
            fields: beside Tus-Resumable; with None as a value a default is left out.
            body: with a Content-Length.
            chunks: the body instead, in the chunked transfer coding.
            trailers: fields behind the chunks.
        """
        url = url or self.url
        sent = self.fields(fields, body=body)
        if chunks is not None:
            sent = merge_fields({"Transfer-Encoding": "chunked"}, sent)
            body = encode_chunks(chunks, trailers)
        with self.connect(url) as connection:
            return connection.request(method, target_of(url), sent, body or b"")

    def options(self, fields: Fields = (), url: str | None = None) -> Response:
        """OPTIONS, without a version."""
        return self.send("OPTIONS", url, [("Tus-Resumable", None), *merge_fields({}, fields)])

    def capabilities(self) -> Capabilities:
        """What OPTIONS says.

        Raises:
            AssertionError: it says nothing of tus.
        """
        response = self.options()
        assert response.status in {200, 204}, response
        size = response.get("Tus-Max-Size")
        return Capabilities(
            versions=parse_list(response.get("Tus-Version")),
            extensions=parse_list(response.get("Tus-Extension")),
            algorithms=parse_list(response.get("Tus-Checksum-Algorithm")),
            max_size=int(size) if size and size.isdecimal() else None,
        )

    def post(
        self,
        fields: Fields = (),
        body: bytes | None = b"",
        *,
        chunks: Iterable[bytes] | None = None,
    ) -> Response:
        """POST for a new upload."""
        return self.send("POST", None, fields, None if chunks is not None else body, chunks=chunks)

    def create(
        self, length: int | None = 5, fields: Fields = (), body: bytes | None = b""
    ) -> Upload:
        """A new upload; its length is deferred for None.

        Raises:
            AssertionError: there is none.
        """
        said = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
        return self.upload_from(self.post(merge_fields(dict(said), fields), body))

    def upload_from(self, response: Response) -> Upload:
        """The upload that a response is about."""
        assert response.status == 201, f"expected 201, got {response}"
        location = response.get("Location")
        assert location, f"there is no Location in {response}"
        return self.upload_at(location)

    def upload_at(self, location: str) -> Upload:
        """The upload that a Location names; it may be relative."""
        return Upload(self, urljoin(self.url, location))

    def upload(self, content: bytes, fields: Fields = ()) -> Upload:
        """A finished upload."""
        upload = self.create(len(content), fields)
        if content:
            upload.append(content)
        return upload

    def assert_works(self) -> None:
        """Fail unless a plain upload goes through: whatever came before did no harm."""
        content = some_bytes(40)
        self.upload(content).assert_content(content)

    def unknown_url(self) -> str:
        """The URL of an upload that never was, of the same shape as those that were."""
        url = self.create(1).url
        head, _, id = url.rpartition("/")
        swapped = "".join(_other(character) for character in id)
        return f"{head}/{swapped}"


class Upload:
    """An upload on a server."""

    def __init__(self, server: Server, url: str) -> None:
        self.server = server
        self.url = url
        self.target = target_of(url)

    @property
    def id(self) -> str:
        """The last part of its URL."""
        return urlsplit(self.url).path.rpartition("/")[2]

    def on(self, server: Server) -> Upload:
        """The same upload, as another server has it."""
        other = urlsplit(server.url)
        return Upload(server, urlsplit(self.url)._replace(netloc=other.netloc).geturl())

    # -- requests --------------------------------------------------------------------------------

    def connect(self) -> Connection:
        """A new connection to where it is."""
        return self.server.connect(self.url)

    def head(self, fields: Fields = ()) -> Response:
        """HEAD."""
        return self.server.send("HEAD", self.url, fields)

    def patch_fields(self, offset: int | str, fields: Fields = ()) -> Fields:
        """The fields of a PATCH."""
        defaults: dict[str, Value] = {"Upload-Offset": str(offset), "Content-Type": STREAM}
        return merge_fields(defaults, fields)

    def patch(
        self,
        data: bytes = b"",
        offset: int | str = 0,
        fields: Fields = (),
        *,
        chunks: Iterable[bytes] | None = None,
        trailers: Fields = (),
    ) -> Response:
        """PATCH, whole."""
        return self.server.send(
            "PATCH",
            self.url,
            self.patch_fields(offset, fields),
            None if chunks is not None else data,
            chunks=chunks,
            trailers=trailers,
        )

    def begin_patch(
        self, connection: Connection, data: bytes, offset: int, *, content_length: int | None
    ) -> None:
        """The head of a PATCH and its first bytes; in chunks for None."""
        framing = (
            {"Transfer-Encoding": "chunked"}
            if content_length is None
            else {"Content-Length": str(content_length)}
        )
        fields = self.server.fields(self.patch_fields(offset, dict(framing)))
        connection.begin("PATCH", self.target, fields)
        if content_length is None and data:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        connection.send(data)
        connection.wait_until_delivered()

    def delete(self, fields: Fields = ()) -> Response:
        """DELETE."""
        return self.server.send("DELETE", self.url, fields)

    # -- what a client does ----------------------------------------------------------------------

    def state(self) -> State:
        """All that HEAD says."""
        head = self.head()
        return State(
            head.status,
            head.get("Upload-Offset"),
            head.get("Upload-Length"),
            head.get("Upload-Defer-Length"),
            head.get("Upload-Metadata"),
            head.get("Upload-Concat"),
        )

    def offset(self) -> int:
        """How far it is. While somebody holds it (423) we ask again, as clients do."""
        deadline = time.monotonic() + self.server.access.timeout
        while True:
            head = self.head()
            if head.status in {200, 204}:
                return int(head["Upload-Offset"])
            assert head.status == 423, f"expected an offset, got {head}"
            assert time.monotonic() < deadline, f"nobody lets go: {head}"
            time.sleep(0.2)

    def append(self, data: bytes, offset: int = 0, fields: Fields = ()) -> int:
        """Send data, all of which must be taken; the new offset."""
        response = self.patch(data, offset, fields)
        assert response.status == 204, f"expected 204, got {response}"
        assert response.get("Upload-Offset") == str(offset + len(data)), response
        return offset + len(data)

    def resume(self, content: bytes) -> None:
        """Send what is missing of `content`, as a client does that was cut off: HEAD, then PATCH.

        Raises:
            AssertionError: it did not arrive in time, or the offset fell.
        """
        deadline = time.monotonic() + 2 * self.server.access.timeout
        known = 0
        while True:
            offset = self.offset()
            assert known <= offset <= len(content), f"the offset was {known}, and is {offset}"
            known = offset
            if offset == len(content):
                return
            try:
                response = self.patch(content[offset:], offset)
            except (NoResponse, ConnectionResetError):
                continue
            retried = response.status in {409, 423} or response.status >= 500
            assert response.status == 204 or retried, response
            assert time.monotonic() < deadline, f"it never goes on: {response}"
            if retried:
                time.sleep(0.2)

    def assert_content(self, content: bytes) -> None:
        """Fail unless the upload is complete and its content is this (where it can be read)."""
        head = self.head()
        assert head["Upload-Offset"] == head["Upload-Length"] == str(len(content)), head
        if self.server.access.can_read:
            read = self.read()
            assert len(read) == len(content), f"expected {len(content)} bytes, got {len(read)}"
            assert read == content, f"other bytes from {_first_difference(read, content)} on"

    def read(self) -> bytes:
        """The content of the finished file."""
        template = self.server.access.download
        if template is not None and "://" not in template:
            return Path(template.format(id=unquote(self.id))).read_bytes()
        url = template.format(id=self.id) if template else self.url
        response = self.server.send("GET", url)
        assert response.status == 200, f"the file cannot be read: {response}"
        return response.body

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Fail if what happens meanwhile changes anything that HEAD says."""
        before = self.state()
        yield
        after = self.state()
        assert after == before, f"it was {before}, and is {after}"

    def assert_gone(self) -> None:
        """Fail unless the upload is gone, for HEAD and for PATCH."""
        head = self.head()
        assert head.status in {403, 404, 410}, f"expected 404 or 410, got {head}"
        assert "Upload-Offset" not in head, head
        assert self.patch(b"", 0).status in {403, 404, 410}


def assert_refused(response: Response) -> None:
    """Fail unless a response says that the request was at fault."""
    assert 400 <= response.status < 500, f"expected a 4xx, got {response}"


def parse_list(text: str | None) -> tuple[str, ...]:
    """The items of a list."""
    return tuple(item.strip(" \t") for item in (text or "").split(",") if item.strip(" \t"))


def as_base64(value: bytes | str) -> str:
    """A value in base64."""
    return b64encode(value.encode() if isinstance(value, str) else value).decode()


def origin_of(url: str) -> Origin:
    """Where the server of a URL listens."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    assert parts.hostname, f"expected a URL, got {url!r}"
    return Origin(parts.hostname, parts.port or (443 if tls else 80), tls)


def target_of(url: str) -> str:
    """What a request's first line says of a URL."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _other(character: str) -> str:
    """Another letter or digit of the same kind, hexadecimal where it may be."""
    if character in "0123456789":
        return str(9 - int(character))
    kinds = ("abcdef", "ghijklmnopqrstuvwxyz", "ABCDEF", "GHIJKLMNOPQRSTUVWXYZ")
    for kind in kinds:
        if character in kind:
            return kind[len(kind) - 1 - kind.index(character)]
    return character


def _first_difference(one: bytes, two: bytes) -> int:
    return next(at for at, (a, b) in enumerate(zip(one, two, strict=True)) if a != b)
