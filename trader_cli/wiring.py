"""The composition root: settings -> desk. The only file that names a concrete adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from trader_cli.config import Settings
from trader_cli.core.decimals import ZERO, percent, sub, text
from trader_cli.core.errors import BusyError, ConfigError, NotFoundError, UpstreamError
from trader_cli.core.limits import margin_pct, smallest_cap
from trader_cli.core.moments import Moment, ceil_to, iso, span_ms, span_text
from trader_cli.core.ports import CandleSource, Clock, Exchange, Ids, Model
from trader_cli.core.pricing import DOLLARS
from trader_cli.phases.desk import Desk, Minds
from trader_cli.schemas.backtest import Sole
from trader_cli.schemas.question import Agent
from trader_cli.schemas.situation import Limits, TradingState
from trader_cli.tools.clock import Signals, SystemClock, VirtualClock, wall_now
from trader_cli.tools.exchanges.ccxt import CcxtExchange
from trader_cli.tools.exchanges.client import Access, Surroundings, extra_config
from trader_cli.tools.exchanges.dialects import why_no_orders
from trader_cli.tools.exchanges.paper import LivePaperExchange, PaperExchange
from trader_cli.tools.exchanges.paper_rules import costs, rules
from trader_cli.tools.exchanges.rehearsed import RehearsedExchange
from trader_cli.tools.files import read_text
from trader_cli.tools.ids import SeededIds, SystemIds, new_ledger_id
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.lock import FileLock
from trader_cli.tools.logs import log_file
from trader_cli.tools.markets.recorded import read_once
from trader_cli.tools.markets.simulated import SimulatedMarket
from trader_cli.tools.models.coin import EVERY_BARS, CoinModel
from trader_cli.tools.models.openai import OPENAI_URL, Known, Line, OpenAIModel, Server
from trader_cli.tools.models.purse import Purse, Tariff
from trader_cli.tools.models.rules import RulesModel
from trader_cli.tools.models.shown import ShownModel
from trader_cli.tools.models.table import dearest, default_model, remarks, spec_of
from trader_cli.tools.models.watched import Thinks, WatchedModel
from trader_cli.tools.receivers import Receiver, services, webhook
from trader_cli.tools.rehearsal import rehearse
from trader_cli.tools.stopfile import StopFile
from trader_cli.tools.store import cannot_look, errors, exists, loop_lock_path, make_folder

RULES = RulesModel.name
"""The name of the offline model."""

BATCH_MS = 200
"""For how long a fast loop gathers cycles into one commit. Market, model and exchange must all be local."""


@dataclass(frozen=True, slots=True)
class OperatorStop:
    """The STOP file and the TRADING setting, the stricter of the two; and signals, which end a run."""

    file: StopFile
    setting: TradingState
    signals: Signals | None = None

    def state(self) -> tuple[TradingState, str | None]:
        """What the operator asks for now."""
        if (reason := self.file.reason()) is not None:
            return TradingState.HALT, reason
        return self.setting, None if self.setting is TradingState.RUN else f"TRADING={self.setting.name.lower()}"

    def ending(self) -> str | None:
        """The signal that ends this run after the step in hand, if one came."""
        return self.signals.name if self.signals is not None else None


@dataclass(frozen=True, slots=True)
class Bench:
    """How a command wants its desk: rehearsed or real, fast or waiting, and how long to wait for the lock.

    Attributes:
        creates: False: a ledger that is not there is NotFoundError.
        model, max_cost: one model for all agents in this run, and the most that they may cost in it (USD).
        shows: nothing is asked; the minds keep the requests that would be sent.
        since: virtual time does not begin before this moment.
        sole: the one policy that the offline rules trade, or chance.
        thinks: is entered while a model behind a server is waited for, with the words that say so.
    """

    dry_run: bool = False
    creates: bool = True
    fast: bool = False
    wait_secs: float = 5.0
    signals: Signals | None = None
    model: str | None = None
    max_cost: Decimal | None = None
    shows: bool = False
    since: Moment | None = None
    sole: Sole | None = None
    thinks: Thinks = nullcontext


@contextmanager
def open_desk(settings: Settings, bench: Bench = Bench()) -> Iterator[Desk]:
    """A desk over the ledger, or over a rehearsal of it that writes nothing. Closes it at the end.

    Raises ConfigError for settings this version cannot serve or another ledger's, LedgerError, BusyError.
    """
    check_settings(settings)
    path = ledger_path(settings)
    if not bench.creates and not exists(path):
        raise NotFoundError(f'no ledger at "{path}"', "Make one: trader cycle")
    source = None if is_live(settings) else candle_source(settings)
    with ExitStack() as closing:
        ledger = rehearse(path, wall_now) if bench.dry_run else Ledger.open_writer(path, wall_now, bench.wait_secs)
        closing.callback(ledger.close)
        signals = bench.signals or Signals()
        live = live_exchange(settings, ledger, signals) if source is None else None
        with ledger.writing(bench.wait_secs):
            if live is not None and not ledger.identity():  # a ledger is pinned to a market that there is
                live.connect()
            deposit = settings.paper_balance_usdt if settings.mode == "paper" else None
            ledger.pin(new_ledger_id(), identity(settings, source), deposit, began(settings, source, bench.since))
        if live is not None:
            desk = _live_desk(settings, ledger, bench, live, signals)
        else:
            desk = virtual_desk(settings, ledger, source or candle_source(settings), bench)
        closing.callback(desk.minds.leave)
        yield desk


def check_outlets(settings: Settings) -> None:
    """Whether logs and news have somewhere to go. Raises ConfigError."""
    if settings.log_file is not None:
        log_file(settings.log_file, ledger_path(settings))
    receivers(settings)


def receivers(settings: Settings) -> dict[str, Receiver]:
    """Who hears the news, by names that can be told. Raises ConfigError."""
    found: dict[str, Receiver] = {}
    if settings.webhook_url is not None:
        found["WEBHOOK_URL"] = webhook(settings.webhook_url.get_secret_value())
    if settings.notify_urls is not None:
        found |= services(settings.notify_urls.get_secret_value())
    return found


@contextmanager
def at_desk(settings: Settings, bench: Bench = Bench()) -> Iterator[Desk]:
    """A desk with the writer lock held: what every one-shot command works at."""
    with open_desk(settings, bench) as desk, desk.ledger.writing(bench.wait_secs):
        yield desk


@contextmanager
def open_reader(settings: Settings, steady: bool = True) -> Iterator[Ledger]:
    """The ledger as it stands now, read-only. NotFoundError when there is none; creates nothing.

    Not `steady`, each look sees what stands then: for what waits in between, which would hold back a writer's WAL.
    """
    ledger = Ledger.open_reader(ledger_path(settings), wall_now)
    try:
        with ledger.steady() if steady else errors(ledger.path):
            yield ledger
    finally:
        ledger.close()


def rewinding(settings: Settings) -> Callable[[int], Ledger]:
    """How to get the ledger as it stood before a link: a copy in memory of what a phase could read of it."""
    path = ledger_path(settings)
    return lambda link: rehearse(path, wall_now, link)


def loop_lock(settings: Settings, dry_run: bool) -> AbstractContextManager[object]:
    """One loop per ledger: held for the loop's life. BusyError when another loop runs."""
    if dry_run:
        return nullcontext()
    path = ledger_path(settings)
    make_folder(path.parent, "Choose another with --db.")
    return FileLock(loop_lock_path(path), 0.0, f'a loop: the ledger "{path}"')


