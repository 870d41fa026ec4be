"""Checksums that a client may send with a request: their names, and how they are computed.

They tell accidents from the bytes that were meant (and only the longer ones tell malice).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tus_wsgi.domain.crc import crc32


class Algorithm(StrEnum):
    """The algorithms, by the names of the `Tus-Checksum-Algorithm` field.

    "The Server MUST support at least the SHA1 checksum algorithm identified by `sha1`."
    """

    SHA1 = "sha1"
    SHA256 = "sha256"
    SHA512 = "sha512"
    MD5 = "md5"
    CRC32 = "crc32"

    @property
    def size(self) -> int:
        """Bytes of a checksum."""
        return (
            4 if self is Algorithm.CRC32 else hashlib.new(self, usedforsecurity=False).digest_size
        )


@dataclass(frozen=True, slots=True)
class Checksum:
    """What somebody says that the checksum of something is."""

    algorithm: Algorithm
    digest: bytes


def digest(algorithm: Algorithm, pieces: Iterable[bytes | memoryview]) -> bytes:
    """The checksum of `pieces` behind each other. A CRC has its highest byte first."""
    if algorithm is Algorithm.CRC32:
        value = 0
        for piece in pieces:
            value = crc32(piece, value)
        return value.to_bytes(4)
    state = hashlib.new(algorithm, usedforsecurity=False)
    for piece in pieces:
        state.update(piece)
    return state.digest()
