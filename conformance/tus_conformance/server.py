"""A tus client: the server under test and the uploads on it.

Seconds are `float`, sizes are bytes. Methods named like an HTTP method send one request and return
any response. The other methods act like a client, and fail where a client would fail.
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
    """Return random-looking bytes that depend only on the arguments."""
    return random.Random(seed).randbytes(size)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The response to OPTIONS.

    Attributes:
        versions: the preferred version first.
        extensions: the names of the extensions.
        algorithms: the names of the checksum algorithms.
        max_size: size of the largest upload; None if there is no Tus-Max-Size.
    """

    versions: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = ()
    max_size: int | None = None


@dataclass(frozen=True, slots=True)
class State:
    """The response to HEAD of an upload."""

    status: int
    offset: str | None
    length: str | None
    deferred: str | None
    metadata: str | None
    concat: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach a server.

    Attributes:
        fields: header fields of every request, such as Authorization.
        timeout: seconds for each send and receive.
        download: where a finished file can be read: a URL or a path with `{id}` in it; None for the
            upload's own URL.
        can_read: whether finished files can be read.
    """

    fields: dict[str, Value] = field(default_factory=dict)
    timeout: float = 10.0
    download: str | None = None
    can_read: bool = False


class Server:
    """A server, identified by its creation URL."""

    def __init__(self, url: str, access: Access) -> None:
        self.url = url
        self.access = access
        self.path = target_of(url)

    def connect(self, url: str | None = None) -> Connection:
        """Open a connection."""
        return Connection(origin_of(url or self.url), timeout=self.access.timeout)

    def fields(self, fields: Fields = (), *, body: bytes | None = None) -> Fields:
        """Return the fields of every request, and `fields`."""
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
            method: the HTTP method.
            url: the URL of the request; by default the creation URL.
            fields: fields in addition to Tus-Resumable; a value of None removes a default field.
            body: the body, which is sent with a Content-Length.
            chunks: the body in chunks, which is sent in the chunked transfer coding.
            trailers: the fields after the chunks.
        """
        url = url or self.url
        sent = self.fields(fields, body=body)
        if chunks is not None:
            sent = merge_fields({"Transfer-Encoding": "chunked"}, sent)
            body = encode_chunks(chunks, trailers)
        with self.connect(url) as connection:
            return connection.request(method, target_of(url), sent, body or b"")

    def options(self, fields: Fields = (), url: str | None = None) -> Response:
        """Send OPTIONS without Tus-Resumable."""
        return self.send("OPTIONS", url, [("Tus-Resumable", None), *merge_fields({}, fields)])

    def capabilities(self) -> Capabilities:
        """Ask the server what it offers.

        Raises:
            AssertionError: OPTIONS failed.
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
        """Send POST for a new upload, with `body` or, in the chunked coding, `chunks`."""
        return self.send("POST", None, fields, None if chunks is not None else body, chunks=chunks)

    def create(
        self, length: int | None = 5, fields: Fields = (), body: bytes | None = b""
    ) -> Upload:
        """Create an upload; `length` None defers the length.

        Raises:
            AssertionError: the server did not create it.
        """
        if length is None:
            declared = {"Upload-Defer-Length": "1"}
        else:
            declared = {"Upload-Length": str(length)}
        return self.upload_from(self.post(merge_fields(dict(declared), fields), body))

    def upload_from(self, response: Response) -> Upload:
        """Return the upload that a 201 response created."""
        assert response.status == 201, f"expected 201, got {response}"
        location = response.get("Location")
        assert location, f"expected a Location in {response}"
        return self.upload_at(location)

    def upload_at(self, location: str) -> Upload:
        """Return the upload at a Location, which may be relative."""
        return Upload(self, urljoin(self.url, location))

    def upload(self, content: bytes, fields: Fields = ()) -> Upload:
        """Create and complete an upload."""
        upload = self.create(len(content), fields)
        if content:
            upload.append(content)
        return upload

    def assert_works(self) -> None:
        """Fail unless a plain upload succeeds, to show that a previous request did no harm."""
        content = some_bytes(40)
        self.upload(content).assert_content(content)

    def unknown_url(self) -> str:
        """Return a URL without an upload, in the same form as those of existing uploads."""
        url = self.create(1).url
        head, _, id = url.rpartition("/")
        swapped = "".join(_swap(character) for character in id)
        return f"{head}/{swapped}"


class Upload:
    """An upload on a server."""

    def __init__(self, server: Server, url: str) -> None:
        self.server = server
        self.url = url
        self.target = target_of(url)

    @property
    def id(self) -> str:
        """The last segment of the URL."""
        return urlsplit(self.url).path.rpartition("/")[2]

    def on(self, server: Server) -> Upload:
        """Return the same upload on another server."""
        other = urlsplit(server.url)
        return Upload(server, urlsplit(self.url)._replace(netloc=other.netloc).geturl())

    # -- requests --------------------------------------------------------------------------------

    def connect(self) -> Connection:
        """Open a connection to the upload's origin."""
        return self.server.connect(self.url)

    def head(self, fields: Fields = ()) -> Response:
        """Send HEAD."""
        return self.server.send("HEAD", self.url, fields)

    def patch_fields(self, offset: int | str, fields: Fields = ()) -> Fields:
        """Return the fields of a PATCH."""
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
        """Send a complete PATCH with `data` or, in the chunked coding, `chunks` and `trailers`."""
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
        """Send the head of a PATCH and its first bytes; chunked if `content_length` is None."""
        if content_length is None:
            framing = {"Transfer-Encoding": "chunked"}
        else:
            framing = {"Content-Length": str(content_length)}
        fields = self.server.fields(self.patch_fields(offset, dict(framing)))
        connection.begin("PATCH", self.target, fields)
        if content_length is None and data:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        connection.send(data)
        connection.wait_until_delivered()

    def delete(self, fields: Fields = ()) -> Response:
        """Send DELETE."""
        return self.server.send("DELETE", self.url, fields)

    # -- client behaviour ------------------------------------------------------------------------

    def state(self) -> State:
        """Return everything that HEAD returns."""
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
        """Return the offset. Repeat HEAD while the upload is locked (423), as clients do."""
        deadline = time.monotonic() + self.server.access.timeout
        while True:
            head = self.head()
            if head.status in {200, 204}:
                return int(head["Upload-Offset"])
            assert head.status == 423, f"expected an offset, got {head}"
            assert time.monotonic() < deadline, f"the upload stays locked: {head}"
            time.sleep(0.2)

    def append(self, data: bytes, offset: int = 0, fields: Fields = ()) -> int:
        """Send data that the server must accept, and return the new offset."""
        response = self.patch(data, offset, fields)
        assert response.status == 204, f"expected 204, got {response}"
        assert response.get("Upload-Offset") == str(offset + len(data)), response
        return offset + len(data)

    def resume(self, content: bytes) -> None:
        """Send the rest of `content` as a client does after an interruption: HEAD, then PATCH.

        Raises:
            AssertionError: the upload did not complete in time, or the offset decreased.
        """
        deadline = time.monotonic() + 2 * self.server.access.timeout
        known = 0
        while True:
            offset = self.offset()
            assert known <= offset <= len(content), f"the offset changed from {known} to {offset}"
            known = offset
            if offset == len(content):
                return
            try:
                response = self.patch(content[offset:], offset)
            except (NoResponse, ConnectionResetError):
                continue
            retried = response.status in {409, 423} or response.status >= 500
            assert response.status == 204 or retried, response
            assert time.monotonic() < deadline, f"the upload cannot be resumed: {response}"
            if retried:
                time.sleep(0.2)

    def assert_content(self, content: bytes) -> None:
        """Fail unless the upload is complete and, if it can be read, has this content."""
        head = self.head()
        assert head["Upload-Offset"] == head["Upload-Length"] == str(len(content)), head
        if self.server.access.can_read:
            read = self.read()
            assert len(read) == len(content), f"expected {len(content)} bytes, got {len(read)}"
            assert read == content, (
                f"the content differs at byte {_first_difference(read, content)}"
            )

    def read(self) -> bytes:
        """Read the finished file."""
        template = self.server.access.download
        if template is not None and "://" not in template:
            return Path(template.format(id=unquote(self.id))).read_bytes()
        url = template.format(id=self.id) if template else self.url
        response = self.server.send("GET", url)
        assert response.status == 200, f"expected the file, got {response}"
        return response.body

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Fail if the block changes anything that HEAD returns."""
        before = self.state()
        yield
        after = self.state()
        assert after == before, f"expected {before}, got {after}"

    def assert_gone(self) -> None:
        """Fail unless HEAD and PATCH respond that the upload does not exist."""
        head = self.head()
        assert head.status in {403, 404, 410}, f"expected 404 or 410, got {head}"
        assert "Upload-Offset" not in head, head
        assert self.patch(b"", 0).status in {403, 404, 410}


def assert_refused(response: Response) -> None:
    """Fail unless the response is a client error."""
    assert 400 <= response.status < 500, f"expected a 4xx, got {response}"


def parse_list(text: str | None) -> tuple[str, ...]:
    """Return the items of a comma-separated list."""
    return tuple(item.strip(" \t") for item in (text or "").split(",") if item.strip(" \t"))


def as_base64(value: bytes | str) -> str:
    """Encode a value in base64."""
    return b64encode(value.encode() if isinstance(value, str) else value).decode()


def origin_of(url: str) -> Origin:
    """Return the origin of a URL."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    assert parts.hostname, f"expected a URL, got {url!r}"
    return Origin(parts.hostname, parts.port or (443 if tls else 80), tls)


def target_of(url: str) -> str:
    """Return the request target of a URL: its path and query."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _swap(character: str) -> str:
    """Return another character of the same kind: digit, hexadecimal digit or letter."""
    if character in "0123456789":
        return str(9 - int(character))
    kinds = ("abcdef", "ghijklmnopqrstuvwxyz", "ABCDEF", "GHIJKLMNOPQRSTUVWXYZ")
    for kind in kinds:
        if character in kind:
            return kind[len(kind) - 1 - kind.index(character)]
    return character


def _first_difference(one: bytes, two: bytes) -> int:
    return next(index for index, (a, b) in enumerate(zip(one, two, strict=True)) if a != b)
