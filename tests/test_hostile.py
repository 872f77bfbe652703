"""Hostile and broken input: each is answered with what is wrong, what was there, what is needed, what to do, and
its documented exit code; never with a traceback, an exit 1 or a control character."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import gzip
import json
import os
import pty
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from tests import test_crash
from tests.conftest import Result
from tests.desks import desk
from tests.fakes import plan_words, proposal_words, verdict_words
from tests.test_crash import Forks
from tests.test_main import probe
from trader_cli.core.errors import ExitCode
from trader_cli.main import run
from trader_cli.phases.cycle import cycle
from trader_cli.schemas.question import Agent

quick = test_crash.quick

HEADER = "timestamp_ms,open,high,low,close,volume"
START = 1_767_225_600_000
TYPO = "DEPOSIT_CAP_USTD"

EVIL = (
    "\x1b[2J\x1b]52;c;QQ==\x07 \u202eabc\u2066 [bold red]x[/bold red] [/] =HYPERLINK(1) \x9b1m \x7f\u200b\r\nERROR fake"
)
"""What a stranger's text may hold: a cleared screen, a stolen clipboard, reversed words, markup, formulas, lines."""


class Say(Protocol):
    """Runs `trader` in this process."""

    def __call__(self, *words: str, **env: str) -> Result: ...


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """`say("cycle", MARKET="x.csv")`; whatever comes of it is orderly."""

    def call(*words: str, **env: str) -> Result:
        with monkeypatch.context() as changed:
            for name, value in env.items():
                changed.setenv(name, value)
            capsys.readouterr()
            code = run(list(words))
        said = Result(code, *capsys.readouterr())
        orderly(said)
        return said

    return call


def orderly(said: Result) -> None:
    """A documented exit code that is no bug's, an explanation where there is one to give, and clean text."""
    assert said.code in set(ExitCode) - {ExitCode.FAILURE}, said
    assert "Traceback" not in said.stdout + said.stderr
    assert "Bug:" not in said.stderr
    assert re.sub(r"[\n\t]", "", said.stdout + said.stderr).isprintable(), said
    explained = r"^(Error: \S|\{\"schema\": \"trader.error/1\", )"
    assert not said.code or re.search(explained, said.stderr, re.MULTILINE), said


def refused(said: Result, code: int, *words: str) -> None:
    """Refused with this code, in these words, with something to do, and nothing on stdout."""
    assert (said.code, said.stdout) == (code, ""), said
    for one in words:
        assert one in said.stderr, said.stderr
    assert re.search(r"^Fix:   \S", said.stderr, re.MULTILINE), said.stderr


