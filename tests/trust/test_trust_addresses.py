"""
Where a public upstream may lead, and who is told its password: no address of ours, and nobody else.

The upstream's name stands for a public address, as a resolver of the test says; the connections that
would be made are recorded, and none is.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.kit.front import JSON
from tests.kit.hostile_upstream import HostileUpstream, answer, page
from twisted_index.backends.upstream.client import HTTPUpstream
from twisted_index.http_client.egress import AddressRefused, EgressPolicy, GuardedEndpoint
from twisted_index.http_client.urls import InvalidURL, Origin, normalize_url, origin_of
from twisted_index.testing import SynchronousRunner, make_wheel

OWN = Origin("https", "index.example", 443)
PUBLIC = "151.101.0.223"

FORBIDDEN = [
    "127.0.0.1",
    "127.8.8.8",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "100.64.0.1",
    "fc00::1",
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "255.255.255.255",
    "224.0.0.1",
    "240.0.0.1",
    "ff02::1",
    "192.0.0.192",
]


class Resolving:
    """A reactor that resolves as it is told, one answer after the other, and only notes connections."""

    def __init__(self, names: dict[str, list[list[str]]]) -> None:
        self.clock = Clock()
        self.names = names
        self.nameResolver = self
        self.connected: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.clock, name)

    def resolveHostName(self, receiver: Any, host: str, port: int = 0, *_: Any, **__: Any) -> Any:
        answers = self.names.get(host, [[]])
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        receiver.resolutionBegan(self)
        for address in found:
            kind = IPv6Address if ":" in address else IPv4Address
            receiver.addressResolved(kind("TCP", address, port))
        receiver.resolutionComplete()
        return self

    def connectTCP(self, host: str, port: int, factory: Any, *_: Any, **__: Any) -> Any:
        self.connected.append(host)
        return self

    def stopConnecting(self) -> None:
        """Nothing was begun."""

    def disconnect(self) -> None:
        """Nothing was begun."""


def lead(reactor: Resolving, guard: EgressPolicy, host: str) -> BaseException | None:
    """Connect for the sake of an origin; give what it fails with at once."""
    outcome: list[Any] = []
    endpoint = GuardedEndpoint(reactor, guard, Origin("https", host, 443), 5.0)
    connecting: Deferred[Any] = endpoint.connect(object())  # type: ignore[arg-type]
    connecting.addBoth(outcome.append)
    reactor.clock.advance(1)
    return outcome[0].value if outcome and isinstance(outcome[0], Failure) else None


@pytest.mark.parametrize("address", FORBIDDEN)
def test_a_public_upstream_leads_to_no_address_of_ours(address: str):
    reactor = Resolving({"index.example": [[PUBLIC]], "files.example": [[address]]})

    assert isinstance(lead(reactor, EgressPolicy(OWN), "files.example"), AddressRefused)
    assert reactor.connected == []


@pytest.mark.parametrize("address", FORBIDDEN)
def test_of_several_addresses_only_those_that_are_allowed_are_tried(address: str):
    reactor = Resolving({"index.example": [[PUBLIC]], "files.example": [[address, "1.1.1.1"]]})
    lead(reactor, EgressPolicy(OWN), "files.example")

    assert reactor.connected == ["1.1.1.1"]


@pytest.mark.parametrize("address", [one for one in FORBIDDEN if "%" not in one])
def test_a_name_that_changes_between_look_and_connection_gains_nothing(address: str):
    """It is resolved once for each connection, and that is what is connected to."""
    reactor = Resolving({"index.example": [[PUBLIC]], "files.example": [["1.1.1.1"], [address]]})
    guard = EgressPolicy(OWN)
    lead(reactor, guard, "files.example")

    assert reactor.connected == ["1.1.1.1"]
    assert isinstance(lead(reactor, guard, "files.example"), AddressRefused)
    assert reactor.connected == ["1.1.1.1"]


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "169.254.169.254", "::ffff:169.254.169.254", "0.0.0.0"]
)
def test_the_upstream_s_own_name_gains_nothing_by_changing(address: str):
    """A document of an upstream is passed on: it must not be one of this machine, or of its cloud."""
    reactor = Resolving({"index.example": [[PUBLIC], [address]]})
    guard = EgressPolicy(OWN)
    lead(reactor, guard, "index.example")

    assert reactor.connected == [PUBLIC]
    assert isinstance(lead(reactor, guard, "index.example"), AddressRefused)
    assert reactor.connected == [PUBLIC]


SPELLED = [
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://127.0.0.1./",
    "http://localhost/",
    "http://LOCALHOST./",
    "http://\uff11\uff12\uff17.0.0.1/",
    "http://127\u30020\u30020\u30021/",
    "http://\u24db\u24de\u24d2alhost/",
]


@pytest.mark.parametrize("url", SPELLED)
def test_an_odd_spelling_of_an_address_is_what_it_resolves_to(url: str):
    """Whatever a system's resolver makes of it is what is looked at."""
    try:
        origin = origin_of(normalize_url(url))
    except InvalidURL:
        return
    reactor = Resolving({"index.example": [[PUBLIC]], origin.host: [["127.0.0.1"]]})

    assert isinstance(lead(reactor, EgressPolicy(OWN), origin.host), AddressRefused)


