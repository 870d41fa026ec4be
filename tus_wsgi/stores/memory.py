"""Uploads in this process's memory: for tests, and the shortest store to read first.

Nothing survives the process, and nothing is bounded: it is no store for real uploads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from tus_wsgi.errors import UploadNotFound, UploadTooLarge, UploadUnfinished
from tus_wsgi.model import KIB, MIB, State, UploadId, UploadInfo
from tus_wsgi.ports import Body

STEP = 64 * KIB


@dataclass(slots=True)
class _Cell:
    info: UploadInfo
    content: bytearray = field(default_factory=bytearray)


class MemoryStore:
    """Uploads in a dictionary. It implements `tus_wsgi.ports.Store`.

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

    def create(self, info: UploadInfo, *, at_once: bool) -> MemoryUpload:  # noqa: ARG002 - it is
        """Begin an upload.

        Raises:
            UploadTooLarge: it is longer than `max_size`.
        """
        if info.length is not None and info.length > self._max_size:
            raise UploadTooLarge(self._max_size, info.length)
        self._cells[info.id] = _Cell(info)
        return self.open(info.id)

    def open(self, id: UploadId) -> MemoryUpload:
        """The upload of this id.

        Raises:
            UploadNotFound: there is none.
        """
        if id not in self._cells:
            raise UploadNotFound
        return MemoryUpload(self._cells, id)


class MemoryUpload:
    """An upload in a dictionary. It implements `tus_wsgi.ports.Upload`."""

    def __init__(self, cells: dict[UploadId, _Cell], id: UploadId) -> None:
        self._cells = cells
        self._cell = cells[id]
        self._made_here = False

    @property
    def info(self) -> UploadInfo:
        """What is known of the upload."""
        return replace(self._cell.info, offset=len(self._cell.content))

    @property
    def storage(self) -> Mapping[str, str]:
        """The type of the store."""
        return {"Type": "memory"}

    def measure(self) -> None:
        """Do nothing: the offset is always certain here."""

    def declare_length(self, length: int, *, is_open: bool = False) -> None:
        """Record the length."""
        self._cell.info = replace(self._cell.info, length=length, is_open=is_open)

    def prolong(self, expires: datetime) -> None:
        """Record when it lapses."""
        self._cell.info = replace(self._cell.info, expires=expires)

    def append(
        self,
        body: Body,
        assert_held: Callable[[], None],
        on_stored: Callable[[int], None] | None = None,
    ) -> None:
        """Store the body behind what is there."""
        buffer = bytearray(STEP)
        while count := body.readinto(memoryview(buffer)):
            assert_held()
            self._cell.content += buffer[:count]
            if on_stored is not None:
                on_stored(len(self._cell.content))

    def assemble(self, assert_held: Callable[[], None]) -> bool:
        """Take the content for the object."""
        assert_held()
        if self._cell.info.state is State.RECEIVING:
            self._cell.info = replace(self._cell.info, state=State.FINISHING)
            self._made_here = True
        return self._made_here

    def finish(self, *, lazily: bool) -> None:  # noqa: ARG002 - writing costs nothing here
        """Record that the upload is finished."""
        self._cell.info = replace(self._cell.info, state=State.FINISHED)

    def terminate(self) -> None:
        """Remove the upload."""
        self._cells.pop(self._cell.info.id, None)

    def content(self) -> MemoryContent:
        """The bytes of the upload.

        Raises:
            UploadUnfinished: it is not assembled yet.
        """
        if self._cell.info.state is State.RECEIVING:
            raise UploadUnfinished
        return MemoryContent(bytes(self._cell.content))


class MemoryContent:
    """Bytes. It implements `tus_wsgi.commands.Content`."""

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
