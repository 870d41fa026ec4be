"""Commands, which are parsed requests, and their outcomes. Both are independent of the protocol.

| command       | tus 1.0.0                | parsed in       | carried out by                      |
|---------------|--------------------------|-----------------|-------------------------------------|
| `Discover`    | OPTIONS                  | `protocol.tus1` | `service.UploadService.execute`     |
| `Inspect`     | HEAD                     | `protocol.tus1` | `service.UploadService.inspect`     |
| `Create`      | POST                     | `protocol.tus1` | `service.UploadService.create`      |
| `Concatenate` | POST                     | `protocol.tus1` | `service.UploadService.concatenate` |
| `Append`      | PATCH                    | `protocol.tus1` | `service.UploadService.append`      |
| `Terminate`   | DELETE                   | `protocol.tus1` | `service.UploadService.terminate`   |
| `Download`    | GET                      | `protocol.tus1` | `service.UploadService.download`    |

The unions `Command` and `Outcome` are closed: end a `match` on them with `assert_never`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from tus_wsgi.domain.checksums import Checksum
from tus_wsgi.domain.model import Extension, Final, Metadata, UploadId, UploadInfo


@dataclass(frozen=True, slots=True)
class Verification:
    """The checksums that a client sends with a body. The body is verified before it is stored.

    Attributes:
        header_checksum: the checksum in the header; None if there is none.
        parse_trailer: returns the checksum in the trailer fields, which have lower-case names; None
            if there is none. Raises `MalformedField`.
    """

    header_checksum: Checksum | None
    parse_trailer: Callable[[Mapping[str, str]], Checksum | None]

    def checksums(self, trailers: Mapping[str, str]) -> list[Checksum]:
        """Return all checksums, after the body and its trailer fields were received.

        Raises:
            MalformedField: the checksum in the trailer is malformed, or missing.
        """
        candidates = (self.header_checksum, self.parse_trailer(trailers))
        return [checksum for checksum in candidates if checksum is not None]


@dataclass(frozen=True, slots=True)
class Discover:
    """Return the capabilities of the server."""


@dataclass(frozen=True, slots=True)
class Inspect:
    """Return the upload's offset."""

    id: UploadId


@dataclass(frozen=True, slots=True)
class Create:
    """Create an upload, possibly with its first bytes.

    Attributes:
        length: the length of the whole file; None if the client declares it later.
        metadata: the metadata that the client sent.
        has_data: whether the request's body is the beginning of the file.
        is_open: see `UploadInfo.is_open`.
        completes: whether the upload is complete after this request's body.
        verification: the checksums of the body; None if there are none.
        is_partial: whether the upload is a partial upload of a concatenation.
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
    """Create a final upload, which concatenates partial uploads.

    Attributes:
        final: the partial uploads.
        metadata: the metadata of the whole file. The metadata of the partial uploads is ignored.
    """

    final: Final
    metadata: Metadata


@dataclass(frozen=True, slots=True)
class Append:
    """Append the request's body to the upload.

    Attributes:
        id: the upload.
        offset: the offset that the client assumes. It must be the upload's offset.
        length: the length of the whole file; None if the request does not declare it.
        completes: whether an open upload is complete after this request's body.
        ends_at_length: whether even an open upload is complete when its length is reached.
        overrun_is_fatal: whether a body that exceeds the upload's length terminates the upload.
        verification: the checksums of the body; None if there are none.
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
    """Remove the upload and everything that belongs to it."""

    id: UploadId


@dataclass(frozen=True, slots=True)
class Download:
    """Return the finished file.

    Attributes:
        id: the upload.
        or_inspect: whether to return the offset of an unfinished upload instead of an error.
        may_redirect: whether the client may be sent to a presigned URL.
    """

    id: UploadId
    or_inspect: bool = False
    may_redirect: bool = True


Command = Discover | Inspect | Create | Concatenate | Append | Terminate | Download


class Content(Protocol):
    """The bytes of a finished upload."""

    @property
    def length(self) -> int:
        """The length in bytes."""

    @property
    def etag(self) -> str:
        """The ETag, without quotes."""

    @property
    def modified(self) -> datetime:
        """The time when the object was made, in UTC."""

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """Return the bytes from `start` to `stop`, exclusive, in chunks of bounded size.

        Raises:
            StoreUnavailable: before the first chunk, if the store does not answer.
        """

    def presigned_url(self, lifetime: float, *, type: str, disposition: str) -> str | None:
        """Return a URL of the store that returns the bytes without further authorization.

        Args:
            lifetime: seconds after which the URL expires.
            type: the Content-Type of the store's response.
            disposition: the Content-Disposition of the store's response.

        Returns:
            the URL; None if the store does not support it.

        Raises:
            StoreUnavailable: the URL could not be signed.
        """


UrlPresigner = Callable[[UploadInfo, Content], str | None]
"""Returns the presigned URL of a download; None to send the file from this server."""


@dataclass(frozen=True, slots=True)
class Discovered:
    """The capabilities of the server: the size of the largest upload, and the extensions."""

    max_size: int
    extensions: tuple[Extension, ...]


@dataclass(frozen=True, slots=True)
class Inspected:
    """The upload's info, with its offset."""

    info: UploadInfo


@dataclass(frozen=True, slots=True)
class Created:
    """The new upload.

    Attributes:
        info: the upload.
        has_data: see `Create.has_data`.
        fields: fields of the response that the application has chosen.
    """

    info: UploadInfo
    has_data: bool
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Appended:
    """The upload's info, with its new offset."""

    info: UploadInfo


@dataclass(frozen=True, slots=True)
class Terminated:
    """The upload was removed."""


@dataclass(frozen=True, slots=True)
class Downloadable:
    """A finished upload and its bytes. No byte has been read yet.

    Attributes:
        info: the upload.
        content: the bytes.
        presigned_url: the URL to redirect the client to; None to send the bytes from this server.
    """

    info: UploadInfo
    content: Content
    presigned_url: str | None = None


Outcome = Discovered | Inspected | Created | Appended | Terminated | Downloadable
