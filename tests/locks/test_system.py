"""End-to-end: three hosts behind a load balancer, a network that cuts, and servers that die.

    LOCKS=full script/test tests/locks/test_system.py

runs the long form, in about five minutes for each locker: 100 clients for two minutes, and then
until each client has sent its current file. LOCKS_CLIENTS sets another number of clients.
"""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError

from demo.ports import free_ports
from demo.seaweedfs import SeaweedFS
from tests.harness.data import write_file
from tests.harness.lockers import LEASE_KINDS
from tests.harness.node import node_packages, run_node
from tests.harness.proxies.tcp import TcpProxy
from tests.harness.servers.dynamodb import DynamoDB
from tests.harness.servers.gunicorn import Gunicorn
from tests.harness.servers.proxy_program import running_nginx
from tus_wsgi.domain.model import KIB, MIB
from tus_wsgi.lockers.lease.records import LeaseTiming
from tus_wsgi.lockers.lease.s3 import S3Records

pytestmark = [pytest.mark.locks, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
FULL = os.environ.get("LOCKS") == "full"
SECONDS = 120.0 if FULL else 4.0
"""Servers are killed for at least so long."""

MIN_DEATHS = 3

CLIENTS = int(os.environ.get("LOCKS_CLIENTS", "100" if FULL else "6"))
NODE_CLIENTS = max(1, CLIENTS // 12)
"""The number of clients that use tus-js-client; the others use tuspy."""

TUS_JS_CLIENT = "tus-js-client@4.3.1"

SIZE = 12 * MIB
CHUNK = 700 * KIB
"""Bytes of a PATCH. The part size is not a multiple of it, so most requests write a tail."""

PAUSE = 16.0 if FULL else 1.0
"""The maximum of seconds between two PATCHes of a client. A PATCH takes 50 ms of CPU time, here and
in S3 together. Many clients must be as slow as real ones, or the test measures the machine."""

DEATH_INTERVAL = (6.0, 12.0) if FULL else (2.0, 5.0)
"""Seconds from the start of a server to the next death, minimum and maximum."""

CUT_INTERVAL = 9_000_000
"""Bytes from the clients between two cuts of a connection."""

RETRY_DELAYS = [0, 1000, 3000, 5000]
"""Milliseconds: the defaults of tus-js-client, which start again after each success."""

RETRIES = 9
"""Retries of tuspy, one second apart. It supports a single delay only, so it gets as many seconds
as tus-js-client spends on its four attempts."""

POLL_INTERVAL = 0.2
"""Seconds between two reads of the lock records."""


class Hosts:
    """Three servers with separate temporary directories, as on separate hosts."""

    def __init__(self, directory: Path, environ: dict[str, str]) -> None:
        self.ports = list(free_ports({"one": (), "two": (), "three": ()}).values())
        self.deaths = 0
        self._directory = directory
        self._environ = environ
        self._starts = 0
        self._servers = [self._start(number) for number in range(3)]

    def _start(self, number: int) -> Gunicorn:
        home = self._directory / f"host{number}"
        temporary = home / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        self._starts += 1
        return Gunicorn(
            {**self._environ, "TMPDIR": str(temporary), "TUS_SPOOL_DIR": str(temporary)},
            directory=home / f"start{self._starts}",
            workers=2,
            port=self.ports[number],
        )

    def kill_one(self) -> None:
        """Kill a server with all its workers, and start it again."""
        number = random.randrange(3)
        self._servers[number].kill()
        self.deaths += 1
        self._servers[number] = self._start(number)

    def close(self) -> None:
        for server in self._servers:
            server.kill()

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in self._directory.glob("host*/start*/*.log"))


def create_upload(uploader: Any) -> str:
    """Create an upload and return its URL, with retries: tuspy does not retry creations."""
    for _ in range(RETRIES):
        try:
            return str(uploader.create_url())
        except TusCommunicationError:
            time.sleep(1)
    return str(uploader.create_url())


class Clients:
    """Clients that upload one file after the other until `finish` is called."""

    def __init__(self, endpoint: str, file: Path) -> None:
        self.urls: list[str] = []
        self.failures: list[Exception] = []
        self._endpoint = endpoint
        self._file = file
        self._must_stop = threading.Event()
        uploads = [self._tuspy] * (CLIENTS - NODE_CLIENTS) + [self._tus_js] * NODE_CLIENTS
        self._threads = [threading.Thread(target=self._run, args=(upload,)) for upload in uploads]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Wait until each client has uploaded its current file."""
        self._must_stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, upload: Callable[[], str]) -> None:
        """Upload one file after the other; `upload` returns the URL of a file."""
        while not self._must_stop.is_set():
            try:
                self.urls.append(upload())
            except Exception as error:  # noqa: BLE001 - the test reports it
                self.failures.append(error)
                return

    def _tuspy(self) -> str:
        with self._file.open("rb") as stream:
            uploader: Any = TusClient(self._endpoint).uploader(
                file_stream=stream, chunk_size=CHUNK, retries=RETRIES, retry_delay=1
            )
            uploader.set_url(create_upload(uploader))
            while uploader.offset < SIZE:
                uploader.upload_chunk()
                time.sleep(random.uniform(0, PAUSE))
        return str(uploader.url)

    def _tus_js(self) -> str:
        options = {
            "endpoint": self._endpoint,
            "file": str(self._file),
            "size": SIZE,
            "chunkSize": CHUNK,
            "metadata": {"filename": "file.bin"},
            "options": {"retryDelays": RETRY_DELAYS},
        }
        script = ROOT / "tests" / "live" / "clients" / "tus_js.cjs"
        modules = node_packages(TUS_JS_CLIENT)
        return str(run_node(script, options, modules=modules, seconds=200)["url"])


HeldLocks = Callable[[], list[str]]
"""Returns the locks with a holder, which may be dead."""


def held_in_dynamodb(dynamodb: DynamoDB, table: str) -> HeldLocks:
    return lambda: [item["id"]["S"] for item in dynamodb.items(table) if "holder" in item]


def held_in_s3(s3: SeaweedFS, prefix: str) -> HeldLocks:
    """Return a function that returns the names of the locks that are held."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3.environ().items():
            patch.setenv(name, value)
        records = S3Records(s3.bucket, prefix, endpoint=s3.endpoint)
    client = s3.client()

    def held() -> list[str]:
        listed = client.list_objects_v2(Bucket=s3.bucket, Prefix=prefix).get("Contents", [])
        names = [one["Key"].removeprefix(prefix) for one in listed]
        # If the next waiter never came, the record of a free lock remains.
        return [name for name in names if records._get(name).holder]

    return held


@contextmanager
def running_system(
    kind: str, s3: SeaweedFS, dynamodb: DynamoDB, directory: Path
) -> Iterator[tuple[Hosts, TcpProxy, HeldLocks]]:
    """Start all components, from the network proxy to the bucket."""
    environ = {
        **dynamodb.environ(),
        **s3.environ(),
        "TUS_S3_OBJECT_PREFIX": f"{directory.name}/",
        "TUS_S3_PART_SIZE": "5MiB",
        "TUS_LOCKER": kind,
        "TUS_HOSTS": "many",
    }
    held = held_in_s3(s3, f"{directory.name}/locks/")
    if kind == "dynamodb":
        environ["TUS_LOCK_TABLE"] = dynamodb.new_table()
        held = held_in_dynamodb(dynamodb, environ["TUS_LOCK_TABLE"])
    with ExitStack() as stack:
        hosts = Hosts(directory, environ)
        stack.callback(hosts.close)
        balancer = stack.enter_context(running_nginx(directory, hosts.ports))
        cuts = range(CUT_INTERVAL, 2000 * CUT_INTERVAL, CUT_INTERVAL)
        yield hosts, stack.enter_context(TcpProxy(balancer, cuts=cuts)), held


def kill_servers(hosts: Hosts, held: HeldLocks) -> int:
    """Kill one server after the other, and return the number of different locks that were held.

    Stop after `SECONDS`, but not before `MIN_DEATHS`, because a busy machine starts servers slowly.
    """
    seen: set[str] = set()
    end = time.monotonic() + SECONDS
    while time.monotonic() < end or hosts.deaths < MIN_DEATHS:
        death = time.monotonic() + random.uniform(*DEATH_INTERVAL)
        while time.monotonic() < death:
            seen.update(held())
            time.sleep(POLL_INTERVAL)
        hosts.kill_one()
    return len(seen)


def assert_all_free(held: HeldLocks) -> None:
    """Assert that all locks are free after two leases. All uploads have ended before."""
    deadline = time.monotonic() + 2 * LeaseTiming().lease
    while left := held():
        assert time.monotonic() < deadline, f"locks were not released: {left}"
        time.sleep(POLL_INTERVAL)


@pytest.mark.parametrize("kind", LEASE_KINDS)
def test_every_file_arrives_although_servers_die(
    kind: str, s3: SeaweedFS, dynamodb: DynamoDB, tmp_path: Path
) -> None:
    file = tmp_path / "file.bin"
    digest = write_file(file, SIZE)
    node_packages(TUS_JS_CLIENT)
    with running_system(kind, s3, dynamodb, tmp_path) as (hosts, proxy, held):
        clients = Clients(f"http://127.0.0.1:{proxy.port}/files/", file)
        clients.start()
        try:
            lock_count = kill_servers(hosts, held)
        finally:
            clients.finish()
        cuts, logs = proxy.cut_count, hosts.logs()
        print(
            f"{kind}: {len(clients.urls)} files, {lock_count} locks seen, {hosts.deaths} deaths,",
            f"{cuts} cuts, {logs.count('lock_taken_over')} taken over,",
            f"{logs.count('lock_timed_out')} refused",
        )
        assert clients.failures == [], f"the servers' logs are in {tmp_path}"
        assert len(clients.urls) >= CLIENTS
        assert cuts
        assert lock_count, "no lock was ever held"
        assert_all_free(held)
    for url in clients.urls:
        key = f"{tmp_path.name}/{url.rpartition('/')[2]}"
        content = s3.client().get_object(Bucket=s3.bucket, Key=key)["Body"].read()
        assert hashlib.sha256(content).hexdigest() == digest
