"""Hashed passwords, against what other programs made of the same ones."""

from __future__ import annotations

import subprocess
import sys
from shutil import which

import bcrypt
import pytest

from twisted_index.access.password_hashes import NEEDS_EXTRA, parse_hash

# Made with `openssl passwd -apr1`, `-5` and `-6`; with `htpasswd`'s bcrypt of Apache's own
# documentation ("Password Formats": the password is myPassword); and with crypt(3).
KNOWN = [
    ("wonderland", "$apr1$abcdefgh$VS3vSM84y6riPqgPCrpTW."),
    ("pässwörd", "$apr1$r31$qoOKdIr4DYwalxw4u9rYV/"),
    ("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "$apr1$./AZaz09$OxGEBzLqsXTXgub3wz0Dq."),
    ("wonderland", "$5$saltstring$P8WxiZdsQgEV/WrUJLFhcY321KVz2YovpJcf0/DrUQ2"),
    (
        "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
        "$5$a$1eUAWSGdIwtRsbjGWArZKz.i9vUio3knjnn2HUrT7/3",
    ),
    (
        "wonderland",
        "$6$saltstring$Q78qN3hztgTquoWC9NtuDHj45jbqRGGbA4LEwaFxw3MHtUvbisWpNl2GcJxgV8s4WnkDTKEyViX3xD6jBJP0B0",
    ),
    (
        "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
        "$6$a$wGMvB2fBCc6rWtp3RKzwVXXE3SRWPeaF5PhX0XYESkFbPAIITwVdN7VWFOb8W47CUjTJQ1mOg1KnvxnafCMWh/",
    ),
    ("", "$6$abc$mJP3a6FyA8uCnzRtlnNypPwjnvpi5TP9qOrInzrfDmwxUQG38PkpCPdqfTb8JQfAngapMxeim4AZ..hSdRRzD."),
    ("wonderland", "$5$rounds=1000$abcdefghijklmnop$7sctibpYavDOcxTKqoiWsyoiG9zuC3zQ3xqypQ51LC2"),
    # Fewer rounds than the specification allows mean the fewest.
    ("wonderland", "$5$rounds=10$abcdefghijklmnop$7sctibpYavDOcxTKqoiWsyoiG9zuC3zQ3xqypQ51LC2"),
    ("myPassword", "{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE="),
    ("myPassword", "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC"),
    ("wonderland", "{SSHA}RFMKYeWLidwCuUudsQKImRUtrq1zYWx0"),
]


@pytest.mark.parametrize(("password", "text"), KNOWN)
def test_a_password_is_known_again_in_every_form(password, text):
    stored = parse_hash(text.encode())

    assert stored.matches(password.encode())
    assert not stored.matches(password.encode() + b" ")
    assert not stored.matches(b"x")


def test_bcrypt_looks_at_seventy_two_bytes_as_htpasswd_does():
    stored = parse_hash(bcrypt.hashpw(b"a" * 72, bcrypt.gensalt(4)))

    assert stored.matches(b"a" * 72)
    assert stored.matches(b"a" * 100)
    assert not stored.matches(b"a" * 71)


@pytest.mark.parametrize("mark", ["2a", "2b", "2y"])
def test_bcrypt_has_three_marks(mark):
    text = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()

    assert parse_hash(f"${mark}{text[3:]}".encode()).matches(b"secret")


@pytest.mark.skipif(which("openssl") is None, reason="there is no openssl")
@pytest.mark.parametrize("option", ["-apr1", "-5", "-6"])
@pytest.mark.parametrize("password", ["a", "wonderland", "pässwörd", "x" * 200])
def test_what_openssl_makes_is_understood(option, password):
    run = subprocess.run(
        ["openssl", "passwd", option, "-stdin"], input=password.encode(), capture_output=True, check=True
    )
    stored = parse_hash(run.stdout.strip())

    assert stored.matches(password.encode())
    assert not stored.matches(password.encode() + b"x")


@pytest.mark.parametrize(("password", "text"), KNOWN)
@pytest.mark.parametrize("odd", [b"\0", b"wonderland\0", b"\xff\xfe", b"x" * 1024])
def test_an_odd_password_is_wrong_and_not_an_error(password, text, odd):
    assert not parse_hash(text.encode()).matches(odd)


@pytest.mark.parametrize("text", [text for _password, text in KNOWN])
def test_a_missing_package_is_told_with_what_to_install_and_only_where_it_is_needed(monkeypatch, text):
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    monkeypatch.setitem(sys.modules, "passlib.hash", None)

    if text.startswith("{"):
        parse_hash(text.encode())
        return
    with pytest.raises(ValueError, match="pip install") as caught:
        parse_hash(text.encode())
    assert str(caught.value) == NEEDS_EXTRA
    assert "pip install bcrypt libpass" in NEEDS_EXTRA


def test_bcrypt_does_not_wait_for_libpass(monkeypatch):
    monkeypatch.setitem(sys.modules, "passlib.hash", None)
    assert parse_hash(b"$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC").matches(b"myPassword")


def test_what_takes_longer_costs_more():
    """A password of an unknown user is compared with the most expensive hash."""
    texts = (
        "{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=",
        "$apr1$abcdefgh$VS3vSM84y6riPqgPCrpTW.",
        "$5$a$1eUAWSGdIwtRsbjGWArZKz.i9vUio3knjnn2HUrT7/3",
        "$5$rounds=20000$a$1eUAWSGdIwtRsbjGWArZKz.i9vUio3knjnn2HUrT7/3",
        "$2y$12$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC",
    )
    costs = [parse_hash(text.encode()).cost for text in texts]
    assert costs == sorted(set(costs))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "rl7yRtAqeyDG2",  # DES crypt
        "$1$abcdefgh$whatever",
        "$apr1$toolongsalt$DfI8AUVHTOgFcV63zDKaE1",
        "$apr1$abc$short",
        "$2y$05$short",
        "$2y$31$" + "a" * 53,
        "$2y$03$" + "a" * 53,
        "$2x$05$" + "a" * 53,
        "$5$abc$short",
        "$6$abc$" + "a" * 43,
        "$5$rounds=100001$abc$" + "a" * 43,
        "$5$rounds=x$abc$" + "a" * 43,
        "$5$a b$" + "a" * 43,
        "$5$seventeenletters.$" + "a" * 43,
        "$6$" + "a" * 86,
        "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9",
        "{SHA}!!!!",
        "{SSHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
        "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9hzYWx0",
        "{PLAIN}secret",
    ],
)
def test_what_is_no_accepted_hash_is_refused_without_being_repeated(text):
    with pytest.raises(ValueError, match=" ") as caught:
        parse_hash(text.encode())
    assert not text or text not in str(caught.value)


def test_plain_text_and_des_are_told_what_to_do():
    with pytest.raises(ValueError, match=r"plain text and DES crypt are not accepted.*htpasswd -B"):
        parse_hash(b"rl7yRtAqeyDG2")
