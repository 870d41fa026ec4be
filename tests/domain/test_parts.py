"""The part plan, for all lengths and for all limits that the settings allow."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tus_wsgi.domain.errors import UploadTooLarge
from tus_wsgi.domain.model import GIB, MIB, TIB
from tus_wsgi.domain.parts import (
    MAX_PART_SIZES,
    Part,
    PartLimits,
    PartPlan,
    contiguous,
    plan_after,
    plan_for,
)

AWS = PartLimits()


@st.composite
def small_limits(draw: st.DrawFn) -> PartLimits:
    """Draw limits that `Settings` accepts. They are small, so that edge cases are frequent."""
    min_part_size = draw(st.integers(1, 50))
    part_size = draw(st.integers(min_part_size, 100))
    return PartLimits(
        part_size=part_size,
        min_part_size=min_part_size,
        max_part_size=draw(st.integers(part_size, 2000)),
        max_parts=draw(st.one_of(st.integers(1, 60), st.just(10_000))),
        max_object_size=draw(st.integers(1, 100_000)),
    )


all_limits = st.one_of(small_limits(), st.just(AWS))


@st.composite
def lengths_and_limits(draw: st.DrawFn) -> tuple[int | None, PartLimits]:
    limits = draw(all_limits)
    longest = limits.max_length
    near_longest = st.integers(max(0, longest - 3), longest)
    return draw(st.one_of(st.integers(0, longest), near_longest, st.none())), limits


@st.composite
def plans(draw: st.DrawFn) -> tuple[PartPlan, PartLimits]:
    length, limits = draw(lengths_and_limits())
    return plan_for(length, limits), limits


@pytest.mark.property
@given(plans(), st.data())
def test_each_part_begins_where_the_previous_part_ends(
    planned: tuple[PartPlan, PartLimits], data: st.DataObject
) -> None:
    plan, limits = planned
    number = data.draw(st.integers(1, limits.max_parts))
    assert plan.start(1) == 0
    assert plan.start(number) + plan.size(number) == plan.start(number + 1)


@pytest.mark.property
@given(plans(), st.data())
def test_number_at_returns_the_part_that_contains_the_offset(
    planned: tuple[PartPlan, PartLimits], data: st.DataObject
) -> None:
    plan, limits = planned
    offset = data.draw(st.integers(0, plan.capacity(limits.max_parts) - 1))
    number = plan.number_at(offset)
    assert plan.start(number) <= offset < plan.start(number) + plan.size(number)
    assert 1 <= number <= limits.max_parts


@pytest.mark.property
@given(plans(), st.data())
def test_number_at_is_the_inverse_of_start(
    planned: tuple[PartPlan, PartLimits], data: st.DataObject
) -> None:
    plan, limits = planned
    number = data.draw(st.integers(1, limits.max_parts))
    assert plan.number_at(plan.start(number)) == number
    assert plan.number_at(plan.start(number) + plan.size(number) - 1) == number


@pytest.mark.property
@given(lengths_and_limits())
def test_part_numbers_never_exceed_the_limit(planned: tuple[int | None, PartLimits]) -> None:
    """It does not matter whether the length is known in advance."""
    length, limits = planned
    max_length = limits.max_length if length is None else length
    assume(max_length > 0)
    assert plan_for(length, limits).number_at(max_length - 1) <= limits.max_parts


@pytest.mark.property
@given(lengths_and_limits(), st.data())
def test_every_part_but_the_last_has_a_size_within_the_limits(
    planned: tuple[int | None, PartLimits], data: st.DataObject
) -> None:
    length, limits = planned
    plan = plan_for(length, limits)
    max_length = limits.max_length if length is None else length
    assume(max_length > 0)
    number = data.draw(st.integers(1, plan.number_at(max_length - 1)))
    assert limits.min_part_size <= plan.size(number) <= limits.max_part_size
    assert plan.expected_size(number, max_length) <= limits.max_part_size


@pytest.mark.property
@given(lengths_and_limits())
def test_expected_sizes_add_up_to_the_length(planned: tuple[int | None, PartLimits]) -> None:
    length, limits = planned
    assume(length is not None)
    assert length is not None
    plan = plan_for(length, limits)
    count = plan.number_at(max(0, length - 1))
    assert sum(plan.expected_size(number, length) for number in range(1, count + 1)) == length
    assert plan.expected_size(count + 1, length) == 0


@pytest.mark.property
@given(limits=small_limits(), is_known=st.booleans())
def test_the_capacity_is_the_sum_of_the_part_sizes(limits: PartLimits, *, is_known: bool) -> None:
    limits = replace(limits, max_parts=min(limits.max_parts, 60))
    plan = plan_for(limits.max_length if is_known else None, limits)
    assert plan.capacity(limits.max_parts) == sum(
        plan.size(number) for number in range(1, limits.max_parts + 1)
    )


@pytest.mark.property
@given(all_limits)
def test_an_upload_of_unknown_length_may_become_as_long_as_any_other(limits: PartLimits) -> None:
    assert plan_for(None, limits).capacity(limits.max_parts) >= limits.max_length


@pytest.mark.property
@given(all_limits, st.integers(1, 10**15))
def test_a_length_above_the_maximum_is_too_large(limits: PartLimits, surplus: int) -> None:
    """The creation fails (413), not a later request."""
    max_length = limits.max_length
    for length in (max_length + 1, max_length + surplus):
        with pytest.raises(UploadTooLarge) as caught:
            plan_for(length, limits)
        assert (caught.value.limit, caught.value.provided) == (max_length, length)


@pytest.mark.property
@given(lengths_and_limits())
def test_no_length_up_to_the_maximum_is_too_large(planned: tuple[int | None, PartLimits]) -> None:
    length, limits = planned
    plan_for(length, limits)
    plan_for(limits.max_length, limits)


@pytest.mark.property
@given(lengths_and_limits(), st.data())
def test_the_parts_do_not_depend_on_the_requests_that_send_the_bytes(
    planned: tuple[int | None, PartLimits], data: st.DataObject
) -> None:
    """D-01."""
    length, limits = planned
    end = min(limits.max_length if length is None else length, 3000)
    cuts = data.draw(st.lists(st.integers(0, end), max_size=8))
    parts = spans_of_parts(length, limits, [0, end])
    assert spans_of_parts(length, limits, sorted({0, *cuts, end})) == parts


def spans_of_parts(
    length: int | None, limits: PartLimits, offsets: list[int]
) -> dict[int, tuple[int, int]]:
    """Return the start and the end of each part by its number.

    A request ends at each of the offsets, and the next request computes the plan again.
    """
    spans: dict[int, tuple[int, int]] = {}
    for start, stop in itertools.pairwise(offsets):
        plan = plan_for(length, limits)
        offset = start
        while offset < stop:
            number = plan.number_at(offset)
            end = min(stop, plan.start(number) + plan.size(number))
            # An earlier request may have begun the part.
            first, _ = spans.get(number, (offset, end))
            spans[number] = (first, end)
            offset = end
    return spans


def test_the_default_limits_are_those_of_aws() -> None:
    assert AWS.max_length == 5 * TIB
    assert plan_for(5 * TIB, AWS).number_at(5 * TIB - 1) <= 10_000


@pytest.mark.parametrize(
    ("length", "part_size"),
    [
        (0, 16 * MIB),
        (16 * MIB, 16 * MIB),
        (160_000 * MIB, 16 * MIB),
        (160_000 * MIB + 1, 16 * MIB + 1),
        (5 * TIB, -(-5 * TIB // 10_000)),
    ],
)
def test_a_part_has_the_preferred_size_unless_there_are_too_many_parts(
    length: int, part_size: int
) -> None:
    assert plan_for(length, AWS) == PartPlan(part_size)


def test_the_parts_of_an_upload_of_unknown_length_grow() -> None:
    plan = plan_for(None, AWS)
    assert plan == PartPlan(16 * MIB, 1000, 8)
    assert plan.size(1000) == 16 * MIB
    assert plan.size(1001) == 32 * MIB
    assert plan.size(8001) == plan.size(10_000) == 4 * GIB


def test_the_parts_of_an_upload_of_unknown_length_are_larger_if_there_may_be_only_few() -> None:
    limits = PartLimits(max_parts=100)
    plan = plan_for(None, limits)
    assert plan.part_size > limits.part_size
    assert plan.capacity(100) >= limits.max_length


@pytest.mark.parametrize(
    ("limits", "max_length"),
    [
        (PartLimits(max_object_size=50 * TIB), 50 * TIB),
        (PartLimits(max_part_size=16 * MIB), 160_000 * MIB),
        (PartLimits(max_parts=1), 5 * GIB),
        (PartLimits(max_object_size=GIB), GIB),
    ],
)
def test_the_maximum_length_follows_from_the_smallest_limit(
    limits: PartLimits, max_length: int
) -> None:
    capacity = plan_for(None, limits).capacity(limits.max_parts)
    assert limits.max_length == min(max_length, capacity)


def test_the_number_of_doublings_is_bounded() -> None:
    plan = plan_for(None, PartLimits(max_part_size=10**30, max_object_size=10**30))
    assert plan.doublings == MAX_PART_SIZES - 1


# -- the contiguous run of listed parts ------------------------------------------------------------

PLAN = PartPlan(10)


def part(number: int, size: int = 10, etag: str = "") -> Part:
    return Part(number, size, etag or f'"{number}"')


def numbers(listed: list[Part], *, plan: PartPlan = PLAN, length: int | None = 35) -> list[int]:
    return [part.number for part in contiguous(plan, length, listed)]


def test_the_run_ends_before_the_first_missing_part() -> None:
    """D-02."""
    assert numbers([part(1), part(2), part(4, 5)]) == [1, 2]
    assert numbers([part(2), part(3)]) == []
    assert numbers([]) == []


def test_the_parts_may_be_listed_in_any_order() -> None:
    assert numbers([part(3), part(1), part(4, 5), part(2)]) == [1, 2, 3, 4]


@pytest.mark.parametrize("size", [0, 1, 9, 11])
def test_a_part_without_the_size_of_the_plan_counts_as_missing(size: int) -> None:
    assert numbers([part(1), part(2, size), part(3)]) == [1]


@pytest.mark.parametrize(("size", "run"), [(5, [1, 2, 3, 4]), (10, [1, 2, 3]), (4, [1, 2, 3])])
def test_the_last_part_has_the_size_of_the_rest(size: int, run: list[int]) -> None:
    assert numbers([part(1), part(2), part(3), part(4, size)]) == run


@pytest.mark.parametrize("right_first", [True, False])
def test_of_two_parts_with_the_same_number_the_part_of_the_right_size_is_used(
    *, right_first: bool
) -> None:
    """SeaweedFS lists a part twice after a lost response."""
    duplicates = [part(2, 10, '"right"'), part(2, 3, '"short"')]
    listed = [part(1), *(duplicates if right_first else reversed(duplicates)), part(3)]
    run = contiguous(PLAN, 35, listed)
    assert [part.etag for part in run] == ['"1"', '"right"', '"3"']


def test_parts_that_are_listed_twice_count_once() -> None:
    assert numbers([part(1), part(1), part(2), part(2)]) == [1, 2]


def test_parts_behind_the_end_are_ignored() -> None:
    assert numbers([part(1), part(2)], length=10) == [1]
    assert numbers([part(1)], length=0) == []


def test_without_a_length_only_full_parts_count() -> None:
    assert numbers([part(1), part(2), part(3, 5)], length=None) == [1, 2]


@pytest.mark.property
@given(lengths_and_limits(), st.data())
def test_the_run_is_found_among_any_other_parts(
    planned: tuple[int | None, PartLimits], data: st.DataObject
) -> None:
    length, limits = planned
    plan = plan_for(length, limits)
    max_length = limits.max_length if length is None else length
    count = plan.number_at(max(0, max_length - 1))
    sizes = {number: plan.expected_size(number, length) for number in range(1, min(count, 40) + 1)}
    full = [part(number, size) for number, size in sizes.items() if size > 0]
    stored = data.draw(st.lists(st.sampled_from(full), unique=True)) if full else []
    of_wrong_size = []
    for right in full:
        difference = data.draw(st.integers(-1, 1))
        if difference:
            of_wrong_size.append(part(right.number, right.size + difference, '"wrong"'))
    listed = [*stored, *of_wrong_size, *stored[:2]]
    random.Random(data.draw(st.integers(0, 9))).shuffle(listed)
    expected = list(itertools.takewhile(stored.__contains__, full))
    assert contiguous(plan, length, listed) == expected


# -- uploads that another server created -----------------------------------------------------------


def test_without_a_plan_every_size_is_valid() -> None:
    listed = [part(1, 7), part(2, 1), part(3, 50), part(5, 7)]
    assert [part.size for part in contiguous(None, None, listed)] == [7, 1, 50]
    assert contiguous(None, None, [part(1, 0)]) == []


def test_a_plan_continues_after_parts_of_any_size() -> None:
    plan = plan_after([part(1, 7), part(2, 11)], 50, PartLimits(part_size=10, min_part_size=5))
    assert plan == PartPlan(10, parts_before=2, bytes_before=18)
    assert [plan.start(number) for number in (3, 4, 5, 6)] == [18, 28, 38, 48]
    assert [plan.expected_size(number, 50) for number in (3, 6, 7)] == [10, 2, 0]
    listed = [part(1, 7), part(2, 11), part(3), part(4, 9)]
    assert contiguous(plan, 50, listed) == listed[:3]


@pytest.mark.parametrize("length", [None, 50])
@pytest.mark.parametrize("size", [10, 11, 9])
def test_parts_behind_a_gap_do_not_match_the_plan(length: int | None, size: int) -> None:
    """The offset of their bytes is unknown, because the missing part 2 may have had any size."""
    listed = [part(1, 7), part(3, size), part(4, 23)]
    limits = PartLimits(part_size=10, min_part_size=5, max_object_size=500)
    plan = plan_after(listed[:1], length, limits, listed)
    assert 10 <= plan.part_size <= 12
    assert numbers([*listed, part(2, plan.part_size)], plan=plan, length=length) == [1, 2]


def test_a_plan_continues_with_larger_parts_if_few_part_numbers_are_left() -> None:
    limits = PartLimits(part_size=10, min_part_size=5, max_parts=4)
    assert plan_after([part(1, 7), part(2, 7)], 94, limits).part_size == 40


@pytest.mark.parametrize("tail_size", [10, 11, 35])
def test_the_first_part_of_a_plan_that_continues_has_room_for_the_tail(tail_size: int) -> None:
    """D-01: otherwise the part with the tail has another size than the plan says."""
    limits = PartLimits(part_size=10, min_part_size=5)
    plan = plan_after([part(1, 7)], 90, limits, [part(1, 7), part(3, 35)], tail_size=tail_size)
    assert tail_size <= plan.part_size <= tail_size + 1
    assert plan.part_size != 35


@pytest.mark.parametrize(("done", "limit"), [(2, 14), (1, 107)])
def test_an_upload_whose_rest_does_not_fit_is_too_large(done: int, limit: int) -> None:
    limits = PartLimits(part_size=10, min_part_size=5, max_part_size=100, max_parts=2)
    run = [part(number, 7) for number in range(1, done + 1)]
    with pytest.raises(UploadTooLarge) as caught:
        plan_after(run, 108, limits)
    assert caught.value.limit == limit


@pytest.mark.property
@given(
    st.lists(st.integers(1, 200), max_size=12),
    st.one_of(st.none(), st.integers(0, 5000)),
    small_limits(),
)
def test_a_plan_that_continues_satisfies_every_limit(
    sizes: list[int], rest: int | None, limits: PartLimits
) -> None:
    run = [part(number, size) for number, size in enumerate(sizes, 1)]
    done = sum(sizes)
    length = None if rest is None else done + rest
    max_length = limits.max_object_size if length is None else length
    left = limits.max_parts - len(run)
    if left <= 0 or max_length > done + left * limits.max_part_size:
        with pytest.raises(UploadTooLarge):
            plan_after(run, length, limits)
        return
    plan = plan_after(run, length, limits)
    assert plan.start(len(run) + 1) == done
    assert limits.min_part_size <= plan.part_size <= limits.max_part_size
    assert plan.start(limits.max_parts + 1) >= max_length
