"""Canaries: secrets planted in every setting that takes one come out nowhere: no stream, no ledger, no export.

Whole `trader` processes, whose every byte is looked through for each canary in each notation.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.conftest import Result, Trader
from tests.desks import Scene, desk
from tests.fakes import breaks, plan_words, proposal_words, refuses, verdict_words
from tests.test_main import probe
from tests.views.test_output import Terminal, terminal
from trader_cli.config import SECRETS, settings_from
from trader_cli.core.errors import ExitCode
from trader_cli.core.redaction import forget_secrets, redact
from trader_cli.main import run
from trader_cli.phases.cycle import cycle
from trader_cli.schemas.order import Absent
from trader_cli.schemas.question import Agent, Answer
from trader_cli.views.output import Column, Output

Capture = pytest.CaptureFixture[str]

CANARIES = {
    "OPENAI_API_KEY": "sk-canary-0penaiKey_0123456789-k3Qz",
    "EXCHANGE_API_KEY": "canaryExchangeKey0123",
    "EXCHANGE_API_SECRET": 'canary"Exchange\\Secret/é+0123',
    "CCXT_CONFIG": '{"httpsProxy": "http://user:canaryProxyPassword0123@proxy.example:3128"}',
    "WEBHOOK_URL": "http://127.0.0.1:9/services/T0/canaryWebhookToken0123",
    "NOTIFY_URLS": "json://127.0.0.1:9/canaryTelegram-01/42,json://me:canarySlackToken-A01@127.0.0.1:9/canarySlackToken-B02",
}
KEY, SECRET = CANARIES["OPENAI_API_KEY"], CANARIES["EXCHANGE_API_SECRET"]


def _traces() -> dict[str, bytes]:
    """What a leak looks like, by name: each canary, and the tokens in the addresses, in every notation."""
    telltale = ["canaryWebhookToken0123", "canaryTelegram-01", "canarySlackToken-A01", "canarySlackToken-B02"]
    found = {}
    for value in [*CANARIES.values(), *telltale]:
        in_json = json.dumps(value)[1:-1]
        in_csv = [form.replace('"', '""') for form in (value, in_json)]
        for form in (value, in_json, *in_csv, repr(value)[1:-1], quote(value, safe=""), ascii(value)[1:-1]):
            found[form] = form.encode()
    return found


TRACES = _traces()


def leaks(said: bytes) -> list[str]:
    """The canaries in some bytes."""
    return [form for form, octets in TRACES.items() if octets in said]


def silent(done: Result, *codes: int) -> Result:
    """The process ended as it should, and said no secret."""
    assert not leaks((done.stdout + done.stderr).encode()), leaks((done.stdout + done.stderr).encode())
    assert done.code in (codes or (0,)), redact(str(done))
    return done


def clean_folder(folder: Path) -> None:
    """No file but a settings file holds a canary."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".env")]
    assert files
    for path in files:
        assert not leaks(path.read_bytes()), f"{path.name}: {leaks(path.read_bytes())}"


def env_text(values: Mapping[str, str]) -> str:
    """Settings as a .env file holds them."""
    return "".join(f"{name}='{value.replace(chr(92), chr(92) * 2)}'\n" for name, value in values.items())


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """No secret of another test is kept, and none of this one stays."""
    forget_secrets()
    yield
    forget_secrets()


@pytest.fixture
def kept() -> None:
    """The canaries as a process keeps them that has read its settings."""
    settings_from("", "", CANARIES)


def test_every_secret_setting_has_a_canary() -> None:
    assert set(CANARIES) == SECRETS


def test_a_settings_file_that_is_read_gives_the_secrets_as_they_were_written(tmp_path: Path) -> None:
    assert settings_from(env_text(CANARIES), ".env", {}).settings.exchange_api_secret is not None
    assert redact(f"<{SECRET}>") == "<[EXCHANGE_API_SECRET]>"


# ---------------------------------------------------------------- settings, good and bad