@functools.cache
def _traded() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.db"
        assert run(["loop", "-q", "--cycles", "6", "--speed", "fast", "--db", str(path)]) == 0
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return path.read_bytes()


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger of six cycles, at the usual place."""
    path = tmp_path / "data" / "agent.db"
    path.parent.mkdir()
    path.write_bytes(_traded())
    return path


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize("value", ["5,0", "nan", "NaN", "inf", "-inf", "-1", "", "0", "1e9", " 5", "\u0665", "0x5"])
@pytest.mark.parametrize("where", ["env", ".env"])
def test_a_cap_that_is_no_plain_number_is_refused_before_anything_is_made(
    value: str, where: str, say: Say, tmp_path: Path
) -> None:
    if where == "env":
        said = say("cycle", DEPOSIT_CAP_USDT=value)
    else:
        (tmp_path / "x.env").write_text(f"# mine\nDEPOSIT_CAP_USDT='{value}'\n", encoding="utf-8")
        said = say("cycle", "--env-file", "x.env")
    refused(
        said, 3, "DEPOSIT_CAP_USDT must be a plain number above 0, at most", f'was "{value}"', "trader config check"
    )
    assert ("from x.env line 2" if where == ".env" else "from the environment") in said.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{TYPO}=5", (f'"{TYPO}" is not a setting; did you mean "DEPOSIT_CAP_USDT"?', "from x.env line 1")),
        ("\n\nmode=paper", ('"mode" is not a setting; did you mean "MODE"?', "line 3")),
        ("WHATEVER=1", ('"WHATEVER" is not a setting (from x.env line 1)',)),
        ("MODE=papr", ("MODE must be one of paper, testnet, real", 'was "papr"')),
        ("\ufeffMODE=papr\r\n", ("MODE must be one of", 'was "papr"')),
        ("MODE='paper", ("a line must be NAME=value or a # comment", "line 1")),
        ("MODE=paper\0", ("MODE must be text without control characters",)),
        ("SYMBOL=\x1b[2J", ("SYMBOL must be text without control characters",)),
        ("SYMBOL=BTC\u202e/USDT", ("SYMBOL must be text without control characters",)),
        ("SYMBOL=[red]x[/red]", ('was "[red]x[/red]"',)),
        ("\0\x1b[2J\u202e", ("a line must be NAME=value or a # comment",)),
        ("\x1b[2J=5", ("a line must be NAME=value or a # comment",)),
        ("SYMBOL=BTC/USDT\nSYMBOL=ETH/USDT", ("SYMBOL must be set once, was set at x.env:1 too (from x.env line 2)",)),
        ("A" * 300_000 + "=1", ("a line must be NAME=value or a # comment",)),
        ("MODE=" + "a b " * 100_000, ("MODE must be one of", "…")),
        ("# so long\n" * 200_000, ('cannot read the settings file "x.env": it has more than 1000000 characters',)),
    ],
)
def test_a_broken_settings_file_is_refused_with_the_line(
    text: str, words: tuple[str, ...], say: Say, tmp_path: Path
) -> None:
    (tmp_path / "x.env").write_bytes(text.encode())
    said = say("cycle", "--env-file", "x.env")
    refused(said, 3, *words)
    assert len(said.stderr) < 500


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("latin.env", "it is not UTF-8 text"),
        ("folder.env", "Is a directory"),
        ("nowhere.env", "No such file or directory"),
        ("a\0b.env", "no file can have that name"),
        ("\ud800.env", "no file can have that name"),
        ("\udcff\x1b[2J.env", "No such file or directory"),
        ("x" * 300, "File name too long"),
        ("/dev/zero", "it has more than 1000000 characters"),
    ],
)
def test_a_settings_file_that_cannot_be_read_is_refused(name: str, why: str, say: Say, tmp_path: Path) -> None:
    (tmp_path / "latin.env").write_bytes(b"SYMBOL=caf\xe9")
    (tmp_path / "folder.env").mkdir()
    refused(say("config", "check", "--env-file", name), 3, "cannot read the settings file", why, "trader init")


def test_a_settings_file_may_come_out_of_a_pipe(say: Say) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"MODE=papr\n")
    os.close(writer)
    refused(say("config", "check", "--env-file", f"/dev/fd/{reader}"), 3, 'was "papr"')
    os.close(reader)


def test_what_is_wrong_with_an_option_is_mended_at_the_option(say: Say) -> None:
    refused(say("status", "--db", "\x1b[2J"), 3, "DB_PATH must be text", "from the command line", "or the option")


# ---------------------------------------------------------------- recorded markets


def rows(count: int = 120, step: int = 300_000, start: int = START) -> list[str]:
    """Sound rows of a CSV file."""
    return [f"{start + n * step},100,102,98,{100 + n % 2},5" for n in range(count)]


def file(*lines: str, header: str = HEADER) -> bytes:
    """A CSV file of these rows, of sound ones if none are given."""
    return "\n".join([header, *(lines or rows())]).encode() + b"\n"


def with_row(row: str, at: int = 50) -> bytes:
    """A file whose line `at + 2` is another."""
    lines = rows()
    lines[at] = row
    return file(*lines)


def stamped(number: str) -> bytes:
    """A file with this in the place of an opening price."""
    return with_row(f"{START + 50 * 300_000},{number},102,98,100,5")


BROKEN: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "empty": (b"", ("is empty", HEADER)),
    "blank": (b"\n \r\n\n", ("is empty", HEADER)),
    "no header": ("\n".join(rows()).encode(), ("line 1: the header was", HEADER)),
    "only a header": (file().partition(b"\n")[0], ("has a header but no rows",)),
    "columns swapped": (file(header=HEADER.replace("high,low", "low,high")), ("line 1: the header was", "low,high")),
    "a column too many": (file(header=HEADER + ",note"), ("line 1: the header was",)),
    "a column twice": (file(header=HEADER.replace("high", "open")), ("line 1: the header was",)),
    "semicolons": (file().replace(b",", b";"), ("line 1: the header was",)),
    "old Mac lines": (file().replace(b"\n", b"\r"), ("line 1: the header was",)),
    "a huge header": (b"a" * 3_000_000 + b"\n1", ("line 1: the header was", "...")),
    "UTF-16": (file().decode().encode("utf-16"), ("line 1: the header was",)),
    "gzip without .gz": (gzip.compress(file()), ("line 1: the header was",)),
    "NUL before": (b"\0" + file(), ("line 1: the header was '\\x00timestamp_ms",)),
    "NUL within": (stamped("1\0"), ("line 52: open was '1\\x00'", "needs a plain finite number")),
    "all NUL": (b"\0" * 100_000, ("line 1: the header was",)),
    "not UTF-8": (stamped("@").replace(b"@", b"\xe9\xff"), ("line 52: open was", "needs a plain finite number")),
    "a blank line within": (with_row(""), ("line 52: was ''", "needs the 6 of")),
    "NaN": (stamped("NaN"), ("line 52: open was 'NaN'", "needs a plain finite number below 1e18")),
    "infinity": (stamped("inf"), ("line 52: open was 'inf'",)),
    "1e400": (stamped("1e400"), ("line 52: open was '1e400'",)),
    "hex": (stamped("0x10"), ("line 52: open was '0x10'",)),
    "a plus": (stamped("+1"), ("line 52: open was '+1'",)),
    "an underscore": (stamped("1_0"), ("line 52: open was '1_0'",)),
    "an empty field": (stamped(""), ("line 52: open was ''",)),
    "a space": (stamped(" 1"), ("line 52: open was ' 1'",)),
    "arabic digits": (stamped("\u0661"), ("line 52: open was '\u0661'",)),
    "5,0": (stamped("5,0"), ("line 52:", "with 7 fields, needs the 6 of")),
    "quotes": (stamped('"100"'), ("line 52: open was '\"100\"'",)),
    "too few fields": (with_row("1,2"), ("line 52: was '1,2' with 2 fields",)),
    "a number of a megabyte": (stamped("1" * 1_000_000), ("line 52: open was '111", "...")),
    "a line of a megabyte": (with_row("," * 1_000_000), ("line 52: was ',,,", "1000001 fields")),
    "a terminal's orders": (with_row("\x1b[2J\x1b]52;c;QQ==\x07\u202e,1,1,1,1,1"), ("line 52: time was '\\x1b[2J",)),
    "a formula": (with_row("=HYPERLINK(1),1,1,1,1,1"), ("line 52: time was '=HYPERLINK(1)'",)),
    "a negative time": (with_row("-5,1,1,1,1,1"), ("line 52: time was '-5'",)),
    "an ISO time": (with_row("2026-01-01T00:00:00Z,1,1,1,1,1"), ("line 52: time was '2026", "milliseconds since 1970")),
    "seconds": (file(*rows(step=300, start=START // 1000)), ("line 2: time was 1767225600 (seconds?)", "convert")),
    "microseconds": (
        file(*rows(step=300_000_000, start=START * 1000)),
        ("line 2: time was 1767225600000000 (microseconds or finer?)", "convert"),
    ),
    "nanoseconds": (file(*rows(step=300_000 * 10**6, start=START * 10**6)), ("line 2: time was '17672256",)),
    "another unit later": (with_row("1767255600000000,1,1,1,1,1", -1), ("line 121: time was 1767255600000000",)),
    "unsorted": (with_row(rows()[3]), ("line 52: time was", "at or after the row before", "sort the rows")),
    "two files in one": (
        file(*rows(60), *rows(60, start=START + 50 * 300_000)),
        ("line 62: time was", "sort the rows by time"),
    ),
    "a file twice": (file() + file(), ("line 122: time was 'timestamp_ms'",)),
    "one bar": (file(rows()[0]), ("needs at least two bars at different times", "set TIMEFRAME")),
    "one time": (file(*[rows()[0]] * 120), ("needs at least two bars at different times", "set TIMEFRAME")),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_malformed_recording_is_refused_with_the_line_and_nothing_is_made(
    case: str, say: Say, tmp_path: Path
) -> None:
    content, words = BROKEN[case]
    (tmp_path / "x.csv").write_bytes(content)
    said = say("cycle", MARKET="x.csv", OHLCV_LIMIT="100")
    refused(said, 3, "x.csv", *words)
    assert len(said.stderr) < 1000
    assert not (tmp_path / "data").exists()


def test_a_recording_shorter_than_what_is_seen_is_refused(say: Say, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(file(*rows(100)))
    said = say("cycle", MARKET="x.csv", OHLCV_LIMIT="100")
    refused(said, 3, "x.csv: had 100 bars, needs more than the 100 of OHLCV_LIMIT", "lower OHLCV_LIMIT")


@pytest.mark.xfail(strict=True, reason="wiring.open_desk makes the ledger before it asks the recording where it begins")
def test_a_recording_shorter_than_what_is_seen_makes_no_ledger(say: Say, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(file(*rows(100)))
    say("cycle", MARKET="x.csv", OHLCV_LIMIT="100")
    assert not (tmp_path / "data").exists()


BAD_DATA = {
    "a byte order mark": b"\xef\xbb\xbf" + file(),
    "DOS lines": file().replace(b"\n", b"\r\n"),
    "a row twice": with_row(rows()[49]),
    "a negative price": stamped("-1"),
    "numbers at the edge": stamped("1e99"),
    "minus nothing": file(*(row.replace(",5", ",-0") for row in rows())),
    "prices of nothing": file(*(f"{START + n * 300_000},0,0,0,0,0" for n in range(120))),
    "prices below a step": file(*(f"{START + n * 300_000}" + ",1e-30" * 5 for n in range(120))),
    "prices of eighteen digits": file(*(f"{START + n * 300_000}" + ",999999999999999999" * 5 for n in range(120))),
    "numbers of forty decimals": file(*(f"{START + n * 300_000}" + f",1.{'1' * 40}" * 5 for n in range(120))),
    "a bar each millisecond": file(*rows(step=1)),
    "a bar each year": file(*rows(step=31_536_000_000)),
    "bars off the grid": file(*rows(start=START + 7)),
    "bars of the year 5138": file(*rows(start=99_999_999_000_000 - 120 * 300_000)),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_bars_in_good_form_are_traded_or_not_and_never_a_crash(case: str, say: Say, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(BAD_DATA[case])
    market = {"MARKET": "x.csv", "OHLCV_LIMIT": "100"}
    assert say("loop", "--cycles", "2", "--speed", "fast", **market).code == 0
    looks = ("status", "ledger show", "ledger trace last", "ledger trace last --out seen", "ledger verify")
    for words in looks:
        assert say(*words.split(), **market).code == 0


def test_a_recording_that_is_no_file_is_refused_and_not_waited_for(say: Say, tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    for name, why in (
        ("folder.csv", "Is a directory"),
        ("pipe.csv", "it is a pipe or a device, needs a file"),
        ("zero.csv", "it is a pipe or a device, needs a file"),
        ("nowhere.csv", "No such file"),
        ("nowhere/x.csv", "No such file"),
        (f"{'x' * 300}.csv", "File name too long"),
    ):
        refused(say("cycle", MARKET=name), 3, f"{name}: cannot be read", why, "set MARKET")
    refused(say("cycle", MARKET="x.txt"), 3, "MARKET must be simulated, live or the path of a", 'was "x.txt"')


@pytest.mark.parametrize(
    "damaged",
    [
        gzip.compress(file())[:-20],
        gzip.compress(file())[:12],
        b"",
        file(),
        gzip.compress(file()) + b"junk",
        gzip.compress(file())[:-8] + b"\0" * 8,
    ],
    ids=["cut", "cut early", "empty", "plain", "with an appendix", "with a wrong sum"],
)
def test_a_broken_gzip_file_is_refused(damaged: bytes, say: Say, tmp_path: Path) -> None:
    (tmp_path / "x.csv.gz").write_bytes(damaged)
    said = say("cycle", MARKET="x.csv.gz")
    refused(said, 3, "x.csv.gz: is", "fetch the file again" if damaged else "is empty")


# ---------------------------------------------------------------- ledgers that are not right

KEYS = {"EXCHANGE_API_KEY": "k" + "0123456789abcdef" * 4, "EXCHANGE_API_SECRET": "s" + "0123456789abcdef" * 4}
WRITERS = (("cycle",), ("loop", "--cycles", "1"), ("plan",), ("recover",))
READERS = (("status",), ("ledger", "show"), ("ledger", "trace", "last"), ("ledger", "verify"))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"SYMBOL": "ETH/USDT"}, ('this ledger is for SYMBOL "BTC/USDT", the settings say "ETH/USDT"', "--db")),
        ({"TIMEFRAME": "1h"}, ('this ledger is for TIMEFRAME "5m", the settings say "1h"', "--db")),
        ({"SIMULATED_SEED": "12"}, ('this ledger is for MARKET "simulated:2"', "--db")),
        ({"PAPER_BALANCE_USDT": "7"}, ("this ledger is for PAPER_BALANCE", "--db")),
        ({"MODE": "testnet"}, ("MODE=testnet needs EXCHANGE_API_KEY", "MODE=paper")),
        ({"MODE": "testnet", **KEYS}, ('this ledger is for MODE "paper", the settings say "testnet"', "--db")),
        ({"MODE": "real", "TRADER_CONFIRM_REAL": "5", **KEYS}, ('this ledger is for MODE "paper"', "--db")),
        ({"MARKET": "live"}, ("this ledger is for", "--db")),
    ],
    ids=str,
)
def test_a_ledger_of_other_settings_is_not_written_to(
    setting: dict[str, str], words: tuple[str, ...], ledger: Path, say: Say
) -> None:
    before = ledger.read_bytes()
    for writer in WRITERS:
        refused(say(*writer, **setting), 3, *words)
    assert ledger.read_bytes() == before
    assert all(say(*reader, **setting).code == 0 for reader in READERS), "it may be looked at"


def newer(path: Path) -> None:
    """A ledger of a later program."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version=999")


