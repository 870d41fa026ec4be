"""Versity S3 Gateway over a directory, built from its Go module."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from demo.identities import Credentials
from demo.ports import HOST, free_ports
from demo.process import ChildProcess
from tests.harness.servers.go_program import go_program
from tests.harness.servers.s3_service import S3Service, wait_until_writable

PACKAGE = "github.com/versity/versitygw/cmd/versitygw"
VERSION = "v1.8.0"


@contextlib.contextmanager
def running_versitygw(directory: Path) -> Iterator[S3Service]:
    """Run a gateway until the block ends; its data is in `directory`.

    Skip the test if the program cannot be built.

    Raises:
        SetupError: the gateway did not start, for example because the file system of `directory`
            has no extended attributes.
    """
    program = go_program(PACKAGE, VERSION)
    port = free_ports({"s3": ()})["s3"]
    service = S3Service(
        name="Versity S3 Gateway",
        version=VERSION,
        endpoint=f"http://{HOST}:{port}",
        credentials=Credentials.new("versity"),
    )
    data = directory / "data"
    data.mkdir()
    command: list[str | Path] = [program, "--port", f"{HOST}:{port}", "--quiet", "posix", data]
    environ = {
        **{name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "VGW"))},
        "ROOT_ACCESS_KEY": service.credentials.access_key,
        "ROOT_SECRET_KEY": service.credentials.secret_key,
    }
    process = ChildProcess(command, environ=environ, log=directory / "versitygw.log")
    try:
        wait_until_writable(service, lambda: None if process.running() else process)
        yield service
    finally:
        process.stop(grace=0)
