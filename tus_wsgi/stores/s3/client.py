"""Make the boto3 client of a bucket. boto3 finds credentials, region and proxies by itself.

Make the client in the process that uses it: after fork, and after gevent has patched the sockets.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import boto3
import botocore
from boto3.session import Session
from botocore.config import Config

from tus_wsgi.domain.addressing import AddressingStyle
from tus_wsgi.stores.s3.aws_session import configured_addressing_style, new_session

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_TIMEOUT = 5.0
"""Seconds until a connection attempt times out. A HEAD must be answered before the client's own
timeout: tus-js-client and Uppy give up 9 seconds after their first attempt."""

READ_TIMEOUT = 60.0
"""Seconds without data from S3 until a call times out. CompleteMultipartUpload of a large upload
takes a while."""

SPARE_CONNECTIONS = 128
"""Connections in the pool for small calls and downloads, in addition to those for parts. A
connection is opened when it is needed; if the pool is full, it is closed after its call. A small
call takes about 2 ms of CPU, so at a latency of 200 ms a busy worker has 100 calls in flight."""


class ChecksumMode(StrEnum):
    """How S3 verifies the bytes that it receives."""

    AUTO = "auto"
    """The CRC-32 of each object and part. It is computed when the bytes arrive from the client, and
    the signature covers it, so the signature does not need the SHA-256 of the bytes."""
    REQUIRED = "required"
    """The CRC-32, and a signature over the SHA-256 of the bytes. This halves the throughput."""
    OFF = "off"
    """No CRC-32, for services that refuse it. Without TLS, the bytes are signed instead."""


def make_client(
    *,
    endpoint: str | None,
    parallel_parts: int,
    checksum: ChecksumMode = ChecksumMode.AUTO,
    addressing: AddressingStyle | None = None,
    session: Session | None = None,
    timeout: float | None = None,
) -> S3Client:
    """Return a client with a pool of `parallel_parts` + `SPARE_CONNECTIONS` connections.

    Args:
        endpoint: the service's URL. If None, AWS_ENDPOINT_URL is used, or else AWS.
        parallel_parts: the maximum number of concurrent part uploads.
        checksum: how S3 verifies bytes. Pass `has_checksums` to `Bucket` accordingly.
        addressing: where requests name the bucket; None for the `addressing_style` in the
            configuration of AWS. If that is not set either, the bucket is in the host for AWS and
            in the path for other services, because few of them have a host name for each bucket.
        session: shares the credentials with other clients; None for a new session.
        timeout: seconds after which a call fails, without a second attempt; None for long timeouts.
    """
    session = session or new_session()
    endpoint = endpoint or _configured_endpoint(session)
    by_default = AddressingStyle.VIRTUAL if endpoint is None else AddressingStyle.PATH
    style = addressing or configured_addressing_style() or by_default
    config = _config(endpoint, style, parallel_parts, checksum)
    if timeout is not None:
        config = config.merge(_without_retries(timeout))
    client = session.client("s3", endpoint_url=endpoint, config=config)
    client.meta.events.register("choose-signer.s3.GetObject", _presigned_url_signer)  # type: ignore[arg-type]
    return client


def _config(
    endpoint: str | None, style: AddressingStyle, parallel_parts: int, checksum: ChecksumMode
) -> Config:
    is_plain = endpoint is not None and endpoint.startswith("http:")
    is_unprotected = checksum is ChecksumMode.OFF and is_plain
    signs_bytes = checksum is ChecksumMode.REQUIRED or is_unprotected
    return Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        # Three attempts of each call, unless AWS_MAX_ATTEMPTS is set.
        retries={"mode": "standard"},
        max_pool_connections=parallel_parts + SPARE_CONNECTIONS,
        tcp_keepalive=True,
        # The parameters are known to be valid, and validation costs CPU in each call.
        parameter_validation=False,
        # botocore would build its default string twice in each call.
        user_agent=f"tus-wsgi-s3 Boto3/{boto3.__version__} Botocore/{botocore.__version__}",
        s3={
            # "auto" would presign URLs for us-east-1, whatever the bucket's region is.
            "addressing_style": style.value,
            "payload_signing_enabled": signs_bytes,
        },
        # `Bucket` sends checksums itself. Over TLS, boto3 would send them as a trailer:
        # several services refuse it (411), and others store its framing as data.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


def _without_retries(timeout: float) -> Config:
    return Config(connect_timeout=timeout, read_timeout=timeout, retries={"total_max_attempts": 1})


def _configured_endpoint(session: Session) -> str | None:
    """Return the endpoint from AWS_ENDPOINT_URL or a profile; None if neither sets it."""
    configured = session.client("s3").meta.endpoint_url
    unconfigured: dict[str, Any] = {"ignore_configured_endpoint_urls": True}
    plain = session.client("s3", config=Config(**unconfigured)).meta.endpoint_url
    return None if configured == plain else configured


def _presigned_url_signer(signature_version: str, **_: object) -> str | None:
    """Select signature version 4 for presigned URLs; newer buckets refuse botocore's default, 2."""
    return "s3v4-query" if signature_version in ("v4-query", "s3v4-query") else None