def of_another_program(path: Path) -> None:
    """Somebody else's database."""
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE mine (x)")


def cut(share: float) -> Callable[[Path], None]:
    """A file that ends too soon."""
    return lambda path: os.truncate(path, int(path.stat().st_size * share))


def torn(at: int, count: int = 192) -> Callable[[Path], None]:
    """A file with other bytes in the middle."""

    def tear(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[at : at + count] = b"\xa5" * count
        path.write_bytes(content)

    return tear


def all_tables_torn(path: Path) -> None:
    """Every page but the first has lost its head."""
    content = bytearray(path.read_bytes())
    for at in range(4096, len(content), 4096):
        content[at : at + 64] = b"\xa5" * 64
    path.write_bytes(content)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "newer": (newer, "the ledger has schema 999, this program knows schema"),
    "another program's": (of_another_program, "is not a trader ledger"),
    "text": (lambda path: path.write_text("hello " * 1000), "is not a trader ledger"),
    "a torn head": (torn(0, 100), "is not a trader ledger"),
    "a torn first page": (torn(100), "is damaged"),
    "a torn second page": (torn(4096), "is damaged"),
    "torn pages": (all_tables_torn, "is damaged"),
    "half": (cut(0.5), "is damaged"),
    "a thousandth": (cut(0.001), "is damaged"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_ledger_is_refused_left_alone_and_still_stopped(case: str, ledger: Path, say: Say) -> None:
    harm, words = DAMAGES[case]
    harm(ledger)
    before = ledger.read_bytes()
    for asked in (*WRITERS, *READERS):
        refused(say(*asked), 6, words)
    stopped = say("stop")
    assert stopped.code == 0
    assert "the stop could not be recorded in the ledger" in stopped.stderr
    assert (ledger.parent / "STOP").exists()
    assert ledger.read_bytes() == before


@pytest.mark.parametrize("page", range(1, 60, 20))
def test_a_torn_page_anywhere_is_found_or_harmless(page: int, ledger: Path, say: Say) -> None:
    torn(page * 4096)(ledger)
    verified = say("ledger", "verify")
    assert verified.code in (6, 9)
    for asked in (*READERS[:3], *WRITERS):
        assert say(*asked).code in (0, 6)


def test_the_proof_of_a_damaged_ledger_does_not_advise_to_prove_it(ledger: Path, say: Say) -> None:
    cut(0.5)(ledger)
    assert "trader ledger verify" not in say("ledger", "verify").stderr


@pytest.mark.parametrize("name", ["nope.db", "no/such/folder/x.db", "a?b#c%41.db", "[red]x[/red].db", "file:x?mode=rw"])
def test_a_mistyped_path_is_not_made(name: str, say: Say, tmp_path: Path) -> None:
    for reader in READERS:
        refused(say(*reader, "--db", name), 8, f'no ledger at "{name}"', "Make one: trader cycle")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", 3),
        ("/", 3),
        ("/dev/null", 3),
        ("..", 3),
        ("a\0b", 2),
        ("\ud800", 2),
        ("\udcff", 3),
        ("\x1b[2J", 3),
        ("x" * 300, 6),
    ],
)
def test_a_path_that_can_be_no_ledgers_is_refused(name: str, code: int, say: Say, tmp_path: Path) -> None:
    for asked in (*WRITERS, *READERS):
        refused(say(*asked, "--db", name), code)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- disks that do not take it


