"""The composition root: settings -> desk. The only file that names a concrete adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path

from trader_cli.config import Settings
from trader_cli.core.decimals import percent, text
from trader_cli.core.errors import ConfigError, NotFoundError, UpstreamError
from trader_cli.core.limits import margin_pct, smallest_cap
from trader_cli.core.moments import Moment, span_ms, span_text
from trader_cli.core.ports import CandleSource
from trader_cli.phases.desk import Desk, Minds
from trader_cli.schemas.question import Agent
from trader_cli.schemas.situation import Limits, TradingState
from trader_cli.tools.clock import Signals, VirtualClock, wall_now
from trader_cli.tools.exchanges.paper import PaperExchange
from trader_cli.tools.exchanges.paper_rules import costs, rules
from trader_cli.tools.ids import SeededIds, new_ledger_id
from trader_cli.tools.ledger import Ledger
from trader_cli.tools.lock import FileLock
from trader_cli.tools.markets.recorded import RecordedMarket
from trader_cli.tools.markets.simulated import SimulatedMarket
from trader_cli.tools.models.openai import OPENAI_URL, Known, Line, OpenAIModel, Server
from trader_cli.tools.models.purse import Purse, Tariff
from trader_cli.tools.models.rules import RulesModel
from trader_cli.tools.models.shown import ShownModel
from trader_cli.tools.models.table import dearest, default_model, remarks, spec_of
from trader_cli.tools.rehearsal import rehearse
from trader_cli.tools.stopfile import StopFile
from trader_cli.tools.store import cannot_look, exists, loop_lock_path, make_folder

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
    """

    dry_run: bool = False
    creates: bool = True
    fast: bool = False
    wait_secs: float = 5.0
    signals: Signals | None = None
    model: str | None = None
    max_cost: Decimal | None = None
    shows: bool = False


@contextmanager
def open_desk(settings: Settings, bench: Bench = Bench()) -> Iterator[Desk]:
    """A desk over the ledger, or over a rehearsal of it that writes nothing. Closes it at the end.

    Raises ConfigError for settings this version cannot serve or another ledger's, LedgerError, BusyError.
    """
    check_available(settings)
    path = ledger_path(settings)
    if not bench.creates and not exists(path):
        raise NotFoundError(f'no ledger at "{path}"', "Make one: trader cycle")
    source = candle_source(settings)
    with ExitStack() as closing:
        ledger = rehearse(path, wall_now) if bench.dry_run else Ledger.open_writer(path, wall_now, bench.wait_secs)
        closing.callback(ledger.close)
        with ledger.writing(bench.wait_secs):
            ledger.pin(
                new_ledger_id(), identity(settings, source), settings.paper_balance_usdt, began(settings, source)
            )
        desk = _desk(settings, ledger, source, bench)
        closing.callback(desk.minds.leave)
        yield desk


@contextmanager
def at_desk(settings: Settings, bench: Bench = Bench()) -> Iterator[Desk]:
    """A desk with the writer lock held: what every one-shot command works at."""
    with open_desk(settings, bench) as desk, desk.ledger.writing(bench.wait_secs):
        yield desk


@contextmanager
def open_reader(settings: Settings) -> Iterator[Ledger]:
    """The ledger as it stands now, read-only. NotFoundError when there is none; creates nothing."""
    ledger = Ledger.open_reader(ledger_path(settings), wall_now)
    try:
        with ledger.steady():
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
    make_folder(path)
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


def check_available(settings: Settings) -> None:
    """Refuse what this version recognises and cannot do yet. Raises ConfigError."""
    if settings.mode != "paper":
        raise ConfigError(
            f'MODE "{settings.mode}" is not available in this version, which trades on paper only',
            "Set MODE=paper or leave it out.",
        )
    if settings.market == "live":
        raise ConfigError(
            'MARKET "live" is not available in this version', "Leave MARKET out, or name a CSV file of candles."
        )


