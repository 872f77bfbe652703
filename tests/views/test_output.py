"""Output: hostile text made visible, whole numbers, machine-readable pipes, silence where asked."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_cli.core.errors import ConfigError, LedgerError
from trader_cli.views.cycles import waiting_line
from trader_cli.views.output import Column, Output, OutputClosedError, clean, clean_lines, fitting, report

Capture = pytest.CaptureFixture[str]

COLUMNS = (Column("time", "TIME (UTC)"), Column("trace", brief=lambda value: value[:4]), Column("qty", number=True))
ROWS: list[dict[str, Any]] = [
    {"time": "11-22", "trace": "9846d3a0", "qty": Decimal("0.00000001"), "more": [1]},
    {"time": "11-23", "trace": "da939ed1", "qty": Decimal("123456789.12345678"), "more": []},
    {"time": "11-24", "trace": "6bd4dd98", "qty": None, "more": [2]},
]


class Terminal(io.StringIO):
    """A stdout that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@contextmanager
def terminal() -> Iterator[Terminal]:
    """Let a person look at stdout, 80 columns wide."""
    screen = Terminal()
    with redirect_stdout(screen):
        yield screen


@pytest.mark.parametrize(
    ("hostile", "visible"),
    [
        ("plain, café, ₿", "plain, café, ₿"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\tb\nc\rd", r"a\x09b\x0ac\x0dd"),
        ("\x9b31m", r"\x9b31m"),
        ("\x7f\x00", r"\x7f\x00"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u2066x\u2069", r"\u2066x\u2069"),
        ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
        ("\u2028\u2029\x85", r"\u2028\u2029\x85"),
        ("\udc80", r"\udc80"),
        ("\U000e0041", r"\U000e0041"),
        ("[bold]no[/] [/nope]", "[bold]no[/] [/nope]"),
    ],
)
def test_hostile_text_is_made_visible(hostile: str, visible: str) -> None:
    assert clean(hostile) == visible


@given(st.text())
def test_cleaned_text_is_printable_one_line_and_can_be_encoded(text: str) -> None:
    done = clean(text)
    assert done.isprintable()
    done.encode("utf-8")
    assert clean(done) == done


def test_a_message_of_ours_keeps_its_lines() -> None:
    assert clean_lines("one\n  two\x1b") == "one\n  two\\x1b"


def test_a_pipe_gets_a_header_and_every_value_in_full_between_tabs(capsys: Capture) -> None:
    Output().table(COLUMNS, ROWS)
    assert capsys.readouterr().out == (
        "time\ttrace\tqty\n11-22\t9846d3a0\t0.00000001\n11-23\tda939ed1\t123456789.12345678\n11-24\t6bd4dd98\t\n"
    )


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1))
def test_a_piped_table_has_the_same_number_of_cells_on_every_line(rows: list[tuple[str, str]]) -> None:
    out, kept = io.StringIO(), sys.stdout
    sys.stdout = out
    try:
        Output().table((Column("a"), Column("b")), [{"a": a, "b": b} for a, b in rows])
    finally:
        sys.stdout = kept
    lines = out.getvalue().split("\n")
    assert lines.pop() == ""
    assert [line.count("\t") for line in lines] == [1] * (len(rows) + 1)


def test_a_terminal_gets_brief_values_and_whole_numbers() -> None:
    with terminal() as screen:
        Output(color=False).table(COLUMNS, ROWS)
    lines = [line.rstrip() for line in screen.getvalue().splitlines()]
    assert lines == [
        "TIME (UTC)  TRACE                 QTY",
        "11-22       9846           0.00000001",
        "11-23       da93   123456789.12345678",
        "11-24       6bd4                    -",
    ]


def test_a_number_is_never_cut_however_long_its_neighbours_are() -> None:
    rows = [{"why": "word " * 60, "qty": Decimal("123456789.12345678")}]
    with terminal() as screen:
        Output(color=False).table((Column("why"), Column("qty", number=True)), rows)
    assert "123456789.12345678" in screen.getvalue()
    assert "…" not in screen.getvalue()
    assert max(len(line) for line in screen.getvalue().splitlines()) <= 80


def test_a_terminal_table_shows_markup_and_escapes_as_text() -> None:
    with terminal() as screen:
        Output(color=False).table((Column("why"),), [{"why": "[red]x[/] \x1b[2J :smile: [/"}])
    assert r"[red]x[/] \x1b[2J :smile: [/" in screen.getvalue()
    assert "\x1b" not in screen.getvalue()