def run_limited(env: Mapping[str, str], folder: Path, most_bytes: int, *words: str) -> Result:
    """`trader` in a process whose files may not grow beyond so many bytes; bytecode, cut short, is not left."""
    code = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({most_bytes}, {most_bytes}));"
        "from trader_cli.main import run; sys.exit(run(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, *words],
        env=dict(env),
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("room", [0, 150_000])
def test_a_file_that_may_not_grow_ends_with_6_and_the_ledger_stands(
    room: int, ledger: Path, clean_env: dict[str, str], say: Say
) -> None:
    said = run_limited(clean_env, ledger.parents[1], room, "loop", "--cycles", "60", "--speed", "fast", "--json")
    assert (said.code, "Traceback" in said.stderr) == (6, False), said.stderr
    assert json.loads(said.stderr.splitlines()[-1])["error"]["name"] == "LEDGER"
    assert say("recover").code == 0
    assert say("ledger", "verify").code == 0
    assert say("cycle").code == 0


def boxed(env: Mapping[str, str], folder: Path, mount: str, script: str) -> Result:
    """A shell script in `folder`, after `mount` in a namespace of its own: that also binds root."""
    line = f"{mount} || exit 77; export TRADER='{sys.executable} -B -m trader_cli.main'; {script}"
    try:
        done = subprocess.run(
            ["unshare", "-rm", "sh", "-c", line],
            env={**env, "PATH": os.environ["PATH"]},
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if done.returncode == 77 or "unshare:" in done.stderr:
        pytest.skip(f"no mounts of one's own here: {done.stderr.strip()}")
    return Result(done.returncode, done.stdout, done.stderr)


def test_a_full_disk_ends_with_6_and_can_still_be_read(clean_env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    env = {**clean_env, "DB_PATH": "full/agent.db"}
    mount = "mount -t tmpfs -o size=700k none full"
    said = boxed(
        env,
        tmp_path,
        mount,
        "$TRADER loop -q --cycles 500 --speed fast; echo loop $?; $TRADER ledger show -n 1 -q; echo show $?;"
        "$TRADER cycle -q --db full/new.db; echo new $?; rm -f full/new.db*;"
        "$TRADER ledger verify -q; echo verify $?",
    )
    assert said.stdout.split("\n")[:-1] == ["loop 6", "show 0", "new 6", "verify 0"], said
    assert "Traceback" not in said.stderr
    assert re.search(r"Error: (no space left|the disk does not take)", said.stderr), said.stderr
    assert "Fix:" in said.stderr


def test_a_folder_that_is_read_only_can_be_read_and_not_traded_in(ledger: Path, clean_env: dict[str, str]) -> None:
    said = boxed(
        clean_env,
        ledger.parents[1],
        "mount --bind data data && mount -o remount,ro,bind data",
        "$TRADER cycle -q; echo cycle $?; $TRADER plan -q --db data/new.db; echo new $?;"
        "$TRADER stop -q; echo stop $?; $TRADER status -q; echo status $?",
    )
    assert said.stdout.split("\n")[:3] == ["cycle 6", "new 6", "stop 6"], said
    assert "Traceback" not in said.stderr + said.stdout
    assert said.stderr.count("Fix:") >= 3


# ---------------------------------------------------------------- words on the command line


@pytest.mark.parametrize(
    "time",
    [
        *("yesterdayy", "", "24hh", "-1d", "99999999w", "2026-13-01", "1e3h", EVIL, "1" * 100_000, "\ud800", "today\n"),
        *("2026-01-01T00:00:00+99:00", "0001-01-01T00:00:00+14:00", "11111111111", "1767225600000"),
        "2026-01-01\x1b00:00",
    ],
)
def test_a_time_that_is_none_is_refused(time: str, ledger: Path, say: Say) -> None:
    said = say("loop", "--dry-run", "--speed", "fast", "--cycles", "1", "--until", time)
    refused_time(said)
    assert len(said.stderr) < 700


def refused_time(said: Result) -> None:
    """Exit 2, and the forms a time may have."""
    assert (said.code, said.stdout) == (2, "")
    assert "a time must be a date (2026-11-22), an ISO time, today, or a span such as 24h" in said.stderr
    assert 'was "' in said.stderr


@pytest.mark.parametrize("count", ["-1", "1e9", "1.5", "", "\u0661", "nan", "0x5", "\x1b[2J", "\ud800"])
def test_a_number_of_rows_that_is_none_is_a_usage_error(count: str, ledger: Path, say: Say) -> None:
    refused(say("ledger", "show", "-n", count), 2, "Invalid value for '-n' / '--rows'", "trader ledger show --help")


def test_more_rows_than_sqlite_can_count_are_no_bug(ledger: Path, say: Say) -> None:
    assert say("ledger", "show", "-n", "9" * 30).code in (0, 2)


@pytest.mark.parametrize(
    "word", ["", "abc", "zzzz", "%%%%", "____", "' OR 1=1 --", EVIL, "a\0bcd", "x" * 100_000, "9" * 11]
)
def test_a_trace_that_is_none_is_not_found(word: str, ledger: Path, say: Say) -> None:
    asked: list[tuple[str, ...]] = [
        ("ledger", "trace", word),
        ("propose", "--plan", word),
        ("judge", "--proposal", word),
        ("execute", "--verdict", word),
    ]
    for words in asked:
        said = say(*words)
        assert said.code == (8 if len(word) >= 4 else 2), said
        assert said.stderr.startswith(("Error: no trace ", "Error: a trace needs at least 4 characters"))


def test_a_trace_that_is_no_text_is_no_bug(ledger: Path, say: Say) -> None:
    assert say("ledger", "trace", os.fsdecode(b"\xff\xffab")).code in (2, 8)


@pytest.mark.parametrize("reason", [EVIL, "\0", "\ud800\udcff", "x" * 100_000, "=cmd|'/c calc'!A0", "{x} %s \\"])
def test_a_hostile_reason_is_kept_and_shown_clean(reason: str, ledger: Path, say: Say) -> None:
    stop = ("stop", "--reason", reason)
    for words in (stop, stop, ("status",), ("status", "--json"), ("cycle",), ("cycle", "--json"), *READERS):
        assert say(*words).code == 0
    assert json.loads(say("status", "--json").stdout)["state"] == "HALT"
    assert say("resume", "--reason", reason).code == 0
    assert say("ledger", "trace", "last", "--json").code == 0
    assert say("ledger", "verify").code == 0
    assert json.loads(say("status", "--json").stdout)["state"] == "RUN"


@pytest.mark.parametrize("words", [(EVIL,), ("cycle", EVIL), ("--" + EVIL,), ("ledger", EVIL), ("\ud800",), ("a\0b",)])
def test_words_nobody_knows_are_a_usage_error(words: tuple[str, ...], say: Say) -> None:
    refused(say(*words), 2, "--help")
    assert json.loads(say(*words, "--json").stderr)["error"]["exit"] == 2


# ---------------------------------------------------------------- documents on stdin

DOCUMENTS = (
    "", " \n", "{}", "[]", "null", "1", "NaN", "x", "{", "[" * 100_000, '{"a":' * 50_000, "\0", "\ufeff{}", EVIL,
    "x" * 1_000_000, '{"id": 1e999}', f'{{"id": {"9" * 5000}}}',
    '{"schema": "trader.%/1", "id": 99999999999999999999, "trace_id": "x"}',
    '{"schema": "trader.%/1", "id": -1, "trace_id": "x"}',
    '{"schema": "trader.%/1", "id": NaN, "trace_id": "x"}',
    '{"schema": "trader.%/1", "id": 0, "trace_id": "x", "dry_run": true}',
    '{"schema": "trader.%/1", "id": 1, "trace_id": "\\ud800\\u001b[2J"}',
    '{"schema": "\\u001b]52;c;QQ==\\u0007", "id": 1, "trace_id": "x"}',
    '{"schema": "trader.%/1", "id": 1, "trace_id": "' + "x" * 990_000 + '"}',
    '{"schema": "trader.%/1", "id": 1, "trace_id": "' + "x" * 2_000_000 + '"}',
    '{"schema": ["trader.%/1"], "id": 1, "trace_id": {}}',
)  # fmt: skip


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("propose", "--plan", "-"), "plan"),
        (("judge", "--proposal", "-"), "proposal"),
        (("execute", "--verdict", "-"), "verdict"),
    ],
    ids=["propose", "judge", "execute"],
)
def test_a_document_on_stdin_that_is_none_of_ours_changes_nothing(
    words: tuple[str, ...], what: str, quick: Forks, ledger: Path, say: Say
) -> None:
    said = [quick.start(*words, stdin=document.replace("%", what)) for document in DOCUMENTS]
    for document, child in zip(DOCUMENTS, said, strict=True):
        ended = child.result()
        orderly(ended)
        assert ended.code in (2, 8), (document[:80], ended)
        assert len(ended.stderr) < 1000
    assert json.loads(say("ledger", "verify", "--json").stdout)["ok"]
    assert len(json.loads(say("ledger", "show", "--json", "-n", "0").stdout)["cycles"]) == 6


