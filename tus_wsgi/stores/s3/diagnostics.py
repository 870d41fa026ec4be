"""Explanations of S3 and boto3 errors for operators.

Each explanation ends with the original message, which may have more details (the policy that denies
the request, the key that is disabled). Neither boto3 nor S3 repeats secrets in its messages.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)

from tus_wsgi.domain.aws_errors import AwsErrorKind, classify_error, denied_permission
from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.stores.s3.errors import CopyRefused, UnprovenAbsence

PERMISSIONS = {
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "CompleteMultipartUpload": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "ListObjectsV2": "s3:ListBucket",
    "ListParts": "s3:ListMultipartUploadParts",
    "PutObject": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "UploadPartCopy": "s3:GetObject",
}
"""The permission that each operation needs. Only `tus-wsgi sweep` lists objects and uploads.
See https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html."""

_BUCKET_PERMISSIONS = frozenset({"s3:ListBucket", "s3:ListBucketMultipartUploads"})

_DENIED = frozenset({AwsErrorKind.FORBIDDEN, AwsErrorKind.ACCESS_DISABLED})

_WRITES = frozenset({"CreateMultipartUpload", "PutObject"})

_ENCRYPTION_ADVICE = ", or if a policy of the bucket requires encryption, set TUS_S3_SSE to it"

_ADVICE_BY_KIND = {
    AwsErrorKind.EXPIRED_TOKEN: "the temporary credentials have expired: get new ones",
    AwsErrorKind.UNKNOWN_ACCESS_KEY: (
        "the service does not know the access key: check AWS_ACCESS_KEY_ID"
    ),
    AwsErrorKind.ACCESS_DISABLED: (
        "the service has disabled all access to the bucket: contact its support"
    ),
    AwsErrorKind.NOT_SUPPORTED: "the service does not implement this",
    AwsErrorKind.INVALID_TOKEN: "the session token is invalid: check AWS_SESSION_TOKEN",
    AwsErrorKind.CLOCK_SKEW: "the clock of this machine is wrong: synchronize it with NTP",
    AwsErrorKind.SIGNATURE_MISMATCH: (
        "the secret key does not match the access key, or a proxy changes requests: check "
        "AWS_SECRET_ACCESS_KEY"
    ),
}

_ADVICE_BY_TYPE: tuple[tuple[type[BotoCoreError], str], ...] = (
    (
        NoCredentialsError,
        "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use a role",
    ),
    (
        PartialCredentialsError,
        "the credentials are incomplete: set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    (
        CredentialRetrievalError,
        "boto3 could not load the credentials: check the credential provider",
    ),
    (SSLError, "the TLS connection failed: set AWS_CA_BUNDLE to the CA of the certificate"),
    (ProxyConnectionError, "the proxy cannot be reached: check HTTPS_PROXY and HTTP_PROXY"),
    (
        ConnectTimeoutError,
        "{service} did not accept a connection: check TUS_S3_ENDPOINT and the firewall",
    ),
    (
        EndpointConnectionError,
        "{service} cannot be reached: check TUS_S3_ENDPOINT and the network",
    ),
    (
        ConnectionClosedError,
        "{service} closed the connection: check the port, and whether it expects http or https",
    ),
    (ReadTimeoutError, "{service} accepted the request but did not respond: try again later"),
    (ParamValidationError, "the bucket name is invalid: check TUS_S3_BUCKET"),
)

_NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
)
"""Reasons of OpenSSL for a response that is not TLS, by its version and the response."""

_PATH_REFUSED = frozenset({"PathStyleDomainForbidden", "SecondLevelDomainForbidden"})
"""Codes of services that refuse the bucket in the path (Tencent COS, Alibaba OSS)."""

TOO_MANY_FILES = (
    "the process cannot open more files: raise the limit (ulimit -n, LimitNOFILE of systemd, "
    "--ulimit nofile of Docker)"
)

_NEVER_SENT = (
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProxyConnectionError,
    SSLError,
)


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """The bucket that an explanation refers to.

    Attributes:
        bucket: its name.
        endpoint: the URL of the service; None for boto3's default.
    """

    bucket: str
    endpoint: str | None

    @property
    def service(self) -> str:
        """The service as explanations name it: by the URL in the settings, if there is one."""
        return self.endpoint or "the endpoint of AWS"

    def resource(self, *, is_bucket: bool) -> str:
        """Return the ARN of the bucket or of all its objects, as a policy names them."""
        if self.bucket.startswith("arn:"):  # an access point
            return self.bucket if is_bucket else f"{self.bucket}/object/*"
        arn = f"arn:aws:s3:::{self.bucket}"
        return arn if is_bucket else f"{arn}/*"


def diagnose(error: BaseException, address: BucketAddress) -> str:
    """Return one sentence that says what is wrong and what to do, with the original message.

    Args:
        error: an error of boto3, or an exception that it caused.
        address: the bucket that was called.
    """
    if has_too_many_files(error):
        return TOO_MANY_FILES
    if isinstance(error, UnprovenAbsence):
        return f"{address.service} answered {error.operation}: {error.reason}"
    cause = _find_cause(error)
    if isinstance(cause, ClientError):
        return _diagnose_response(cause, address)
    if isinstance(error, CopyRefused) and isinstance(cause, KeyError):
        return f"{address.service} answered UploadPartCopy without {cause}"
    if isinstance(cause, KeyError):
        return f"{address.service} is not an S3 service: a response has no {cause}"
    return _diagnose_boto(cause, address)


def explain_failure(error: BaseException, address: BucketAddress) -> str | None:
    """Return the sentence of `diagnose` for a call of the store that boto3 reports as failed.

    Returns:
        None for other errors, which only a traceback explains.
    """
    if not isinstance(error, StoreUnavailable):
        return None
    if has_too_many_files(error):
        return TOO_MANY_FILES
    is_from_boto = isinstance(_find_cause(error), ClientError | BotoCoreError)
    if not is_from_boto and not isinstance(error, UnprovenAbsence):
        return None
    return diagnose(error, address)


def is_denied(error: BaseException) -> bool:
    """Return whether the error is a missing permission. Other permissions may still be granted."""
    cause = _find_cause(error)
    return isinstance(cause, ClientError) and classify_error(cause).kind in _DENIED


def may_have_succeeded(error: BaseException) -> bool:
    """Return whether S3 may have carried out the call that failed with this error."""
    cause = _find_cause(error)
    if isinstance(cause, ClientError):
        return classify_error(cause).is_server_error
    return not isinstance(cause, _NEVER_SENT)


def has_too_many_files(error: BaseException) -> bool:
    """Return whether an error, or one that it was raised from, is the limit of open files."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        current = waiting.pop()
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        if isinstance(current, OSError) and current.errno in {errno.EMFILE, errno.ENFILE}:
            return True
        seen.add(id(current))
        # boto3 keeps the error of a connection among the arguments of its message.
        arguments = getattr(current, "kwargs", None)
        inner = arguments.get("error") if isinstance(arguments, dict) else None
        waiting += [current.__cause__, current.__context__, inner]
    return False


