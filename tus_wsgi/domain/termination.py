"""The types of the application's `on_terminate` hook."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tus_wsgi.domain.hooks import Request
from tus_wsgi.domain.model import Metadata, TerminationReason, UploadId


@dataclass(frozen=True, slots=True, kw_only=True)
class GoneUpload:
    """The argument of `OnTerminate`: an upload whose bytes are removed.

    Attributes:
        id: the upload's id. The hook can recognise repeated calls by it.
        owner: the identity that created the upload; None if the creation named none.
        metadata: the metadata of the upload. Do not trust it.
        private: the private values of the plan of `on_create`.
        reason: why the upload was removed.
        length: the length of the file in bytes; None if the client did not declare it.
        is_partial: whether the upload was a partial upload of a concatenation.
        partials: the partial uploads of a final upload; empty for other uploads.
        storage: the former location of the object, as in `FinishedUpload`.
        request: the request that removes the upload; None if the application or
            `tus-wsgi sweep` does.
    """

    id: UploadId
    owner: str | None
    metadata: Metadata
    private: Mapping[str, str]
    reason: TerminationReason
    length: int | None = None
    is_partial: bool = False
    partials: tuple[UploadId, ...] = ()
    storage: Mapping[str, str] = field(default_factory=dict)
    request: Request | None = None


OnTerminate = Callable[[GoneUpload], None]
"""Called at least once for each upload that is removed, after its bytes and before its record.

If the hook raises, the client gets a 503, and the record stays. Then every request but DELETE gets
a 410, and the next DELETE or `tus-wsgi sweep` calls the hook again. So the hook must be idempotent.

The hook is not called for partial uploads that are removed after their concatenation, and not for
uploads whose creation failed.
"""
