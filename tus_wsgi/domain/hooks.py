"""Where the application takes part: callables that run before something becomes true.

Hooks may fail, and their failure counts; observers (`tus_wsgi.domain.events`) are told afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tus_wsgi.domain.model import Metadata, UploadId


@dataclass(frozen=True, slots=True)
class FinishedUpload:
    """An upload whose object is whole.

    Attributes:
        id: its name, and the key to recognise it by when the hook runs again.
        length: bytes.
        metadata: what the client said of the file. Trust none of it.
        storage: where the object is: `{"Type": "s3store", "Bucket": ..., "Key": ...}`.
    """

    id: UploadId
    length: int
    metadata: Metadata
    storage: Mapping[str, str]


OnFinish = Callable[[FinishedUpload], None]
"""Runs at least once for each upload, after its object is whole and before the client is told.

When it raises, the upload is not finished for the client, and it runs again at the next request
for the upload. So make it safe to run twice for one id.

A client whose first request brought the whole file is told where the upload is; but most clients
send the file once more instead, as another upload. The first one is left for `tus-wsgi sweep`,
which runs the hook again.
"""
