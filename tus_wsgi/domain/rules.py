"""What must hold before an upload is changed. Each rule raises, or says nothing. No I/O."""

from __future__ import annotations

from tus_wsgi.domain.errors import LengthExceeded, LengthMismatch, UploadTooLarge
from tus_wsgi.domain.model import UploadInfo


def check_declared(length: int, info: UploadInfo, max_size: int) -> None:
    """Refuse a length that a request says belatedly, if the upload cannot have it.

    Raises:
        LengthMismatch: it contradicts an earlier one, or what is stored.
        UploadTooLarge: no upload may be that long.
    """
    if info.length is not None and length != info.length:
        raise LengthMismatch(f"{info.length}, as declared before", length)
    if length < info.offset:
        raise LengthMismatch(f"at least {info.offset}, which are stored already", length)
    if length > max_size:
        raise UploadTooLarge(max_size, length)


def check_fits(offset: int, content_length: int | None, length: int | None, max_size: int) -> None:
    """Refuse a length that is too long, and a body that says in advance that it is.

    Raises:
        UploadTooLarge: it is; as `LengthExceeded` where only the upload's own length says so.
    """
    if length is not None and length > max_size:
        raise UploadTooLarge(max_size, length)
    limit = max_size if length is None else length
    if content_length is not None and offset + content_length > limit:
        refusal = UploadTooLarge if length is None else LengthExceeded
        raise refusal(limit, offset + content_length)
