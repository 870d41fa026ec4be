"""The servers of a run: an S3 server, a proxy for it, and the measured servers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from gunicorn.config import KNOWN_SETTINGS

from benchmarks.client import Client
from benchmarks.options import Options
from benchmarks.proxy import ProxyClient
from benchmarks.tusd import TUSD, TUSD_DEFAULTS, has_go, tusd_command
from demo.npm import find_npm
from demo.process import ChildProcess, SetupError
from demo.seaweedfs import start_seaweedfs
from tus_wsgi.domain.model import GIB, MIB
from tus_wsgi.domain.parts import PartLimits
from tus_wsgi.stores.s3.transfers import MAX_PARTS_IN_FLIGHT

ROOT = Path(__file__).parents[1]
TUS_WSGI = "tus_wsgi"
NODE = "@tus/server"
NODE_README = "@tus/server, README"
"""@tus/server with the settings of its store's README, and with defaults for all others."""

RELAY = "relay"
"""See `benchmarks.relay`."""

NODE_PACKAGES = ("@tus/server@2.4.5", "@tus/s3-store@2.0.7")

START_SECONDS = 60.0
STOP_SECONDS = 5.0

README_PART_SIZE = 8 * MIB
"""https://github.com/tus/tus-node-server, packages/s3-store, "Use", with 60 concurrent parts."""

S3_HEAP_LIMIT = "4GiB"
"""The heap limit of the S3 server. With the 512 MiB of the tests, its garbage collector limits the
rate of 50 concurrent uploads."""

MAX_WRITTEN = 8 * GIB
"""The bytes after which a new S3 server with an empty disk replaces the old one."""

_LISTENING = re.compile(r"istening at:? (http://127\.0\.0\.1:\d+)")


@dataclass(frozen=True, slots=True)
class Target:
    """A tus server to measure.

    Attributes:
        name: the name in the tables.
        url: the URL that creates uploads.
        pid: the process to measure, with its children.
        proxy: the proxy between the server and S3, if it uses one.
        temporary: the server's directory for temporary files, if known.
    """

    name: str
    url: str
    pid: int
    proxy: ProxyClient | None = None
    temporary: Path | None = None


@dataclass(frozen=True, slots=True)
class S3:
    """An S3 service: its URL, a bucket, and the variables that contain the credentials."""

    endpoint: str
    bucket: str
    environ: Mapping[str, str]