@pytest.mark.parametrize(
    "url",
    [
        "http://[fe80::1%25eth0]/",
        "http://[::1%lo]/",
        "http://good.example@127.0.0.1/",
        "http://good.example:pw@evil.example/",
        "http://good.example\\@evil.example/",
        "http://good.example%00.evil.example/",
        "http://good.example%2f@evil.example/",
        "http://good.example /",
        "http://good.example\t.evil.example/",
        "http://a\r\nHost: evil/",
        "http://[::ffff:1.2.3.4.5]/",
        "http://ex ample/",
        "http://" + quote("ü") + ".example/",
        "http://\ud800/",
        "file://localhost/etc/passwd",
        "http+unix://%2fvar%2frun%2fdocker.sock/",
    ],
)
def test_a_url_that_two_readers_may_read_differently_is_not_asked(url: str):
    with pytest.raises(InvalidURL):
        normalize_url(url)


# -- Credentials

SECRET = "hunter2-PASSWORD"


def test_the_password_of_an_upstream_is_told_to_it_and_to_nobody_else(server_factory: Any, tmp_path: Any):
    """Nor does it stand in a log, a page, an error, a metric, or the cache."""
    ours, other = HostileUpstream(), HostileUpstream()
    folder, state = tmp_path / "own", tmp_path / "state"
    folder.mkdir()
    origin = ours.origin.replace("//", f"//someone:{quote(SECRET)}@")
    server = server_factory(
        folder,
        state=state,
        options=["--upstream", f"{origin}/simple/"],
        env={"TWISTED_INDEX_CACHE_TTL": "0", "HOME": str(tmp_path)},
    )
    made = make_wheel("demo", "1.0")
    digest = f"sha256={made.sha256}"
    link = f'<a href="{other.origin}/{made.filename}#{digest}" data-gpg-sig="true">x</a>'.encode()
    ours.on("/simple/demo/", page(link, Content_Type="text/html"))
    ours.on("/simple/far/", answer(302, Location=f"{other.origin}/simple/far/"))
    ours.on("/simple/back/", answer(302, Location=origin.replace("someone", "x") + "/simple/other/"))
    ours.on("/simple/no/", answer(401, SECRET.encode(), WWW_Authenticate=f'Basic realm="{SECRET}"'))
    ours.on("/simple/echo/", page(b'{"files": "' + SECRET.encode() + b'"}', Content_Type=f"x/{SECRET}"))
    other.on(f"/{made.filename}", answer(200, made.content))
    other.on(f"/{made.filename}.asc", answer(200, b"signature"))
    other.on("/simple/far/", answer(401))
    said = [server.log.encode()]
    for path in (
        "/simple/demo/",
        "/project/demo/",
        f"/simple/demo/{made.filename}",
        f"/simple/demo/{made.filename}.metadata",
        f"/simple/demo/{made.filename}.asc",
        "/simple/far/",
        "/simple/back/",
        "/simple/no/",
        "/",
        "/-/metrics",
        "/-/problems",
        "/-/health",
    ):
        for accept in (JSON, "text/html", "text/plain"):
            reply = server.get(path, headers={"Accept": accept})
            said += [reply.body, repr(reply.fields).encode()]
    ours.close()
    said.append(repr(server.get("/simple/later/", headers={"Accept": JSON})).encode())
    other.close()
    server.stop()

    assert any("authorization" in asked.fields for asked in ours.asked)
    assert all("authorization" in asked.fields for asked in ours.asked)
    assert other.asked
    assert not [asked for asked in other.asked if "authorization" in asked.fields]
    kept = [path.read_bytes() for path in state.rglob("*") if path.is_file()]
    for text in (*said, *kept, server.log.encode()):
        assert SECRET.encode() not in text
        assert b"aHVudGVyMi" not in text
        assert b"someone" not in text


def test_a_password_is_in_no_representation_of_a_remote():
    url = f"https://someone:{SECRET}@index.example/simple/"
    remote = HTTPUpstream(url, Clock(), worker=SynchronousRunner(), environ={}, instance="one")

    assert SECRET not in remote.url + repr(remote) + repr(vars(remote))