def candle_source(settings: Settings) -> CandleSource:
    """Where paper trading's bars come from."""
    timeframe_ms = span_ms(settings.timeframe)
    if settings.market in (None, "simulated"):
        tick = rules(settings.symbol, settings.paper_fee_pct).tick
        return SimulatedMarket(settings.symbol, timeframe_ms, settings.simulated_seed, tick)
    return RecordedMarket(Path(str(settings.market)), timeframe_ms if settings.timeframe_explicit else None)


def began(settings: Settings, source: CandleSource) -> Moment:
    """Where virtual time begins: when enough bars have closed."""
    return source.start(settings.ohlcv_limit)


def identity(settings: Settings, source: CandleSource) -> dict[str, str]:
    """What a ledger is pinned to."""
    sha256 = getattr(source, "sha256", "")
    return {
        "mode": settings.mode,
        "exchange": "paper",
        "symbol": settings.symbol,
        "timeframe": span_text(source.timeframe_ms),
        "market": source.provenance + (f"#{sha256[:16]}" if sha256 else ""),
        "paper_balance": text(settings.paper_balance_usdt),
    }


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
    cap = desk.limits.deposit_cap
    if cap is not None:
        try:
            price = desk.exchange.quote(desk.clock.now()).ask
        except UpstreamError:
            return said
        least = smallest_cap(desk.exchange.market(), price, margin_pct(desk.limits, desk.costs))
        if cap < least:
            said.append(
                f"DEPOSIT_CAP_USDT {text(cap)} cannot hold one round trip of {settings.symbol} at {text(price)}: "
                f"nothing will be bought. The smallest that can: {text(least)}"
            )
    return said


def _desk(settings: Settings, ledger: Ledger, source: CandleSource, bench: Bench) -> Desk:
    start = began(settings, source)
    market = rules(settings.symbol, settings.paper_fee_pct)
    expected = costs(settings.paper_fee_pct, settings.paper_slippage_bps)
    ids = SeededIds("|".join(identity(settings, source).values()))
    stop = operator_stop(settings, bench.signals)
    minds = _minds(settings, ledger, ids, bench, stop)
    return Desk(
        clock=VirtualClock(
            lambda: ledger.market_time(start), source.timeframe_ms, bench.signals or Signals(), bench.fast
        ),
        ids=ids,
        minds=minds,
        exchange=PaperExchange(ledger, source, market, expected, settings.paper_balance_usdt),
        ledger=ledger,
        limits=limits(settings, source.timeframe_ms),
        costs=expected,
        stop=stop,
        timeframe_ms=source.timeframe_ms,
        ohlcv_limit=settings.ohlcv_limit,
        batch_ms=BATCH_MS if bench.fast and minds.host is None else 0,
    )


def _minds(settings: Settings, ledger: Ledger, ids: SeededIds, bench: Bench, stop: OperatorStop) -> Minds:
    """Who thinks: the offline rules, or models behind a server."""
    if bench.shows:
        shown = {agent: ShownModel(name, spec_of(name)) for agent, name in models_in_use(settings, wall_now()).items()}
        return Minds(
            shown[Agent.PLANNER], shown[Agent.TRADER], shown[Agent.JUDGE], tool_rounds=settings.trader_tool_rounds
        )
    if not pays(settings, bench):
        rules_model = RulesModel(ids)
        return Minds(rules_model, rules_model, rules_model)
    line = Line(server(settings), (bench.signals or Signals()).wait, partial(_halted, stop))
    purse = Purse(ledger, settings.model_budget_usd_per_day, bench.max_cost)
    minds = {agent: OpenAIModel(partial(_known, settings, bench.model, agent), line, purse) for agent in Agent}
    return Minds(
        minds[Agent.PLANNER],
        minds[Agent.TRADER],
        minds[Agent.JUDGE],
        host=line.server.host,
        tool_rounds=settings.trader_tool_rounds,
        leave=line.close,
    )


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
