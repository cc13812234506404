"""What is refused is recorded, however often it is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from twisted_index.errors import Unavailable
from twisted_index.events.audit_log import AuditLog
from twisted_index.events.origin import EventOrigin
from twisted_index.events.refusals import INTERVAL, MAX_KINDS, MAX_PER_NETWORK, Refusal, Refusals
from twisted_index.interfaces import AuditEvent, AuditQuery
from twisted_index.testing import SynchronousRunner

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


class Desk:
    """Refusals, and the log that they reach."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.log = AuditLog(None, SynchronousRunner())
        self.refusals = Refusals(self.log, self.clock, now=self.now)

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.clock.seconds())

    def refuse(self, address: str = "192.0.2.1", **values: str) -> None:
        values = {"kind": "403", "by": "bob", "message": "no", **values}
        self.refusals.add(Refusal(origin=EventOrigin(address=address, client="pip"), **values))

    def events(self) -> list[AuditEvent]:
        """The recorded events, the oldest first."""
        found: list[AuditEvent] = []
        self.log.search(AuditQuery(limit=10_000)).addCallback(lambda page: found.extend(page.events))
        return found[::-1]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_first_refusal_is_recorded_at_once(desk: Desk):
    desk.refuse(project="demo", filename="demo-1.0.tar.gz")
    assert desk.events() == [
        AuditEvent(
            time=NOON,
            by="bob",
            action="refuse",
            project="demo",
            filename="demo-1.0.tar.gz",
            detail="no",
            address="192.0.2.1",
            client="pip",
        )
    ]


def test_those_after_it_are_one_event_within_the_hour(desk: Desk):
    for number in range(1000):
        desk.refuse(message=f"no {number}")
    assert len(desk.events()) == 1
    desk.clock.advance(INTERVAL)
    last = desk.events()[1:]
    assert [event.detail for event in last] == ["999 more since 2026-11-01T12:00:00Z, the last: no 999"]
    assert (last[0].by, last[0].address, last[0].time) == ("bob", "192.0.2.1", NOON + timedelta(hours=1))


def test_a_single_refusal_is_one_event(desk: Desk):
    desk.refuse()
    desk.clock.advance(INTERVAL)
    assert len(desk.events()) == 1
    assert desk.clock.getDelayedCalls() == []


def test_the_next_hour_begins_anew(desk: Desk):
    desk.refuse()
    desk.clock.advance(INTERVAL)
    desk.refuse()
    assert len(desk.events()) == 2


def test_refusals_of_different_kinds_are_told_apart(desk: Desk):
    for values in ({}, {"kind": "401"}, {"by": "carol"}, {"project": "demo"}, {"address": "192.0.2.2"}):
        desk.refuse(**values)
    assert len(desk.events()) == 5


def test_one_network_cannot_crowd_out_the_others(desk: Desk):
    for number in range(5000):
        desk.refuse(f"2001:db8::{number:x}", project=f"p{number}")
    desk.refuse("2001:db8:1::1", project="p1")
    assert len(desk.events()) == MAX_PER_NETWORK + 2
    assert desk.events()[-1].address == "2001:db8:1::1"
    desk.clock.advance(INTERVAL)
    total = 5000 - MAX_PER_NETWORK - 1
    assert [event.detail.partition(" since")[0] for event in desk.events()[MAX_PER_NETWORK + 2 :]] == [
        f"{total} more of several kinds from this network"
    ]


def test_many_networks_are_bounded_too(desk: Desk):
    for number in range(3 * MAX_KINDS):
        desk.refuse(f"10.0.{number // 256}.{number % 256}")
    assert len(desk.events()) == MAX_KINDS + 1
    desk.clock.advance(INTERVAL)
    (summary,) = desk.events()[MAX_KINDS + 1 :]
    assert summary.detail.startswith(f"{2 * MAX_KINDS - 1} more of several kinds from all networks")
    assert (summary.by, summary.address) == ("", "")


def test_counts_are_recorded_when_the_server_stops(desk: Desk):
    desk.refuse()
    desk.refuse()
    Deferred.fromCoroutine(desk.refusals.flush())
    assert len(desk.events()) == 2
    assert desk.clock.getDelayedCalls() == []


def test_a_log_that_cannot_be_written_costs_no_answer(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    def fail(_event: AuditEvent) -> None:
        raise Unavailable("The disk is full.")

    monkeypatch.setattr(desk.log, "record", fail)
    desk.refuse()
    desk.refuse()
    desk.clock.advance(INTERVAL)
    assert desk.events() == []


def test_what_is_kept_of_a_message_is_bounded(desk: Desk):
    desk.refuse(message="x" * 100_000)
    assert len(desk.events()[0].detail) == 500


def test_what_is_kept_of_a_user_agent_is_bounded():
    assert EventOrigin.of("", b"\xff" * 5000).client == "\ufffd" * 200
    assert EventOrigin.of("", None).client == ""
