"""`ledger show`: what its options find, on a terminal, in a pipe and as JSON; and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.ledgers import one, plain, rows, tampering
from tests.test_hostile import Say, refused, say, seen
from trader_cli.core.moments import iso, parse_iso
from trader_cli.views.ledger import DOCUMENTS

__all__ = ["say"]


def shown(say: Say, *words: str) -> list[dict[str, str]]:
    """The rows of a JSON answer."""
    said = say("ledger", "show", "--json", *(words if "-n" in words else ("-n", "0", *words)))
    assert said.code == 0, said
    schema, found = json.loads(said.stdout).values()
    assert schema in {name for name, _ in DOCUMENTS.values()}
    rows_found: list[dict[str, str]] = found
    return rows_found


def test_a_pipe_gets_a_header_and_every_value_whole(ledger: Path, say: Say) -> None:
    said = say("ledger", "show", "-n", "3")
    lines = said.stdout.splitlines()
    assert lines[0].split("\t")[:4] == ["ts_utc", "trace_id", "mode", "action"]
    assert [line.split("\t")[1] for line in lines[1:]] == [row["trace_id"] for row in shown(say)][:3]
    assert said.stderr == ""


def test_spans_count_back_from_the_newest_cycle(ledger: Path, say: Say) -> None:
    (newest,) = one(ledger, "SELECT ts_utc FROM decisions WHERE agent = 'PLANNER' ORDER BY id DESC LIMIT 1")
    since = iso(parse_iso(newest) - 3_600_000)
    found = shown(say, "--since", "1h")
    assert found == shown(say, "--since", since) == [row for row in shown(say) if row["ts_utc"] >= since]
    assert 0 < len(found) < 24
    assert shown(say, "--until", since) == [row for row in shown(say) if row["ts_utc"] < since]
    assert shown(say, "--since", "today") == shown(say, "--since", newest[:10])


@pytest.mark.parametrize("option", ["--since", "--until"])
@pytest.mark.parametrize("words", ["yesterdayy", "", "24", "-1h", "2026-13-01", "11111111111", "\x1b[2J", "9" * 9_999])
def test_a_time_that_is_none_is_refused_with_the_forms_that_are(
    option: str, words: str, ledger: Path, say: Say
) -> None:
    said = say("ledger", "show", f"{option}={words}")
    refused(said, 2, f"{option}: a time must be a date (2026-11-22), an ISO time, today, or a span such as 24h or 7d")
    assert len(said.stderr) < 400


@pytest.mark.parametrize("words", ["999999w", "0001-01-01", "0999-06-01", "1900-01-01"])
def test_a_time_before_every_ledger_finds_all_and_one_after_it_nothing(words: str, ledger: Path, say: Say) -> None:
    assert len(shown(say, "--since", words)) == 24
    assert shown(say, "--until", words) == []
    assert shown(say, "--since", "9999-12-31T23:59:59Z") == []


@pytest.mark.parametrize("word", ["BUY", "buy", "SELL", "HOLD"])
def test_an_action_finds_its_cycles_or_its_trades(word: str, ledger: Path, say: Say) -> None:
    assert {row["action"] for row in shown(say, "--action", word)} == {word.upper()}
    if word != "HOLD":
        assert {row["side"] for row in shown(say, "--trades", "--action", word)} == {word.upper()}
    assert {row["agent"] for row in shown(say, "--agent", "TRADER", "--action", word)} == {"TRADER"}


def test_a_row_per_decision_trade_or_failure(ledger: Path, say: Say) -> None:
    assert len(shown(say, "--agent", "judge")) == 24
    assert len(shown(say, "--trades")) == one(ledger, "SELECT count(*) FROM trades")[0]
    fallbacks = [row["trace_id"] for row in shown(say, "--errors") if row["kind"] == "FALLBACK"]
    wanted = rows(ledger, "SELECT trace_id FROM decisions WHERE source = 'fallback' ORDER BY id DESC")
    assert [(trace,) for trace in fallbacks] == wanted
    marked = [row["trace_id"] for row in shown(say) if row["fallback"]]
    assert marked == fallbacks


def test_pages_follow_each_other_by_the_last_trace(ledger: Path, say: Say) -> None:
    whole = shown(say)
    assert shown(say, "-n", "5", "--before", whole[4]["trace_id"][:10]) == whole[5:10]
    refused(say("ledger", "show", "--before", "zzzz"), 8, 'no trace "zzzz"')
    refused(say("ledger", "show", "--before", "z"), 2, "at least 4 characters")


@pytest.mark.parametrize(
    "words",
    [
        ("--trades", "--errors"),
        ("--trades", "--agent", "TRADER"),
        ("--errors", "--action", "BUY"),
        ("--agent", "JUDGE", "--action", "BUY"),
        ("--trades", "--action", "HOLD"),
        ("--agent", "CLERK"),
        ("--action", "SHORT"),
        ("--output", "long"),
        ("-n", "-1"),
        ("-n", "9" * 30),
    ],
    ids=" ".join,
)
def test_options_that_cannot_be_together_or_at_all_are_usage(words: tuple[str, ...], ledger: Path, say: Say) -> None:
    refused(say("ledger", "show", *words), 2)


def test_without_rows_it_says_whether_there_are_others(ledger: Path, say: Say) -> None:
    said = say("ledger", "show", "--until", "2020-01-01")
    assert (said.code, len(said.stdout.splitlines())) == (0, 1)
    assert "Nothing of that kind" in said.stderr
    with plain(ledger.with_name("new.db")):
        pass
    assert say("recover", "-q", "--db", "data/fresh.db").code in (0, 8)
    assert say("ledger", "show", "--db", "data/none.db").code == 8


def test_wide_shows_more_columns_and_on_a_terminal_a_line_for_each(
    ledger: Path, say: Say, clean_env: dict[str, str], tmp_path: Path
) -> None:
    header = say("ledger", "show", "-o", "wide", "-n", "1").stdout.splitlines()[0].split("\t")
    assert {"plan_id", "wall_ts", "fee"} <= set(header)
    code, screen = seen(clean_env, tmp_path, 80, "ledger", "show", "-o", "wide", "-n", "1")
    assert code == 0
    assert [line.split()[0] for line in screen.splitlines()[: len(header)]] == header
    assert shown(say)[0]["trace_id"] in screen


@pytest.mark.parametrize("kind", [(), ("--trades",), ("--errors",), ("--agent", "TRADER")], ids=" ".join)
def test_a_terminal_of_80_columns_shows_the_rows_and_how_to_go_on(
    kind: tuple[str, ...], ledger: Path, clean_env: dict[str, str], tmp_path: Path
) -> None:
    code, screen = seen({**clean_env, "TERM": "dumb"}, tmp_path, 80, "ledger", "show", "-n", "2", *kind)
    assert code == 0
    lines = screen.splitlines()
    assert max(map(len, lines)) <= 80
    assert 5 <= len(lines) <= 9  # a page of errors ends with a whole commit
    assert "older: --before " in lines[-2]
    assert lines[-1].startswith("One: trader ledger trace ")


def test_errors_of_one_trace_are_never_parted_by_the_end_of_a_page(ledger: Path, say: Say) -> None:
    with tampering(ledger) as db:
        db.execute(
            "INSERT INTO events (ts_utc, trace_id, kind, data_json, wall_ts, link) "
            "SELECT ts_utc, trace_id, 'ERROR', '{}', wall_ts, link FROM decisions WHERE source = 'fallback'"
        )
    everything = shown(say, "--errors")
    by_trace: dict[str, int] = {}
    for row in everything:
        by_trace[row["trace_id"]] = by_trace.get(row["trace_id"], 0) + 1
    assert max(by_trace.values()) > 1
    page, found = shown(say, "--errors", "-n", "1"), []
    while page:
        found += page
        page = shown(say, "--errors", "-n", "1", "--before", page[-1]["trace_id"])
    assert found == everything
