"""The plan of the parts of a concatenated object."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tus_wsgi.domain.concat_plan import (
    MAX_SOURCE_WITHOUT_RANGES,
    ConcatPart,
    Slice,
    concat_parts,
    copyable_slice,
)
from tus_wsgi.domain.model import GIB, MIB, TIB
from tus_wsgi.domain.parts import PartLimits, PartPlan, plan_for

source_lengths = st.lists(st.integers(0, 40), max_size=30)
plans = st.builds(
    PartPlan, st.integers(1, 20), double_every=st.integers(0, 3), doublings=st.integers(0, 3)
)


@pytest.mark.property
@given(lengths=source_lengths, plan=plans)
def test_the_parts_are_the_concatenated_sources(lengths: list[int], plan: PartPlan) -> None:
    """CO-02, CO-14: every byte occurs once and in order. Empty sources are skipped."""
    sources = [bytes([number] * length) for number, length in enumerate(lengths)]
    slices = [slice for part in concat_parts(lengths, plan) for slice in part.slices]
    chunks = [sources[slice.source][slice.start : slice.stop] for slice in slices]
    assert b"".join(chunks) == b"".join(sources)
    assert all(chunks)


@pytest.mark.property
@given(lengths=source_lengths, plan=plans)
def test_the_parts_have_the_sizes_of_the_plan(lengths: list[int], plan: PartPlan) -> None:
    """D-01."""
    total = sum(lengths)
    parts = list(concat_parts(lengths, plan))
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    assert [part.size for part in parts] == [
        plan.expected_size(part.number, total) for part in parts
    ]
    assert sum(part.size for part in parts) == total


@pytest.mark.property
@given(
    lengths=st.lists(st.integers(0, 3 * GIB) | st.integers(0, 10 * MIB), min_size=1, max_size=20),
    part_size=st.integers(5 * MIB, 64 * MIB),
)
def test_a_part_is_copied_if_and_only_if_s3_accepts_the_copy(
    lengths: list[int], part_size: int
) -> None:
    """S3 copies whole sources, and ranges of sources that are large enough."""
    limits = PartLimits(part_size=part_size)
    for part in concat_parts(lengths, plan_for(sum(lengths), limits)):
        slice = copyable_slice(part, lengths)
        if slice is None:
            is_small = lengths[part.slices[0].source] <= MAX_SOURCE_WITHOUT_RANGES
            assert len(part.slices) > 1 or is_small
        else:
            length = lengths[slice.source]
            assert 0 <= slice.start < slice.stop <= length
            assert slice.size <= limits.max_part_size
            assert slice.size == length or length > MAX_SOURCE_WITHOUT_RANGES


def test_an_empty_object_has_no_parts() -> None:
    assert list(concat_parts([], PartPlan(5))) == []
    assert list(concat_parts([0, 0], PartPlan(5))) == []


def test_a_part_may_contain_slices_of_several_sources() -> None:
    assert list(concat_parts([3, 0, 9, 1], PartPlan(5))) == [
        ConcatPart(1, (Slice(0, 0, 3), Slice(2, 0, 2))),
        ConcatPart(2, (Slice(2, 2, 7),)),
        ConcatPart(3, (Slice(2, 7, 9), Slice(3, 0, 1))),
    ]


@pytest.mark.parametrize(
    ("length", "start", "stop", "is_copied"),
    [
        (5 * MIB, 0, 5 * MIB, True),
        (1, 0, 1, True),
        (5 * MIB, 1, 5 * MIB, False),
        (5 * MIB, 0, MIB, False),
        (5 * MIB + 1, 0, 5 * MIB, True),
        (5 * MIB + 1, 5 * MIB, 5 * MIB + 1, True),
    ],
)
def test_a_small_source_is_copied_only_as_a_whole(
    length: int, start: int, stop: int, is_copied: bool
) -> None:
    slice = Slice(0, start, stop)
    assert copyable_slice(ConcatPart(1, (slice,)), [length]) == (slice if is_copied else None)


def test_sources_may_be_larger_than_a_part() -> None:
    """Two sources of half a tebibyte: all parts but one are copied."""
    lengths = [TIB // 2 + 3, TIB // 2]
    limits = PartLimits()
    parts = list(concat_parts(lengths, plan_for(sum(lengths), limits)))
    assert len(parts) <= limits.max_parts
    assert sum(copyable_slice(part, lengths) is None for part in parts) == 1


def test_ten_thousand_parts_are_planned_in_less_than_two_seconds() -> None:
    """CPU time, so that other processes do not count."""
    lengths = [5 * GIB + number for number in range(1000)]
    began = time.thread_time()
    parts = list(concat_parts(lengths, plan_for(sum(lengths), PartLimits())))
    assert time.thread_time() - began < 2
    assert len(parts) <= 10_000
