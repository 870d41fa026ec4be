"""Who may do what in the S3 server of `seaweedfs`: an administrator, and one that may do little."""

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
"""All that a server of uploads needs to be allowed, on the bucket's objects."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key pair for S3."""

    access_key: str
    secret_key: str

    @classmethod
    def new(cls, access_key: str) -> Credentials:
        """A pair with a fresh secret."""
        return cls(access_key, secrets.token_hex(20))


def identities(
    bucket: str, *, admin: Credentials, least_privilege: Credentials
) -> dict[str, object]:
    """The server's `-s3.config`: who there is, and what they may do.

    Args:
        bucket: whose objects `least_privilege` may reach.
        admin: may do everything.
        least_privilege: may do `ACTIONS`.
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
                "credentials": [_pair(admin)],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            },
            {
                "name": "tus",
                "credentials": [_pair(least_privilege)],
                "policyNames": ["five-actions"],
            },
        ],
        "policies": [{"name": "five-actions", "content": json.dumps(policy)}],
    }


def _pair(credentials: Credentials) -> dict[str, str]:
    return {"accessKey": credentials.access_key, "secretKey": credentials.secret_key}
