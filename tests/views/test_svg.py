"""Charts of a page: well-formed, inside their frame, of any size of number, and silent about nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from xml.etree import ElementTree

import pytest

from tests.views.test_report_html import HOUR, START, a_performance
from trader_cli.core.moments import DAY_MS as DAY
from trader_cli.schemas.performance import Coin, Deal, Fall, Mark
from trader_cli.views.svg import coin_svg, performance_svg, time_ticks

CORNERS = re.compile(r"[ML](-?[\d.]+) (-?[\d.]+)")


def parsed(svg: str) -> ElementTree.Element:
    """The chart as a tree; fails where it is not well-formed."""
    assert svg.isprintable()
    return ElementTree.fromstring(svg)  # noqa: S314 - our own text


def words(root: ElementTree.Element) -> list[str]:
    """What is written on it."""
    return [node.text or "" for node in root.iter("text")]


def of_kind(root: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    """All shapes of a class but those of the legend, which are first."""
    return [node for node in root.iter() if node.get("class") == kind][1:]


def corners(path: str) -> list[tuple[float, float]]:
    """The points that a line passes."""
    return [(float(x), float(y)) for x, y in CORNERS.findall(path)]


@pytest.mark.parametrize("width", [400, 960])
@pytest.mark.parametrize("count", [0, 1, 2, 50, 2000])
@pytest.mark.parametrize("scale", [0.0000123, 1000.0, 123_456_789_012.0])
def test_any_number_of_points_of_any_size_is_drawn_inside_the_frame(width: int, count: int, scale: float) -> None:
    root = parsed(performance_svg(a_performance(count, scale=scale, deals=count // 10), width))
    _, _, wide, high = (float(part) for part in root.attrib["viewBox"].split())
    assert wide == width
    for line in of_kind(root, "equity") + of_kind(root, "hold"):
        assert all(0 <= x <= wide and 0 <= y <= high for x, y in corners(line.attrib["d"]))
    for text in root.iter("text"):
        x = text.attrib["x"]
        if x != "50%":
            length = 6.9 * len(text.text or "") / (2 if text.get("text-anchor") == "middle" else 1)
            assert float(x) - (length if text.get("text-anchor") != "start" else 0) >= -4
            assert float(x) + (length if text.get("text-anchor") != "end" else 0) <= wide + 4
    assert not any(re.search(r"\de", word.lower()) for word in words(root))
    assert "nan" not in "".join(root.itertext())


def test_it_is_one_picture_with_a_title_and_a_description() -> None:
    root = parsed(performance_svg(a_performance(50)))
    assert root.get("role") == "img"
    assert [child.tag for child in root][:2] == ["title", "desc"]
    assert root.findtext("title") == "Equity of BTC/USDT over time"
    assert (root.findtext("desc") or "").startswith("From 1000 at 2026-09-01 00:00 to ")


def test_without_points_it_says_so() -> None:
    root = parsed(performance_svg(a_performance(0)))
    assert words(root) == ["no snapshots: nothing to draw"]
    assert not list(root.iter("path"))


def test_a_single_point_is_a_dot() -> None:
    root = parsed(performance_svg(a_performance(1)))
    assert [node.get("class") for node in root.iter("circle")] == ["band", "run"]


def test_a_flat_line_is_level_in_the_middle_of_its_field() -> None:
    flat = tuple(Mark(START + place * HOUR, 1000.0, None) for place in range(50))
    root = parsed(performance_svg(replace(a_performance(50), marks=flat, fall=Fall())))
    (line,) = of_kind(root, "equity")
    assert {y for _, y in corners(line.attrib["d"])} == {170.0}
    assert "1,000" in words(root)
    assert not of_kind(root, "hold") and "hold" not in words(root)


def test_a_hole_in_the_price_is_a_hole_in_the_line_of_holding() -> None:
    one = a_performance(9)
    marks = tuple(replace(mark, hold=None) if place == 4 else mark for place, mark in enumerate(one.marks))
    (line,) = of_kind(parsed(performance_svg(replace(one, marks=marks))), "hold")
    assert line.attrib["d"].count("M") == 2


def test_a_spike_among_two_thousand_points_reaches_its_height() -> None:
    one = a_performance(2000)
    marks = tuple(replace(mark, equity=5000.0) if place == 777 else mark for place, mark in enumerate(one.marks))
    (line,) = of_kind(parsed(performance_svg(replace(one, marks=marks))), "equity")
    heights = sorted(y for _, y in corners(line.attrib["d"]))
    assert heights[0] < 45
    assert heights[1] > 200


def test_deals_are_triangles_on_the_line_and_say_what_they_were() -> None:
    when = START + 10 * HOUR + HOUR // 2
    buy, sell = (Deal(when, side, Decimal("61234.5"), Decimal("0.004")) for side in ("BUY", "SELL"))
    outside = replace(buy, at=START - DAY)
    root = parsed(performance_svg(replace(a_performance(50), deals=(buy, sell, outside))))
    (bought,), (sold,) = of_kind(root, "buy"), of_kind(root, "sell")
    assert bought.findtext("title") == "BUY 0.004 at 61234.5, 2026-09-01 10:30 UTC"
    assert corners(bought.attrib["d"])[0][1] - corners(sold.attrib["d"])[0][1] == pytest.approx(6.0)
    (line,) = of_kind(root, "equity")
    x, y = corners(bought.attrib["d"])[0]
    before, after = sorted(corners(line.attrib["d"])[10:12])
    assert before[0] < x < after[0]
    assert min(before[1], after[1]) <= y - 3 + 0.11 and y - 3 - 0.11 <= max(before[1], after[1])


def test_a_small_screen_gets_no_words_that_only_a_mouse_could_find() -> None:
    one = a_performance(50, deals=8)
    assert performance_svg(one, 960).count("<title>") == 9
    assert performance_svg(one, 400).count("<title>") == 1


def test_falls_are_drawn_only_where_the_marks_tell_the_same_as_the_reckoning() -> None:
    one = a_performance(200)
    assert "below its peak" in performance_svg(one)
    assert "below its peak" not in performance_svg(replace(one, fall=replace(one.fall, share=one.fall.share / 2)))
    assert "below its peak" not in performance_svg(replace(one, fall=Fall()))


def test_each_day_has_a_bar_up_for_a_gain_and_down_for_a_loss() -> None:
    one = a_performance(24 * 6)
    profits = [day.moved.equity - day.moved.deposits for day in one.days]
    root = parsed(performance_svg(one))
    for kind, count in (("gain", sum(one > 0 for one in profits)), ("loss", sum(one < 0 for one in profits))):
        (bars,) = (node for node in root.iter("path") if node.get("class") == kind)
        assert bars.attrib["d"].count("M") == count > 0
        below = [y for _, y in re.findall(r"M([\d.]+) ([\d.]+)", bars.attrib["d"])]
        tips = re.findall(r"M[\d.]+ [\d.]+V([\d.]+)", bars.attrib["d"])
        assert all((float(tip) < float(zero)) is (kind == "gain") for tip, zero in zip(tips, below, strict=True))


def test_a_deposit_is_no_profit_of_its_day() -> None:
    one = a_performance(24 * 3)
    days = tuple(replace(day, moved=replace(day.moved, deposits=day.moved.equity)) for day in one.days)
    assert "profit of each day" in performance_svg(one)
    assert "profit of each day" not in performance_svg(replace(one, days=days))


def test_a_hostile_symbol_stays_text() -> None:
    svg = performance_svg(replace(a_performance(9), symbol='"><script>\u202e\x1b/&'))
    assert parsed(svg).findtext("title") == 'Equity of "><script>\\u202e\\x1b/& over time'
    assert "<script" not in svg and "\u202e" not in svg


@pytest.mark.parametrize(
    ("span", "first", "second"),
    [
        (50 * 60_000, "1 Sep", "00:15"),
        (6 * HOUR, "1 Sep", "01:00"),
        (2 * DAY - HOUR, "1 Sep", "06:00"),
        (6 * DAY, "1 Sep", "2 Sep"),
        (40 * DAY, "7 Sep", "14 Sep"),
        (200 * DAY, "Sep", "Oct"),
        (700 * DAY, "Oct", "2027"),
        (4000 * DAY, "2028", "2030"),
    ],
)
def test_times_are_round_in_hours_days_weeks_months_and_years(span: int, first: str, second: str) -> None:
    found = time_ticks(START, START + span, 8)
    assert 2 <= len(found) <= 8
    assert [said for _, said in found[:2]] == [first, second]
    assert all(START <= at <= START + span for at, _ in found)


def test_a_span_of_nothing_has_its_one_time_in_full() -> None:
    assert time_ticks(START, START, 8) == [(START, "2026-09-01 00:00")]


def test_chance_is_a_band_and_the_run_stands_where_it_ended() -> None:
    coin = Coin(1000, 0.5, Decimal(100), Decimal(90), Decimal(110), Decimal(95))
    root = parsed(coin_svg(coin, Decimal(100), ("90.00", "110.00", "this ledger 100.00")))
    (band,) = root.iter("rect")
    (run,) = (node for node in root.iter("path") if node.get("class") == "run")
    middle = float(band.attrib["x"]) + float(band.attrib["width"]) / 2
    assert corners(run.attrib["d"])[0][0] == pytest.approx(middle, abs=0.2)
    assert words(root) == ["this ledger 100.00", "90.00", "110.00"]


def test_chance_without_any_spread_is_still_drawn() -> None:
    coin = Coin(1, 0.0, Decimal(100), Decimal(100), Decimal(100), Decimal(100))
    (band,) = parsed(coin_svg(coin, Decimal(100), ("100", "100", "100"))).iter("rect")
    assert float(band.attrib["width"]) == 2.0


def test_the_bar_of_a_day_that_was_cut_short_stands_in_the_middle_of_what_there_is_of_it() -> None:
    root = parsed(performance_svg(a_performance(37)))
    (line,) = of_kind(root, "equity")
    at = [x for x, _ in corners(line.attrib["d"])]
    bars = [
        float(start) + float(broad) / 2
        for node in root.iter("path")
        if node.get("class") in ("gain", "loss")
        for start, broad in re.findall(r"M([\d.]+) [\d.]+V[\d.]+h([\d.]+)", node.attrib["d"])
    ]
    assert sorted(bars) == pytest.approx([at[12], at[30]], abs=0.3)
