"""What the tests of this ring have in common: a store in a corner of its own, and bodies."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.harness.servers.s3_service import S3Service
from tus_wsgi.domain.interfaces import BodyEnd
from tus_wsgi.domain.model import GIB, MIB, Metadata, UploadId, UploadInfo
from tus_wsgi.domain.parts import PartLimits
from tus_wsgi.spool.spool import Spool
from tus_wsgi.stores.s3.keys import Keys
from tus_wsgi.stores.s3.store import S3Store
from tus_wsgi.stores.s3.upload import S3Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PART = 5 * MIB
"""The smallest part that all of the services take."""

LIMITS = PartLimits(part_size=PART, max_parts=10, max_part_size=GIB, max_object_size=GIB)


class Bytes:
    """A request's body that is all there. It implements `tus_wsgi.domain.interfaces.Body`."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._place = 0
        self.end = BodyEnd.COMPLETE

    @property
    def content_length(self) -> int:
        return len(self._content)

    def limit(self, size: int) -> None:
        assert len(self._content) <= size

    def readinto(self, buffer: memoryview) -> int:
        piece = self._content[self._place : self._place + len(buffer)]
        buffer[: len(piece)] = piece
        self._place += len(piece)
        return len(piece)

    def interrupt(self, end: BodyEnd) -> None:
        raise AssertionError(f"nobody else is here, got {end}")

    def trailers(self) -> dict[str, str]:
        return {}


def held() -> None:
    """Say that the lock is held, as `Lock.assert_held` does by returning."""


@dataclass(frozen=True, slots=True)
class Shop:
    """A corner of a bucket where one test trades alone.

    Attributes:
        service: whose bucket it is.
        client: as the application has it.
        keys: the corner's prefixes.
        has_checksums: see `Bucket`.
    """

    service: S3Service
    client: S3Client
    keys: Keys
    has_checksums: bool = True

    def store(self, *, memory: int = 64 * MIB) -> S3Store:
        """A store that knows nothing of an earlier one, as in a new process."""
        return S3Store(
            self.client,
            self.service.bucket,
            keys=self.keys,
            limits=LIMITS,
            spool=Spool(memory),
            parallel_parts=4,
            has_checksums=self.has_checksums,
        )

    def create(
        self,
        length: int | None,
        metadata: Metadata | None = None,
        *,
        memory: int = 64 * MIB,
        record_now: bool = True,
    ) -> S3Upload:
        """A fresh upload in a fresh store."""
        info = UploadInfo(new_id(), length, metadata=metadata or Metadata())
        return self.store(memory=memory).create(info, record_now=record_now)

    def reopen(self, upload: S3Upload, *, memory: int = 64 * MIB) -> S3Upload:
        """The upload as another process finds it."""
        again = self.store(memory=memory).open(upload.info.id)
        again.load_offset()
        return again

    def stored(self, upload: S3Upload) -> bytes:
        """The bytes of the data object."""
        key = self.keys.data(upload.info.id)
        return self.client.get_object(Bucket=self.service.bucket, Key=key)["Body"].read()

    def multipart_id(self, upload: S3Upload) -> str:
        """The UploadId of the upload's multipart upload."""
        assert upload._record.multipart is not None
        return upload._record.multipart

    def list_keys(self) -> list[str]:
        """Every key in the corner, without the prefix."""
        prefix = self.keys.object_prefix + "/"
        page = self.service.client().list_objects_v2(Bucket=self.service.bucket, Prefix=prefix)
        return sorted(one["Key"].removeprefix(prefix) for one in page.get("Contents", []))

    def list_multiparts(self) -> list[str]:
        """The key of every multipart upload that is open in the corner."""
        prefix = self.keys.object_prefix + "/"
        page = self.service.client().list_multipart_uploads(
            Bucket=self.service.bucket, Prefix=prefix
        )
        return [one["Key"] for one in page.get("Uploads", [])]


def new_id() -> UploadId:
    """An id like those of the application."""
    return UploadId(secrets.token_urlsafe(16))


def append(upload: S3Upload, content: bytes) -> None:
    """Carry out a PATCH of `content`."""
    upload.append(Bytes(content), held)


def finish(upload: S3Upload) -> None:
    """Do what the service does with an upload that is full."""
    upload.assemble(held)
    upload.finish(held, may_defer=False)
