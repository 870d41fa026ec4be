"""Deny S3 permissions to the server's identity, below the prefix of one test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from demo.seaweedfs import SeaweedFS

# The identity of the tus server, in SeaweedFS's only account.
_PRINCIPAL = "arn:aws:iam::000000000000:user/tus"


@contextmanager
def denying(server: SeaweedFS, action: str, prefix: str) -> Iterator[None]:
    """Deny an IAM action on the objects below `prefix` until the block ends.

    A bucket has one policy, so blocks must not overlap.
    """
    statement = {
        "Effect": "Deny",
        "Principal": {"AWS": _PRINCIPAL},
        "Action": [action],
        "Resource": f"arn:aws:s3:::{server.bucket}/{prefix}*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    admin = server.client()
    admin.put_bucket_policy(Bucket=server.bucket, Policy=policy)
    try:
        yield
    finally:
        admin.delete_bucket_policy(Bucket=server.bucket)
