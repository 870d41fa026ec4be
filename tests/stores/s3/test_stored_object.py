"""The ETag, the version and the CRC-32 that the application learns of an object."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stores.s3.stubbed_bucket import FACTS, StubbedBucket, stub_client, stubbed
from tus_wsgi.domain.checksums import Algorithm, Checksum
from tus_wsgi.domain.crc import build_crc32, combine_crc32, parse_crc32
from tus_wsgi.domain.parts import Part
from tus_wsgi.spool.payload import Payload
from tus_wsgi.stores.s3.bucket import ObjectFacts
from tus_wsgi.stores.s3.stored_object import object_of_facts, object_of_put

__all__ = ["stub_client", "stubbed"]

MODIFIED = datetime(2026, 1, 2, tzinfo=UTC)
DATA = b"0123456789"


def checksum_of(data: bytes) -> Checksum:
    return Checksum(Algorithm.CRC32, zlib.crc32(data).to_bytes(4))


def part(number: int, data: bytes) -> Part:
    return Part(number, len(data), f'"{number}"', build_crc32(zlib.crc32(data)))


def facts(crc32: str | None, version: str | None = None) -> ObjectFacts:
    return ObjectFacts(len(DATA), '"abc-2"', MODIFIED, version=version, crc32=crc32)


def test_the_response_to_a_put_has_the_etag_and_the_version(stubbed: StubbedBucket) -> None:
    stubbed.add_response("put_object", ETag='"abc"', VersionId="v1")
    written = stubbed.bucket.put_data(
        "key", Payload.of(DATA), content_type=None, metadata={}, parameters={}
    )
    stored = object_of_put(written, Payload.of(DATA))
    assert (stored.etag, stored.version) == ("abc", "v1")
    assert stored.checksum == checksum_of(DATA)


def test_the_response_to_a_head_has_the_version_and_the_checksum(stubbed: StubbedBucket) -> None:
    crc32 = build_crc32(zlib.crc32(DATA))
    stubbed.add_response("head_object", **FACTS, VersionId="v1", ChecksumCRC32=crc32)
    stored = object_of_facts(stubbed.bucket.head("key"), [])
    assert (stored.etag, stored.version) == ("e", "v1")
    assert stored.checksum == checksum_of(DATA)


def test_a_checksum_of_checksums_is_not_that_of_the_file(stubbed: StubbedBucket) -> None:
    """S3 writes the number of parts behind it, if the parts have no common checksum."""
    stubbed.add_response("head_object", **FACTS, ChecksumCRC32="NSRBwg==-2")
    assert stubbed.bucket.head("key").crc32 is None


def test_the_checksum_follows_from_the_parts_if_the_service_does_not_say_it() -> None:
    stored = object_of_facts(facts(None), [part(1, DATA[:7]), part(2, DATA[7:])])
    assert stored.checksum == checksum_of(DATA)


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([], id="parts that are unknown"),
        pytest.param([part(1, DATA[:7])], id="parts that are incomplete"),
        pytest.param([part(1, DATA[:7]), Part(2, 3, '"2"')], id="a part without a checksum"),
        pytest.param([part(1, DATA[:7]), Part(2, 3, '"2"', "no base64")], id="an invalid checksum"),
        pytest.param([part(1, DATA[:7]), Part(2, 3, '"2"', "YQ==")], id="a short checksum"),
    ],
)
def test_an_unknown_checksum_is_none(parts: list[Part]) -> None:
    assert object_of_facts(facts(None), parts).checksum is None


@pytest.mark.property
@given(st.binary(max_size=300), st.binary(max_size=300))
def test_checksums_are_combined(first: bytes, second: bytes) -> None:
    combined = combine_crc32(zlib.crc32(first), zlib.crc32(second), len(second))
    assert combined == zlib.crc32(first + second)
    assert parse_crc32(build_crc32(combined)) == combined
