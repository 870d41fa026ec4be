"""The types of the application's hooks.

A hook is part of the request: if it raises, the request fails. An observer
(`tus_wsgi.domain.events`) is called after the fact: if it raises, the exception is only logged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tus_wsgi.domain.model import Metadata, UploadId


@dataclass(frozen=True, slots=True)
class FinishedUpload:
    """The argument of `OnFinish`: an upload whose object is complete.

    Attributes:
        id: the upload's id. The hook can recognise repeated calls by it.
        length: the length of the file in bytes.
        metadata: the metadata that the client sent. Do not trust it.
        storage: the location of the object: `{"Type": "s3store", "Bucket": ..., "Key": ...}`.
    """

    id: UploadId
    length: int
    metadata: Metadata
    storage: Mapping[str, str]


OnFinish = Callable[[FinishedUpload], None]
"""Called at least once for each upload, after its object is complete and before the client learns
that the upload is finished.

If the hook raises, the upload stays unfinished, and the next request for the upload calls the hook
again. So the hook must be idempotent: it may be called twice with the same id.

If the request that creates the upload also sends the whole file, the error response contains the
upload's URL. Most clients ignore the URL and send the file again as another upload.
`tus-wsgi sweep` finishes the first upload, and calls the hook for it again.
"""
