"""A bucket's prefix, a directory for locks, and any number of servers that share them."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from demo.seaweedfs import SeaweedFS
from tests.harness.servers.gunicorn import Gunicorn, wait_until
from tus_wsgi.domain.model import MIB, UploadId
from tus_wsgi.lockers.file.locker import lock_id_of
from tus_wsgi.lockers.file.ofd import OfdLocks

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

PART_SIZE = 5 * MIB
"""Small, so that small files have several parts."""


class Deployment:
    """One place for uploads. Its servers act with the least privilege.

    Args:
        s3: where the bytes go.
        directory: for logs and locks.
        settings: variables beside those that are needed, with their whole names.

    Attributes:
        prefix: what the keys of its objects begin with.
        servers: those that were started.
        excused: a pattern for lines that the servers' logs may have although they are complaints.
    """

    def __init__(self, s3: SeaweedFS, directory: Path, **settings: str) -> None:
        self.s3 = s3
        self.prefix = f"{secrets.token_hex(4)}/"
        self.expected_errors: str | None = None
        self._directory = directory
        self.servers: list[Gunicorn] = []
        self._admin = s3.client()
        self.environ = {
            **s3.environ(),
            "TUS_S3_OBJECT_PREFIX": self.prefix,
            "TUS_S3_PART_SIZE": str(PART_SIZE),
            "TUS_LOCK_DIR": str(directory / "locks"),
            **settings,
        }

    def start(
        self,
        *,
        workers: int = 2,
        app: str | None = None,
        arguments: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
        ignored: Sequence[str] = (),
        certificate: Path | None = None,
    ) -> Gunicorn:
        """Start one more server; it is stopped with the deployment."""
        server = Gunicorn(
            {**self.environ, **(settings or {})},
            directory=self._directory / f"server-{len(self.servers)}",
            workers=workers,
            app=app,
            arguments=arguments,
            ignored=ignored,
            certificate=certificate,
        )
        self.servers.append(server)
        return server

    def wait_for_lock(self, path: str) -> None:
        """Wait until a request has begun with an upload, and holds its lock."""
        place = lock_id_of(UploadId(path.rpartition("/")[2]))
        locks = OfdLocks(Path(self.environ["TUS_LOCK_DIR"]))
        try:
            wait_until(lambda: locks.held_by_others({place}), seconds=10)
        finally:
            locks.close()

    def key(self, path: str) -> str:
        """The key of an upload's object."""
        return self.prefix + path.rpartition("/")[2]

    def read_object(self, path: str) -> bytes:
        """The object of a finished upload, as S3 has it."""
        return self._admin.get_object(Bucket=self.s3.bucket, Key=self.key(path))["Body"].read()

    def head_object(self, path: str) -> HeadObjectOutputTypeDef:
        """What S3 says of that object."""
        return self._admin.head_object(Bucket=self.s3.bucket, Key=self.key(path))

    def sha256(self, path: str) -> str:
        """The SHA-256 of that object."""
        digest = hashlib.sha256()
        content = self._admin.get_object(Bucket=self.s3.bucket, Key=self.key(path))["Body"]
        for piece in content.iter_chunks(MIB):
            digest.update(piece)
        return digest.hexdigest()

    def list_contents(self) -> dict[str, object]:
        """Everything that lies below the prefix: objects, multipart uploads and their parts."""
        bucket, found = self.s3.bucket, dict[str, object]()
        for page in self._admin.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=self.prefix
        ):
            for one in page.get("Contents", []):
                found[one["Key"]] = (one["Size"], one["ETag"])
        uploads = self._admin.list_multipart_uploads(Bucket=bucket, Prefix=self.prefix)
        for upload in uploads.get("Uploads", []):
            key, number = upload["Key"], upload["UploadId"]
            parts = self._admin.list_parts(Bucket=bucket, Key=key, UploadId=number)
            found[f"{key}?{number}"] = [
                (p["PartNumber"], p["Size"]) for p in parts.get("Parts", [])
            ]
        return found

    def close(self) -> None:
        """Kill the servers.

        Raises:
            AssertionError: one of them said what no server should have to say.
        """
        for server in self.servers:
            server.kill()
        complaints = [
            line
            for server in self.servers
            for line in server.logged_errors()
            if self.expected_errors is None or not re.search(self.expected_errors, line)
        ]
        assert complaints == [], [server.read_log() for server in self.servers]