def ledger_path(settings: Settings) -> Path:
    """The ledger's own path, also when the settings name a link to it: locks and STOP lie beside the file itself."""
    path = settings.db_path
    try:
        if path.name in ("", "..") or path.is_dir():
            raise ConfigError(
                f'DB_PATH must be a file, was the folder "{path}"', f'Name a file: --db "{path}/agent.db"'
            )
        if path.exists() and not path.is_file():  # before a lock or a journal is made beside /dev/null
            raise ConfigError(f'DB_PATH must be a file, was the device or pipe "{path}"', "Name a file with --db.")
        return path.resolve() if path.is_symlink() else path
    except OSError as error:
        raise cannot_look(path, error) from error


def stop_file(settings: Settings) -> StopFile:
    """The STOP file of the ledger's folder."""
    return StopFile(ledger_path(settings))


def operator_stop(settings: Settings, signals: Signals | None = None) -> OperatorStop:
    """The operator's word that needs no ledger."""
    return OperatorStop(stop_file(settings), TradingState[settings.trading.upper()], signals)


def is_live(settings: Settings) -> bool:
    """Whether prices come from an exchange as they are now."""
    return settings.mode != "paper" or settings.market == "live"


def check_settings(settings: Settings) -> None:
    """Refuse settings that do not go together. Raises ConfigError."""
    if settings.mode == "paper":
        return
    mode = f"MODE={settings.mode}"
    if settings.market not in (None, "live"):
        raise ConfigError(f'{mode} needs live prices, MARKET was "{settings.market}"', "Leave MARKET out.")
    if (reason := why_no_orders(settings.exchange_id, settings.mode == "real")) is not None:
        raise ConfigError(f"{mode} is not possible: {reason}", "Or trade on paper at its prices: MARKET=live")
    for name in ("EXCHANGE_API_KEY", "EXCHANGE_API_SECRET"):
        if getattr(settings, name.lower()) is None:
            raise ConfigError(f"{mode} needs {name}, which is not set", "Set it, or MODE=paper (no key, no account).")
    quote = settings.symbol.partition("/")[2]
    if settings.mode == "real" and quote not in DOLLARS:
        raise ConfigError(
            f'{mode} needs a symbol quoted in dollars, for its limits are in them; SYMBOL was "{settings.symbol}"',
            f"One of: {', '.join(sorted(DOLLARS))}",
        )


