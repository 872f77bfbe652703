"""The thinned curve of equity: never too many points, no extreme lost, and read on rather than anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ledgers import ledger_at, plain, reading
from trader_cli.tools import curve as module
from trader_cli.tools.curve import Curve


def lengthen(path: Path, count: int, dips: dict[int, str]) -> None:
    """Snapshots by hand, one each minute, flat but for some."""
    with plain(path) as raw:
        for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            raw.execute(f"DROP TRIGGER {name}")
        columns = [row[1] for row in raw.execute("PRAGMA table_info(portfolio)")]
        last = dict(
            zip(columns, raw.execute("SELECT * FROM portfolio ORDER BY id DESC LIMIT 1").fetchone(), strict=True)
        )
        first = last["id"]
        for number in range(first + 1, first + count + 1):
            when = f"2027-01-{1 + number // 1440:02d}T{number // 60 % 24:02d}:{number % 60:02d}:00.000Z"
            row = {**last, "id": number, "ts_utc": when, "equity_usdt": dips.get(number, "1000"), "trace_id": None}
            marks = ",".join("?" * len(row))
            raw.execute(f"INSERT INTO portfolio ({','.join(row)}) VALUES ({marks})", list(row.values()))
        raw.commit()


def test_of_many_snapshots_few_are_drawn_and_every_extreme_is(tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "a.db", 3)
    lengthen(path, 5_000, {777: "900", 2_500: "1200", 5_003: "950"})
    with reading(path) as ledger:
        marks = Curve().marks(ledger)
    assert 300 < len(marks) <= 2 * module.MOST + 2
    assert {900.0, 1200.0, 950.0} <= {one.equity for one in marks}
    assert [one.at for one in marks] == sorted(one.at for one in marks)
    assert marks[-1].equity == 950.0, "the newest is the last"
    assert all(one.hold is not None for one in marks)


def test_reading_on_gives_what_reading_anew_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 16)
    path = ledger_at(tmp_path / "a.db", 2)
    grown = Curve()
    for step in range(6):
        lengthen(path, 37, {50 + 37 * step: "990"})
        with reading(path) as ledger:
            read_on, anew = grown.marks(ledger), Curve().marks(ledger)
        assert len(read_on) <= 2 * 16 + 2
        assert (read_on[0], read_on[-1]) == (anew[0], anew[-1])
        assert min(one.equity for one in read_on) == min(one.equity for one in anew)


def test_a_ledger_in_the_place_of_another_is_read_anew(tmp_path: Path) -> None:
    one, other = ledger_at(tmp_path / "a.db", 30), ledger_at(tmp_path / "b.db", 3)
    kept = Curve()
    with reading(one) as ledger:
        assert len(kept.marks(ledger)) > 10
    with reading(other) as ledger:
        assert kept.marks(ledger) == Curve().marks(ledger)


def test_what_is_paid_in_later_is_held_from_then_on(tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "a.db", 1)
    lengthen(path, 4, {})
    with plain(path) as raw:
        (first,) = raw.execute("SELECT min(id) FROM portfolio").fetchone()
        raw.execute("UPDATE portfolio SET equity_usdt = '1000', mark_price = '100', deposits_usdt = '1000'")
        raw.execute("UPDATE portfolio SET mark_price = '200' WHERE id >= ?", (first + 1,))
        raw.execute("UPDATE portfolio SET deposits_usdt = '1600' WHERE id >= ?", (first + 2,))
        raw.execute("UPDATE portfolio SET mark_price = '300', deposits_usdt = '1300' WHERE id >= ?", (first + 3,))
        raw.commit()
    with reading(path) as ledger:
        held = [one.hold for one in Curve().marks(ledger)]
    # 10 bought at 100; 3 more at 200; 1 sold at 300 for what was taken out
    assert held[:4] == [1000.0, 2000.0, 2600.0, 3600.0]


def test_a_look_from_before_is_known_as_one_and_takes_nothing_away(tmp_path: Path) -> None:
    path = ledger_at(tmp_path / "a.db", 2)
    kept = Curve()
    with reading(path) as before, before.steady():
        assert before.last_snapshot() is not None
        lengthen(path, 50, {})
        with reading(path) as after:
            assert not kept.is_ahead_of(after)
            drawn = kept.marks(after)
        assert kept.is_ahead_of(before)
    assert len(drawn) > 2
