"""Where an upstream may lead."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock

from twisted_index.errors import ConfigurationError
from twisted_index.http_client.connection import ShunnedAddresses
from twisted_index.http_client.egress import (
    AddressRefused,
    AddressScope,
    EgressPolicy,
    GuardedEndpoint,
    address_scope,
)
from twisted_index.http_client.urls import Origin

PUBLIC = Origin("https", "pypi.example", 443)
ELSEWHERE = Origin("https", "files.example", 443)


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("151.101.0.223", AddressScope.PUBLIC),
        ("2a04:4e42::223", AddressScope.PUBLIC),
        ("::ffff:151.101.0.223", AddressScope.PUBLIC),
        ("64:ff9b::9765:df", AddressScope.PUBLIC),
        ("2002:9765:df::1", AddressScope.PUBLIC),
        ("10.1.2.3", AddressScope.PRIVATE),
        ("172.31.0.1", AddressScope.PRIVATE),
        ("192.168.1.1", AddressScope.PRIVATE),
        ("100.64.0.1", AddressScope.PRIVATE),
        ("fd12::1", AddressScope.PRIVATE),
        ("198.18.0.1", AddressScope.PRIVATE),
        ("203.0.113.80", AddressScope.PRIVATE),
        ("::ffff:10.1.2.3", AddressScope.PRIVATE),
        ("64:ff9b::a01:203", AddressScope.PRIVATE),
        ("2002:a01:203::1", AddressScope.PRIVATE),
        ("127.0.0.1", AddressScope.LOOPBACK),
        ("127.9.9.9", AddressScope.LOOPBACK),
        ("::1", AddressScope.LOOPBACK),
        ("::ffff:127.0.0.1", AddressScope.LOOPBACK),
        ("64:ff9b::7f00:1", AddressScope.LOOPBACK),
        ("2002:7f00:1::", AddressScope.LOOPBACK),
        ("169.254.169.254", AddressScope.CLOSED),
        ("::ffff:169.254.169.254", AddressScope.CLOSED),
        ("64:ff9b::a9fe:a9fe", AddressScope.CLOSED),
        ("fd00:ec2::254", AddressScope.CLOSED),
        ("100.100.100.200", AddressScope.CLOSED),
        ("168.63.129.16", AddressScope.CLOSED),
        ("192.0.0.192", AddressScope.CLOSED),
        ("0.0.0.0", AddressScope.CLOSED),
        ("0.1.2.3", AddressScope.CLOSED),
        ("::", AddressScope.CLOSED),
        ("::7f00:1", AddressScope.CLOSED),
        ("224.0.0.1", AddressScope.CLOSED),
        ("255.255.255.255", AddressScope.CLOSED),
        ("240.0.0.1", AddressScope.CLOSED),
        ("ff0e::1", AddressScope.CLOSED),
        ("fe80::1", AddressScope.CLOSED),
        ("fe80::1%eth0", AddressScope.CLOSED),
        ("fec0::1", AddressScope.CLOSED),
        ("2001::1", AddressScope.CLOSED),
        ("64:ff9b:1::1", AddressScope.CLOSED),
    ],
)
def test_an_address_is_known_for_what_it_leads_to(address: str, reach: AddressScope) -> None:
    assert address_scope(address) is reach


def guard(own: str, *exceptions: str) -> EgressPolicy:
    made = EgressPolicy(PUBLIC, exceptions)
    made.set_own_addresses([own])
    return made


@pytest.mark.parametrize(
    ("own", "leads", "not_to"),
    [
        ("151.101.0.223", ["151.101.0.1"], ["10.0.0.1", "127.0.0.1", "169.254.169.254"]),
        ("10.0.0.1", ["151.101.0.1", "192.168.0.1"], ["127.0.0.1", "169.254.169.254", "fd00:ec2::254"]),
        ("127.0.0.1", ["151.101.0.1", "10.0.0.1", "::1"], ["169.254.169.254", "0.0.0.0"]),
        ("169.254.1.1", ["151.101.0.1"], ["10.0.0.1", "169.254.1.2"]),
    ],
)
def test_an_upstream_leads_no_closer_than_it_is_itself(own: str, leads: list[str], not_to: list[str]) -> None:
    made = guard(own)

    assert [address for address in leads if not made.allows(ELSEWHERE, address)] == []
    assert [address for address in not_to if made.allows(ELSEWHERE, address)] == []


@pytest.mark.parametrize("first", ["151.101.0.223", "10.0.0.7"])
@pytest.mark.parametrize("then", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "0.0.0.0"])
def test_the_name_of_an_upstream_does_not_come_to_stand_for_this_machine(first: str, then: str) -> None:
    """Whoever has the name could have it stand for whatever this machine reaches (DNS rebinding)."""
    made = guard(first)

    assert made.allows(PUBLIC, "151.101.0.223")
    assert made.allows(PUBLIC, "10.0.0.9")
    assert not made.allows(PUBLIC, then)
    assert not made.allows(PUBLIC._replace(port=8443), then)


@pytest.mark.parametrize("own", ["127.0.0.1", "169.254.7.7"])
def test_an_upstream_that_was_chosen_on_this_machine_or_nearby_is_allowed(own: str) -> None:
    made = guard(own)

    assert made.allows(PUBLIC, own)


def test_exceptions_are_allowed_in_every_spelling() -> None:
    made = guard("151.101.0.223", "10.0.0.0/8", "169.254.169.254", "fd00::/16")

    for address in ("10.9.9.9", "::ffff:10.9.9.9", "169.254.169.254", "fd00::7"):
        assert made.allows(ELSEWHERE, address)
    assert not made.allows(ELSEWHERE, "192.168.0.1")
    with pytest.raises(ConfigurationError):
        guard("10.0.0.1", "ten")


def test_a_name_that_turns_private_later_opens_nothing() -> None:
    made = guard("151.101.0.223")
    made.set_own_addresses(["10.0.0.1"])

    assert not made.allows(ELSEWHERE, "10.0.0.2")


def test_an_upstream_with_one_public_address_is_public() -> None:
    made = EgressPolicy(PUBLIC)
    made.set_own_addresses(["10.0.0.1", "151.101.0.223"])

    assert not made.allows(ELSEWHERE, "10.0.0.2")


class Names:
    """A resolver that answers from a list, and never the same twice."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def resolveHostName(self, receiver: Any, host: str, port: int = 0, *_: Any) -> Any:
        self.asked.append(host)
        receiver.resolutionBegan(self)
        for address in self.answers[host.partition(".")[0]].pop(0):
            receiver.addressResolved(IPv4Address("TCP", address, port))
        receiver.resolutionComplete()
        return self


