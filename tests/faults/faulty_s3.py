"""An S3 service behind a fault proxy, and boto3 clients of it."""

from __future__ import annotations

import enum
import importlib.metadata
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
from botocore import UNSIGNED
from botocore.config import Config

from demo.identities import Credentials
from tests.faults.takeover import RealLockers, file_spec
from tests.harness.lockers import LockerSpec
from tests.harness.proxies.embedded import EmbeddedProxy, EmbeddedS3, attach
from tests.harness.proxies.fault_proxy import FaultProxy
from tests.harness.proxies.faults import Call, Fault
from tests.harness.proxies.s3_calls import REMOVALS
from tests.harness.servers.s3_service import S3Service
from tus_wsgi.domain.model import MIB
from tus_wsgi.domain.parts import PartLimits

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

EMBEDDED = S3Service(
    name="MiniStack",
    version=importlib.metadata.version("ministack"),
    endpoint="http://s3.test",
    credentials=Credentials("embedded", "secret"),
)
"""MiniStack's S3 in the process of each `FaultyS3`, without sockets."""

CALL_TIMEOUT = 30.0
"""Seconds of silence after which a call fails. Long, so that only faults fail calls."""

SECOND_CALL_TIMEOUT = 5.0
"""`CALL_TIMEOUT` of the second run of a case that failed. The first run may have used
`FaultyS3.short_timeout`, and on a busy machine an ordinary call may take longer than that."""


class Rights(enum.Enum):
    """The permissions of a sweep."""

    ALL = "all rights"
    NO_DATA = "no rights to data objects"
    NO_LISTS = "no rights to list"


@dataclass(slots=True)
class FaultyS3:
    """A proxy in front of a service, and clients of it. It runs one case at a time.

    Attributes:
        service: the service.
        part_size: bytes of a part; the smallest size that the service accepts, for speed.
        proxy: the proxy in front of the service.
        gate: a proxy in front of `proxy`, for a sweep with few rights: it refuses the other calls.
        lock_specs: the places of locks of two servers, by their kinds.
        attach: called with each new client; see `EmbeddedProxy.attach`.
        admin: a client past the proxy, for looking at what is stored.
    """

    service: S3Service
    part_size: int
    proxy: FaultProxy | EmbeddedProxy
    gate: FaultProxy | EmbeddedProxy
    lock_specs: Mapping[str, LockerSpec] = field(default_factory=dict)
    attach: Callable[[S3Client], None] = lambda _: None
    admin: S3Client = field(init=False)
    _lockers: dict[str, RealLockers] = field(default_factory=dict)
    _clients: dict[tuple[float, bool, bool, str], S3Client] = field(default_factory=dict)
    _session: boto3.session.Session = field(default_factory=boto3.session.Session)

    def __post_init__(self) -> None:
        # Its calls have no side effects, so on a busy machine it may repeat them.
        owner = self.service.owner
        self.admin = self._new_client(self.service.endpoint, owner, CALL_TIMEOUT, attempts=5)

    @property
    def short_timeout(self) -> float:
        """Seconds of silence after which a call fails, in cases whose fault is silence."""
        return 0.4 if self.part_size < MIB else 1.5

    def client(
        self,
        *,
        timeout: float,
        retries: bool,
        may_list: bool = False,
        endpoint: str | None = None,
    ) -> S3Client:
        """Return a client of the proxy.

        Args:
            timeout: seconds of silence after which a call fails.
            retries: whether boto3 repeats failed calls by itself.
            may_list: whether it has the owner's permissions.
            endpoint: its URL; None for the proxy's first one.
        """
        url = endpoint or self.proxy.endpoint
        options = (timeout, retries, may_list, url)
        if options not in self._clients:
            credentials = self.service.owner if may_list else self.service.credentials
            attempts = 3 if retries else 1
            self._clients[options] = self._new_client(url, credentials, timeout, attempts=attempts)
        return self._clients[options]

    def lockers(self, kind: str) -> RealLockers:
        """Return the lockers of two servers."""
        if kind not in self._lockers:
            spec = file_spec() if kind == "file" else self.lock_specs[kind]
            self._lockers[kind] = RealLockers(spec, self.attach)
        return self._lockers[kind]

    def sweep_client(self, rights: Rights, *, timeout: float) -> S3Client:
        """Return a client for a sweep with these rights. All sweeps share the `gate`."""
        if rights is Rights.ALL:
            endpoint = self.proxy.second_endpoint
        else:
            endpoint = self.gate.endpoint
            self.gate.start(_DENIALS[rights])
        return self.client(timeout=timeout, retries=False, may_list=True, endpoint=endpoint)

    def _new_client(
        self, endpoint: str, credentials: Credentials, timeout: float, *, attempts: int
    ) -> S3Client:
        """Return a client that tries each call `attempts` times, and is attached to the faults."""
        client = self._session.client(
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
                # Without a network there is nothing to protect, and signing takes time.
                signature_version=UNSIGNED if self.service == EMBEDDED else None,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        self.attach(client)
        return client


_METADATA = re.compile(r"\.(info|part(\.segment)?[\d.]*)$")
"""The end of the key of a record or a tail."""


def deny_data(call: Call) -> Fault | None:
    """Refuse every call for a data object, except removals: only records and tails can be read."""
    is_data = call.key and not _METADATA.search(call.key)
    return Fault.FORBIDDEN if is_data and call.operation not in REMOVALS else None


def _deny_lists(call: Call) -> Fault | None:
    return Fault.FORBIDDEN if call.operation.startswith("List") else None


_DENIALS = {Rights.NO_DATA: deny_data, Rights.NO_LISTS: _deny_lists}
"""Which calls of a sweep are refused. No removal is: a sweep that knows too little is dangerous
only if it can remove objects."""


@contextmanager
def open_faulty_s3(
    service: S3Service, part_size: int, lock_specs: Mapping[str, LockerSpec] | None = None
) -> Iterator[FaultyS3]:
    """Put a fault proxy in front of a service until the block ends."""
    if service == EMBEDDED:
        yield _open_embedded(service, part_size, lock_specs or {})
        return
    with (
        FaultProxy(_port(service.endpoint)) as proxy,
        FaultProxy(_port(proxy.second_endpoint)) as gate,
    ):
        yield FaultyS3(service, part_size, proxy, gate, lock_specs or {})


def _open_embedded(
    service: S3Service, part_size: int, lock_specs: Mapping[str, LockerSpec]
) -> FaultyS3:
    s3 = EmbeddedS3()
    proxy = EmbeddedProxy(s3, "proxy")
    gate = EmbeddedProxy(proxy.forward, "gate")

    def attach_to(client: S3Client) -> None:
        url = client.meta.endpoint_url
        for owner in (proxy, gate):
            if url in {owner.endpoint, owner.second_endpoint}:
                owner.attach(client)
                return
        attach(client, s3)

    faulty = FaultyS3(service, part_size, proxy, gate, lock_specs, attach_to)
    faulty.admin.create_bucket(Bucket=service.bucket)
    return faulty


def _port(endpoint: str) -> int:
    return urlsplit(endpoint).port or 80


def limits_for(part_size: int) -> PartLimits:
    """Return limits under which all parts have this size, of deferred uploads too."""
    return PartLimits(
        part_size=part_size, min_part_size=part_size, max_object_size=10_000 * part_size
    )
