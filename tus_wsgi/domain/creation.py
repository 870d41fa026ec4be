"""The types of the application's `on_create` hook."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tus_wsgi.domain.descriptions import content_type_of, filename_of
from tus_wsgi.domain.hooks import Request
from tus_wsgi.domain.model import Metadata, UploadId
from tus_wsgi.domain.plan import ObjectOptions


@dataclass(frozen=True, slots=True)
class NewUpload:
    """The argument of `OnCreate`: an upload that a client asks for. Nothing is stored yet.

    The facts have the same form for every protocol.

    Attributes:
        id: the id that the upload will have. A key has to contain it.
        length: the length of the file in bytes; None for a final upload, and if the client declares
            the length later.
        metadata: the metadata that the client sent. Do not trust it.
        owner: the identity of the client, from `authorize`; None if it is anonymous.
        is_partial: whether the upload is a partial upload of a concatenation.
        partials: the partial uploads of a final upload; empty for other uploads.
        request: the request of the creation.
    """

    id: UploadId
    length: int | None
    metadata: Metadata
    owner: str | None
    is_partial: bool
    partials: tuple[UploadId, ...]
    request: Request

    @property
    def filename(self) -> str | None:
        """The file name, as a browser would save it: without separators and control characters.

        None if the client sent none.
        """
        return filename_of(self.metadata)

    @property
    def content_type(self) -> str | None:
        """The media type in lower case, without parameters. None if the client sent no valid one.

        The client declares it, so it proves nothing about the bytes.
        """
        return content_type_of(self.metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPlan:
    """The result of `OnCreate`: the application's decisions about the new upload.

    Attributes:
        metadata: replaces the client's metadata, also in responses; None keeps it.
        private: the application's own values for its later hooks. Clients never see them.
        max_size: bytes of the largest file, in addition to `TUS_MAX_SIZE`; None for no other limit.
            It also limits lengths that are declared later, and final uploads.
        lifetime: seconds after which the unfinished upload expires; 0 for never, None for
            `TUS_EXPIRES`.
        key: the key of the object, below `TUS_S3_OBJECT_PREFIX`. It has to contain the id. None for
            `TUS_S3_OBJECT_KEY`.
        object: the headers and properties of the object.
        fields: fields of the response to the creation.
    """

    metadata: Metadata | Mapping[str, str] | None = None
    private: Mapping[str, str] = field(default_factory=dict)
    max_size: int | None = None
    lifetime: float | None = None
    key: str | None = None
    object: ObjectOptions = field(default_factory=ObjectOptions)
    fields: Mapping[str, str] = field(default_factory=dict)


OnCreate = Callable[[NewUpload], UploadPlan | None]
"""Decides about a new upload, after `authorize` and before anything is stored.

None accepts the upload as it is. The plan is stored with the upload. After the hook has returned,
the creation may still fail, for example because the store fails or the client has disconnected.

Raises:
    Denied: the upload is refused.
"""
