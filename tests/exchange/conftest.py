"""What the tests of a real exchange share."""

from __future__ import annotations

import pytest


@pytest.fixture
def env(clean_env: dict[str, str]) -> dict[str, str]:
    """What a process needs."""
    return clean_env
