"""The body of one request to the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, Self

from tus_wsgi.domain.crc import crc32


@dataclass(frozen=True, slots=True)
class Payload:
    """The content of one PutObject or UploadPart request.

    Attributes:
        content: what boto3 accepts as `Body`.
        size: in bytes.
        crc32: the CRC-32 of the content.
    """

    content: bytes | bytearray | IO[bytes]
    size: int
    crc32: int

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Return the payload for `data`."""
        return cls(data, len(data), crc32(data))
