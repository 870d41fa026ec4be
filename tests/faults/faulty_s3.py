"""What the cases of the fault ring share: a faulty proxy before a real service, and clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from demo.identities import Credentials
from tests.harness.proxies.faults import FaultProxy
from tests.harness.servers.s3_service import S3Service
from tus_wsgi.domain.model import MIB
from tus_wsgi.domain.parts import PartLimits

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PATIENCE = 30.0
"""Seconds of silence that make a call a failure. Nothing but a fault may fail one."""

MORE_PATIENCE = 5.0
"""The same where a fault is silence. On a machine that does much else a call that nobody holds up
may take longer than a lane's `impatience`, so a case that fails is run once more with this."""


@dataclass(slots=True)
class Lane:
    """A proxy, and clients of it. One case at a time.

    Attributes:
        service: the real one.
        part_size: bytes of a part; the smallest that the service takes, for speed.
        proxy: in front of it.
        inspector: looks at what is stored, past the proxy.
    """

    service: S3Service
    part_size: int
    proxy: FaultProxy
    inspector: S3Client = field(init=False)
    _clients: dict[tuple[float, bool, bool], S3Client] = field(default_factory=dict)
    _session: boto3.session.Session = field(default_factory=boto3.session.Session)

    def __post_init__(self) -> None:
        # What it asks has no side effects, so on a busy machine it may ask again.
        who = self.service.owner
        self.inspector = self._new_client(self.service.endpoint, who, PATIENCE, attempts=5)

    @property
    def impatience(self) -> float:
        """Seconds of silence that make a call a failure where the fault is silence."""
        return 0.4 if self.part_size < MIB else 1.5

    def client(self, *, timeout: float, retries: bool, may_list: bool = False) -> S3Client:
        """A client of the proxy, for one that is silent for `timeout` seconds at most."""
        kind = (timeout, retries, may_list)
        if kind not in self._clients:
            attempts = 3 if retries else 1
            who = self.service.owner if may_list else self.service.credentials
            self._clients[kind] = self._new_client(
                self.proxy.endpoint, who, timeout, attempts=attempts
            )
        return self._clients[kind]

    def _new_client(
        self, endpoint: str, who: Credentials, timeout: float, *, attempts: int
    ) -> S3Client:
        return self._session.client(
            "s3",
            endpoint_url=endpoint,
            region_name=self.service.region,
            aws_access_key_id=who.access_key,
            aws_secret_access_key=who.secret_key,
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
def open_lane(service: S3Service, part_size: int) -> Iterator[Lane]:
    """A lane, until the block ends."""
    with FaultProxy(urlsplit(service.endpoint).port or 80) as proxy:
        yield Lane(service, part_size, proxy)


def limits_for(part_size: int) -> PartLimits:
    """Limits under which every upload's parts are of that size, of unknown length or not."""
    return PartLimits(
        part_size=part_size, min_part_size=part_size, max_object_size=10_000 * part_size
    )
