"""What proxies say, and what clients would like them to have said."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_index.access.trusted_proxies import ForwardedClient, TrustedProxies
from twisted_index.errors import ConfigurationError
from twisted_index.interfaces import ProxyUser

PROXY = "10.0.0.1"
PROXIES = TrustedProxies(["users:10.0.0.0/8", "2001:db8:ffff::/48", "unix"])


def seen(peer: str = PROXY, proxies: TrustedProxies = PROXIES, **fields: str | list[str]) -> ForwardedClient:
    """Ask with fields whose names are written with underscores."""
    raw = {
        name.replace("_", "-").encode(): [
            value.encode() for value in ([values] if isinstance(values, str) else values)
        ]
        for name, values in fields.items()
    }
    return proxies.client(peer, raw.get)


# -- Whom to believe


def test_without_fields_a_proxy_is_the_client():
    assert seen() == ForwardedClient(address=PROXY)


def test_nobody_else_is_believed():
    fields = {
        "x_forwarded_for": "192.0.2.1",
        "x_forwarded_proto": "https",
        "x_forwarded_host": "evil.example",
        "x_forwarded_prefix": "/x",
        "x_remote_user": "alice",
        "forwarded": "for=192.0.2.1;proto=https",
    }
    for peer in ("203.0.113.9", "2001:db8::1", "", "nonsense"):
        assert seen(peer, **fields) == ForwardedClient(address=peer)
    assert seen(PROXY, TrustedProxies([]), **fields) == ForwardedClient(address=PROXY)


@pytest.mark.parametrize("peer", ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8:ffff::1", "2001:db8:ffff::1%eth0"])
def test_a_proxy_is_known_by_its_network(peer):
    assert seen(peer, x_forwarded_for="192.0.2.1").address == "192.0.2.1"


def test_who_comes_by_a_unix_socket_is_trusted_if_so_said():
    assert seen("unix", x_forwarded_for="192.0.2.1").address == "192.0.2.1"
    assert seen("unix").address == ""
    assert seen("unix", TrustedProxies(["10.0.0.1"]), x_forwarded_for="192.0.2.1") == ForwardedClient(
        address=""
    )


@pytest.mark.parametrize(
    "text", ["", "localhost", "10.0.0.1/8", "10.0.0", "*", "unix:/run/x", "users:", "users:users:unix"]
)
def test_a_proxy_that_is_none_is_refused(text):
    with pytest.raises(ConfigurationError, match="is not a trusted proxy"):
        TrustedProxies([text])


# -- The way of the request


@pytest.mark.parametrize(
    ("chain", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1, 10.9.9.9", "192.0.2.1"),
        ("198.51.100.7, 192.0.2.1", "192.0.2.1"),
        ("10.5.5.5, 192.0.2.1, 10.9.9.9, 10.8.8.8", "192.0.2.1"),
        ("10.5.5.5, 10.9.9.9", "10.5.5.5"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unknown", PROXY),
        ("192.0.2.1, unknown", PROXY),
        ("192.0.2.1, unknown, 10.9.9.9", "10.9.9.9"),
        ("", PROXY),
        (",,,", PROXY),
    ],
)
def test_the_client_is_the_right_most_that_is_no_proxy(chain, address):
    assert seen(x_forwarded_for=chain).address == address


def test_several_lines_are_one_list():
    assert seen(x_forwarded_for=["198.51.100.7", "192.0.2.1, 10.9.9.9"]).address == "192.0.2.1"


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("for=192.0.2.1", ForwardedClient(address="192.0.2.1")),
        (
            'For="[2001:db8::1]:4711";Proto=HTTPS;host="pkg.example.org:8443"',
            ForwardedClient(address="2001:db8::1", scheme="https", host="pkg.example.org:8443"),
        ),
        (
            "for=198.51.100.7;proto=http, for=192.0.2.1;proto=https",
            ForwardedClient(address="192.0.2.1", scheme="https"),
        ),
        (
            "for=192.0.2.1;proto=https, for=10.9.9.9;proto=http;by=10.0.0.1",
            ForwardedClient(address="192.0.2.1", scheme="https"),
        ),
        ("for=_hidden;proto=https", ForwardedClient(address=PROXY, scheme="https")),
        ("for=192.0.2.1;", ForwardedClient(address=PROXY)),
        ("for=192.0.2.1;for=192.0.2.2", ForwardedClient(address=PROXY)),
        ('for="192.0.2.1', ForwardedClient(address=PROXY)),
        # What a client sent, and what the proxy appended.
        ('for=1.1.1.1;x=", for="[2001:db8::1]"', ForwardedClient(address=PROXY)),
        ('for=1.1.1.1;x="a, for=192.0.2.1', ForwardedClient(address=PROXY)),
        ("for=1.1.1.1;, for=192.0.2.1", ForwardedClient(address="192.0.2.1")),
    ],
)
def test_the_standard_field_says_the_same(value, client):
    assert seen(forwarded=value) == client


def test_a_client_cannot_choose_which_field_counts():
    assert seen(x_forwarded_for="192.0.2.1", forwarded="for=1.1.1.1;proto=https") == ForwardedClient(
        address=PROXY
    )
    agreed = seen(x_forwarded_for="192.0.2.1", forwarded="for=192.0.2.1", x_forwarded_proto="https")
    assert agreed == ForwardedClient(address="192.0.2.1", scheme="https")


# -- What it was sent to


def test_scheme_host_and_prefix_are_those_of_the_client():
    client = seen(
        x_forwarded_for="192.0.2.1",
        x_forwarded_proto="https",
        x_forwarded_host="pkg.example.org",
        x_forwarded_prefix="/pypi/",
    )
    assert client == ForwardedClient(
        address="192.0.2.1", scheme="https", host="pkg.example.org", prefix="/pypi"
    )


def test_with_a_scheme_for_each_hop_that_of_the_client_counts():
    chain = {"x_forwarded_for": "198.51.100.7, 192.0.2.1, 10.9.9.9"}

    assert seen(**chain, x_forwarded_proto="http, https, http").scheme == "https"
    assert seen(**chain, x_forwarded_proto="https").scheme == "https"
    assert seen(**chain, x_forwarded_proto="http, https").scheme == "https"


@pytest.mark.parametrize(
    "host",
    [
        *("pkg.example.org", "pkg.example.org.", "pkg:8080", "localhost", "192.0.2.1", "a_b", "a"),
        *("[2001:db8::1]:80", "[::ffff:192.0.2.1]"),
    ],
)
def test_a_plain_host_passes(host):
    assert seen(x_forwarded_host=host).host == host


HOSTILE = [
    "a b",
    "a,b ",
    'a"b',
    "a'b",
    "a<b>",
    "a/b",
    "a@b",
    "a\\b",
    "a;b",
    "a?b",
    "a#b",
    "-a",
    "a..",
    "\u00e9",
    "a%20b",
]


@pytest.mark.parametrize(
    "host",
    [
        *HOSTILE,
        "",
        "a:",
        "a:0",
        "a:65536",
        "a:8080:1",
        "[1.2.3.4]",
        "[:::]",
        "[::::]",
        ".",
        "a:\u0661",
        "a" * 300,
    ],
)
def test_a_host_that_is_not_plain_does_not(host):
    found = seen(x_forwarded_host=host).host
    assert found in ("", host.rpartition(",")[2].strip())


@pytest.mark.parametrize(
    "prefix", [*HOSTILE, "", "/", "//a", "/a//b", "/../a", "/a/..", "/.", "/a b", "/a%2e", "/" + "a" * 300]
)
def test_a_prefix_that_is_not_plain_does_not(prefix):
    assert seen(x_forwarded_prefix=prefix).prefix == ""


@pytest.mark.parametrize("scheme", ["ftp", "javascript", "https:", " ", "h ttps"])
def test_no_other_scheme_passes(scheme):
    assert seen(x_forwarded_proto=scheme).scheme == ""


# -- The user


@pytest.mark.parametrize("user", ["alice", "alice@example.org", "a.b-c_d+e", "\u00e4lice"])
def test_a_user_of_a_proxy_is_believed(user):
    assert seen(x_remote_user=user).user == ProxyUser(user)


@pytest.mark.parametrize(
    "user", ["", " ", "a b", "a,b", 'a"b', "a'b", "@developers", "__token__", "a:b", "a/b", "a" * 200]
)
def test_a_user_with_anything_strange_is_nobody(user):
    assert seen(x_remote_user=user).user is None


@pytest.mark.parametrize("peer", ["unix", "2001:db8:ffff::1"])
def test_a_proxy_vouches_for_users_only_if_that_was_said(peer):
    """Most proxies hand on a field that they were told nothing of, whoever wrote it."""
    assert seen(peer, x_forwarded_for="192.0.2.1", x_remote_user="alice") == ForwardedClient(
        address="192.0.2.1"
    )
    assert PROXIES.asserts_users
    assert not TrustedProxies(["10.0.0.1", "unix"]).asserts_users


def test_a_user_comes_with_the_address():
    found = seen(x_forwarded_for="192.0.2.1", x_remote_user="alice")
    assert found == ForwardedClient(address="192.0.2.1", user=ProxyUser("alice"))
    assert seen("unix", TrustedProxies(["users:unix"]), x_remote_user="alice").user == ProxyUser("alice")


def test_two_users_are_nobody():
    assert seen(x_remote_user=["alice", "alice"]).user is None


# -- The groups

GROUPED = TrustedProxies(
    ["users:10.0.0.0/8", "unix"], user_header="Remote-User", groups_header="Remote-Groups"
)
AUTHENTIK = TrustedProxies(
    ["users:10.0.0.0/8"],
    user_header="X-authentik-username",
    groups_header="X-authentik-groups",
    groups_separator="|",
)


def groups(proxies: TrustedProxies = GROUPED, *lines: str) -> set[str]:
    """Return the groups that the proxy of Alice states."""
    both = {
        name.decode().replace("-", "_"): value
        for name, value in zip(proxies.user_fields, ["alice", [*lines]], strict=True)
    }
    user = seen(proxies=proxies, **both).user
    assert user is not None
    assert user.name == "alice"
    return set(user.groups)


def test_a_user_is_read_from_the_field_that_was_named_and_from_no_other():
    assert seen(proxies=GROUPED, remote_user="alice").user == ProxyUser("alice")
    assert seen(proxies=GROUPED, x_remote_user="alice").user is None
    assert seen(remote_user="alice").user is None


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("devs", {"devs"}),
        ("admins,devs", {"admins", "devs"}),
        (" Domain Users ,\tdevs, ,,devs", {"Domain Users", "devs"}),
        ("a|b", {"a|b"}),
        ("B\u00fcro,role:x,/keycloak,%40all,Devs", {"B\u00fcro", "role:x", "/keycloak", "%40all", "Devs"}),
        ("", set()),
        (" , ", set()),
    ],
)
def test_groups_are_separated_by_commas(text, names):
    assert groups(GROUPED, text) == names


def test_groups_may_be_separated_by_bars_whose_names_have_commas():
    assert groups(AUTHENTIK, "authentik Admins|Sales, EU|devs") == {"authentik Admins", "Sales, EU", "devs"}


def test_half_a_name_is_never_a_group():
    """Where users make groups, one of `x|admins` or `x,admins` is no member of `admins`."""
    assert "admins" not in groups(GROUPED, "x|admins")
    assert "admins" not in groups(AUTHENTIK, "x,admins")


def test_groups_in_several_lines_are_none_as_one_may_be_the_clients():
    assert groups(GROUPED, "admins", "devs") == set()
    assert groups(GROUPED) == set()


def test_names_that_no_group_has_are_left_out():
    assert groups(GROUPED, f"devs,a\x01b,{'x' * 257},\u202eabc") == {"devs"}
    raw = {b"remote-user": [b"alice"], b"remote-groups": [b"devs,\xff"]}
    assert GROUPED.user(PROXY, raw.get) == ProxyUser("alice")


def test_any_number_of_groups_counts_that_a_head_has_room_for():
    many = {f"{number} of a large company" for number in range(2000)}
    assert groups(GROUPED, ",".join(many)) == many


def test_groups_without_a_user_and_of_other_peers_are_nobodys():
    assert seen(proxies=GROUPED, remote_groups="admins").user is None
    for user in ("", "a b", ["alice", "alice"]):
        assert seen(proxies=GROUPED, remote_user=user, remote_groups="admins").user is None
    for peer in ("203.0.113.9", "unix"):
        assert seen(peer, GROUPED, remote_user="alice", remote_groups="admins").user is None


def test_groups_are_ignored_unless_their_field_was_named():
    assert seen(x_remote_user="alice", remote_groups="admins", x_forwarded_groups="admins").user == ProxyUser(
        "alice"
    )


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sets(st.sampled_from(["x", "y", "z"]))), max_size=30))
def test_what_is_remembered_of_a_user_is_never_that_of_other_groups(requests):
    proxies = TrustedProxies(["users:unix"], groups_header="Groups")
    for name, names in requests:
        found = seen("unix", proxies, x_remote_user=name, groups=",".join(sorted(names))).user
        assert found == ProxyUser(name, frozenset(names))


def test_what_is_remembered_is_bounded():
    proxies = TrustedProxies(["users:unix"], groups_header="Groups")
    for number in range(2000):
        many = ",".join(f"{number}{one}" for one in range(150))
        assert len(seen("unix", proxies, x_remote_user="a", groups=many).user.groups) == 150
    assert sum(len(user.groups) for user in proxies._users.values()) <= 1 << 16


# -- Whatever is sent

texts = st.text(
    alphabet=st.sampled_from("abz019.:[],;=\"'\\ \t\r\n/-_%@\u00e9") | st.characters(codec="utf-8"),
    max_size=40,
)
words = st.sampled_from(
    ["for=", "192.0.2.1", "10.0.0.9", "[::1]", ",", ";", '"', "\\", "proto=https", "host=a", " ", "unknown"]
)
values = texts | st.lists(words, max_size=12).map("".join)
names = [
    "forwarded",
    "x_forwarded_for",
    "x_forwarded_proto",
    "x_forwarded_host",
    "x_forwarded_prefix",
    "x_remote_user",
]


@given(st.fixed_dictionaries({}, optional={name: st.lists(values, max_size=3) for name in names}))
def test_whatever_is_sent_only_plain_values_pass(fields):
    client = seen(**fields)

    assert str(ipaddress.ip_address(client.address)) == client.address
    assert client.scheme in ("", "http", "https")
    assert re.fullmatch(r"([A-Za-z0-9._-]+(:\d+)?|\[[0-9a-fA-F:.]+\](:\d+)?)?", client.host)
    assert re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", client.prefix)
    assert ".." not in client.prefix.split("/")
    assert client.user is None or re.fullmatch(r"\w[\w.@+-]*", client.user.name)


@given(st.lists(values, max_size=3), st.sampled_from(["192.0.2.77", "2001:db8::77"]), st.booleans())
def test_whatever_a_client_sends_before_it_the_address_that_a_proxy_appends_counts(sent, address, one_line):
    appended = [*sent, address]
    chain = [", ".join(appended)] if one_line else appended
    if not all(text.isascii() and text.isprintable() for text in chain):
        return

    assert seen(x_forwarded_for=chain).address == address


@given(st.lists(values, max_size=3), st.booleans())
def test_whatever_a_client_sends_in_the_standard_field_it_is_never_somebody_else(sent, one_line):
    appended = [*sent, "for=192.0.2.77"]
    chain = [", ".join(appended)] if one_line else appended

    assert seen(forwarded=chain).address in ("192.0.2.77", PROXY)


@given(st.integers(1, 3000))
def test_a_list_of_any_length_is_read_from_its_end(length):
    client = seen(x_forwarded_for=",".join(["1.1.1.1"] * length + ["192.0.2.1"]))
    assert client.address in ("192.0.2.1", PROXY)
