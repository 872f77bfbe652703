"""Metrics of a ledger and of the loop that writes it, read when somebody asks: the same for a loop, cron and a copy.

Specification 11.2, line by line: cycles and their time, requests and their results, the database, memory and CPU;
confidence, execution, equity and profit, policies. No label has more values than there are policies, models or states.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from trader_cli import __version__
from trader_cli.core import accounting
from trader_cli.core.decimals import ZERO
from trader_cli.core.moments import Moment, parse_iso
from trader_cli.schemas.metric import Metric, Sample, Value
from trader_cli.schemas.situation import TradingState
from trader_cli.tools.backups import FOLDER, backups_of
from trader_cli.tools.exports import Span
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.lock import is_held
from trader_cli.tools.rows import readable
from trader_cli.tools.shares import ended_trips, policy_shares
from trader_cli.tools.store import loop_lock_path

RECENT = 200
"""How many of the newest cycles tell how long one takes."""

_BUCKETS = tuple(number / 10 for number in range(1, 11))


def metrics(ledger: Ledger, state: tuple[TradingState, str | None], due: Moment | None) -> Iterator[Metric]:
    """All of them. `state` is the one in force, `due` when the next cycle is, on the wall. Raises LedgerError."""
    with readable("what is counted"):
        yield from _program()
        yield from _cycles(ledger, due)
        yield from _requests(ledger)
        yield from _database(ledger)
        yield from _loop(ledger)
        yield from _trading(ledger, state)
        yield from _account(ledger)
        yield from _policies(ledger)


def _gauge(name: str, about: str, value: Value | None) -> Iterator[Metric]:
    """One value, or no metric where it is not known."""
    if value is not None:
        yield Metric(name, "gauge", about, (Sample(value, {}),))


def _labelled(name: str, about: str, samples: Iterator[Sample], kind: str = "counter") -> Iterator[Metric]:
    found = tuple(samples)
    if found:
        yield Metric(name, "counter" if kind == "counter" else "gauge", about, found)


def _counted(ledger: Ledger, labels: tuple[str, ...], sql: str) -> Iterator[Sample]:
    """Rows of labels and a count."""
    for row in ledger.db.execute(sql):
        yield Sample(row[-1], dict(zip(labels, map(str, row[:-1]), strict=True)))


def _program() -> Iterator[Metric]:
    labels = {"version": __version__, "sqlite": sqlite3.sqlite_version}
    yield Metric("trader_build_info", "gauge", "The program; always 1.", (Sample(1, labels),))


# --- system health ---------------------------------------------------------------------------


def _cycles(ledger: Ledger, due: Moment | None) -> Iterator[Metric]:
    outcomes = _counted(
        ledger,
        ("outcome",),
        "SELECT outcome, count(*) FROM (SELECT CASE "
        "WHEN EXISTS (SELECT 1 FROM decisions AS f WHERE f.trace_id = d.trace_id AND f.source = 'fallback') "
        "THEN 'fallback' WHEN EXISTS (SELECT 1 FROM orders AS o WHERE o.trace_id = d.trace_id) THEN 'order' "
        "WHEN json_extract(d.payload_json, '$.mode') = 'OBSERVE' THEN 'observe' ELSE 'hold' END AS outcome "
        "FROM decisions AS d WHERE d.agent = 'PLANNER') GROUP BY outcome ORDER BY outcome",
    )
    yield from _labelled("trader_cycles", "Cycles by what came of them.", outcomes)
    said = _counted(
        ledger,
        ("agent", "decision", "source"),
        "SELECT lower(agent), coalesce(json_extract(payload_json, '$.mode'), json_extract(payload_json, '$.action'), "
        "json_extract(payload_json, '$.decision')) AS said, source, count(*) FROM decisions "
        "GROUP BY agent, said, source ORDER BY 1, 2, 3",
    )
    yield from _labelled("trader_decisions", "Decisions by agent, what was decided, and who did.", said)
    plan = ledger.newest_plan()
    last = None if plan is None else plan.wall_at / 1000
    yield from _gauge("trader_last_cycle_timestamp_seconds", "When the newest cycle began, on the wall.", last)
    yield from _gauge(
        "trader_next_cycle_timestamp_seconds", "When the next is due.", None if due is None else due / 1000
    )
    lengths = sorted(_lengths(ledger))
    if lengths:
        found = tuple(
            Sample(lengths[min(int(q * len(lengths)), len(lengths) - 1)], {"quantile": str(q)}) for q in (0.5, 0.9, 1.0)
        )
        yield Metric(
            "trader_recent_cycle_duration_seconds", "gauge", f"How long the newest {RECENT} cycles took.", found
        )


def _lengths(ledger: Ledger) -> Iterator[float]:
    """How many seconds passed on the wall from the plan to the snapshot of the newest cycles."""
    for began, ended in ledger.db.execute(
        "SELECT d.wall_ts, p.wall_ts FROM (SELECT trace_id, wall_ts FROM portfolio WHERE trace_id IS NOT NULL "
        "ORDER BY id DESC LIMIT ?) AS p JOIN decisions AS d ON d.trace_id = p.trace_id WHERE +d.agent = 'PLANNER'",
        (RECENT,),
    ):
        yield max(0, parse_iso(ended) - parse_iso(began)) / 1000


def _requests(ledger: Ledger) -> Iterator[Metric]:
    models = _counted(
        ledger,
        ("service", "result"),
        "SELECT 'model', CASE status WHEN 'ok' THEN 'ok' ELSE 'failed' END AS result, count(*) FROM model_calls "
        "WHERE model <> 'rules' GROUP BY result",
    )
    looks = _counted(
        ledger,
        ("service", "result"),
        "SELECT 'exchange', CASE WHEN instr(defects_json, '\"kind\":\"unavailable\"') THEN 'failed' ELSE 'ok' END "
        "AS result, count(*) FROM observations GROUP BY result",
    )
    both = (one for part in (models, looks) for one in part)
    yield from _labelled("trader_upstream_requests", "Calls of models, and looks at the market, by their result.", both)
    tokens: list[Sample] = []
    costs: list[Sample] = []
    for model, read, written, cost in ledger.db.execute(
        "SELECT model, sum(coalesce(input_tokens, 0)), sum(coalesce(output_tokens, 0)), "
        "sum(CAST(cost_usd AS REAL)) FROM model_calls WHERE model <> 'rules' GROUP BY model ORDER BY model"
    ):
        tokens += [
            Sample(read, {"model": model, "direction": "in"}),
            Sample(written, {"model": model, "direction": "out"}),
        ]
        costs.append(Sample(cost, {"model": model}))
    yield from _labelled("trader_model_tokens", "Tokens that models read and wrote.", iter(tokens))
    yield from _labelled("trader_model_cost_usd", "What models cost (USD).", iter(costs))
    errors = _counted(
        ledger,
        ("code",),
        "SELECT coalesce(json_extract(data_json, '$.code'), 'other') AS code, count(*) FROM events "
        "WHERE kind = 'ERROR' GROUP BY code ORDER BY code",
    )
    yield from _labelled("trader_errors", "Events of kind ERROR, by their code.", errors)


def _database(ledger: Ledger) -> Iterator[Metric]:
    began = time.perf_counter()
    ledger.db.execute("SELECT * FROM decisions ORDER BY id DESC LIMIT 1").fetchone()
    taken = time.perf_counter() - began
    yield from _gauge("trader_ledger_read_seconds", "How long reading the newest decision took just now.", taken)
    path = ledger.path
    if path is None:
        return
    wal = path.with_name(path.name + "-wal")
    yield from _gauge("trader_ledger_size_bytes", "The ledger's file.", path.stat().st_size)
    yield from _gauge("trader_ledger_wal_bytes", "Its write-ahead log.", wal.stat().st_size if wal.exists() else 0)
    yield from _gauge("trader_ledger_links", "Links of the audit chain.", ledger.next_link - 1)
    made = backups_of(path, path.parent / FOLDER)
    newest = made[-1][0] / 1000 if made else None
    yield from _gauge("trader_backup_timestamp_seconds", "When the newest backup was made.", newest)


def _loop(ledger: Ledger) -> Iterator[Metric]:
    """The process that holds the loop's lock, as Linux tells of it."""
    pid = None if ledger.path is None else _holder(loop_lock_path(ledger.path))
    yield from _gauge("trader_loop_up", "Whether a loop runs on this ledger.", int(pid is not None))
    if not pid:
        return
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    except (OSError, ValueError, IndexError):
        return
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    resident = pages * os.sysconf("SC_PAGE_SIZE")
    yield from _gauge("trader_loop_resident_memory_bytes", "Memory of the loop's process.", resident)
    yield Metric("trader_loop_cpu_seconds", "counter", "CPU time of the loop's process.", (Sample(cpu, {}),))


