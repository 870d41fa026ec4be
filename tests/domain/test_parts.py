"""Which bytes are which part, for every length and every sane set of limits."""

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
def some_limits(draw: st.DrawFn) -> PartLimits:
    """Limits as `Settings` lets them through, small ones above all: their edges are near."""
    least = draw(st.integers(1, 50))
    preferred = draw(st.integers(least, 100))
    most = draw(st.integers(preferred, 2000))
    return PartLimits(
        part_size=preferred,
        min_part_size=least,
        max_part_size=most,
        max_parts=draw(st.one_of(st.integers(1, 60), st.just(10_000))),
        max_object_size=draw(st.integers(1, 100_000)),
    )


limits = st.one_of(some_limits(), st.just(AWS))


@st.composite
def lengths_and_limits(draw: st.DrawFn) -> tuple[int | None, PartLimits]:
    within = draw(limits)
    most = within.max_length
    length = st.one_of(st.integers(0, most), st.integers(max(0, most - 3), most), st.none())
    return draw(length), within


@st.composite
def plans(draw: st.DrawFn) -> tuple[PartPlan, PartLimits]:
    length, within = draw(lengths_and_limits())
    return plan_for(length, within), within


@pytest.mark.property
@given(plans(), st.data())
def test_each_part_begins_where_the_one_before_it_ends(
    planned: tuple[PartPlan, PartLimits], data: st.DataObject
) -> None:
    """Parts tile the upload without a gap or an overlap."""
    plan, within = planned
    number = data.draw(st.integers(1, within.max_parts))
    assert plan.start(1) == 0
    assert plan.start(number) + plan.size(number) == plan.start(number + 1)


@pytest.mark.property
@given(plans(), st.data())
def test_the_part_at_an_offset_is_the_one_that_holds_it(
    planned: tuple[PartPlan, PartLimits], data: st.DataObject
) -> None:
    plan, within = planned
    offset = data.draw(st.integers(0, plan.capacity(within.max_parts) - 1))
    number = plan.number_at(offset)
    assert plan.start(number) <= offset < plan.start(number) + plan.size(number)
    assert 1 <= number <= within.max_parts


@pytest.mark.property
@given(plans(), st.data())
def test_number_at_undoes_start(planned: tuple[PartPlan, PartLimits], data: st.DataObject) -> None:
    plan, within = planned
    number = data.draw(st.integers(1, within.max_parts))
    assert plan.number_at(plan.start(number)) == number
    assert plan.number_at(plan.start(number) + plan.size(number) - 1) == number


@pytest.mark.property
@given(lengths_and_limits())
def test_part_numbers_never_exceed_the_limit(planned: tuple[int | None, PartLimits]) -> None:
    """Up to `max_length`, whether the length was known in advance or not."""
    length, within = planned
    most = within.max_length if length is None else length
    assume(most > 0)
    assert plan_for(length, within).number_at(most - 1) <= within.max_parts


@pytest.mark.property
@given(lengths_and_limits(), st.data())
def test_every_part_but_the_last_has_a_legal_size(
    planned: tuple[int | None, PartLimits], data: st.DataObject
) -> None:
    length, within = planned
    plan = plan_for(length, within)
    most = within.max_length if length is None else length
    assume(most > 0)
    number = data.draw(st.integers(1, plan.number_at(most - 1)))
    assert within.min_part_size <= plan.size(number) <= within.max_part_size
    assert plan.expected_size(number, most) <= within.max_part_size


@pytest.mark.property
@given(lengths_and_limits())
def test_expected_sizes_add_up_to_the_length(planned: tuple[int | None, PartLimits]) -> None:
    length, within = planned
    assume(length is not None)
    assert length is not None
    plan = plan_for(length, within)
    count = plan.number_at(max(0, length - 1))
    assert sum(plan.expected_size(number, length) for number in range(1, count + 1)) == length
    assert plan.expected_size(count + 1, length) == 0


@pytest.mark.property
@given(within=some_limits(), knows=st.booleans())
def test_capacity_is_what_the_parts_hold_together(within: PartLimits, *, knows: bool) -> None:
    within = replace(within, max_parts=min(within.max_parts, 60))
    plan = plan_for(within.max_length if knows else None, within)
    assert plan.capacity(within.max_parts) == sum(
        plan.size(number) for number in range(1, within.max_parts + 1)
    )


@pytest.mark.property
@given(limits)
def test_a_ladder_holds_the_longest_upload(within: PartLimits) -> None:
    """An upload of unknown length may become as long as any other."""
    assert plan_for(None, within).capacity(within.max_parts) >= within.max_length


@pytest.mark.property
@given(limits, st.integers(1, 10**15))
def test_just_above_the_maximum_is_too_large(within: PartLimits, surplus: int) -> None:
    """Said at creation, never midway (413)."""
    most = within.max_length
    for length in (most + 1, most + surplus):
        with pytest.raises(UploadTooLarge) as caught:
            plan_for(length, within)
        assert (caught.value.limit, caught.value.provided) == (most, length)


