"""A bucket in memory that honours conditions, for tests of many writes in any order."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import IO, Any

from tus_wsgi.domain.errors import LockLost, StoreUnavailable
from tus_wsgi.spool.payload import Payload
from tus_wsgi.stores.s3.bucket import Bucket, Condition, ObjectFacts, ObjectStream
from tus_wsgi.stores.s3.errors import NotFound


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object. Its ETag is the MD5 of its content, as on S3."""

    content: bytes
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.content, usedforsecurity=False).hexdigest()}"'


class MemoryBucket(Bucket):
    """The calls that tails need.

    Attributes:
        objects: the objects by their keys.
        calls: the operations and keys, in order.
        late: writes without a response, which S3 has yet to carry out.
        delays_next: whether the next write is late.
    """

    def __init__(self) -> None:
        self.objects: dict[str, StoredObject] = {}
        self.calls: list[str] = []
        self.late: list[partial[str]] = []
        self.delays_next = False

    def find(self, key: str, *, is_likely: bool = False) -> ObjectFacts | None:
        self.calls.append(f"GET {key}")
        stored = self.objects.get(key)
        if stored is None:
            return None
        modified = datetime(2026, 1, 1, tzinfo=UTC)
        return ObjectFacts(len(stored.content), stored.etag, modified, dict(stored.metadata))

    def read(self, key: str, start: int, stop: int, *, etag: str, chunk_size: int) -> ObjectStream:
        self.calls.append(f"READ {key}")
        stored = self.objects.get(key)
        if stored is None or stored.etag != etag:
            raise NotFound
        return ObjectStream(io.BytesIO(stored.content[start:stop]), chunk_size)

    def put(
        self,
        key: str,
        payload: Payload,
        *,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        condition: Condition | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> str:
        self.calls.append(f"PUT {key}")
        stored = StoredObject(_content(payload), metadata or {})
        write = partial(self._write, key, stored, condition)
        if self.delays_next:
            self.delays_next = False
            self.late.append(write)
            raise StoreUnavailable("PutObject")
        return write()

    def delete(self, key: str) -> None:
        self.calls.append(f"DELETE {key}")
        self.objects.pop(key, None)

    def _write(self, key: str, stored: StoredObject, condition: Condition | None) -> str:
        current = self.objects.get(key)
        if condition is not None and condition.etag != (current and current.etag):
            raise LockLost("another request has written to this upload")
        self.objects[key] = stored
        return stored.etag


def _content(payload: Payload) -> bytes:
    content: bytes | bytearray | IO[bytes] = payload.content
    if not isinstance(content, bytes | bytearray):
        content.seek(0)
        content = content.read()
    assert len(content) == payload.size
    return bytes(content)
