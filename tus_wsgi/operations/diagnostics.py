"""What is wrong with S3, in plain words: for the person who has to mend it.

S3's own message always follows, because it may know more (the policy that denies, the key that is
disabled), and never a secret: neither boto3 nor S3 repeats one.
"""

from __future__ import annotations

import re
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

from tus_wsgi.domain.aws_errors import AwsErrorKind, classify_error

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
}
"""What a caller has to be allowed for each operation. The two lists are for `tus-wsgi sweep` alone.
See https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html."""

_OF_THE_BUCKET = frozenset({"s3:ListBucket", "s3:ListBucketMultipartUploads"})

_DENIED = frozenset({AwsErrorKind.FORBIDDEN, AwsErrorKind.ACCESS_DISABLED})

_ADVICE = {
    AwsErrorKind.EXPIRED_TOKEN: "the temporary credentials have expired: get new ones",
    AwsErrorKind.UNKNOWN_ACCESS_KEY: (
        "the access key does not exist there: check AWS_ACCESS_KEY_ID"
    ),
    AwsErrorKind.INVALID_TOKEN: "the session token is wrong: check AWS_SESSION_TOKEN",
    AwsErrorKind.CLOCK_SKEW: "this machine's clock is wrong: set it, best by NTP",
    AwsErrorKind.SIGNATURE_MISMATCH: (
        "the secret key does not belong to the access key, or a proxy changes requests: check "
        "AWS_SECRET_ACCESS_KEY"
    ),
}

_FAULTS: tuple[tuple[type[BotoCoreError], str], ...] = (
    (
        NoCredentialsError,
        "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use a role",
    ),
    (PartialCredentialsError, "half of the credentials is missing"),
    (CredentialRetrievalError, "the credentials could not be fetched from where they come from"),
    (SSLError, "the TLS connection failed: set AWS_CA_BUNDLE to the authority that signed it"),
    (ProxyConnectionError, "the proxy of HTTPS_PROXY or HTTP_PROXY cannot be reached"),
    (ConnectTimeoutError, "nobody answers at {where}: check TUS_S3_ENDPOINT and the firewall"),
    (EndpointConnectionError, "{where} cannot be reached: check TUS_S3_ENDPOINT and the network"),
    (ConnectionClosedError, "{where} hung up: check http or https, and the port"),
    (ReadTimeoutError, "{where} took the request and does not answer"),
    (ParamValidationError, "this cannot be a bucket: check TUS_S3_BUCKET"),
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
class Address:
    """Where the trouble is.

    Attributes:
        bucket: its name.
        endpoint: the service's URL; None for boto3's own choice.
    """

    bucket: str
    endpoint: str | None

    @property
    def where(self) -> str:
        """The service, as the person who set it knows it."""
        return self.endpoint or "the endpoint of AWS"


def diagnose(error: BaseException, address: Address) -> str:
    """One sentence on what is wrong and what to do, and what S3 or boto3 said of it.

    Args:
        error: boto3's, or one that has it as its cause.
        address: where it happened.
    """
    found = _root(error)
    if isinstance(found, ClientError):
        return _of_answer(found, address)
    if isinstance(found, KeyError):
        return f"what is at {address.where} speaks no S3: an answer lacks {found}"
    for kind, words in _FAULTS:
        if isinstance(found, kind):
            return f"{words.format(where=address.where)} ({_short(found)})"
    return _short(found)


def is_denied(error: BaseException) -> bool:
    """Whether a missing permission is the reason, which says nothing of other permissions."""
    found = _root(error)
    return isinstance(found, ClientError) and classify_error(found).kind in _DENIED


def may_be_done(error: BaseException) -> bool:
    """Whether the call that failed so may have been carried out all the same."""
    found = _root(error)
    if isinstance(found, ClientError):
        return classify_error(found).is_server_error
    return not isinstance(found, _NEVER_SENT)


def _root(error: BaseException) -> BaseException:
    """boto3's own error, or an answer's lack of a field, as deep as it may lie."""
    current: BaseException | None = error
    while current is not None:
        if isinstance(current, ClientError | BotoCoreError | KeyError):
            return current
        current = current.__cause__
    return error


def _of_answer(error: ClientError, address: Address) -> str:
    response, operation = classify_error(error), error.operation_name
    said = f"({operation}: {response.code} {response.message}".rstrip() + ")"
    if not response.code:
        got = f"got HTTP status {response.status} to {operation}"
        return f"what is at {address.where} speaks no S3, {got}"
    if response.kind is AwsErrorKind.CONTAINER_NOT_FOUND:
        return f"there is no bucket {address.bucket!r} at {address.where}: check TUS_S3_BUCKET"
    if response.kind in _DENIED:
        return f"{_missing(operation, response.message, address)} {said}"
    if response.kind is AwsErrorKind.WRONG_REGION:
        value = f"={response.region}" if response.region else ""
        return f"the bucket is in another region: set AWS_DEFAULT_REGION{value} {said}"
    if response.is_server_error:
        return f"the service is in trouble: try again later {said}"
    return f"{_ADVICE.get(response.kind, 'the service refused')} {said}"


def _missing(operation: str, message: str, address: Address) -> str:
    """The permission, as AWS names it in its message, or else as its documentation does."""
    named = re.search(r"perform: ([a-z0-9-]+:\w+)", message)
    permission = named[1] if named else PERMISSIONS.get(operation, "something")
    if not permission.startswith("s3:"):
        return f"{permission} is not allowed: allow it too"
    resource = f"arn:aws:s3:::{address.bucket}{'' if permission in _OF_THE_BUCKET else '/*'}"
    return f"{permission} is not allowed: allow it on {resource}"


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__
