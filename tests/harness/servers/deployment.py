"""Servers that share a prefix of the bucket and a lock directory."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from demo.seaweedfs import SeaweedFS
from tests.harness.servers.gunicorn import Gunicorn
from tests.harness.timing import wait_until
from tus_wsgi.domain.model import MIB, State, UploadId
from tus_wsgi.lockers.file.locker import lock_id_of
from tus_wsgi.lockers.file.ofd import OfdLocks
from tus_wsgi.stores.s3.tails import TERMINATED_KEY

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

PART_SIZE = 5 * MIB
"""The smallest size, so that small files have several parts."""


class Deployment:
    """Servers that share a prefix of the bucket. They run with the least privilege.

    Args:
        s3: the S3 server.
        directory: the directory of logs and locks.
        settings: environment variables in addition to the required ones.

    Attributes:
        prefix: the prefix of its keys.
        servers: the servers that were started.
        expected_errors: a pattern of errors that the servers may log.
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
        """Start another server; it is killed with the deployment.

        Args:
            workers: how many processes serve.
            app: the app, if it is not that of `gunicorn.conf.py`.
            arguments: more command-line arguments of gunicorn.
            settings: environment variables in addition to those of the deployment.
            ignored: as in `Gunicorn`.
            certificate: a file with a certificate and its key, to speak TLS.
        """
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

    def wait_for_lock(self, path: str, *, unless: Callable[[], bool] = lambda: False) -> bool:
        """Wait until a request holds the lock of an upload. Return whether one does.

        Args:
            path: the path of the upload.
            unless: ends the wait when it returns True.
        """
        lock_id = lock_id_of(UploadId(path.rpartition("/")[2]))
        locks = OfdLocks(Path(self.environ["TUS_LOCK_DIR"]))
        try:
            wait_until(lambda: locks.held_by_others({lock_id}) or unless())
            return bool(locks.held_by_others({lock_id}))
        finally:
            locks.close()

    def key(self, path: str) -> str:
        """Return the key of an upload's object."""
        return self.prefix + path.rpartition("/")[2]

    def read_object(self, path: str) -> bytes:
        """Return the object of a finished upload."""
        return self._admin.get_object(Bucket=self.s3.bucket, Key=self.key(path))["Body"].read()

    def head_object(self, path: str) -> HeadObjectOutputTypeDef:
        """Return S3's metadata of the object of a finished upload."""
        return self._admin.head_object(Bucket=self.s3.bucket, Key=self.key(path))

    def sha256(self, path: str) -> str:
        """Return the SHA-256 of the object of a finished upload, in hexadecimal."""
        digest = hashlib.sha256()
        content = self._admin.get_object(Bucket=self.s3.bucket, Key=self.key(path))["Body"]
        for chunk in content.iter_chunks(MIB):
            digest.update(chunk)
        return digest.hexdigest()

    def list_contents(self) -> dict[str, object]:
        """Return everything below the prefix, to compare two states.

        An object is its key with its size and ETag. A multipart upload is `key?upload_id` with the
        numbers and sizes of its parts.
        """
        bucket, found = self.s3.bucket, dict[str, object]()
        for page in self._admin.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=self.prefix
        ):
            for item in page.get("Contents", []):
                found[item["Key"]] = (item["Size"], item["ETag"])
        uploads = self._admin.list_multipart_uploads(Bucket=bucket, Prefix=self.prefix)
        for upload in uploads.get("Uploads", []):
            key, upload_id = upload["Key"], upload["UploadId"]
            parts = self._admin.list_parts(Bucket=bucket, Key=key, UploadId=upload_id)
            found[f"{key}?{upload_id}"] = [
                (part["PartNumber"], part["Size"]) for part in parts.get("Parts", [])
            ]
        return found

    def list_keys(self) -> list[str]:
        """Return the keys of everything below the prefix, without tombstones."""
        return [key for key in self.list_contents() if not self._is_tombstone(key)]

    def _is_tombstone(self, key: str) -> bool:
        """Return whether the object replaces the record or the tail of a terminated upload."""
        if key.endswith(".part"):
            found = self._admin.head_object(Bucket=self.s3.bucket, Key=key)
            return TERMINATED_KEY in found["Metadata"]
        if key.endswith(".info"):
            record = self._admin.get_object(Bucket=self.s3.bucket, Key=key)["Body"].read()
            return bool(json.loads(record).get("State") == State.TERMINATED)
        return False

    def close(self) -> None:
        """Kill the servers.

        Raises:
            AssertionError: a server logged an unexpected error.
        """
        for server in self.servers:
            server.kill()
        errors = [
            line
            for server in self.servers
            for line in server.logged_errors()
            if self.expected_errors is None or not re.search(self.expected_errors, line)
        ]
        assert errors == [], [server.read_log() for server in self.servers]
