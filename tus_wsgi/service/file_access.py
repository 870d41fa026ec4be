"""Read a finished file, for the application's `on_finish` hook."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

from tus_wsgi.domain.commands import Content
from tus_wsgi.domain.interfaces import Upload
from tus_wsgi.domain.model import KIB, MIB, UploadInfo

Presign = Callable[[UploadInfo, Content, float], str | None]
"""Returns a presigned URL of a download that is valid for some seconds; None if the store cannot
make one."""

FIRST_SPAN = 64 * KIB
"""Bytes that the first read requests from the store: enough to recognize the type of a file."""

MAX_SPAN = 64 * MIB
"""Bytes that a later read requests at most. Each request takes twice as many as the one before."""


class FileAccess:
    """Opens the file of an upload, and makes links to it. See `FinishedUpload`.

    Args:
        upload: an upload whose object is complete.
        presign: see `Presign`.
    """

    def __init__(self, upload: Upload, presign: Presign) -> None:
        self._upload = upload
        self._presign = presign

    def open(self) -> io.BufferedReader:
        """Return the bytes of the file, which can be read from any position.

        Raises:
            UploadGone: another program removed the object.
            StoreUnavailable: the store did not answer. Reading may raise the same.
        """
        return io.BufferedReader(_Reader(self._upload.content()), FIRST_SPAN)

    def link(self, lifetime: float) -> str | None:
        """Return a URL from which the file can be read without authorization."""
        return self._presign(self._upload.info, self._upload.content(), lifetime)


class _Reader(io.RawIOBase):
    """Reads content in spans of growing size, so that a look at the beginning is cheap."""

    def __init__(self, content: Content) -> None:
        super().__init__()
        self._content = content
        self._position = 0
        self._span = FIRST_SPAN
        self._chunks: Iterator[bytes] = iter(())
        self._chunk = memoryview(b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._content.length}
        position = bases[whence] + offset
        if position < 0:
            raise ValueError(f"expected a position in the file, got {position}")
        if position != self._position:
            self._drop_chunks()
            self._position = position
        return position

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - any writable buffer
        while not self._chunk:
            chunk = next(self._chunks, None)
            if chunk is not None:
                self._chunk = memoryview(chunk)
            elif self._position >= self._content.length:
                return 0
            else:
                self._request_span()
        count = min(len(buffer), len(self._chunk))
        memoryview(buffer)[:count] = self._chunk[:count]
        self._chunk = self._chunk[count:]
        self._position += count
        return count

    def close(self) -> None:
        self._drop_chunks()
        super().close()

    def _request_span(self) -> None:
        stop = min(self._position + self._span, self._content.length)
        self._chunks = self._content.read(self._position, stop)
        self._span = min(2 * self._span, MAX_SPAN)

    def _drop_chunks(self) -> None:
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()
        self._chunks, self._chunk, self._span = iter(()), memoryview(b""), FIRST_SPAN