def connect(
    names: Names, origin: Origin, reactor: Any = None, shunned: ShunnedAddresses | None = None
) -> tuple[Any, Deferred[Any]]:
    reactor = reactor or MemoryReactorClock()
    reactor.nameResolver = names
    endpoint = GuardedEndpoint(reactor, EgressPolicy(PUBLIC), origin, 5.0, shunned)
    return reactor, endpoint.connect(Factory.forProtocol(Protocol))


def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    names = Names(pypi=[["151.101.0.1"]], files=[["151.101.0.2"], ["127.0.0.1"]])
    reactor, _ = connect(names, ELSEWHERE)

    assert names.asked == ["pypi.example", "files.example"]
    assert [client[0] for client in reactor.tcpClients] == ["151.101.0.2"]


def test_only_the_addresses_that_are_allowed_are_tried() -> None:
    names = Names(pypi=[["151.101.0.1"]], files=[["127.0.0.1", "151.101.0.2", "10.0.0.1"]])
    reactor, _ = connect(names, ELSEWHERE)
    reactor.pump([1] * 3)

    assert {client[0] for client in reactor.tcpClients} == {"151.101.0.2"}


def test_an_address_that_failed_is_tried_after_the_others() -> None:
    reactor = MemoryReactorClock()
    shunned = ShunnedAddresses(reactor)
    shunned.add("151.101.0.223")
    names = Names(pypi=[["151.101.0.223", "151.101.64.223"]])
    connecting = connect(names, PUBLIC, reactor, shunned)[1]
    reactor.advance(1)

    assert [client[0] for client in reactor.tcpClients] == ["151.101.64.223", "151.101.0.223"]
    connecting.cancel()
    _failure(connecting)


def test_a_name_with_no_address_that_is_allowed_is_not_connected_to() -> None:
    names = Names(pypi=[["151.101.0.1"]], files=[["127.0.0.1"]])
    reactor, connecting = connect(names, ELSEWHERE)

    assert isinstance(_failure(connecting), AddressRefused)
    assert reactor.tcpClients == []


def test_a_name_that_nobody_knows_is_told_as_such() -> None:
    _, connecting = connect(Names(pypi=[[]]), PUBLIC)

    assert isinstance(_failure(connecting), DNSLookupError)


def test_a_resolver_that_is_silent_is_given_up() -> None:
    class Silent(Names):
        def resolveHostName(self, *_: Any) -> Any:
            return self

    reactor, connecting = connect(Silent(), PUBLIC)
    reactor.advance(6)

    assert _failure(connecting) is not None


def _failure(deferred: Deferred[Any]) -> BaseException | None:
    failures: list[BaseException] = []
    deferred.addErrback(lambda failure: failures.append(failure.value))
    return failures[0] if failures else None
