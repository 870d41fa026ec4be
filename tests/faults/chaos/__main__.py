"""Upload files while everything fails: `python -m tests.faults.chaos --minutes 30`.

Two servers with two workers each store files in SeaweedFS. Their workers are killed, stopped,
recycled, reloaded and upgraded; calls to S3 and to the locks fail in all ways; sweeps run. The
three lockers take turns. Each finished file is compared with what was sent, byte for byte, at once
and again when its locker's turn ends. The run fails if an acknowledged byte is lost.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import random
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from demo.ports import free_ports
from demo.seaweedfs import SeaweedFS, start_seaweedfs
from tests.faults.chaos.actions import Actions
from tests.faults.chaos.clients import Bucket, ChaosClient
from tests.faults.chaos.faults import DYNAMODB_FAULTS, S3_FAULTS, RandomFaults
from tests.faults.chaos.report import Report
from tests.faults.chaos.servers import ChaosServer, clean_environment
from tests.faults.faulty_s3 import deny_data
from tests.harness.clients.http import Response
from tests.harness.clients.transport import over_http
from tests.harness.proxies.fault_proxy import FaultProxy
from tests.harness.proxies.faults import Fault, no_fault
from tests.harness.servers.dynamodb import DynamoDB, running_dynamodb

PROGRESS_SECONDS = 15.0

JOIN_SECONDS = 600.0
"""How long the last file of a client may take."""

HEAD_ATTEMPTS = 3
"""The number of HEADs. Each waits for the lock for five seconds, and a lease expires after six."""

MAX_TURN = 3.0
"""The longest turn of a locker that waits for its files, in multiples of its share of the time."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command.

    Attributes:
        minutes: the time of the whole run.
        files: the number of files that have to be finished.
        clients: the number of clients that upload at the same time.
        seed: the seed of all random choices. The times of events are not reproducible.
        probability: the probability that a call fails.
        lockers: the lockers that take turns.
        directory: the directory of data and logs, which are kept; None for a temporary one.
    """

    minutes: float
    files: int
    clients: int
    seed: int
    probability: float
    lockers: tuple[str, ...]
    directory: Path | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the summary, and return the exit code."""
    options = parse(arguments)
    report = Report()
    began = time.monotonic()
    # SIGTERM interrupts too, because a command that a shell runs in the background ignores SIGINT.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run(options, report)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    minutes = (time.monotonic() - began) / 60
    print(f"\nchaos: {minutes:.1f} minutes, seed {options.seed}, {options.clients} clients")
    print("\n".join(report.lines()))
    return 1 if report.problems else 0


def run(options: Options, report: Report) -> None:
    """Start S3, and let each locker have its turn with the same S3 and the same report."""
    with contextlib.ExitStack() as stack:
        directory = options.directory or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="tus-chaos-"))
        )
        s3 = stack.enter_context(start_seaweedfs(directory / "s3"))
        dynamodb = None
        if "dynamodb" in options.lockers:
            dynamodb = stack.enter_context(running_dynamodb(directory))
        for kind in options.lockers:
            print(f"locks: {kind}", flush=True)
            with Turn(
                kind,
                options,
                s3=s3,
                dynamodb=dynamodb,
                directory=directory / f"turn-{kind}",
                report=report,
            ) as turn:
                turn.run()


def parse(arguments: Sequence[str] | None) -> Options:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--files", type=int, default=1000, help="that have to be finished")
    parser.add_argument("--clients", type=int, default=4, help="that upload at the same time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--probability", type=float, default=0.02, help="that a call fails")
    parser.add_argument("--lockers", default="file,dynamodb,s3", help="which take turns")
    parser.add_argument("--directory", type=Path, help="keep data and logs there")
    given = parser.parse_args(arguments)
    return Options(
        given.minutes,
        given.files,
        given.clients,
        given.seed,
        given.probability,
        tuple(given.lockers.split(",")),
        given.directory,
    )


