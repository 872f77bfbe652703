"""`ledger trace`: the story of one cycle on a screen and in a pipe, as a document, and as files."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests.desks import desk
from tests.fakes import plan_words
from tests.ledgers import one, reading, rows
from tests.test_hostile import EVIL, Say, refused, run_limited, say
from trader_cli.core.moments import iso, parse_iso
from trader_cli.phases.cycle import cycle
from trader_cli.schemas.question import Agent
from trader_cli.tools import queries

__all__ = ["say"]

TRADED = "SELECT trace_id FROM trades ORDER BY id LIMIT 1"
FELL_BACK = (
    "SELECT trace_id, cause FROM decisions WHERE source = 'fallback' AND agent = 'TRADER' AND cause <> 'x' LIMIT 1"
)


def story(say: Say, trace_id: str, *words: str) -> list[str]:
    """The lines of a trace's screen."""
    said = say("ledger", "trace", trace_id, *words)
    assert said.code == 0, said
    return said.stdout.splitlines()


def names(folder: str) -> list[str]:
    """What a folder holds."""
    return sorted(path.name for path in Path(folder).iterdir())


def test_a_trace_tells_the_whole_story_in_its_order(ledger: Path, say: Say) -> None:
    (trace_id,) = one(ledger, TRADED)
    lines = story(say, trace_id, "--prompts")
    begins = (
        *(f"{trace_id[:8]}  cycle of ", "saw #", "#", "order #", "  key       t1-", "trade #", "snapshot #"),
        *("chain ", "PLANNER rules was told {", "and said {", "prompt "),
    )
    places = [next(n for n, line in enumerate(lines) if line.startswith(begin)) for begin in begins]
    assert places == sorted(places)
    assert [line.split()[1] for line in lines if line.startswith("#")] == ["PLANNER", "TRADER", "JUDGE"]
    assert "mode paper  5 steps, " in lines[0]
    assert lines[0].endswith(" s, $0")
    assert sum("23 of 23 rules passed" in line for line in lines) == 2, "once for the verdict, once before it was sent"
    assert not any(line.startswith("  NO  ") for line in lines)


def test_each_decision_names_its_model_its_latency_and_its_prompt(ledger: Path, say: Say) -> None:
    (trace_id,) = one(ledger, TRADED)
    prompts = rows(ledger, "SELECT substr(prompt_sha256, 1, 8) FROM decisions WHERE trace_id = ? ORDER BY id", trace_id)
    heads = [line for line in story(say, trace_id) if line.startswith("#")]
    for head, who, (prompt,) in zip(heads, ("rules", "rules", "law+rules"), prompts, strict=True):
        assert head.split()[2:5] == [who, "0.0", "s"]
        assert head.endswith(f"in sha256:{prompt}")


def test_a_fallback_stands_out_from_a_decided_hold(ledger: Path, say: Say) -> None:
    fallback, cause = one(ledger, FELL_BACK)
    lines = story(say, fallback)
    head = next(n for n, line in enumerate(lines) if " TRADER " in line)
    assert "FALLBACK" in lines[head]
    assert "HOLD" in lines[head]
    assert "which nobody decided" in lines[head]
    assert lines[head + 1] == f"  because   {cause}"
    assert lines[head + 2].startswith("  asked     rules, attempt 1: ok after ")
    (held,) = one(ledger, "SELECT trace_id FROM decisions WHERE payload_json LIKE '%it is time to hold%' LIMIT 1")
    assert "FALLBACK" not in "\n".join(story(say, held))
    assert any(line == "  why       it is time to hold" for line in story(say, held))


def test_what_the_law_did_not_let_pass_is_named_with_its_limit(ledger: Path, say: Say) -> None:
    judged = "SELECT trace_id, law_json FROM decisions WHERE agent = 'JUDGE' AND law_json LIKE '%\"ok\":false%' LIMIT 1"
    trace_id, law = one(ledger, judged)
    broken = [rule for rule in json.loads(law)["rules"] if not rule["ok"]]
    shown = [line for line in story(say, trace_id) if line.startswith("  NO  ")]
    assert [line.split()[1] for line in shown] == [rule["name"] for rule in broken]
    assert all(f"(limit: {rule['limit']})" in line for rule, line in zip(broken, shown, strict=True))


def test_the_document_holds_every_row_and_what_they_come_to(ledger: Path, say: Say) -> None:
    (trace_id,) = one(ledger, TRADED)
    whole = json.loads(say("ledger", "trace", trace_id[:9], "--json").stdout)
    assert (whole["trace_id"], whole["mode"], whole["steps"], whole["cost_usd"]) == (trace_id, "paper", 5, "0")
    assert "prompts" not in whole
    with reading(ledger) as opened:
        tables = queries.trace(opened, trace_id)
    assert {name: whole[name] for name in tables} == json.loads(json.dumps(tables))
    assert len({row["terms_sha256"] for row in whole["decisions"]}) == 1