def _find_cause(error: BaseException) -> BaseException:
    """Return boto3's error, or the KeyError of a missing field, in the chain of causes.

    If the chain has neither, return `error`.
    """
    current: BaseException | None = error
    seen: set[int] = set()  # An error that is raised from itself is its own cause.
    while current is not None and id(current) not in seen:
        if isinstance(current, ClientError | BotoCoreError | KeyError):
            return current
        seen.add(id(current))
        current = current.__cause__
    return error


def _diagnose_boto(error: BaseException, address: BucketAddress) -> str:
    """Explain an error that is no response."""
    if isinstance(error, SSLError) and any(reason in str(error) for reason in _NOT_TLS):
        return f"{address.service} does not speak TLS: use http, or its port for https"
    for kind, advice in _ADVICE_BY_TYPE:
        if isinstance(error, kind):
            return f"{advice.format(service=address.service)} ({_one_line(error)})"
    return _one_line(error)


def _diagnose_response(error: ClientError, address: BucketAddress) -> str:
    response, operation = classify_error(error), error.operation_name
    original = f"({operation}: {response.code} {response.message}".rstrip() + ")"
    if not response.code:
        got = f"it answered {operation} with HTTP status {response.status}"
        return f"{address.service} is not an S3 service: {got}"
    if response.kind is AwsErrorKind.CONTAINER_NOT_FOUND:
        return f"there is no bucket {address.bucket!r} at {address.service}: check TUS_S3_BUCKET"
    if response.code in _PATH_REFUSED:
        return (
            "the service takes the bucket in the host name only: set "
            f"TUS_S3_ADDRESSING_STYLE=virtual {original}"
        )
    if response.kind is AwsErrorKind.FORBIDDEN:
        return f"{_missing_permission(operation, response.message, address)} {original}"
    if response.kind is AwsErrorKind.WRONG_REGION:
        value = f"={response.region}" if response.region else ""
        return f"the bucket is in another region: set AWS_DEFAULT_REGION{value} {original}"
    failed = "the service failed: try again later"
    unknown = failed if response.is_server_error else "the service refused the request"
    return f"{_ADVICE_BY_KIND.get(response.kind, unknown)} {original}"


def _missing_permission(operation: str, message: str, address: BucketAddress) -> str:
    """Name the permission in AWS's message, or if there is none, the one in its documentation."""
    permission = denied_permission(message) or PERMISSIONS.get(operation)
    if permission is None:
        return f"the credentials do not allow {operation}: allow it"
    if not permission.startswith("s3:"):  # such as that to use a key of KMS
        return f"{permission} is not allowed: allow it too"
    resource = address.resource(is_bucket=permission in _BUCKET_PERMISSIONS)
    # A policy that requires encryption denies a write that does not ask for it.
    policy = _ENCRYPTION_ADVICE if operation in _WRITES else ""
    return f"{permission} is not allowed: allow it on {resource}{policy}"


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__
