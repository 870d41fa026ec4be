"""MinIO, built from its Go module.

Its source is under the AGPL: the tests run it, and this project neither contains nor ships it. It
refuses to copy a part into a multipart upload with checksums, because it requires a checksum of
every part.
"""

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

PACKAGE = "github.com/minio/minio"
VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
"""The module has no semantic versions. This is its last commit, of 12 February 2026."""


@contextlib.contextmanager
def running_minio(directory: Path) -> Iterator[S3Service]:
    """Run a server until the block ends; its data is in `directory`.

    Skip the test if the program cannot be built.

    Raises:
        SetupError: the server did not start.
    """
    program = go_program(PACKAGE, VERSION)
    ports = free_ports({"s3": (), "console": ()})
    service = S3Service(
        name="MinIO",
        version="2026-02-12",
        endpoint=f"http://{HOST}:{ports['s3']}",
        credentials=Credentials.new("minio"),
    )
    command: list[str | Path] = [
        *(program, "server", "--quiet", "--anonymous"),
        f"--address={HOST}:{ports['s3']}",
        f"--console-address={HOST}:{ports['console']}",
        directory / "data",
    ]
    process = ChildProcess(command, environ=_environ(service), log=directory / "minio.log")
    try:
        wait_until_writable(service, lambda: None if process.running() else process)
        yield service
    finally:
        process.stop(grace=0)


def _environ(service: S3Service) -> dict[str, str]:
    foreign = ("AWS_", "MINIO_")
    return {
        **{name: text for name, text in os.environ.items() if not name.startswith(foreign)},
        "MINIO_ROOT_USER": service.credentials.access_key,
        "MINIO_ROOT_PASSWORD": service.credentials.secret_key,
        "MINIO_BROWSER": "off",
        # Otherwise it contacts a host on the internet.
        "MINIO_UPDATE": "off",
    }
