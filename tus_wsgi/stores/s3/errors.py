"""What S3's error answers mean: boto3's one class of errors, told apart by their codes.

**Only an answer that says so means absent.** `NoSuchKey`, `NoSuchUpload` and a bare 404 are
`NotFound`; everything else is a failure, of which some kinds need a second thought.
"""

from __future__ import annotations

from botocore.exceptions import ClientError

from tus_wsgi.domain.errors import StoreUnavailable

_ABSENT = frozenset({"NoSuchKey", "NoSuchUpload", "NotFound", "404"})
_FORBIDDEN = frozenset({"AccessDenied", "Forbidden", "403"})
_REFUSED = frozenset({"PreconditionFailed", "412"})
_NOT_IMPLEMENTED = frozenset({"NotImplemented", "501"})


class NotFound(Exception):
    """The object, or the multipart upload, is not there."""


class Forbidden(StoreUnavailable):
    """It is not allowed, or not there where that is hidden. `message` is S3's."""

    def __init__(self, operation: str, message: str, *, key: str | None = None) -> None:
        super().__init__(operation, key=key)
        self.message = message


class ConditionFailed(StoreUnavailable):
    """The condition of the call does not hold."""


class NotSupported(StoreUnavailable):
    """The service does not know something that was asked of it, such as a condition."""


def translated(operation: str, error: ClientError, key: str) -> Exception:
    """Our exception for an error answer to `operation` on the object `key`."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code in _ABSENT:
        return NotFound()
    if code in _FORBIDDEN:
        message = str(error.response.get("Error", {}).get("Message", ""))
        return Forbidden(operation, message, key=key)
    if code in _REFUSED:
        return ConditionFailed(operation, key=key)
    if code in _NOT_IMPLEMENTED:
        return NotSupported(operation, key=key)
    return StoreUnavailable(operation, key=key)