@pytest.mark.property
@given(lengths_and_limits())
def test_up_to_the_maximum_nothing_is_too_large(planned: tuple[int | None, PartLimits]) -> None:
    length, within = planned
    plan_for(length, within)
    plan_for(within.max_length, within)


@pytest.mark.property
@given(lengths_and_limits(), st.data())
def test_parts_do_not_depend_on_how_the_bytes_come(
    planned: tuple[int | None, PartLimits], data: st.DataObject
) -> None:
    """However the requests slice the upload, and whichever process serves them."""
    length, within = planned
    most = min(within.max_length if length is None else length, 3000)
    cuts = data.draw(st.lists(st.integers(0, most), max_size=8))
    whole = parts_of_requests(length, within, [0, most])
    assert parts_of_requests(length, within, sorted({0, *cuts, most})) == whole


def parts_of_requests(
    length: int | None, within: PartLimits, offsets: list[int]
) -> dict[int, tuple[int, int]]:
    """Which bytes each part gets when every request makes its own plan; the last offset ends it."""
    spans: dict[int, tuple[int, int]] = {}
    for start, stop in itertools.pairwise(offsets):
        plan = plan_for(length, within)
        offset = start
        while offset < stop:
            number = plan.number_at(offset)
            end = min(stop, plan.start(number) + plan.size(number))
            spans[number] = (spans.get(number, (offset, 0))[0], end)
            offset = end
    return spans


def test_the_defaults_are_those_of_aws() -> None:
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
def test_a_part_is_as_small_as_preferred_and_as_large_as_needed(
    length: int, part_size: int
) -> None:
    assert plan_for(length, AWS) == PartPlan(part_size)


def test_a_ladder_begins_small_and_ends_large() -> None:
    ladder = plan_for(None, AWS)
    assert ladder == PartPlan(16 * MIB, 1000, 8)
    assert ladder.size(1000) == 16 * MIB
    assert ladder.size(1001) == 32 * MIB
    assert ladder.size(8001) == ladder.size(10_000) == 4 * GIB


def test_a_ladder_begins_larger_where_there_are_few_parts() -> None:
    few = PartLimits(max_parts=100)
    ladder = plan_for(None, few)
    assert ladder.part_size > few.part_size
    assert ladder.capacity(100) >= few.max_length


@pytest.mark.parametrize(
    ("within", "most"),
    [
        (PartLimits(max_object_size=50 * TIB), 50 * TIB),
        (PartLimits(max_part_size=16 * MIB), 160_000 * MIB),
        (PartLimits(max_parts=1), 5 * GIB),
        (PartLimits(max_object_size=GIB), GIB),
    ],
)
def test_the_maximum_is_set_by_the_narrowest_limit(within: PartLimits, most: int) -> None:
    ladder = plan_for(None, within).capacity(within.max_parts)
    assert within.max_length == min(most, ladder)


def test_the_number_of_steps_is_bounded() -> None:
    ladder = plan_for(None, PartLimits(max_part_size=10**30, max_object_size=10**30))
    assert ladder.doublings == MAX_PART_SIZES - 1


# -- what S3 lists ---------------------------------------------------------------------------------

PLAN = PartPlan(10)


def part(number: int, size: int = 10, etag: str = "") -> Part:
    return Part(number, size, etag or f'"{number}"')


def numbers(listed: list[Part], *, plan: PartPlan = PLAN, length: int | None = 35) -> list[int]:
    return [one.number for one in contiguous(plan, length, listed)]


def test_the_run_ends_at_the_first_part_that_is_missing() -> None:
    assert numbers([part(1), part(2), part(4, 5)]) == [1, 2]
    assert numbers([part(2), part(3)]) == []
    assert numbers([]) == []


def test_the_run_may_be_listed_in_any_order() -> None:
    assert numbers([part(3), part(1), part(4, 5), part(2)]) == [1, 2, 3, 4]


@pytest.mark.parametrize("size", [0, 1, 9, 11])
def test_a_part_of_another_size_than_the_plan_s_counts_as_missing(size: int) -> None:
    assert numbers([part(1), part(2, size), part(3)]) == [1]


@pytest.mark.parametrize(("size", "run"), [(5, [1, 2, 3, 4]), (10, [1, 2, 3]), (4, [1, 2, 3])])
def test_the_last_part_has_what_is_left(size: int, run: list[int]) -> None:
    assert numbers([part(1), part(2), part(3), part(4, size)]) == run


@pytest.mark.parametrize("twin_first", [True, False])
def test_of_two_entries_with_one_number_the_one_of_the_right_size_counts(
    *, twin_first: bool
) -> None:
    """SeaweedFS lists a part twice after a lost answer."""
    twins = [part(2, 3, '"short"'), part(2, 10, '"right"')]
    listed = [part(1), *(twins if twin_first else reversed(twins)), part(3)]
    run = contiguous(PLAN, 35, listed)
    assert [one.etag for one in run] == ['"1"', '"right"', '"3"']


