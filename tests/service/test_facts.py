"""The cache of the facts about uploads that never change."""

from __future__ import annotations

from tus_wsgi.domain.hooks import UploadFacts
from tus_wsgi.domain.model import Metadata, UploadId
from tus_wsgi.service.facts import FactsCache

A, B, C = (UploadId(name) for name in "abc")


def facts(id: UploadId, size: int = 0) -> UploadFacts:
    return UploadFacts(id, 10, Metadata((("k", b"x" * size),) if size else ()), "ada", None)


def cached(cache: FactsCache) -> list[UploadId]:
    return [id for id in (A, B, C) if cache.get(id) is not None]


def test_facts_are_kept_by_id() -> None:
    cache = FactsCache()
    cache.put(facts(A))
    assert cache.get(A) == facts(A)
    assert cache.get(B) is None


def test_the_least_recently_used_facts_are_evicted_first() -> None:
    cache = FactsCache(max_count=2)
    cache.put(facts(A))
    cache.put(facts(B))
    cache.get(A)
    cache.put(facts(C))
    assert cached(cache) == [A, C]


def test_long_metadata_does_not_exceed_the_limit_of_bytes() -> None:
    """A client can send 32 KiB of metadata with each of 10,000 uploads."""
    cache = FactsCache(max_bytes=100)
    cache.put(facts(A, 60))
    cache.put(facts(B, 60))
    assert cached(cache) == [B]
    cache.put(facts(C, 200))
    assert cached(cache) == []
    cache.put(facts(A, 60))
    assert cached(cache) == [A]


def test_replaced_facts_count_once() -> None:
    cache = FactsCache(max_count=2, max_bytes=100)
    for _ in range(5):
        cache.put(facts(A, 60))
    cache.put(facts(B, 30))
    assert cached(cache) == [A, B]
