"""Failures of a running server that a sentence explains; `tests/operations` has the sentences."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    SSLError,
)
from urllib3.exceptions import NewConnectionError

from tus_wsgi.domain.errors import LockerUnavailable, StoreUnavailable
from tus_wsgi.stores.s3.diagnostics import BucketAddress, diagnose, explain_failure
from tus_wsgi.stores.s3.errors import UnprovenAbsence

ADDRESS = BucketAddress("uploads", "https://s3.example.com")


def caused_by(cause: Exception, error: Exception | None = None) -> Exception:
    error = error or StoreUnavailable("PutObject", key="a-key")
    error.__cause__ = cause
    return error


def test_a_wrong_secret_key_is_one_sentence() -> None:
    response: Any = {"Error": {"Code": "SignatureDoesNotMatch", "Message": "it differs"}}
    error = caused_by(ClientError(response, "PutObject"))
    sentence = explain_failure(error, ADDRESS)
    assert sentence is not None
    assert "check AWS_SECRET_ACCESS_KEY (PutObject: SignatureDoesNotMatch it differs)" in sentence
    assert "\n" not in sentence


def test_a_service_that_takes_the_bucket_in_the_host_only_names_the_setting() -> None:
    """Alibaba's service sends this code."""
    response: Any = {
        "Error": {"Code": "SecondLevelDomainForbidden", "Message": "use virtual hosted style"},
        "ResponseMetadata": {"HTTPStatusCode": 403},
    }
    sentence = explain_failure(caused_by(ClientError(response, "PutObject")), ADDRESS)
    assert sentence is not None
    assert "set TUS_S3_ADDRESSING_STYLE=virtual (PutObject: SecondLevelDomain" in sentence


def test_a_certificate_that_is_not_trusted_names_the_variable_for_its_ca() -> None:
    error = SSLError(endpoint_url=ADDRESS.service, error=OSError("certificate verify failed"))
    assert "set AWS_CA_BUNDLE" in str(explain_failure(caused_by(error), ADDRESS))


@pytest.mark.parametrize(
    ("operation", "resource"), [("GetObject", "/object/*"), ("ListObjectsV2", "")]
)
def test_the_policy_of_an_access_point_names_its_arn(operation: str, resource: str) -> None:
    """AWS's example of a policy of an access point."""
    arn = "arn:aws:s3:eu-central-1:123456789012:accesspoint/uploads"
    response: Any = {"Error": {"Code": "AccessDenied", "Message": "Access Denied"}}
    error = caused_by(ClientError(response, operation))
    sentence = explain_failure(error, BucketAddress(arn, None))
    assert sentence is not None
    assert f"allow it on {arn}{resource} (" in sentence


def test_a_call_whose_permission_is_unknown_is_named() -> None:
    response: Any = {"Error": {"Code": "AccessDenied", "Message": "Access Denied"}}
    sentence = explain_failure(caused_by(ClientError(response, "HeadBucket")), ADDRESS)
    assert sentence is not None
    assert sentence.startswith("the credentials do not allow HeadBucket: allow it (")


def test_a_permission_of_another_service_is_named() -> None:
    """The encryption with a key of KMS, which has a policy of its own."""
    message = "User: x is not authorized to perform: kms:GenerateDataKey on this resource"
    response: Any = {"Error": {"Code": "AccessDenied", "Message": message}}
    sentence = explain_failure(caused_by(ClientError(response, "PutObject")), ADDRESS)
    assert sentence is not None
    assert sentence.startswith("kms:GenerateDataKey is not allowed: allow it too (")


def test_no_permission_is_asked_for_if_aws_has_disabled_the_bucket() -> None:
    response: Any = {"Error": {"Code": "AllAccessDisabled", "Message": "it is disabled"}}
    sentence = explain_failure(caused_by(ClientError(response, "PutObject")), ADDRESS)
    assert sentence is not None
    assert sentence.startswith("the service has disabled all access to the bucket: contact its ")
    assert "is not allowed" not in sentence


def test_failures_of_boto3_and_of_a_proxy_are_sentences() -> None:
    assert "there are no credentials" in str(
        explain_failure(caused_by(NoCredentialsError()), ADDRESS)
    )
    absence = UnprovenAbsence("GetObject", "a 404", key="a-key")
    assert explain_failure(absence, ADDRESS) == f"{ADDRESS.service} answered GetObject: a 404"


def test_other_failures_need_a_traceback() -> None:
    assert explain_failure(ValueError("x"), ADDRESS) is None
    assert explain_failure(caused_by(OSError("disk")), ADDRESS) is None
    locker = caused_by(NoCredentialsError(), LockerUnavailable("GetItem"))
    assert explain_failure(locker, ADDRESS) is None, "it is another service"


def test_an_error_that_is_its_own_cause_is_not_followed_for_ever() -> None:
    error = StoreUnavailable("PutObject")
    assert explain_failure(caused_by(error, error), ADDRESS) is None


def test_the_limit_of_open_files_is_named_instead_of_the_service() -> None:
    """boto3 says that the endpoint cannot be reached, and keeps the cause among its arguments."""
    limit = OSError(errno.EMFILE, "Too many open files")
    refused = NewConnectionError(None, str(limit))  # type: ignore[arg-type] # no connection
    refused.__cause__ = limit
    error = EndpointConnectionError(endpoint_url=ADDRESS.service, error=refused)
    for failure in (caused_by(error), caused_by(limit, StoreUnavailable("spool"))):
        assert "raise the limit (ulimit -n" in str(explain_failure(failure, ADDRESS))
    assert "raise the limit (ulimit -n" in diagnose(error, ADDRESS)
