"""Uploads in this process's memory: for tests, and the shortest store to read first.

Nothing survives the process, and nothing is bounded: it is no store for real uploads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from tus_wsgi.domain.errors import InvalidPartial, UploadIncomplete, UploadNotFound, UploadTooLarge
from tus_wsgi.domain.interfaces import AssertHeld, Body
from tus_wsgi.domain.model import KIB, MIB, Final, Partial, State, UploadId, UploadInfo

CHUNK_SIZE = 64 * KIB


@dataclass(slots=True)
class _StoredUpload:
    info: UploadInfo
    content: bytearray = field(default_factory=bytearray)


class MemoryStore:
    """Uploads in a dictionary. It implements `tus_wsgi.domain.interfaces.Store`.

    Args:
        max_size: bytes of the largest upload.
    """

    def __init__(self, max_size: int = 64 * MIB) -> None:
        self._max_size = max_size
        self._uploads: dict[UploadId, _StoredUpload] = {}

    @property
    def max_size(self) -> int:
        """Bytes of the largest upload."""
        return self._max_size

    def create(self, info: UploadInfo, *, record_now: bool) -> MemoryUpload:
        """Begin an upload. It is there at once, but for a final one, which may come to nothing.

        Raises:
            UploadTooLarge: it is longer than `max_size`.
        """
        if info.length is not None and info.length > self._max_size:
            raise UploadTooLarge(self._max_size, info.length)
        cell = _StoredUpload(info)
        if record_now or not isinstance(info.concat, Final):
            self._uploads[info.id] = cell
        return self._upload(cell)

    def open(self, id: UploadId) -> MemoryUpload:
        """The upload of this id.

        Raises:
            UploadNotFound: there is none.
        """
        if id not in self._uploads:
            raise UploadNotFound
        return self._upload(self._uploads[id])

    def discard(self, ids: Iterable[UploadId]) -> None:
        """Remove uploads."""
        for id in ids:
            self._uploads.pop(id, None)

    def _upload(self, cell: _StoredUpload) -> MemoryUpload:
        kind = MemoryFinalUpload if isinstance(cell.info.concat, Final) else MemoryUpload
        return kind(self._uploads, cell)


class MemoryUpload:
    """An upload in a dictionary. It implements `tus_wsgi.domain.interfaces.Upload`."""

    def __init__(self, cells: dict[UploadId, _StoredUpload], cell: _StoredUpload) -> None:
        self._uploads = cells
        self._stored = cell
        self._made_here = False

    @property
    def info(self) -> UploadInfo:
        """What is known of the upload."""
        return replace(self._stored.info, offset=len(self._stored.content))

    @property
    def storage(self) -> Mapping[str, str]:
        """The type of the store."""
        return {"Type": "memory"}

    def load_offset(self) -> None:
        """Do nothing: the offset is always certain here."""

    def declare_length(
        self, length: int, assert_held: AssertHeld, *, is_open: bool = False
    ) -> None:
        """Record the length."""
        assert_held()
        self._stored.info = replace(self._stored.info, length=length, is_open=is_open)

    def extend_expiry(self, expires: datetime, assert_held: AssertHeld) -> None:
        """Record when it lapses."""
        assert_held()
        self._stored.info = replace(self._stored.info, expires=expires)

    def append(
        self,
        body: Body,
        assert_held: AssertHeld,
        on_stored: Callable[[int], None] | None = None,
    ) -> None:
        """Store the body behind what is there."""
        buffer = bytearray(CHUNK_SIZE)
        while count := body.readinto(memoryview(buffer)):
            assert_held()
            self._stored.content += buffer[:count]
            if on_stored is not None:
                on_stored(len(self._stored.content))

    def assemble(self, assert_held: AssertHeld) -> bool:
        """Take the content for the object."""
        assert_held()
        if self._stored.info.state is State.RECEIVING:
            self._stored.info = replace(self._stored.info, state=State.FINISHING)
            self._made_here = True
        return self._made_here

    def finish(
        self,
        assert_held: AssertHeld,
        *,
        may_defer: bool,  # noqa: ARG002 - writing costs nothing here
    ) -> None:
        """Record that the upload is finished."""
        assert_held()
        self._stored.info = replace(self._stored.info, state=State.FINISHED)

    @property
    def is_cacheable(self) -> bool:
        """It does not: looking again costs nothing."""
        return False

    def terminate(self, assert_held: AssertHeld) -> None:
        """Remove the upload."""
        assert_held()
        self._uploads.pop(self._stored.info.id, None)

    def content(self) -> MemoryContent:
        """The bytes of the upload.

        Raises:
            UploadUnfinished: it is not assembled yet.
        """
        if self._stored.info.state is State.RECEIVING:
            raise UploadIncomplete
        return MemoryContent(bytes(self._stored.content))


class MemoryFinalUpload(MemoryUpload):
    """A final upload in a dictionary: its bytes are taken over when it is assembled."""

    _available = 0

    @property
    def info(self) -> UploadInfo:
        """What is known of the upload, with the bytes of its finished partials."""
        if self._stored.info.state is State.RECEIVING:
            return replace(self._stored.info, offset=self._available)
        return super().info

    def load_offset(self) -> None:
        """Add up what its partials have.

        Raises:
            PartialUnusable: one is not there, or is none.
        """
        if self._stored.info.state is State.RECEIVING:
            infos = [cell.info for cell in self._partials()]
            lengths = [info.length for info in infos if info.length is not None]
            length = sum(lengths) if len(lengths) == len(infos) else None
            self._available = sum(info.length or 0 for info in infos if info.is_finished)
            self._stored.info = replace(self._stored.info, length=length)

    def assemble(self, assert_held: AssertHeld) -> bool:
        """Take over the bytes."""
        if self._stored.info.state is State.RECEIVING:
            self._stored.content = bytearray(b"".join(cell.content for cell in self._partials()))
            self._uploads[self._stored.info.id] = self._stored
        return super().assemble(assert_held)

    def _partials(self) -> list[_StoredUpload]:
        final = self._stored.info.concat
        assert isinstance(final, Final)
        for id in final.partials:
            cell = self._uploads.get(id)
            if cell is None:
                raise InvalidPartial(f"the partial upload {id} is not there")
            if not isinstance(cell.info.concat, Partial):
                raise InvalidPartial(f"the partial upload {id} was not created as a partial one")
        return [self._uploads[id] for id in final.partials]


class MemoryContent:
    """Bytes. It implements `tus_wsgi.domain.commands.Content`."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    @property
    def length(self) -> int:
        """Bytes in all."""
        return len(self._content)

    @property
    def etag(self) -> str:
        """A digest of the content."""
        return hashlib.sha256(self._content).hexdigest()[:32]

    @property
    def modified(self) -> datetime:
        """Always the same instant: nothing here is older than the process."""
        return datetime(2000, 1, 1, tzinfo=UTC)

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` up to and without `stop`, at most `CHUNK_SIZE` at a time."""
        for begin in range(start, stop, CHUNK_SIZE):
            yield self._content[begin : min(begin + CHUNK_SIZE, stop)]

    def presigned_url(self, lifetime: float, *, type: str, disposition: str) -> None:
        """Nothing: nobody else can read here."""