@pytest.mark.parametrize(
    "words",
    [
        ("config", "show"),
        ("config", "show", "--json", "-vv"),
        ("config", "check", "-vv"),
    ],
)
@pytest.mark.parametrize("where", ["env", ".env"])
def test_commands_that_read_settings_say_no_secret(
    words: tuple[str, ...], where: str, trader: Trader, tmp_path: Path
) -> None:
    if where == "env":
        silent(trader(*words, env=CANARIES))
    else:
        (tmp_path / "x.env").write_text(env_text(CANARIES), encoding="utf-8")
        silent(trader(*words, "--env-file", "x.env"))


def test_a_run_leaves_no_secret_in_its_ledger_its_files_or_its_words(trader: Trader, tmp_path: Path) -> None:
    silent(trader("loop", "--cycles", "12", "--speed", "fast", "-vv", env=CANARIES))
    silent(trader("cycle", "--json", env=CANARIES))
    for what in ("decisions", "model_calls", "events"):
        silent(trader("ledger", "export", what, "-o", f"{what}.jsonl", env=CANARIES))
    silent(trader("ledger", "trace", "last", "--json", env=CANARIES))
    silent(trader("ledger", "verify", env=CANARIES))
    clean_folder(tmp_path)


BAD: dict[str, dict[str, str]] = {
    "another setting is wrong": {"MODE": "papr"},
    "a key has blanks around it": {"OPENAI_API_KEY": f" {KEY} "},
    "a secret has a line end in it": {"EXCHANGE_API_SECRET": f"{SECRET}\n"},
    "a key is not of that host": {"OPENAI_API_KEY": SECRET},
    "an address is none": {"WEBHOOK_URL": f"ftp:{KEY}"},
    "a key stands in the place of a number": {"DEPOSIT_CAP_USDT": CANARIES["EXCHANGE_API_KEY"]},
    "a key stands in the place of a name": {"SYMBOL": SECRET, "MODE": KEY, "TIMEFRAME": f"the {SECRET}"},
    "a key stands in the place of a path": {"DB_PATH": f"/dev/null/{CANARIES['EXCHANGE_API_KEY']}/x.db"},
    "a key stands in the place of a market": {"MARKET": f"{CANARIES['EXCHANGE_API_KEY']}.csv"},
    "an address holds a key": {"OPENAI_BASE_URL": f"https://{CANARIES['EXCHANGE_API_KEY']}@example.com"},
}


@pytest.mark.parametrize("wrong", BAD.values(), ids=BAD.keys())
def test_wrong_settings_are_named_without_a_secret(
    wrong: Mapping[str, str], trader: Trader, tmp_path: Path, capsys: Capture
) -> None:
    given = {**CANARIES, **wrong}
    said = silent(trader("cycle", "-vv", env=given), *set(ExitCode) - {ExitCode.OK, ExitCode.FAILURE})
    assert said.stderr
    (tmp_path / "x.env").write_text(env_text({k: v.strip("\n") for k, v in given.items()}), encoding="utf-8")
    forget_secrets()  # as a new process
    code = run(["config", "check", "--json", "-vv", "--env-file", "x.env"])
    silent(Result(code, *capsys.readouterr()), *set(ExitCode) - {ExitCode.FAILURE})


@pytest.mark.parametrize(
    "line", [f"OPENAI_API_KEY {KEY}", KEY, f"{KEY}=1", f"OPENAI_KEY={KEY}", f"export {KEY}", f"OPENAI_API_KEY='{KEY}"]
)
def test_a_broken_line_of_a_settings_file_is_named_without_its_secret(
    line: str, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "x.env").write_text(f"{line}\n", encoding="utf-8")
    code = run(["cycle", "-vv", "--env-file", "x.env"])
    silent(Result(code, *capsys.readouterr()), ExitCode.CONFIG)


# ---------------------------------------------------------------- crashes and libraries


@pytest.mark.parametrize("words", [("-vv",), ("--json",)])
def test_a_crash_shows_its_traceback_without_a_secret(words: tuple[str, ...], trader: Trader) -> None:
    """A failpoint that there is not is a bug of whoever set it, and its name is repeated."""
    said = silent(trader("cycle", *words, env={**CANARIES, "TRADER_FAILPOINT": SECRET}), ExitCode.FAILURE)
    assert "[EXCHANGE_API_SECRET]" in said.stderr
    assert ("Traceback" in said.stderr) == ("-vv" in words)


