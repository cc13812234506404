"""What people are told to type, checked against pip's own idea of it."""

from __future__ import annotations

import ipaddress
import shlex
import socket

import pytest
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress

from twisted_index.server import network
from twisted_index.server.banner import (
    Listener,
    cleartext_password_warning,
    describe_contents,
    describe_indexes,
    describe_upstreams,
    startup_banner,
)
from twisted_index.server.network import lan_addresses
from twisted_index.web.pages.install_commands import install_commands

URLS = [
    "http://192.168.1.5:8080",
    "http://box.local:8080/",
    "http://box.local",
    "http://localhost:8080",
    "http://127.0.0.1:8080",
    "http://127.8.9.1",
    "http://[::1]:8080",
    "http://[fd00::5]:8080",
    "https://packages.example.org/prefix",
    "https://192.168.1.5:8443",
]


def everywhere(port=8080, host="0.0.0.0"):
    kind = IPv6Address if ":" in host else IPv4Address
    return Listener(address=kind("TCP", host, port))


def lines(*listeners, hostname="box", public_url=None, paths=("/srv",), lan=("10.0.0.1", "fd00::1")):
    return startup_banner(listeners, hostname, public_url, paths, lan=lan)


def urls(found):
    """The URLs of pip lines."""
    words = [shlex.split(line) for line in found if line.lstrip().startswith("pip ")]
    return [line[line.index("--index-url") + 1] for line in words]


def test_lines_end_in_simple_with_and_without_a_prefix():
    assert install_commands("http://localhost:8080").pip == (
        "pip install --index-url http://localhost:8080/simple/ NAME"
    )
    assert install_commands("https://example.org/prefix/").uv == (
        "uv pip install --default-index https://example.org/prefix/simple/ NAME"
    )


def test_plain_http_to_another_machine_is_trusted_by_host_and_port():
    assert install_commands("http://192.168.1.5:8080").pip == (
        "pip install --index-url http://192.168.1.5:8080/simple/ --trusted-host 192.168.1.5:8080 NAME"
    )
    assert "--trusted-host box.local NAME" in install_commands("http://box.local").pip


@pytest.mark.parametrize("url", ["http://localhost:8080", "http://127.1.2.3:80", "http://[::1]:8080"])
def test_the_own_machine_needs_no_trust(url):
    assert "--trusted-host" not in install_commands(url).pip


def test_what_a_shell_would_expand_is_quoted():
    line = install_commands("http://[fd00::5]:8080").pip

    assert "'http://[fd00::5]:8080/simple/'" in line
    assert "--trusted-host '[fd00::5]:8080'" in line
    assert shlex.split(install_commands("http://a.b/x;y z").uv)[-2] == "http://a.b/x;y z/simple/"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what pip has vendored
@pytest.mark.parametrize("url", URLS)
def test_pip_itself_finds_each_line_secure_and_needs_all_of_it(url):
    session = pytest.importorskip("pip._internal.network.session")
    link = pytest.importorskip("pip._internal.models.link")
    words = shlex.split(install_commands(url).pip)
    index = link.Link(words[words.index("--index-url") + 1])
    trusted = [words[words.index("--trusted-host") + 1]] if "--trusted-host" in words else []

    assert session.PipSession(trusted_hosts=trusted).is_secure_origin(index)
    if trusted:
        assert not session.PipSession().is_secure_origin(index)


def test_a_listener_on_all_ipv4_addresses_is_shown_by_those_and_the_mdns_name():
    assert urls(lines(everywhere())) == ["http://10.0.0.1:8080/simple/", "http://box.local:8080/simple/"]


def test_a_listener_on_all_ipv6_addresses_hears_ipv4_too():
    assert urls(lines(everywhere(host="::"), hostname="")) == [
        "http://10.0.0.1:8080/simple/",
        "http://[fd00::1]:8080/simple/",
    ]


def test_a_listener_on_one_address_is_shown_by_that_alone():
    assert urls(lines(everywhere(host="127.0.0.1"))) == ["http://127.0.0.1:8080/simple/"]


def test_without_a_network_the_own_machine_is_shown():
    assert urls(lines(everywhere(), hostname="localhost", lan=())) == ["http://localhost:8080/simple/"]


@pytest.mark.parametrize(
    ("hostname", "name"), [("Box.example.org", "box"), ("box.local", "box"), ("my-box-2", "my-box-2")]
)
def test_the_mdns_name_is_made_of_the_first_label(hostname, name):
    assert f"http://{name}.local:8080/simple/" in urls(lines(everywhere(), hostname=hostname))


@pytest.mark.parametrize("hostname", ["", "localhost", "localhost.localdomain", "my_box", "-x", "a b", "x\n"])
def test_a_host_name_that_is_none_is_not_shown(hostname):
    assert urls(lines(everywhere(), hostname=hostname)) == ["http://10.0.0.1:8080/simple/"]


def test_the_usual_ports_are_not_written():
    assert urls(lines(everywhere(80), hostname="")) == ["http://10.0.0.1/simple/"]
    tls = Listener.at("tls:/etc/certs:port=443", IPv4Address("TCP", "0.0.0.0", 443))
    assert urls(lines(tls, hostname="")) == ["https://10.0.0.1/simple/"]


@pytest.mark.parametrize(
    ("endpoint", "scheme"),
    [
        ("tcp:80", "http"),
        ("ssl:443", "https"),
        ("tls:/x", "https"),
        ("haproxy:ssl:1", "https"),
        ("unix:/s", "http"),
    ],
)
def test_the_scheme_follows_the_endpoint(endpoint, scheme):
    assert Listener.at(endpoint, IPv4Address("TCP", "127.0.0.1", 1)).scheme == scheme