class Testbed:
    """The servers of a run, started when first needed. A context manager: leaving it stops them."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._running = contextlib.ExitStack()
        self._s3: S3 | None = None
        self._proxy: ProxyClient | None = None
        self._targets: dict[bool, list[Target]] = {}
        self._readme_node: list[Target] = []
        self._relay: list[Target] = []
        self._written = 0
        self._started = 0
        self._worktree: Path | None = None

    @property
    def s3(self) -> S3:
        """The S3 service that all targets use."""
        if self._s3 is None:
            self._s3 = self._external_s3() if self.options.s3 else self._start_s3()
        return self._s3

    @property
    def proxy(self) -> ProxyClient:
        """The proxy for the S3 service."""
        if self._proxy is None:
            command = [sys.executable, "-m", "benchmarks.proxy", "--to", self.s3.endpoint]
            url, _, _ = self._start(command, {"PYTHONPATH": str(ROOT)})
            self._proxy = ProxyClient(url)
        return self._proxy

    def targets(self, *, proxied: bool = False) -> list[Target]:
        """Return all targets, warmed up. With `proxied`, they reach S3 through the proxy."""
        if proxied not in self._targets:
            endpoint = self.proxy.url if proxied else self.s3.endpoint
            targets = [self._start_tus_wsgi(ROOT, endpoint, proxied=proxied)]
            if self.options.compared:
                other = self._start_tus_wsgi(self.checkout(), endpoint, proxied=proxied)
                targets.append(replace(other, name=f"{TUS_WSGI} {self.options.compared}"))
            if self.options.has_peers:
                targets += self._start_peers(endpoint, proxied=proxied)
            targets += self._external_targets(proxied=proxied)
            for target in targets:
                self._warm_up(target)
            self._targets[proxied] = targets
        return self._targets[proxied]

    def _external_targets(self, *, proxied: bool) -> list[Target]:
        """Return the running servers of the options. With `proxied`, those that use a proxy."""
        targets = []
        for external in self.options.external:
            if not proxied:
                targets.append(Target(external.name, external.url, external.pid))
            elif external.proxy:
                proxy = ProxyClient(external.proxy)
                targets.append(Target(external.name, external.url, external.pid, proxy))
        return targets

    def _start_peers(self, endpoint: str, *, proxied: bool) -> list[Target]:
        """Start the other servers, with the same part size and number of concurrent parts."""
        part_size, parallel = self.options.part_size, self.options.parallel
        peers = []
        if has_go():
            alike = (part_size, parallel)
            peers.append(self._start_tusd(TUSD, endpoint, alike=alike, proxied=proxied))
            peers.append(self._start_tusd(TUSD_DEFAULTS, endpoint, alike=None, proxied=proxied))
        if self.options.has_node:
            peers.append(self._start_node(NODE, endpoint, part_size, parallel, proxied=proxied))
        return peers

    def readme_node(self) -> list[Target]:
        """Return @tus/server as its README starts it, warmed up.

        The list is empty if the options exclude the peers or @tus/server.
        """
        if self.options.has_peers and self.options.has_node and not self._readme_node:
            target = self._start_node(
                NODE_README, self.s3.endpoint, README_PART_SIZE, parallel=None, proxied=False
            )
            self._warm_up(target)
            self._readme_node = [target]
        return self._readme_node

    def relay(self) -> list[Target]:
        """Return the relay, warmed up, as the only target of a list."""
        if not self._relay:
            command = [
                *(sys.executable, "-m", "benchmarks.relay", "--to", self.s3.endpoint),
                *("--bucket", self.s3.bucket, "--part-size", str(self.options.part_size)),
                *("--parallel", str(self.options.parallel)),
            ]
            url, pid, temporary = self._start(command, {"PYTHONPATH": str(ROOT)})
            target = Target(RELAY, f"{url}/files", pid, temporary=temporary)
            self._warm_up(target)
            self._relay = [target]
        return self._relay

    def environ(self) -> dict[str, str]:
        """Return this process's environment with S3's credentials and no other settings."""
        settings = ("AWS_", "TUS_")
        inherited = {
            name: text for name, text in os.environ.items() if not name.startswith(settings)
        }
        # Leave out the TUS_ variables of SeaweedFS.
        s3 = {name: text for name, text in self.s3.environ.items() if name.startswith("AWS_")}
        return {**inherited, **s3}

    def begin_round(self, size: int) -> None:
        """Restart the servers with an empty disk if `size` more bytes exceed `MAX_WRITTEN`."""
        self._written += size
        if self._written > MAX_WRITTEN:
            self.close()
            self._written = size

    def close(self) -> None:
        """Stop all servers. Servers that are needed later are started again."""
        self._targets.clear()
        self._readme_node, self._relay = [], []
        self._proxy = self._s3 = None
        self._running.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        if self._worktree is not None:
            _run_git("worktree", "remove", "--force", str(self._worktree))

    def _start_s3(self) -> S3:
        disk = tempfile.mkdtemp(prefix="s3-", dir=self.options.directory)
        self._running.callback(shutil.rmtree, disk, ignore_errors=True)
        server = self._running.enter_context(start_seaweedfs(Path(disk), heap_limit=S3_HEAP_LIMIT))
        # @tus/s3-store reads tags, for which the identity `least_privilege` has no permission.
        return S3(server.endpoint, server.bucket, server.environ(server.admin))

    def _external_s3(self) -> S3:
        assert self.options.s3 is not None
        endpoint, bucket = self.options.s3
        variables = {name: text for name, text in os.environ.items() if name.startswith("AWS_")}
        return S3(endpoint, bucket, variables)

    def checkout(self) -> Path:
        """Return a directory with the compared commit of this project."""
        revision = self.options.compared
        assert revision is not None
        if self._worktree is None:
            worktree = self.options.directory / "compared"
            _run_git("worktree", "add", "--detach", "--force", str(worktree), revision)
            self._worktree = worktree
        return self._worktree

    def _start_tus_wsgi(self, root: Path, endpoint: str, *, proxied: bool) -> Target:
        """Start this project's server from the code in `root`."""
        known = {flag for setting in KNOWN_SETTINGS for flag in setting.cli or ()}
        connections = self.options.worker_connections
        command = [
            *(sys.executable, "-m", "gunicorn", "--config", str(root / "gunicorn.conf.py")),
            *("--chdir", str(root), "--bind", "127.0.0.1:0"),
            *("--workers", str(self.options.workers)),
            *(["--no-control-socket"] if "--no-control-socket" in known else []),
            *(["--worker-connections", str(connections)] if connections else []),
        ]
        environ = {
            "TUS_S3_ENDPOINT": endpoint,
            "TUS_S3_BUCKET": self.s3.bucket,
            "TUS_S3_OBJECT_PREFIX": f"{secrets.token_hex(4)}/",
            "TUS_S3_PART_SIZE": str(self.options.part_size),
            "TUS_LOCK_DIR": str(self.options.directory / f"locks-{root.name}"),
        }
        if self.options.part_size < PartLimits().min_part_size:
            environ["TUS_S3_MIN_PART_SIZE"] = str(self.options.part_size)
        if self.options.parallel < MAX_PARTS_IN_FLIGHT:
            environ["TUS_S3_CONCURRENT_PART_UPLOADS"] = str(self.options.parallel)
        # Python and gunicorn import the package from the working directory.
        url, pid, temporary = self._start(command, environ, directory=root)
        proxy = self.proxy if proxied else None
        return Target(TUS_WSGI, f"{url}/files", pid, proxy, temporary)

    def _start_node(
        self, name: str, endpoint: str, part_size: int, parallel: int | None, *, proxied: bool
    ) -> Target:
        """Start @tus/server. With `parallel` of None, it has its default of concurrent parts."""
        settings = {
            "modules": str(node_modules(*NODE_PACKAGES)),
            "endpoint": endpoint,
            "bucket": self.s3.bucket,
            "partSize": part_size,
            "parallel": parallel,
        }
        script = Path(__file__).with_name("tus_node.mjs")
        url, pid, temporary = self._start([_node_program(), str(script), json.dumps(settings)], {})
        proxy = self.proxy if proxied else None
        return Target(name, f"{url}/files", pid, proxy, temporary)

    def _start_tusd(
        self, name: str, endpoint: str, *, alike: tuple[int, int] | None, proxied: bool
    ) -> Target:
        command, url = tusd_command(endpoint, self.s3.bucket, alike=alike)
        _, pid, temporary = self._start(command, {}, url=url)
        return Target(name, url, pid, self.proxy if proxied else None, temporary)

    def _start(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        *,
        url: str | None = None,
        directory: Path | None = None,
    ) -> tuple[str, int, Path]:
        """Start a server and return its URL, process id and directory for temporary files.

        Args:
            command: the command.
            environ: variables for the server.
            url: the server's URL; None if the server logs it.
            directory: its working directory; None for that of this process.
        """
        self._started += 1
        own = self.options.directory / f"server-{self._started}"
        temporary = own / "tmp"
        temporary.mkdir(parents=True)
        variables = {**self.environ(), "TMPDIR": str(temporary), **environ}
        process = ChildProcess(command, environ=variables, log=own / "log", directory=directory)
        self._running.callback(process.stop, grace=STOP_SECONDS)
        deadline = time.monotonic() + START_SECONDS
        while not (found := _ready_url(process.log, url)):
            if not process.running() or time.monotonic() > deadline:
                raise SetupError(f"{command[:3]} did not start:\n{process.log_tail()}")
            time.sleep(0.02)
        return found, process.pid, temporary

    def _warm_up(self, target: Target) -> None:
        """Upload, so that loading code, connecting and testing S3 is not measured.

        The first tail of a process tests whether S3 honours conditions, with one call.
        """
        with Client(target.url) as client:
            client.upload_in_steps(2, 1)
            if self.options.part_size >= PartLimits().min_part_size:
                client.upload(self.options.part_size + 1)