def candle_source(settings: Settings) -> CandleSource:
    """Where paper trading's bars come from, when they are not live."""
    timeframe_ms = span_ms(settings.timeframe)
    if settings.market in (None, "simulated"):
        tick = rules(settings.symbol, settings.paper_fee_pct).tick
        return SimulatedMarket(settings.symbol, timeframe_ms, settings.simulated_seed, tick)
    return read_once(Path(str(settings.market)), timeframe_ms if settings.timeframe_explicit else None)


def began(settings: Settings, source: CandleSource | None, since: Moment | None = None) -> Moment:
    """Where market time begins: now where it is live, else when enough bars have closed, and not before `since`."""
    if source is None:
        return wall_now()
    return max(source.start(settings.ohlcv_limit), ceil_to(since or 0, source.timeframe_ms))


def identity(settings: Settings, source: CandleSource | None) -> dict[str, str]:
    """What a ledger is pinned to."""
    paper = settings.mode == "paper"
    if source is None:
        exchange = settings.exchange_id
        market = f"live:{exchange}" + ("-testnet" if settings.mode == "testnet" else "")
        timeframe_ms = span_ms(settings.timeframe)
    else:
        exchange, timeframe_ms = "paper", source.timeframe_ms
        sha256 = getattr(source, "sha256", "")
        market = source.provenance + (f"#{sha256[:16]}" if sha256 else "")
    pinned = {
        "mode": settings.mode,
        "exchange": exchange,
        "symbol": settings.symbol,
        "timeframe": span_text(timeframe_ms),
        "market": market,
    }
    return pinned | ({"paper_balance": text(settings.paper_balance_usdt)} if paper else {})


def limits(settings: Settings, timeframe_ms: int) -> Limits:
    """The operator's limits as the law reads them."""
    capped = settings.mode == "real" or settings.cap_in_all_modes
    daily_loss = settings.daily_loss_limit_usdt
    if daily_loss is None and capped:
        daily_loss = percent(settings.deposit_cap_usdt, Decimal(50))
    return Limits(
        deposit_cap=settings.deposit_cap_usdt if capped else None,
        live_only=settings.mode != "paper",
        max_order=settings.max_order_usdt,
        max_orders_per_day=settings.max_orders_per_day,
        cooldown_ms=settings.cooldown_secs * 1000,
        daily_loss=daily_loss,
        max_drawdown_pct=settings.max_drawdown_pct,
        min_confidence=float(settings.min_confidence),
        verdict_max_age_ms=settings.verdict_max_age_secs * 1000,
        max_age_ms=2 * timeframe_ms,
        max_drift_pct=settings.max_price_drift_pct,
        max_orders_per_hour=settings.max_orders_per_hour,
        max_losing_streak=settings.max_losing_streak,
        max_rejected_streak=settings.max_rejected_streak,
        streak_cooldown_ms=settings.streak_cooldown_secs * 1000,
    )


