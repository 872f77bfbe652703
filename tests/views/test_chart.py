"""Charts of a terminal: what is drawn, where it is, and what does not fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_cli.views.chart import braille_chart, is_drawable, legend, runs, sparkline, tick_text, ticks

WEEK = (1_788_220_800_000, 1_788_825_600_000)
BLANK = 0x2800

money = st.one_of(st.none(), st.floats(-1e12, 1e12), st.floats(-1e-5, 1e-5))


def dots(line: str) -> int:
    """How many dots of braille are lit."""
    return sum((ord(char) - BLANK).bit_count() for char in line if BLANK < ord(char) <= BLANK + 0xFF)


def plot(line: str, edges: str = "┤│") -> str:
    """What is right of the axis."""
    return line[next(place for place, char in enumerate(line) if char in edges) + 1 :]


@pytest.mark.parametrize("series", [[], [[]], [[None, None]], [[float("nan")]]])
def test_no_points_make_no_chart(series: list[list[float | None]]) -> None:
    assert braille_chart(series, 40, 8, span=WEEK) == []


def test_one_point_is_one_dot_in_the_middle() -> None:
    lines = braille_chart([[1000.0]], 41, 9)
    assert [dots(line) for line in lines] == [0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert len(plot(lines[4])) == 18  # of 34


def test_a_flat_line_is_straight_and_in_the_middle_with_its_value_beside_it() -> None:
    lines = braille_chart([[1000.0] * 50], 60, 9)
    assert [number for number, line in enumerate(lines) if dots(line)] == [4]
    assert lines[4].startswith("1,000 ┤")
    assert set(plot(lines[4])) == {"⠒"} or set(plot(lines[4])) == {"⠤"}


def test_a_rising_line_begins_at_the_bottom_left_and_ends_at_the_top_right() -> None:
    lines = braille_chart([[float(value) for value in range(100)]], 60, 10)
    assert plot(lines[0]).startswith(" ") and len(lines[0]) == 60
    assert not plot(lines[-1]).startswith(" ") and len(lines[-1]) < 20


def test_a_hole_is_not_bridged() -> None:
    whole = sum(map(dots, braille_chart([[1.0, 1.0, 1.0, 1.0]], 60, 5)))
    holed = sum(map(dots, braille_chart([[1.0, None, None, 1.0]], 60, 5)))
    assert whole > 90
    assert holed == 2


@pytest.mark.parametrize("place", [0, 1, 3333, 9998, 9999])
def test_a_spike_among_thousands_of_points_survives(place: int) -> None:
    values = [100.0] * 10_000
    values[place] = 200.0
    lines = braille_chart([values], 40, 10)
    assert dots(lines[0]) > 0
    assert dots(lines[-1]) > 30


def test_the_second_line_is_dotted_and_both_are_there() -> None:
    lines = braille_chart([[1.0, 1.0], [2.0, 2.0]], 60, 8)
    solid, dotted = dots(lines[-1]), dots(lines[0])
    assert solid > 100
    assert dotted == -(-solid // 3)


def test_points_are_where_their_times_are() -> None:
    early = braille_chart([[1.0, 2.0, 1.0]], 42, 6, at=[0, 10, 100])
    late = braille_chart([[1.0, 2.0, 1.0]], 42, 6, at=[0, 90, 100])
    assert len(early[0]) < 15
    assert len(late[0]) > 30


@pytest.mark.parametrize("width", [1, 5, 20, 40, 80, 200])
def test_no_line_is_wider_than_asked_for(width: int) -> None:
    lines = braille_chart([[1e9, 1.5e9, 1.2e9]], width, 8, span=WEEK if width > 20 else None)
    assert lines
    assert max(map(len, lines)) <= max(width, 3)


def test_a_narrow_chart_has_no_labels_rather_than_no_line() -> None:
    lines = braille_chart([[1e9, 2e9]], 14, 5)
    assert not any(char.isdigit() for line in lines for char in line)
    assert sum(map(dots, lines)) > 10


@given(st.lists(money, max_size=60), st.lists(money, max_size=60), st.integers(20, 120), st.integers(1, 20))
def test_any_series_is_drawn_within_its_frame_in_both_alphabets(
    one: list[float | None], other: list[float | None], width: int, height: int
) -> None:
    for plain in (False, True):
        lines = braille_chart([one, other], width, height, ascii_only=plain)
        assert len(lines) in (0, height)
        assert all(len(line) <= width and line.isprintable() for line in lines)
        assert not plain or "".join(lines).isascii()


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (795.0, 1320.0, ["800", "1,000", "1,200"]),
        (0.0000118, 0.0000127, ["0.0000118", "0.0000120", "0.0000122", "0.0000124", "0.0000126"]),
        (-3.0, 2.0, ["-2", "0", "2"]),
        (1.1e11, 2.4e11, ["150,000,000,000", "200,000,000,000"]),
    ],
)
def test_labels_are_round_and_have_as_many_digits_as_they_need(low: float, high: float, words: list[str]) -> None:
    assert [tick_text(value) for value in ticks(low, high, 5)] == words


@given(st.floats(-1e9, 1e9), st.floats(1e-5, 10.0))
def test_there_are_three_to_seven_labels_and_all_are_inside(low: float, share: float) -> None:
    room = max(abs(low), 1e-6) * share
    found = ticks(low, low + room, 5, least=3)
    assert 3 <= len(found) <= 7
    assert found == sorted(set(found))
    assert all(low - room * 1e-6 <= float(value) <= low + room * (1 + 1e-6) for value in found)
    assert not any("e" in tick_text(value).lower() for value in found)


def test_labels_are_right_aligned_at_one_axis() -> None:
    lines = braille_chart([[800.0, 1300.0]], 60, 12)
    assert {next(place for place, char in enumerate(line) if char in "┤│") for line in lines} == {6}
    assert [line[:5] for line in lines if "┤" in line] == ["1,200", "1,000", "  800"]


def test_the_first_and_last_time_stand_at_the_ends_and_shrink_with_the_room() -> None:
    wide = braille_chart([[1.0, 2.0]], 60, 5, span=WEEK)
    assert wide[-1].split("  ")[-1].endswith("2026-09-08 00:00")
    assert wide[-1].strip().startswith("2026-09-01 00:00")
    assert len(wide[-1]) == 60
    assert braille_chart([[1.0, 2.0]], 34, 5, span=WEEK)[-1].split() == ["2026-09-01", "2026-09-08"]
    assert braille_chart([[1.0, 2.0]], 22, 5, span=WEEK)[-1].split() == ["09-01", "09-08"]


def test_a_plain_terminal_gets_plain_characters_with_equity_on_top() -> None:
    lines = braille_chart([[1.0, 2.0], [1.0, 1.0]], 40, 6, ascii_only=True)
    assert "".join(lines).isascii()
    assert plot(lines[-1], "+|").startswith("*")
    assert plot(lines[-1], "+|").endswith(".")


@pytest.mark.parametrize(
    ("encoding", "drawable"), [("utf-8", True), ("UTF8", True), ("ascii", False), ("latin-1", False), ("?", False)]
)
def test_only_some_encodings_can_draw(encoding: str, drawable: bool) -> None:
    assert is_drawable(encoding) is drawable
    assert not is_drawable(None)


def test_the_legend_names_each_line_in_either_alphabet() -> None:
    assert [part.split()[1] for part in legend(["equity", "hold"]).split("   ")] == ["equity", "hold"]
    assert legend(["equity", "hold"], ascii_only=True) == "*** equity   ... hold"


def test_a_sparkline_has_a_height_for_each_value() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], ascii_only=True) == "_.:-=+*#"
    assert sparkline([5.0, None, 1.0]) == "█ ▁"
    assert sparkline([3.0, 3.0]) == "▅▅"
    assert sparkline([]) == ""
    assert sparkline([None, float("inf")]) == "  "


def test_of_many_points_the_first_lowest_highest_and_last_of_a_stretch_are_kept_in_order() -> None:
    (run,) = runs([1.0, 5.0, 2.0, -3.0, 2.5, 1.5], [0.0, 0.1, 0.2, 0.3, 0.4, 0.45], 2)
    assert [value for _, value in run] == [1.0, 5.0, -3.0, 1.5]
