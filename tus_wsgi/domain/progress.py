"""The types of the application's `on_progress` hook."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tus_wsgi.domain.errors import Denied
from tus_wsgi.domain.hooks import Request
from tus_wsgi.domain.model import Metadata, UploadId


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The argument of `OnProgress`: how far a request has come.

    Attributes:
        id: the upload's id.
        owner: the identity that created the upload; None if the creation named none.
        offset: bytes that the store has confirmed. It may lag behind the bytes that have arrived.
        length: the length of the file in bytes; None while it is unknown.
        seconds: the time since the request began to send bytes.
        private: the private values of the plan of `on_create`.
        request: the request.
        metadata: the metadata of the upload. Do not trust it.
        is_partial: whether the upload is a partial upload of a concatenation.
        storage: the location of the object, as in `FinishedUpload`.
    """

    id: UploadId
    owner: str | None
    offset: int
    length: int | None
    seconds: float
    private: Mapping[str, str]
    request: Request
    metadata: Metadata = field(default_factory=Metadata)
    is_partial: bool = False
    storage: Mapping[str, str] = field(default_factory=dict)


class Stop(Denied):
    """The application ends the upload. `on_progress` raises it.

    The body ends, the upload is removed as by DELETE, and the client gets the status, the sentence
    and the fields. See `Denied` for the arguments.
    """


OnProgress = Callable[[Progress], None]
"""Called while a request sends bytes: at most once in `TUS_PROGRESS_HOOKS_INTERVAL`, and once at
the end of the bytes, before the upload is finished. The request waits for it.

Raises:
    Stop: the upload is removed. Any other exception is logged and ignored.
"""
