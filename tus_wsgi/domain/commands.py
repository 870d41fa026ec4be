"""What a request asks for and what came of it, in no protocol's words.

| command       | tus 1.0.0                | parsed in       | carried out by                      |
|---------------|--------------------------|-----------------|-------------------------------------|
| `Discover`    | OPTIONS                  | `protocol.tus1` | `service.UploadService.execute`     |
| `Inspect`     | HEAD                     | `protocol.tus1` | `service.UploadService.inspect`     |
| `Create`      | POST                     | `protocol.tus1` | `service.UploadService.create`      |
| `Concatenate` | POST                     | `protocol.tus1` | `service.UploadService.concatenate` |
| `Append`      | PATCH                    | `protocol.tus1` | `service.UploadService.append`      |
| `Terminate`   | DELETE                   | `protocol.tus1` | `service.UploadService.terminate`   |
| `Download`    | GET (of every protocol)  | `protocol.tus1` | `service.UploadService.download`    |

Both unions at the end are closed: match on them with `assert_never`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from tus_wsgi.domain.checksums import Checksum
from tus_wsgi.domain.model import Extension, Final, Metadata, UploadId, UploadInfo


@dataclass(frozen=True, slots=True)
class Verification:
    """What the body's checksum has to be. No byte of the body counts before it is found right.

    Attributes:
        announced: what was said in front of the body; None if nothing was.
        trailing: makes what was said behind it out of the trailer fields, by lower-case names;
            None if nothing was. It raises `MalformedField`.
    """

    announced: Checksum | None
    trailing: Callable[[Mapping[str, str]], Checksum | None]

    def checksums(self, trailers: Mapping[str, str]) -> list[Checksum]:
        """All that was said, once the body is here.

        Raises:
            MalformedField: what was said behind it cannot be read, or is missing.
        """
        said = (self.announced, self.trailing(trailers))
        return [checksum for checksum in said if checksum is not None]


@dataclass(frozen=True, slots=True)
class Discover:
    """What can this server do?"""


@dataclass(frozen=True, slots=True)
class Inspect:
    """How far is the upload?"""

    id: UploadId


@dataclass(frozen=True, slots=True)
class Create:
    """Begin an upload, perhaps with its first bytes.

    Attributes:
        length: bytes of the whole file; None when the client will say later.
        metadata: what the client says of the file.
        has_data: whether the request's body is the beginning of the file.
        is_open: the upload does not end at its length but when the client says so.
        completes: it says so now: with this request's last byte the upload is complete.
        verification: what the body is checked against first; None for nothing.
        is_partial: it is there to be joined with others.
    """

    length: int | None
    metadata: Metadata
    has_data: bool
    is_open: bool = False
    completes: bool = False
    verification: Verification | None = None
    is_partial: bool = False


@dataclass(frozen=True, slots=True)
class Concatenate:
    """Make an upload of others.

    Attributes:
        final: which ones.
        metadata: what the client says of the whole file. Nothing is taken over from the others.
    """

    final: Final
    metadata: Metadata


@dataclass(frozen=True, slots=True)
class Append:
    """Put the request's body at the end of the upload.

    Attributes:
        id: the upload.
        offset: where the client believes that the end is.
        length: bytes of the whole file where this request says so; None where it does not.
        completes: with this request's last byte the upload is complete, if it is an open one.
        ends_at_length: with its last byte an upload is complete, even an open one.
        overrun_is_fatal: a body that is longer than what is missing makes an end of the upload.
        verification: what the body is checked against first; None for nothing.
    """

    id: UploadId
    offset: int
    length: int | None = None
    completes: bool = False
    ends_at_length: bool = True
    overrun_is_fatal: bool = False
    verification: Verification | None = None


@dataclass(frozen=True, slots=True)
class Terminate:
    """Forget the upload and free what it holds."""

    id: UploadId


@dataclass(frozen=True, slots=True)
class Download:
    """Send the finished file, or some of it.

    Attributes:
        id: the upload.
        or_inspect: while it is unfinished, say how far it is instead; and never lead elsewhere.
    """

    id: UploadId
    or_inspect: bool = False


Command = Discover | Inspect | Create | Concatenate | Append | Terminate | Download


class Content(Protocol):
    """The bytes of a finished upload."""

    @property
    def length(self) -> int:
        """Bytes in all."""

    @property
    def etag(self) -> str:
        """The validator, without quotes."""

    @property
    def modified(self) -> datetime:
        """When the object was made, in UTC."""

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` up to and without `stop`, in pieces of bounded size.

        Raises:
            StoreUnavailable: before the first piece, when the store does not answer.
        """

    def presigned_url(self, lifetime: float, *, type: str, disposition: str) -> str | None:
        """A URL of the store's own where anybody may read the bytes; None where it has none.

        Args:
            lifetime: seconds for which it holds.
            type: the Content-Type that the store answers with.
            disposition: its Content-Disposition.

        Raises:
            StoreUnavailable: it cannot be made.
        """


UrlPresigner = Callable[[UploadInfo, Content], str | None]
"""The URL where a finished upload is read from the store itself; None to send it from here."""


@dataclass(frozen=True, slots=True)
class Discovered:
    """What this server can do. `max_size` is in bytes, per upload."""

    max_size: int
    extensions: tuple[Extension, ...]


@dataclass(frozen=True, slots=True)
class Inspected:
    """How far the upload is."""

    info: UploadInfo


@dataclass(frozen=True, slots=True)
class Created:
    """The upload that was begun. `has_data` tells whether the request brought its first bytes."""

    info: UploadInfo
    has_data: bool


@dataclass(frozen=True, slots=True)
class Appended:
    """How far the upload is now."""

    info: UploadInfo


@dataclass(frozen=True, slots=True)
class Terminated:
    """The upload is gone."""


@dataclass(frozen=True, slots=True)
class Downloadable:
    """The finished upload and its bytes, none of which have been read.

    Attributes:
        info: the upload.
        content: its bytes.
        link: where the client is to read them from the store itself; None to send them from here.
    """

    info: UploadInfo
    content: Content
    presigned_url: str | None = None


Outcome = Discovered | Inspected | Created | Appended | Terminated | Downloadable
