"""Sizes and durations in settings, as text and as numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tus_wsgi.domain.model import GIB, MIB
from tus_wsgi.settings.values import build_duration, build_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("5242880", 5 * MIB),
        ("16MiB", 16 * MIB),
        ("16 mib", 16 * MIB),
        (" 16MiB\n", 16 * MIB),
        ("1.5GiB", 3 * GIB // 2),
        ("5MB", 5_000_000),
        ("7B", 7),
        ("2KiB", 2048),
        ("5TiB", 5 * 1024 * GIB),
    ],
)
def test_sizes_are_parsed_in_binary_and_decimal_units(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "MiB", "16,5MiB", "16MiB;", "-1", "+1", "1_0", "0x10", "1.1B", "16iB", "16M", "1e3", "٣"],
)
def test_an_invalid_size_is_rejected_and_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="got") as caught:
        parse_size(text)
    assert repr(text) in str(caught.value)


@pytest.mark.property
@given(st.integers(min_value=0, max_value=2**49))
def test_parse_size_is_the_inverse_of_build_size(size: int) -> None:
    assert parse_size(build_size(size)) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        ("0.5", 0.5),
        ("60s", 60),
        ("1m30s", 90),
        ("1h", 3600),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("1d1h1m1s1ms", 90061.001),
    ],
)
def test_durations_are_parsed_in_steps_or_as_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "5 parsecs", "1m 30s", "-1s", "1,5s", "1m30", "nan", "inf", "1e3", "60S", "٣"]
)
def test_an_invalid_duration_is_rejected_and_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="got") as caught:
        parse_duration(text)
    assert repr(text) in str(caught.value)


def test_a_duration_longer_than_dates_and_timers_allow_is_rejected() -> None:
    """With TUS_EXPIRES=3000000d, each creation of an upload was a 503."""
    assert parse_duration("36500d") == 36500 * 86400
    for text in ("36501d", "99999999999"):
        with pytest.raises(ValueError, match="at most 36500d"):
            parse_duration(text)


@pytest.mark.property
@given(st.integers(min_value=0, max_value=10**10))
def test_parse_duration_is_the_inverse_of_build_duration(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(build_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0"), (60, "60s"), (119, "119s"), (150, "2m30s"), (86400, "24h")]
)
def test_durations_are_built_in_readable_units(seconds: float, text: str) -> None:
    assert build_duration(seconds) == text
