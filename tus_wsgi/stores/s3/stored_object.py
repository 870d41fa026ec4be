"""The ETag, the version and the CRC-32 of a data object, for the application's hook. No I/O."""

from __future__ import annotations

from collections.abc import Iterable

from tus_wsgi.domain.checksums import Algorithm, Checksum
from tus_wsgi.domain.crc import CRC32_SIZE, combine_crc32, parse_crc32
from tus_wsgi.domain.hooks import StoredObject
from tus_wsgi.domain.parts import Part
from tus_wsgi.spool.payload import Payload
from tus_wsgi.stores.s3.bucket import ObjectFacts, WrittenObject


def object_of_put(written: WrittenObject, payload: Payload) -> StoredObject:
    """Return the properties of an object that was written with one PutObject."""
    return StoredObject(
        etag=written.etag.strip('"'), version=written.version, checksum=_checksum(payload.crc32)
    )


def object_of_facts(facts: ObjectFacts, parts: Iterable[Part]) -> StoredObject:
    """Return the properties of an object that exists.

    Args:
        facts: the object's headers.
        parts: the parts of which the object was made, in order; empty if they are unknown. Their
            CRC-32s are combined if the service does not report the CRC-32 of the object.
    """
    crc32 = None if facts.crc32 is None else parse_crc32(facts.crc32)
    if crc32 is None:
        crc32 = _crc32_of_parts(parts, facts.size)
    return StoredObject(
        etag=facts.etag.strip('"'), version=facts.version, checksum=_checksum(crc32)
    )


def _crc32_of_parts(parts: Iterable[Part], size: int) -> int | None:
    combined, length = 0, 0
    for part in parts:
        crc32 = None if part.crc32 is None else parse_crc32(part.crc32)
        if crc32 is None:
            return None
        combined = combine_crc32(combined, crc32, part.size)
        length += part.size
    return combined if length == size else None


def _checksum(crc32: int | None) -> Checksum | None:
    return None if crc32 is None else Checksum(Algorithm.CRC32, crc32.to_bytes(CRC32_SIZE))
