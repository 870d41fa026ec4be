"""The types of the application's hooks.

A hook is part of the request: if it raises, the request fails. An observer
(`tus_wsgi.domain.events`) is called after the fact: if it raises, the exception is only logged.

A hook refuses a request with `tus_wsgi.domain.errors.Denied`. Any other exception is a fault of the
application: the client gets a 503 (423 after a HEAD) and may retry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import BinaryIO, Protocol

from tus_wsgi.domain.answer import Answer
from tus_wsgi.domain.checksums import Checksum
from tus_wsgi.domain.descriptions import content_type_of, filename_of
from tus_wsgi.domain.model import Metadata, UploadId


@dataclass(frozen=True, slots=True)
class Request:
    """The request that a hook is called for, without its body.

    Attributes:
        method: the method, after X-HTTP-Method-Override was applied.
        path: the path of the URL, decoded as WSGI does it. It contains the upload's id, which is a
            secret.
        fields: the header fields, by lower-case names. The values of a repeated field are joined by
            ",".
        remote: the address of the client; behind a proxy, the address of the proxy.
        environ: a copy of the WSGI environ that frameworks can use for their own requests, sessions
            and logins. Its body is empty, its method is `method`, and it does not contain the
            server's socket.
    """

    method: str
    path: str
    fields: Mapping[str, str]
    remote: str
    environ: Mapping[str, object]


class Action(StrEnum):
    """What a client asks to do with an upload."""

    CREATE = "create"
    """Create an upload."""
    INSPECT = "inspect"
    """Get the upload's offset."""
    APPEND = "append"
    """Append bytes to the upload."""
    TERMINATE = "terminate"
    """Delete the upload, finished or not."""
    DOWNLOAD = "download"
    """Read the finished file."""
    JOIN = "join"
    """Use the partial upload in a new final upload, which then contains its bytes."""


@dataclass(frozen=True, slots=True)
class UploadFacts:
    """The properties of an upload that were fixed when it was created.

    Attributes:
        id: the upload's id.
        length: the length of the file in bytes; None if the client declared it later or not yet.
        metadata: the metadata that the client sent, in the same form for every protocol. Do not
            trust it.
        owner: the identity that created the upload; None if the creation named none.
        created: the time of the creation; None if another server created the upload.
    """

    id: UploadId
    length: int | None
    metadata: Metadata
    owner: str | None
    created: datetime | None


@dataclass(frozen=True, slots=True)
class Access:
    """The argument of `Authorize`: an action that a client asks for.

    Attributes:
        action: the action.
        request: the request.
        upload: the upload; None for `Action.CREATE`. If the upload does not exist, only its id is
            known. The client then gets a 404, or the hook's refusal.
    """

    action: Action
    request: Request
    upload: UploadFacts | None


Authorize = Callable[[Access], str | None]
"""Decides whether a request may do what it asks for, and returns the identity of the client: text
of at most 256 bytes in UTF-8, or None if the client is anonymous.

Called for every request except OPTIONS, before the upload's lock is requested and before the body
is read. The identity that creates an upload is recorded as its owner.

Raises:
    Denied: the request is refused.
"""

MAX_OWNER = 256
"""Bytes of an owner in UTF-8."""


class FileAccess(Protocol):
    """Gives access to the bytes of a finished upload."""

    def open(self) -> BinaryIO:
        """See `FinishedUpload.open`."""

    def link(self, lifetime: float) -> str | None:
        """See `FinishedUpload.link`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """The properties that the store reports about a complete object.

    Attributes:
        etag: the ETag, without quotes.
        version: the id of the version; None if the bucket keeps no versions.
        checksum: the CRC-32 of the whole object; None if it is unknown.
    """

    etag: str
    version: str | None = None
    checksum: Checksum | None = None


@dataclass(frozen=True, slots=True)
class FinishedUpload:
    """The argument of `OnFinish`: an upload whose object is complete.

    Attributes:
        id: the upload's id. The hook can recognise repeated calls by it.
        length: the length of the file in bytes.
        metadata: the metadata that the client sent, or that the plan of `on_create` contains. Do
            not trust it.
        storage: the location of the object: `{"Type": "s3store", "Bucket": ..., "Key": ...}`.
        owner: the identity that created the upload; None if the creation named none.
        private: the private values of the plan of `on_create`.
        created: the time of the creation; None if another server created the upload.
        stored: the ETag, the version and the CRC-32 of the object.
        request: the request that finishes the upload; None if `tus-wsgi sweep` finishes it.
        access: reads the file for `open` and `link`.
        partials: the partial uploads of a final upload; empty for other uploads.
    """

    id: UploadId
    length: int
    metadata: Metadata
    storage: Mapping[str, str]
    owner: str | None = None
    private: Mapping[str, str] = field(default_factory=dict)
    created: datetime | None = None
    stored: StoredObject = StoredObject(etag="")
    request: Request | None = None
    access: FileAccess | None = field(default=None, repr=False, compare=False)
    partials: tuple[UploadId, ...] = ()

    @property
    def filename(self) -> str | None:
        """The file name, as a browser would save it. None if there is none."""
        return filename_of(self.metadata)

    @property
    def content_type(self) -> str | None:
        """The media type that the client declared, in lower case and without parameters.

        None if the client declared no valid type. The type proves nothing about the bytes.
        """
        return content_type_of(self.metadata)

    @property
    def etag(self) -> str:
        """The ETag of the object, without quotes."""
        return self.stored.etag

    @property
    def version(self) -> str | None:
        """The id of the object's version; None if the bucket keeps no versions."""
        return self.stored.version

    @property
    def checksum(self) -> Checksum | None:
        """The CRC-32 of the whole file; None if the service does not report it."""
        return self.stored.checksum

    def open(self) -> BinaryIO:
        """Return the file as a seekable stream of bytes. Close it after use."""
        assert self.access is not None
        return self.access.open()

    def link(self, lifetime: float) -> str | None:
        """Return a URL from which every client can read the file for `lifetime` seconds.

        None if the store does not support such URLs.
        """
        assert self.access is not None
        return self.access.link(lifetime)


OnFinish = Callable[[FinishedUpload], Answer | None]
"""Called at least once for each upload, after its object is complete and before the client learns
that the upload is finished. The answer, if any, is part of the response.

If the hook raises, the upload stays unfinished, and the next request for the upload calls the hook
again. So the hook must be idempotent: it may be called twice with the same id.

If the hook raises during a request that creates the upload and sends the whole file, the error
response contains the upload's URL. Most clients ignore it and send the file as another upload.
`tus-wsgi sweep` finishes the first upload, and calls the hook for it again.
"""
