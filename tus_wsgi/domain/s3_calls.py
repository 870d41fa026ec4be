"""Describe how a call of S3 has ended, for metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from tus_wsgi.domain.aws_errors import (
    AwsErrorKind,
    ErrorResponse,
    classify_error,
    denied_permission,
)
from tus_wsgi.domain.events import S3Called

_EXPECTED = frozenset(
    {AwsErrorKind.NOT_FOUND, AwsErrorKind.CONDITION_FAILED, AwsErrorKind.INVALID_RANGE}
)
"""Kinds of responses that a working service gives in the normal course of uploads."""


def s3_called(operation: str, seconds: float, error: BaseException | None) -> S3Called:
    """Return the event of a call.

    Args:
        operation: the name of the operation.
        seconds: time that the call took.
        error: what boto3 raised; None if the call has succeeded. A KeyError stands for a response
            without its required fields.
    """
    if error is None:
        return S3Called(operation, seconds, "ok", is_failure=False)
    if isinstance(error, KeyError):
        return S3Called(operation, seconds, "invalid_response", is_failure=True)
    # botocore's connection errors have an attribute `response` too, but it is None.
    if not isinstance(getattr(error, "response", None), Mapping):
        return S3Called(operation, seconds, "no_response", is_failure=True)
    kind = _kind(cast("ErrorResponse", error), operation)
    return S3Called(operation, seconds, kind.name.lower(), is_failure=kind not in _EXPECTED)


def _kind(error: ErrorResponse, operation: str) -> AwsErrorKind:
    response = classify_error(error)
    # No response to HEAD has a document.
    is_bare = response.kind is AwsErrorKind.BARE_NOT_FOUND and operation == "HeadObject"
    # Without the permission to list, AWS answers 403 for a missing object; the message names the
    # permission.
    is_denied = response.kind is AwsErrorKind.FORBIDDEN
    is_hidden = is_denied and denied_permission(response.message) == "s3:ListBucket"
    return AwsErrorKind.NOT_FOUND if is_bare or is_hidden else response.kind
