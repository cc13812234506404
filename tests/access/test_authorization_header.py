"""The Authorization field, as installers and others send it."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_index.access.authorization_header import PresentedCredentials, parse_authorization
from twisted_index.errors import Unauthorized


def basic(text: str, encoding: str = "utf-8") -> bytes:
    return b"Basic " + b64encode(text.encode(encoding))


@pytest.mark.parametrize(
    ("value", "user", "secret"),
    [
        (basic("alice:secret"), "alice", b"secret"),
        (basic("alice:a:b"), "alice", b"a:b"),
        (basic("alice:"), "alice", b""),
        (basic("alice: secret "), "alice", b" secret "),
        (b"bAsIc   " + b64encode(b"alice:secret") + b" ", "alice", b"secret"),
        (basic("älice:pässword"), "älice", "pässword".encode()),
        (basic("älice:pässword", "latin-1"), "älice", "pässword".encode()),
        (basic("__token__:tix"), None, b"tix"),
        (basic("__token__: tix \t".rstrip("\t")), None, b"tix"),
        (b"Bearer tix", None, b"tix"),
        (b"bearer   tix ", None, b"tix"),
        (b"token tix", None, b"tix"),
    ],
)
def test_what_clients_send_is_understood(value, user, secret):
    assert parse_authorization(value) == PresentedCredentials(user=user, secret=secret)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (b"", "scheme"),
        (b"Digest username=x", "scheme"),
        (b"Basic", "no colon"),
        (b"Basic !!!", "not base64"),
        (b"Basic YWxpY2U6c2VjcmV0=x", "not base64"),
        (b"Basic YWxpY2", "not base64"),
        (basic("alice"), "no colon"),
        (basic("alice:a\nb"), "control character"),
        (basic("al\0ice:ab"), "control character"),
        (basic("al\x85ice:ab"), "control character"),
        (basic("a" * 257 + ":ab"), "user name is too long"),
        (basic("alice:" + "a" * 1025), "password is too long"),
        (b"Bearer " + b"a" * 1025, "password is too long"),
    ],
)
def test_what_is_malformed_is_refused_with_a_sentence(value, sentence):
    with pytest.raises(Unauthorized, match=sentence):
        parse_authorization(value)


def test_a_claim_does_not_show_its_secret():
    assert "hidden" not in repr(parse_authorization(basic("alice:hidden")))


@given(st.binary(max_size=60))
def test_whatever_is_sent_it_is_understood_or_refused(octets):
    for value in (octets, b"Basic " + octets, b"Basic " + b64encode(octets)):
        try:
            claim = parse_authorization(value)
        except Unauthorized:
            continue
        assert claim.user is None or ":" not in claim.user