def test_entries_that_are_repeated_count_once() -> None:
    assert numbers([part(1), part(1), part(2), part(2)]) == [1, 2]


def test_parts_behind_the_end_count_for_nothing() -> None:
    assert numbers([part(1), part(2)], length=10) == [1]
    assert numbers([part(1)], length=0) == []


def test_without_a_length_every_part_is_full() -> None:
    assert numbers([part(1), part(2), part(3, 5)], length=None) == [1, 2]


@pytest.mark.property
@given(lengths_and_limits(), st.data())
def test_the_run_is_found_whatever_surrounds_it(
    planned: tuple[int | None, PartLimits], data: st.DataObject
) -> None:
    length, within = planned
    plan = plan_for(length, within)
    most = within.max_length if length is None else length
    count = plan.number_at(max(0, most - 1))
    full = [
        part(number, size)
        for number in range(1, min(count, 40) + 1)
        if (size := plan.expected_size(number, length)) > 0
    ]
    there = data.draw(st.lists(st.sampled_from(full), unique=True)) if full else []
    noise = [
        part(one.number, one.size + wrong, '"wrong"')
        for one in full
        if (wrong := data.draw(st.integers(-1, 1)))
    ]
    listed = [*there, *noise, *there[:2]]
    random.Random(data.draw(st.integers(0, 9))).shuffle(listed)
    found = contiguous(plan, length, listed)
    expected: list[Part] = []
    while len(expected) < len(full) and full[len(expected)] in there:
        expected.append(full[len(expected)])
    assert found == expected


# -- uploads that another server began -------------------------------------------------------------


def test_without_a_plan_every_size_is_right() -> None:
    listed = [part(1, 7), part(2, 1), part(3, 50), part(5, 7)]
    assert [one.size for one in contiguous(None, None, listed)] == [7, 1, 50]
    assert contiguous(None, None, [part(1, 0)]) == []


def test_a_plan_goes_on_behind_parts_of_any_size() -> None:
    plan = plan_after([part(1, 7), part(2, 11)], 50, PartLimits(part_size=10, min_part_size=5))
    assert plan == PartPlan(10, parts_before=2, bytes_before=18)
    assert [plan.start(number) for number in (3, 4, 5, 6)] == [18, 28, 38, 48]
    assert [plan.expected_size(number, 50) for number in (3, 6, 7)] == [10, 2, 0]
    listed = [part(1, 7), part(2, 11), part(3), part(4, 9)]
    assert contiguous(plan, 50, listed) == listed[:3]


@pytest.mark.parametrize("length", [None, 50])
@pytest.mark.parametrize("size", [10, 11, 9])
def test_what_lies_behind_a_gap_fits_into_no_plan(length: int | None, size: int) -> None:
    """Nobody knows which bytes it holds: part 2 of the other server may have been longer."""
    listed = [part(1, 7), part(3, size), part(4, 23)]
    within = PartLimits(part_size=10, min_part_size=5, max_object_size=500)
    plan = plan_after(listed[:1], length, within, listed)
    assert 10 <= plan.part_size <= 12
    again = contiguous(plan, length, [*listed, part(2, plan.part_size)])
    assert [one.number for one in again] == [1, 2]


def test_a_plan_goes_on_with_larger_parts_where_few_numbers_are_left() -> None:
    within = PartLimits(part_size=10, min_part_size=5, max_parts=4)
    assert plan_after([part(1, 7), part(2, 7)], 94, within).part_size == 40


@pytest.mark.parametrize(("done", "limit"), [(2, 14), (1, 107)])
def test_what_does_not_fit_behind_the_parts_is_too_large(done: int, limit: int) -> None:
    within = PartLimits(part_size=10, min_part_size=5, max_part_size=100, max_parts=2)
    run = [part(number, 7) for number in range(1, done + 1)]
    with pytest.raises(UploadTooLarge) as caught:
        plan_after(run, 108, within)
    assert caught.value.limit == limit


@pytest.mark.property
@given(
    st.lists(st.integers(1, 200), max_size=12),
    st.one_of(st.none(), st.integers(0, 5000)),
    some_limits(),
)
def test_a_plan_that_goes_on_keeps_every_limit(
    sizes: list[int], more: int | None, within: PartLimits
) -> None:
    run = [part(number, size) for number, size in enumerate(sizes, 1)]
    done = sum(sizes)
    length = None if more is None else done + more
    most = within.max_object_size if length is None else length
    left = within.max_parts - len(run)
    if left <= 0 or most > done + left * within.max_part_size:
        with pytest.raises(UploadTooLarge):
            plan_after(run, length, within)
        return
    plan = plan_after(run, length, within)
    assert plan.start(len(run) + 1) == done
    assert within.min_part_size <= plan.part_size <= within.max_part_size
    assert plan.start(within.max_parts + 1) >= most
