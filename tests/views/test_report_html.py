"""The page of a performance: well-formed, closed in itself, honest where there is no figure, and never a stranger's."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_cli.core.moments import DAY_MS as DAY
from trader_cli.core.moments import Moment, iso
from trader_cli.schemas.performance import (
    Baselines,
    Calibrated,
    Coin,
    Day,
    Deal,
    Fall,
    Mark,
    ModelShare,
    Money,
    Performance,
    PolicyShare,
    Ratio,
    Trips,
)
from trader_cli.views.html import amount, number, percent
from trader_cli.views.report_html import report_page

HOUR = 3_600_000
START: Moment = 1_788_220_800_000
"""2026-09-01 00:00 UTC, a Tuesday."""
MADE = "2026-11-26 12:00 UTC"
MINUS, DASH, THIN = "\N{MINUS SIGN}", "\N{EN DASH}", "\N{NARROW NO-BREAK SPACE}"
ODD = "\"><script>alert(1)</script><b onload='x'>&amp;\u202e\x1b[31m\x00"


def money(value: float) -> Decimal:
    """A float as an amount of 12 decimals."""
    return Decimal(repr(value)).quantize(Decimal("1e-12"))


def a_performance(count: int = 200, *, scale: float = 1000.0, deals: int = 0) -> Performance:
    """`count` hourly marks from `scale` on, that go up and down and a little up; every other deal buys."""
    worth = [scale * (1 + 0.05 * math.sin(place / 9) + place / 20_000) for place in range(count)]
    marks = tuple(Mark(START + place * HOUR, one, one * 0.99) for place, one in enumerate(worth))
    peak, at, fall = 0.0, START, Fall()
    for mark in marks:
        peak, at = max((peak, at), (mark.equity, mark.at), key=lambda one: one[0])
        if 1 - mark.equity / peak > fall.share:
            fall = Fall(1 - mark.equity / peak, at, mark.at, 2 * DAY)
    days, last = [], scale
    for passed in range(-(-count // 24)):
        end = worth[min(count, (passed + 1) * 24) - 1]
        moved = Money(money(end - last), fees=money(scale / 1e5))
        days.append(Day(iso(START + passed * DAY)[:10], moved, money(end), end / last - 1, 3))
        last = end
    done = tuple(
        Deal(START + one * HOUR, "SELL" if one % 2 else "BUY", Decimal(60_000), Decimal("0.01")) for one in range(deals)
    )
    return _whole(marks, tuple(days), done, (scale, last), fall)


def _whole(
    marks: tuple[Mark, ...], days: tuple[Day, ...], deals: tuple[Deal, ...], ends: tuple[float, float], fall: Fall
) -> Performance:
    first, last = map(money, ends)
    moved = Money(last - first, Decimal(0), last - first, Decimal(0), money(ends[0] / 100), Decimal("3.4"))
    flips = Coin(1000, 0.83, first, first * Decimal("0.9"), first * Decimal("1.1"), first)
    return Performance(
        name="trader.db",
        mode="paper",
        symbol="BTC/USDT",
        timeframe="1h",
        market="simulated:42",
        begun=Money(first, first),
        ended=Money(last, first),
        moved=moved,
        began_at=marks[0].at if marks else None,
        ended_at=marks[-1].at if marks else None,
        cycles=len(marks),
        trades=len(deals),
        gained=ends[1] / ends[0] - 1 if marks else None,
        net_gained=ends[1] / ends[0] - 1.0034 if marks else None,
        fall=fall,
        exposure=0.4123 if marks else None,
        turnover=3.5 if marks else None,
        slippage_bps=2.1 if deals else None,
        returns_of="1d",
        sharpe=Ratio(12),
        sortino=Ratio(12),
        trips=Trips(),
        calibrated=Calibrated(),
        baselines=Baselines(first, money(ends[1] * 1.1), 0.1, Fall(0.2), flips if deals else None) if marks else None,
        days=days,
        policies=(PolicyShare("breakout.v2", 8, 7, 4, Decimal("12.3"), Decimal("-1.2"), Decimal("0.5")),)
        if deals
        else (),
        models=(ModelShare("some-model", 1820, 12, 7, 2_412_345, 312_334, Decimal("3.412")),) if deals else (),
        marks=marks,
        deals=deals,
    )


class Page(HTMLParser):
    """A page, read: what is in it, and that each element ends where it should."""

    VOID = ("meta", "br")

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style" and data.strip():
            self.texts.append(data)

    @property
    def words(self) -> str:
        """All that can be read on it, with plain spaces."""
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def card(self, title: str) -> list[str]:
        """The figure and the note of a card."""
        found = re.search(rf"<dt>{title}</dt><dd class=\"figure[^>]*>(.*?)</dd><dd[^>]*>(.*?)</dd>", self.source)
        assert found, f"there is no card {title}"
        return [re.sub("<[^>]*>", "", part) for part in found.groups()]


def page(*performances: Performance) -> Page:
    """The page of these."""
    return Page("".join(report_page(performances, MADE)))


@pytest.mark.parametrize("count", [0, 1, 2, 50, 2000])
def test_a_page_is_well_formed_and_takes_nothing_from_anywhere(count: int) -> None:
    found = page(a_performance(count, deals=min(count, 300)), a_performance(count))
    assert found.source.startswith("<!DOCTYPE html>")
    assert not re.search(r"https?:|//|url\(|@import|javascript:", found.source)
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(found.tags)
    assert {name for name, value in found.attributes if name in ("src", "href") and not value.startswith("#")} == set()
    assert ("charset", "utf-8") in found.attributes
    policy = next(value for name, value in found.attributes if name == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert not any(name == "style" or name.startswith("on") for name, _ in found.attributes)


@pytest.mark.parametrize("field", ["name", "mode", "symbol", "timeframe", "market", "returns_of"])
def test_hostile_text_of_the_ledger_is_only_text(field: str) -> None:
    plain, odd = a_performance(30, deals=4), replace(a_performance(30, deals=4), **{field: ODD})  # type: ignore[arg-type]
    found = page(odd, odd)
    assert found.tags == page(plain, plain).tags
    assert "onload" not in {name for name, _ in found.attributes}
    assert "script" in found.words.lower()
    assert not any(char in found.source for char in "\u202e\x1b\x00")


def test_hostile_names_of_policies_models_and_days_are_only_text() -> None:
    one = a_performance(30, deals=4)
    odd = replace(
        one,
        policies=tuple(replace(each, policy=ODD) for each in one.policies),
        models=tuple(replace(each, model=ODD) for each in one.models),
    )
    found = page(odd)
    assert found.tags == page(one).tags
    assert found.words.count("alert(1)") == 2
    assert r"\u202e\x1b[31m\x00" in found.words


def test_a_ledger_without_snapshots_is_a_sentence_and_no_chart() -> None:
    found = page(a_performance(0))
    assert "This ledger has no snapshots" in found.words
    assert not {"svg", "dl", "table", "footer"} & set(found.tags)
    assert DASH not in found.words and "None" not in found.words


def test_no_ledgers_at_all_is_said_too() -> None:
    assert "There is no ledger to tell of." in page().words


def test_one_trade_is_told_in_the_singular_and_drawn_once() -> None:
    found = page(a_performance(30, deals=1))
    assert "30 cycles · 1 trade" in found.words
    assert found.source.count('class="buy"') == 4  # twice a legend and a mark: for wide screens and for slim ones


def test_one_snapshot_lasted_for_no_time() -> None:
    assert "2026-09-01 00:00 to 2026-09-01 00:00 UTC · bars of 1h" in page(a_performance(1)).words


@pytest.mark.parametrize(("mode", "badge"), [("paper", "PAPER"), ("testnet", "TESTNET"), ("real", "REAL")])
def test_whose_money_it_is_stands_beside_the_symbol(mode: str, badge: str) -> None:
    assert f'<span class="badge {mode}">{badge}</span>' in page(replace(a_performance(9), mode=mode)).source


def test_cards_say_what_there_is_to_say() -> None:
    one = a_performance(200, deals=4)
    coined = replace(
        one,
        gained=0.0832,
        net_gained=-0.00001,
        sharpe=Ratio(56, 1.31, -0.42, 3.02),
        fall=Fall(0.1234, START, START + 2 * DAY, 3 * DAY),
        trips=Trips(151, 77, Ratio(151, 0.51, 0.44, 0.58), 1.21, Decimal("0.5512"), Ratio(151, 4.2, -3.1, 11.5)),
    )
    found = page(coined)
    assert found.card("Return") == [f"+8.32{THIN}%", "time-weighted, fees inside"]
    assert found.card("After models")[0] == f"0.00{THIN}%"
    assert found.card("Sharpe") == ["+1.31", f"90{THIN}%: {MINUS}0.42 to +3.02; 56 daily returns, a year"]
    assert found.card("Deepest fall") == [
        f"{MINUS}12.34{THIN}%",
        "2026-09-01 to 2026-09-03; below a peak for 3 days at most",
    ]
    assert found.card("Round trips won") == [f"51{THIN}%", f"90{THIN}%: 44{THIN}% to 58{THIN}%; 77 of 151"]
    assert found.card("Edge of a trip")[0] == "+4.2 bp"
    assert found.card("Cash")[0] == "1,000.00"
    assert "83 % of coin flips ended lower" in found.words


def test_what_is_not_known_is_a_dash_with_a_word_why() -> None:
    one = replace(a_performance(30), net_gained=None, baselines=None, gained=None, turnover=float("nan"))
    found = page(replace(one, sortino=Ratio(40)))
    assert found.card("Sharpe") == [DASH, "not enough data: 12 of 30 daily returns"]
    assert found.card("Sortino") == [DASH, "not defined; 40 daily returns"]
    assert found.card("Buy and hold") == [DASH, "no price is known"]
    assert found.card("After models")[0] == DASH and "$3.40" in found.card("After models")[1]
    assert found.card("Slippage") == [DASH, "nothing was filled"]
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b", found.words)


def test_a_profit_factor_without_a_loss_is_a_dash() -> None:
    trips = Trips(2, 2, Ratio(2, 1.0, 0.4, 1.0), None, Decimal("1.5"), Ratio(2))
    found = page(replace(a_performance(30), trips=trips))
    assert found.card("Profit factor") == [DASH, "no loss yet; mean +1.50 USDT a trip"]
    assert found.card("Edge of a trip")[0] == DASH


def test_equity_before_the_first_deposit_is_not_where_it_began() -> None:
    whole = a_performance(30)
    began = replace(whole, begun=Money(), moved=replace(whole.moved, deposits=Decimal(1000)))
    assert page(began).card("Equity")[1] == "from 1,000.00, in USDT"


def test_confidence_is_told_by_bins_once_there_is_enough_of_it() -> None:
    few = page(replace(a_performance(30), calibrated=Calibrated(9, 0.2)))
    assert "9 outcomes with a stated confidence: not enough to say, needs 10." in few.words
    enough = page(replace(a_performance(30), calibrated=Calibrated(40, 0.243, ((0.5, 0.6, 40, 0.55, 0.51),))))
    assert f"0.50 to 0.60 40 55 % 51 % {MINUS}4" in enough.words
    assert "Brier score 0.243 over 40 outcomes: better than a coin" in enough.words
    worse = page(replace(a_performance(30), calibrated=Calibrated(40, 0.25, ((0.5, 0.6, 40, 0.55, 0.51),))))
    assert "no better than a coin" in worse.words


def test_several_ledgers_are_side_by_side_first_and_each_row_leads_to_its_section() -> None:
    found = page(a_performance(30), replace(a_performance(30), name="other.db"), a_performance(0))
    targets = [value for name, value in found.attributes if name == "href"]
    places = [value for name, value in found.attributes if name == "id"]
    assert targets == ["#ledger-1", "#ledger-2", "#ledger-3"]
    assert [f"#{place}" for place in places] == targets
    assert found.tags.index("table") < found.tags.index("section")
    assert "table" not in page(a_performance(30)).source.split("<section")[0].split("</style>")[1]


def test_many_days_are_folded_and_few_are_not() -> None:
    assert '<details class="box" open>' in page(a_performance(24 * 31)).source
    folded = page(a_performance(24 * 32)).source
    assert '<details class="box">' in folded and folded.index("2026-10-02</td>") < folded.index("2026-09-01</td>")


def test_deals_that_are_not_drawn_are_counted() -> None:
    assert "1,234 more deals are not drawn" in page(replace(a_performance(30, deals=4), deals_left_out=1234)).words
    assert "not drawn" not in page(a_performance(30, deals=4)).words


def test_a_page_of_two_thousand_marks_stays_small() -> None:
    assert len(page(a_performance(2000, deals=300)).source.encode()) < 300_000


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("0", "0.00"),
        ("-0", "0.00"),
        ("1234567.891", "1,234,567.89"),
        ("-1234.5", f"{MINUS}1,234.50"),
        ("-1.001", f"{MINUS}1.00"),
        ("0.5", "0.5"),
        ("0.00001230", "0.0000123"),
        ("-0.000012345678", f"{MINUS}0.00001235"),
        ("0.99996", "1.00"),
        ("0.000000000001", "0.000000000001"),
        ("NaN", DASH),
    ],
)
def test_amounts_have_the_digits_that_say_something(value: str, words: str) -> None:
    assert amount(Decimal(value)) == words


@given(st.decimals(-(10**17), 10**17, places=12))
def test_no_amount_has_an_exponent_or_a_sign_of_nothing(value: Decimal) -> None:
    words = amount(value, signed=True)
    assert re.fullmatch(rf"[+{MINUS}]?(\d{{1,3}}(,\d{{3}})*\.\d\d|0\.\d+)", words)
    assert words[0].isdigit() is (value == 0)
    near = Decimal(words.replace(",", "").replace(MINUS, "-"))
    assert abs(near - value) <= Decimal("0.005") if abs(value) >= 1 else abs(near - value) <= abs(value) / 1000


def test_shares_are_signed_and_never_a_signed_zero() -> None:
    assert percent(0.0832) == f"+8.32{THIN}%"
    assert percent(-12.5) == f"{MINUS}1,250.00{THIN}%"
    assert percent(-0.00001) == percent(0.00001) == percent(-0.0) == f"0.00{THIN}%"
    assert percent(None) == percent(float("nan")) == number(float("-inf")) == DASH
    assert number(-0.04, 1, signed=True) == "0.0"
