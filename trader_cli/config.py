"""Settings: their names, bounds and defaults in one place, and where each value came from.

Precedence: command option, environment, .env file, default. All problems are reported at once,
and no secret is ever part of a message.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, cast, get_args

from dotenv.parser import Binding, parse_stream
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from trader_cli.core.decimals import dec
from trader_cli.core.errors import ConfigError
from trader_cli.core.redaction import keep_secret

DEFAULT = "default"
"""The origin of a value that nobody set."""

_MOST_CHARS = 1_000_000
"""A settings file longer than this is something else, perhaps without an end."""
_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,40}|[a-z_][a-z0-9_]{0,40}", re.ASCII)
_DIGITS = re.compile(r"[0-9]{1,18}", re.ASCII)
_URL = re.compile(r"https?://[^\s@]+", re.ASCII)
_SERVER = re.compile(
    r"(https?)://([A-Za-z0-9][A-Za-z0-9._-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?(/((?![?#@\\])[!-~])*)?",
    re.ASCII,
)
_OCTET = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_LOOPBACK = re.compile(rf"localhost|127(\.{_OCTET}){{3}}|\[::1\]", re.ASCII | re.IGNORECASE)
_SYMBOL = re.compile(r"([A-Z0-9]{1,20})/(?!\1$)[A-Z0-9]{1,20}", re.ASCII)
_MODEL = re.compile(r"(?!sk-)[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}", re.ASCII)
_MARKET = re.compile(r"simulated|live|.+\.csv(\.gz)?")
_CCXT_CONFIG = re.compile(r"\s*\{.*|.+\.json")
_PLACEHOLDER = re.compile(
    r"(sk-)?(.*\.\.\..*|…|x+|\*+|<.*>|\$\{?\w*\}?|your.*|my.*key.*|change.?me.*|todo|none|null|key|secret|placeholder|example)",
    re.IGNORECASE,
)


# ---------------------------------------------------------------- readers: text -> value, or "must be …"


def _number(low: str, high: str | None = None, *, above: bool = False) -> BeforeValidator:
    """Read a plain decimal from `low` (or above it) to `high`."""
    bound = f"above {low}" if above else f"from {low}" if high else f"of {low} or more"
    phrase = f"a plain number {bound}" + ((f", at most {high}" if above else f" to {high}") if high else "")

    def read(value: object) -> object:
        if value is None:
            return None
        number = value if isinstance(value, Decimal | float) else _try(dec, value)
        if number is None or number < dec(low) or (above and number == dec(low)):
            raise ValueError(phrase)
        if high is not None and number > dec(high):
            raise ValueError(phrase)
        return number

    return BeforeValidator(read)


def _whole(low: int, high: int) -> BeforeValidator:
    """Read a whole number from `low` to `high`, digits only."""

    def read(value: object) -> object:
        number = int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else value
        if not isinstance(number, int) or isinstance(number, bool) or not low <= number <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return number

    return BeforeValidator(read)


def _like(pattern: re.Pattern[str], phrase: str) -> BeforeValidator:
    """Read a text that has a certain form."""

    def read(value: object) -> object:
        if value is not None and not pattern.fullmatch(str(value)):
            raise ValueError(phrase)
        return value

    return BeforeValidator(read)


def _flag(value: object) -> object:
    words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    read = words.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(read, bool):
        raise ValueError("true or false")
    return read


def _key(value: object) -> object:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if text is None:
        return None
    if not isinstance(text, str) or not text.strip():
        raise ValueError("a key, was empty; remove the line if there is none")
    if any(char.isspace() for char in text) or _PLACEHOLDER.fullmatch(text):
        raise ValueError("a real key, was a placeholder or has spaces in it")
    return value


def _server(value: object) -> object:
    """A model's server. Its address shows in messages and its path is added to, so it holds no more than that."""
    if value is None:
        return None
    found = _SERVER.fullmatch(str(value))
    if found is None or not 0 < int(found[3] or 443) < 65_536:
        raise ValueError("an https:// address without a password, a query or a fragment in it")
    if found[1] == "http" and not _LOOPBACK.fullmatch(found[2]):  # the key would travel readable
        raise ValueError("https:// (plain http only to this machine)")
    return value


def _try(read: Callable[[Any], Decimal], value: object) -> Decimal | None:
    try:
        return read(value)
    except ValueError:
        return None


