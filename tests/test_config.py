"""Settings: defaults, bounds, precedence, messages that help, and secrets that never show."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from tests.conftest import ROOT
from trader_cli.config import (
    NAMES,
    SECRETS,
    Settings,
    example_text,
    load_settings,
    problem_with,
    settings_from,
    shown,
)
from trader_cli.core.errors import ConfigError

CANARY = "sk-canary-0123456789-secret"


def refused(text: str, environ: dict[str, str] | None = None) -> str:
    """The message with which these settings are refused."""
    with pytest.raises(ConfigError) as caught:
        settings_from(text, ".env", environ or {})
    return caught.value.message


def test_the_defaults_are_the_promised_ones() -> None:
    settings = settings_from("", "", {}).settings
    assert (settings.mode, settings.agents, settings.trading) == ("paper", "auto", "run")
    assert (settings.symbol, settings.timeframe, settings.ohlcv_limit) == ("BTC/USDT", "5m", 200)
    assert (settings.market, settings.simulated_seed) == (None, 2)
    assert (settings.deposit_cap_usdt, settings.cap_in_all_modes) == (Decimal("5.0"), False)
    assert (settings.max_order_usdt, settings.max_orders_per_day, settings.cooldown_secs) == (None, 20, 0)
    assert (settings.max_orders_per_hour, settings.streak_cooldown_secs) == (10, 3600)
    assert (settings.max_losing_streak, settings.max_rejected_streak) == (3, 3)
    assert (settings.daily_loss_limit_usdt, settings.max_drawdown_pct) == (None, Decimal(20))
    assert (settings.min_confidence, settings.verdict_max_age_secs) == (0.5, 120)
    assert settings.max_price_drift_pct == Decimal("0.5")
    assert (settings.paper_balance_usdt, settings.paper_fee_pct) == (Decimal(1000), Decimal("0.1"))
    assert (settings.paper_slippage_bps, settings.db_path) == (Decimal(2), Path("data/agent.db"))
    assert (settings.model_timeout_secs, settings.model_budget_usd_per_day) == (30, Decimal(1))
    assert (settings.trader_tool_rounds, settings.exchange_id, settings.log_level) == (2, "binance", "INFO")


def test_the_process_environment_reaches_nobody_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMBOL", "DOGE/USDT")
    assert Settings().symbol == "BTC/USDT"
    assert load_settings(None, {}).settings.symbol == "BTC/USDT"
    assert load_settings(None, os.environ).settings.symbol == "DOGE/USDT"


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().symbol = "ETH/USDT"


@pytest.mark.parametrize("text", ["5,0", "nan", "inf", "-1", "", " 5", "1e9", "0", "+5", "0x5", "5.", "٣", "5\n"])
def test_money_is_a_plain_number_above_zero(text: str) -> None:
    assert problem_with("DEPOSIT_CAP_USDT", text) is not None


@pytest.mark.parametrize(
    ("name", "text", "needs"),
    [
        ("MODE", "papr", "one of paper, testnet, real"),
        ("AGENTS", "gpt", "one of auto, openai, rules"),
        ("TRADING", "stop", "one of run, reduce, halt"),
        ("TIMEFRAME", "7m", "one of 1m, 3m, 5m, 15m, 30m, 1h, 2h, 4h, 6h, 12h, 1d"),
        ("SYMBOL", "btc/usdt", 'a pair in capitals such as "BTC/USDT"'),
        ("SYMBOL", "BTCUSDT", 'a pair in capitals such as "BTC/USDT"'),
        ("MARKET", "mock", 'simulated, live or the path of a ".csv" file'),
        ("OHLCV_LIMIT", "99", "a whole number from 100 to 1000"),
        ("OHLCV_LIMIT", "1001", "a whole number from 100 to 1000"),
        ("OHLCV_LIMIT", "2_00", "a whole number from 100 to 1000"),
        ("OHLCV_LIMIT", "200.0", "a whole number from 100 to 1000"),
        ("MAX_ORDERS_PER_DAY", "-1", "a whole number from 0 to 100000"),
        ("COOLDOWN_SECS", "", "a whole number from 0 to 604800"),
        ("MAX_ORDERS_PER_HOUR", "-1", "a whole number from 0 to 100000"),
        ("MAX_LOSING_STREAK", "0", "a whole number from 1 to 100000"),
        ("MAX_REJECTED_STREAK", "0", "a whole number from 1 to 100000"),
        ("STREAK_COOLDOWN_SECS", "604801", "a whole number from 0 to 604800"),
        ("MAX_DRAWDOWN_PCT", "100.1", "a plain number above 0, at most 100"),
        ("MIN_CONFIDENCE", "1.01", "a plain number from 0 to 1"),
        ("CAP_IN_ALL_MODES", "maybe", "true or false"),
        ("DB_PATH", "", "a file's path"),
        ("LOG_LEVEL", "debug", "one of DEBUG, INFO, WARNING, ERROR"),
        ("MODEL_BUDGET_USD_PER_DAY", "-1", "a plain number of 0 or more"),
        ("OPENAI_BASE_URL", "ftp://x", "an https:// address without a password, a query or a fragment in it"),
        ("OPENAI_BASE_URL", "http://example.org/v1", "https:// (plain http only to this machine)"),
        ("OPENAI_MODEL_TRADER", "gpt 5", "a model's name"),
        ("MODEL_TIMEOUT_SECS", "0", "a whole number from 1 to 600"),
        ("TRADER_TOOL_ROUNDS", "11", "a whole number from 0 to 10"),
    ],
)
def test_a_wrong_value_says_what_is_needed_and_what_was_there(name: str, text: str, needs: str) -> None:
    assert problem_with(name, text) == f'{name} must be {needs}, was "{text}"'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("TIMEFRAME", "12h"),
        ("MARKET", "live"),
        ("MARKET", "data/my bars.csv"),
        ("OHLCV_LIMIT", "100"),
        ("MARKET", "bars.csv.gz"),
        ("OHLCV_LIMIT", "1000"),
        ("PAPER_FEE_PCT", "0"),
        ("MAX_DRAWDOWN_PCT", "100"),
        ("CAP_IN_ALL_MODES", "yes"),
        ("SYMBOL", "1INCH/USDC"),
    ],
)
def test_a_value_at_its_bound_is_taken(name: str, text: str) -> None:
    assert problem_with(name, text) is None


def test_all_problems_are_named_at_once_each_with_its_line() -> None:
    text = "# mine\n\nMODE=papr\nDEPOSIT_CAP_USDT=5,0\n  \n\nSYMBL=BTC/USDT\n"
    message = refused(text, {"TIMEFRAME": "7m"})
    assert message.startswith("4 settings are wrong\n")
    assert 'MODE must be one of paper, testnet, real, was "papr" (from .env line 3)' in message
    assert (
        'DEPOSIT_CAP_USDT must be a plain number above 0, at most 1000000000000, was "5,0" (from .env line 4)'
        in message
    )
    assert '"SYMBL" is not a setting; did you mean "SYMBOL"? (from .env line 7)' in message
    assert 'was "7m" (from the environment)' in message


def test_one_problem_is_one_line() -> None:
    assert "\n" not in refused("MODE=papr\n")


def test_a_name_in_small_letters_is_not_taken_for_the_setting() -> None:
    assert refused("mode=real\n") == '"mode" is not a setting; did you mean "MODE"? (from .env line 1)'


def test_a_name_like_no_setting_gets_no_suggestion() -> None:
    assert refused("QQQ=1\n") == '"QQQ" is not a setting (from .env line 1)'


def test_a_setting_that_stands_twice_is_refused() -> None:
    assert "DEPOSIT_CAP_USDT must be set once, was set at .env:1 too (from .env line 3)" in refused(
        "DEPOSIT_CAP_USDT=5\nMODE=paper\nDEPOSIT_CAP_USDT=500\n"
    )


@pytest.mark.parametrize("line", [CANARY, f"'{CANARY}", f'OPENAI_API_KEY="{CANARY}', f"{CANARY}=x", "c2VjcmV0LWtleQ=="])
def test_a_line_that_is_no_setting_is_refused_without_repeating_it(line: str) -> None:
    message = refused(line + "\n")
    assert message == "a line must be NAME=value or a # comment (from .env line 1)"


def test_a_setting_without_equals_sign_needs_a_value() -> None:
    assert refused("SYMBOL\n") == "SYMBOL needs a value: SYMBOL=… (from .env line 1)"


def test_the_environment_wins_over_the_file_and_an_option_over_both(tmp_path: Path) -> None:
    env_file = tmp_path / "my.env"
    env_file.write_text("SYMBOL=ETH/USDT\nTIMEFRAME=1h\nDB_PATH=a.db\nOHLCV_LIMIT=300\n", encoding="utf-8")
    loaded = load_settings(env_file, {"TIMEFRAME": "15m", "DB_PATH": "b.db"}, {"DB_PATH": "c.db"})
    settings = loaded.settings
    assert (settings.symbol, settings.timeframe, settings.db_path) == ("ETH/USDT", "15m", Path("c.db"))
    assert loaded.origins["SYMBOL"] == f"{env_file}:1"
    assert loaded.origins["TIMEFRAME"] == "env"
    assert loaded.origins["DB_PATH"] == "option"
    assert loaded.origins["OHLCV_LIMIT"] == f"{env_file}:4"
    assert loaded.origins["MODE"] == "default"
    assert set(loaded.origins) == set(NAMES)


def test_an_empty_value_leaves_an_optional_setting_unset() -> None:
    loaded = settings_from("MAX_ORDER_USDT=\nMARKET=\n", ".env", {"DAILY_LOSS_LIMIT_USDT": ""})
    assert (loaded.settings.max_order_usdt, loaded.settings.market) == (None, None)
    assert loaded.origins["MAX_ORDER_USDT"] == "default"


def test_an_empty_value_in_the_environment_does_not_lift_the_limit_in_the_file() -> None:
    assert settings_from("MAX_ORDER_USDT=3\n", ".env", {"MAX_ORDER_USDT": ""}).settings.max_order_usdt == 3


def test_an_empty_value_where_one_is_needed_is_refused() -> None:
    assert 'SYMBOL must be a pair in capitals such as "BTC/USDT", was ""' in refused("SYMBOL=\n")
    assert "OHLCV_LIMIT must be" in refused("", {"OHLCV_LIMIT": ""})


def test_whether_somebody_set_the_timeframe_can_be_seen() -> None:
    assert not settings_from("", "", {}).settings.timeframe_explicit
    assert settings_from("TIMEFRAME=5m\n", ".env", {}).settings.timeframe_explicit
    assert settings_from("", "", {"TIMEFRAME": "5m"}).settings.timeframe_explicit


def test_values_are_taken_literally_and_comments_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRICE", "leak")
    loaded = settings_from("MARKET=${PRICE}.csv\nexport SYMBOL='ETH/USDT' # mine\r\nMODE=paper # yes\n", ".env", {})
    assert loaded.settings.market == "${PRICE}.csv"
    assert (loaded.settings.symbol, loaded.settings.mode) == ("ETH/USDT", "paper")


def test_a_control_character_in_a_value_is_refused() -> None:
    assert refused("", {"MARKET": "a\x1b[31m.csv"}) == (
        "MARKET must be text without control characters (from the environment)"
    )


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "EXCHANGE_API_KEY", "EXCHANGE_API_SECRET"])
@pytest.mark.parametrize(
    "text", ["", "  ", "sk-...", "your-key-here", "sk-your-key", "<key>", "changeme", "xxxx", "sk-proj-...", "my_key"]
)
def test_empty_keys_and_placeholders_are_refused_and_not_repeated(name: str, text: str) -> None:
    message = refused("", {name: text})
    assert message.startswith(f"{name} must be a")
    assert not text.strip() or text not in message


def test_a_key_with_a_space_in_it_is_refused_and_not_repeated() -> None:
    message = refused(f"OPENAI_API_KEY='{CANARY} {CANARY}'\n")
    assert message.startswith("OPENAI_API_KEY must be a real key")
    assert CANARY not in message


def test_only_openais_own_host_demands_its_kind_of_key() -> None:
    assert "OPENAI_API_KEY must be a key that begins with" in refused("OPENAI_API_KEY=abcdefgh-12345\n")
    assert "begins with" in refused("OPENAI_API_KEY=abcdefgh-12345\nOPENAI_BASE_URL=https://api.openai.com/v1\n")
    elsewhere = "OPENAI_API_KEY=abcdefgh-12345\nOPENAI_BASE_URL=http://127.0.0.1:8080/v1\n"
    key = settings_from(elsewhere, ".env", {}).settings.openai_api_key
    assert key is not None
    assert key.get_secret_value() == "abcdefgh-12345"


@pytest.mark.parametrize(
    "text",
    [
        "https://openrouter.ai/api/v1",
        "https://models.internal:8443",
        "https://10.0.0.7/v1/",
        "https://[2001:db8::1]:443/v1",
        "http://localhost:11434/v1",
        "http://LOCALHOST/v1",
        "http://127.0.0.1:8000/v1",
        "http://127.255.0.9",
        "http://[::1]:1234/v1",
    ],
)
def test_the_key_may_go_to_any_server_by_https_and_to_this_machine_by_http(text: str) -> None:
    assert settings_from(f"OPENAI_BASE_URL={text}\n", ".env", {}).settings.openai_base_url == text


@pytest.mark.parametrize(
    "text",
    [
        "http://api.openai.com/v1",
        "http://192.168.1.5:8000/v1",
        "http://10.0.0.7",
        "http://localhost.example.org",
        "http://127.0.0.1.example.org/v1",
        "http://127.0.0.256",
        "http://127.1",
        "http://2130706433/v1",
        "http://0.0.0.0:8000",
        "http://[::]/v1",
        "http://[::ffff:10.0.0.1]/v1",
        "http://host_localhost",
    ],
)
def test_plain_http_would_carry_the_key_readable_to_another_machine(text: str) -> None:
    assert problem_with("OPENAI_BASE_URL", text) == (
        f'OPENAI_BASE_URL must be https:// (plain http only to this machine), was "{text}"'
    )


@pytest.mark.parametrize(
    "text",
    [
        "https://me:pw@host/v1",
        "https://host@evil/v1",
        "https://host/@/v1",
        "https://host/v1?key=x",
        "https://host/v1#x",
        "https://good.org\\.evil.org",
        "https://host/a\\b",
        "https://host:0/v1",
        "https://host:65536/v1",
        "https://host:/v1",
        "https://",
        "https:///v1",
        "https://-host",
        "https://host/v1 x",
        "https://h\u00f6st/v1",
        "https://host/\u202e1v",
        "https://host\n",
        "//host/v1",
        "host/v1",
        "file:///v1",
        "x",
    ],
)
def test_a_servers_address_is_a_host_a_port_and_a_path_and_no_more(text: str) -> None:
    message = problem_with("OPENAI_BASE_URL", text)
    assert message is not None
    assert "without a password, a query or a fragment" in message or "without control characters" in message


def test_an_empty_model_name_leaves_the_choice_to_the_table() -> None:
    names = ("OPENAI_MODEL_PLANNER", "OPENAI_MODEL_TRADER", "OPENAI_MODEL_JUDGE", "OPENAI_BASE_URL")
    text = "".join(f"{name}=\n" for name in names)
    for loaded in (settings_from(text, ".env", {}), settings_from("", ".env", dict.fromkeys(names, ""))):
        assert [getattr(loaded.settings, name.lower()) for name in names] == [None] * 4
        assert {loaded.origins[name] for name in names} == {"default"}


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_a_secret_shows_in_no_representation(name: str) -> None:
    text = "https://example.org/" + CANARY if name.endswith("URL") else CANARY
    if name == "CCXT_CONFIG":
        text = "{" + CANARY
    loaded = settings_from(f"{name}={text}\n", ".env", {})
    assert isinstance(getattr(loaded.settings, name.lower()), SecretStr)
    assert CANARY not in repr(loaded) + str(loaded.settings) + repr(loaded.origins) + loaded.settings.model_dump_json()
    assert shown(loaded.settings, name) == f"set (…{CANARY[-4:]})"


def test_a_short_secret_shows_nothing_of_itself() -> None:
    assert shown(settings_from("EXCHANGE_API_SECRET=abc1234\n", ".env", {}).settings, "EXCHANGE_API_SECRET") == "set"


@pytest.mark.parametrize("name", sorted(SECRETS - {"NOTIFY_URLS"}))
def test_a_wrong_secret_is_never_repeated(name: str) -> None:
    assert CANARY not in refused("", {name: f"{CANARY} x"})


@pytest.mark.parametrize(
    "text", [CANARY, "https://me:pw@host/v1", "0123456789abcdef0123456789abcdef", "ftp://user:secret@host"]
)
def test_what_looks_like_a_key_in_the_wrong_place_is_not_repeated(text: str) -> None:
    message = problem_with("OPENAI_BASE_URL", text)
    assert message is not None
    assert text not in message
    assert "not shown" in message


def test_a_settings_file_that_was_named_must_be_readable(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.env", tmp_path):
        with pytest.raises(ConfigError, match="cannot read the settings file") as caught:
            load_settings(path, {})
        assert "--env-file" in (caught.value.hint or "")
    (tmp_path / "latin.env").write_bytes(b"SYMBOL=\xe9\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_settings(tmp_path / "latin.env", {})


def test_a_byte_order_mark_is_not_part_of_the_first_name(tmp_path: Path) -> None:
    (tmp_path / "bom.env").write_bytes(b"\xef\xbb\xbfSYMBOL=ETH/USDT\r\n\r\nMODE=paper\r\n")
    loaded = load_settings(tmp_path / "bom.env", {})
    assert loaded.settings.symbol == "ETH/USDT"
    assert loaded.origins["MODE"].endswith(":3")


def test_the_example_file_in_the_repository_is_current() -> None:
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == example_text(), "run: trader config example"


def test_the_example_names_every_setting_changes_nothing_and_has_no_key() -> None:
    text = example_text()
    assert all(f"\n# {name}=" in text for name in NAMES)
    assert settings_from(text, ".env", {}).settings == Settings()
    assert "sk-" not in text
    assert "real" not in text.split("MODE=")[0]
    assert all(f"\n# {name}=\n" in text for name in SECRETS)


def test_the_example_without_comment_signs_is_the_default_too() -> None:
    lines = (line.removeprefix("# ") for line in example_text().splitlines())
    text = "\n".join(line for line in lines if line.split("=")[0] in NAMES and line.split("=")[0] not in SECRETS)
    assert settings_from(text, ".env", {}).settings == Settings(timeframe="5m")


@given(st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z"), include_characters=" "), min_size=1))
def test_a_chosen_value_comes_back_from_the_file_as_it_was(name: str) -> None:
    path = f"{name}.csv"
    text = example_text({"MARKET": path, "SYMBOL": "ETH/USDT"})
    settings = settings_from(text, ".env", {}).settings
    assert (settings.market, settings.symbol) == (path, "ETH/USDT")


def test_every_setting_is_described_in_one_line() -> None:
    for name in NAMES:
        about = Settings.model_fields[name.lower()].description or ""
        assert about.endswith("."), name
        assert "\n" not in about


# ---------------------------------------------------------------- credentials of a service manager


def credentials(folder: Path, **files: str) -> dict[str, str]:
    folder.mkdir()
    for name, words in files.items():
        (folder / name).write_text(words, encoding="utf-8")
    return {"CREDENTIALS_DIRECTORY": str(folder)}


def test_a_credential_is_a_secret_setting_named_in_any_case(tmp_path: Path) -> None:
    environ = credentials(tmp_path / "c", openai_api_key="sk-one\n", EXCHANGE_API_KEY="two", other="x", MODE="real")
    loaded = load_settings(None, environ)
    assert loaded.settings.openai_api_key is not None
    assert loaded.settings.openai_api_key.get_secret_value() == "sk-one"
    assert loaded.origins["OPENAI_API_KEY"] == loaded.origins["EXCHANGE_API_KEY"] == "credential"
    assert (loaded.settings.mode, loaded.origins["MODE"]) == ("paper", "default"), "only secrets come so"


def test_a_credential_wins_over_the_file_and_the_environment_over_both(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-from-the-file\n", encoding="utf-8")
    environ = credentials(tmp_path / "c", openai_api_key="sk-from-the-manager")

    def key(more: dict[str, str]) -> str:
        found = load_settings(tmp_path / ".env", {**environ, **more}).settings.openai_api_key
        assert found is not None
        return found.get_secret_value()

    assert key({}) == "sk-from-the-manager"
    assert key({"OPENAI_API_KEY": "sk-from-the-environment"}) == "sk-from-the-environment"


def test_a_credential_is_never_printed(tmp_path: Path) -> None:
    environ = credentials(tmp_path / "c", webhook_url="no address but a canary-secret-4711")
    with pytest.raises(ConfigError) as told:
        load_settings(None, environ)
    assert "WEBHOOK_URL" in told.value.message
    assert "canary" not in told.value.message


def test_credentials_that_cannot_be_read_are_an_error_and_none_are_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the credentials") as told:
        load_settings(None, {"CREDENTIALS_DIRECTORY": str(tmp_path / "nowhere")})
    assert "CREDENTIALS_DIRECTORY" in str(told.value.hint)
    assert load_settings(None, {"CREDENTIALS_DIRECTORY": ""}).settings.openai_api_key is None
