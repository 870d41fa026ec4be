"""The boto3 client for a bucket. Credentials, region and proxies are boto3's own business.

Make it in the process that uses it: after fork, and after gevent has patched the sockets.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import boto3
import botocore
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_TIMEOUT = 5.0
"""Seconds until a connection attempt is given up. A HEAD must be answered before a client's own
patience ends: tus-js-client and Uppy give up 9 seconds after their first try."""

READ_TIMEOUT = 60.0
"""Seconds that S3 may be silent. Completing a large upload takes it a while."""

SPARE_CONNECTIONS = 128
"""Connections that are kept beside those that carry parts: for small calls and downloads. Each is
opened when it is first needed; one for which there is no room is closed after its call. A worker
computes some 2 ms for a small call, so with 200 ms to S3 it has a hundred of them going on."""


class ChecksumMode(StrEnum):
    """What S3 verifies of the bytes that it gets."""

    AUTO = "auto"
    """The CRC-32 of each object and part. It was computed as the bytes came from the client, and
    the signature covers it, so the bytes themselves need not be hashed once more for that."""
    REQUIRED = "required"
    """The CRC-32, and the SHA-256 that signs the bytes, at half the speed."""
    OFF = "off"
    """No CRC-32, for services that refuse it. Without TLS the bytes are signed instead."""


def make_client(
    *, endpoint: str | None, parallel_parts: int, checksum: ChecksumMode = ChecksumMode.AUTO
) -> S3Client:
    """A client whose pool has room for `parallel_parts` part uploads and the calls beside them.

    Args:
        endpoint: the service's URL; None for AWS, or whatever AWS_ENDPOINT_URL says. Either
            implies path-style addressing, since few services have a host name for each bucket.
        parallel_parts: parts that are uploaded at the same time.
        checksum: what S3 verifies; `Bucket` has to know as well.
    """
    session = boto3.session.Session()
    endpoint = endpoint or _configured_endpoint(session)
    is_plain = endpoint is not None and endpoint.startswith("http:")
    signs_bytes = checksum is ChecksumMode.REQUIRED or (checksum is ChecksumMode.OFF and is_plain)
    config = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        # Three tries of each call, unless AWS_MAX_ATTEMPTS says otherwise.
        retries={"mode": "standard"},
        max_pool_connections=parallel_parts + SPARE_CONNECTIONS,
        tcp_keepalive=True,
        # What is passed is known to be right, and looking costs CPU in each call.
        parameter_validation=False,
        # botocore's own is put together anew, twice in each call.
        user_agent=f"tus-wsgi-s3 Boto3/{boto3.__version__} Botocore/{botocore.__version__}",
        s3={
            # Not "auto", which makes links to AWS's first region, whatever the bucket's is.
            "addressing_style": "virtual" if endpoint is None else "path",
            "payload_signing_enabled": signs_bytes,
        },
        # The sums are ours. boto3's own would be sent as a trailer over TLS, which several services
        # refuse (411), or worse: they store its framing as data.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    client = session.client("s3", endpoint_url=endpoint, config=config)
    client.meta.events.register("choose-signer.s3.GetObject", _signer_of_links)  # type: ignore[arg-type]
    return client


def _configured_endpoint(session: boto3.session.Session) -> str | None:
    """The service that AWS_ENDPOINT_URL, or a profile, names; None where it is AWS itself."""
    configured = session.client("s3").meta.endpoint_url
    unconfigured: dict[str, Any] = {"ignore_configured_endpoint_urls": True}
    plain = session.client("s3", config=Config(**unconfigured)).meta.endpoint_url
    return None if configured == plain else configured


def _signer_of_links(signature_version: str, **_: object) -> str | None:
    """Version 4 for presigned URLs: botocore's own choice is 2, which newer buckets refuse."""
    return "s3v4-query" if signature_version in ("v4-query", "s3v4-query") else None