def test_colour_is_only_for_those_who_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with terminal() as screen:
        Output(color=True).table(COLUMNS, ROWS)
    assert "\x1b[1m" in screen.getvalue()


def test_json_is_one_document_of_whole_rows_with_its_schema_first_and_money_as_strings(capsys: Capture) -> None:
    Output(json=True).table(COLUMNS, ROWS, schema="trader.x/1", key="things")
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert out.startswith('{"schema": "trader.x/1", "things": [{"time"')
    things = json.loads(out)["things"]
    assert things[0] == {"time": "11-22", "trace": "9846d3a0", "qty": "0.00000001", "more": [1]}
    assert things[2]["qty"] is None


@pytest.mark.parametrize("as_json", [False, True])
def test_a_long_table_is_written_as_it_comes_and_ends_when_nobody_reads(
    as_json: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    def endless() -> Iterator[dict[str, Any]]:
        nonlocal asked
        while True:
            asked += 1
            yield {"time": "x" * 100}

    monkeypatch.setattr(sys, "stdout", Broken(BrokenPipeError(32, "Broken pipe")))
    with pytest.raises(OutputClosedError):
        Output(json=as_json).table(COLUMNS, endless())
    assert asked < 5_000


def test_rows_that_cannot_be_read_leave_no_half_table(capsys: Capture) -> None:
    def torn() -> Iterator[dict[str, Any]]:
        yield {"time": "1"}
        raise LedgerError("the ledger is damaged")

    for out in (Output(), Output(json=True), Output(quiet=True)):
        with pytest.raises(LedgerError):
            out.table(COLUMNS, torn())
    assert capsys.readouterr().out == ""


def test_an_empty_table_is_a_document_without_rows_a_header_or_a_word(capsys: Capture) -> None:
    Output(json=True).table(COLUMNS, [])
    Output().table(COLUMNS, [])
    assert capsys.readouterr() == ('{"schema": "trader.rows/1", "rows": []}\ntime\ttrace\tqty\n', "")
    with terminal() as screen:
        Output().table(COLUMNS, [], empty="No cycles yet.")
    assert screen.getvalue() == ""
    assert capsys.readouterr().err == "No cycles yet.\n"


def test_a_record_is_json_with_its_schema_first_or_lines(capsys: Capture) -> None:
    doc = {"b": Decimal("1.500"), "schema": "trader.x/1", "path": Path("a/b"), "é": "\x9b\u202e"}
    Output(json=True).record(doc, ["never"])
    out = capsys.readouterr().out
    assert out.startswith('{"schema": "trader.x/1", "b": "1.5"')
    assert out.isascii()
    assert json.loads(out) == {"schema": "trader.x/1", "b": "1.5", "path": "a/b", "é": "\x9b\u202e"}
    Output().record(doc, ["one", "two\x1b"])
    assert capsys.readouterr().out == "one\ntwo\\x1b\n"


def test_a_record_may_hold_records_of_ours(capsys: Capture) -> None:
    @dataclass(frozen=True, slots=True)
    class Fill:
        qty: Decimal
        fees: tuple[Decimal, ...]

    Output(json=True).record({"schema": "x", "fill": Fill(Decimal("0.10"), (Decimal(1),))})
    assert json.loads(capsys.readouterr().out)["fill"] == {"qty": "0.1", "fees": ["1"]}


def test_money_too_long_for_the_ledger_is_still_printed_in_full(capsys: Capture) -> None:
    Output(json=True).record({"schema": "x", "product": Decimal("0.12345678901234567890123")})
    assert "0.12345678901234567890123" in capsys.readouterr().out


def test_what_is_not_a_number_is_no_json(capsys: Capture) -> None:
    with pytest.raises(ValueError, match="JSON"):
        Output(json=True).record({"schema": "x", "rsi": float("nan")})


@pytest.mark.parametrize(("quiet", "as_json"), [(True, False), (False, True), (True, True)])
def test_lines_for_people_are_not_for_quiet_or_json(quiet: bool, as_json: bool, capsys: Capture) -> None:
    Output(quiet=quiet, json=as_json).lines("for people")
    assert capsys.readouterr().out == ""


def test_quiet_silences_all_but_warnings_and_the_record_that_json_asks_for(capsys: Capture) -> None:
    out = Output(quiet=True)
    out.say("hello")
    out.record({"schema": "x"}, ["line"])
    out.table(COLUMNS, ROWS)
    assert capsys.readouterr() == ("", "")
    out.warn("careful\x1b")
    Output(quiet=True, json=True).record({"schema": "x"})
    assert capsys.readouterr() == ('{"schema": "x"}\n', "Warning: careful\\x1b\n")


def test_words_for_people_go_to_stderr(capsys: Capture) -> None:
    Output(json=True).say("hello\x1b[0m")
    assert capsys.readouterr() == ("", "hello\\x1b[0m\n")


def test_a_question_is_asked_on_stderr_and_its_default_stands(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(" ETH/USDT \n\n"))
    out = Output()
    assert out.ask("Which pair?", "BTC/USDT") == "ETH/USDT"
    assert out.ask("Which pair?", "BTC/USDT") == "BTC/USDT"
    with pytest.raises(EOFError):
        out.ask("Which pair?", "BTC/USDT")
    assert capsys.readouterr() == ("", "Which pair? [BTC/USDT]: " * 3)


def test_an_error_says_what_and_how_to_mend_it(capsys: Capture) -> None:
    report(ConfigError("bad \x1b[31mthing", "mend it"))
    assert capsys.readouterr() == ("", "Error: bad \\x1b[31mthing\nFix:   mend it\n")


class Broken(io.StringIO):
    """A stdout that fails in a given way."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


def test_a_closed_pipe_is_noticed_and_the_next_record_ends_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Broken(BrokenPipeError(32, "Broken pipe")))
    out = Output()
    out.lines("one")
    assert out.closed
    with pytest.raises(OutputClosedError):
        out.lines("two")


def test_a_full_disk_under_stdout_is_said_and_remembered_and_hides_no_other_word(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(sys, "stdout", Broken(OSError(28, "No space left on device")))
    out = Output(quiet=True)
    out.record({"schema": "x/1"}, ["one"])
    out = Output()
    out.lines("one")
    out.warn("order t1 is not known")
    assert (out.closed, out.failed) == (True, True)
    said = capsys.readouterr().err
    assert "could not be written: No space left" in said
    assert "order t1 is not known" in said


@pytest.mark.parametrize("stream", [None, Broken(OSError(5, "Input/output error"))])
def test_without_stderr_nothing_is_said_and_nothing_crashes(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    Output().say("hello")
    report(ConfigError("x"))


def test_without_stdout_nothing_crashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    Output().table(COLUMNS, ROWS)
    Output(json=True).record({"schema": "x"})
    assert not Output().is_terminal


def test_a_sparse_column_without_a_value_is_the_first_to_leave_a_narrow_terminal() -> None:
    columns = (Column("a", gives_way=9), Column("b", sparse=True))
    empty, said = [{"a": "x" * 70, "b": None}], [{"a": "x" * 70, "b": "y" * 9}]
    assert [column.key for column in fitting(columns, empty, 72)] == ["a"]
    assert [column.key for column in fitting(columns, said, 72)] == ["b"]
    assert [column.key for column in fitting(columns, empty, 200)] == ["a", "b"]


def test_while_a_loop_sleeps_one_line_tells_what_it_waits_for() -> None:
    assert waiting_line(90_000_000, 125, None, 0) == "next 01:00:00Z in 2m05s | 0 trades in this run | Ctrl-C stops"
    assert waiting_line(90_000_000, 5, None, 1) == "next 01:00:00Z in 0m05s | 1 trade in this run | Ctrl-C stops"


def test_what_passes_is_wiped_whole_also_in_a_window_that_became_narrower(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Output, "is_watched", True)
    out = Output()
    for columns, words in ((80, "x" * 60), (25, "y"), (80, "")):
        monkeypatch.setattr(shutil, "get_terminal_size", lambda columns=columns: os.terminal_size((columns, 24)))
        out.passing(words)
    assert capsys.readouterr().err == "x" * 60 + "\r\x1b[2A\x1b[J" + "y" + "\r\x1b[J"


def test_what_is_drawn_again_fits_its_terminal_and_takes_the_place_of_what_was_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = Output()
    for columns, lines in ((20, 4), (9, 3)):
        size = os.terminal_size((columns, lines))
        monkeypatch.setattr(shutil, "get_terminal_size", lambda size=size: size)
        out.again(["first line", "second", "third", "fourth"])
    first, second = capsys.readouterr().out.split("\x1b[2F")  # four rows of the old lines, but two are all there are
    assert first == "first line\x1b[K\nsecond\x1b[K\nthird\x1b[K\n\x1b[J"
    assert second == "first li\x1b[K\nsecond\x1b[K\n\x1b[J"


@pytest.mark.parametrize(("term", "able"), [("xterm", True), ("dumb", False)])
def test_a_terminal_that_cannot_is_treated_as_a_pipe(term: str, able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("trader_cli.views.output._isatty", lambda stream: True)
    assert Output().is_watched is able