def test_a_trace_as_files_is_the_document_each_call_and_the_candles_seen(ledger: Path, say: Say) -> None:
    (trace_id,) = one(ledger, TRADED)
    said = say("ledger", "trace", trace_id, "--out", "seen/it")
    folder = Path("seen/it")
    assert {Path(line) for line in said.stdout.splitlines()} == set(folder.iterdir())
    assert {path.name for path in folder.iterdir()} == {
        *("trace.json", "candles.csv"),
        *(f"{n}.{part}" for n in ("1-planner", "2-trader", "3-judge") for part in PARTS),
    }
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    whole = json.loads((folder / "trace.json").read_text())
    assert whole == json.loads(say("ledger", "trace", trace_id, "--prompts", "--json").stdout)
    call = whole["model_calls"][1]
    assert (folder / "2-trader.reply.txt").read_text() == call["reply"]
    assert json.loads((folder / "2-trader.facts.json").read_text()) == call["facts"]
    assert (folder / "2-trader.prompt.txt").read_text() in [prompt["prompt"] for prompt in whole["prompts"]]


PARTS = ("prompt.txt", "schema.json", "facts.json", "reply.txt")


def test_the_candles_of_a_trace_are_written_whole_in_the_form_of_a_market(ledger: Path, say: Say) -> None:
    (trace_id,) = one(ledger, TRADED)
    assert say("ledger", "trace", trace_id, "--out", "seen").code == 0
    read = say("config", "check", MARKET="seen/candles.csv", OHLCV_LIMIT="100")
    refused(read, 3, "had 100 bars, needs more than the 100 of OHLCV_LIMIT")
    seen = json.loads(Path("seen/trace.json").read_text())["observations"][0]
    bars = [line.split(",") for line in Path("seen/candles.csv").read_text().splitlines()[1:]]
    assert (len(bars), iso(int(bars[0][0])), int(bars[-1][0])) == (
        seen["bars"],
        seen["first_at"],
        parse_iso(seen["last_at"]),
    )
    assert bars[-1][4] == seen["price"]


def test_a_folder_that_holds_something_needs_force_and_keeps_what_it_holds(ledger: Path, say: Say) -> None:
    Path("seen").mkdir()
    Path("seen/mine").write_text("mine")
    Path("seen/trace.json").write_text("old")
    refused(
        say("ledger", "trace", "last", "--out", "seen"), 2, '--out needs an empty folder, and "seen" is not', "--force"
    )
    assert names("seen") == ["mine", "trace.json"]
    assert say("ledger", "trace", "last", "--out", "seen", "--force").code == 0
    assert Path("seen/mine").read_text() == "mine"
    assert json.loads(Path("seen/trace.json").read_text())["schema"] == "trader.trace/1"
    assert not [name for name in names("seen") if name.startswith(".")]


@pytest.mark.parametrize("name", ["x.txt", "x.txt/seen", "\0", "\ud800", "x" * 300, "/proc/seen"])
def test_a_folder_that_cannot_be_is_refused(name: str, ledger: Path, say: Say) -> None:
    Path("x.txt").write_text("a file")
    refused(say("ledger", "trace", "last", "--out", name), 2)
    refused(say("ledger", "trace", "last", "--force"), 2, "--force goes with --out", "--out DIR")


def test_a_disk_that_is_full_ends_with_6_and_leaves_no_half_file(
    ledger: Path, clean_env: dict[str, str], tmp_path: Path
) -> None:
    (trace_id,) = one(ledger, TRADED)
    said = run_limited(
        clean_env, tmp_path, 33_000, "ledger", "trace", trace_id, "--out", "seen"
    )  # SQLite's own needs 32 KiB
    refused(said, 6, 'cannot write "seen/trace.json": File too large', "Free or unlock the disk")
    assert list((tmp_path / "seen").iterdir()) == []


def test_what_a_model_said_is_raw_in_files_and_clean_on_the_screen(say: Say, tmp_path: Path) -> None:
    with desk(tmp_path / "x.db") as scene:
        scene.model.will_say(Agent.PLANNER, plan_words())
        scene.model.will_say(Agent.TRADER, EVIL)
        cycle(scene.desk)
    assert say("ledger", "trace", "last", "--prompts", "--db", "x.db").code == 0  # `say` looks for what is not clean
    assert say("ledger", "trace", "last", "--out", "seen", "--db", "x.db").code == 0
    assert Path("seen/2-trader.reply.txt").read_bytes().decode() == EVIL
    assert Path("seen/trace.json").read_text().isascii()


def test_the_story_fits_a_terminal_of_80_columns(ledger: Path, say: Say) -> None:
    (trace_id,) = one(ledger, TRADED)
    assert max(map(len, story(say, trace_id))) <= 80
