"""Every fault and shape of a server at each of the three agents: exit code, fallback, rows; no order from any of them.

Whole desks from the real wiring, in this process: whatever waits for a deadline waits for all three agents at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import responses_server as rs
from tests.live.scenes import AGENTS, GOOD, Live, at_each_agent, decisions, live
from tests.responses_server import ResponsesServer, Step

SAFE = {"plan": "OBSERVE", "proposal": "HOLD", "verdict": "REJECT"}
"""What each agent's fallback says."""
LATE = "no answer within 1 s"
SOON = {"retry-after-ms": "1"}
"""Where a test is not about how long one waits."""

Script = Callable[[str], list[Step]]


@dataclass(frozen=True)
class Fault:
    """What one agent's server does, and what must come of it.

    Attributes:
        statuses, basis: of the calls of that agent; all their costs rest on the same, but a last good one's.
        said: words of the cause.
    """

    script: Script
    statuses: tuple[str, ...]
    code: int
    basis: str
    said: str = ""
    mends: bool = False


def always(*steps: Step) -> Script:
    return lambda agent: list(steps)


def then_good(*steps: Step) -> Script:
    return lambda agent: [*steps, GOOD[agent]]


def good(shape: Callable[..., Step], **given: object) -> Script:
    """A shape around the agent's good answer."""
    return lambda agent: [shape(GOOD[agent], **given)]


def thrice(spoil: Callable[[Step], Step]) -> Script:
    return lambda agent: [spoil(GOOD[agent])] * 3


def text(change: Callable[[str], str]) -> Script:
    """The agent's good answer as words, changed."""
    words = {"plan": rs.plan(), "proposal": rs.buy("0.001"), "verdict": rs.approve()}
    return lambda agent: [rs.raw_text(change(json.dumps(words[agent])))]


def first_value(value: str) -> Script:
    """The agent's good answer with another value for its first key."""
    return text(lambda words: words[: words.index(":") + 1] + value + words[words.index(",") :])


def bad_text(script: Script, said: str = "", status: str = "ok", basis: str = "usage") -> Fault:
    return Fault(script, (status,), 0, basis, said)


def out_of_reach(script: Script, basis: str, said: str = "", attempts: int = 3) -> Fault:
    return Fault(script, ("unavailable",) * attempts, 5, basis, said)


def mends(script: Script, *before: str, basis: str = "usage") -> Fault:
    return Fault(script, (*before, "ok"), 0, basis, mends=True)


