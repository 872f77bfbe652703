"""The tree of commands, loaded lazily, and the one boundary where errors become exit codes."""

from __future__ import annotations

import decimal
import importlib.util
import inspect
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import typer

from tests.conftest import Trader
from trader_cli import __version__
from trader_cli.commands.options import DryRun, Globals, command
from trader_cli.core.decimals import MONEY
from trader_cli.core.errors import (
    MEANING,
    BusyError,
    ConfigError,
    DiffersError,
    ExitCode,
    LedgerError,
    NotFoundError,
    OrderUnknownError,
    RefusedError,
    TraderError,
    UpstreamError,
)
from trader_cli.main import COMMANDS, app, run

Capture = pytest.CaptureFixture[str]
Pretend = Callable[[Callable[[Globals], Any]], None]

PROBE = """
import os, sys, types
from trader_cli.commands.options import Globals, command
from trader_cli.main import run

def plan(g: Globals) -> int:
    {body}

sys.modules["trader_cli.commands.plan"] = types.ModuleType("plan")
sys.modules["trader_cli.commands.plan"].plan = command(plan)
sys.exit(run(["plan", *sys.argv[1:]]))
"""
"""A process in which `trader plan` does what a test wants."""


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Put another body behind `trader plan`."""

    def install(body: Callable[[Globals], Any]) -> None:
        module = ModuleType("trader_cli.commands.plan")
        module.plan = command(body)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "trader_cli.commands.plan", module)

    return install


def failing(error: BaseException) -> Callable[[Globals], None]:
    def plan(g: Globals) -> None:
        raise error

    return plan


def seen(pretend: Pretend, *words: str) -> Globals:
    """The global options with which `trader <words>` calls a command."""
    caught: list[Globals] = []

    def plan(g: Globals) -> None:
        caught.append(g)

    pretend(plan)
    assert run(words) == 0
    return caught[0]


# ---------------------------------------------------------------- help and loading


def test_help_names_every_command_and_panel_and_imports_none_of_them(clean_env: dict[str, str]) -> None:
    code = (
        "import sys; before = set(sys.modules); from trader_cli.main import run; assert run(['--help']) == 0;"
        "new = set(sys.modules) - before;"  # coverage has some already
        "print(sorted(m for m in new if m.startswith(('trader_cli.commands.', 'pydantic', 'sqlite3'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=clean_env, capture_output=True, text=True, check=True)
    *page, loaded = done.stdout.splitlines()
    assert loaded == "['trader_cli.commands.completion', 'trader_cli.commands.options']"
    text = "\n".join(page)
    for panel in ("Run", "One step", "Look", "Safety", "Set up"):
        assert f"─ {panel} ─" in text
    for entry in COMMANDS:
        name, *_ = entry.words.split()
        assert f"│ {name} " in text
    assert max(len(line) for line in page) <= 80


def test_the_commands_are_the_promised_ones() -> None:
    assert {entry.words for entry in COMMANDS} == {
        *(
            "cycle",
            "loop",
            "backtest",
            "report",
            "serve",
            "replay",
            "plan",
            "propose",
            "judge",
            "execute",
            "snapshot",
            "recover",
        ),
        *("status", "models", "ledger show", "ledger trace", "ledger verify", "stop", "resume", "gate test"),
        *("ledger backup", "ledger restore", "ledger anchor", "doctor", "health", "metrics"),
        *("ledger tail", "ledger export", "ledger query", "ledger stats", "ledger path"),
        *("why", "memory show", "init", "config show", "config check", "config example"),
    }


def test_importing_the_program_imports_nothing_heavy(clean_env: dict[str, str]) -> None:
    heavy = [
        "openai",
        "ccxt",
        "fastapi",
        "numpy",
        "pandas",
        "jsonschema",
        "sqlite_utils",
        "pydantic_settings",
        "rich.table",
        "httpx2",
    ]
    code = f"import sys, trader_cli.main; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], env=clean_env, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_version_needs_neither_rich_nor_pydantic(clean_env: dict[str, str]) -> None:
    code = (
        "import sys; before = set(sys.modules); from trader_cli.main import run; assert run(['--version']) == 0;"
        "print([m for m in ('rich', 'pydantic', 'sqlite3') if m in set(sys.modules) - before])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=clean_env, capture_output=True, text=True, check=True)
    assert done.stdout == f"trader {__version__}\n[]\n"


def test_every_command_that_exists_is_described_as_in_the_list() -> None:
    for entry in COMMANDS:
        module, _, attribute = entry.target.partition(":")
        if importlib.util.find_spec(f"trader_cli.commands.{module}") is None:
            continue
        body = getattr(importlib.import_module(f"trader_cli.commands.{module}"), attribute)
        assert inspect.getdoc(body), entry.words
        assert next(iter(inspect.signature(body).parameters)) == "ctx", f"{entry.words} lacks @command"


@pytest.mark.parametrize("words", [["-h"], ["--help"], ["config", "-h"], ["config", "show", "-h"], ["init", "--help"]])
def test_help_is_there_at_every_level(words: list[str], capsys: Capture) -> None:
    assert run(words) == 0
    out, err = capsys.readouterr()
    assert "Usage: trader" in out
    assert "--env-file" in out
    assert err == ""


@pytest.mark.parametrize("words", [[], ["config"], ["ledger"]])
def test_no_command_at_all_shows_the_help_and_is_a_usage_error(words: list[str], capsys: Capture) -> None:
    assert run(words) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert "Usage: trader" in out
    assert err == ""


@pytest.mark.parametrize(
    ("word", "meant"), [("help", "--help"), ("run", "loop"), ("verify", "ledger verify"), ("nonsense", "--help")]
)
def test_a_word_that_is_no_command_leads_to_the_one_that_is_meant(word: str, meant: str, capsys: Capture) -> None:
    assert run([word]) == ExitCode.USAGE
    assert capsys.readouterr() == ("", f"Error: No such command '{word}'.\nFix:   trader {meant}\n")


def test_options_without_a_command_are_a_usage_error(capsys: Capture) -> None:
    assert run(["-q"]) == ExitCode.USAGE
    assert capsys.readouterr() == ("", "Error: Missing command.\nFix:   trader --help\n")


@pytest.mark.parametrize("words", [["--version"], ["-V"]])
def test_the_version_is_one_line(words: list[str], capsys: Capture) -> None:
    assert run(words) == 0
    assert capsys.readouterr().out == f"trader {__version__}\n"


@pytest.mark.parametrize("words", [["-Vv"], ["-v", "-V"], ["--version", "--verbose"]])
def test_the_long_version_names_python_and_sqlite(words: list[str], capsys: Capture) -> None:
    assert run(words) == 0
    out = capsys.readouterr().out
    assert f"python {sys.version_info[0]}." in out
    assert f"sqlite {sqlite3.sqlite_version}\n" in out


def test_the_version_is_also_json(capsys: Capture) -> None:
    assert run(["--json", "--version"]) == 0
    assert json.loads(capsys.readouterr().out) == {"schema": "trader.version/1", "version": __version__}


def test_the_exit_codes_in_the_help_are_those_of_the_table(capsys: Capture) -> None:
    run(["--help"])
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    for code, meaning in MEANING.items():
        assert f"{int(code)}  {meaning}" in lines


@pytest.mark.parametrize(
    ("words", "nearest"), [(["pln"], "'plan'"), (["ledger", "shw"], "'show'"), (["cofig"], "'config'")]
)
def test_a_mistyped_command_is_answered_with_the_nearest(words: list[str], nearest: str, capsys: Capture) -> None:
    assert run(words) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert f"Did you mean {nearest}?" in err
    assert len(err.splitlines()) == 2


def test_a_mistyped_option_is_a_usage_error_with_its_commands_help(capsys: Capture) -> None:
    assert run(["config", "show", "--jsn"]) == ExitCode.USAGE
    assert capsys.readouterr().err == (
        "Error: No such option: --jsn (Possible options: --json)\nFix:   trader config show --help\n"
    )


def test_completion_knows_the_commands_without_importing_them(clean_env: dict[str, str]) -> None:
    env = {**clean_env, "_TRADER_COMPLETE": "complete_bash", "COMP_WORDS": "trader p", "COMP_CWORD": "1"}
    code = "from trader_cli.main import run; run([])"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["plan", "propose"]


# ---------------------------------------------------------------- global options


@pytest.mark.parametrize(
    "words",
    [
        ["--db", "x.db", "--json", "-q", "-vv", "--no-color", "--no-input", "--env-file", "my.env", "plan"],
        ["plan", "--db", "x.db", "--json", "-q", "-vv", "--no-color", "--no-input", "--env-file", "my.env"],
        ["--json", "-v", "--env-file", "my.env", "plan", "-qv", "--db", "x.db", "--no-color", "--no-input"],
    ],
)
def test_global_options_stand_before_or_after_the_command(
    words: list[str], pretend: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "")  # --no-color sets it for Typer's help; this puts it back
    g = seen(pretend, *words)
    assert (str(g.db), g.env_file, g.json, g.quiet, g.verbose) == ("x.db", "my.env", True, True, 2)
    assert not g.color
    assert not g.may_ask


def test_between_group_and_command_is_a_place_too(capsys: Capture) -> None:
    assert run(["config", "--json", "--db", "y.db", "show"]) == 0
    rows = {row["setting"]: row for row in json.loads(capsys.readouterr().out)["settings"]}
    assert (rows["DB_PATH"]["value"], rows["DB_PATH"]["from"]) == ("y.db", "option")


def test_the_option_nearest_to_the_command_wins(pretend: Pretend) -> None:
    assert str(seen(pretend, "--db", "far.db", "plan", "--db", "near.db").db) == "near.db"


def test_the_environment_sets_what_no_option_does(pretend: Pretend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADER_JSON", "1")
    monkeypatch.setenv("TRADER_ENV_FILE", "theirs.env")
    monkeypatch.setenv("NO_COLOR", "1")
    g = seen(pretend, "plan")
    assert (g.json, g.env_file, g.color) == (True, "theirs.env", False)
    assert seen(pretend, "--env-file", "mine.env", "plan").env_file == "mine.env"


def test_a_dumb_terminal_gets_no_colours(pretend: Pretend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert seen(pretend, "plan").color
    monkeypatch.setenv("TERM", "dumb")
    assert not seen(pretend, "plan").color


def test_a_switch_in_the_environment_that_is_neither_on_nor_off_is_refused(
    pretend: Pretend, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    pretend(failing(AssertionError("not reached")))
    monkeypatch.setenv("TRADER_NO_INPUT", "maybe")
    assert run(["plan"]) == ExitCode.USAGE
    assert 'TRADER_NO_INPUT must be 1 or 0, was "maybe"' in capsys.readouterr().err


def test_a_settings_file_that_is_named_must_exist_and_the_usual_one_need_not(trader: Trader, tmp_path: Any) -> None:
    assert trader("config", "show", "--env-file", "absent.env").code == ExitCode.CONFIG
    assert trader("config", "show", env={"TRADER_ENV_FILE": ""}).code == ExitCode.OK
    (tmp_path / ".env").write_text("SYMBOL=ETH/USDT\n", encoding="utf-8")
    assert "SYMBOL\tETH/USDT\t.env:1" in trader("config", "show", env={"TRADER_ENV_FILE": ""}).stdout
    assert "SYMBOL\tBTC/USDT\tdefault" in trader("config", "show", "--env-file", "none").stdout


def test_a_commands_own_options_reach_it_beside_the_global_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    @command
    def plan(g: Globals, word: str, dry_run: DryRun = False) -> None:
        g.out.lines(f"{word} {dry_run} {g.verbose}")

    module = ModuleType("trader_cli.commands.plan")
    module.plan = plan  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "trader_cli.commands.plan", module)
    assert run(["plan", "-v", "hello", "--dry-run"]) == 0
    assert capsys.readouterr().out == "hello True 1\n"


# ---------------------------------------------------------------- the boundary


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("no"), 3),
        (RefusedError("no"), 4),
        (UpstreamError("no"), 5),
        (LedgerError("no"), 6),
        (BusyError("no"), 7),
        (NotFoundError("no"), 8),
        (DiffersError("no"), 9),
        (OrderUnknownError("no"), 10),
    ],
)
def test_an_expected_error_is_its_exit_code_and_one_message(
    error: TraderError, code: int, pretend: Pretend, capsys: Capture
) -> None:
    pretend(failing(error))
    error.hint = "do this"
    assert run(["plan"]) == code
    assert capsys.readouterr() == ("", "Error: no\nFix:   do this\n")


def test_with_json_an_error_is_one_line_on_stderr_and_stdout_is_empty(pretend: Pretend, capsys: Capture) -> None:
    pretend(failing(ConfigError("first\nsecond", "a fix")))
    assert run(["plan", "--json"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert json.loads(err) == {
        "schema": "trader.error/1",
        "error": {"name": "CONFIG", "exit": 3, "message": "first\nsecond", "hint": "a fix"},
    }


def test_with_json_even_a_usage_error_is_json(capsys: Capture) -> None:
    assert run(["pln", "--json"]) == 2
    assert json.loads(capsys.readouterr().err)["error"]["name"] == "USAGE"


def test_what_a_command_returns_is_the_exit_code(pretend: Pretend) -> None:
    def plan(g: Globals) -> ExitCode:
        return ExitCode.ORDER_UNKNOWN

    pretend(plan)
    assert run(["plan"]) == 10


def test_an_unforeseen_error_is_one_clean_line_and_says_how_to_see_more(pretend: Pretend, capsys: Capture) -> None:
    pretend(failing(KeyError("a\x1b[31mb")))
    assert run(["plan"]) == ExitCode.FAILURE
    err = capsys.readouterr().err
    assert err.startswith("Bug: KeyError: ")
    assert "\x1b" not in err
    assert "-vv" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("words", [["-vv", "plan"], ["plan", "-v", "-v"], ["plan", "--verbose", "--verbose"]])
def test_with_vv_an_unforeseen_error_has_its_traceback(words: list[str], pretend: Pretend, capsys: Capture) -> None:
    pretend(failing(ZeroDivisionError("x")))
    assert run(words) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_traceback_shows_no_local_values(pretend: Pretend, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def plan(g: Globals) -> None:
        secret = "canary" + "-4711"
        raise RuntimeError(len(secret))

    monkeypatch.setenv("TRADER_DEBUG", "1")
    pretend(plan)
    assert run(["plan"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "canary-4711" not in err


def test_ctrl_c_is_130_and_an_aborted_prompt_is_1(pretend: Pretend, capsys: Capture) -> None:
    pretend(failing(KeyboardInterrupt()))
    assert run(["plan"]) == 130
    for error in (typer.Abort(), EOFError()):
        pretend(failing(error))
        assert run(["plan"]) == 1
        assert capsys.readouterr().err.strip() == "Error: aborted"


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.OperationalError("database or disk is full"),
        sqlite3.OperationalError("attempt to write a readonly database"),
        OSError(28, "No space left on device"),
    ],
)
def test_a_disk_that_takes_nothing_is_a_ledger_error(error: Exception, pretend: Pretend, capsys: Capture) -> None:
    pretend(failing(error))
    assert run(["plan"]) == ExitCode.LEDGER
    assert capsys.readouterr().err.startswith("Error: ")


def test_other_database_errors_are_bugs(pretend: Pretend, capsys: Capture) -> None:
    pretend(failing(sqlite3.OperationalError("no such table: x")))
    assert run(["plan"]) == ExitCode.FAILURE
    assert capsys.readouterr().err.startswith("Bug: OperationalError: no such table: x")


def test_a_connection_that_broke_is_not_taken_for_a_closed_stdout(pretend: Pretend, capsys: Capture) -> None:
    pretend(failing(BrokenPipeError(32, "Broken pipe")))
    assert run(["plan"]) == ExitCode.FAILURE
    assert "a connection broke" in capsys.readouterr().err


def test_quiet_and_busy_together_say_nothing(pretend: Pretend, capsys: Capture) -> None:
    pretend(failing(BusyError("in use")))
    assert run(["plan", "-q"]) == ExitCode.BUSY
    assert capsys.readouterr() == ("", "")
    assert run(["plan"]) == ExitCode.BUSY
    assert "in use" in capsys.readouterr().err


def test_money_is_reckoned_in_our_own_decimal_context(pretend: Pretend) -> None:
    found: list[decimal.Context] = []

    def plan(g: Globals) -> None:
        found.append(decimal.getcontext())

    before = decimal.getcontext().copy()
    try:
        pretend(plan)
        run(["plan"])
    finally:
        decimal.setcontext(before)
    assert (found[0].prec, found[0].rounding) == (MONEY.prec, MONEY.rounding)
    assert found[0] is not MONEY


# ---------------------------------------------------------------- closed and odd streams


def probe(body: str, env: dict[str, str], *words: str, stdout: int | None = None) -> tuple[int, str]:
    """Run `trader plan` with this body in a process; its exit code and stderr."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(body=body), *words],
        env=env,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