@pytest.mark.parametrize(
    "body",
    [
        "raise RuntimeError(os.environ)",
        "raise KeyError(os.environ['EXCHANGE_API_SECRET'])",
        "raise ValueError({'headers': {'Authorization': 'Bearer ' + os.environ['OPENAI_API_KEY']}})",
        "raise RuntimeError('outer') from ValueError(os.environ['WEBHOOK_URL'])",
        "from trader_cli.config import Settings; Settings(mode=os.environ['OPENAI_API_KEY'], symbol=1)",
        "from pydantic import BaseModel; type('M', (BaseModel,), {'__annotations__': {'n': int}})"
        "(n=os.environ['EXCHANGE_API_KEY'])",
    ],
)
def test_an_unforeseen_exception_that_holds_a_secret_does_not_show_it(body: str, clean_env: dict[str, str]) -> None:
    code, stderr = probe(f"g.settings(); {body}", {**clean_env, **CANARIES}, "-vv")
    assert code == ExitCode.FAILURE
    assert "Traceback" in stderr
    assert "Bug: " in stderr
    assert not leaks(stderr.encode())


@pytest.mark.parametrize(
    "body",
    [
        "import warnings; warnings.warn('wrong: ' + os.environ['EXCHANGE_API_SECRET'])",
        "import logging; logging.getLogger('httpx').error('POST %s', os.environ['WEBHOOK_URL'])",
        "import logging; logging.basicConfig(level=0); logging.info(os.environ)",
        "import threading; t = threading.Thread(target=int, args=(os.environ['EXCHANGE_API_KEY'],)); t.start(); "
        "t.join()",
        "print(dict(os.environ), file=sys.stderr)",
        "sys.stderr.writelines([os.environ['NOTIFY_URLS']])",
        "sys.excepthook(ValueError, ValueError(os.environ['OPENAI_API_KEY']), None)",
        "type('X', (), {'__del__': lambda self: int(os.environ['EXCHANGE_API_KEY'])})()",
    ],
)
def test_what_a_library_writes_on_stderr_holds_no_secret(body: str, clean_env: dict[str, str]) -> None:
    code, stderr = probe(f"g.settings(); {body}", {**clean_env, **CANARIES})
    assert (code, leaks(stderr.encode())) == (0, [])
    assert any(f"[{name}]" in stderr for name in CANARIES)


@pytest.mark.usefixtures("capsys")
def test_stderr_is_itself_again_after_a_run() -> None:
    before = sys.stderr
    run(["ledger", "path"])
    assert sys.stderr is before


# ---------------------------------------------------------------- the ledger

Say = Callable[[Scene], None]


def _says(agent: Agent, *replies: str | Answer) -> Say:
    def prepare(scene: Scene) -> None:
        words: dict[Agent, tuple[str | Answer, ...]] = {
            Agent.PLANNER: (plan_words(),), Agent.TRADER: (proposal_words(),), Agent.JUDGE: (verdict_words(),)
        }  # fmt: skip
        for one, usual in words.items():
            scene.model.will_say(one, *(replies if one is agent else usual))

    return prepare


def _failed(status: str) -> Answer:
    return Answer("scripted", status, None, error=f"401 Incorrect API key {KEY}, {SECRET}", request_id=f"req {SECRET}")


def _message(scene: Scene) -> None:
    scene.script()
    scene.exchange.manners = [refuses("-2015", f"invalid key {SECRET} {KEY}")]


def _broken_line(scene: Scene) -> None:
    scene.script()
    scene.exchange.manners = [breaks(ConnectionError(f"POST {CANARIES['WEBHOOK_URL']} {SECRET}"))]
    scene.exchange.found = lambda intent: Absent(final=True, evidence=f"asked with {SECRET}")


def _stopped(scene: Scene) -> None:
    scene.stop.halt(f"the key {SECRET} is out")


