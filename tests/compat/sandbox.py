"""A store below a prefix of its own, on any S3 service, and helpers to use it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.harness.servers.s3_service import S3Service
from tests.harness.tombstones import sweep_tombstones
from tus_wsgi.domain.interfaces import BodyEnd
from tus_wsgi.domain.model import GIB, MIB, Final, Metadata, Partial, UploadId, UploadInfo
from tus_wsgi.domain.parts import PartLimits
from tus_wsgi.spool.spool import Spool
from tus_wsgi.stores.s3.completion import COMPLETION_TIMEOUT
from tus_wsgi.stores.s3.keys import Keys
from tus_wsgi.stores.s3.store import S3Store
from tus_wsgi.stores.s3.upload import S3Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PART = 5 * MIB
"""The smallest part that every service accepts."""

LIMITS = PartLimits(part_size=PART, max_parts=10, max_part_size=GIB, max_object_size=GIB)


class BytesBody:
    """A body with known content. It implements `tus_wsgi.domain.interfaces.Body`."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._position = 0
        self.end = BodyEnd.COMPLETE

    @property
    def content_length(self) -> int:
        return len(self._content)

    def limit(self, size: int) -> None:
        assert len(self._content) <= size

    def readinto(self, buffer: memoryview) -> int:
        chunk = self._content[self._position : self._position + len(buffer)]
        buffer[: len(chunk)] = chunk
        self._position += len(chunk)
        return len(chunk)

    def interrupt(self, end: BodyEnd) -> None:
        raise AssertionError(f"expected no interruption, got {end}")

    def is_interrupted(self) -> bool:
        return False

    def trailers(self) -> dict[str, str]:
        return {}


def held() -> None:
    """Return, as `Lock.assert_held` does while the lock is held."""


@dataclass(frozen=True, slots=True)
class ServiceSandbox:
    """A prefix of its own in the bucket of a service.

    Attributes:
        service: the S3 service.
        client: the client of a server.
        keys: the prefixes of the sandbox.
        has_checksums: see `Bucket`.
    """

    service: S3Service
    client: S3Client
    keys: Keys
    has_checksums: bool = True

    def store(
        self, *, memory: int = 64 * MIB, completion_timeout: float = COMPLETION_TIMEOUT
    ) -> S3Store:
        """Create a store without caches, as in a new process."""
        return S3Store(
            self.client,
            self.service.bucket,
            keys=self.keys,
            limits=LIMITS,
            spool=Spool(memory),
            parallel_parts=4,
            has_checksums=self.has_checksums,
            completion_timeout=completion_timeout,
        )

    def create(
        self,
        length: int | None,
        metadata: Metadata | None = None,
        *,
        memory: int = 64 * MIB,
        record_now: bool = True,
    ) -> S3Upload:
        """Create an upload in a new store."""
        info = UploadInfo(new_id(), length, metadata=metadata or Metadata())
        return self.store(memory=memory).create(info, record_now=record_now)

    def reopen(
        self,
        upload: S3Upload,
        *,
        memory: int = 64 * MIB,
        completion_timeout: float = COMPLETION_TIMEOUT,
    ) -> S3Upload:
        """Load the upload as another process would."""
        store = self.store(memory=memory, completion_timeout=completion_timeout)
        again = store.open(upload.info.id)
        again.load_offset()
        return again

    def stored(self, upload: S3Upload) -> bytes:
        """Return the bytes of the data object."""
        key = self.keys.data(upload.info.id)
        return self.client.get_object(Bucket=self.service.bucket, Key=key)["Body"].read()

    def multipart_id(self, upload: S3Upload) -> str:
        """Return the UploadId of the upload's multipart upload."""
        assert upload._state.record.multipart is not None
        return upload._state.record.multipart

    def sweep_tombstones(self) -> None:
        """Sweep as if every termination was long ago, which must leave nothing of the uploads."""
        sweep_tombstones(self.store(), self.service.client(), self.service.bucket, self.keys)

    def list_keys(self) -> list[str]:
        """Return every key in the sandbox, without the prefix."""
        prefix = self.keys.object_prefix + "/"
        page = self.service.client().list_objects_v2(Bucket=self.service.bucket, Prefix=prefix)
        return sorted(entry["Key"].removeprefix(prefix) for entry in page.get("Contents", []))

    def list_multiparts(self) -> list[str]:
        """Return the key of every open multipart upload in the sandbox."""
        prefix = self.keys.object_prefix + "/"
        page = self.service.client().list_multipart_uploads(
            Bucket=self.service.bucket, Prefix=prefix
        )
        return [entry["Key"] for entry in page.get("Uploads", [])]


def new_id() -> UploadId:
    """Create a random upload id."""
    return UploadId(secrets.token_urlsafe(16))


def append(upload: S3Upload, content: bytes) -> None:
    """Append `content`, as a PATCH request does."""
    upload.append(BytesBody(content), held)


def finish(upload: S3Upload) -> None:
    """Assemble and finish a full upload, as `UploadService` does."""
    upload.assemble(held)
    upload.finish(held, may_defer=False)


def create_partial(sandbox: ServiceSandbox, content: bytes) -> UploadId:
    """Create a finished partial upload."""
    info = UploadInfo(new_id(), len(content), concat=Partial())
    upload = sandbox.store().create(info, record_now=True)
    append(upload, content)
    finish(upload)
    return info.id


def concatenate(sandbox: ServiceSandbox, slices: Sequence[bytes]) -> S3Upload:
    """Create a partial upload of each slice, and a finished final upload of them."""
    ids = [create_partial(sandbox, slice) for slice in slices]
    info = UploadInfo(new_id(), None, concat=Final((*ids,)))
    final = sandbox.store().create(info, record_now=True)
    final.load_offset()
    finish(final)
    return final
