"""What the end of a request's body means, and when a body is the one that was meant."""

from __future__ import annotations

from tus_wsgi.domain.commands import Verification
from tus_wsgi.domain.errors import (
    BodyDraining,
    BodyIncomplete,
    BodyInterrupted,
    BodyMalformed,
    BodyTimedOut,
    ChecksumMismatch,
    ClientDisconnected,
    UploadTooLarge,
)
from tus_wsgi.domain.interfaces import BodyEnd, BufferedBody

_CUT_SHORT: dict[BodyEnd, type[BodyIncomplete]] = {
    BodyEnd.DISCONNECTED: ClientDisconnected,
    BodyEnd.STALLED: BodyTimedOut,
    BodyEnd.INTERRUPTED: BodyInterrupted,
    BodyEnd.DRAINING: BodyDraining,
    BodyEnd.MALFORMED: BodyMalformed,
}


def check_complete(end: BodyEnd, offset: int) -> None:
    """Say what went wrong with a body that ended early.

    Args:
        end: why it ended.
        offset: bytes of the upload that are stored all the same.

    Raises:
        BodyCutShort: it is not complete.
    """
    if end in _CUT_SHORT:
        raise _CUT_SHORT[end](offset)


def receive_verified(
    body: BufferedBody, verification: Verification, offset: int, limit: int
) -> None:
    """Receive the whole body and find it right. Until this returns nothing was changed.

    A body that is cut short is discarded, although the core of tus wants everything kept that
    arrives: nobody can tell whether what arrived is what was meant.

    Args:
        body: the request's.
        verification: what was said of it.
        offset: bytes of the upload that are stored.
        limit: bytes that the upload may hold.

    Raises:
        ChecksumMismatch: it is another one than was meant.
        MalformedField: the checksum behind it is missing, or cannot be read.
        BodyCutShort: not all of it came.
        UploadTooLarge: it is longer than what is missing.
        StoreUnavailable: there is no room to keep it for so long.
    """
    body.limit(limit - offset)
    end = body.receive()
    if end is BodyEnd.TOO_LONG:
        raise UploadTooLarge(limit, None)
    check_complete(end, offset)
    for checksum in verification.checksums(body.trailers()):
        if body.digest(checksum.algorithm) != checksum.digest:
            raise ChecksumMismatch(checksum.algorithm)
