"""How many examples a property test tries; the profiles are in tests/conftest.py."""

from __future__ import annotations

from typing import Any

from hypothesis import settings


def examples(number: int, **more: Any) -> settings:
    """
    Ask for another number of examples than the usual 100, or the same share of another profile's.

    Args:
        number: As tried in CI.
        more: For `hypothesis.settings`.
    """
    return settings(max_examples=max(5, number * settings.default.max_examples // 100), **more)
