"""The S3 store's exceptions, and the translation of S3's error responses into them.

**D-07: only a response that says "not found" means absence.** `NoSuchKey`, `NoSuchUpload` and a 404
without an error document become `NotFound`; every other error response is a failure.
"""

from __future__ import annotations

from botocore.exceptions import ClientError

from tus_wsgi.domain.aws_errors import AwsErrorKind, classify_error
from tus_wsgi.domain.errors import StoreUnavailable


class NotFound(Exception):
    """The object or the multipart upload does not exist."""


class Forbidden(StoreUnavailable):
    """S3 answered 403: a missing permission, or a missing object whose absence S3 hides.

    Attributes:
        message: S3's message.
    """

    def __init__(self, operation: str, message: str, *, key: str | None = None) -> None:
        super().__init__(operation, key=key)
        self.message = message


class ConditionFailed(StoreUnavailable):
    """The condition of a conditional call does not hold."""


class NotSupported(StoreUnavailable):
    """The service does not implement the call or one of its parameters, such as a condition."""


class Refused(StoreUnavailable):
    """S3 refused a parameter of the call, or a part that a completion names."""


class CopyRefused(StoreUnavailable):
    """The service does not copy parts, or answered a copy without its result."""


class TooLarge(StoreUnavailable):
    """The object is too large to be read as a whole."""


class SourceGone(Exception):
    """The object to copy from was deleted or replaced."""


_COPY_REFUSALS = frozenset(
    {
        AwsErrorKind.CONDITION_FAILED,
        AwsErrorKind.FORBIDDEN,
        AwsErrorKind.INVALID_REQUEST,
        AwsErrorKind.NOT_SUPPORTED,
        AwsErrorKind.OTHER,
    }
)


def is_refusal(failure: StoreUnavailable) -> bool:
    """Return whether S3 refused the only attempt of the call.

    D-09: after a 5xx, or after an attempt without a response, S3 may still carry out the call.
    """
    cause = failure.__cause__
    return isinstance(cause, ClientError) and classify_error(cause).is_refusal


def translate_error(operation: str, error: ClientError, key: str) -> Exception:
    """Return the store's exception for an error response to `operation` on the object `key`."""
    response = classify_error(error)
    if response.kind is AwsErrorKind.NOT_FOUND:
        return NotFound()
    if response.kind is AwsErrorKind.FORBIDDEN:
        return Forbidden(operation, response.message, key=key)
    if response.kind is AwsErrorKind.CONDITION_FAILED:
        return ConditionFailed(operation, key=key)
    if response.kind is AwsErrorKind.NOT_SUPPORTED:
        return NotSupported(operation, key=key)
    if response.kind is AwsErrorKind.INVALID_REQUEST:
        return Refused(operation, key=key)
    return StoreUnavailable(operation, key=key)


def is_copy_refusal(failure: Exception) -> bool:
    """Return whether sending the bytes may succeed where a copy of them failed.

    True if the service refused the copy, or answered without a result as services do that ignore
    the source of a copy. False for failures of the service, of the connection, of the credentials,
    and if the multipart upload does not exist.
    """
    cause = failure.__cause__
    if isinstance(cause, ClientError):
        return classify_error(cause).kind in _COPY_REFUSALS
    return isinstance(cause, KeyError)
