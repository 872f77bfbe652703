"""What the tests of commands share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ledgers import ledger_at


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """The grown ledger, at the usual place."""
    (tmp_path / "data").mkdir()
    return ledger_at(tmp_path / "data" / "agent.db")
