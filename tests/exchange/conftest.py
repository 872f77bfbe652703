"""What the tests of a real exchange share."""

from __future__ import annotations

import pytest

from tests.test_crash import unmeasured


@pytest.fixture
def env(clean_env: dict[str, str]) -> dict[str, str]:
    """What a process needs; coverage does not trace it."""
    return unmeasured(clean_env)
