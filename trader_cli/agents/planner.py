"""The planner: which policies to try, how boldly, and when to look again."""

from __future__ import annotations

from typing import Any

from trader_cli.agents.prompts import PRELUDE, account_facts, market_facts, position_facts, short
from trader_cli.agents.reading import UnreadableError, check
from trader_cli.core.posteriors import p_positive
from trader_cli.core.regimes import regime
from trader_cli.core.wakeups import secs_to_look
from trader_cli.schemas.planner import SCHEMA, WIRE, Plan, Strategy
from trader_cli.schemas.policy import CATALOGUE
from trader_cli.schemas.question import Agent, Question
from trader_cli.schemas.situation import Situation

PROMPT = (
    PRELUDE
    + "You are the Planner. Goal: maximize long-term equity with tiny experiments.\n"
    + "From the posterior of each policy's mean net return per trade in this regime (basis points after fees and model "
    + "cost; n outcomes behind it, 0 means a prior), the regime features and the open "
    + "position choose: mode (OBSERVE when the facts are thin or costs exceed any edge, else TRADE), explore_ratio, "
    + "next_wakeup_secs (a new candle closes in secs_to_next_close), and one to three strategies with parameters "
    + "within their bounds. Keep the policy that owns the open position, or include cash to leave it.\n"
    + "The policies there are, with the default of each parameter:\n"
    + "".join(
        f"{spec.policy_id}: {spec.summary}" + "".join(f"; {p.name} {p.default:g}" for p in spec.params) + "\n"
        for spec in CATALOGUE
    )
)
MAX_OUTPUT_TOKENS = 1_500


def question(situation: Situation, trace_id: str) -> Question:
    """What the planner is asked."""
    facts = {
        **market_facts(situation),
        "regime": regime(situation.observation.features).value,
        "secs_to_next_close": secs_to_next_close(situation),
        "position": position_facts(situation),
        **account_facts(situation),
        "posteriors": {
            belief.policy_id: {
                "n": short(belief.n),
                "mean_bp": short(belief.mean_bp),
                "sd_bp": short(belief.sd_bp),
                "p_positive": round(p_positive(belief), 4),
            }
            for belief in situation.posteriors
        },
    }
    return Question(Agent.PLANNER, trace_id, PROMPT, facts, "plan", WIRE, MAX_OUTPUT_TOKENS, at=situation.at)


def read(document: Any) -> Plan:
    """A reply as a Plan. Raises UnreadableError."""
    check(document, WIRE, "wire schema")
    check(document, SCHEMA, "plan schema")
    plan = Plan.from_payload(document)
    names = [strategy.policy_id for strategy in plan.strategies]
    if len(set(names)) != len(names):
        raise UnreadableError("a policy is named twice")
    return plan


def observe(situation: Situation) -> Plan:
    """The safe plan: trade nothing, wake at a bar's close."""
    return Plan("OBSERVE", 0.0, wakeup_secs(situation), (Strategy("cash", {}),))


def secs_to_next_close(situation: Situation) -> int:
    """Seconds until the bar that is forming closes."""
    frame_ms = situation.timeframe_ms
    return (frame_ms - situation.at % frame_ms) // 1000


def wakeup_secs(situation: Situation) -> int:
    """A bar's close as a wake-up: the next one, or with nothing held the last one within five minutes."""
    held = bool(position_facts(situation)["held"])
    return int(secs_to_look(secs_to_next_close(situation), max(situation.timeframe_ms // 1000, 1), held))
