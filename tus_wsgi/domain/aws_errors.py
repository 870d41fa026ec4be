"""Classify the error responses of AWS services and of services that are compatible with them.

boto3 raises one class, `ClientError`, for every error response. This module reads the response and
returns what it means. It is the only module that reads error codes: the S3 store, the lockers and
the diagnostics each decide what to do about a kind. It does not import boto3.

See https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html and
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol


class AwsErrorKind(Enum):
    """The meaning of an error response."""

    NOT_FOUND = auto()
    """S3's error document says that the object or the multipart upload does not exist."""
    BARE_NOT_FOUND = auto()
    """A 404 without S3's error document. It proves nothing (D-07): every 404 to HEAD looks like
    this, but so does the 404 of a proxy."""
    CONTAINER_NOT_FOUND = auto()
    """The bucket or the table does not exist."""
    FORBIDDEN = auto()
    """The credentials lack a permission. Without `s3:ListBucket`, AWS also gives this response to a
    read of an object that does not exist."""
    ACCESS_DISABLED = auto()
    """AWS has disabled all access to the bucket."""
    CONDITION_FAILED = auto()
    """The condition of a conditional call does not hold."""
    CONFLICT = auto()
    """Another call on the same object or item is in progress."""
    NOT_SUPPORTED = auto()
    """The service does not implement the call or one of its parameters."""
    INVALID_REQUEST = auto()
    """The service refuses a parameter of the call, or the parts that a completion names."""
    INVALID_RANGE = auto()
    """The requested range starts at or after the end of the object."""
    THROTTLED = auto()
    """The service asks for fewer requests."""
    WRONG_REGION = auto()
    """The bucket is in another region."""
    EXPIRED_TOKEN = auto()
    """The temporary credentials have expired."""
    INVALID_TOKEN = auto()
    """The session token is wrong."""
    UNKNOWN_ACCESS_KEY = auto()
    """The access key does not exist."""
    SIGNATURE_MISMATCH = auto()
    """The signature does not match: a wrong secret key, or a proxy that changes requests."""
    CLOCK_SKEW = auto()
    """The clocks of the two machines differ by too much."""
    SERVER_ERROR = auto()
    """An HTTP status of 500 or more with none of the codes above."""
    OTHER = auto()
    """Any other error response."""


_KINDS = {
    AwsErrorKind.NOT_FOUND: ("NoSuchKey", "NoSuchUpload"),
    AwsErrorKind.BARE_NOT_FOUND: ("NotFound", "404"),
    AwsErrorKind.CONTAINER_NOT_FOUND: ("NoSuchBucket", "ResourceNotFoundException"),
    AwsErrorKind.FORBIDDEN: ("AccessDenied", "Forbidden", "403"),
    AwsErrorKind.ACCESS_DISABLED: ("AllAccessDisabled",),
    AwsErrorKind.CONDITION_FAILED: (
        "ConditionalCheckFailedException",
        "PreconditionFailed",
        "412",
    ),
    AwsErrorKind.CONFLICT: (
        "ConditionalRequestConflict",
        "OperationAborted",
        "TransactionConflictException",
    ),
    AwsErrorKind.NOT_SUPPORTED: ("NotImplemented", "501"),
    AwsErrorKind.INVALID_REQUEST: (
        "BadDigest",
        "InvalidArgument",
        "InvalidDigest",
        "InvalidPart",
        "InvalidRequest",
    ),
    AwsErrorKind.INVALID_RANGE: ("InvalidRange", "416"),
    AwsErrorKind.THROTTLED: (
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "SlowDown",
        "ThrottlingException",
    ),
    AwsErrorKind.WRONG_REGION: (
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "PermanentRedirect",
        "301",
    ),
    AwsErrorKind.EXPIRED_TOKEN: ("ExpiredToken",),
    AwsErrorKind.INVALID_TOKEN: ("InvalidToken",),
    AwsErrorKind.UNKNOWN_ACCESS_KEY: ("InvalidAccessKeyId",),
    AwsErrorKind.SIGNATURE_MISMATCH: ("SignatureDoesNotMatch",),
    AwsErrorKind.CLOCK_SKEW: ("RequestTimeTooSkewed",),
    AwsErrorKind.SERVER_ERROR: ("InternalServerError", "ServiceUnavailable"),
}
"""The codes of each kind. A number is botocore's code for a response without a document, such as
every response to HEAD."""

_KIND_OF_CODE = {code: kind for kind, codes in _KINDS.items() for code in codes}


@dataclass(frozen=True, slots=True)
class AwsError:
    """An error response.

    Attributes:
        kind: its meaning.
        code: the service's error code; empty if the response has none.
        message: the service's message; empty if the response has none.
        status: the HTTP status; 0 if unknown.
        region: the region that the response names; empty if it names none.
        retries: the number of earlier attempts of the same call. Their outcomes are unknown.
    """

    kind: AwsErrorKind
    code: str
    message: str
    status: int
    region: str
    retries: int = 0

    @property
    def has_document(self) -> bool:
        """Whether the body of the response has an error code of the service.

        Without one, only a part of the response may have arrived, or a proxy may have answered.
        """
        return bool(self.code) and not self.code.isdigit()

    @property
    def is_server_error(self) -> bool:
        """Whether the status is 500 or more. The service may have carried out the call."""
        return self.status >= 500

    @property
    def is_refusal(self) -> bool:
        """Whether the service declined the call, and cannot carry it out later.

        D-09: a status below 500 proves this only if there was one attempt. After a retry, the
        service may have received an earlier attempt whose response was lost, and may still carry
        out that attempt.
        """
        return 0 < self.status < 500 and self.retries == 0


class ErrorResponse(Protocol):
    """The part of botocore's `ClientError` that this module reads."""

    @property
    def response(self) -> Mapping[str, object]:
        """The parsed response."""


def classify_error(error: ErrorResponse) -> AwsError:
    """Return the meaning of the error response that boto3 raised as `error`."""
    document = _mapping(error.response.get("Error"))
    metadata = _mapping(error.response.get("ResponseMetadata"))
    code = str(document.get("Code", ""))
    status = metadata.get("HTTPStatusCode", 0)
    status = status if isinstance(status, int) else 0
    retries = metadata.get("RetryAttempts", 0)
    fallback = AwsErrorKind.SERVER_ERROR if status >= 500 else AwsErrorKind.OTHER
    region = document.get("Region") or _mapping(metadata.get("HTTPHeaders")).get(
        "x-amz-bucket-region", ""
    )
    return AwsError(
        kind=_KIND_OF_CODE.get(code, fallback),
        code=code,
        message=str(document.get("Message", "")),
        status=status,
        region=str(region),
        retries=retries if isinstance(retries, int) else 0,
    )


def denied_permission(message: str) -> str | None:
    """Return the permission that AWS's message of a 403 names, such as `s3:GetObject`.

    None if it names none. Behind the permission, the message names the object, whose key may
    contain the name of a client's file, and so any text.
    """
    named = re.search(r"perform: ([a-z0-9-]+:\w+)", message)
    return None if named is None else named[1]


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
