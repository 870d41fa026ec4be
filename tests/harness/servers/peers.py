"""Other servers of tus 1.0.0, which the conformance suite judges by the same rules as this project.

Each one is installed once into a folder that git ignores, and listens on the loopback interface.
Sizes are in bytes and times in seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.process import ChildProcess
from tests.harness.node import node_packages
from tests.harness.packages import python_package
from tus_wsgi.domain.model import MIB

HOST = "127.0.0.1"

NODE_SERVER, FILE_STORE = "2.4.5", "2.1.1"
RESUMABLE_UPLOAD = "0.3.0"

MAX_SIZE = 32 * MIB
"""Small enough for tests to exceed it."""

EXPIRES = 4
STALL = 3
START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class SuiteTarget:
    """A server that the conformance suite runs against.

    Attributes:
        name: the product and its version.
        url: where uploads are created.
        slug: the name of its reports and of its deviations file.
        options: more arguments of the suite.
    """

    name: str
    url: str
    slug: str
    options: tuple[str, ...] = ()


@contextlib.contextmanager
def tus_node_server(directory: Path) -> Iterator[SuiteTarget]:
    """Run the reference server for Node, which stores files on disk, until the block ends.

    Then print how many exceptions it has not caught.
    """
    with _node(directory / "a", 0) as url, _node(directory / "b", EXPIRES) as expiring:
        options = ("--expiring-url", expiring, "--expires", str(EXPIRES))
        name = f"@tus/server {NODE_SERVER} (Node {_node_version()})"
        yield SuiteTarget(name, url, "tus-node-server", options)
    log = (directory / "a" / "server.log").read_text(encoding="utf-8", errors="replace")
    sys.stdout.write(f"uncaught exceptions: {log.count('uncaught exception')}\n")


@contextlib.contextmanager
def resumable_upload(directory: Path) -> Iterator[SuiteTarget]:
    """Run the server of the package `resumable-upload`, with SQLite and files on disk."""
    short = ("--upload-expiry", str(EXPIRES), "--cleanup-interval", "1")
    with _python(directory / "a") as url, _python(directory / "b", *short) as expiring:
        options = (
            *("--expiring-url", expiring, "--expires", str(EXPIRES)),
            *("--stall", str(STALL)),
        )
        yield SuiteTarget(f"resumable-upload {RESUMABLE_UPLOAD}", url, "resumable-upload", options)


def _node_version() -> str:
    ran = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True)
    return ran.stdout.strip().removeprefix("v")


@contextlib.contextmanager
def _node(directory: Path, expires: int) -> Iterator[str]:
    """Run @tus/server until the block ends; yield its URL. Uploads expire after `expires` seconds.

    With 0, they do not expire.
    """
    directory.mkdir(parents=True)
    port = _free_port()
    modules = node_packages(f"@tus/server@{NODE_SERVER}", f"@tus/file-store@{FILE_STORE}")
    options = {
        "modules": str(modules),
        "directory": str(directory),
        "expires": expires,
        "maxSize": MAX_SIZE,
        "port": port,
    }
    node = shutil.which("node")
    assert node is not None, "npm without node"
    script = Path(__file__).with_name("peer_node.mjs")
    with _running([node, str(script), json.dumps(options)], directory, port):
        yield f"http://{HOST}:{port}/files"


@contextlib.contextmanager
def _python(directory: Path, *more: str) -> Iterator[str]:
    """Run resumable-upload with more arguments until the block ends; yield its URL."""
    directory.mkdir(parents=True)
    port = _free_port()
    packages = python_package(f"resumable-upload=={RESUMABLE_UPLOAD}")
    command = [
        *(sys.executable, "-m", "resumable_upload", "serve"),
        *("--host", HOST, "--port", str(port)),
        *("--upload-dir", str(directory / "up"), "--db-path", str(directory / "up.db")),
        *("--enable-downloads", "--cors-origin", "*", "--max-size", str(MAX_SIZE)),
        *("--checksum-algorithms", "sha1,md5,sha256,sha512", "--request-timeout", str(STALL)),
        *more,
    ]
    with _running(command, directory, port, PYTHONPATH=str(packages)):
        yield f"http://{HOST}:{port}/files"


@contextlib.contextmanager
def _running(command: Sequence[str], directory: Path, port: int, **environ: str) -> Iterator[None]:
    """Run a server until the block ends. Restart it when a test has crashed it."""
    forever = ["/bin/sh", "-c", 'while :; do "$@"; echo "exit code $?"; done', "sh", *command]
    log = directory / "server.log"
    process = ChildProcess(forever, environ={**os.environ, **environ}, log=log)
    deadline = time.monotonic() + START_SECONDS
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
                break
            assert time.monotonic() < deadline, process.log_tail()
            time.sleep(0.1)
        yield
    finally:
        process.stop(grace=0)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port