def notices(settings: Settings, desk: Desk, bench: Bench = Bench()) -> list[str]:
    """What an operator should know before the first cycle."""
    said = []
    today = desk.clock.wall()
    if desk.minds.host is not None:
        used = {Agent.PLANNER: desk.minds.planner, Agent.TRADER: desk.minds.trader, Agent.JUDGE: desk.minds.judge}
        chosen = set(Agent) if bench.model else set(chosen_models(settings))
        said += remarks({agent: model.name for agent, model in used.items()}, chosen, today)
        if settings.openai_base_url is not None and not chosen:
            said.append(f"no OPENAI_MODEL_* is set: {desk.minds.host} is asked for {desk.minds.about.split(' at ')[0]}")
        said.append(
            f"prompts with market data, position and limits go to {desk.minds.host}; at most "
            f"{text(settings.model_budget_usd_per_day)} USD a day (MODEL_BUDGET_USD_PER_DAY)"
        )
    elif settings.openai_api_key is not None and settings.agents != "rules":
        said.append(
            "--speed fast pays for no model: the offline rules model decides. To pay: --model NAME --max-cost USD"
        )
    if desk.limits.deposit_cap is not None:
        with suppress(UpstreamError):
            said += cap_notices(desk, desk.exchange.quote(desk.clock.now()).ask)
    return said


def cap_notices(desk: Desk, price: Decimal) -> list[str]:
    """That the deposit cap cannot hold one round trip at `price`, if so, with the smallest that can."""
    cap, market = desk.limits.deposit_cap, desk.market()
    least = smallest_cap(market, price, margin_pct(desk.limits, desk.costs))
    if cap is None or cap >= least or price <= ZERO:
        return []
    return [
        f"DEPOSIT_CAP_USDT {text(cap)} cannot hold one round trip of {market.symbol} at {text(price)}: "
        f"nothing will be bought. The smallest that can: {text(least)}"
    ]


def virtual_desk(settings: Settings, ledger: Ledger, source: CandleSource, bench: Bench) -> Desk:
    """A desk on virtual time: paper over simulated or recorded bars."""
    start = began(settings, source, bench.since)
    market = rules(settings.symbol, settings.paper_fee_pct)
    expected = costs(settings.paper_fee_pct, settings.paper_slippage_bps)
    clock = VirtualClock(lambda: ledger.market_time(start), source.timeframe_ms, bench.signals or Signals(), bench.fast)
    exchange = PaperExchange(ledger, source, market, expected, settings.paper_balance_usdt)
    around = clock, SeededIds("|".join(identity(settings, source).values())), exchange
    return _whole(settings, ledger, bench, around, source.timeframe_ms)


def _live_desk(settings: Settings, ledger: Ledger, bench: Bench, asked: CcxtExchange, signals: Signals) -> Desk:
    """A desk on the system's time: paper at live prices, a testnet or real money; a dry run sends nothing there."""
    exchange: Exchange = asked
    if settings.mode == "paper":
        expected = costs(settings.paper_fee_pct, settings.paper_slippage_bps)
        exchange = LivePaperExchange(ledger, asked, expected, settings.paper_balance_usdt)
    elif bench.dry_run:
        exchange = RehearsedExchange(ledger, asked, settings.paper_slippage_bps)
    return _whole(settings, ledger, bench, (SystemClock(signals), SystemIds(), exchange), span_ms(settings.timeframe))


