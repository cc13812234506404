"""Who somebody is: passwords, tokens, and users whom a proxy vouches for."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path

import pytest
from twisted.cred.checkers import FilePasswordDB, InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from twisted_index.access.control import AccessControl, AnonymousAccess
from twisted_index.access.fingerprint import fingerprint
from twisted_index.access.htpasswd import HtpasswdChecker
from twisted_index.access.login_throttle import FREE_FAILURES, LoginThrottle
from twisted_index.access.rights_file import RightsFile
from twisted_index.access.tokens import TokenStore
from twisted_index.concurrency.fair_queue import PARALLEL_HASHES
from twisted_index.errors import TooManyRequests, Unauthorized, Unavailable
from twisted_index.interfaces import ANONYMOUS, Action, Credentials, IAccessControl, Identity, ProxyUser

from .conftest import ALICE, AtOnce, OnDemand, outcome

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


def test_groups_of_a_proxy_are_added_to_those_of_the_file(make):
    access = make(rights=CLOSED, proxies_assert_users=True)

    def asking(user: str, *groups: str) -> Identity:
        return identify(access, Credentials(user=ProxyUser(user, frozenset(groups))))

    assert asking("eve", "devs", "other") == Identity(
        user="eve", groups=frozenset({"devs"}), proxy_groups=frozenset({"devs"})
    )
    assert access.permits(asking("eve", "devs"), Action.READ, "numpy")
    assert not access.permits(asking("eve", "other"), Action.READ, "numpy")
    assert not access.permits(asking("eve"), Action.READ, "numpy")
    assert access.permits(asking("alice", "other"), Action.READ, "numpy")


def test_a_user_of_a_trusted_proxy_needs_no_password(make):
    access = make(rights=CLOSED, proxies_assert_users=True)
    found = identify(access, Credentials(user=ProxyUser("alice"), authorization=b"Basic whatever"))

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
    assert identify(AnonymousAccess(), Credentials(user=ProxyUser("alice"))) is ANONYMOUS


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


def test_behind_many_guesses_a_right_password_waits_no_longer_than_two_pauses(make, tmp_path, clock):
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
    for _ in range(2):
        clock.advance(2)
        later.work()

    assert outcome(right).user == "alice"


def test_guesses_that_come_all_at_once_are_not_all_hashed_before_the_first_failure_counts(
    make, tmp_path, clock
):
    path = tmp_path / "users"
    path.write_bytes(ALICE)
    later = OnDemand()
    checker = HtpasswdChecker(str(path), later, clock)
    checker.load()
    checker._file._settled = True
    access = make(checker)
    for number in range(300):
        guess = access.authenticate(basic("alice", f"guess {number}"))
        Deferred.fromCoroutine(guess).addErrback(lambda _: None)
    while later.waiting:
        later.work()

    assert len(later.calls) <= FREE_FAILURES + 2 * PARALLEL_HASHES


@pytest.mark.parametrize("of_htpasswd", [True, False])
def test_the_same_password_fifty_times_at_once_is_checked_once(
    make, checker, tmp_path, clock, monkeypatch, of_htpasswd
):
    """As uv sends it, which opens fifty connections; whatever checks it."""
    checks: list[Deferred[bytes]] = []
    if of_htpasswd:
        path = tmp_path / "users"
        path.write_bytes(ALICE)
        later = OnDemand()
        checker = HtpasswdChecker(str(path), later, clock)
        checker.load()
        checker._file._settled = True
    else:
        monkeypatch.setattr(
            type(checker), "requestAvatarId", lambda *_: checks.append(Deferred()) or checks[-1]
        )
    access = make(checker)
    asked = [Deferred.fromCoroutine(access.authenticate(basic("alice", "wonderland"))) for _ in range(50)]
    if of_htpasswd:
        later.work()
        assert len(later.calls) == 1
    else:
        checks[0].callback(b"alice")
        assert len(checks) == 1

    assert {outcome(one).user for one in asked} == {"alice"}


def test_a_client_that_leaves_takes_no_other_along(make, checker, monkeypatch):
    checks: list[Deferred[bytes]] = []
    left: list[Deferred[bytes]] = []
    monkeypatch.setattr(
        type(checker), "requestAvatarId", lambda *_: checks.append(Deferred(left.append)) or checks[-1]
    )
    access = make(checker)
    first, second, third = (
        Deferred.fromCoroutine(access.authenticate(basic("alice", "wonderland"))) for _ in range(3)
    )
    for one in (first, second):
        one.addErrback(lambda failure: failure.trap(CancelledError))
        one.cancel()
    assert (len(checks), left) == (2, checks[:1])
    checks[1].callback(b"alice")

    assert outcome(third).user == "alice"


# -- Who is known


def known(access, credentials: Credentials) -> Identity | None:
    assert credentials.authorization is not None
    return access.reader("numpy", fingerprint(credentials.authorization), None)


@pytest.fixture
def watched(make, tmp_path, worker, clock):
    """Access for the users of a file that is old enough for its times to show a change."""
    path = tmp_path / "users"
    path.write_bytes(ALICE)
    checker = HtpasswdChecker(str(path), worker, clock)
    checker._file._wall = lambda: 1e12
    checker.load()
    return make(checker, rights=CLOSED), path


def test_a_user_is_known_from_the_first_login_on_until_the_file_changes(watched, clock):
    access, path = watched
    alice = basic("alice", "wonderland")
    assert known(access, alice) is None
    identity = identify(access, alice)
    clock.advance(1_000_000)
    assert known(access, alice) is identity
    assert known(access, basic("alice", "wonderlan")) is None
    path.write_bytes(b"bob" + ALICE[5:])
    assert known(access, alice) is None
    with pytest.raises(Unauthorized):
        identify(access, alice)


def test_a_user_who_logs_in_while_the_file_changes_is_not_known_by_the_old_one(make, tmp_path, clock):
    path = tmp_path / "users"
    path.write_bytes(ALICE)
    later = OnDemand()
    checker = HtpasswdChecker(str(path), later, clock)
    checker._file._wall = lambda: 1e12
    checker.load()
    access, alice = make(checker, rights=CLOSED), basic("alice", "wonderland")
    slow = Deferred.fromCoroutine(access.authenticate(alice))
    path.write_bytes(b"bob" + ALICE[5:])
    checker.load()
    later.work()

    assert outcome(slow).user == "alice", "this one came before the change"
    assert known(access, alice) is None


def test_who_asks_after_a_change_does_not_join_a_login_from_before(make, tmp_path, clock):
    path = tmp_path / "users"
    path.write_bytes(ALICE)
    later = OnDemand()
    checker = HtpasswdChecker(str(path), later, clock)
    checker._file._wall = lambda: 1e12
    checker.load()
    access, alice = make(checker, rights=CLOSED), basic("alice", "wonderland")
    before = Deferred.fromCoroutine(access.authenticate(alice))
    path.write_bytes(b"bob" + ALICE[5:])
    after = Deferred.fromCoroutine(access.authenticate(alice))
    while later.waiting:
        later.work()

    assert outcome(before).user == "alice"
    with pytest.raises(Unauthorized):
        outcome(after)


def test_a_checker_that_notices_no_change_is_asked_again_after_a_minute(make, checker, clock):
    access, alice = make(checker, rights=CLOSED), basic("alice", "wonderland")
    identify(access, alice)
    checker.users.clear()
    clock.advance(59)
    assert known(access, alice) is not None
    clock.advance(2)
    assert known(access, alice) is None
    with pytest.raises(Unauthorized):
        identify(access, alice)


def test_a_token_is_known_until_it_is_revoked_or_expires(make, checker, tmp_path):
    now = [2e9]
    tokens = TokenStore(str(tmp_path), now=lambda: now[0])
    tokens.place._file._wall = lambda: 1e12
    access = make(checker, tokens=tokens, rights=CLOSED)
    for end in ("revoked", "expired"):
        _, secret = tokens.create(
            end, {Action.READ: ("*",)}, expires=datetime.fromtimestamp(now[0] + 60, UTC)
        )
        credentials = basic("__token__", secret)
        for _ in range(2):
            identify(access, credentials)
        assert known(access, credentials) == Identity(token=end, token_permissions={Action.READ: ("*",)})
        if end == "revoked":
            tokens.revoke(end)
        else:
            now[0] += 60
        assert known(access, credentials) is None
        with pytest.raises(Unauthorized):
            identify(access, credentials)


def test_a_token_made_again_under_its_name_has_the_new_scope(make, checker, tmp_path):
    tokens = TokenStore(str(tmp_path))
    tokens.place._file._wall = lambda: 1e12
    access = make(checker, tokens=tokens, rights=CLOSED)
    for pattern in ("numpy", "other"):
        _, secret = tokens.create("ci", {Action.READ: (pattern,)})
        for _ in range(2):
            identify(access, basic("__token__", secret))
        assert (known(access, basic("__token__", secret)) is not None) is (pattern == "numpy")
        tokens.revoke("ci")


def test_changed_rights_count_for_who_is_known(make, checker, tmp_path):
    path = tmp_path / "rights.toml"
    path.write_text(CLOSED)
    access = AccessControl(
        checkers=[checker],
        tokens=None,
        rights=RightsFile.at(str(path)),
        throttle=LoginThrottle(Clock()),
        worker=AtOnce(),
        clock=Clock(),
    )
    alice = basic("alice", "wonderland")
    identify(access, alice)
    assert known(access, alice) == Identity(user="alice", groups=frozenset({"devs"}))
    path.write_text(CLOSED.replace("devs", "all"))
    assert known(access, alice) == Identity(user="alice", groups=frozenset({"all"}))
    path.write_text(CLOSED.replace('"alice"', '"bob"'))
    assert known(access, alice) is None
    path.write_text("")
    assert known(access, alice) is ANONYMOUS


def test_nothing_that_is_kept_of_a_login_holds_the_secret(watched):
    access, _path = watched
    alice = basic("alice", "wonderland")
    identify(access, alice)
    assert known(access, alice) is not None
    (key,) = dict(access._known._logins.items())
    assert alice.authorization is not None
    assert len(key) == 32
    assert key not in alice.authorization


# -- What is cheap to ask


def test_what_a_request_needs_to_know_is_known_without_waiting(make, checker, worker):
    access = make(checker, rights=CLOSED)

    assert (access.public_read, access.has_users) == (False, True)
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


# -- Tokens that belong to users


OWN = {Action.UPLOAD: ("*",), Action.READ: ("*",)}


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "users"
    path.write_bytes(ALICE + b"\n")
    return path


@pytest.fixture
def htpasswd(users, worker, clock):
    return HtpasswdChecker(str(users), worker, clock)


def test_a_token_of_a_user_is_bound_by_the_rights_of_now(make, checker, tokens):
    _, secret = tokens.create("ci", OWN, by="alice", bound=True)
    found = identify(make(checker, tokens=tokens), basic("__token__", secret))

    assert (found.user, found.name, found.token_owner) == (None, "token ci", "alice")
    assert make(checker, tokens=tokens).permits(found, Action.UPLOAD, "acme")
    assert not make(checker, tokens=tokens, rights=CLOSED).permits(found, Action.UPLOAD, "acme")


def test_a_token_goes_with_its_user_at_the_next_request(make, htpasswd, tokens, users):
    _, secret = tokens.create("ci", OWN, by="alice", bound=True)
    access = make(htpasswd, tokens=tokens, rights=CLOSED)
    assert identify(access, basic("__token__", secret)).token == "ci"
    users.write_bytes(ALICE.replace(b"alice", b"bob") + b"\n")

    assert known(access, basic("__token__", secret)) is None
    with pytest.raises(Unauthorized, match="The token ci was made by alice, who is no user here"):
        identify(access, basic("__token__", secret))


def test_a_token_of_the_console_stays_when_users_go(make, htpasswd, tokens, users):
    _, secret = tokens.create("ci", OWN, by="alice")
    access = make(htpasswd, tokens=tokens)
    users.write_bytes(ALICE.replace(b"alice", b"bob") + b"\n")
    assert identify(access, basic("__token__", secret)).token == "ci"


@pytest.mark.parametrize("more", ["a checker that names no users", "users of a proxy"])
def test_a_token_stays_where_its_user_may_be_known_otherwise(make, htpasswd, checker, tokens, more):
    _, secret = tokens.create("ci", OWN, by="eve", bound=True)
    proxied = more == "users of a proxy"
    access = make(htpasswd, *([] if proxied else [checker]), tokens=tokens, proxies_assert_users=proxied)
    assert identify(access, basic("__token__", secret)).token == "ci"


def test_a_token_of_a_user_is_not_accepted_while_users_cannot_be_read(make, htpasswd, tokens, users):
    _, secret = tokens.create("ci", OWN, by="alice", bound=True)
    users.unlink()
    with pytest.raises(Unavailable):
        identify(make(htpasswd, tokens=tokens), basic("__token__", secret))


def test_where_there_are_no_users_their_tokens_are_dead(make, tokens):
    _, secret = tokens.create("ci", OWN, by="alice", bound=True)
    with pytest.raises(Unauthorized, match="who is no user here"):
        identify(make(tokens=tokens), basic("__token__", secret))


def test_a_damaged_file_of_tokens_is_reported_though_it_came_after_the_start(make, tokens, clock):
    reports: list[str] = []
    access = make(tokens=tokens, report=reports.append)
    _, secret = tokens.create("ci", OWN)
    Path(tokens.path).write_text("nonsense")
    clock.advance(2)
    with pytest.raises(Unavailable):
        identify(access, basic("__token__", secret))
    (report,) = reports
    assert report.startswith(f"All tokens are rejected. {tokens.path}: the tokens are damaged")


def test_a_token_of_a_user_lives_no_longer_than_the_longest_life(make, checker, tmp_path):
    now = [2e9]
    tokens = TokenStore(str(tmp_path), now=lambda: now[0])
    tokens.place._file._wall = lambda: 1e12
    _, secret = tokens.create("ci", OWN, by="alice", bound=True)
    access = make(checker, tokens=tokens, rights=CLOSED, max_token_age=60.0)
    for _ in range(2):
        identify(access, basic("__token__", secret))
    assert known(access, basic("__token__", secret)) is not None
    now[0] += 60
    assert known(access, basic("__token__", secret)) is None
    with pytest.raises(Unauthorized, match="expired"):
        identify(access, basic("__token__", secret))


def test_a_use_is_noted_once_an_hour_however_often_it_is_used(make, checker, tmp_path, worker):
    now = [2e9]
    tokens = TokenStore(str(tmp_path), now=lambda: now[0])
    tokens.place._file._wall = lambda: 1e12
    token, secret = tokens.create("ci", OWN)
    access = make(checker, tokens=tokens, rights=CLOSED)
    for _ in range(5):
        identify(access, basic("__token__", secret))
    assert worker.calls.count(tokens.uses.note) == 1
    now[0] += 3600
    assert known(access, basic("__token__", secret)) is None
    identify(access, basic("__token__", secret))
    assert worker.calls.count(tokens.uses.note) == 2
    assert tokens.uses.last(token.identifier) == datetime.fromtimestamp(now[0], UTC)


def test_a_use_that_cannot_be_noted_costs_nothing(make, tokens):
    _, secret = tokens.create("ci", OWN)
    Path(tokens.path).with_name("token-uses").write_text("in the way")
    assert identify(make(tokens=tokens), basic("__token__", secret)).token == "ci"
