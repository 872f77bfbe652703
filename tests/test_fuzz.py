"""Made-up input without end: settings, recordings, models' replies and words on the command line.

Whatever comes in, there is no traceback, no exit 1, no control character on the screen, and the ledger still
proves itself. Short and the same each time in `make test`; long and new each time with `-m soak`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.conftest import Result
from tests.desks import desk
from tests.fakes import HOSTILE, plan_words, proposal_words, verdict_words
from trader_cli.agents import judge, planner, trader
from trader_cli.agents.reading import UnreadableError, parse
from trader_cli.config import NAMES
from trader_cli.core.errors import ExitCode
from trader_cli.main import COMMANDS, run
from trader_cli.phases.cycle import cycle
from trader_cli.schemas.question import Agent

pytestmark = pytest.mark.untraced

DOCUMENTED = set(ExitCode) - {ExitCode.FAILURE}
READ: dict[Agent, Callable[[Any], Any]] = {
    Agent.PLANNER: planner.read,
    Agent.TRADER: trader.read,
    Agent.JUDGE: judge.read,
}
SOAK = 20
"""How many times as many examples a soak takes."""


def bounded(examples: int, soak: bool = False) -> settings:
    """So many examples, the same each time; in a soak many more, each time others."""
    return settings(
        max_examples=examples * SOAK if soak else examples,
        derandomize=not soak,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )


LENGTHS = [
    pytest.param(False, id="short"),
    pytest.param(True, id="long", marks=[pytest.mark.soak, pytest.mark.timeout(1800)]),
]


def said(*words: str, env: dict[str, str] | None = None) -> Result:
    """`trader` in this process, orderly whatever it was given."""
    out, err = io.StringIO(), io.StringIO()
    before = dict(os.environ)
    os.environ.update(env or {})
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(list(words))
    finally:
        os.environ.clear()
        os.environ.update(before)
    result = Result(code, out.getvalue(), err.getvalue())
    assert code in DOCUMENTED, result
    assert "Traceback" not in result.stdout + result.stderr
    assert re.sub(r"[\n\t]", "", result.stdout + result.stderr).isprintable(), result
    return result


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder for one example, which is where we are."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as made:
        os.chdir(made)
        try:
            yield Path(made)
        finally:
            os.chdir(before)


# ---------------------------------------------------------------- what is made up

NASTY = st.sampled_from(
    [
        *("", " ", "0", "-0", "-1", "5,0", "nan", "inf", "1e400", "1_0", "\u0661", "9" * 400, "true", "None", "null"),
        *("\x1b[2J", "\x1b]52;c;QQ==\x07", "\u202e", "[/]", "[red]", "=1+1", "\x00", "\x7f", "\x9b", "'", '"', "$(x)"),
        *(
            "../..",
            "/dev/null/x",
            "paper",
            "real",
            "BTC/USDT",
            "x/x",
            "5m",
            "99999999w",
            "{}",
            "%s",
            "\\",
            "#",
            "\ufeff",
        ),
    ]
)
TEXT = NASTY | st.text(max_size=30) | st.decimals(allow_nan=True, allow_infinity=True).map(str) | st.integers().map(str)
IN_ENVIRONMENT = TEXT.map(lambda text: text.replace("\0", "").encode("utf-8", "replace").decode())
CHECKED = [name for name in NAMES if name not in ("DB_PATH", "MARKET", "CCXT_CONFIG", "LOG_FILE")]
"""Settings that name no file: an example must not read or make what it happens to name."""


@pytest.mark.parametrize("soak", LENGTHS)
def test_whatever_the_environment_says_is_taken_or_refused(soak: bool) -> None:
    @bounded(90, soak)
    @given(env=st.dictionaries(st.sampled_from(CHECKED), IN_ENVIRONMENT, max_size=4))
    def holds(env: dict[str, str]) -> None:
        checked = said("config", "check", env=env)
        assert checked.code in (0, 3)
        shown = said("config", "show", "--json", env=env)
        assert shown.code == checked.code
        if checked.code:
            assert "Fix:" in checked.stderr
        else:
            json.loads(shown.stdout)

    holds()


@pytest.mark.untraced
@pytest.mark.parametrize("soak", LENGTHS)
def test_settings_that_are_taken_trade_or_are_refused_and_the_ledger_proves_itself(soak: bool) -> None:
    @bounded(25, soak)
    @given(
        env=st.fixed_dictionaries(
            {},
            optional={
                "DEPOSIT_CAP_USDT": st.sampled_from(["0.000000000001", "5", "1000000000000"]),
                "CAP_IN_ALL_MODES": st.sampled_from(["true", "false"]),
                "PAPER_BALANCE_USDT": st.sampled_from(["0.000000000000000001", "1", "1000000000000"]),
                "PAPER_FEE_PCT": st.sampled_from(["0", "10", "0.123456789012345678"]),
                "PAPER_SLIPPAGE_BPS": st.sampled_from(["0", "10000", "9999.999999"]),
                "MAX_ORDER_USDT": st.sampled_from(["0.000001", "1000000000000"]),
                "MAX_ORDERS_PER_DAY": st.sampled_from(["0", "1", "100000"]),
                "MAX_DRAWDOWN_PCT": st.sampled_from(["0.01", "100"]),
                "MIN_CONFIDENCE": st.sampled_from(["0", "1", "0.000000000000000001"]),
                "MAX_PRICE_DRIFT_PCT": st.sampled_from(["0", "100"]),
                "COOLDOWN_SECS": st.sampled_from(["0", "604800"]),
                "OHLCV_LIMIT": st.sampled_from(["100", "1000"]),
                "SIMULATED_SEED": st.integers(0, 2**31 - 1).map(str),
                "SYMBOL": st.sampled_from(["ETH/USDT", "A/B", "X" * 20 + "/" + "Y" * 20, "1/2"]),
                "TIMEFRAME": st.sampled_from(["1m", "1d"]),
                "TRADING": st.sampled_from(["run", "reduce", "halt"]),
            },
        )
    )
    def holds(env: dict[str, str]) -> None:
        with folder():
            ended = said("loop", "--cycles", "4", "--speed", "fast", env=env)
            assert ended.code == 0, ended
            assert said("ledger", "verify", env=env).code == 0
            assert said("status", env=env).code == 0

    holds()


@pytest.mark.parametrize("soak", LENGTHS)
def test_whatever_stands_in_a_settings_file_is_taken_or_refused(soak: bool) -> None:
    line = st.builds("{}={}".format, st.sampled_from(CHECKED) | TEXT, TEXT) | TEXT
    content = st.lists(line, max_size=5).map("\n".join).map(lambda text: text.encode("utf-8", "surrogatepass"))

    @bounded(100, soak)
    @given(content=content | st.binary(max_size=60))
    def holds(content: bytes) -> None:
        with folder() as here:
            (here / "x.env").write_bytes(content)
            checked = said("config", "check", "--env-file", "x.env")
            assert checked.code in (0, 3)

    holds()


# ---------------------------------------------------------------- recordings

START = 1_767_225_600_000
NUMBER = st.sampled_from(["100", "101.5", "1e2", "0", "-1", "1e17", "1e99", "1e-40", "0." + "3" * 40, "9" * 18]) | TEXT
STAMP = st.integers(-2, 130).map(lambda n: str(START + n * 300_000)) | st.integers(-9, 10**20).map(str) | TEXT
ROW = st.builds(lambda stamp, numbers: ",".join([stamp, *numbers]), STAMP, st.lists(NUMBER, min_size=4, max_size=6))


@st.composite
def recordings(draw: st.DrawFn) -> bytes:
    """A sound file in which a few rows are others, or a few bytes."""
    lines = ["timestamp_ms,open,high,low,close,volume"]
    lines += [f"{START + n * 300_000},100,102,98,{100 + n % 2},5" for n in range(110)]
    for place, row in draw(st.lists(st.tuples(st.integers(0, 110), ROW), max_size=3)):
        lines[place] = row
    content = bytearray("\n".join(lines).encode("utf-8", "surrogatepass"))
    for place, other in draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.binary(max_size=3)), max_size=3)):
        content[place : place + 1] = other
    return bytes(content)


@pytest.mark.parametrize("soak", LENGTHS)
def test_whatever_stands_in_a_recording_is_traded_or_refused(soak: bool) -> None:
    @bounded(60, soak)
    @given(content=recordings() | st.binary(max_size=200))
    def holds(content: bytes) -> None:
        market = {"MARKET": "x.csv", "OHLCV_LIMIT": "100"}
        with folder() as here:
            (here / "x.csv").write_bytes(content)
            ended = said("loop", "--cycles", "3", "--speed", "fast", env=market)
            assert ended.code in (0, 3), ended
            if ended.code:
                assert ended.stderr.startswith("Error: x.csv"), ended
                assert "Fix:" in ended.stderr
            else:
                assert said("ledger", "verify").code == 0
                assert said("ledger", "show").code == 0

    holds()


# ---------------------------------------------------------------- a model's replies

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
SOUND: dict[Agent, list[str]] = {
    Agent.PLANNER: [plan_words(), plan_words("OBSERVE"), plan_words("TRADE", 30, "breakout", "cash")],
    Agent.TRADER: [proposal_words(), proposal_words("SELL"), proposal_words("HOLD", "0")],
    Agent.JUDGE: [verdict_words(), verdict_words("REJECT"), verdict_words("REVISE", "0.0005")],
}


@st.composite
def replies(draw: st.DrawFn, agent: Agent) -> str:
    """A sound reply, one with a field changed, one with a few characters changed, or none at all."""
    words = draw(st.sampled_from(SOUND[agent]))
    kind = draw(st.integers(0, 6))
    if kind in (0, 5, 6):  # often, so that many a cycle goes on to its order
        return words
    if kind == 1:
        document = json.loads(words)
        return json.dumps(document | {draw(st.sampled_from(sorted(document)) | TEXT): draw(ANYTHING)})
    if kind == 2:
        place = draw(st.integers(0, len(words)))
        return words[:place] + draw(TEXT) + words[place + draw(st.integers(0, 5)) :]
    if kind == 3:
        return draw(st.sampled_from([one.words for one in HOSTILE]))
    return draw(TEXT | ANYTHING.map(json.dumps))


@pytest.mark.parametrize("soak", LENGTHS)
@pytest.mark.parametrize("agent", Agent)
def test_a_reply_is_a_record_that_can_be_kept_or_is_unreadable(agent: Agent, soak: bool) -> None:
    @bounded(150, soak)
    @given(words=replies(agent))
    def holds(words: str) -> None:
        try:
            record = READ[agent](parse(words))
        except UnreadableError as error:
            assert 0 < len(str(error)) <= 220
            return
        json.dumps(record.payload(), allow_nan=False, ensure_ascii=False).encode("utf-8")

    holds()


@pytest.mark.parametrize("soak", LENGTHS)
def test_whatever_three_models_say_a_cycle_ends_and_the_ledger_proves_itself(soak: bool) -> None:
    three = st.tuples(replies(Agent.PLANNER), replies(Agent.TRADER), replies(Agent.JUDGE))

    @bounded(40, soak)
    @given(said_by=st.lists(three, min_size=1, max_size=3))
    def holds(said_by: list[tuple[str, str, str]]) -> None:
        scene = desk()
        for planned, proposed, judged in said_by:
            scene.script(proposed, judged, planned)
            cycle(scene.desk)
            scene.clock.advance(300_000)
        assert scene.problems() == []
        assert all(count == 1 for count in scene.exchange.sends.values())
        assert scene.exchange.held.base >= 0
        spent = sum(intent.qty * scene.exchange.price for intent in scene.exchange.submitted)
        assert spent <= 500 * len(said_by), "the law holds"

    holds()


@pytest.mark.parametrize("soak", LENGTHS)
def test_whatever_models_said_can_be_looked_at(soak: bool) -> None:
    odd = st.text(max_size=100) | NASTY

    @bounded(12, soak)
    @given(hypothesis=odd, notes=odd, violation=odd, raw=replies(Agent.TRADER))
    def holds(hypothesis: str, notes: str, violation: str, raw: str) -> None:
        with folder() as here:
            with desk(here / "x.db") as scene:
                scene.script(
                    proposal_words(hypothesis=hypothesis), verdict_words("REJECT", None, violation, notes=notes)
                )
                scene.model.will_say(Agent.PLANNER, plan_words())
                scene.model.will_say(Agent.TRADER, raw)
                scene.model.will_say(Agent.JUDGE, verdict_words())
                for _ in range(2):
                    cycle(scene.desk)
                    scene.clock.advance(300_000)
            for words in (
                ["ledger", "show"],
                ["ledger", "trace", "last", "--prompts"],
                ["status"],
                ["ledger", "verify"],
            ):
                assert said(*words, "--db", "x.db").code == 0
                json.loads(said(*words, "--json", "--db", "x.db").stdout)

    holds()


# ---------------------------------------------------------------- words on the command line

OPTIONS = (
    *("--json", "-q", "-v", "-vv", "--no-color", "--no-input", "--dry-run", "--help", "-h", "--version", "-V", "--"),
    *("--plan", "--proposal", "--verdict", "--until", "--reason", "--prompts", "-n", "--rows", "--plan=1", "-qv", "-"),
)
PLAIN = TEXT.map(lambda text: text.encode("utf-8", "replace").decode().replace("\0", "").replace("9" * 19, "9"))
"""What a shell can hand over. `-n` with more digits than SQLite counts is a bug known to test_hostile."""
ARGUMENT = st.sampled_from(OPTIONS) | PLAIN | st.sampled_from(["last", "1", "2", "0", "today", "24h"])
VERBS = tuple(
    "backtest --bars 30" if entry.words == "backtest" else entry.words
    for entry in COMMANDS
    if entry.words not in ("init", "loop", "serve")
)


@pytest.mark.untraced
@pytest.mark.parametrize("soak", LENGTHS)
def test_whatever_words_are_typed_are_done_or_refused(soak: bool, tmp_path: Path) -> None:
    base = tmp_path / "base.db"
    assert run(["loop", "-q", "--cycles", "3", "--speed", "fast", "--db", str(base)]) == 0

    @bounded(90, soak)
    @given(verb=st.sampled_from(VERBS), words=st.lists(ARGUMENT, max_size=4))
    def holds(verb: str, words: list[str]) -> None:
        assume(not any(re.match(r"-n\d{19}|--(db|env)", word) for word in words))
        with folder() as here:
            (here / "data").mkdir()
            shutil.copy(base, here / "data" / "agent.db")
            said(*verb.split(), *words)
            assert said("ledger", "verify", "-q").code == 0
            assert {path.name for path in here.iterdir()} == {"data"}

    holds()


@pytest.mark.parametrize("soak", LENGTHS)
def test_whatever_words_are_typed_for_a_command_are_a_usage_error(soak: bool) -> None:
    known = {word for entry in COMMANDS for word in entry.words.split()}

    @bounded(80, soak)
    @given(words=st.lists(PLAIN, min_size=1, max_size=3))
    def holds(words: list[str]) -> None:
        assume(not words[0].startswith("-") and words[0] not in known)
        with folder() as here:
            assert said(*words).code == 2
            assert list(here.iterdir()) == []

    holds()
