"""MiniStack from the wheel `ministack`: an S3 server in memory that accepts parts of any size.

With parts of a few bytes, uploads of ten thousand parts and thousands of cases are affordable. It
implements conditional writes and pages lists like AWS, but does not verify signatures.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
from collections.abc import Iterator
from pathlib import Path

from demo.ports import HOST, free_ports
from demo.process import ChildProcess
from demo.seaweedfs import Credentials
from tests.harness.servers.s3_service import S3Service, find_program, wait_until_writable


@contextlib.contextmanager
def running_ministack(directory: Path) -> Iterator[S3Service]:
    """Run a server until the block ends; its log is in `directory`.

    Raises:
        SetupError: the wheel is not installed, or the server did not start.
    """
    program = find_program("ministack", package="ministack")
    ports = free_ports({"gateway": ()})
    service = S3Service(
        name="MiniStack",
        version=importlib.metadata.version("ministack"),
        endpoint=f"http://{HOST}:{ports['gateway']}",
        credentials=Credentials.new("ministack"),
    )
    environ = {
        **{key: text for key, text in os.environ.items() if not key.startswith("AWS_")},
        "GATEWAY_PORT": str(ports["gateway"]),
        "BIND_HOST": HOST,
        "SERVICES": "s3",
        "LOG_LEVEL": "WARNING",
        # Without this, MiniStack looks for Docker, to start other services.
        "DOCKER_HOST": "unix:///nonexistent",
    }
    process = ChildProcess([program], environ=environ, log=directory / "ministack.log")
    try:
        wait_until_writable(service, lambda: None if process.running() else process)
        yield service
    finally:
        process.stop(grace=0)
