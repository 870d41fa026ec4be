"""Store uploads in the memory of this process, for tests. To learn how stores work, start here.

Uploads are lost when the process ends, and memory use is unbounded: do not use it in production.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from tus_wsgi.domain.answer import Answer, Rejection
from tus_wsgi.domain.checksums import Algorithm, Checksum
from tus_wsgi.domain.crc import crc32
from tus_wsgi.domain.errors import InvalidPartial, UploadIncomplete, UploadNotFound, UploadTooLarge
from tus_wsgi.domain.hooks import StoredObject
from tus_wsgi.domain.interfaces import AssertHeld, Body
from tus_wsgi.domain.model import (
    KIB,
    MIB,
    Final,
    Partial,
    State,
    TerminationReason,
    UploadId,
    UploadInfo,
)

CHUNK_SIZE = 64 * KIB


@dataclass(slots=True)
class _StoredUpload:
    info: UploadInfo
    content: bytearray = field(default_factory=bytearray)


class MemoryStore:
    """A store in a dictionary. It implements `tus_wsgi.domain.interfaces.Store`.

    Args:
        max_size: the maximum size of an upload in bytes.
    """

    def __init__(self, max_size: int = 64 * MIB) -> None:
        self._max_size = max_size
        self._uploads: dict[UploadId, _StoredUpload] = {}

    @property
    def max_size(self) -> int:
        """The maximum size of an upload in bytes."""
        return self._max_size

    def create(self, info: UploadInfo, *, record_now: bool) -> MemoryUpload:
        """Create an upload. A final upload without `record_now` can be opened after `assemble`.

        Raises:
            UploadTooLarge: the length exceeds `max_size`.
        """
        if info.length is not None and info.length > self._max_size:
            raise UploadTooLarge(self._max_size, info.length)
        stored = _StoredUpload(info)
        if record_now or not isinstance(info.concat, Final):
            self._uploads[info.id] = stored
        return self._upload(stored)

    def open(self, id: UploadId) -> MemoryUpload:
        """Return the upload with this id.

        Raises:
            UploadNotFound: no upload has this id.
        """
        if id not in self._uploads:
            raise UploadNotFound
        return self._upload(self._uploads[id])

    def terminate(self, id: UploadId, assert_held: AssertHeld) -> None:
        """Delete the upload.

        Raises:
            UploadNotFound: no upload has this id.
            LockLost: another request holds the lock.
        """
        self.open(id).terminate(assert_held)

    def discard(self, ids: Iterable[UploadId]) -> None:
        """Delete uploads."""
        for id in ids:
            self._uploads.pop(id, None)

    def _upload(self, stored: _StoredUpload) -> MemoryUpload:
        kind = MemoryFinalUpload if isinstance(stored.info.concat, Final) else MemoryUpload
        return kind(self._uploads, stored)


class MemoryUpload:
    """An upload in a dictionary. It implements `tus_wsgi.domain.interfaces.Upload`."""

    def __init__(self, uploads: dict[UploadId, _StoredUpload], stored: _StoredUpload) -> None:
        self._uploads = uploads
        self._stored = stored
        self._has_made_object = False

    @property
    def info(self) -> UploadInfo:
        """The upload's info."""
        return replace(self._stored.info, offset=len(self._stored.content))

    @property
    def storage(self) -> Mapping[str, str]:
        """The type of the store."""
        return {"Type": "memory"}

    def load_offset(self, assert_held: AssertHeld | None = None) -> None:
        """Do nothing: the offset is always known."""

    def declare_length(
        self, length: int, assert_held: AssertHeld, *, is_open: bool = False
    ) -> None:
        """Record the length."""
        assert_held()
        self._stored.info = replace(self._stored.info, length=length, is_open=is_open)

    def extend_expiry(self, expires: datetime, assert_held: AssertHeld) -> None:
        """Record when the upload expires."""
        assert_held()
        self._stored.info = replace(self._stored.info, expires=expires)

    def append(
        self,
        body: Body,
        assert_held: AssertHeld,
        on_stored: Callable[[int], None] | None = None,
    ) -> None:
        """Append the body to the stored bytes."""
        buffer = bytearray(CHUNK_SIZE)
        while count := body.readinto(memoryview(buffer)):
            assert_held()
            self._stored.content += buffer[:count]
            if on_stored is not None:
                on_stored(len(self._stored.content))

    def assemble(self, assert_held: AssertHeld) -> bool:
        """Mark the content as the complete object."""
        assert_held()
        if self._stored.info.state is State.RECEIVING:
            self._stored.info = replace(self._stored.info, state=State.FINISHING)
            self._has_made_object = True
        return self._has_made_object

    def finish(
        self,
        assert_held: AssertHeld,
        *,
        may_defer: bool,  # noqa: ARG002 - writing costs nothing here
        answer: Answer | None = None,
    ) -> None:
        """Record that the upload is finished."""
        assert_held()
        self._stored.info = replace(self._stored.info, state=State.FINISHED, answer=answer)

    def reject(self, rejection: Rejection, assert_held: AssertHeld) -> None:
        """Record that the application rejects the file."""
        assert_held()
        info = replace(self._stored.info, state=State.REJECTED, rejection=rejection)
        self._stored.info = info

    def remove_rejected(self, assert_held: AssertHeld) -> None:
        """Delete the bytes, unless the application keeps them."""
        assert_held()
        rejection = self._stored.info.rejection
        if rejection is not None and not rejection.keep:
            self._stored.content.clear()

    @property
    def stored_object(self) -> StoredObject:
        """The ETag and the CRC-32 of the content."""
        content = bytes(self._stored.content)
        checksum = Checksum(Algorithm.CRC32, crc32(content).to_bytes(4))
        return StoredObject(etag=MemoryContent(content).etag, checksum=checksum)

    @property
    def is_cacheable(self) -> bool:
        """Return False: loading the upload again costs nothing."""
        return False

    def begin_termination(self, reason: TerminationReason, assert_held: AssertHeld) -> None:
        """Record that the upload is being removed, and delete its bytes."""
        assert_held()
        info = self._stored.info
        self._stored.info = replace(info, terminating=info.terminating or reason)
        self._stored.content.clear()

    def terminate(self, assert_held: AssertHeld) -> None:
        """Delete the upload."""
        assert_held()
        self._uploads.pop(self._stored.info.id, None)

    def content(self) -> MemoryContent:
        """Return the bytes of the upload.

        Raises:
            UploadIncomplete: the upload is not assembled yet.
        """
        if self._stored.info.state is State.RECEIVING:
            raise UploadIncomplete
        return MemoryContent(bytes(self._stored.content))