def live_exchange(settings: Settings, ledger: Ledger, signals: Signals) -> CcxtExchange:
    """The exchange that prices come from and, with a key, orders go to. Asked nothing yet."""
    key, secret = settings.exchange_api_key, settings.exchange_api_secret
    with_account = settings.mode != "paper" and key is not None and secret is not None
    access = Access(
        exchange_id=settings.exchange_id,
        sandbox=settings.mode == "testnet",
        key=key.get_secret_value() if with_account and key else None,
        secret=secret.get_secret_value() if with_account and secret else None,
        extra=_ccxt_config(settings),
        harmless_keys=settings.mode == "real",
    )

    def told_to_wait(until: Moment, why: str) -> None:
        if not ledger.ledger_id:  # nothing may be written before whose ledger it is
            return
        # Where another process holds the ledger, only this one knows of it; the next one that asks is told again.
        with suppress(BusyError), ledger.writing(), ledger.transaction() as tx:
            ledger.log_event(tx, "BAN", {"until": iso(until), "reason": f"{settings.exchange_id}: {why}"}, wall_now())

    around = Surroundings(wall_now, signals.wait, ledger.banned_until, told_to_wait)
    return CcxtExchange(access, settings.symbol, span_ms(settings.timeframe), around)


def _ccxt_config(settings: Settings) -> dict[str, Any]:
    """CCXT_CONFIG: JSON by itself, or the path of a file with it. Raises ConfigError."""
    if settings.ccxt_config is None:
        return {}
    said = settings.ccxt_config.get_secret_value()
    return extra_config(said if said.lstrip().startswith("{") else read_text(Path(said), "CCXT_CONFIG"))


def _whole(
    settings: Settings, ledger: Ledger, bench: Bench, around: tuple[Clock, Ids, Exchange], timeframe_ms: int
) -> Desk:
    clock, ids, exchange = around
    stop = operator_stop(settings, bench.signals)
    minds = _minds(settings, ledger, ids, bench, stop)
    return Desk(
        clock=clock,
        ids=ids,
        minds=minds,
        exchange=exchange,
        ledger=ledger,
        limits=limits(settings, timeframe_ms),
        costs=costs(settings.paper_fee_pct, settings.paper_slippage_bps),
        stop=stop,
        timeframe_ms=timeframe_ms,
        ohlcv_limit=settings.ohlcv_limit,
        batch_ms=BATCH_MS if bench.fast and minds.host is None else 0,
    )


def _minds(settings: Settings, ledger: Ledger, ids: Ids, bench: Bench, stop: OperatorStop) -> Minds:
    """Who thinks: the offline rules, or models behind a server."""
    if bench.shows:
        shown = {agent: ShownModel(name, spec_of(name)) for agent, name in models_in_use(settings, wall_now()).items()}
        return Minds(
            shown[Agent.PLANNER], shown[Agent.TRADER], shown[Agent.JUDGE], tool_rounds=settings.trader_tool_rounds
        )
    if not pays(settings, bench):
        rules_model = _rules(ids, bench.sole)
        return Minds(rules_model, rules_model, rules_model)
    line = Line(server(settings), (bench.signals or Signals()).wait, partial(_halted, stop))
    purse = Purse(ledger, settings.model_budget_usd_per_day, bench.max_cost)
    minds = {agent: OpenAIModel(partial(_known, settings, bench.model, agent), line, purse) for agent in Agent}
    watched = {agent: WatchedModel(mind, bench.thinks) for agent, mind in minds.items()}
    return Minds(
        watched[Agent.PLANNER],
        watched[Agent.TRADER],
        watched[Agent.JUDGE],
        host=line.server.host,
        tool_rounds=settings.trader_tool_rounds,
        leave=line.close,
        proofs=tuple({mind.name: mind.prove for mind in minds.values()}.items()),
    )


def _rules(ids: Ids, sole: Sole | None) -> Model:
    """The offline model: what is believed best, one policy only, or chance."""
    if sole is None:
        return RulesModel(ids)
    if sole.policy == CoinModel.name:
        return CoinModel(SeededIds(f"coin {sole.params.get('seed', 1)}"), int(sole.params.get("every", EVERY_BARS)))
    return RulesModel(ids, (sole.policy, sole.params))


