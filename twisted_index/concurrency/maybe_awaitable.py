"""Calls whose result may be a value, a Deferred or a coroutine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from twisted.internet.defer import maybeDeferred

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from twisted.python.failure import Failure

P = ParamSpec("P")
T = TypeVar("T")


async def result_of(call: Callable[P, T | Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call something and wait for its result, whichever of the three it is."""
    # Twisted's annotations know each of the three, and not one that may be any of them.
    return await maybeDeferred(call, *args, **kwargs)  # type: ignore[arg-type]


def result_now(call: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> Any:
    """Call something whose work is all done at once, as with `SynchronousRunner`; return its result."""
    results: list[Any] = []
    failures: list[Failure] = []
    maybeDeferred(call, *args, **kwargs).addCallbacks(results.append, failures.append)
    for failure in failures:
        failure.raiseException()
    return results[0]
