"""The state of an upload at one moment, for hooks outside of the process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tus_wsgi.domain.hooks import Request
from tus_wsgi.domain.model import Final, Metadata, Partial, UploadId, UploadInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadSnapshot:
    """The state of an upload at one moment.

    Attributes:
        id: the upload's id.
        length: the length of the file in bytes; None while it is unknown.
        offset: bytes that the store has confirmed; 0 if it was not asked.
        is_full: whether every byte is stored and no more may follow.
        metadata: the metadata of the upload. Do not trust it.
        is_partial: whether the upload is a partial upload of a concatenation.
        partials: the partial uploads of a final upload; empty for other uploads.
        storage: the location of the object; empty if it is unknown.
        request: the request that the snapshot is for; None if there is none.
    """

    id: UploadId
    length: int | None
    offset: int = 0
    is_full: bool = False
    metadata: Metadata = field(default_factory=Metadata)
    is_partial: bool = False
    partials: tuple[UploadId, ...] = ()
    storage: Mapping[str, str] = field(default_factory=dict)
    request: Request | None = None

    @classmethod
    def of(
        cls, info: UploadInfo, storage: Mapping[str, str], request: Request | None
    ) -> UploadSnapshot:
        """Return the snapshot of an upload whose info and storage are known."""
        return cls(
            id=info.id,
            length=info.length,
            offset=info.offset,
            is_full=info.is_full,
            metadata=info.metadata,
            is_partial=isinstance(info.concat, Partial),
            partials=partials_of(info),
            storage=storage,
            request=request,
        )


def partials_of(info: UploadInfo) -> tuple[UploadId, ...]:
    """Return the partial uploads of a final upload; empty for other uploads."""
    return info.concat.partials if isinstance(info.concat, Final) else ()


OnCreated = Callable[[UploadSnapshot], None]
"""Called after a request has created an upload. It must not raise."""

BeforeTerminate = Callable[[UploadSnapshot], None]
"""Called when a client asks for the removal of an upload, before its lock is requested.

Raises:
    Denied: the removal is refused.
"""
