"""Moments: milliseconds and their text, and the lengths of time that people write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_cli.core.moments import DAY_MS, ceil_to, day_start, iso, parse_iso, read_span, span_ms, span_text

moments = st.integers(parse_iso("1900-01-01"), parse_iso("9999-12-31T23:59:59.999"))
zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(moments)
def test_a_moment_reads_back_equal(moment: int) -> None:
    assert parse_iso(iso(moment)) == moment


@given(moments)
def test_a_moment_is_written_in_utc_with_milliseconds(moment: int) -> None:
    written = iso(moment)
    assert len(written) == 24
    assert written.endswith("Z")
    assert written == datetime.fromisoformat(written).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment % 1000:03d}Z"


@given(moments, moments)
def test_texts_sort_as_their_moments_do(one: int, other: int) -> None:
    assert (iso(one) < iso(other)) == (one < other)


def test_known_moments_are_written_as_known() -> None:
    assert iso(1_621_296_000_000) == "2021-05-18T00:00:00.000Z"
    assert iso(0) == "1970-01-01T00:00:00.000Z"
    assert iso(-1) == "1969-12-31T23:59:59.999Z"


@pytest.mark.parametrize(
    ("words", "written"),
    [
        ("2021-05-18", "2021-05-18T00:00:00.000Z"),
        ("2021-05-18T06:30", "2021-05-18T06:30:00.000Z"),
        ("2021-05-18 06:30:15", "2021-05-18T06:30:15.000Z"),
        ("2021-05-18T06:30:15.123999Z", "2021-05-18T06:30:15.123Z"),
        ("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999Z"),
        ("2021-05-18T06:30:00+02:00", "2021-05-18T04:30:00.000Z"),
        ("2021-05-18T00:00:00-05:45", "2021-05-18T05:45:00.000Z"),
        ("2024-02-29", "2024-02-29T00:00:00.000Z"),
    ],
)
def test_other_ways_to_write_a_time_are_read_as_utc_unless_they_name_a_zone(words: str, written: str) -> None:
    assert iso(parse_iso(words)) == written


@given(st.datetimes(datetime(1900, 1, 2), datetime(9999, 12, 30)), zones)  # noqa: DTZ001 - the zone comes beside it
def test_a_time_in_any_zone_is_the_same_moment(stamp: datetime, zone: timezone) -> None:
    there = stamp.replace(tzinfo=UTC).astimezone(zone)
    assert parse_iso(there.isoformat()) == parse_iso(stamp.isoformat())


@pytest.mark.parametrize(
    "words",
    ["", "now", "yesterday", "2021-02-29", "2021-05-18T25:00", "18.05.2021", "1621296000000", "2021-05-18T06:30+99:00"],
)
def test_what_is_no_time_is_refused(words: str) -> None:
    with pytest.raises(ValueError):
        parse_iso(words)


@pytest.mark.parametrize("words", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"])
def test_a_time_beyond_the_calendar_in_utc_is_refused_like_any_other(words: str) -> None:
    with pytest.raises(ValueError, match="calendar"):
        parse_iso(words)


@pytest.mark.parametrize(
    ("words", "ms"), [("1s", 1_000), ("5m", 300_000), ("24h", DAY_MS), ("7d", 7 * DAY_MS), ("2w", 14 * DAY_MS)]
)
def test_a_length_of_time_is_a_number_and_a_unit(words: str, ms: int) -> None:
    assert span_ms(words) == ms


@pytest.mark.parametrize(
    "words", ["", "5", "m", "0m", "-5m", "05m", "5 m", "5M", "1.5h", "5m\n", "\u0665m", "1234567m", "5y"]
)
def test_what_is_no_length_of_time_is_refused(words: str) -> None:
    with pytest.raises(ValueError, match="needs a length of time like"):
        span_ms(words)


@given(moments)
def test_a_day_starts_at_the_utc_midnight_at_or_before(moment: int) -> None:
    start = day_start(moment)
    assert iso(start).endswith("T00:00:00.000Z")
    assert start <= moment < start + DAY_MS


@given(moments, st.sampled_from([1, 1000, 60_000, 300_000, DAY_MS]))
def test_rounding_up_finds_the_first_multiple_at_or_after(moment: int, step_ms: int) -> None:
    found = ceil_to(moment, step_ms)
    assert found % step_ms == 0
    assert moment <= found < moment + step_ms


@pytest.mark.parametrize("millis", [1, 999, 1_000, 1_000_001_000, 300_000, 86_400_000, 31_536_000_000, 31_536_000_001])
def test_a_span_is_read_again_as_it_was_written(millis: int) -> None:
    assert read_span(span_text(millis)) == millis


@pytest.mark.parametrize("words", ["", "5", "m", "-5m", "5 m", "5w", "٣m", "1.5h"])
def test_a_span_that_no_ledger_writes_is_refused(words: str) -> None:
    with pytest.raises(ValueError, match="as a ledger writes it"):
        read_span(words)
