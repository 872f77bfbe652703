"""The recorded market: files as they are, refused when malformed, cheap when sound."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable, Iterator
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trader_cli.core.candles import examine
from trader_cli.core.decimals import text
from trader_cli.core.errors import ConfigError
from trader_cli.core.moments import parse_iso
from trader_cli.schemas.market import Candle, CandleBatch, Window
from trader_cli.tools.markets.recorded import RecordedMarket, infer_timeframe_ms, read_once

DATA = (Path(__file__).parents[3] / "../shared/data").resolve()
WINDOWS = DATA / "windows"
FIVE = 300_000
BEGIN = parse_iso("2026-01-01")
HEADER = "timestamp_ms,open,high,low,close,volume"

Write = Callable[..., Path]
recordings = pytest.mark.skipif(not WINDOWS.is_dir(), reason="needs the recordings in ../shared/data")


def line(index: int, close: str = "100.5", volume: str = "3.25") -> str:
    return f"{BEGIN + index * FIVE},100,101,99.5,{close},{volume}"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(*lines: str, header: str = HEADER, end: str = "\n", name: str = "candles.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(end.join([header, *lines, ""]).encode())
        return path

    return write


def windows(source: RecordedMarket, every: int, limit: int = 100) -> Iterator[Window]:
    """What a loop sees that looks at the close of `every` so-many-th bar until the file ends."""
    end = source.end()
    assert end is not None
    for now in range(source.start(limit), end + 1, every * source.timeframe_ms):
        batch = CandleBatch(source.provenance, source.closed(limit, now))
        yield examine(batch, source.timeframe_ms, now, limit)


# Reading.


def test_a_row_becomes_the_candle_it_says(write: Write) -> None:
    source = RecordedMarket(write(line(0), line(1, "0.00000012", "0"), line(2)), None)
    numbers = [Decimal(value) for value in ("100", "101", "99.5", "0.00000012", "0")]
    assert source.closed(2, BEGIN + 2 * FIVE)[-1] == Candle(BEGIN + FIVE, *numbers)
    assert (source.provenance, source.timeframe_ms) == ("recorded:candles.csv", FIVE)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("stamp", ["timestamp_ms", "timestamp", "time", "Timestamp"])
@pytest.mark.parametrize("tail", [(), ("",), ("", " ", "")])
def test_marks_line_ends_names_and_blank_lines_of_other_tools_do_not_matter(
    write: Write, end: str, mark: str, stamp: str, tail: tuple[str, ...]
) -> None:
    header = f"{mark}{stamp},open,high,low,close,volume"
    source = RecordedMarket(write(line(0), line(1), line(2), *tail, header=header, end=end), None)
    plain = RecordedMarket(write(line(0), line(1), line(2), name="plain.csv"), None)
    assert source.closed(9, BEGIN + 9 * FIVE) == plain.closed(9, BEGIN + 9 * FIVE)


def test_a_last_line_without_its_end_is_a_row_like_any_other(write: Write) -> None:
    path = write(line(0), line(1))
    path.write_bytes(path.read_bytes().rstrip())
    assert len(RecordedMarket(path, None).closed(9, BEGIN + 9 * FIVE)) == 2


def test_a_gzipped_file_is_the_same_market(write: Write, tmp_path: Path) -> None:
    plain = write(line(0), line(1), line(2))
    packed = tmp_path / "candles.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    one, two = RecordedMarket(plain, None), RecordedMarket(packed, None)
    assert one.closed(9, BEGIN + 9 * FIVE) == two.closed(9, BEGIN + 9 * FIVE)
    assert two.provenance == "recorded:candles.csv.gz"
    assert two.sha256 == sha256(packed.read_bytes()).hexdigest()


def test_numbers_come_as_exact_as_the_ledger_can_write_them(write: Write) -> None:
    source = RecordedMarket(write(line(0, "1e-05", "1.5E+2"), line(1, "0.0071911399999999995", "1e-25"), line(2)), None)
    first, second = source.closed(2, BEGIN + 2 * FIVE)
    assert (text(first.close), text(first.volume)) == ("0.00001", "150")
    assert (text(second.close), text(second.volume)) == ("0.00719114", "0")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 3 * FIVE),
            *[st.decimals("-1e9", "1e9", places=8)] * 4,
            st.decimals(0, "1e9", places=18),
        ),
        min_size=1,
        max_size=600,
    ),
    limit=st.integers(1, 600),
)
def test_what_is_written_is_what_is_read(
    write: Write, rows: list[tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal]], limit: int
) -> None:
    candles, stamp = [], BEGIN
    for step, *numbers in rows:
        stamp += step
        candles.append(Candle(stamp, *numbers))
    lines = [",".join([str(bar[0]), *(format(value, "f") for value in bar[1:])]) for bar in candles]
    source = RecordedMarket(write(*lines), FIVE) if len({bar[0] for bar in candles}) == 1 else None
    source = source or RecordedMarket(write(*lines), None)
    step = source.timeframe_ms
    for now in (candles[0][0] + step - 1, candles[len(candles) // 2][0] + step, candles[-1][0] + step):
        done = [bar for bar in candles if bar.opened_at + step <= now]
        assert list(source.closed(limit, now)) == done[-limit:]
        ahead = [bar for bar in candles if bar.opened_at >= now]
        assert source.next_open(now) == (ahead[0] if ahead else None)


def test_bad_data_in_good_form_is_passed_on_as_it_is(write: Write) -> None:
    odd = f"{BEGIN + 4 * FIVE + 17},-1,0.01,99,5,0"
    source = RecordedMarket(write(line(0), line(1), line(1), line(1, "7"), odd, line(9)), None)
    seen = source.closed(9, BEGIN + 10 * FIVE)
    assert [bar.opened_at - BEGIN for bar in seen] == [0, FIVE, FIVE, FIVE, 4 * FIVE + 17, 9 * FIVE]
    assert [bar.close for bar in seen[1:4]] == [Decimal("100.5"), Decimal("100.5"), Decimal(7)]
    assert seen[4].high < seen[4].low


# Time.


def test_virtual_time_begins_when_the_warm_up_has_closed_and_ends_at_the_last_open(write: Write) -> None:
    source = RecordedMarket(write(*map(line, range(12))), None)
    assert source.start(10) == BEGIN + 10 * FIVE
    assert len(source.closed(10, source.start(10))) == 10
    assert source.end() == BEGIN + 11 * FIVE
    assert source.next_open(BEGIN + 11 * FIVE) is not None
    assert source.next_open(BEGIN + 11 * FIVE + 1) is None


def test_virtual_time_begins_on_the_grid_even_when_the_bars_are_off_it(write: Write) -> None:
    rows = [f"{BEGIN + 1000 + index * FIVE},1,1,1,1,1" for index in range(5)]
    assert RecordedMarket(write(*rows), None).start(2) == BEGIN + 3 * FIVE


def test_no_bar_is_seen_before_it_has_closed(write: Write) -> None:
    source = RecordedMarket(write(*map(line, range(12))), None)
    for now in range(BEGIN, BEGIN + 13 * FIVE, 60_000):
        assert all(bar.opened_at + FIVE <= now for bar in source.closed(5, now))


def test_a_file_no_longer_than_the_warm_up_is_refused(write: Write) -> None:
    source = RecordedMarket(write(*map(line, range(10))), None)
    with pytest.raises(ConfigError, match=r"had 10 bars, needs more than the 10 of OHLCV_LIMIT"):
        source.start(10)


@pytest.mark.parametrize(
    ("steps", "spacing"),
    [([1, 1, 1], 1), ([2, 1, 1, 5], 1), ([0, 0, 0, 3], 3), ([2, 1], 1), ([60, 60, 7200, 1, 60], 60)],
)
def test_the_timeframe_is_the_most_common_spacing(steps: list[int], spacing: int) -> None:
    stamps = [0]
    for step in steps:
        stamps.append(stamps[-1] + step)
    assert infer_timeframe_ms(stamps) == spacing


def test_another_timeframe_than_the_files_is_refused_and_the_right_one_named(write: Write) -> None:
    path = write(*map(line, range(5)))
    with pytest.raises(ConfigError, match="TIMEFRAME was 1h, needs 5m") as refusal:
        RecordedMarket(path, 3_600_000)
    assert refusal.value.hint == "set TIMEFRAME=5m"
    assert RecordedMarket(path, FIVE).timeframe_ms == FIVE


def test_one_bar_tells_no_timeframe(write: Write) -> None:
    with pytest.raises(ConfigError, match="needs at least two bars"):
        RecordedMarket(write(line(0)), None)
    assert RecordedMarket(write(line(0)), FIVE).closed(1, BEGIN + FIVE)[0].opened_at == BEGIN


# Refusals.


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (f"{BEGIN},1,1,1,1", ".* with 5 fields, needs the 6"),
        (f"{BEGIN},1,1,1,1,1,1", ".* with 7 fields, needs the 6"),
        (f"{BEGIN},1,1,1,,1", "close was '', needs a plain finite number"),
        (f"{BEGIN},nan,1,1,1,1", "open was 'nan', needs a plain finite number"),
        (f"{BEGIN},1,inf,1,1,1", "high was 'inf'"),
        (f"{BEGIN},1,1,-Infinity,1,1", "low was '-Infinity'"),
        (f"{BEGIN},1,1,1,1,1_000", "volume was '1_000'"),
        (f"{BEGIN},1,1,1,1, 1", "volume was ' 1'"),
        (f"{BEGIN},1,1,1,1,\u0661", "volume was '\u0661'"),
        (f"{BEGIN},1,1,1,1,{'9' * 19}", "volume was '9999999999999999999'"),
        (f"{BEGIN},1,1,1,1,1e300", "volume was '1e300'"),
        (f"{BEGIN},1,1,1,1,\x1b[2J", r"volume was '\\x1b\[2J'"),
        ("2026-01-01 00:05,1,1,1,1,1", "time was '2026-01-01 00:05', needs milliseconds"),
        ("-5,1,1,1,1,1", "time was '-5', needs milliseconds"),
        ("", "was '' with 1 fields"),
    ],
)
def test_a_malformed_row_is_refused_with_its_line_and_what_was_wrong(write: Write, row: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=rf"candles\.csv line 4: {complaint}") as refusal:
        RecordedMarket(write(line(0), line(1), row, line(3)), None)
    assert refusal.value.hint


def test_rows_that_go_back_in_time_are_refused(write: Write) -> None:
    with pytest.raises(ConfigError, match=f"line 4: time was {BEGIN} after {BEGIN + FIVE}"):
        RecordedMarket(write(line(0), line(1), line(0)), None)


@pytest.mark.parametrize(("factor", "unit"), [(Decimal("0.001"), "seconds"), (Decimal(1000), "microseconds")])
def test_stamps_in_other_units_than_milliseconds_are_refused(write: Write, factor: Decimal, unit: str) -> None:
    rows = [f"{int((BEGIN + index * FIVE) * factor)},1,1,1,1,1" for index in range(3)]
    with pytest.raises(ConfigError, match=rf"line 2: time was [0-9]+ \({unit}.*needs milliseconds"):
        RecordedMarket(write(*rows), None)


@pytest.mark.parametrize("header", ["date,open,high,low,close,volume", "timestamp,open,high", line(0), "\x1b[31m"])
def test_a_file_with_another_header_is_refused(write: Write, header: str) -> None:
    with pytest.raises(ConfigError, match=r"line 1: the header was '.*', needs 'timestamp_ms,open") as refusal:
        RecordedMarket(write(line(0), header=header), None)
    assert "\x1b" not in refusal.value.message


def test_a_file_without_rows_is_refused(write: Write, tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_bytes(b"\n \n")
    with pytest.raises(ConfigError, match=r"empty\.csv: is empty, needs the columns"):
        RecordedMarket(empty, None)
    with pytest.raises(ConfigError, match="has a header but no rows"):
        RecordedMarket(write(), None)


def test_a_file_that_is_not_there_or_not_a_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read") as refusal:
            RecordedMarket(path, None)
        assert "MARKET" in str(refusal.value.hint)


@pytest.mark.parametrize(
    "damage",
    [b"plain text", gzip.compress(b"x" * 9000)[:-9], gzip.compress(b"x")[:10]],
    ids=["no gzip", "cut at its end", "cut in its head"],  # the bytes hold the time
)
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "candles.csv.gz"
    path.write_bytes(damage)
    with pytest.raises(ConfigError, match="is not a whole gzip file"):
        RecordedMarket(path, None)


def test_a_file_rewritten_while_it_is_traded_does_not_change_the_market(write: Write) -> None:
    source = RecordedMarket(write(*map(line, range(600))), None)
    write("nonsense")
    assert source.closed(1, BEGIN + 599 * FIVE)[0].close == Decimal("100.5")


# The recordings.


@recordings
@pytest.mark.parametrize(
    ("name", "expected", "clean"),
    [
        ("BINANCE_BTCUSDT_1m_outage_duplicates_20191125", {"duplicate", "gap", "stale", "more"}, True),
        ("BINANCE_BTCUSDT_5m_crash_20200312", set(), True),
        ("BINANCE_BTCUSDT_5m_crash_20210519", set(), True),
        ("BINANCE_BTCUSDT_5m_outage_20201221", {"gap", "plateau", "stale"}, True),
        ("BINANCE_BTCUSDT_5m_outage_20210425", {"gap", "stale"}, True),
        ("BINANCE_LUNAUSDT_1h_collapse_202205", {"absurd", "stale", "more"}, True),
        ("BITFINEX_BTCUSD_1m_crash_20130410", {"gap", "absurd", "plateau", "stale", "more"}, False),
        ("BITFINEX_BTCUSD_1m_hack_outage_20160802", {"gap", "stale"}, False),
    ],
)
def test_a_walk_through_a_recorded_catastrophe_finds_what_it_is_known_for(
    name: str, expected: set[str], clean: bool
) -> None:
    source = RecordedMarket(WINDOWS / f"{name}.csv", None)
    seen = list(windows(source, every=11 if name.startswith("BITFINEX") else 1))
    assert {defect.kind for window in seen for defect in window.defects} == expected
    assert any(not window.defects for window in seen) is clean
    assert all(len(window.defects) <= 9 for window in seen)


@recordings
def test_every_recording_in_the_windows_is_known_to_these_tests() -> None:
    assert len(list(WINDOWS.glob("*.csv"))) == 8


@recordings
def test_a_half_year_of_five_minutes_loads_small_and_walks_without_reading_twice() -> None:
    path = DATA / "BINANCE_BTCUSDT_5m_20201201_20210717.csv"
    tracemalloc.start()
    source = RecordedMarket(path, FIVE)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 7_000_000
    assert peak < 15_000_000
    begin = source.start(200)
    for step in range(5000):
        source.closed(200, begin + step * FIVE)
        source.next_open(begin + step * FIVE)
    assert source._block.cache_info().misses <= 5200 // 256 + 2
    assert source.sha256 == sha256(path.read_bytes()).hexdigest()


@recordings
def test_three_years_of_hours_have_the_24_gaps_their_notes_say() -> None:
    source = RecordedMarket(DATA / "BINANCE_BTCUSDT_1h_20180101_20210717.csv", None)
    bars = source.closed(40_000, parse_iso("2022-01-01"))
    assert len(bars) == 30_941
    window = examine(CandleBatch(source.provenance, bars), source.timeframe_ms, bars[-1].opened_at + 3_600_000, 30_941)
    assert {defect.kind for defect in window.defects} == {"gap", "more"}
    assert window.defects[-1].detail == "and 16 more: 16 gap"


def test_a_file_is_read_once_while_it_stays_as_it_is(write: Write) -> None:
    path = write(line(0), line(1), line(2))
    first = read_once(path, None)
    assert read_once(path, None) is first
    assert read_once(path, FIVE) is not first
    path.write_text(path.read_text() + line(3) + "\n")
    assert len(read_once(path, None).closed(9, BEGIN + 9 * FIVE)) == 4


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.csv"):
        read_once(tmp_path / "none.csv", None)