Agents = Literal["auto", "openai", "rules"]
Mode = Literal["paper", "testnet", "real"]
Timeframe = Literal["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d"]
Trading = Literal["run", "reduce", "halt"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

MOST = "1000000000000"
Amount = Annotated[Decimal, _number("0", MOST, above=True)]
MaybeAmount = Annotated[Decimal | None, _number("0", MOST, above=True)]
Percent = Annotated[Decimal, _number("0", "100")]
ModelName = Annotated[str | None, _like(_MODEL, "a model's name")]
Key = Annotated[SecretStr | None, BeforeValidator(_key)]
FilePath = Annotated[Path, _like(re.compile(r".+"), "a file's path")]


def _set(about: str, default: Any = None, *, opens: str = "") -> Any:
    """A setting: `about` in one line; `opens` a group."""
    return Field(default, description=about, json_schema_extra={"opens": opens})


# ---------------------------------------------------------------- the settings


class Settings(BaseModel):
    """Every setting, checked and frozen. Built by `load_settings`, or by hand in a test: it reads nothing itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)

    mode: Mode = _set(
        "Whose money: paper (no key, no account) or testnet (an exchange's play money); for money see the README.",
        "paper",
        opens="What is traded, and with what",
    )
    symbol: Annotated[str, _like(_SYMBOL, 'a pair in capitals such as "BTC/USDT"')] = _set(
        "The pair to trade, base/quote.", "BTC/USDT"
    )
    timeframe: Timeframe = _set(
        "Length of one bar: 1m 3m 5m 15m 30m 1h 2h 4h 6h 12h 1d; unset, a recorded file's own spacing rules.", "5m"
    )
    market: Annotated[str | None, _like(_MARKET, 'simulated, live or the path of a ".csv" file')] = _set(
        "Where prices come from: simulated, live, or a .csv file of bars; unset: simulated on paper, else live."
    )
    simulated_seed: Annotated[int, _whole(0, 2**31 - 1)] = _set("Which simulated market; equal seeds, equal prices.", 2)
    ohlcv_limit: Annotated[int, _whole(100, 1000)] = _set("Bars an agent sees, 100 to 1000.", 200)
    agents: Agents = _set(
        "Who thinks: openai, rules (offline, free), or auto: openai when OPENAI_API_KEY is set, else rules.", "auto"
    )
    paper_balance_usdt: Amount = _set("Opening balance of a new paper ledger, in the quote currency.", Decimal(1000))
    paper_fee_pct: Annotated[Decimal, _number("0", "10")] = _set(
        "What the paper exchange takes of each fill, in percent.", Decimal("0.1")
    )
    paper_slippage_bps: Annotated[Decimal, _number("0", "10000")] = _set(
        "How much worse a paper fill is than the price, in hundredths of a percent.", Decimal(2)
    )
    db_path: FilePath = _set("The ledger.", Path("data/agent.db"))

    deposit_cap_usdt: Amount = _set(
        "The most that may ever be at risk, in the quote currency.", Decimal("5.0"), opens="What the law allows"
    )
    cap_in_all_modes: Annotated[bool, BeforeValidator(_flag)] = _set(
        "Hold paper trading to DEPOSIT_CAP_USDT too: true or false.", False
    )
    max_order_usdt: MaybeAmount = _set("The most one order may cost; unset, no limit of its own.")
    max_orders_per_day: Annotated[int, _whole(0, 100_000)] = _set("Orders in one UTC day.", 20)
    max_orders_per_hour: Annotated[int, _whole(0, 100_000)] = _set("Orders in any 60 minutes.", 10)
    cooldown_secs: Annotated[int, _whole(0, 604_800)] = _set("Seconds to wait after an order before buying again.", 0)
    max_losing_streak: Annotated[int, _whole(1, 100_000)] = _set(
        "Sales at a loss in a row after which nothing is bought for STREAK_COOLDOWN_SECS.", 3
    )
    max_rejected_streak: Annotated[int, _whole(1, 100_000)] = _set(
        "Orders in a row refused by the exchange after which nothing is bought for STREAK_COOLDOWN_SECS.", 3
    )
    streak_cooldown_secs: Annotated[int, _whole(0, 604_800)] = _set(
        "Seconds to wait after such a streak before buying again; 0, streaks are no limit.", 3600
    )
    daily_loss_limit_usdt: MaybeAmount = _set(
        "Loss in one UTC day after which trading only sells, then stops; unset, half the cap where it is in force."
    )
    max_drawdown_pct: Annotated[Decimal, _number("0", "100", above=True)] = _set(
        "Fall from the highest equity, in percent of it or of the cap in force; then trading only sells, then stops.",
        Decimal(20),
    )
    min_confidence: Annotated[float, _number("0", "1")] = _set(
        "Proposals to buy that are less sure than this are not carried out, 0 to 1.", 0.5
    )
    verdict_max_age_secs: Annotated[int, _whole(1, 86_400)] = _set("A verdict older than this is not carried out.", 120)
    max_price_drift_pct: Percent = _set(
        "A price that moved more than this since the verdict stops the order, in percent.", Decimal("0.5")
    )
    trading: Trading = _set(
        "run, reduce (sell only) or halt; `trader stop` does the same without editing a file.", "run"
    )

    openai_api_key: Key = _set("The key of the model's server.", opens="Models")
    openai_base_url: Annotated[str | None, BeforeValidator(_server)] = _set(
        "Another server that speaks the Responses API: https://, or http:// on this machine. It is sent the key."
    )
    openai_model_planner: ModelName = _set("The planner's model; unset, the one that `trader models` shows.")
    openai_model_trader: ModelName = _set("The trader's model; unset, the one that `trader models` shows.")
    openai_model_judge: ModelName = _set("The judge's model; unset, the one that `trader models` shows.")
    model_timeout_secs: Annotated[int, _whole(1, 600)] = _set("The longest wait for one answer, in seconds.", 30)
    model_budget_usd_per_day: Annotated[Decimal, _number("0")] = _set(
        "What all models may cost in one UTC day, in USD; then HOLD.", Decimal(1)
    )
    trader_tool_rounds: Annotated[int, _whole(0, 10)] = _set(
        "How often the trader's model may ask for candles or indicators in one cycle.", 2
    )

    exchange_id: Annotated[str, _like(re.compile(r"[a-z0-9_]{1,40}"), "an exchange's id in small letters")] = _set(
        "The exchange: orders on binance and binanceus, prices from any that ccxt knows.", "binance", opens="Exchange"
    )
    exchange_api_key: Key = _set("A key that may trade and read, and can not withdraw. Not needed on paper.")
    exchange_api_secret: Key = _set("Its secret.")
    trader_confirm_real: MaybeAmount = _set("Equal to DEPOSIT_CAP_USDT, or no order is sent for money.")
    ccxt_config: Annotated[SecretStr | None, _like(_CCXT_CONFIG, 'a JSON object, or the path of a ".json" file')] = (
        _set("Further options for ccxt, as a JSON object or a .json file with one: proxies, other addresses, options.")
    )

    log_level: LogLevel = _set(
        "Log lines from this level on: DEBUG, INFO, WARNING or ERROR. Set, they go to stderr too, as with -v.",
        "INFO",
        opens="Logs and notices",
    )
    log_file: FilePath | None = _set("Where log lines go, as JSON; five files of 10 MB at most.")
    webhook_url: Annotated[SecretStr | None, _like(_URL, "an http(s):// address")] = _set(
        "Is told of trades, stops, orders in doubt and silence by POST: JSON with `text` and `content`."
    )
    notify_urls: SecretStr | None = _set(
        "The same, by mail, phone or chat: addresses for apprise, separated by commas (extra notify)."
    )

    @property
    def timeframe_explicit(self) -> bool:
        """Whether somebody set TIMEFRAME; if not, a recorded file's own spacing may decide."""
        return "timeframe" in self.model_fields_set


FIELDS = Settings.model_fields
NAMES: tuple[str, ...] = tuple(name.upper() for name in FIELDS)
SECRETS = frozenset(name.upper() for name, info in FIELDS.items() if "SecretStr" in str(info.annotation))
_KEYS = frozenset({"OPENAI_API_KEY", "EXCHANGE_API_KEY", "EXCHANGE_API_SECRET"})


def _extra(name: str) -> dict[str, Any]:
    return cast("dict[str, Any]", FIELDS[name.lower()].json_schema_extra)


@dataclass(frozen=True, slots=True)
class Given:
    """A value as somebody wrote it. `where` is for messages, `origin` for a column."""

    text: str = field(repr=False)  # it may be a key
    origin: str
    where: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and for every NAME where its value came from: `option`, `env`, `credential`, `.env:12`, `default`."""

    settings: Settings
    origins: Mapping[str, str]


# ---------------------------------------------------------------- reading


def load_settings(
    env_file: Path | None, environ: Mapping[str, str], options: Mapping[str, str] | None = None
) -> Loaded:
    """Settings from command options (`{"DB_PATH": "x.db"}`), environment, credentials and `env_file` (None: read none).

    Raises ConfigError that names every problem; also when `env_file` or a credential cannot be read.
    """
    text = "" if env_file is None else _read(env_file)
    return settings_from(text, str(env_file), environ, options, _credentials(environ.get("CREDENTIALS_DIRECTORY")))


def ledger_name(env_file: Path | None, environ: Mapping[str, str]) -> str:
    """DB_PATH as far as it can be made out although something else is wrong with the settings."""
    if environ.get("DB_PATH"):
        return environ["DB_PATH"]
    try:
        given, _ = _from_text("" if env_file is None else _read(env_file), str(env_file))
    except ConfigError:
        given = {}
    found = given.get("DB_PATH")
    return found.text if found is not None and found.text else str(FIELDS["db_path"].default)


def settings_from(
    text: str,
    source: str,
    environ: Mapping[str, str],
    options: Mapping[str, str] | None = None,
    credentials: Mapping[str, Given] = MappingProxyType({}),
) -> Loaded:
    """As `load_settings`, for the text of a .env file that is called `source`."""
    given, problems = _from_text(text, source)
    _keep_secrets(given)  # also what the environment wins over, and before any problem is put into words
    given |= credentials
    _keep_secrets(given)
    given |= {n: Given(environ[n], "env", "from the environment") for n in NAMES if _says(n, environ)}
    _keep_secrets(given)
    given |= {name: Given(value, "option", "from the command line") for name, value in (options or {}).items()}
    given = {name: value for name, value in given.items() if value.text or not _may_be_unset(name)}
    settings, wrong = _check(given)
    if settings is None or problems or wrong:
        raise _config_error(problems + wrong, source if text else None, bool(options))
    return Loaded(settings, {name: given[name].origin if name in given else DEFAULT for name in NAMES})


def _credentials(folder: str | None) -> dict[str, Given]:
    """The secrets that a service manager laid down for us, a file each, named as the setting in any case.

    systemd: LoadCredential=openai_api_key:/etc/trader/openai_api_key. Files of other names are somebody else's.
    """
    found: dict[str, Given] = {}
    try:
        files = sorted(Path(folder).iterdir()) if folder else []
        for file in files:
            if (name := file.name.upper()) in SECRETS:
                words = file.read_text(encoding="utf-8").strip("\r\n")
                found[name] = Given(words, "credential", f"from the credential {file}")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f'cannot read the credentials in "{folder}": {_unreadable(error)}', "Look at CREDENTIALS_DIRECTORY."
        ) from None
    return found


def _keep_secrets(given: Mapping[str, Given]) -> None:
    for name in SECRETS & given.keys():
        keep_secret(name, given[name].text)


def problem_with(name: str, text: str) -> str | None:
    """What is wrong with `text` as the value of the setting `name`, or None."""
    _, problems = _check({name: Given(text, "option", "")})
    return problems[0] if problems else None


def _says(name: str, environ: Mapping[str, str]) -> bool:
    """Whether the environment has a word on `name`: empty means unset where a setting can be unset."""
    return name in environ and not (environ[name] == "" and _may_be_unset(name))


def _may_be_unset(name: str) -> bool:
    return FIELDS[name.lower()].default is None and name not in _KEYS


def _read(env_file: Path) -> str:
    try:
        with env_file.open(encoding="utf-8") as file:  # perhaps a pipe: --env-file <(decrypt .env)
            text = file.read(_MOST_CHARS + 1)
        reason = None if len(text) <= _MOST_CHARS else f"it has more than {_MOST_CHARS} characters"
    except (OSError, ValueError) as error:
        text, reason = "", _unreadable(error)
    if reason is not None:
        raise ConfigError(
            f'cannot read the settings file "{env_file}": {reason}',
            'Make one with "trader init", name another with --env-file PATH, or use --env-file none.',
        )
    return text


def _unreadable(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return str(error.strerror)
    return "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else "no file can have that name"


def _from_text(text: str, source: str) -> tuple[dict[str, Given], list[str]]:
    """The settings in a .env file by NAME, and what is wrong with its lines. Values are never interpolated."""
    given: dict[str, Given] = {}
    problems: list[str] = []
    for binding in parse_stream(io.StringIO(text)):
        blank = binding.original.string[: -len(binding.original.string.lstrip()) or None]
        line = binding.original.line + blank.count("\n")  # a binding begins with the empty lines before it
        where = f"from {source} line {line}"
        problem = _line_problem(binding, given)
        if problem:
            problems.append(f"{problem} ({where})")
        elif binding.key is not None:
            given[binding.key] = Given(binding.value or "", f"{source}:{line}", where)
    return given, problems


def _line_problem(binding: Binding, given: Mapping[str, Given]) -> str | None:
    """What is wrong with one line; its text is not repeated, as it may be a key in the wrong place."""
    key = binding.key
    if key is None and not binding.error:
        return None
    if key not in NAMES:
        from difflib import get_close_matches

        close = get_close_matches((key or "").upper(), NAMES, n=1)
        if key is None or binding.value is None or not (close or _NAME.fullmatch(key)):
            return "a line must be NAME=value or a # comment"
        return f'"{key}" is not a setting' + (f'; did you mean "{close[0]}"?' if close else "")
    if key in given:
        return f"{key} must be set once, was set at {given[key].origin} too"
    if binding.value is None:
        return f"{key} needs a value: {key}=…"
    return None


def _check(given: Mapping[str, Given]) -> tuple[Settings | None, list[str]]:
    """The settings, or every problem with them."""
    odd = [
        f"{name} must be text without control characters ({value.where})"
        for name, value in given.items()
        if not value.text.isprintable()
    ]
    plain: dict[str, Any] = {name.lower(): value.text for name, value in given.items() if value.text.isprintable()}
    try:
        settings = Settings(**plain)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        return None, odd + [_explain(dict(item), given) for item in found]
    return settings, odd + _key_problems(settings, given)


def _explain(item: Mapping[str, Any], given: Mapping[str, Given]) -> str:
    field_name = str(item["loc"][0])
    name, words = field_name.upper(), get_args(FIELDS[field_name].annotation)
    needs = f"one of {', '.join(words)}" if item["type"] == "literal_error" else str(item["ctx"]["error"])
    value = given[name]
    was = "" if name in SECRETS else f", was {_quoted(value.text)}"
    return f"{name} must be {needs}{was}" + (f" ({value.where})" if value.where else "")


def _quoted(text: str) -> str:
    """A value in a message: shortened, and hidden when it looks like a key in the wrong place."""
    if re.search(r"^sk-|://[^/]*@|[A-Za-z0-9_+-]{32,}", text):
        return "something that looks like a key (not shown)"
    return f'"{text if len(text) <= 60 else text[:59] + "…"}"'


def _key_problems(settings: Settings, given: Mapping[str, Given]) -> list[str]:
    """OpenAI's own host takes only keys that begin with "sk-"."""
    key, url = settings.openai_api_key, settings.openai_base_url
    elsewhere = url is not None and re.match(r"https?://api\.openai\.com(?![\w.-])", url) is None
    if key is None or elsewhere or key.get_secret_value().startswith("sk-"):
        return []
    return [f'OPENAI_API_KEY must be a key that begins with "sk-" ({given["OPENAI_API_KEY"].where})']


def _config_error(problems: list[str], source: str | None, options: bool) -> ConfigError:
    places = [f'"{source}"'] * bool(source) + ["the environment"] + ["the option"] * options
    place = " or ".join(places)
    hint = f'Correct {place}, then run "trader config check".'
    if len(problems) == 1:
        return ConfigError(problems[0], hint)
    return ConfigError("\n  ".join([f"{len(problems)} settings are wrong", *problems]), hint)


# ---------------------------------------------------------------- writing


def shown(settings: Settings, name: str) -> str | None:
    """A setting's value as text; of a secret at most its last four characters."""
    value = getattr(settings, name.lower())
    if isinstance(value, SecretStr):
        secret = value.get_secret_value()
        return f"set (…{secret[-4:]})" if len(secret) >= 16 else "set"
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)


def example_text(chosen: Mapping[str, str] | None = None) -> str:
    """A .env file that names every setting with its default, commented out; those in `chosen` are set."""
    chosen = chosen or {}
    lines = [
        "# Settings of trader. Every line is optional; what is commented out shows the default.",
        "# The environment wins over this file, a command's option over both.",
    ]
    defaults = Settings()
    for name in NAMES:
        info, extra = FIELDS[name.lower()], _extra(name)
        if extra["opens"]:
            lines += ["", f"# ---- {extra['opens']}"]
        default = shown(defaults, name) or ""
        value = f"{name}={_dotenv(chosen[name])}" if name in chosen else f"# {name}={default}"
        lines += ["", f"# {info.description}", value]
    return "\n".join(lines) + "\n"


def _dotenv(text: str) -> str:
    """`text` as a value in a .env file, quoted if it has to be."""
    if re.fullmatch(r"[\w./:+@,-]*", text, re.ASCII):
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
