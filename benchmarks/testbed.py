"""The servers of a run: an S3 server, a line to it, and the targets on both, started as needed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from gunicorn.config import KNOWN_SETTINGS

from benchmarks.client import Client
from benchmarks.options import Options
from benchmarks.proxy import Remote
from demo.npm import find_npm
from demo.process import ChildProcess, SetupError
from demo.seaweedfs import start_seaweedfs
from tus_wsgi.domain.model import GIB, MIB
from tus_wsgi.stores.s3.transfers import PARTS_IN_FLIGHT

ROOT = Path(__file__).parents[1]
OURS = "tus_wsgi"
NODE = "@tus/server"
NODE_README = "@tus/server, README"
"""With what its store's README says, and what it does when nobody says anything."""

NODE_PACKAGES = ("@tus/server@2.4.5", "@tus/s3-store@2.0.7")

START_SECONDS = 60.0
STOP_SECONDS = 5.0

README_PART_SIZE = 8 * MIB
"""https://github.com/tus/tus-node-server, packages/s3-store, "Use"; 60 parts at once go with it."""

S3_HEAP_LIMIT = "4GiB"
"""What our own S3 gets for its heap. With the 512 MiB of the tests, 50 uploads at once are as fast
as its garbage collector."""

FULL = 8 * GIB
"""Bytes after which a new S3 server with an empty disk takes the old one's place."""

_LISTENING = re.compile(r"istening at:? (http://127\.0\.0\.1:\d+)")


@dataclass(frozen=True, slots=True)
class Target:
    """A tus server that is measured.

    Attributes:
        name: in the tables.
        url: where uploads are created.
        pid: of the process that is accounted for, with its children.
        proxy: the line to S3 that it alone uses just now, if there is one.
        temporary: its directory for temporary files, if that is known.
    """

    name: str
    url: str
    pid: int
    proxy: Remote | None = None
    temporary: Path | None = None


@dataclass(frozen=True, slots=True)
class S3:
    """An S3 service: its URL, a bucket, and the variables with the credentials."""

    endpoint: str
    bucket: str
    environ: Mapping[str, str]


