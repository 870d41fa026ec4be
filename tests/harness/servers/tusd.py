"""tusd, built from its Go module."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from demo.ports import HOST, free_ports
from demo.process import ChildProcess
from demo.seaweedfs import SeaweedFS
from tests.harness.servers.go_program import go_program

PACKAGE = "github.com/tus/tusd/v2/cmd/tusd"
VERSION = "v2.10.0"
START_SECONDS = 60.0


def tusd_program() -> Path:
    """Return the path of the program. Skip the test if it cannot be built."""
    return go_program(PACKAGE, VERSION)


@contextlib.contextmanager
def running_tusd(directory: Path, s3: SeaweedFS, options: Sequence[str]) -> Iterator[str]:
    """Run a server until the block ends, and yield the URL of its root.

    Args:
        directory: where its log is written.
        s3: the server of its bucket.
        options: further flags.
    """
    program = tusd_program()
    port = free_ports({"tusd": ()})["tusd"]
    command = [
        *(str(program), f"-host={HOST}", f"-port={port}", "-show-greeting=false"),
        *(f"-s3-bucket={s3.bucket}", f"-s3-endpoint={s3.endpoint}"),
        *options,
    ]
    environ = {**os.environ, **s3.environ(), "AWS_REGION": "us-east-1"}
    process = ChildProcess(command, environ=environ, log=directory / "tusd.log")
    try:
        _wait(process, port)
        yield f"http://{HOST}:{port}"
    finally:
        process.stop(grace=0)


def _wait(process: ChildProcess, port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.running() and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"tusd did not start: {process.log_tail()}")
