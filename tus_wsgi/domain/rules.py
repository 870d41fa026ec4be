"""Rules that a request must satisfy before it changes an upload. No I/O."""

from __future__ import annotations

from tus_wsgi.domain.errors import LengthExceeded, LengthMismatch, UploadTooLarge
from tus_wsgi.domain.model import UploadInfo


def check_declared(length: int, info: UploadInfo, max_size: int) -> None:
    """Check a length that is declared after the upload was created.

    Args:
        length: the length that the request declares.
        info: the upload.
        max_size: bytes of the largest upload.

    Raises:
        LengthMismatch: the length contradicts an earlier declaration or the stored bytes.
        UploadTooLarge: the length exceeds `max_size`.
    """
    if info.length is not None and length != info.length:
        raise LengthMismatch(f"{info.length}, as declared before", length)
    if length < info.offset:
        raise LengthMismatch(f"at least {info.offset}, which are stored already", length)
    if length > max_size:
        raise UploadTooLarge(max_size, length)


def check_fits(offset: int, content_length: int | None, length: int | None, max_size: int) -> None:
    """Check that an upload, and a body that is appended to it, are not too long.

    Args:
        offset: bytes of the upload that are stored.
        content_length: the body's Content-Length; None if it has none.
        length: the upload's length; None if it is unknown.
        max_size: bytes of the largest upload.

    Raises:
        LengthExceeded: the body exceeds the upload's length.
        UploadTooLarge: the length or the body exceeds `max_size`.
    """
    if length is not None and length > max_size:
        raise UploadTooLarge(max_size, length)
    limit = max_size if length is None else length
    if content_length is not None and offset + content_length > limit:
        error = UploadTooLarge if length is None else LengthExceeded
        raise error(limit, offset + content_length)
