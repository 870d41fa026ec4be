"""The classification of AWS error responses."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from tus_wsgi.domain.aws_errors import AwsErrorKind, classify_error


@dataclass
class ErrorWithResponse:
    response: Mapping[str, object] = field(default_factory=dict)


def error_response(
    code: str | None, status: int | None, message: str | None = None
) -> ErrorWithResponse:
    document: dict[str, object] = {}
    if code is not None:
        document["Code"] = code
    if message is not None:
        document["Message"] = message
    metadata = {} if status is None else {"HTTPStatusCode": status}
    return ErrorWithResponse({"Error": document, "ResponseMetadata": metadata})


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("NoSuchKey", 404, AwsErrorKind.NOT_FOUND),
        ("NoSuchUpload", 404, AwsErrorKind.NOT_FOUND),
        ("NotFound", 404, AwsErrorKind.BARE_NOT_FOUND),
        ("404", 404, AwsErrorKind.BARE_NOT_FOUND),
        ("InvalidRange", 416, AwsErrorKind.INVALID_RANGE),
        ("416", 416, AwsErrorKind.INVALID_RANGE),
        ("NoSuchBucket", 404, AwsErrorKind.CONTAINER_NOT_FOUND),
        ("ResourceNotFoundException", 400, AwsErrorKind.CONTAINER_NOT_FOUND),
        ("AccessDenied", 403, AwsErrorKind.FORBIDDEN),
        ("Forbidden", 403, AwsErrorKind.FORBIDDEN),
        ("403", 403, AwsErrorKind.FORBIDDEN),
        ("AllAccessDisabled", 403, AwsErrorKind.ACCESS_DISABLED),
        ("PreconditionFailed", 412, AwsErrorKind.CONDITION_FAILED),
        ("412", 412, AwsErrorKind.CONDITION_FAILED),
        ("ConditionalCheckFailedException", 400, AwsErrorKind.CONDITION_FAILED),
        ("ConditionalRequestConflict", 409, AwsErrorKind.CONFLICT),
        ("OperationAborted", 409, AwsErrorKind.CONFLICT),
        ("TransactionConflictException", 400, AwsErrorKind.CONFLICT),
        ("NotImplemented", 501, AwsErrorKind.NOT_SUPPORTED),
        ("501", 501, AwsErrorKind.NOT_SUPPORTED),
        ("BadDigest", 400, AwsErrorKind.INVALID_REQUEST),
        ("InvalidArgument", 400, AwsErrorKind.INVALID_REQUEST),
        ("InvalidPart", 400, AwsErrorKind.INVALID_REQUEST),
        ("InvalidRequest", 400, AwsErrorKind.INVALID_REQUEST),
        ("SlowDown", 503, AwsErrorKind.THROTTLED),
        ("ProvisionedThroughputExceededException", 400, AwsErrorKind.THROTTLED),
        ("RequestLimitExceeded", 400, AwsErrorKind.THROTTLED),
        ("ThrottlingException", 400, AwsErrorKind.THROTTLED),
        ("PermanentRedirect", 301, AwsErrorKind.WRONG_REGION),
        ("301", 301, AwsErrorKind.WRONG_REGION),
        ("AuthorizationHeaderMalformed", 400, AwsErrorKind.WRONG_REGION),
        ("IllegalLocationConstraintException", 400, AwsErrorKind.WRONG_REGION),
        ("ExpiredToken", 400, AwsErrorKind.EXPIRED_TOKEN),
        ("InvalidToken", 400, AwsErrorKind.INVALID_TOKEN),
        ("InvalidAccessKeyId", 403, AwsErrorKind.UNKNOWN_ACCESS_KEY),
        ("SignatureDoesNotMatch", 403, AwsErrorKind.SIGNATURE_MISMATCH),
        ("RequestTimeTooSkewed", 403, AwsErrorKind.CLOCK_SKEW),
        ("InternalServerError", 500, AwsErrorKind.SERVER_ERROR),
        ("ServiceUnavailable", 503, AwsErrorKind.SERVER_ERROR),
        ("InternalError", 500, AwsErrorKind.SERVER_ERROR),
        ("InternalError", 200, AwsErrorKind.OTHER),
        ("503", 503, AwsErrorKind.SERVER_ERROR),
        (None, 502, AwsErrorKind.SERVER_ERROR),
        ("EntityTooSmall", 400, AwsErrorKind.OTHER),
        (None, 404, AwsErrorKind.OTHER),
        (None, 403, AwsErrorKind.OTHER),
        (None, None, AwsErrorKind.OTHER),
    ],
)
def test_the_code_decides_and_the_status_only_without_a_known_code(
    code: str | None, status: int | None, kind: AwsErrorKind
) -> None:
    """D-07: a 404 or a 403 without a code of the service is not NOT_FOUND or FORBIDDEN."""
    assert classify_error(error_response(code, status)).kind is kind


def test_code_message_and_status_are_kept() -> None:
    error = classify_error(error_response("InvalidPart", 400, "part 1"))
    assert (error.code, error.message, error.status) == ("InvalidPart", "part 1", 400)


@pytest.mark.parametrize(
    "response",
    [
        {},
        {"Error": {}, "ResponseMetadata": {}},
        {"Error": None, "ResponseMetadata": None},
        {"Error": {}, "ResponseMetadata": {"HTTPStatusCode": "abc", "HTTPHeaders": None}},
    ],
)
def test_missing_fields_are_empty(response: Mapping[str, object]) -> None:
    error = classify_error(ErrorWithResponse(response))
    assert (error.code, error.message, error.status, error.region) == ("", "", 0, "")


@pytest.mark.parametrize(
    ("document", "headers", "region"),
    [
        ({"Region": "eu-west-1"}, {}, "eu-west-1"),
        ({}, {"x-amz-bucket-region": "eu-west-2"}, "eu-west-2"),
        ({"Region": "eu-west-1"}, {"x-amz-bucket-region": "eu-west-2"}, "eu-west-1"),
        ({}, {}, ""),
    ],
)
def test_the_region_comes_from_the_document_or_else_from_the_header(
    document: Mapping[str, str], headers: Mapping[str, str], region: str
) -> None:
    response = {"Error": document, "ResponseMetadata": {"HTTPHeaders": headers}}
    assert classify_error(ErrorWithResponse(response)).region == region


@pytest.mark.parametrize(
    ("status", "is_refusal", "is_server_error"),
    [
        (None, False, False),
        (200, True, False),
        (403, True, False),
        (499, True, False),
        (500, False, True),
        (504, False, True),
    ],
)
def test_only_a_known_status_below_500_is_a_refusal(
    status: int | None,
    is_refusal: bool,
    is_server_error: bool,
) -> None:
    """D-09: a 5xx does not prove that the service did not carry out the call."""
    error = classify_error(error_response("UnknownCode", status))
    assert (error.is_refusal, error.is_server_error) == (is_refusal, is_server_error)