STRANGERS: dict[str, Say] = {
    "a hypothesis": _says(Agent.TRADER, proposal_words(hypothesis=f"key {KEY} and {SECRET}")),
    "notes": _says(Agent.JUDGE, verdict_words("REJECT", None, f"uses {SECRET}", notes=f"key {KEY}")),
    "a reply that is not JSON": _says(Agent.PLANNER, f"my key is {KEY} {SECRET}"),
    "a reply that breaks the schema": _says(Agent.TRADER, proposal_words(action=SECRET, policy_id=KEY)),
    "a reply with an unknown key": _says(Agent.TRADER, proposal_words(**{KEY: SECRET})),
    "a model that failed": _says(Agent.PLANNER, _failed("failed")),
    "a model that is away": _says(Agent.TRADER, _failed("unavailable")),
    "an exchange's refusal": _message,
    "a line that broke": _broken_line,
    "a stop sign": _stopped,
}


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("prepare", STRANGERS.values(), ids=STRANGERS)
def test_what_strangers_say_enters_the_ledger_without_a_secret(prepare: Say, tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with desk(path) as scene:
        prepare(scene)
        cycle(scene.desk)
        assert scene.rows("decisions")
        scene.script()
        scene.clock.advance(300_000)
        cycle(scene.desk)
        assert scene.problems() == []
        assert Path(f"{path}-wal").exists()
        clean_folder(tmp_path)  # the journal too
    clean_folder(tmp_path)


def _old_ledger(path: Path) -> None:
    """A ledger of a time, or of settings, in which the canaries were no secrets yet."""
    with desk(path) as scene:
        scene.script(proposal_words(hypothesis=SECRET[:60] + " was said"), verdict_words("REJECT", notes=SECRET))
        cycle(scene.desk)
        assert leaks(path.read_bytes() + Path(f"{path}-wal").read_bytes())


@pytest.mark.parametrize(
    "words",
    [
        ("ledger", "show", "--json"),
        ("ledger", "trace", "last", "-vv"),
        ("ledger", "trace", "last", "--json"),
        ("ledger", "tail"),
        ("ledger", "tail", "--json"),
        ("ledger", "query", "select reply, 1 as n from model_calls"),
        ("ledger", "query", "select reply from model_calls", "--json"),
        ("ledger", "export", "model_calls"),
        ("ledger", "export", "model_calls", "--format", "json"),
        ("ledger", "export", "decisions", "--format", "jsonl"),
    ],
)
def test_a_ledger_that_holds_a_secret_is_shown_without_it(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    path = tmp_path / "x.db"
    _old_ledger(path)
    for name, value in CANARIES.items():
        monkeypatch.setenv(name, value)
    code = run([*words, "--db", str(path)])
    said = silent(Result(code, *capsys.readouterr()))
    if "show" not in words:
        assert "[EXCHANGE_API_SECRET]" in said.stdout


# ---------------------------------------------------------------- a terminal, where texts are cut and folded


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("columns", [20, 40, 61, 80, 200])
def test_no_part_of_a_secret_is_left_by_a_narrow_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    row = {"why": f"{'x' * 30}{SECRET}", "n": KEY, "brief": CANARIES["EXCHANGE_API_KEY"]}
    shapes = (
        [Column("why"), Column("n", number=True), Column("brief", brief=lambda value: value[:15])],
        [Column("why", fills=True), Column("n", number=True)],
    )
    for shape in shapes:
        for whole in (False, True):
            with terminal() as screen:
                Output().table(shape, [row], whole=whole)
                Output().lines(row["why"])
            shown = "".join(screen.getvalue().split())
            assert "canary" not in shown, shown
            assert "[EXCHANGE_API_S" in shown


@pytest.mark.usefixtures("kept")
def test_what_is_waited_for_is_said_without_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    said = Terminal()
    with terminal(), redirect_stderr(said):
        Output().passing(f"asking {SECRET}")
    assert said.getvalue().startswith("asking [EXCHANGE_AP")


@pytest.mark.usefixtures("kept")
def test_a_word_from_a_signal_handler_holds_no_secret(capfd: pytest.CaptureFixture[str]) -> None:
    Output().interject(f"ends: {SECRET}")
    assert capfd.readouterr().err == "ends: [EXCHANGE_API_SECRET]\n"
