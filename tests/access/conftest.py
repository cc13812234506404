"""What the tests of access share: threads that are none, time that stands still, small files."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from twisted_index.access.control import AccessControl
from twisted_index.access.login_throttle import LoginThrottle
from twisted_index.access.rights import default_rights, parse_rights
from twisted_index.access.rights_file import FixedRights

#: `openssl passwd -apr1`; the password is wonderland.
ALICE = b"alice:$apr1$abcdefgh$VS3vSM84y6riPqgPCrpTW."


class AtOnce:
    """A worker that works at once, and counts."""

    def __init__(self) -> None:
        self.calls: list[Callable[..., Any]] = []

    def run(self, function, *args, **kwargs):
        self.calls.append(function)
        return execute(function, *args, **kwargs)

    def stop(self):
        raise NotImplementedError


class OnDemand(AtOnce):
    """A worker that works when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Callable[[], None]] = []

    def run(self, function, *args, **kwargs):
        self.calls.append(function)
        result: Deferred[Any] = Deferred()
        self.waiting.append(lambda: execute(function, *args, **kwargs).chainDeferred(result))
        return result

    def work(self) -> None:
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            one()


def outcome(work: Any) -> Any:
    """Give the result of what is done already, or raise its error."""
    found: list[Any] = []
    deferred = Deferred.fromCoroutine(work) if isinstance(work, Coroutine) else work
    deferred.addBoth(found.append)
    assert found, "it is not done"
    if isinstance(found[0], Failure):
        found[0].raiseException()
    return found[0]


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.advance(1_000_000)
    return clock


@pytest.fixture
def worker() -> AtOnce:
    return AtOnce()


@pytest.fixture
def make(clock, worker):
    """Make an Access: of checkers, of tokens, of a text of rights."""

    def access(*checkers, tokens=None, rights=None, **more) -> AccessControl:
        held = default_rights() if rights is None else parse_rights(rights, "rights.toml")
        return AccessControl(
            checkers=checkers,
            tokens=tokens,
            rights=FixedRights(held),
            throttle=LoginThrottle(clock),
            worker=worker,
            clock=clock,
            **more,
        )

    return access
