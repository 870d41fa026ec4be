"""Uploads as tusd stores them in a bucket: parts of any size, and a tail without a start."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tests.harness.stores import S3Sandbox
from tus_wsgi.domain.model import UploadId

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

OBJECT = "24e533e02ec3bc40c387f1a0e460e216"


class TusdUpload:
    """An upload that tusd created.

    Args:
        sandbox: the part of the bucket to write to.
        length: the upload's length; None if it is deferred.
        parts: the parts by number; numbers may be missing.
        tail: the bytes after the last part.
        fields: additional fields of the info object.
    """

    def __init__(
        self,
        sandbox: S3Sandbox,
        length: int | None,
        parts: Mapping[int, bytes],
        tail: bytes = b"",
        **fields: object,
    ) -> None:
        self._sandbox = sandbox
        self.object_id = OBJECT
        self.key = sandbox.prefix + self.object_id
        multipart = sandbox.admin.create_multipart_upload(Bucket=sandbox.bucket, Key=self.key)
        self.multipart = multipart["UploadId"]
        self.id = UploadId(f"{self.object_id}+{self.multipart}")
        for number, part in parts.items():
            sandbox.admin.upload_part(
                Bucket=sandbox.bucket,
                Key=self.key,
                UploadId=self.multipart,
                PartNumber=number,
                Body=part,
            )
        if tail:
            sandbox.put(self.key + ".part", tail)
        info = {
            "ID": self.id,
            "Size": length or 0,
            "SizeIsDeferred": length is None,
            "Offset": 0,
            "MetaData": {"filename": "menü.txt"},
            "IsPartial": False,
            "IsFinal": False,
            "PartialUploads": None,
            "Storage": {"Bucket": sandbox.bucket, "Key": self.key, "Type": "s3store"},
            **fields,
        }
        sandbox.put(self.key + ".info", json.dumps(info).encode())

    def complete(self) -> None:
        """Make the object, as tusd does after the last byte, without recording it."""
        s3, bucket = self._sandbox.admin, self._sandbox.bucket
        listed = s3.list_parts(Bucket=bucket, Key=self.key, UploadId=self.multipart)["Parts"]
        entries: list[CompletedPartTypeDef] = [
            {"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in listed
        ]
        s3.complete_multipart_upload(
            Bucket=bucket,
            Key=self.key,
            UploadId=self.multipart,
            MultipartUpload={"Parts": entries},
        )