def nobody_reads() -> int:
    """The writing end of a pipe whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def test_a_closed_pipe_keeps_the_exit_code_of_what_was_done(clean_env: dict[str, str]) -> None:
    body = "g.out.record({'schema': 'x'}, ['sent']); return 10"
    assert probe(body, clean_env, stdout=nobody_reads()) == (10, "")


def test_a_stream_of_records_ends_quietly_when_nobody_reads(clean_env: dict[str, str]) -> None:
    body = "[g.out.lines('x') for _ in range(1000)]; return 1"
    assert probe(body, clean_env, stdout=nobody_reads()) == (0, "")


def test_help_into_a_closed_pipe_ends_quietly(clean_env: dict[str, str]) -> None:
    assert probe("return 1", clean_env, "--help", stdout=nobody_reads()) == (0, "")


@pytest.mark.parametrize("words", ["config show", "config show --json", "--help", "--version", "config check"])
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_crash_nothing(words: str, closed: str, clean_env: dict[str, str]) -> None:
    line = f"exec {sys.executable} -m trader_cli.main {words} {closed}"
    done = subprocess.run(["sh", "-c", line], env=clean_env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert "Traceback" not in done.stdout + done.stderr


def test_a_file_opened_after_a_closed_stdout_does_not_take_its_place(clean_env: dict[str, str]) -> None:
    body = "return os.open('/dev/null', os.O_RDONLY)"
    line = f"exec {sys.executable} -c '{PROBE.format(body=body.replace(chr(39), chr(34)))}' >&- 2>&-"
    done = subprocess.run(["sh", "-c", line], env=clean_env, timeout=60, check=False)
    assert done.returncode > 2


@pytest.mark.parametrize(
    "odd",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"TERM": "dumb", "NO_COLOR": "1"},
        {"GITHUB_ACTIONS": "true", "FORCE_COLOR": "1"},
    ],
)
def test_any_locale_and_terminal_will_do(odd: dict[str, str], clean_env: dict[str, str]) -> None:
    body = "g.out.record({'schema': 'x'}, ['caf\\u00e9 \\u20bf']); return 0"
    assert probe(body, {**clean_env, **odd}, stdout=subprocess.DEVNULL) == (0, "")


def test_an_empty_environment_is_enough() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trader_cli.main", "config", "check"],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "TRADER_ENV_FILE": "none"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_app_is_a_typer_app() -> None:
    assert isinstance(app, typer.Typer)
