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

STEP = 64 * KIB


@dataclass(slots=True)
class _Cell:
    info: UploadInfo
    content: bytearray = field(default_factory=bytearray)


class MemoryStore:
    """Uploads in a dictionary. It implements `tus_wsgi.domain.interfaces.Store`.

    Args:
        max_size: bytes of the largest upload.
    """

    def __init__(self, max_size: int = 64 * MIB) -> None:
        self._max_size = max_size
        self._cells: dict[UploadId, _Cell] = {}

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
        cell = _Cell(info)
        if record_now or not isinstance(info.concat, Final):
            self._cells[info.id] = cell
        return self._upload(cell)

    def open(self, id: UploadId) -> MemoryUpload:
        """The upload of this id.

        Raises:
            UploadNotFound: there is none.
        """
        if id not in self._cells:
            raise UploadNotFound
        return self._upload(self._cells[id])

    def discard(self, ids: Iterable[UploadId]) -> None:
        """Remove uploads."""
        for id in ids:
            self._cells.pop(id, None)

    def _upload(self, cell: _Cell) -> MemoryUpload:
        kind = MemoryFinal if isinstance(cell.info.concat, Final) else MemoryUpload
        return kind(self._cells, cell)


class MemoryUpload:
    """An upload in a dictionary. It implements `tus_wsgi.domain.interfaces.Upload`."""

    def __init__(self, cells: dict[UploadId, _Cell], cell: _Cell) -> None:
        self._cells = cells
        self._cell = cell
        self._made_here = False

    @property
    def info(self) -> UploadInfo:
        """What is known of the upload."""
        return replace(self._cell.info, offset=len(self._cell.content))

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
        self._cell.info = replace(self._cell.info, length=length, is_open=is_open)

    def extend_expiry(self, expires: datetime, assert_held: AssertHeld) -> None:
        """Record when it lapses."""
        assert_held()
        self._cell.info = replace(self._cell.info, expires=expires)

    def append(
        self,
        body: Body,
        assert_held: AssertHeld,
        on_stored: Callable[[int], None] | None = None,
    ) -> None:
        """Store the body behind what is there."""
        buffer = bytearray(STEP)
        while count := body.readinto(memoryview(buffer)):
            assert_held()
            self._cell.content += buffer[:count]
            if on_stored is not None:
                on_stored(len(self._cell.content))

    def assemble(self, assert_held: AssertHeld) -> bool:
        """Take the content for the object."""
        assert_held()
        if self._cell.info.state is State.RECEIVING:
            self._cell.info = replace(self._cell.info, state=State.FINISHING)
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
        self._cell.info = replace(self._cell.info, state=State.FINISHED)

    @property
    def is_cacheable(self) -> bool:
        """It does not: looking again costs nothing."""
        return False

    def terminate(self, assert_held: AssertHeld) -> None:
        """Remove the upload."""
        assert_held()
        self._cells.pop(self._cell.info.id, None)

    def content(self) -> MemoryContent:
        """The bytes of the upload.

        Raises:
            UploadUnfinished: it is not assembled yet.
        """
        if self._cell.info.state is State.RECEIVING:
            raise UploadIncomplete
        return MemoryContent(bytes(self._cell.content))


class MemoryFinal(MemoryUpload):
    """A final upload in a dictionary: its bytes are taken over when it is assembled."""

    _there = 0

    @property
    def info(self) -> UploadInfo:
        """What is known of the upload, with the bytes of its finished partials."""
        if self._cell.info.state is State.RECEIVING:
            return replace(self._cell.info, offset=self._there)
        return super().info

    def load_offset(self) -> None:
        """Add up what its partials have.

        Raises:
            PartialUnusable: one is not there, or is none.
        """
        if self._cell.info.state is State.RECEIVING:
            infos = [cell.info for cell in self._partials()]
            lengths = [info.length for info in infos if info.length is not None]
            length = sum(lengths) if len(lengths) == len(infos) else None
            self._there = sum(info.length or 0 for info in infos if info.is_finished)
            self._cell.info = replace(self._cell.info, length=length)

    def assemble(self, assert_held: AssertHeld) -> bool:
        """Take over the bytes."""
        if self._cell.info.state is State.RECEIVING:
            self._cell.content = bytearray(b"".join(cell.content for cell in self._partials()))
            self._cells[self._cell.info.id] = self._cell
        return super().assemble(assert_held)

    def _partials(self) -> list[_Cell]:
        final = self._cell.info.concat
        assert isinstance(final, Final)
        for id in final.partials:
            cell = self._cells.get(id)
            if cell is None:
                raise InvalidPartial(f"the partial upload {id} is not there")
            if not isinstance(cell.info.concat, Partial):
                raise InvalidPartial(f"the partial upload {id} was not created as a partial one")
        return [self._cells[id] for id in final.partials]


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
        """The bytes from `start` up to and without `stop`, at most `STEP` at a time."""
        for begin in range(start, stop, STEP):
            yield self._content[begin : min(begin + STEP, stop)]

    def presigned_url(self, lifetime: float, *, type: str, disposition: str) -> None:
        """Nothing: nobody else can read here."""
