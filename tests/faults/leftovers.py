"""What a case leaves in the bucket, and what is wrong with it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING

from tests.faults.scenarios import Scenario, Uploader
from tests.harness.proxies.faults import Call, Fault

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Leftovers:
    """The objects and multipart uploads below the prefix of a case.

    Args:
        s3: a client that may list the bucket.
        bucket: the bucket.
        prefix: the prefix of the case.
        uploader: the client that sent the files.
        calls: the calls of the case.
        data_name: returns the key of the object of the upload with this id, without the prefix.
    """

    def __init__(
        self,
        s3: S3Client,
        bucket: str,
        prefix: str,
        *,
        uploader: Uploader,
        calls: Sequence[Call],
        data_name: Callable[[str], str],
    ) -> None:
        self._s3 = s3
        self._data_name = data_name
        self._bucket = bucket
        self._prefix = prefix
        self._uploader = uploader
        self._calls = calls
        objects = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)
        self._keys = {item["Key"].removeprefix(prefix) for item in objects.get("Contents", [])}
        multiparts = s3.list_multipart_uploads(Bucket=bucket, Prefix=prefix)
        self._multiparts = {
            item["UploadId"]: item["Key"].removeprefix(prefix)
            for item in multiparts.get("Uploads", [])
        }

    def of(self, scenario: Scenario) -> list[str]:
        """Return what is wrong after the scenario."""
        if scenario.expires:
            return self._anything()
        return self._problems(
            is_removed=scenario.terminate_at is not None, is_rejected=scenario.is_rejected
        )

    def _problems(self, *, is_removed: bool, is_rejected: bool) -> list[str]:
        """Return what is wrong with the uploads of the client.

        Args:
            is_removed: whether they were terminated: nothing but tombstones may be left.
            is_rejected: whether they were rejected: nothing but their records may be left.
        """
        expected = self._uploader.expected_objects
        late = self._written_late(expected)
        if is_removed:  # a sweep removes what S3 wrote after the termination
            late = {key for key in late if _id_of(key) not in expected}
        keys = self._keys - late - self._tombstones()
        own = {key for key in keys if _id_of(key) in expected}
        problems = self._failed_creations(keys - own)
        if is_removed:
            return problems + [f"{key} is left" for key in sorted(own)]
        objects = set() if is_rejected else set(map(self._data_name, expected))
        needed = {f"{id}.info" for id in expected} | objects
        problems += [f"{key} is missing" for key in sorted(needed - own)]
        problems += [f"{key} is left" for key in sorted(own - needed)]
        for id, file in expected.items():
            key = self._data_name(id)
            if key in own and self._read(key) != file:
                problems.append(f"the object {id} differs from the file")
        return problems

    def _anything(self) -> list[str]:
        """Return everything that is left, where nothing may be left."""
        objects = [f"{key} is left" for key in sorted(self._keys)]
        multiparts = [f"a multipart upload of {key} is left" for key in self._multiparts.values()]
        return objects + multiparts

    def clear(self) -> None:
        """Delete everything below the prefix."""
        for key in self._keys:
            self._s3.delete_object(Bucket=self._bucket, Key=self._prefix + key)
        for upload_id, key in self._multiparts.items():
            self._s3.abort_multipart_upload(
                Bucket=self._bucket, Key=self._prefix + key, UploadId=upload_id
            )

    def _written_late(self, expected: Container[str]) -> set[str]:
        """Return the keys of harmless objects that S3 may have written after the end of an upload.

        A late tail is harmless. So is the late object of a failed creation, whose id is not in
        `expected`.
        """
        late = {
            call.key.removeprefix(self._prefix)
            for call in self._calls
            if call.operation == "PutObject" and call.fault is not None and call.fault.may_be_late
        }
        tails = {key for key in late if ".part" in key}
        objects = {key for key in late if "." not in key and _id_of(key) not in expected}
        return tails | objects

    def _tombstones(self) -> set[str]:
        """Return the keys of the records and tails of terminated uploads."""
        infos = {key for key in self._keys if key.endswith(".info")}
        records = {key for key in infos if json.loads(self._read(key)).get("State") == "terminated"}
        tails = {key.removesuffix(".info") + ".part" for key in records}
        return records | tails

    def _failed_creations(self, keys: set[str]) -> list[str]:
        """Return what is wrong with the objects of failed creations, and with multipart uploads.

        A failed creation may leave an info, and only what an info names (D-12, D-13).

        Args:
            keys: the objects of uploads that the client has not finished.
        """
        failed_ids = {key.removesuffix(".info") for key in keys if key.endswith(".info")}
        all_ids = {key.removesuffix(".info") for key in self._keys if key.endswith(".info")}
        problems = [f"{key} has no info" for key in keys if _id_of(key) not in all_ids]
        if len(failed_ids) > self._uploader.creations - len(self._uploader.expected_objects):
            problems.append(f"{len(failed_ids)} infos of {self._uploader.creations} creations")
        recorded = {self._recorded_multipart(id) for id in all_ids}
        leaked = [key for upload_id, key in self._multiparts.items() if upload_id not in recorded]
        if len(leaked) > self._allowed_leaks():
            problems.append(f"{len(leaked)} unrecorded multipart uploads are left: {leaked}")
        return problems

    def _allowed_leaks(self) -> int:
        """Return how many multipart uploads may be left for a sweep to find.

        - No record can name a multipart upload whose UploadId never arrived.
        - A failed write of the record leaves one if a second call of the request fails: the
          verification of the write, or the abort.
        - A request does not abort a multipart upload that another request may use (D-10): after a
          412 to the write of the record, and after the holder was frozen in that write. If the
          write is late and its repetition fails too, the next request gets that 412.
        - A holder that was frozen before it wrote the record has lost its lock, so it does not
          write the record. It leaves one if its abort fails.
        """
        leaks = 0
        fault_count = sum(call.fault is not None for call in self._calls)
        for index, call in enumerate(self._calls):
            if call.fault is None:
                continue
            if call.operation == "CreateMultipartUpload" and call.fault.is_executed:
                leaks += 1
            if call.operation == "AbortMultipartUpload" and self._was_frozen_before(index):
                leaks += 1
            if _writes_record(call):
                is_late = call.fault.is_delayed and fault_count > 1
                may_be_used = call.fault in {Fault.CONDITION_FAILED, Fault.FREEZE_BEFORE} or is_late
                if may_be_used or self._fails_after(index):
                    leaks += 1
        return leaks

    def _fails_after(self, index: int) -> bool:
        """Return whether the call after this one fails, or the next abort in the same request."""
        request = self._calls[index].request
        following = self._calls[index + 1 :]
        aborts = [
            call
            for call in following
            if call.operation == "AbortMultipartUpload" and call.request == request
        ]
        return any(call.fault is not None for call in (*following[:1], *aborts[:1]))

    def _was_frozen_before(self, index: int) -> bool:
        """Return whether the holder was frozen in an earlier call, but not in a record's write."""
        request = self._calls[index].request
        return any(
            call.fault in {Fault.FREEZE_BEFORE, Fault.FREEZE_AFTER}
            and call.request == request
            and not _writes_record(call)
            for call in self._calls[:index]
        )

    def _recorded_multipart(self, id: str) -> str | None:
        storage = json.loads(self._read(f"{id}.info"))["Storage"]
        upload_id: str | None = storage.get("MultipartUpload")
        return upload_id

    def _read(self, key: str) -> bytes:
        return self._s3.get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"].read()


def _writes_record(call: Call) -> bool:
    return call.operation == "PutObject" and call.key.endswith(".info")


def _id_of(key: str) -> str:
    """Return the id of the upload to which a key belongs."""
    return re.split("[./]", key, maxsplit=1)[0]
