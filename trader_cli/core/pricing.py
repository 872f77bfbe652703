"""What an answer of a model costs, and the most that a request can cost. USD, Decimal only.

Formula: (input - cached - kept) * input price + cached * cached price + kept * cache-write price
+ output * output price, per million tokens; the tokens of reasoning are part of the output
(OpenAI API reference, `ResponseUsage`).
"""

from __future__ import annotations

from decimal import Decimal

from trader_cli.core.decimals import add, ceil_to, div, mul, sub
from trader_cli.schemas.model import Price
from trader_cli.schemas.question import Usage

DOLLARS = frozenset({"USD", "USDT", "USDC", "FDUSD", "TUSD", "DAI", "USDP", "PYUSD", "BUSD"})
"""Quotes that a limit or a cost in dollars can be said in."""

QUANTUM = Decimal("1e-9")
"""What a cost is rounded to, in USD."""
MOST_TOKENS = 10_000_000
"""No answer has more: a server that says so is wrong or lies."""
BYTES_A_TOKEN = 2

_MILLION = Decimal(1_000_000)
_MILLIONTH = Decimal("1e-6")


def cost(price: Price, usage: Usage) -> Decimal | None:
    """What an answer cost, USD, half-even to 1e-9; None when the server's token counts say nothing one can believe.

    A server that names no tokens of its cache used none; it cannot have cached more than it read.
    """
    given, written = _count(usage.input_tokens), _count(usage.output_tokens)
    cached, kept = (_count(0 if each is None else each) for each in (usage.cached_tokens, usage.cache_write_tokens))
    if given is None or written is None or cached is None or kept is None:
        return None
    cached = min(cached, given)
    kept = min(kept, sub(given, cached))
    parts = (
        mul(price.input, sub(sub(given, cached), kept)),
        mul(price.cached, cached),
        mul(price.cache_write or price.input, kept),
        mul(price.output, written),
    )
    return div(add(*parts), _MILLION, QUANTUM)


def worst_case(price: Price, input_tokens: int, max_output_tokens: int) -> Decimal:
    """The most a request can cost, USD, rounded up to 1e-9: nothing cached, all of it written to the cache if dearer.

    Raises ValueError for a negative number of tokens.
    """
    if input_tokens < 0 or max_output_tokens < 0:
        raise ValueError(f"needs token counts of 0 or more, was {input_tokens} and {max_output_tokens}")
    read = max(price.input, price.cached, price.cache_write or price.input)
    total = add(mul(read, Decimal(input_tokens)), mul(price.output, Decimal(max_output_tokens)))
    return ceil_to(mul(total, _MILLIONTH), QUANTUM)


def most_input_tokens(text_bytes: int) -> int:
    """An upper bound of the tokens in a request of so many bytes of UTF-8: half of them.

    A token of a byte-pair encoding is at least one byte long, but one token per byte would hold back three to four
    times too much: English and JSON keys measure 3 to 4 bytes a token. Figures are the worst that a request of ours
    has (a token for each three digits, each point and each comma) at 1.9 bytes; they never come without the
    instructions and the schema, and together they measure 2.4 or more. Raises ValueError for a negative number.
    """
    if text_bytes < 0:
        raise ValueError(f"needs 0 bytes or more, was {text_bytes}")
    return -(-text_bytes // BYTES_A_TOKEN)


def _count(tokens: int | None) -> Decimal | None:
    """A number of tokens as a server named it: SDKs hand on what came, whatever its type."""
    if not isinstance(tokens, int) or not 0 <= tokens <= MOST_TOKENS:
        return None
    return Decimal(tokens)
