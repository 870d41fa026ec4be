"""An S3 service behind a fault proxy, and boto3 clients of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from demo.identities import Credentials
from tests.harness.proxies.fault_proxy import FaultProxy
from tests.harness.servers.s3_service import S3Service
from tus_wsgi.domain.model import MIB
from tus_wsgi.domain.parts import PartLimits

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CALL_TIMEOUT = 30.0
"""Seconds of silence after which a call fails, where only faults may fail calls."""

SECOND_CALL_TIMEOUT = 5.0
"""The same for the second run of a case whose fault is silence. On a busy machine an ordinary call
may take longer than `FaultyS3.short_timeout`, so a case that fails runs again with this timeout."""


@dataclass(slots=True)
class FaultyS3:
    """A proxy in front of a service, and clients of it. It runs one case at a time.

    Attributes:
        service: the service.
        part_size: bytes of a part; the smallest size that the service accepts, for speed.
        proxy: in front of the service.
        admin: a client past the proxy, for looking at what is stored.
    """

    service: S3Service
    part_size: int
    proxy: FaultProxy
    admin: S3Client = field(init=False)
    _clients: dict[tuple[float, bool, bool], S3Client] = field(default_factory=dict)
    _session: boto3.session.Session = field(default_factory=boto3.session.Session)

    def __post_init__(self) -> None:
        # Its calls have no side effects, so on a busy machine it may repeat them.
        owner = self.service.owner
        self.admin = self._new_client(self.service.endpoint, owner, CALL_TIMEOUT, attempts=5)

    @property
    def short_timeout(self) -> float:
        """Seconds of silence after which a call fails, where the fault is silence."""
        return 0.4 if self.part_size < MIB else 1.5

    def client(self, *, timeout: float, retries: bool, may_list: bool = False) -> S3Client:
        """Return a client of the proxy.

        Args:
            timeout: seconds of silence after which a call fails.
            retries: whether boto3 repeats failed calls by itself.
            may_list: whether it has the owner's permissions.
        """
        kind = (timeout, retries, may_list)
        if kind not in self._clients:
            credentials = self.service.owner if may_list else self.service.credentials
            self._clients[kind] = self._new_client(
                self.proxy.endpoint, credentials, timeout, attempts=3 if retries else 1
            )
        return self._clients[kind]

    def _new_client(
        self, endpoint: str, credentials: Credentials, timeout: float, *, attempts: int
    ) -> S3Client:
        return self._session.client(
            "s3",
            endpoint_url=endpoint,
            region_name=self.service.region,
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
            config=Config(
                connect_timeout=5,
                read_timeout=timeout,
                retries={"mode": "standard", "total_max_attempts": attempts},
                proxies={},
                max_pool_connections=20,
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )


@contextmanager
def open_faulty_s3(service: S3Service, part_size: int) -> Iterator[FaultyS3]:
    """Put a fault proxy in front of a service until the block ends."""
    with FaultProxy(urlsplit(service.endpoint).port or 80) as proxy:
        yield FaultyS3(service, part_size, proxy)


def limits_for(part_size: int) -> PartLimits:
    """Return limits under which all parts have this size, of deferred uploads too."""
    return PartLimits(
        part_size=part_size, min_part_size=part_size, max_object_size=10_000 * part_size
    )
