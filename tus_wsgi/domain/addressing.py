"""How requests name the bucket."""

from __future__ import annotations

from enum import StrEnum


class AddressingStyle(StrEnum):
    """Where the name of the bucket is in the URL of a request.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
    """

    PATH = "path"
    """In the path: `https://s3.example.com/bucket/key`."""
    VIRTUAL = "virtual"
    """In the host: `https://bucket.s3.example.com/key`."""