def test_a_port_for_a_balancer_is_no_address_for_clients():
    """A client that connects to it directly is refused, since it sends no PROXY header."""
    balanced = Listener.at("haproxy:tcp:8080", IPv4Address("TCP", "0.0.0.0", 8080))

    found = lines(balanced)

    assert "Listening on port 8080 of all addresses, for a balancer that speaks the PROXY protocol" in found
    assert urls(found) == []
    assert "Set --public-url to see the commands that install from here." in found
    assert cleartext_password_warning([balanced]) is None


def test_two_listeners_are_both_shown_and_no_url_twice():
    found = lines(everywhere(), everywhere(host="::"), everywhere(9000, "10.0.0.9"), hostname="")

    assert urls(found) == [
        "http://10.0.0.1:8080/simple/",
        "http://[fd00::1]:8080/simple/",
        "http://10.0.0.9:9000/simple/",
    ]


def test_a_public_url_is_the_only_one_that_is_shown():
    assert urls(lines(everywhere(), public_url="https://example.org")) == ["https://example.org/simple/"]


def test_a_unix_socket_says_that_it_is_one():
    found = lines(Listener(address=UNIXAddress(b"/run/index.sock")))

    assert "Listening on the unix socket /run/index.sock, for a reverse proxy" in found
    assert "Set --public-url to see the commands that install from here." in found
    assert urls(found) == []


def test_an_address_of_an_unknown_kind_is_named_as_it_names_itself():
    assert any("b.onion" in line for line in lines(Listener(address=HostnameAddress(b"b.onion", 80))))


def test_a_zone_is_encoded_in_a_url():
    assert urls(lines(everywhere(host="fe80::1%eth0"))) == ["http://[fe80::1%25eth0]:8080/simple/"]


def test_the_log_says_what_is_served_and_where():
    found = lines(everywhere(), everywhere(81, "127.0.0.1"), paths=["/srv/a", "/srv/b"])

    assert found[0] == "Serving the packages in /srv/a, /srv/b"
    assert found[1:3] == ["Listening on port 8080 of all addresses", "Listening on port 81 of 127.0.0.1"]


def test_the_log_says_that_nothing_else_will_be_found():
    assert lines(everywhere())[-1] == (
        "Names that are not in this folder will not be found: there is no upstream."
    )
    assert "these folders" in lines(everywhere(), paths=["/a", "/b"])[-1]


def test_a_path_that_cannot_be_printed_stays_in_its_line():
    assert lines(paths=["/srv/a\nb\udcff"])[0] == "Serving the packages in /srv/a\\nb\\udcff"


def test_lan_addresses_are_of_use_to_other_machines():
    for address in map(ipaddress.ip_address, lan_addresses()):
        assert not address.is_loopback
        assert not address.is_link_local
        assert not address.is_unspecified


def test_lan_addresses_are_the_own_ones():
    for address in lan_addresses():
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))  # only possible for an address of this machine


def test_lan_addresses_are_empty_where_the_system_says_nothing(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError

    monkeypatch.setattr(network.socket, "socket", refuse)
    monkeypatch.setattr(network, "open", refuse, raising=False)

    assert lan_addresses() == []


def test_what_comes_from_elsewhere_is_told_without_passwords():
    urls = ["https://me:secret@packages.example.org/simple/", "pip"]
    asked, kept = describe_upstreams(urls, "cache", "/var/cache/index", 5 << 30)
    assert asked == (
        "Other names are requested from https://packages.example.org/simple/, then the index that pip here is"
        " configured to use"
    )
    assert kept == "Upstream content is cached in /var/cache/index, up to 5.4 GB"


def test_offline_nobody_is_said_to_be_asked():
    lines = describe_upstreams(["pip"], "cache", "/var/cache/index", 5 << 30, offline=True)
    assert lines == ["Offline: other names are served only from /var/cache/index"]


def test_the_line_that_publishes_is_told_where_files_can_be_published():
    told = startup_banner([], "attic", "https://packages.example.org", ["/srv"], uploads=True)
    line = "twine upload --repository-url https://packages.example.org/legacy/ dist/*"
    assert line in [one.strip() for one in told]
    silent = startup_banner([], "attic", "https://packages.example.org", ["/srv"])
    assert not any("twine" in one for one in silent)


def test_with_uploads_there_is_a_line_for_uv_that_asks_for_the_password():
    told = startup_banner([], "attic", "http://attic", ["/srv"], uploads=True)

    line = "uv publish --trusted-publishing never --publish-url http://attic/legacy/ dist/*"
    assert line in [one.strip() for one in told]


def test_uploads_without_users_are_given_a_user_and_a_password_that_clients_insist_on():
    told = startup_banner([], "attic", "http://attic", ["/srv"], uploads=True, login=False)

    assert [one.strip() for one in told if "/legacy/" in one] == [
        "twine upload --repository-url http://attic/legacy/ -u any -p any dist/*",
        "uv publish --publish-url http://attic/legacy/ -u any -p any dist/*",
    ]


def test_the_files_whose_names_keep_them_out_are_the_least_number():
    line = describe_contents(3, 2, ["http://one.example"])
    assert line == "3 projects, at least 2 files left out: http://one.example/-/problems"


def test_indexes_with_a_name_are_listed_but_not_a_thousand():
    names = [f"i{number}" for number in range(1000)]
    assert describe_indexes("/srv/indexes", ["dev", "prod"], ["public"]) == [
        "Indexes below /+NAME/, in /srv/indexes: dev, prod",
        "Upstreams that indexes may name: public",
    ]
    assert describe_indexes("/srv/indexes", names, [])[0].endswith("i8, i9, 990 more")
    assert describe_indexes("/srv/indexes", [], []) == [
        "Each folder made in /srv/indexes is an index, below /+NAME/"
    ]