# ---------------------------------------------------------------- words of a model

TEXTS = (EVIL, "\0", "\ud800", "x" * 1_000_000, "=HYPERLINK(1)", "+1", "@SUM(A1)", "[/]", "[link=x]y[/link]", "%s {0}")


@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_what_a_model_says_is_recorded_and_never_obeyed_by_a_screen(number: int, say: Say, tmp_path: Path) -> None:
    words = TEXTS[number]
    with desk(tmp_path / "x.db") as scene:
        scene.script(proposal_words(hypothesis=words), verdict_words("APPROVE", None, words[:300], notes=words))
        scene.model.will_say(Agent.PLANNER, words, plan_words())
        scene.model.will_say(Agent.TRADER, words)
        for _ in range(3):
            cycle(scene.desk)
            scene.clock.advance(300_000)
    asked_for: list[tuple[str, ...]] = [
        ("ledger", "show"),
        ("ledger", "trace", "last", "--prompts"),
        ("status",),
        ("ledger", "verify"),
    ]
    for words_asked in asked_for:
        assert say(*words_asked, "--db", "x.db").code == 0
        json.loads(say(*words_asked, "--json", "--db", "x.db").stdout)
    for row in json.loads(say("ledger", "show", "--json", "--db", "x.db").stdout)["cycles"]:
        shown = say("ledger", "trace", row["trace_id"], "--prompts", "--db", "x.db")
        assert shown.code == 0
    piped = say("ledger", "show", "--db", "x.db").stdout.splitlines()
    assert {line.count("\t") for line in piped} == {piped[0].count("\t")}, "no text leaves its cell"
    assert len(piped) == 4