class Stage:
    """Starts what is asked for, once. A context manager: leaving it stops everything."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._running = contextlib.ExitStack()
        self._s3: S3 | None = None
        self._proxy: Remote | None = None
        self._targets: dict[bool, list[Target]] = {}
        self._readme_node: list[Target] = []
        self._written = 0
        self._started = 0

    @property
    def s3(self) -> S3:
        """Where the bytes go."""
        if self._s3 is None:
            self._s3 = self._given_s3() if self.options.s3 else self._own_s3()
        return self._s3

    @property
    def proxy(self) -> Remote:
        """A line to it, which counts."""
        if self._proxy is None:
            command = [sys.executable, "-m", "benchmarks.proxy", "--to", self.s3.endpoint]
            url, _, _ = self._start(command, {"PYTHONPATH": str(ROOT)})
            self._proxy = Remote(url)
        return self._proxy

    def targets(self, *, proxied: bool = False) -> list[Target]:
        """Every target, warm; those that use the proxy if `proxied`."""
        if proxied not in self._targets:
            endpoint = self.proxy.url if proxied else self.s3.endpoint
            targets = [self._ours(endpoint, proxied=proxied)]
            if self.options.has_peers:
                alike = (self.options.part_size, self.options.parallel)
                targets.append(self._node(NODE, endpoint, *alike, proxied=proxied))
            for other in self.options.others:
                if not proxied or other.proxy:
                    line = Remote(other.proxy) if proxied and other.proxy else None
                    targets.append(Target(other.name, other.url, other.pid, line))
            for target in targets:
                self._warm(target)
            self._targets[proxied] = targets
        return self._targets[proxied]

    def readme_node(self) -> list[Target]:
        """@tus/server as its README starts it, warm, if peers take part."""
        if self.options.has_peers and not self._readme_node:
            as_said = (README_PART_SIZE, None)
            target = self._node(NODE_README, self.s3.endpoint, *as_said, proxied=False)
            self._warm(target)
            self._readme_node = [target]
        return self._readme_node

    def environ(self) -> dict[str, str]:
        """The variables of this process, with the credentials for S3 and no other settings."""
        ours = ("AWS_", "TUS_")
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
        # Two of what our own S3 says are our server's settings.
        s3 = {name: text for name, text in self.s3.environ.items() if name.startswith("AWS_")}
        return {**inherited, **s3}

    def begin_round(self, size: int) -> None:
        """Make room for `size` more bytes: with new servers if the disk would get too full."""
        self._written += size
        if self._written > FULL:
            self.close()
            self._written = size

    def close(self) -> None:
        """Stop everything; what is asked for afterwards is started anew."""
        self._targets.clear()
        self._readme_node = []
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

    def _own_s3(self) -> S3:
        disk = tempfile.mkdtemp(prefix="s3-", dir=self.options.directory)
        self._running.callback(shutil.rmtree, disk, ignore_errors=True)
        server = self._running.enter_context(start_seaweedfs(Path(disk), heap_limit=S3_HEAP_LIMIT))
        # @tus/s3-store reads tags, which the least privilege does not allow.
        return S3(server.endpoint, server.bucket, server.environ(server.admin))

    def _given_s3(self) -> S3:
        assert self.options.s3 is not None
        endpoint, bucket = self.options.s3
        variables = {name: text for name, text in os.environ.items() if name.startswith("AWS_")}
        return S3(endpoint, bucket, variables)

    def _ours(self, endpoint: str, *, proxied: bool) -> Target:
        known = {flag for setting in KNOWN_SETTINGS for flag in setting.cli or ()}
        command = [
            *(sys.executable, "-m", "gunicorn", "--config", str(ROOT / "gunicorn.conf.py")),
            *("--chdir", str(ROOT), "--bind", "127.0.0.1:0"),
            *("--workers", str(self.options.workers)),
            *(["--no-control-socket"] if "--no-control-socket" in known else []),
        ]
        environ = {
            "TUS_S3_ENDPOINT": endpoint,
            "TUS_S3_BUCKET": self.s3.bucket,
            "TUS_S3_OBJECT_PREFIX": f"{secrets.token_hex(4)}/",
            "TUS_S3_PART_SIZE": str(self.options.part_size),
            "TUS_LOCK_DIR": str(self.options.directory / "locks"),
        }
        if self.options.parallel < PARTS_IN_FLIGHT:
            environ["TUS_S3_CONCURRENT_PART_UPLOADS"] = str(self.options.parallel)
        url, pid, temporary = self._start(command, environ)
        line = self.proxy if proxied else None
        return Target(OURS, f"{url}/files", pid, line, temporary)

    def _node(
        self, name: str, endpoint: str, part_size: int, parallel: int | None, *, proxied: bool
    ) -> Target:
        said = {
            "modules": str(node_modules(*NODE_PACKAGES)),
            "endpoint": endpoint,
            "bucket": self.s3.bucket,
            "partSize": part_size,
            "parallel": parallel,
        }
        script = Path(__file__).with_name("tus_node.mjs")
        url, pid, temporary = self._start([_node_program(), str(script), json.dumps(said)], {})
        line = self.proxy if proxied else None
        return Target(name, f"{url}/files", pid, line, temporary)

    def _start(self, command: Sequence[str], environ: Mapping[str, str]) -> tuple[str, int, Path]:
        """Start a server that says where it listens: its URL, its process id, its directory."""
        self._started += 1
        directory = self.options.directory / f"server-{self._started}"
        temporary = directory / "tmp"
        temporary.mkdir(parents=True)
        variables = {**self.environ(), "TMPDIR": str(temporary), **environ}
        process = ChildProcess(command, environ=variables, log=directory / "log")
        self._running.callback(process.stop, grace=STOP_SECONDS)
        deadline = time.monotonic() + START_SECONDS
        while not (found := _LISTENING.search(process.log.read_text("utf-8", errors="replace"))):
            if not process.running() or time.monotonic() > deadline:
                raise SetupError(f"{command[:3]} did not start:\n{process.log_tail()}")
            time.sleep(0.02)
        return found[1], process.pid, temporary

    def _warm(self, target: Target) -> None:
        """First uploads load code and open connections, which is not what is measured."""
        with Client(target.url) as client:
            client.upload(1)
            client.upload(self.options.part_size + 1)


def node_modules(*packages: str) -> Path:
    """A `node_modules` with these packages, fetched once into a folder that git ignores.

    Raises:
        SetupError: there is no npm, or it failed.
    """
    cache = ROOT / ".cache" / "node"
    target = cache / "+".join(package.replace("/", "_") for package in packages)
    if not target.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            installed = Path(scratch, "installed")
            installed.mkdir()
            # No script of any package runs.
            options = ["--ignore-scripts", "--no-audit", "--no-fund", f"--prefix={installed}"]
            command = [find_npm(), "install", *options, *packages]
            ran = subprocess.run(command, check=False, capture_output=True, text=True)
            if ran.returncode:
                raise SetupError(f"npm could not install {packages}: {ran.stderr[-1000:]}")
            installed.rename(target)
    return target / "node_modules"


def _node_program() -> str:
    found = shutil.which("node") or shutil.which("node", path=sysconfig.get_path("scripts"))
    if found is None:
        raise SetupError("npm without node")
    return found
