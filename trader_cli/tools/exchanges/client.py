"""Asking an exchange through ccxt: reads tried again with jitter, its clock, its bans, what its errors mean.

No request is made while the exchange has asked to be left alone, and no error carries an address, a key or a
signature: what is said of a failure is the exchange's own code and words, or the kind of the error.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from trader_cli.core.errors import ConfigError, TraderError, UpstreamError
from trader_cli.core.hostile import storable
from trader_cli.core.moments import Moment, iso
from trader_cli.tools.exchanges.answers import Malformed
from trader_cli.tools.exchanges.ccxt_class import exchange_class, exchange_errors
from trader_cli.tools.exchanges.dialects import BINANCE, DIALECTS, Dialect
from trader_cli.tools.exchanges.reply import Reply

T = TypeVar("T")

READ_TIMEOUT_MS = 8_000
ORDER_TIMEOUT_MS = 15_000
"""Longer than the 10 s after which Binance itself says -1007: the exchange's verdict shall win."""
MOST_SKEW_MS = 2_500
"""Half a recvWindow: a clock that is further off than this places no order."""
ATTEMPTS = 3
DOWN_MS = 10_000
"""For how long nothing is asked after the first question of a cycle got no answer: the others would not either."""
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
LEFT_ALONE = frozenset({403, 418, 429, 451})
"""Statuses that asking again makes worse: a firewall, a ban, a limit, a country."""

