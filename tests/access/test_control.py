"""Who somebody is: passwords, tokens, and users whom a proxy vouches for."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest
from twisted.cred.checkers import FilePasswordDB, InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from twisted_index.access.control import AnonymousAccess
from twisted_index.access.htpasswd import HtpasswdChecker
from twisted_index.access.tokens import TokenStore
from twisted_index.errors import TooManyRequests, Unauthorized, Unavailable
from twisted_index.interfaces import ANONYMOUS, Action, Credentials, IAccessControl, Identity

from .conftest import ALICE, OnDemand, outcome

CLOSED = '[groups]\ndevs = ["alice"]\n[[rule]]\nprojects = "*"\nallow = "read"\nto = "@devs"'


@pytest.fixture
def checker():
    return InMemoryUsernamePasswordDatabaseDontUse(alice=b"wonderland")


@pytest.fixture
def tokens(tmp_path):
    return TokenStore(str(tmp_path / "state"))


def basic(user: str, password: str, address: str = "192.0.2.1") -> Credentials:
    value = b"Basic " + b64encode(f"{user}:{password}".encode())
    return Credentials(authorization=value, address=address)


def identify(access, credentials) -> Identity:
    found = access.authenticate(credentials)
    return found if isinstance(found, Identity) else outcome(found)


def test_each_kind_of_access_is_one(make, checker):
    assert verifyObject(IAccessControl, make(checker))
    assert verifyObject(IAccessControl, AnonymousAccess())


# -- Users


def test_the_right_password_makes_a_user(make, checker):
    assert identify(make(checker), basic("alice", "wonderland")) == Identity(user="alice")


def test_a_user_has_groups(make, checker):
    found = identify(make(checker, rights=CLOSED), basic("alice", "wonderland"))

    assert found.groups == {"devs"}


def test_without_credentials_it_is_nobody(make, checker):
    assert identify(make(checker), Credentials()) is ANONYMOUS


@pytest.mark.parametrize(("user", "password"), [("alice", "x"), ("bob", "wonderland"), ("", "")])
def test_a_wrong_password_and_an_unknown_user_are_told_alike(make, checker, user, password):
    with pytest.raises(Unauthorized) as caught:
        identify(make(checker), basic(user, password))
    assert caught.value.message == "The user name or password is wrong."


def test_a_malformed_field_is_unauthorized(make, checker):
    with pytest.raises(Unauthorized, match="base64"):
        identify(make(checker), Credentials(authorization=b"Basic !"))


def test_several_checkers_are_asked_in_order(make, checker, tmp_path):
    path = tmp_path / "users"
    path.write_bytes(b"bob:builder\n")
    access = make(checker, FilePasswordDB(str(path)))

    assert identify(access, basic("alice", "wonderland")).user == "alice"
    assert identify(access, basic("bob", "builder")).user == "bob"
    with pytest.raises(Unauthorized):
        identify(access, basic("bob", "wonderland"))


def test_a_checker_that_cannot_be_asked_is_not_a_wrong_password(make, checker, tmp_path, worker, clock):
    access = make(HtpasswdChecker(str(tmp_path / "gone"), worker, clock), checker)

    assert identify(access, basic("alice", "wonderland")).user == "alice"
    with pytest.raises(Unavailable):
        identify(access, basic("alice", "x"))


# -- Users of a proxy


def test_a_user_of_a_trusted_proxy_needs_no_password(make):
    access = make(rights=CLOSED, proxies_assert_users=True)
    found = identify(access, Credentials(user="alice", authorization=b"Basic whatever"))

    assert found == Identity(user="alice", groups=frozenset({"devs"}))
    assert access.permits(found, Action.READ, "numpy")


# -- Tokens


@pytest.mark.parametrize(
    "spelled",
    [
        lambda secret: basic("__token__", secret),
        lambda secret: basic("__token__", f" {secret} "),
        lambda secret: Credentials(authorization=f"Bearer {secret}".encode()),
        lambda secret: Credentials(authorization=f"token  {secret} ".encode()),
    ],
)
def test_a_token_may_be_sent_in_several_ways(make, tokens, spelled):
    _, secret = tokens.create("ci", {Action.UPLOAD: ("acme-*",)})
    found = identify(make(tokens=tokens), spelled(secret))

    assert (found.user, found.token, found.name) == (None, "ci", "token ci")


def test_a_token_may_do_what_it_was_made_for(make, tokens):
    _, secret = tokens.create("ci", {Action.UPLOAD: ("acme-*",)})
    access = make(tokens=tokens, rights=CLOSED)
    token = identify(access, basic("__token__", secret))

    assert {action for action in Action if access.permits(token, action, "acme-core")} == {
        Action.READ,
        Action.CREATE,
        Action.UPLOAD,
    }
    assert not any(access.permits(token, action, "numpy") for action in Action)


def test_a_token_is_not_a_user(make, tokens):
    _, secret = tokens.create("ci", {Action.UPLOAD: ("acme-*",)})
    access = make(tokens=tokens)

    assert not access.permits(identify(access, basic("__token__", secret)), Action.DELETE, "acme-core")


def test_a_token_that_is_made_while_the_server_runs_counts(make, tokens, clock):
    access = make(tokens=tokens)
    assert not access.has_users
    _, secret = tokens.create("ci", {Action.READ: ("*",)})
    clock.advance(1)

    assert access.has_users
    assert identify(access, basic("__token__", secret)).token == "ci"


def test_a_revoked_token_is_wrong_at_the_next_request(make, tokens):
    _, secret = tokens.create("ci", {Action.READ: ("*",)})
    access = make(tokens=tokens)
    identify(access, basic("__token__", secret))
    tokens.revoke("ci")

    with pytest.raises(Unauthorized):
        identify(access, basic("__token__", secret))


def test_no_token_is_let_in_while_they_cannot_be_read(make, tokens):
    _, secret = tokens.create("ci", {Action.READ: ("*",)})
    access = make(tokens=tokens)
    Path(tokens.path).write_text("{")

    with pytest.raises(Unavailable, match="Tokens cannot be checked right now"):
        identify(access, basic("__token__", secret))


def test_a_token_below_another_user_name_is_told_how_it_is_sent(make, checker, tokens):
    _, secret = tokens.create("ci", {Action.READ: ("*",)})
    with pytest.raises(Unauthorized, match="For a token, use the user name __token__"):
        identify(make(checker, tokens=tokens), basic("alice", secret))


def test_where_there_are_only_tokens_a_user_is_told_so(make, tokens):
    tokens.create("ci", {Action.READ: ("*",)})
    with pytest.raises(Unauthorized, match="only tokens; use the user name __token__"):
        identify(make(tokens=tokens), basic("alice", "x"))


def test_without_a_state_there_are_no_tokens(make, checker):
    with pytest.raises(Unauthorized, match="This server has no tokens"):
        identify(make(checker), basic("__token__", "x"))


def test_where_nobody_could_be_right_nobody_is_wrong(make, tokens):
    """Some tools insist on a user name: `twine upload -u x -p x` to an index that takes all."""
    access = make(tokens=tokens)

    assert identify(access, basic("x", "x")) is ANONYMOUS
    assert identify(AnonymousAccess(), basic("x", "x")) is ANONYMOUS
    assert identify(AnonymousAccess(), Credentials(user="alice")) is ANONYMOUS


# -- Too many failures


def test_too_many_wrong_passwords_are_answered_so_and_a_right_one_still_passes(make, checker):
    access = make(checker)
    for _ in range(5):
        with pytest.raises(Unauthorized):
            identify(access, basic("alice", "x"))
    with pytest.raises(TooManyRequests) as caught:
        identify(access, basic("alice", "x"))

    assert caught.value.retry_after == 1
    assert identify(access, basic("alice", "wonderland")).user == "alice"


def test_too_many_wrong_tokens_likewise(make, tokens):
    token, secret = tokens.create("ci", {Action.READ: ("*",)})
    access = make(tokens=tokens)
    for _ in range(5):
        with pytest.raises(Unauthorized):
            identify(access, basic("__token__", f"tix-{token.identifier}-{'a' * 43}"))
    with pytest.raises(TooManyRequests):
        identify(access, basic("__token__", f"tix-{token.identifier}-{'a' * 43}"))

    assert identify(access, basic("__token__", secret)).token == "ci"


def test_failures_of_others_do_not_count(make, checker):
    access = make(checker)
    for _ in range(8):
        with pytest.raises((Unauthorized, TooManyRequests)):
            identify(access, basic("alice", "x"))

    with pytest.raises(Unauthorized):
        identify(access, basic("alice", "x", address="192.0.2.2"))
    with pytest.raises(Unauthorized):
        identify(access, basic("bob", "x"))


def test_behind_many_guesses_a_right_password_waits_no_longer_than_a_pause(make, tmp_path, clock):
    path = tmp_path / "users"
    path.write_bytes(ALICE)
    later = OnDemand()
    checker = HtpasswdChecker(str(path), later, clock)
    checker.load()
    checker._file._settled = True
    access = make(checker)

    def ask(password: str):
        return Deferred.fromCoroutine(access.authenticate(basic("alice", password)))

    for number in range(20):
        ask(f"guess {number}").addErrback(lambda _: None)
        while later.waiting:
            later.work()
    for number in range(200):
        ask(f"more {number}").addErrback(lambda _: None)
    right = ask("wonderland")
    clock.advance(2)
    later.work()

    assert outcome(right).user == "alice"


# -- What is cheap to ask


def test_what_a_request_needs_to_know_is_known_without_waiting(make, checker, worker):
    access = make(checker, rights=CLOSED)

    assert (access.public_read, access.has_users, access.generation) == (False, True, 1)
    assert worker.calls == []


def test_open_access_lets_everyone_read_and_nobody_do_more():
    access = AnonymousAccess()

    assert (access.public_read, access.has_users) == (True, False)
    assert [action for action in Action if access.permits(ANONYMOUS, action, "numpy")] == [Action.READ]
    somebody = Identity(user="alice")
    assert [action for action in Action if access.permits(somebody, action, "numpy")] == [Action.READ]


def test_open_access_may_take_uploads_of_anyone():
    access = AnonymousAccess(anonymous_upload=True)

    assert access.permits(ANONYMOUS, Action.UPLOAD, "numpy")
    assert access.permits(ANONYMOUS, Action.CREATE, "numpy")
    assert not access.permits(ANONYMOUS, Action.DELETE, "numpy")
