"""The S3 store's exceptions, and the translation of S3's error responses into them.

**D-07: absence must be proved.** Only the codes `NoSuchKey` and `NoSuchUpload`, which come from
S3's error document, become `NotFound`. Every other error response is a failure, also a 404 without
that document. `absence.py` decides whether a 403 stands for a missing object.
"""

from __future__ import annotations

from botocore.exceptions import ClientError

from tus_wsgi.domain.aws_errors import AwsError, AwsErrorKind, classify_error, denied_permission
from tus_wsgi.domain.errors import StoreUnavailable

NOT_FROM_S3 = "check TUS_S3_ENDPOINT, and the proxies in front of the service"
"""What to do about a response that S3 would not send."""


class NotFound(Exception):
    """The object or the multipart upload does not exist."""


class UnprovenAbsence(StoreUnavailable):
    """A response says "not found", but does not prove it.

    Attributes:
        reason: what is wrong with the response, and what to do.
    """

    def __init__(self, operation: str, reason: str, *, key: str) -> None:
        super().__init__(operation, key=key)
        self.reason = reason


class Forbidden(StoreUnavailable):
    """S3 answered 403: a missing permission, or a missing object whose absence S3 hides.

    Attributes:
        message: S3's message.
        has_document: whether the response has S3's error document.
    """

    def __init__(
        self, operation: str, message: str, *, has_document: bool, key: str | None = None
    ) -> None:
        super().__init__(operation, key=key)
        self.message = message
        self.has_document = has_document

    @property
    def proves_absence(self) -> bool:
        """Whether S3's message says that only `s3:ListBucket` is missing.

        AWS checks this permission only after `s3:GetObject` is granted and the object is not found.
        See https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html ("Permissions").
        """
        return self.has_document and denied_permission(self.message) == "s3:ListBucket"


class ConditionFailed(StoreUnavailable):
    """The condition of a conditional call does not hold."""


class NotSupported(StoreUnavailable):
    """The service does not implement the call or one of its parameters, such as a condition."""


class Refused(StoreUnavailable):
    """S3 refused a parameter of the call, or a part that a completion names."""


class CopyRefused(StoreUnavailable):
    """The service does not copy parts, or answered a copy without its result."""


class InvalidRange(StoreUnavailable):
    """The requested range starts at or after the end of the object."""


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


_CLASSES: dict[AwsErrorKind, type[StoreUnavailable]] = {
    AwsErrorKind.CONDITION_FAILED: ConditionFailed,
    AwsErrorKind.NOT_SUPPORTED: NotSupported,
    AwsErrorKind.INVALID_REQUEST: Refused,
    AwsErrorKind.INVALID_RANGE: InvalidRange,
}


def translate_error(operation: str, error: ClientError, key: str) -> Exception:
    """Return the store's exception for an error response to `operation` on the object `key`."""
    response = classify_error(error)
    if response.kind is AwsErrorKind.NOT_FOUND:
        return NotFound()
    if response.kind is AwsErrorKind.FORBIDDEN:
        has_document = response.code == "AccessDenied"
        return Forbidden(operation, response.message, has_document=has_document, key=key)
    if _is_bare_not_found(response):
        reason = f"HTTP status {response.status} without the error document of S3: {NOT_FROM_S3}"
        return UnprovenAbsence(operation, reason, key=key)
    return _CLASSES.get(response.kind, StoreUnavailable)(operation, key=key)


def is_refusal(failure: StoreUnavailable) -> bool:
    """Return whether S3 refused the only attempt of the call.

    D-09: after a 5xx, or after an attempt without a response, S3 may still carry out the call.
    """
    cause = failure.__cause__
    return isinstance(cause, ClientError) and classify_error(cause).is_refusal


def is_copy_refusal(failure: Exception) -> bool:
    """Return whether sending the bytes may succeed where a copy of them failed.

    True if the service refused the copy, or answered without a result (like a service that ignores
    the source of a copy). False for failures of the service, the connection and the credentials,
    and if the multipart upload does not exist.
    """
    cause = failure.__cause__
    if isinstance(cause, ClientError):
        return classify_error(cause).kind in _COPY_REFUSALS
    return isinstance(cause, KeyError)


def _is_bare_not_found(response: AwsError) -> bool:
    if response.kind is AwsErrorKind.BARE_NOT_FOUND:
        return True
    has_no_code = response.kind is AwsErrorKind.OTHER and not response.code
    return has_no_code and response.status == 404