class Turn:
    """The part of a run with one kind of locks. A context manager that ends all its processes.

    Args:
        kind: the value of TUS_LOCKER.
        options: the options of the run.
        s3: the service.
        dynamodb: the service of `dynamodb` locks; None if no locker of the run needs it.
        directory: the directory of logs and locks, which the turn creates.
        report: the report of the run.
    """

    def __init__(
        self,
        kind: str,
        options: Options,
        *,
        s3: SeaweedFS,
        dynamodb: DynamoDB | None,
        directory: Path,
        report: Report,
    ) -> None:
        directory.mkdir()
        self._kind = kind
        self._options = options
        self._s3 = s3
        self._directory = directory
        self._report = report
        self._seed = f"{options.seed}/{kind}"
        self._prefix = f"{secrets.token_hex(4)}/"
        self._stack = contextlib.ExitStack()
        self._proxy = self._stack.enter_context(FaultProxy(_port(s3.endpoint)))
        self._gate = self._stack.enter_context(FaultProxy(_port(self._proxy.endpoint)))
        self._gate.start(deny_data)
        self._lock_proxy = None
        if kind == "dynamodb":
            assert dynamodb is not None
            self._lock_proxy = self._stack.enter_context(FaultProxy(dynamodb.port))
        self._s3_faults = self._random_faults("S3", S3_FAULTS, options.probability)
        self._environ = self._new_environ(dynamodb)
        ports = free_ports({"first": (), "second": ()})
        self._servers = [
            ChaosServer(self._environ, directory / name, port) for name, port in ports.items()
        ]
        for server in self._servers:
            self._stack.callback(server.close)
        admin = s3.client()
        self._bucket = Bucket(admin, s3.bucket, self._prefix)

    def run(self) -> None:
        """Upload under faults; then let the faults end, and compare everything again."""
        for server in self._servers:
            server.start()
        ports = [server.port for server in self._servers]
        clients = [
            ChaosClient(number, self._seed, ports, self._bucket, self._report)
            for number in range(self._options.clients)
        ]
        actions = Actions(
            self._seed, self._servers, self._s3_faults, self._sweep_environs(), self._report
        )
        self._proxy.set_plan(self._s3_faults)
        if self._lock_proxy is not None:
            self._lock_proxy.set_plan(
                self._random_faults("DynamoDB", DYNAMODB_FAULTS, self._options.probability)
            )
        for thread in [*clients, actions]:
            thread.start()
        self._wait(clients)
        self._end(clients, actions)
        self._check_again(clients)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _random_faults(
        self, name: str, faults: tuple[Fault, ...], probability: float
    ) -> RandomFaults:
        rng = random.Random(f"{self._seed}/{name}")
        return RandomFaults(name, faults, probability=probability, rng=rng, report=self._report)

    def _new_environ(self, dynamodb: DynamoDB | None) -> dict[str, str]:
        """Return the environment of the servers, and create the files that they append to."""
        for name in ("finished", "bodies"):
            (self._directory / name).touch()
        environ = {
            **clean_environment(),
            **self._s3.environ(),
            "TUS_S3_ENDPOINT": self._proxy.endpoint,
            "TUS_S3_OBJECT_PREFIX": self._prefix,
            "TUS_S3_PART_SIZE": "5MiB",
            "TUS_LOCKER": self._kind,
            "TUS_EXPIRES": "6h",
            # Both servers name an upload by the same URL.
            "TUS_PUBLIC_URL": "http://uploads.test/files",
            "HOOKS": "on_finish",
            "FINISHED": str(self._directory / "finished"),
            "BODIES": str(self._directory / "bodies"),
        }
        if self._kind == "file":
            environ["TUS_LOCK_DIR"] = str(self._directory / "locks")
        if self._kind == "dynamodb":
            assert dynamodb is not None
            assert self._lock_proxy is not None
            environ["TUS_LOCK_TABLE"] = dynamodb.new_table()
            environ["AWS_ENDPOINT_URL_DYNAMODB"] = self._lock_proxy.endpoint
        return environ

    def _sweep_environs(self) -> list[Mapping[str, str]]:
        """Return the environment of a sweep with all rights, and of one that may read no data."""
        owner = self._s3.environ(self._s3.admin)
        full = {**self._environ, **owner, "TUS_S3_ENDPOINT": self._proxy.endpoint}
        return [full, {**full, "TUS_S3_ENDPOINT": self._gate.endpoint}]

    def _wait(self, clients: Sequence[ChaosClient]) -> None:
        """Wait until the turn's time is over and its files are finished, at most `MAX_TURN`."""
        share = self._options.minutes * 60 / len(self._options.lockers)
        files = math.ceil(self._options.files / len(self._options.lockers))
        began = time.monotonic()
        while (passed := time.monotonic() - began) < share * MAX_TURN:
            finished = sum(len(client.finished) for client in clients)
            if passed >= share and finished >= files:
                return
            actions, problems = self._report.sum("actions"), len(self._report.problems)
            print(
                f"{self._kind}: {passed:.0f} s, {finished} files finished, {actions} actions, "
                f"{problems} problems",
                flush=True,
            )
            time.sleep(min(PROGRESS_SECONDS, share))

    def _end(self, clients: Sequence[ChaosClient], actions: Actions) -> None:
        """Stop the actions and faults, let each client finish its file, and count tracebacks."""
        actions.is_stopping.set()
        for client in clients:
            client.is_stopping.set()
        actions.join(JOIN_SECONDS)
        self._proxy.deliver_delayed_calls()
        if self._lock_proxy is not None:
            self._lock_proxy.set_plan(no_fault)
        for client in clients:
            client.join(JOIN_SECONDS)
            if client.is_alive():
                self._report.fail(f"{client.name} does not finish its file")
        for server in self._servers:
            for name in server.logged_exceptions():
                self._report.count("tracebacks", name)

    def _check_again(self, clients: Sequence[ChaosClient]) -> None:
        """Compare every finished file once more, and check that terminated uploads are gone."""
        called = set((self._directory / "finished").read_text(encoding="ascii").split())
        for client in clients:
            for id, file in client.finished.items():
                if self._bucket.read(id) != file.content():
                    self._report.fail(f"the object of {id[:4]}... has changed")
                response = self._head(id)
                if (response.status, response.offset) != (200, file.size):
                    self._report.fail(f"{response.status} {response.offset} for a finished file")
                if id not in called:
                    self._report.fail(f"on_finish never ran for {id[:4]}...")
            for id in client.terminated:
                response = self._head(id)
                if response.status not in {404, 410}:
                    self._report.fail(f"{response.status} for a terminated upload")
        self._report.count(
            "files",
            f"finished with {self._kind} locks",
            sum(len(client.finished) for client in clients),
        )

    def _head(self, id: str) -> Response:
        """Ask for the offset, and ask again after a 423, as clients do.

        A service may acquire a lock so late that it has been released already. Then the lock has a
        holder that does not exist, until the lease expires.
        """
        send = over_http(self._servers[0].port)
        fields = {"Tus-Resumable": "1.0.0"}
        response = send("HEAD", f"/files/{id}", fields)
        attempts = 1
        while response.status == 423 and attempts < HEAD_ATTEMPTS:
            response = send("HEAD", f"/files/{id}", fields)
            attempts += 1
        return response


def _port(endpoint: str) -> int:
    return urlsplit(endpoint).port or 80


if __name__ == "__main__":
    sys.exit(main())
