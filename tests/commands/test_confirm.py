"""Real money: no socket and no ledger before the cap was said again, and what is said is recorded."""

from __future__ import annotations

import io
import socket
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

import pytest
from pydantic import SecretStr

from tests.desks import desk
from tests.test_hostile import Say, refused, say
from trader_cli.commands import confirm as confirming
from trader_cli.commands.confirm import Checked, Confirmed, banner, confirm, note
from trader_cli.commands.options import Globals
from trader_cli.config import Settings
from trader_cli.core.errors import RefusedError
from trader_cli.main import run
from trader_cli.views.output import Output

__all__ = ["say"]

REAL = {
    "MODE": "real",
    "OPENAI_API_KEY": "sk-8f3Kq2mZx7Lw9Tn4Vb6Y",
    "EXCHANGE_API_KEY": "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A",
    "EXCHANGE_API_SECRET": "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j",
}
COMMANDS = (("cycle",), ("loop", "--cycles", "1"), ("execute",), ("stop", "--flatten"))


class Terminal(io.StringIO):
    """A stream that a person sits at."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens one fails."""

    def refuse(*args: Any, **more: Any) -> NoReturn:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    ("given", "setting", "said"),
    [
        (None, None, "MODE=real needs real money to be confirmed"),
        ("500", None, '--confirm-real must be DEPOSIT_CAP_USDT, which is 5; was "500"'),
        ("5e0", None, 'was "5e0"'),
        ("", None, 'was ""'),
        (None, "6", 'TRADER_CONFIRM_REAL must be DEPOSIT_CAP_USDT, which is 5; was "6"'),
        ("6", "5", 'was "6"'),
    ],
)
def test_real_mode_without_the_cap_opens_no_socket_and_makes_no_ledger(
    words: tuple[str, ...],
    given: str | None,
    setting: str | None,
    said: str,
    say: Say,
    no_sockets: None,
    tmp_path: Path,
) -> None:
    env = REAL | ({} if setting is None else {"TRADER_CONFIRM_REAL": setting})
    option = () if given is None else ("--confirm-real", given)
    refused(say(*words, *option, **env), 4, said, "--confirm-real 5")
    made = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert made == (["STOP"] if words[0] == "stop" else [])


def test_paper_takes_the_option_and_says_nothing(say: Say) -> None:
    for given in ("5", "500", "x"):
        done = say("cycle", "--confirm-real", given)
        assert done.code == 0
        assert "real" not in (done.stdout + done.stderr).lower()
    assert say("ledger", "query", "select kind from events where kind = 'CONFIRMED'").stdout == "kind\n"


# --- the question


def globals_of(may_ask: bool = True, quiet: bool = False) -> Globals:
    return Globals(
        db=None, env_file="none", json=False, quiet=quiet, verbose=0, color=False, may_ask=may_ask,
        out=Output(quiet=quiet),
    )  # fmt: skip


def real(tmp_path: Path, **changes: Any) -> Settings:
    keys = {"exchange_api_key": SecretStr("k" * 20), "exchange_api_secret": SecretStr("s" * 20)}
    return Settings(mode="real", db_path=tmp_path / "data" / "agent.db", **(keys | changes))


def typed(monkeypatch: pytest.MonkeyPatch, words: str) -> Terminal:
    """A person at the terminal who types this; returns what they see."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(words))
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


@pytest.mark.parametrize("words", ["5\n", "5.00\n", " 5.0 \n"])
def test_a_person_types_the_cap(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = typed(monkeypatch, words)
    assert confirm(globals_of(), real(tmp_path), None, dry_run=False) == Confirmed(Decimal("5.0"), "typed")
    assert screen.getvalue() == (
        "REAL MONEY on binance BTC/USDT. At most 5.00 USDT can be deposited.\n"
        "Keys: not checked yet. Open orders: not checked yet. Kill switch: off.\n"
        "Type the cap to go on (Ctrl-C to leave): "
    )


@pytest.mark.parametrize("words", ["\n", "yes\n", "50\n", "y\n"])
def test_another_word_is_refused(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, words)
    with pytest.raises(RefusedError, match="what was typed must be DEPOSIT_CAP_USDT"):
        confirm(globals_of(), real(tmp_path), None, dry_run=False)


def test_the_end_of_the_input_is_an_aborted_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in REAL.items():
        monkeypatch.setenv(name, value)
    typed(monkeypatch, "")
    assert run(["cycle"]) == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("who", [globals_of(may_ask=False), globals_of(quiet=True)])
def test_where_nobody_may_be_asked_nobody_is(who: Globals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = typed(monkeypatch, "5\n")
    with pytest.raises(RefusedError):
        confirm(who, real(tmp_path), None, dry_run=False)
    assert screen.getvalue() == ""


def test_the_banner_is_shown_without_a_question_when_an_option_or_a_setting_confirms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = real(tmp_path, trader_confirm_real=Decimal("5.00"))
    for settings, given, how in ((real(tmp_path), "5.00", "option"), (setting, None, "setting")):
        screen = typed(monkeypatch, "")
        said = confirm(globals_of(), settings, given, dry_run=False)
        assert said == Confirmed(Decimal("5.0"), how)
        assert screen.getvalue().splitlines() == [
            "REAL MONEY on binance BTC/USDT. At most 5.00 USDT can be deposited.",
            "Keys: not checked yet. Open orders: not checked yet. Kill switch: off.",
        ]


@pytest.mark.parametrize("mode", ["paper", "testnet"])
def test_no_money_needs_no_word(mode: str, tmp_path: Path) -> None:
    settings = Settings(mode=mode, db_path=tmp_path / "x.db")  # type: ignore[arg-type]  # one of the three
    assert confirm(globals_of(), settings, "nonsense", dry_run=False) is None
    assert confirm(globals_of(), real(tmp_path), None, dry_run=True) is None


def test_the_banner_knows_the_kill_switch(tmp_path: Path) -> None:
    assert "Kill switch: on, only sales." in banner(real(tmp_path, trading="reduce"), Checked())
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "STOP").touch()
    assert "Kill switch: on, nothing is traded." in banner(real(tmp_path), Checked())


def test_a_confirmation_is_a_row_of_the_ledger() -> None:
    scene = desk()
    note(scene.desk, None)
    note(scene.desk, Confirmed(Decimal("5.00"), "typed"))
    assert scene.column("SELECT data_json FROM events WHERE kind = 'CONFIRMED'") == ['{"cap":"5","how":"typed"}']
    assert confirming.NOT_CHECKED in banner(Settings(), Checked())
    assert scene.problems() == []
