"""Everything together: three hosts behind a load balancer, a bad network, and servers that die.

    LOCKS=full script/test tests/locks/test_system.py

runs the long form, in about five minutes for each locker: 100 clients for two minutes, and then
until each has sent the file that it has begun. LOCKS_CLIENTS says another number.
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
from tests.harness.servers.nginx import running_nginx
from tus_wsgi.domain.model import KIB, MIB
from tus_wsgi.lockers.lease.records import LeaseTiming
from tus_wsgi.lockers.lease.s3 import S3Records

pytestmark = [pytest.mark.locks, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
FULL = os.environ.get("LOCKS") == "full"
SECONDS = 120.0 if FULL else 20.0
CLIENTS = int(os.environ.get("LOCKS_CLIENTS", "100" if FULL else "6"))
NODE_CLIENTS = max(1, CLIENTS // 12)
"""Of all clients, those that are tus-js-client; the others are tuspy."""

TUS_JS_CLIENT = "tus-js-client@4.3.1"

SIZE = 12 * MIB
CHUNK = 700 * KIB
"""Bytes of a PATCH. No multiple of anything, so that there are tails all the time."""

PAUSE = 16.0 if FULL else 1.0
"""Seconds between two PATCHes of a client, at most. One takes 50 ms of processor time, here and in
S3 together: many clients have to be as slow as real ones, or all that is tried is the machine."""

DEATH_EVERY = (6.0, 12.0) if FULL else (2.0, 5.0)
"""Seconds from a server's start to the next one's death."""

CUT_EVERY = 9_000_000
"""Bytes from the clients between two connections that are cut."""

RETRY_DELAYS = [0, 1000, 3000, 5000]
"""Milliseconds: tus-js-client's own, which begin anew with each success."""

RETRIES = 9
"""How often tuspy tries again, a second later each time: it knows one delay only, so it has as many
seconds as tus-js-client spends on its four tries."""

LOOK_EVERY = 0.2
"""Seconds between two looks at the lock records."""


class Hosts:
    """Three servers, each with temporary directories of its own, as on hosts of their own."""

    def __init__(self, directory: Path, environ: dict[str, str]) -> None:
        self.ports = list(free_ports({"one": (), "two": (), "three": ()}).values())
        self.deaths = 0
        self._directory = directory
        self._environ = environ
        self._starts = 0
        self._servers = [self._start(number) for number in range(3)]

    def _start(self, number: int) -> Gunicorn:
        home = self._directory / f"host{number}"
        own = home / "tmp"
        own.mkdir(parents=True, exist_ok=True)
        self._starts += 1
        return Gunicorn(
            {**self._environ, "TMPDIR": str(own), "TUS_SPOOL_DIR": str(own)},
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


def created(uploader: Any) -> str:
    """The URL of a new upload. Other clients than tuspy try a creation again, too."""
    for _ in range(RETRIES):
        try:
            return str(uploader.create_url())
        except TusCommunicationError:
            time.sleep(1)
    return str(uploader.create_url())


class Clients:
    """Clients that upload one file after the other until they are told to stop."""

    def __init__(self, endpoint: str, file: Path) -> None:
        self.urls: list[str] = []
        self.failures: list[Exception] = []
        self._endpoint = endpoint
        self._file = file
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(upload,))
            for upload, count in (
                (self._tuspy, CLIENTS - NODE_CLIENTS),
                (self._tus_js, NODE_CLIENTS),
            )
            for _ in range(count)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Wait until each has uploaded the file that it has begun."""
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, upload: object) -> None:
        assert callable(upload)
        while not self._is_over.is_set():
            try:
                self.urls.append(upload())
            except Exception as error:  # noqa: BLE001 - the test tells of it
                self.failures.append(error)
                return

    def _tuspy(self) -> str:
        with self._file.open("rb") as stream:
            uploader: Any = TusClient(self._endpoint).uploader(
                file_stream=stream, chunk_size=CHUNK, retries=RETRIES, retry_delay=1
            )
            uploader.set_url(created(uploader))
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


Held = Callable[[], list[str]]
"""The locks that somebody has, or had when it died."""


def held_in_dynamodb(dynamodb: DynamoDB, table: str) -> Held:
    return lambda: [item["id"]["S"] for item in dynamodb.items(table) if "holder" in item]


def held_in_s3(s3: SeaweedFS, prefix: str) -> Held:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3.environ().items():
            patch.setenv(name, value)
        records = S3Records(s3.bucket, prefix, endpoint=s3.endpoint)
    client = s3.client()

    def held() -> list[str]:
        listed = client.list_objects_v2(Bucket=s3.bucket, Prefix=prefix).get("Contents", [])
        names = [one["Key"].removeprefix(prefix) for one in listed]
        # A record may also say that nobody has the lock, where the one who was next did not come.
        return [name for name in names if records._get(name).holder]

    return held


@contextmanager
def system(
    kind: str, s3: SeaweedFS, dynamodb: DynamoDB, directory: Path
) -> Iterator[tuple[Hosts, TcpProxy, Held]]:
    """The whole of it, from the network that breaks to the bucket."""
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
        cuts = range(CUT_EVERY, 2000 * CUT_EVERY, CUT_EVERY)
        yield hosts, stack.enter_context(TcpProxy(balancer, cuts=cuts)), held


def let_them_die(hosts: Hosts, held: Held) -> int:
    """Kill one host after the other until it is time to stop; how many locks were seen meanwhile.

    Starting a server takes a while on a machine that does much else. So the end is when the time
    is up and somebody has died.
    """
    seen: set[str] = set()
    end = time.monotonic() + SECONDS
    while time.monotonic() < end or hosts.deaths < 2:
        death = time.monotonic() + random.uniform(*DEATH_EVERY)
        while time.monotonic() < death:
            seen.update(held())
            time.sleep(LOOK_EVERY)
        hosts.kill_one()
    return len(seen)


def assert_all_free(held: Held) -> None:
    """In two leases at the latest: whoever has finished an upload has taken its lock over first."""
    deadline = time.monotonic() + 2 * LeaseTiming().lease
    while left := held():
        assert time.monotonic() < deadline, f"nobody gave back {left}"
        time.sleep(LOOK_EVERY)


@pytest.mark.parametrize("kind", LEASE_KINDS)
def test_every_file_arrives_whatever_dies(
    kind: str, s3: SeaweedFS, dynamodb: DynamoDB, tmp_path: Path
) -> None:
    file = tmp_path / "file.bin"
    digest = write_file(file, SIZE)
    node_packages(TUS_JS_CLIENT)
    with system(kind, s3, dynamodb, tmp_path) as (hosts, proxy, held):
        clients = Clients(f"http://127.0.0.1:{proxy.port}/files/", file)
        clients.start()
        try:
            seen = let_them_die(hosts, held)
        finally:
            clients.finish()
        cuts, logs = proxy.cut_count, hosts.logs()
        print(
            f"{kind}: {len(clients.urls)} files, {seen} locks seen, {hosts.deaths} deaths,",
            f"{cuts} cuts, {logs.count('lock_taken_over')} taken over,",
            f"{logs.count('lock_timed_out')} refused",
        )
        assert clients.failures == [], f"the servers' logs are in {tmp_path}"
        assert len(clients.urls) >= CLIENTS
        assert cuts
        assert seen, "locks that nobody sees are free as well"
        assert_all_free(held)
    for url in clients.urls:
        key = f"{tmp_path.name}/{url.rpartition('/')[2]}"
        content = s3.client().get_object(Bucket=s3.bucket, Key=key)["Body"].read()
        assert hashlib.sha256(content).hexdigest() == digest
