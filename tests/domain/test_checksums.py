"""The algorithms of checksums."""

from __future__ import annotations

import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bodies import sliced
from tus_wsgi.domain.checksums import Algorithm, digest

# RFC 3174, section 7.3; FIPS 180-2, appendices B.1 and C.1; RFC 1321, appendix A.5; and the check
# value of CRC-32, which is the CRC of the digits 1 to 9.
KNOWN_DIGESTS = [
    (Algorithm.SHA1, b"abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
    (
        Algorithm.SHA256,
        b"abc",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    ),
    (
        Algorithm.SHA512,
        b"abc",
        (
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        ),
    ),
    (Algorithm.MD5, b"abc", "900150983cd24fb0d6963f7d28e17f72"),
    (Algorithm.CRC32, b"123456789", "cbf43926"),
]


@pytest.mark.parametrize(("algorithm", "data", "expected"), KNOWN_DIGESTS)
def test_digests_are_those_of_the_standards(
    algorithm: Algorithm, data: bytes, expected: str
) -> None:
    """CK-01."""
    assert digest(algorithm, [data]).hex() == expected


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_digest_has_the_size_of_its_algorithm(algorithm: Algorithm) -> None:
    assert len(digest(algorithm, [])) == algorithm.size


@pytest.mark.property
@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300)))
def test_a_digest_does_not_depend_on_the_chunks(data: bytes, cuts: list[int]) -> None:
    chunks = sliced(data, cuts)
    assert digest(Algorithm.CRC32, chunks) == zlib.crc32(data).to_bytes(4)
    assert digest(Algorithm.SHA1, chunks) == hashlib.sha1(data).digest()
