"""The audit chain's hashes: everything that could be changed is in them, and what was not written is not."""

from __future__ import annotations

import hashlib
import json

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trader_cli.core.audit import GENESIS, Value, content_row, link_hash, row_hash, rows_hash, text_sha256

names = st.sampled_from(["id", "ts_utc", "qty", "price", "fee", "payload_json", "status"])
values: st.SearchStrategy[Value] = st.none() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8)
table_rows = st.dictionaries(names, values, min_size=1)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)


def kept(row: dict[str, Value]) -> list[tuple[str, Value]]:
    """What of a row is hashed, in its order."""
    return [(column, value) for column, value in row.items() if value is not None]


@given(table_rows, names, values)
@settings(max_examples=40)
def test_a_changed_value_changes_the_hash_of_its_row(row: dict[str, Value], column: str, value: Value) -> None:
    changed = {**row, column: value}
    same = kept(changed) == kept(row)
    assert (row_hash("trades", changed) == row_hash("trades", row)) is same


@given(table_rows, table_rows)
@settings(max_examples=40)
def test_two_rows_hash_alike_only_when_they_hold_the_same_in_the_same_columns(
    one: dict[str, Value], other: dict[str, Value]
) -> None:
    assert (row_hash("trades", one) == row_hash("trades", other)) == (kept(one) == kept(other))


@given(table_rows)
@settings(max_examples=40)
def test_a_column_that_is_null_leaves_the_hash_as_it_was(row: dict[str, Value]) -> None:
    assert row_hash("trades", {**row, "added_later": None}) == row_hash("trades", row)
    assert row_hash("trades", dict(kept(row))) == row_hash("trades", row)


@given(table_rows)
@settings(max_examples=40)
def test_the_same_row_in_another_table_hashes_differently(row: dict[str, Value]) -> None:
    assert row_hash("trades", row) != row_hash("orders", row)


@given(table_rows)
@settings(max_examples=40)
def test_a_renamed_column_changes_the_hash(row: dict[str, Value]) -> None:
    assume(kept(row))
    renamed = {f"{column}_": value for column, value in row.items()}
    assert row_hash("trades", renamed) != row_hash("trades", row)


@given(table_rows)
@settings(max_examples=40)
def test_the_order_of_the_columns_is_part_of_the_hash(row: dict[str, Value]) -> None:
    assume(len(kept(row)) > 1)
    assert row_hash("trades", dict(reversed(row.items()))) != row_hash("trades", row)


def test_a_number_and_its_text_hash_differently() -> None:
    assert row_hash("orders", {"qty": 1}) != row_hash("orders", {"qty": "1"})


def test_values_cannot_be_moved_across_the_border_of_two_columns() -> None:
    one: dict[str, Value] = {"cause": "a", "source": "bc"}
    other: dict[str, Value] = {"cause": "ab", "source": "c"}
    quoted: dict[str, Value] = {"cause": 'a","source":"bc'}
    assert len({row_hash("decisions", row) for row in (one, other, quoted)}) == 3


@given(st.text())
@settings(max_examples=40)
def test_any_text_can_be_hashed(words: str) -> None:
    assert len(row_hash("decisions", {"cause": words})) == 32
    assert text_sha256(words) == hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()


@given(table_rows)
@settings(max_examples=100)
def test_a_row_is_hashed_as_the_json_that_any_encoder_makes_of_it(row: dict[str, Value]) -> None:
    document = json.dumps(["trades", dict(kept(row))], ensure_ascii=True, separators=(",", ":"))
    assert row_hash("trades", row) == hashlib.sha256(document.encode("ascii")).digest()


def test_a_row_hash_is_what_it_is_documented_to_be() -> None:
    row: dict[str, Value] = {"id": 1, "qty": "0.5", "fee": None, "cause": "é"}
    document = b'["trades",{"id":1,"qty":"0.5","cause":"\\u00e9"}]'
    assert row_hash("trades", row) == hashlib.sha256(document).digest()


@given(st.lists(st.binary(min_size=32, max_size=32), unique=True, min_size=2, max_size=5))
@settings(max_examples=40)
def test_the_hash_of_a_transaction_knows_its_rows_and_their_order(hashes: list[bytes]) -> None:
    whole = rows_hash(hashes)
    assert rows_hash(reversed(hashes)) != whole
    assert rows_hash(hashes[1:]) != whole
    assert rows_hash([*hashes, hashes[0]]) != whole


links = st.fixed_dictionaries(
    {
        "seq": st.integers(1, 10**6),
        "wall_ts": st.text(max_size=6),
        "rows": st.integers(1, 99),
        "rows_sha256": digests,
        "marks_json": st.text(max_size=6),
        "prev_hash": digests | st.just(GENESIS),
    }
)


@given(links, links, st.text(max_size=4), st.text(max_size=4))
@settings(max_examples=40)
def test_a_link_covers_its_ledger_and_all_its_columns(
    one: dict[str, Value], other: dict[str, Value], ledger: str, another: str
) -> None:
    assert (link_hash(another, one) == link_hash(ledger, one)) == (another == ledger)
    for column, value in other.items():
        same = link_hash(ledger, {**one, column: value}) == link_hash(ledger, one)
        assert same == (value == one[column])


@given(links, digests)
@settings(max_examples=40)
def test_a_links_own_hash_is_not_part_of_it(link: dict[str, Value], digest: str) -> None:
    assert link_hash("L", {**link, "hash": digest}) == link_hash("L", link)


def test_a_link_hash_is_what_it_is_documented_to_be() -> None:
    document = '{"v":1,"ledger":"L","seq":2,"rows":3,"prev_hash":"' + "b" * 64 + '"}'
    link: dict[str, Value] = {"seq": 2, "rows": 3, "prev_hash": "b" * 64}
    assert link_hash("L", link) == hashlib.sha256(document.encode()).hexdigest()


def test_the_content_of_a_row_is_without_wall_time_link_and_latency_and_nothing_else() -> None:
    row: dict[str, Value] = {"id": 7, "ts_utc": "t", "latency_ms": 12, "cost_usd": "0", "wall_ts": "w", "link": 3}
    assert content_row(row) == {"id": 7, "ts_utc": "t", "cost_usd": "0"}
