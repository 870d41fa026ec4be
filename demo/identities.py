"""The S3 server's identities: an administrator, and an upload server with few permissions."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass

ACTIONS = (
    "s3:AbortMultipartUpload",
    "s3:DeleteObject",
    "s3:GetObject",
    "s3:ListMultipartUploadParts",
    "s3:PutObject",
)
"""The permissions that an upload server needs, on the bucket's objects."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key pair for S3."""

    access_key: str
    secret_key: str

    @classmethod
    def new(cls, access_key: str) -> Credentials:
        """Return a key pair with a random secret."""
        return cls(access_key, secrets.token_hex(20))


def identities(
    bucket: str, *, admin: Credentials, least_privilege: Credentials
) -> dict[str, object]:
    """Return the content of the server's `-s3.config` file: its identities and their policies.

    Args:
        bucket: the bucket whose objects `least_privilege` may access.
        admin: the identity with all permissions.
        least_privilege: the identity with the permissions in `ACTIONS`.
    """
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": list(ACTIONS),
                "Resource": f"arn:aws:s3:::{bucket}/*",
            }
        ],
    }
    return {
        "identities": [
            {
                "name": "admin",
                "credentials": [_key_pair(admin)],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            },
            {
                "name": "tus",
                "credentials": [_key_pair(least_privilege)],
                "policyNames": ["five-actions"],
            },
        ],
        "policies": [{"name": "five-actions", "content": json.dumps(policy)}],
    }


def _key_pair(credentials: Credentials) -> dict[str, str]:
    return {"accessKey": credentials.access_key, "secretKey": credentials.secret_key}