def _ready_url(log: Path, url: str | None) -> str | None:
    """Return the URL of a server; None if it is not ready.

    Args:
        log: the server's log.
        url: the URL; None if the log contains it.
    """
    if url is not None:
        return url if _accepts(url) else None
    found = _LISTENING.search(log.read_text("utf-8", errors="replace"))
    return found[1] if found else None


def _accepts(url: str) -> bool:
    address = urlsplit(url)
    with contextlib.suppress(OSError):
        socket.create_connection((address.hostname or "", address.port or 80), 1).close()
        return True
    return False


def _run_git(*arguments: str) -> None:
    completed = subprocess.run(
        ["git", *arguments], cwd=ROOT, check=False, capture_output=True, text=True
    )
    if completed.returncode:
        raise SetupError(f"git {arguments[0]} failed: {completed.stderr[-1000:]}")


def node_modules(*packages: str) -> Path:
    """Return a `node_modules` directory with these packages.

    The packages are downloaded once into `.cache`, which git ignores.

    Raises:
        SetupError: npm is missing or failed.
    """
    cache = ROOT / ".cache" / "node"
    target = cache / "+".join(package.replace("/", "_") for package in packages)
    if not target.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            installed = Path(scratch, "installed")
            installed.mkdir()
            # Do not run the scripts of packages.
            options = ["--ignore-scripts", "--no-audit", "--no-fund", f"--prefix={installed}"]
            command = [find_npm(), "install", *options, *packages]
            completed = subprocess.run(command, check=False, capture_output=True, text=True)
            if completed.returncode:
                raise SetupError(f"npm could not install {packages}: {completed.stderr[-1000:]}")
            installed.rename(target)
    return target / "node_modules"


def _node_program() -> str:
    found = shutil.which("node") or shutil.which("node", path=sysconfig.get_path("scripts"))
    if found is None:
        raise SetupError("node is missing although npm is installed. Install Node.js")
    return found