_BROKEN = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What ccxt raises when it reads an answer that is not what it expects."""

_BINANCE_OPTIONS: Mapping[str, Any] = {
    "fetchMarkets": {"types": ["spot"]},
    "fetchCurrencies": False,
    "fetchMargins": False,
}
"""Nothing but the one question for the one market."""

_OURS = frozenset(
    {
        *("apiKey", "secret", "password", "session", "number", "verbose", "enableRateLimit", "logger", "markets"),
        *("timeout", "verify", "validateServerSsl", "fetchHistoryCacheSize", "returnResponseHeaders"),
    }
)
"""What CCXT_CONFIG may not set: keys have settings of their own, and the rest would undo what is promised here."""


@dataclass(frozen=True, slots=True)
class Access:
    """Which exchange, and how it is reached.

    Attributes:
        sandbox: its testnet.
        key, secret: None for public prices only.
        extra: what CCXT_CONFIG adds to ccxt's own configuration.
        harmless_keys: a key that may withdraw, or does not say, is refused.
    """

    exchange_id: str
    sandbox: bool = False
    key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    harmless_keys: bool = False

    @property
    def fingerprint(self) -> str | None:
        """The beginning of the key's hash; None without a key."""
        return None if self.key is None else hashlib.sha256(self.key.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What asking needs of its surroundings.

    Attributes:
        wall: the wall's clock, ms UTC.
        wait: sleeps for so many seconds; False when a signal ended it.
        banned_until: until when (wall) the exchange wants no request, and why, as the ledger remembers it.
        told_to_wait: remembers that, for every later process too.
    """

    wall: Callable[[], Moment]
    wait: Callable[[float], bool]
    banned_until: Callable[[], tuple[Moment, str] | None]
    told_to_wait: Callable[[Moment, str], None]


class UnknownPairError(ConfigError):
    """The exchange does not know a pair that it was asked about."""


class Client:
    """ccxt's object for one exchange, and the only way to it."""

    def __init__(self, access: Access, around: Surroundings, symbol: str = "") -> None:
        self.access = access
        self._symbol = symbol
        self._asked_at: Moment = 0
        self.dialect: Dialect = DIALECTS.get(access.exchange_id, BINANCE)
        self.offset_ms = 0
        """How far the exchange's clock is ahead of ours."""
        self._around = around
        self._made: Any = None
        self._line: Any = None
        self._waiting: tuple[Moment, str] | None = None
        self._down: tuple[Moment, TraderError] | None = None
        self._ended = False
        self._key_worked = False
        self._key_refused = 0

    # --- ccxt's object ------------------------------------------------------------------------

    @property
    def ccxt(self) -> Any:
        """ccxt's own object, made when it is first needed, on a line that repeats and follows nothing."""
        if self._made is None:
            self._made = self._make()
        return self._made

    @property
    def reply(self) -> Reply | None:
        """What came back of the request made last, if anything did."""
        last: Reply | None = self._line.last if self._line is not None else None
        return last

    @property
    def sent(self) -> bool:
        """False only if no byte of the request made last can have left."""
        return bool(self._line is None or self._line.sent)

    def _make(self) -> Any:
        made = exchange_class(self.access.exchange_id)(self._config())
        from trader_cli.tools.exchanges.line import Line

        self._line = made.session = Line(self._told_to_wait)
        self._line.trust_env = bool(made.requests_trust_env)
        if self.access.sandbox:
            if not made.urls.get("test"):
                raise ConfigError(
                    f"{self.access.exchange_id} has no testnet that ccxt knows", "Use MARKET=live on paper."
                )
            made.set_sandbox_mode(True)
        if self.access.key is not None:
            _refuse_plain(made.urls["api"])
            _refuse_plain(made.proxyUrl)
        return made

    def _config(self) -> dict[str, Any]:
        """Ours over CCXT_CONFIG's over ccxt's own."""
        extra = dict(self.access.extra)
        options = {
            **(extra.pop("options", None) or {}),
            **(_BINANCE_OPTIONS if self.access.exchange_id in DIALECTS else {}),
            "defaultType": "spot",
            "adjustForTimeDifference": False,
        }
        options.pop("maxRetriesOnFailure", None)
        keys = {"apiKey": self.access.key, "secret": self.access.secret} if self.access.key else {}
        return {**extra, **keys, "options": options, "number": str, "enableRateLimit": True, "timeout": READ_TIMEOUT_MS}

    # --- asking -------------------------------------------------------------------------------

    def read(self, what: str, ask: Callable[[Any], T], absent: bool = False) -> Any:
        """Ask, again with jitter where that may help. With `absent`, None where there is no such order.

        `ask` may also read the answer, and raise Malformed. Raises UpstreamError, or ConfigError where only another
        key or setting helps.
        """
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

        self._refuse_while_left_alone()
        made = self.ccxt
        tries = Retrying(
            stop=lambda state: self._ended or stop_after_attempt(ATTEMPTS)(state),
            wait=wait_random_exponential(multiplier=0.4, max=4),
            retry=retry_if_exception(self._worth_asking_again),
            sleep=self._pause,
            reraise=True,
        )
        try:
            return tries(self._once, made, ask)
        except (exchange_errors().BaseError, OSError, Malformed, *_BROKEN) as error:
            if absent and self.reply is not None and self.reply.code in self.dialect.unknown_order:
                return None
            meant = self._upstream(what, error)
            raise (self.down(meant) if self.reply is None else meant) from None

    def once(self, ask: Callable[[Any], T]) -> T:
        """Ask once, for as long as an order may take. Raises whatever ccxt raises."""
        made = self.ccxt
        made.timeout = ORDER_TIMEOUT_MS
        try:
            return self._once(made, ask)
        finally:
            made.timeout = READ_TIMEOUT_MS

    def _once(self, made: Any, ask: Callable[[Any], T]) -> T:
        self._line.last, self._line.sent = None, False
        self._asked_at = self._around.wall()
        return ask(made)

    def _pause(self, secs: float) -> None:
        self._ended = not self._around.wait(secs)

    def sound(self, what: str, read: Callable[[], T]) -> T:
        """An answer read as a record. UpstreamError for one that is not what it must be."""
        name = self.access.exchange_id
        try:
            return read()
        except Malformed as error:
            raise UpstreamError(f"{name} gave no sound answer about {what}: {storable(str(error)[:200])}") from None
        except _BROKEN as error:
            raise UpstreamError(f"{name} gave no sound answer about {what}: {kind(error)}") from None

    def key_worked(self) -> None:
        """Note that the exchange took the key: a refusal later may be a ban for a while."""
        self._key_worked, self._key_refused = True, 0

    # --- waiting, being down, the clock -------------------------------------------------------

    def banned(self) -> tuple[Moment, str] | None:
        """Until when, on the wall, nothing may be asked, and why; None when asking is welcome."""
        banned = max(filter(None, (self._waiting, self._around.banned_until())), default=None)
        return banned if banned is not None and banned[0] > self._around.wall() else None

    def _refuse_while_left_alone(self) -> None:
        if (banned := self.banned()) is not None:
            raise UpstreamError(
                f"{self.access.exchange_id} asked not to be called until {iso(banned[0])}: {banned[1]}",
                "It is asked again after that.",
            )
        if self._down is not None and 0 <= self._around.wall() - self._down[0] < DOWN_MS:
            raise self._down[1]

    def down(self, error: TraderError) -> TraderError:
        """Remember for a moment that the exchange cannot be asked; hands `error` back to be raised."""
        self._down = self._around.wall(), error
        return error

    def up(self) -> None:
        """Ask again, whatever was before."""
        self._down = None

    def _told_to_wait(self, reply: Reply) -> None:
        until = self._around.wall() + (reply.wait_secs or 0) * 1000
        why = f"status {reply.status}" + (f", {reply.message}" if reply.message else "")
        self._waiting = until, storable(why)
        self._around.told_to_wait(*self._waiting)

    def set_clock(self) -> None:
        """How far the exchange's clock is from ours, by the answer at hand, else by asking.

        Raises UpstreamError where orders could be placed and the clocks are too far apart.
        """
        wall = self._around.wall
        server, now = _server_time(self.reply.body if self.reply else ""), (self._asked_at + wall()) // 2
        if server is None and self.ccxt.has.get("fetchTime"):
            server = self.read("its time", lambda made: made.fetch_time())
            now = (self._asked_at + wall()) // 2
        if not isinstance(server, int):
            return
        self._keep_offset(server - now)
        if abs(self.offset_ms) > MOST_SKEW_MS and self.access.key is not None:
            where = "behind" if self.offset_ms > 0 else "ahead of"
            raise UpstreamError(
                f"this machine's clock is {abs(self.offset_ms) / 1000:.1f} s {where} {self.access.exchange_id}'s, "
                f"needs to be within {MOST_SKEW_MS / 1000:.1f} s; set it (NTP)",
                "Then try again. Nothing was sent.",
            )

    def _keep_offset(self, offset_ms: int) -> None:
        self.offset_ms = offset_ms
        self.ccxt.options["timeDifference"] = -offset_ms

    # --- what went wrong ----------------------------------------------------------------------

    def _worth_asking_again(self, error: BaseException) -> bool:
        """Whether the same question may get an answer soon; a moved clock is set first."""
        reply = self.reply
        if reply is not None and reply.code == self.dialect.bad_clock:
            return self._clock_was_set()
        if reply is not None and (reply.status in LEFT_ALONE or reply.code in self.dialect.bad_key):
            return False
        if self.sent if reply is None else reply.status >= 500:  # whatever ccxt makes of that
            return True
        return isinstance(error, (exchange_errors().OperationFailed, Malformed, *_BROKEN))

    def _clock_was_set(self) -> bool:
        try:
            self.ccxt.load_time_difference()
        except exchange_errors().BaseError:
            return False
        self.offset_ms = -int(self.ccxt.options["timeDifference"])
        return True

    def _upstream(self, what: str, error: Exception) -> TraderError:
        """What a failed question means: another key is needed, or the exchange is out of reach."""
        name, reply = self.access.exchange_id, self.reply
        if reply is not None and reply.code in self.dialect.bad_key:
            self._key_refused += 1
            if not self._key_worked or self._key_refused > 2:
                return ConfigError(
                    f"{name} does not accept EXCHANGE_API_KEY: {self.words(error)}",
                    "Check the key, its secret, its rights and the addresses it may be used from. A testnet's key is "
                    "none for real money, nor the other way round.",
                )
        if isinstance(error, Malformed):
            return UpstreamError(f"{name} gave no sound answer about {what}: {storable(str(error)[:200])}")
        if isinstance(error, exchange_errors().BadSymbol):
            return UnknownPairError(
                f'{name} does not know the pair of SYMBOL "{self._symbol}"', "Set SYMBOL to a spot pair that it trades."
            )
        return UpstreamError(
            f"cannot read {what} from {name}: {self.words(error)}", "Every later command asks again. See: trader status"
        )

    def words(self, error: BaseException) -> str:
        """What went wrong, without address, key or signature."""
        if (reply := self.reply) is None:
            return kind(error)
        said = f"status {reply.status}" + (f", code {reply.code}" if reply.code else "")
        if reply.status < 400:
            return f"{said}, {kind(error)}"
        return storable((said + (f": {reply.message}" if reply.message else ""))[:300]).rstrip(".")


def extra_config(said: str) -> dict[str, Any]:
    """CCXT_CONFIG's JSON. Raises ConfigError for what is no object, or sets what it may not."""
    try:
        extra = json.loads(said)
    except (ValueError, RecursionError):
        extra = None
    if not isinstance(extra, dict) or not isinstance(extra.get("options", {}), dict):
        raise ConfigError(
            "CCXT_CONFIG must be a JSON object, or the path of a file that holds one",
            'For example: {"httpsProxy": "http://127.0.0.1:3128"}',
        )
    if wrong := sorted(set(extra) & _OURS):
        raise ConfigError(f"CCXT_CONFIG must not set {', '.join(wrong)}", "Take that out of it.")
    return extra


def _refuse_plain(addresses: object) -> None:
    """Raise ConfigError for an address that a key would travel to readable."""
    if isinstance(addresses, Mapping):
        for one in addresses.values():
            _refuse_plain(one)
    elif str(addresses).startswith("http://") and urlsplit(str(addresses)).hostname not in LOOPBACK:
        raise ConfigError(
            f'CCXT_CONFIG names "{urlsplit(str(addresses)).hostname}" without https: the key would travel readable',
            "Name it with https://, or plain http only on this machine.",
        )


def _server_time(body: str) -> int | None:
    """The exchange's clock where the answer about its market names it."""
    try:
        said = json.loads(body).get("serverTime")
    except (AttributeError, ValueError, RecursionError):
        return None
    return said if isinstance(said, int) and not isinstance(said, bool) else None


def kind(error: BaseException) -> str:
    """The kind of an error; its text may hold an address with a signature in it."""
    cause = error.__cause__
    return type(error).__name__ + (f" ({type(cause).__name__})" if cause is not None else "")