FAULTS = {
    # What another attempt heals.
    "429, wait 0 s": mends(then_good(rs.rate_limited(0)), "unavailable"),
    "429, wait 20 ms": mends(then_good(rs.rate_limited(retry_after_ms=20)), "unavailable"),
    "429 twice": mends(then_good(*[rs.rate_limited(retry_after_ms=1)] * 2), "unavailable", "unavailable"),
    "500 once": mends(then_good(rs.server_error(500, SOON)), "unavailable"),
    "503 once": mends(then_good(rs.server_error(503, SOON)), "unavailable"),
    "failed once": mends(then_good(rs.failed("server_error")), "unavailable"),
    # What it does not.
    "429, wait an hour": out_of_reach(always(rs.rate_limited(3600)), "not billed", "asks to wait", attempts=1),
    "429 for ever": out_of_reach(always(*[rs.rate_limited(retry_after_ms=1)] * 3), "not billed", "HTTP 429"),
    "500 for ever": out_of_reach(always(*[rs.server_error(500, SOON)] * 3), "not billed", "HTTP 500"),
    "503 for ever": out_of_reach(always(*[rs.server_error(503, SOON)] * 3), "not billed", "HTTP 503"),
    "500, do not retry": out_of_reach(
        always(rs.server_error(500, {"x-should-retry": "false"})), "not billed", "HTTP 500", attempts=1
    ),
    "hangs": out_of_reach(always(*[rs.hang(9)] * 3), "worst case", LATE),
    "dribbles its body": out_of_reach(thrice(lambda step: rs.dribble(step, 9)), "worst case", LATE),
    "dribbles its headers": out_of_reach(thrice(lambda step: rs.dribble_headers(9, step)), "worst case", LATE),
    "hangs up": out_of_reach(always(*[rs.hang_up()] * 3), "worst case", "connection failed"),
    "resets before it answers": out_of_reach(always(*[rs.reset()] * 3), "worst case", "connection failed"),
    "resets in its answer": out_of_reach(thrice(rs.reset_in_answer), "worst case", "connection failed"),
    "cuts its body": out_of_reach(thrice(rs.cut), "worst case", "connection failed"),
    "quota": Fault(always(rs.out_of_quota()), ("quota",), 5, "not billed", "insufficient_quota"),
    "401": Fault(always(rs.wrong_key()), ("denied",), 3, "not billed", "HTTP 401"),
    "403": Fault(always(rs.forbidden()), ("denied",), 3, "not billed", "HTTP 403"),
    "no such model": Fault(always(rs.no_such_model()), ("unknown_model",), 3, "not billed", "does not exist"),
    "400": Fault(always(rs.status(400, "invalid_value")), ("invalid_request",), 3, "not billed", "HTTP 400"),
    # 200, and no response in it.
    "HTML": bad_text(always(rs.other_body(b"<html>hello</html>")), "not JSON", "malformed", "worst case"),
    "no response": bad_text(
        always(rs.other_body(b'{"ok":true}', "application/json")), "no response", "malformed", "worst case"
    ),
    "cut JSON": bad_text(
        always(rs.other_body(b'{"output": [', "application/json")), "not JSON", "malformed", "worst case"
    ),
    "a body without end": bad_text(
        always(rs.other_body(b"[" * 200_000, "application/json")), "not JSON", "malformed", "worst case"
    ),
    "no body": bad_text(always(rs.other_body(b"", "application/json")), "not JSON", "malformed", "worst case"),
    # A response, and no answer in it.
    "refusal": bad_text(always(rs.refusal()), "can't help", "refused"),
    "incomplete, cut text": bad_text(always(rs.incomplete(cut_text='{"mode":"TRA')), "max_output_tokens", "incomplete"),
    "incomplete, no text": bad_text(always(rs.incomplete("content_filter")), "content_filter", "incomplete"),
    "failed for ever": out_of_reach(always(*[rs.failed("server_error")] * 3), "worst case", "server_error"),
    "failed for good": bad_text(always(rs.failed("invalid_prompt")), "invalid_prompt", "failed", "worst case"),
    "empty": bad_text(always(rs.empty()), "no final message", "empty"),
    "two final messages": bad_text(lambda agent: [rs.messages(*['{"a":1}'] * 2)], "2 final messages", "malformed"),
    # An answer that cannot be used.
    "prose": bad_text(text(lambda words: f"Certainly! {words}"), "not JSON"),
    "words after it": bad_text(text(lambda words: words + " I hope this helps."), "not JSON"),
    "half of it": bad_text(text(lambda words: words[: len(words) // 2]), "not JSON"),
    "NaN": bad_text(first_value("NaN"), "NaN"),
    "Infinity": bad_text(first_value("-Infinity"), "-Infinity"),
    "a key twice": bad_text(text(lambda words: words[:-1] + "," + words[1:]), "a key twice"),
    "nested deeply": bad_text(first_value("[" * 64 + "]" * 64), "deep"),
    "nested without end": bad_text(text(lambda words: "[" * 60_000), "nested too deeply"),
    "a lone surrogate": bad_text(first_value('"\\ud800"'), "surrogate"),
    "another key": bad_text(text(lambda words: words[:-1] + ',"leverage":10}'), "wire schema"),
    "a key too few": bad_text(text(lambda words: "{" + words[words.index(",") + 1 :]), "wire schema"),
    "no object": bad_text(text(lambda words: f"[{words}]"), "wire schema"),
    "a call of no tool": bad_text(always(rs.tool_call("place_market_order", {"qty": "1"})), "calls"),
    # Shapes around a good answer.
    "reasoning first": mends(good(rs.reasoning_first)),
    "commentary": mends(good(rs.commentary)),
    "no usage": mends(good(rs.no_usage), basis="worst case"),
    "negative usage": mends(good(rs.said, usage={"input": -5}), basis="worst case"),
    "absurd usage": mends(good(rs.said, usage={"output": 10**15}), basis="worst case"),
    "late": mends(good(rs.slow, secs=0.3)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_at_any_agent_ends_in_its_code_its_rows_and_a_fallback(name: str, tmp_path: Path) -> None:
    fault = FAULTS[name]
    patience = {"MODEL_TIMEOUT_SECS": "1"} if fault.said == LATE else {}

    def act(agent: str) -> None:
        with live(tmp_path / f"{agent}.db", patience) as scene:
            scene.server.script(agent, *fault.script(agent))
            code, came = scene.cycle()
            assert (code, scene.server.unplayed) == (fault.code, {}), scene.warned
            assert_rows(scene, fault, agent)
            decided = decisions(came)[agent]
            if fault.mends:
                assert (decided.source, decided.cause, scene.orders) == ("openai", None, 1)
                return
            assert_fallback(scene, agent)
            assert fault.said in str(decided.cause), decided.cause
            assert bool(scene.warned) == bool(fault.code)

    at_each_agent(act)


def assert_rows(scene: Live, fault: Fault, agent: str) -> None:
    """Each attempt is a row, held back for before it; the others were asked once, and not after a fallback."""
    found = scene.calls(AGENTS[agent])
    assert [(status, attempt) for status, attempt, _ in found] == list(
        zip(fault.statuses, range(1, len(fault.statuses) + 1), strict=True)
    )
    bases = {basis for status, _, basis in found if not (fault.mends and status == "unavailable")}
    assert bases == {fault.basis}, found
    asked = {one: len(scene.server.asked(one)) for one in AGENTS}
    assert asked[agent] == len(fault.statuses)
    before = [one for one in AGENTS if list(AGENTS).index(one) < list(AGENTS).index(agent)]
    assert all(asked[one] == 1 for one in before)
    after = [one for one in AGENTS if one not in (*before, agent)]
    assert all(asked[one] == (1 if fault.mends else 0) for one in after)
    scene.assert_sound()


def assert_fallback(scene: Live, agent: str) -> None:
    """The ledger says who failed and why, the safe answer stands there, and nothing was meant to be sent."""
    found = scene.rows(
        "SELECT agent, coalesce(payload_json ->> 'mode', payload_json ->> 'action', payload_json ->> 'decision'), "
        "cause FROM decisions WHERE source = 'fallback'"
    )
    assert [one[:2] for one in found] == [(AGENTS[agent], SAFE[agent])]
    assert found[0][2]
    assert scene.orders == 0
    assert scene.rows("SELECT count(*) FROM portfolio") == [(1,)], "the cycle went to its end"


def test_a_cycle_without_tools_is_three_requests_and_one_order(tmp_path: Path) -> None:
    with live(tmp_path / "x.db") as scene:
        code, came = scene.cycle()
        assert (code, came.upstream, came.misconfigured, scene.orders) == (0, None, None, 1)
        assert [one.agent for one in scene.server.requests] == list(AGENTS)
        assert scene.calls() == [("ok", 1, "usage")] * 3
        assert {one.body["store"] for one in scene.server.requests} == {False}
        scene.assert_sound()


def test_a_redirect_is_not_followed_and_the_key_stays_where_it_is(tmp_path: Path) -> None:
    def act(agent: str) -> None:
        with ResponsesServer() as elsewhere, live(tmp_path / f"{agent}.db") as scene:
            scene.server.script(agent, rs.redirect(f"{elsewhere.url}/responses"))
            code, came = scene.cycle()
            assert (code, scene.calls(AGENTS[agent])) == (3, [("invalid_request", 1, "not billed")])
            assert elsewhere.url in str(decisions(came)[agent].cause)
            assert elsewhere.requests == []
            assert_fallback(scene, agent)
            scene.assert_sound()

    at_each_agent(act)


def test_a_server_that_is_not_there_costs_nothing_and_is_out_of_reach(tmp_path: Path) -> None:
    with live(tmp_path / "x.db") as scene:
        pass
    code, came = scene.cycle()
    assert (code, came.plan.is_fallback, scene.orders) == (5, True, 0)
    assert scene.calls() == [("unavailable", number, "not billed") for number in (1, 2, 3)]


def test_a_key_that_the_server_does_not_know_ends_with_3_and_is_repeated_nowhere(tmp_path: Path) -> None:
    key = "sk-proj-wrong-0123456789abcdefghijklmn"
    with live(tmp_path / "x.db", {"OPENAI_API_KEY": key}) as scene:
        code, came = scene.cycle()
        assert (code, scene.calls()) == (3, [("denied", 1, "not billed")])
        assert "HTTP 401" in str(came.misconfigured)
        said = json.dumps([scene.warned, scene.rows("SELECT error FROM model_calls"), came.plan.cause])
        assert key not in said
        assert "klmn" not in said and key[:8] not in said, "not even masked"
        assert [problem[:9] for _, problem in scene.server.invalid] == ["Incorrect"]


def test_a_late_answer_of_a_deadline_that_passed_is_never_used(tmp_path: Path) -> None:
    with live(tmp_path / "x.db", {"MODEL_TIMEOUT_SECS": "1"}) as scene:
        scene.server.script("verdict", rs.slow(rs.approve(), 1.5), rs.slow(rs.reject(), 0))
        code, came = scene.cycle()
        assert (code, came.verdict.payload.decision, scene.orders) == (0, "REJECT", 0)
        assert [one[0] for one in scene.calls("JUDGE")] == ["unavailable", "ok"]
        scene.assert_sound()
