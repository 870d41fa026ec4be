"""Garage with a single node, built from its crate.

Its source is under the AGPL: the tests run it, and this project neither contains nor ships it. It
evaluates the conditions of reads and copies only, so the store writes numbered tails.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from demo.identities import Credentials
from demo.ports import HOST, free_ports
from demo.process import ChildProcess
from tests.harness.servers.cargo_program import cargo_program
from tests.harness.servers.s3_service import S3Service, wait_until_writable

CRATE = "garage"
VERSION = "2.5.0"
FEATURES = ("bundled-libs", "sqlite")


@contextlib.contextmanager
def running_garage(directory: Path) -> Iterator[S3Service]:
    """Run a server until the block ends; its data is in `directory`.

    Skip the test if the program cannot be built.

    Raises:
        SetupError: the server did not start.
    """
    program = cargo_program(CRATE, VERSION, features=FEATURES)
    ports = free_ports({"s3": (), "rpc": ()})
    service = S3Service(
        name="Garage",
        version=VERSION,
        endpoint=f"http://{HOST}:{ports['s3']}",
        # Garage accepts keys of this form only.
        credentials=Credentials("GK" + secrets.token_hex(12), secrets.token_hex(32)),
    )
    config = directory / "garage.toml"
    config.write_text(_config(service, directory, ports), encoding="utf-8")
    config.chmod(0o600)  # Garage refuses a secret that others can read
    process = ChildProcess(
        [program, "-c", config, "server", "--single-node", "--default-bucket"],
        environ=_environ(service),
        log=directory / "garage.log",
    )
    try:
        wait_until_writable(service, lambda: None if process.running() else process)
        yield service
    finally:
        process.stop(grace=0)


def _config(service: S3Service, directory: Path, ports: dict[str, int]) -> str:
    return f"""
metadata_dir = "{directory}/meta"
data_dir = "{directory}/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "{HOST}:{ports["rpc"]}"
rpc_public_addr = "{HOST}:{ports["rpc"]}"
rpc_secret = "{secrets.token_hex(32)}"

[s3_api]
s3_region = "{service.region}"
api_bind_addr = "{HOST}:{ports["s3"]}"
"""


def _environ(service: S3Service) -> dict[str, str]:
    foreign = ("AWS_", "GARAGE_")
    return {
        **{name: text for name, text in os.environ.items() if not name.startswith(foreign)},
        "GARAGE_DEFAULT_ACCESS_KEY": service.credentials.access_key,
        "GARAGE_DEFAULT_SECRET_KEY": service.credentials.secret_key,
        "GARAGE_DEFAULT_BUCKET": service.bucket,
    }
