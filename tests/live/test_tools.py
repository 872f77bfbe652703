"""The trader's tools over the network: good rounds come back and are kept, anything else ends in a recorded HOLD."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import responses_server as rs
from tests.live.scenes import GOOD, Live, live
from tests.responses_server import Step
from trader_cli.phases.replay import replay
from trader_cli.tools.clock import wall_now
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.rehearsal import rehearse
from trader_cli.tools.replays import steps_of

HOURS = rs.tool_call("get_ohlcv", {"timeframe": "1h", "limit": 3})
FEATURES = rs.tool_call("compute_indicators", {"timeframe": "15m"})


def tool_rows(scene: Live) -> list[list[dict[str, str]]]:
    """What the trader's model called, reply by reply."""
    return [
        json.loads(text or "[]") for (text,) in scene.rows("SELECT tools_json FROM model_calls WHERE agent = 'TRADER'")
    ]


def test_what_a_tool_gave_goes_back_to_the_model_and_into_the_ledger(tmp_path: Path) -> None:
    with live(tmp_path / "x.db") as scene:
        scene.server.script("proposal", HOURS, FEATURES, GOOD["proposal"])
        code, came = scene.cycle()
        assert (code, came.proposal.source, scene.orders) == (0, "openai", 1)
        (hours,), (features,), none = tool_rows(scene)
        assert (hours["name"], features["name"], none) == ("get_ohlcv", "compute_indicators", [])
        assert len(json.loads(hours["output"])["rows"]) == 3
        third = scene.server.asked("proposal")[2].body
        given = [item["output"] for item in third["input"] if item.get("type") == "function_call_output"]
        assert given == [hours["output"], features["output"]]
        assert [one.body["tool_choice"] for one in scene.server.asked("proposal")] == ["auto", "auto", "none"]
        scene.assert_sound()


def test_several_good_calls_at_once_each_get_their_own_answer(tmp_path: Path) -> None:
    with live(tmp_path / "x.db") as scene:
        several = [("get_ohlcv", {"timeframe": "1h", "limit": number}) for number in (1, 2, 3)]
        scene.server.script("proposal", rs.tool_calls(*several, call_ids=("c1", "c2", "c3")), GOOD["proposal"])
        code, came = scene.cycle()
        assert (code, came.proposal.source, scene.orders) == (0, "openai", 1)
        second = scene.server.asked("proposal")[1].body["input"]
        given = {item["call_id"]: item["output"] for item in second if item.get("type") == "function_call_output"}
        assert {key: len(json.loads(output)["rows"]) for key, output in given.items()} == {"c1": 1, "c2": 2, "c3": 3}
        assert {one["call_id"]: one["output"] for one in tool_rows(scene)[0]} == given
        scene.assert_sound()


def test_a_replay_of_tool_rounds_asks_nothing_and_comes_to_the_same(tmp_path: Path) -> None:
    with live(tmp_path / "x.db") as scene:
        scene.server.script("proposal", HOURS, GOOD["proposal"])
        _, came = scene.cycle()
        asked = len(scene.server.requests)
    ledger = Ledger.open_reader(scene.db, wall_now)
    try:
        steps = steps_of(ledger, came.trace_id)
        for again in replay(ledger, steps, lambda link: rehearse(scene.db, wall_now, link)):
            assert again.differences == ()
            assert again.answers == {"plan": 1, "propose": 2, "judge": 1}.get(again.step, 0)
    finally:
        ledger.close()
    assert len(scene.server.requests) == asked


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([HOURS, HOURS, HOURS], "where no tool is left to call"),
        ([rs.tool_call("place_market_order", {"qty": "1"})], "place_market_order"),
        ([rs.tool_call("get_ohlcv", {"timeframe": "1h", "limit": 100_000})], "limit"),
        ([rs.tool_call("get_ohlcv", {"timeframe": "1h"})], "limit"),
        ([rs.tool_call("compute_indicators", {"timeframe": "1h", "symbol": "ETH/USDT"})], "symbol"),
        ([rs.tool_call("get_ohlcv", "{timeframe: 1h}")], "not JSON"),
        ([rs.tool_call("get_ohlcv", '{"timeframe":"1h","limit":3,"limit":99}')], "twice"),
        ([rs.tool_calls(*[("compute_indicators", {"timeframe": "1h"})] * 5)], "5 tool calls at once"),
        ([rs.tool_calls(*[("compute_indicators", {"timeframe": "1h"})] * 2, call_ids=("call_1", "call_1"))], "at once"),
        ([HOURS, rs.raw_text("Let me think.")], "not JSON"),
        ([HOURS, rs.refusal()], "refused"),
    ],
)
def test_a_call_that_is_not_exactly_right_ends_in_a_recorded_hold(steps: list[Step], said: str, tmp_path: Path) -> None:
    with live(tmp_path / "x.db") as scene:
        scene.server.script("proposal", *steps)
        code, came = scene.cycle()
        assert (code, scene.orders, scene.server.unplayed) == (0, 0, {})
        assert (came.proposal.source, came.proposal.payload.action) == ("fallback", "HOLD")
        assert said in str(came.proposal.cause)
        scene.assert_sound()


def test_a_timeframe_that_the_window_cannot_give_is_an_answer_and_no_fault(tmp_path: Path) -> None:
    with live(tmp_path / "x.db") as scene:
        scene.server.script("proposal", rs.tool_call("get_ohlcv", {"timeframe": "1m", "limit": 3}), GOOD["proposal"])
        _, came = scene.cycle()
        assert came.proposal.source == "openai"
        assert "error" in json.loads(tool_rows(scene)[0][0]["output"])
        scene.assert_sound()


def test_without_rounds_no_tool_is_offered(tmp_path: Path) -> None:
    with live(tmp_path / "x.db", {"TRADER_TOOL_ROUNDS": "0"}) as scene:
        scene.cycle()
        assert [sorted({"tools", "tool_choice"} & one.body.keys()) for one in scene.server.asked()] == [[], [], []]
        scene.assert_sound()


def test_a_round_that_fails_once_is_tried_again_and_keeps_its_place(tmp_path: Path) -> None:
    with live(tmp_path / "x.db") as scene:
        scene.server.script(
            "proposal", HOURS, rs.server_error(503, {"retry-after-ms": "1"}), FEATURES, GOOD["proposal"]
        )
        scene.cycle()
        assert scene.rows("SELECT round, attempt, status FROM model_calls WHERE agent = 'TRADER' ORDER BY id") == [
            (0, 1, "ok"),
            (1, 1, "unavailable"),
            (1, 2, "ok"),
            (2, 1, "ok"),
        ]
        scene.assert_sound()
