"""The demo as a person starts it: a process with output, and with children."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
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


def ask(
    url: str,
    method: str = "GET",
    fields: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Response:
    """Send a request over a connection of its own."""
    parts = urlsplit(url)
    assert parts.port is not None
    with Connection(parts.port) as connection:
        connection.request(method, parts.path, fields, body)
        return connection.read_response()


@dataclass(frozen=True, slots=True)
class RunningDemo:
    """A demo whose page answers.

    Attributes:
        process: the command `tus-wsgi demo`.
        url: of the page, with a slash at the end.
    """

    process: ChildProcess
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rstrip("/").rpartition(":")[2])

    def family(self) -> list[psutil.Process]:
        """The demo's process and all below it."""
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def end(self, number: signal.Signals) -> int:
        """Send the signal to the demo alone, and return what it exits with."""
        os.kill(self.process.pid, number)
        deadline = time.monotonic() + STOP_SECONDS
        while (code := self.process.exit_code()) is None:
            assert time.monotonic() < deadline, f"still there:\n{self.process.log_tail()}"
            time.sleep(0.05)
        return code

    def bucket(self) -> tuple[S3Client, str]:
        """A client with the server's own permissions, and the bucket's name."""
        server = next(p for p in self.family() if "gunicorn" in p.cmdline())
        environ = server.environ()
        client = boto3.session.Session().client(
            "s3",
            endpoint_url=environ["TUS_S3_ENDPOINT"],
            region_name=environ["AWS_DEFAULT_REGION"],
            aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
        )
        return client, environ["TUS_S3_BUCKET"]


def start(
    data_dir: Path, log: Path, *arguments: str, environ: Mapping[str, str] | None = None
) -> ChildProcess:
    """The command `tus-wsgi demo`, as it is right after its start."""
    command = [sys.executable, "-m", "demo", f"--data-dir={data_dir}", *arguments]
    return ChildProcess(command, environ=os.environ if environ is None else environ, log=log)


@contextlib.contextmanager
def running(data_dir: Path, *, uppy: Path, port: int = 0) -> Iterator[RunningDemo]:
    """A demo for a block; killed at its end, with all its children, if it still runs.

    Args:
        uppy: a place with the widget's files, so that they are downloaded only once.
    """
    places = DemoPaths.under(data_dir)
    shutil.copytree(uppy, places.uppy, dirs_exist_ok=True)
    log = data_dir / "demo.log"
    process = start(data_dir, log, f"--port={port}")
    try:
        yield RunningDemo(process, _url(process))
    finally:
        _end(process)


def gone(processes: list[psutil.Process]) -> bool:
    """Whether all have ended within a second: init, or whoever adopted them, has to notice."""
    _, alive = psutil.wait_procs(processes, timeout=1)
    return not [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def _url(process: ChildProcess) -> str:
    deadline = time.monotonic() + START_SECONDS
    while process.running() and time.monotonic() < deadline:
        if found := re.search(r"Open +(http://\S+)", process.log.read_text(encoding="utf-8")):
            return found[1]
        time.sleep(0.05)
    raise AssertionError(f"the demo did not start:\n{process.log_tail()}")


def _end(process: ChildProcess) -> None:
    if process.running():
        root = psutil.Process(process.pid)
        family = [root, *root.children(recursive=True)]
        process.stop(grace=STOP_SECONDS)
        for left in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
