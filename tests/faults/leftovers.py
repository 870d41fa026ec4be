"""What is left in the bucket when a case is over, and what is wrong with it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Protocol

from tests.harness.proxies.faults import Call

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Sender(Protocol):
    """A client, as far as its uploads are looked for."""

    @property
    def wanted(self) -> dict[str, bytes]:
        """What has to be there in the end: the files, by the ids of their uploads."""

    @property
    def creations(self) -> int:
        """How many creation requests were sent."""


class Leftovers:
    """What is left under a case's prefix, as the service's owner sees it.

    Args:
        s3: the owner.
        bucket: where.
        prefix: the case's.
        client: who has sent the files.
        calls: that were made.
    """

    def __init__(
        self, s3: S3Client, bucket: str, prefix: str, client: Sender, calls: Sequence[Call]
    ) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._prefix = prefix
        self._client = client
        self._calls = calls
        answer = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)
        self._keys = {one["Key"].removeprefix(prefix) for one in answer.get("Contents", [])}
        uploads = s3.list_multipart_uploads(Bucket=bucket, Prefix=prefix)
        self._multiparts = {
            one["UploadId"]: one["Key"].removeprefix(prefix) for one in uploads.get("Uploads", [])
        }

    def problems(self, *, is_removed: bool) -> list[str]:
        """All that is wrong.

        Args:
            is_removed: whether nothing must be left of the uploads.
        """
        wanted = self._client.wanted
        keys = self._keys - self._late(wanted)
        ours = {key for key in keys if key.partition(".")[0] in wanted}
        problems = self._strays(keys - ours)
        if is_removed:
            return problems + [f"{key} is left" for key in sorted(ours)]
        needed = {*wanted, *(f"{id}.info" for id in wanted)}
        problems += [f"{key} is missing" for key in sorted(needed - ours)]
        problems += [f"{key} is left" for key in sorted(ours - needed)]
        problems += [
            f"the object {id} is not the file"
            for id, file in wanted.items()
            if id in ours and self._read(id) != file
        ]
        return problems

    def anything(self) -> list[str]:
        """All that there is, where nothing at all must be left."""
        kept = [f"{key} is left" for key in sorted(self._keys)]
        return kept + [f"a multipart upload of {key} is left" for key in self._multiparts.values()]

    def clear(self) -> None:
        """Give back the room."""
        for key in self._keys:
            self._s3.delete_object(Bucket=self._bucket, Key=self._prefix + key)
        for multipart, key in self._multiparts.items():
            self._s3.abort_multipart_upload(
                Bucket=self._bucket, Key=self._prefix + key, UploadId=multipart
            )

    def _late(self, wanted: Container[str]) -> set[str]:
        """What S3 wrote when the upload was at its end: it counts for nothing.

        A tail; or the object of a creation that was taken back when it had failed.
        """
        late = {
            call.key.removeprefix(self._prefix)
            for call in self._calls
            if call.operation == "PutObject" and call.fault is not None and call.fault.is_late
        }
        return {
            key for key in late if key.endswith(".part") or ("." not in key and key not in wanted)
        }

    def _strays(self, others: set[str]) -> list[str]:
        """What creations left that failed: infos, and only what an info names."""
        infos = {key.removesuffix(".info") for key in others if key.endswith(".info")}
        problems = [f"{key} has no info" for key in others if key.partition(".")[0] not in infos]
        if len(infos) > self._client.creations - len(self._client.wanted):
            problems.append(f"{len(infos)} infos of {self._client.creations} creations")
        named = {self._multipart_of(id) for id in infos}
        unknown = [key for one, key in self._multiparts.items() if one not in named]
        if len(unknown) > self._excused():
            problems.append(
                f"{len(unknown)} multipart uploads are left that nobody names: {unknown}"
            )
        return problems

    def _excused(self) -> int:
        """How many multipart uploads may be left for a sweep to find.

        Nobody can name one whose UploadId never arrived. And one is left when two calls in a row
        fail: the record's, and then the look at it or the abort.
        """
        nameless = 0
        for call, following in itertools.pairwise([*self._calls, Call(0, "", "")]):
            if call.fault is None:
                continue
            if call.operation == "CreateMultipartUpload":
                nameless += call.fault.is_carried_out
            elif call.operation == "PutObject" and call.key.endswith(".info"):
                nameless += following.fault is not None
        return nameless

    def _multipart_of(self, id: str) -> str | None:
        storage = json.loads(self._read(f"{id}.info"))["Storage"]
        multipart: str | None = storage.get("MultipartUpload")
        return multipart

    def _read(self, key: str) -> bytes:
        return self._s3.get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"].read()
