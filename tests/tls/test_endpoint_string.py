"""Which endpoint strings name a certificate, and what they say."""

from __future__ import annotations

import pytest

from twisted_index.tls.endpoint_string import TLSFiles, parse_tls_endpoint, with_absolute_paths


def transport(description: str) -> str:
    parsed = parse_tls_endpoint(description)
    assert parsed is not None
    return parsed.transport


def files(description: str) -> TLSFiles:
    parsed = parse_tls_endpoint(description)
    assert parsed is not None
    return parsed.files


def test_https_names_its_certificate_and_its_key():
    assert files("https:443:certificate=/c.pem:key=/k.pem") == TLSFiles(certificate="/c.pem", key="/k.pem")


def test_the_key_may_be_in_the_file_of_the_certificate():
    assert files("https:443:certificate=/both.pem").key == "/both.pem"


def test_ssl_takes_the_parameters_of_twisted():
    found = files("ssl:443:privateKey=/k:certKey=/c:extraCertChain=/i:dhParameters=/d")
    assert found == TLSFiles(certificate="/c", key="/k", chain="/i", dh_parameters="/d")
    assert files("ssl:443:privateKey=/both").certificate == "/both"
    assert files("ssl:443").certificate == "server.pem"


def test_the_other_parameters_are_those_of_tcp():
    description = r"https:443:interface=\:\:1:certificate=/c:backlog=7"
    assert transport(description) == r"tcp:443:interface=\:\:1:backlog=7"


def test_a_socket_of_systemd_speaks_tls_too():
    assert transport("https:domain=INET6:name=index:certificate=/c") == "systemd:domain=INET6:name=index"


def test_a_colon_in_a_path_is_quoted():
    assert files(r"https:443:certificate=/a\:b.pem").certificate == "/a:b.pem"


def test_a_balancer_is_remembered():
    parsed = parse_tls_endpoint("haproxy:https:443:certificate=/c")
    assert parsed is not None
    assert parsed.proxied
    assert parsed.transport == "tcp:443"


@pytest.mark.parametrize("description", ["tcp:80", "tls:/etc/certs", "unix:/s", "haproxy:tcp:80", "httpsx:1"])
def test_other_strings_are_left_to_twisted(description: str):
    assert parse_tls_endpoint(description) is None
    assert with_absolute_paths("/folder", description) == description


def test_https_without_a_certificate_is_an_error():
    with pytest.raises(ValueError, match="names no certificate=FILE"):
        parse_tls_endpoint("https:443")


def test_an_old_protocol_cannot_be_chosen():
    with pytest.raises(ValueError, match="sslmethod is not supported"):
        parse_tls_endpoint("ssl:443:privateKey=/k:sslmethod=SSLv3_METHOD")


@pytest.mark.parametrize(
    ("description", "absolute"),
    [
        ("https:443:certificate=c.pem:key=k.pem", r"https:443:certificate=/a\:b/c.pem:key=/a\:b/k.pem"),
        ("https:443:certificate=/c.pem", "https:443:certificate=/c.pem"),
        ("haproxy:ssl:1:privateKey=k", r"haproxy:ssl:1:privateKey=/a\:b/k"),
    ],
)
def test_paths_are_relative_to_a_folder(description: str, absolute: str):
    assert with_absolute_paths("/a:b", description) == absolute
