"""How a call of S3 has ended, in metrics."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from tus_wsgi.domain.events import S3Called
from tus_wsgi.domain.s3_calls import s3_called

NO_GET = "User: x is not authorized to perform: s3:GetObject on resource: b/s3:ListBucket"
NO_LIST = "User: x is not authorized to perform: s3:ListBucket on resource: y"


def response(code: str, status: int, message: str = "") -> ClientError:
    answer = {"Error": {"Code": code, "Message": message}}
    return ClientError(answer | {"ResponseMetadata": {"HTTPStatusCode": status}}, "Operation")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "outcome", "is_failure"),
    [
        (None, "ok", False),
        (KeyError("ETag"), "invalid_response", True),
        (ConnectionClosedError(endpoint_url="x"), "no_response", True),
        (TimeoutError(), "no_response", True),
        (response("NoSuchKey", 404), "not_found", False),
        (response("PreconditionFailed", 412), "condition_failed", False),
        (response("InvalidRange", 416), "invalid_range", False),
        (response("AccessDenied", 403, NO_LIST), "not_found", False),
        (response("AccessDenied", 403, NO_GET), "forbidden", True),
        (response("AccessDenied", 403), "forbidden", True),
        (response("404", 404), "bare_not_found", True),
        (response("SlowDown", 503), "throttled", True),
        (response("InternalError", 500), "server_error", True),
    ],
)
def test_what_a_working_service_answers_is_no_failure(
    error: Exception | None, outcome: str, is_failure: bool
) -> None:
    assert s3_called("GetObject", 0.5, error) == S3Called("GetObject", 0.5, outcome, is_failure)


def test_a_404_to_head_has_no_document_and_is_no_failure() -> None:
    assert not s3_called("HeadObject", 0.5, response("404", 404)).is_failure