def other_minds(settings: Settings, ledger: Ledger, name: str, max_cost: Decimal | None, signals: Signals) -> Minds:
    """The model of a name in the place of all three, for recorded questions: up to `max_cost` USD, booked nowhere.

    The day's budget binds it too, as far as the ledger has left any of it. The offline rules have the chance that this
    ledger's own had. Raises ConfigError without a key.
    """
    if name == RULES:
        pinned = {key: value for key, value in ledger.identity().items() if key not in ("ledger_id", "began_at")}
        rules_model = RulesModel(SeededIds("|".join(pinned.values())))
        return Minds(rules_model, rules_model, rules_model)
    if settings.openai_api_key is None:
        raise ConfigError("--model needs OPENAI_API_KEY, which is not set", f"Set it, or --model {RULES} (free).")
    known = Known(name, spec_of(name), tariff(settings, name))
    line = Line(server(settings), signals.wait, lambda: signals.name)
    purse = Purse(Ledger.in_memory(wall_now), settings.model_budget_usd_per_day, max_cost, ledger.spent_on(wall_now()))
    mind = OpenAIModel(lambda: known, line, purse)
    return Minds(mind, mind, mind, host=line.server.host, leave=line.close)


def left_today(settings: Settings, ledger: Ledger) -> Decimal:
    """What the day's budget for models has left, in USD."""
    return max(ZERO, sub(settings.model_budget_usd_per_day, ledger.spent_on(wall_now())))


def _known(settings: Settings, model: str | None, agent: Agent) -> Known:
    """An agent's model of today, unless `model` names one for all of them."""
    name = model or models_in_use(settings, wall_now())[agent]
    return Known(name, spec_of(name), tariff(settings, name))


def pays(settings: Settings, bench: Bench = Bench()) -> bool:
    """Whether models behind a server think. Raises ConfigError where one must and cannot.

    What does not wait would pay as fast as it runs: it needs a model and a limit of its own.
    """
    if settings.agents == "rules":
        return False
    if settings.openai_api_key is None:
        if settings.agents == "openai" or bench.model is not None:
            wants = "AGENTS=openai" if settings.agents == "openai" else "--model"
            raise ConfigError(f"{wants} needs OPENAI_API_KEY, which is not set", "Set it, or AGENTS=rules (free).")
        if settings.mode != "paper":
            raise ConfigError(
                f"MODE={settings.mode} needs OPENAI_API_KEY, or the offline model by name", "Set it, or AGENTS=rules."
            )
        return False
    return not bench.fast or (bench.model is not None and bench.max_cost is not None)


def server(settings: Settings) -> Server:
    """Where models are asked, and with which key. Raises ConfigError without one."""
    if settings.openai_api_key is None:
        raise ConfigError("OPENAI_API_KEY is not set", "Set it, or AGENTS=rules (free).")
    key = settings.openai_api_key.get_secret_value()
    if not (key.isascii() and key.isprintable()):  # it travels in a header
        raise ConfigError("OPENAI_API_KEY must be a key of plain ASCII characters", "Copy it again, whole.")
    return _server(settings, key)


def _server(settings: Settings, key: str) -> Server:
    return Server((settings.openai_base_url or OPENAI_URL).rstrip("/"), key, settings.model_timeout_secs)


def tariff(settings: Settings, name: str) -> Tariff:
    """What a model's tokens are reckoned at: without a price the dearest there is, on this machine nothing."""
    spec = spec_of(name)
    if spec is not None and spec.price is not None:
        return Tariff(spec.price, known=True)
    return Tariff(None if _server(settings, "").is_loopback else dearest(), known=False)


def _halted(stop: OperatorStop) -> str | None:
    """Why no model may be asked any more, if so: a stop, or the end of this run."""
    state, cause = stop.state()
    return (cause or state.name) if state is TradingState.HALT else stop.ending()


def models_in_use(settings: Settings, today: Moment) -> dict[Agent, str]:
    """The model of each agent: the setting's, else the default of that day (wall time, ms UTC)."""
    chosen = chosen_models(settings)
    return {agent: chosen.get(agent) or default_model(agent, today) for agent in Agent}


def chosen_models(settings: Settings) -> dict[Agent, str]:
    """The models that a setting names, agent by agent."""
    named = {
        Agent.PLANNER: settings.openai_model_planner,
        Agent.TRADER: settings.openai_model_trader,
        Agent.JUDGE: settings.openai_model_judge,
    }
    return {agent: name for agent, name in named.items() if name}