class MemoryFinalUpload(MemoryUpload):
    """A final upload in a dictionary. `assemble` copies the bytes of its partial uploads."""

    _finished_size = 0

    @property
    def info(self) -> UploadInfo:
        """The upload's info. Before `assemble`, the offset counts the finished partial uploads."""
        if self._stored.info.state is State.RECEIVING:
            return replace(self._stored.info, offset=self._finished_size)
        return super().info

    def load_offset(self, assert_held: AssertHeld | None = None) -> None:
        """Add up the lengths of the partial uploads.

        Raises:
            InvalidPartial: a partial upload does not exist, or is not a partial upload.
        """
        del assert_held  # not needed, because nothing is written
        if self._stored.info.state is State.RECEIVING:
            infos = [partial.info for partial in self._partials()]
            lengths = [info.length for info in infos if info.length is not None]
            length = sum(lengths) if len(lengths) == len(infos) else None
            self._finished_size = sum(info.length or 0 for info in infos if info.is_finished)
            self._stored.info = replace(self._stored.info, length=length)

    def assemble(self, assert_held: AssertHeld) -> bool:
        """Concatenate the bytes of the partial uploads."""
        if self._stored.info.state is State.RECEIVING:
            contents = [partial.content for partial in self._partials()]
            self._stored.content = bytearray(b"".join(contents))
            self._uploads[self._stored.info.id] = self._stored
        return super().assemble(assert_held)

    def _partials(self) -> list[_StoredUpload]:
        final = self._stored.info.concat
        assert isinstance(final, Final)
        for id in final.partials:
            partial = self._uploads.get(id)
            if partial is None or partial.info.terminating is not None:
                raise InvalidPartial(f"the partial upload {id} does not exist")
            if not isinstance(partial.info.concat, Partial):
                raise InvalidPartial(f"the upload {id} was not created as a partial upload")
        return [self._uploads[id] for id in final.partials]


class MemoryContent:
    """The bytes of an upload. It implements `tus_wsgi.domain.commands.Content`."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    @property
    def length(self) -> int:
        """The size in bytes."""
        return len(self._content)

    @property
    def etag(self) -> str:
        """A digest of the content."""
        return hashlib.sha256(self._content).hexdigest()[:32]

    @property
    def modified(self) -> datetime:
        """A constant date: the store does not record dates."""
        return datetime(2000, 1, 1, tzinfo=UTC)

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from `start` to `stop` (exclusive), at most `CHUNK_SIZE` at a time."""
        for begin in range(start, stop, CHUNK_SIZE):
            yield self._content[begin : min(begin + CHUNK_SIZE, stop)]

    def presigned_url(self, lifetime: float, *, type: str, disposition: str) -> None:
        """Return None: the content is only in the memory of this process."""
