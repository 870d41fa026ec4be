"""Run the demo as users do: as a process with output and children."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
import psutil

from demo.process import ChildProcess
from demo.runner import DemoPaths
from tests.harness.clients.http import Connection, Response

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

START_SECONDS = 60.0
STOP_SECONDS = 20.0


def request(
    url: str,
    method: str = "GET",
    fields: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Response:
    """Send a request over a new connection."""
    parts = urlsplit(url)
    assert parts.port is not None
    with Connection(parts.port) as connection:
        connection.request(method, parts.path, fields, body)
        return connection.read_response()


@dataclass(frozen=True, slots=True)
class RunningDemo:
    """A demo that serves its page.

    Attributes:
        process: the process of `script/demo`.
        url: the URL of the page, with a trailing slash.
    """

    process: ChildProcess
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rstrip("/").rpartition(":")[2])

    def processes(self) -> list[psutil.Process]:
        """Return the demo's process and its descendants."""
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def stop(self, number: signal.Signals) -> int:
        """Send a signal to the demo's process only, and return its exit code."""
        os.kill(self.process.pid, number)
        deadline = time.monotonic() + STOP_SECONDS
        while (code := self.process.exit_code()) is None:
            assert time.monotonic() < deadline, f"still running:\n{self.process.log_tail()}"
            time.sleep(0.05)
        return code

    def bucket(self) -> tuple[S3Client, str]:
        """Return an S3 client with gunicorn's permissions, and the name of the bucket."""
        server = next(p for p in self.processes() if "gunicorn" in p.cmdline())
        environ = server.environ()
        client = boto3.session.Session().client(
            "s3",
            endpoint_url=environ["TUS_S3_ENDPOINT"],
            region_name=environ["AWS_DEFAULT_REGION"],
            aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
        )
        return client, environ["TUS_S3_BUCKET"]


def start_demo(
    data_dir: Path,
    log: Path,
    *arguments: str,
    program: Sequence[str] = ("demo",),
    environ: Mapping[str, str] | None = None,
) -> ChildProcess:
    """Start `python -m demo`, or another program, without waiting until it is ready."""
    command = [sys.executable, "-m", *program, f"--data-dir={data_dir}", *arguments]
    return ChildProcess(command, environ=os.environ if environ is None else environ, log=log)


@contextlib.contextmanager
def running_demo(
    data_dir: Path, *, uppy: Path, port: int = 0, program: Sequence[str] = ("demo",)
) -> Iterator[RunningDemo]:
    """Run a demo until the block ends. Then the demo and its descendants are killed.

    Args:
        data_dir: the directory of the demo.
        uppy: a directory with the widget's files, which are downloaded only once.
        port: the port of the page.
        program: the module to run, and its arguments.
    """
    paths = DemoPaths.under(data_dir)
    shutil.copytree(uppy, paths.uppy, dirs_exist_ok=True)
    log = data_dir / "demo.log"
    process = start_demo(data_dir, log, f"--port={port}", program=program)
    try:
        yield RunningDemo(process, _wait_for_url(process))
    finally:
        _kill(process)


def have_ended(processes: list[psutil.Process]) -> bool:
    """Return whether all processes end within a second.

    The second allows init, or another process that adopted them, to reap them.
    """
    _, alive = psutil.wait_procs(processes, timeout=1)
    return not [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def _wait_for_url(process: ChildProcess) -> str:
    deadline = time.monotonic() + START_SECONDS
    while process.running() and time.monotonic() < deadline:
        if found := re.search(r"Open +(http://\S+)", process.log.read_text(encoding="utf-8")):
            return found[1]
        time.sleep(0.05)
    raise AssertionError(f"the demo did not start:\n{process.log_tail()}")


def _kill(process: ChildProcess) -> None:
    """Stop the demo, and kill each of its processes that remains."""
    if process.running():
        root = psutil.Process(process.pid)
        processes = [root, *root.children(recursive=True)]
        process.stop(grace=STOP_SECONDS)
        for remaining in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                remaining.kill()