def _holder(lock: Path) -> int | None:
    """Who holds a lock's file now, if anybody: the kernel knows. 0 where that is a process of another container."""
    if not is_held(lock):
        return None
    try:
        inode = lock.stat().st_ino
        for line in Path("/proc/locks").read_text(encoding="utf-8").splitlines():
            fields = line.split()
            if "FLOCK" in fields and fields[5].rpartition(":")[2] == str(inode):
                return int(fields[4])
    except (OSError, ValueError, IndexError):
        return 0
    return 0


# --- trading performance ---------------------------------------------------------------------


def _trading(ledger: Ledger, state: tuple[TradingState, str | None]) -> Iterator[Metric]:
    states = tuple(Sample(int(one is state[0]), {"state": one.name.lower()}) for one in TradingState)
    yield Metric("trader_trading_state", "gauge", "Which of the states trading is in: 1 for one of them.", states)
    orders = _counted(
        ledger,
        ("side", "status"),
        "SELECT lower(side), lower(state), count(*) FROM (SELECT side, (SELECT e.state FROM order_events AS e "
        "WHERE e.client_order_id = o.client_order_id ORDER BY e.id DESC LIMIT 1) AS state FROM orders AS o) "
        "GROUP BY side, state ORDER BY 1, 2",
    )
    yield from _labelled("trader_orders", "Orders by side and state.", orders)
    waiting = len(ledger.open_orders())
    yield from _gauge("trader_unsettled_orders", "Orders whose outcome is not proved.", waiting)
    yield from _confidence(ledger)


