"""docs/failure-modes.md: each of the eighty rows names tests that there are, or says why there is none."""

from __future__ import annotations

import re

import pytest

from tests.test_readme import ROOT

ROWS = re.findall(
    r"^\| (\d+) \| (.+?) \| (.+?) \| (.+) \|$", (ROOT / "docs" / "failure-modes.md").read_text("utf-8"), re.M
)


def test_there_are_eighty_rows() -> None:
    assert [int(row[0]) for row in ROWS] == list(range(1, 81))


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_row_is_shown_by_tests_that_there_are(row: tuple[str, str, str, str]) -> None:
    number, _, _, shown = row
    tests = re.findall(r"`([a-z_/]+\.py)::(test_[a-z0-9_]+)`", shown)
    assert tests or re.match(r"reason: .{40,}", shown), number
    for path, name in tests:
        assert re.search(rf"^ *def {name}\(", (ROOT / "tests" / path).read_text("utf-8"), re.MULTILINE), (number, name)
