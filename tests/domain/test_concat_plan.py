"""How a file is cut out of others."""

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

lengths_of_all = st.lists(st.integers(0, 40), max_size=30)
plans = st.builds(
    PartPlan, st.integers(1, 20), double_every=st.integers(0, 3), doublings=st.integers(0, 3)
)


@pytest.mark.property
@given(lengths=lengths_of_all, plan=plans)
def test_the_parts_are_the_sources_behind_each_other(lengths: list[int], plan: PartPlan) -> None:
    """CO-02, CO-14: every byte once, in its order; empty sources are passed over."""
    sources = [bytes([number] * length) for number, length in enumerate(lengths)]
    made = [
        sources[s.source][s.start : s.stop] for p in concat_parts(lengths, plan) for s in p.slices
    ]
    assert b"".join(made) == b"".join(sources)
    assert all(made)


@pytest.mark.property
@given(lengths=lengths_of_all, plan=plans)
def test_the_parts_are_those_of_the_plan(lengths: list[int], plan: PartPlan) -> None:
    total = sum(lengths)
    parts = list(concat_parts(lengths, plan))
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    assert [part.size for part in parts] == [plan.expected_size(p.number, total) for p in parts]
    assert sum(part.size for part in parts) == total


@pytest.mark.property
@given(
    lengths=st.lists(st.integers(0, 3 * GIB) | st.integers(0, 10 * MIB), min_size=1, max_size=20),
    part_size=st.integers(5 * MIB, 64 * MIB),
)
def test_the_service_takes_every_copy(lengths: list[int], part_size: int) -> None:
    """Whole sources, or ranges of sources that are large enough; and nothing needless is sent."""
    limits = PartLimits(part_size=part_size)
    for part in concat_parts(lengths, plan_for(sum(lengths), limits)):
        slice = copyable_slice(part, lengths)
        if slice is None:
            small = lengths[part.slices[0].source] <= MAX_SOURCE_WITHOUT_RANGES
            assert len(part.slices) > 1 or small
        else:
            length = lengths[slice.source]
            assert 0 <= slice.start < slice.stop <= length
            assert slice.size <= limits.max_part_size
            assert slice.size == length or length > MAX_SOURCE_WITHOUT_RANGES


def test_no_bytes_are_no_parts() -> None:
    assert list(concat_parts([], PartPlan(5))) == []
    assert list(concat_parts([0, 0], PartPlan(5))) == []


def test_seams_lie_wherever_they_like() -> None:
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
def test_a_small_source_is_copied_whole_or_not_at_all(
    length: int, start: int, stop: int, is_copied: bool
) -> None:
    slice = Slice(0, start, stop)
    assert copyable_slice(ConcatPart(1, (slice,)), [length]) == (slice if is_copied else None)


def test_partials_may_be_larger_than_anything_that_is_copied_at_once() -> None:
    """A terabyte in two: no part is larger than 5 GiB, and one at most has to be sent."""
    lengths = [TIB // 2 + 3, TIB // 2]
    limits = PartLimits()
    parts = list(concat_parts(lengths, plan_for(sum(lengths), limits)))
    assert len(parts) <= limits.max_parts
    assert sum(copyable_slice(part, lengths) is None for part in parts) == 1


def test_ten_thousand_parts_of_a_thousand_partials_are_planned_at_once() -> None:
    lengths = [5 * GIB + number for number in range(1000)]
    began = time.monotonic()
    parts = list(concat_parts(lengths, plan_for(sum(lengths), PartLimits())))
    assert time.monotonic() - began < 2
    assert len(parts) <= 10_000