def _confidence(ledger: Ledger) -> Iterator[Metric]:
    """Of proposals to trade, as a histogram."""
    held: dict[float, int] = dict.fromkeys(_BUCKETS, 0)
    total, count = 0.0, 0
    for said, times in ledger.db.execute(
        "SELECT json_extract(payload_json, '$.confidence') AS said, count(*) FROM decisions WHERE agent = 'TRADER' "
        "AND json_extract(payload_json, '$.action') <> 'HOLD' GROUP BY said"
    ):
        total, count = total + float(said) * times, count + times
        for bound in _BUCKETS:
            held[bound] += times if float(said) <= bound else 0
    buckets = (Sample(times, {"le": str(bound)}, "_bucket") for bound, times in held.items())
    ends = Sample(count, {"le": "+Inf"}, "_bucket"), Sample(count, {}, "_count"), Sample(total, {}, "_sum")
    yield Metric("trader_confidence", "histogram", "Stated confidence of proposals to trade.", (*buckets, *ends))


def _account(ledger: Ledger) -> Iterator[Metric]:
    last = ledger.last_snapshot()
    if last is None:
        return
    book = last.book
    quote = {"quote": last.symbol.partition("/")[2]}
    for name, about, value in (
        ("trader_equity_usdt", "Cash and position at the mark.", last.equity),
        ("trader_deposits_usdt", "What was put in, less what was taken out.", book.deposits),
        ("trader_realized_pnl_usdt", "Profit of sales, after fees.", book.realized),
        ("trader_unrealized_pnl_usdt", "Profit of the position at the mark.", last.unrealized),
        ("trader_peak_equity_usdt", "The highest equity.", last.peak),
        ("trader_fees_usdt", "All fees, valued in quote.", book.fees),
    ):
        yield Metric(name, "gauge", f"{about} In the symbol's quote.", (Sample(value, quote),))
    if last.peak > ZERO:
        fallen = max(0.0, 1.0 - float(last.equity) / float(last.peak))
        yield from _gauge("trader_drawdown_ratio", "How far equity is below its highest, 0..1.", fallen)
    position = Sample(book.base, {"base": last.symbol.partition("/")[0]})
    yield Metric("trader_position", "gauge", "What is held, in base.", (position,))
    used = accounting.net_cash_in(book)
    yield from _gauge("trader_deposit_used_usdt", "The position's cost, or the cash that went in if that is more.",
                      max(book.cost, used, ZERO))  # fmt: skip


def _policies(ledger: Ledger) -> Iterator[Metric]:
    newest = ledger.db.execute("SELECT coalesce(max(id), 0) FROM portfolio").fetchone()[0]
    shares = policy_shares(ledger, Span(), newest, ended_trips(ledger, Span()))
    ended, worth = [], []
    for share in shares:
        name = share.policy or "nobody"
        ended += [
            Sample(share.won, {"policy": name, "result": "won"}),
            Sample(share.ended - share.won, {"policy": name, "result": "lost"}),
        ]
        worth.append(Sample(share.profit, {"policy": name}))
    yield from _labelled("trader_policy_round_trips", "Round trips that ended, by policy.", iter(ended))
    yield from _labelled(
        "trader_policy_realized_pnl_usdt", "Profit of what each policy bought and sold.", iter(worth), "gauge"
    )
