"""For what is done at once: no threads, and clocks that stand still until they are moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.python.failure import Failure


def answer(question: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call something all of whose work is done at once, and give its result."""
    results: list[Any] = []
    maybeDeferred(question, *args, **kwargs).addBoth(results.append)
    assert results, "there is no answer yet"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]