# ---------------------------------------------------------------- odd terminals and streams


def seen(env: Mapping[str, str], folder: Path, columns: int, *words: str) -> tuple[int, str]:
    """What a person sees of `trader` on a terminal so wide."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    left_out = ("COLUMNS", "_TYPER_FORCE_DISABLE_TERMINAL")
    env = {name: value for name, value in env.items() if name not in left_out}
    child = subprocess.Popen(
        [sys.executable, "-m", "trader_cli.main", *words],
        env={"TERM": "xterm-256color", **env},
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError), os.fdopen(ours, "rb", buffering=0) as screen:
        while more := screen.read(65_536):
            shown += more
    return child.wait(30), shown.decode().replace("\r\n", "\n")


COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize(
    ("words", "columns"), [(("ledger", "show"), 40), (("ledger", "show"), 200), (("--help",), 40), (("--help",), 200)]
)
def test_a_screen_of_any_width_is_not_overrun(
    words: tuple[str, ...], columns: int, ledger: Path, clean_env: dict[str, str], say: Say
) -> None:
    say("stop", "-q", "--reason", EVIL)
    say("cycle", "-q")
    code, shown = seen(clean_env, ledger.parents[1], columns, *words)
    assert code == 0
    plain = COLOUR.sub("", shown)
    assert plain.replace("\n", "").isprintable()
    if words != ("--help",):
        table = [line for line in plain.splitlines() if "cycles.  All" not in line]
        assert max(map(len, table)) <= columns, plain


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"NO_COLOR": "1"}], ids=str)
def test_who_wants_no_colour_gets_none(env: dict[str, str], ledger: Path, clean_env: dict[str, str]) -> None:
    code, shown = seen({**clean_env, **env}, ledger.parents[1], 80, "ledger", "show")
    assert code == 0
    coloured = re.search(r"\x1b\[[0-9;]*[34][0-7]\b", shown)
    assert coloured is None, shown
    assert "\x1b" not in shown or env == {"NO_COLOR": "1"}, "bold is no colour"


@pytest.mark.parametrize(
    "line",
    [
        "$TRADER ledger show -n 0 | head -1",
        "$TRADER ledger trace last --prompts | head -1",
        "$TRADER loop --cycles 40 --speed fast | head -1",
        "$TRADER cycle --json <&- >&- 2>&-",
        "$TRADER propose --plan - <&-; test $? = 2",
        "$TRADER init --no-input --env-file new.env </dev/null",
        "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 $TRADER stop --reason 'caf\u00e9 \u202e'",
        'env -i PYTHONPATH="$PYTHONPATH" $TRADER cycle',
    ],
)
def test_odd_streams_and_environments_crash_nothing(
    line: str, ledger: Path, clean_env: dict[str, str], say: Say
) -> None:
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    env = {**clean_env, "TRADER": f"{sys.executable} -m trader_cli.main"}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        env=env,
        cwd=ledger.parents[1],
        capture_output=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert "Bug:" not in done.stderr
    assert re.sub(r"[\n\t]", "", done.stdout + done.stderr).isprintable()
    assert say("ledger", "verify").code == 0


def test_a_file_of_the_program_that_is_cut_short_is_not_taken_for_an_aborted_prompt(clean_env: dict[str, str]) -> None:
    code, stderr = probe("raise EOFError('marshal data too short')", clean_env)
    assert (code, stderr.split("\n")[1]) == (1, "Bug: EOFError: marshal data too short")
    assert probe("raise EOFError", clean_env) == (1, "\nError: aborted\n")
