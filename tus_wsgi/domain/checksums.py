"""Checksums that a client may send with a body: the algorithms and their computation.

All of them detect corruption. Only SHA-256 and SHA-512 also detect manipulation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tus_wsgi.domain.crc import CRC32_SIZE, crc32


class Algorithm(StrEnum):
    """The algorithms, by their names in the `Tus-Checksum-Algorithm` field.

    "The Server MUST support at least the SHA1 checksum algorithm identified by `sha1`."
    """

    SHA1 = "sha1"
    SHA256 = "sha256"
    SHA512 = "sha512"
    MD5 = "md5"
    CRC32 = "crc32"

    @property
    def size(self) -> int:
        """The length of a digest in bytes."""
        if self is Algorithm.CRC32:
            return CRC32_SIZE
        return hashlib.new(self, usedforsecurity=False).digest_size


@dataclass(frozen=True, slots=True)
class Checksum:
    """A checksum that a client sent."""

    algorithm: Algorithm
    digest: bytes


def digest(algorithm: Algorithm, chunks: Iterable[bytes | memoryview]) -> bytes:
    """Return the digest of the concatenated `chunks`. A CRC-32 is in big-endian order."""
    if algorithm is Algorithm.CRC32:
        value = 0
        for chunk in chunks:
            value = crc32(chunk, value)
        return value.to_bytes(CRC32_SIZE)
    state = hashlib.new(algorithm, usedforsecurity=False)
    for chunk in chunks:
        state.update(chunk)
    return state.digest()
