"""Users of an htpasswd file."""

from __future__ import annotations

import sys

import pytest
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import CancelledError
from twisted.logger import globalLogPublisher
from zope.interface.verify import verifyObject

from twisted_index.access.htpasswd import HtpasswdChecker, HtpasswdPlugin, parse_users
from twisted_index.errors import ConfigurationError, Unavailable

from .conftest import ALICE, OnDemand, outcome

# From the documentation of Apache httpd ("Password Formats"); the password is myPassword.
BOB = b"bob:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE="


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "users"
    path.write_bytes(ALICE + b"\n# a comment\n\n" + BOB + b"\r\n")
    return path


@pytest.fixture
def checker(path, worker, clock):
    return HtpasswdChecker(str(path), worker, clock)


@pytest.fixture
def logged():
    events = []
    globalLogPublisher.addObserver(events.append)
    yield lambda: "\n".join(str(event) for event in events)
    globalLogPublisher.removeObserver(events.append)


def check(checker, user=b"alice", password=b"wonderland"):
    return outcome(checker.requestAvatarId(UsernamePassword(user, password)))


def hashed(worker) -> int:
    """Count what was hashed, without the readings of the file."""
    return sum(getattr(call, "__name__", "") != "read" for call in worker.calls)


@pytest.mark.parametrize("made", [HtpasswdChecker("/x", None, None), HtpasswdPlugin("x")])  # type: ignore[arg-type]
def test_it_is_a_checker_for_any_twisted_server(made):
    assert verifyObject(ICredentialsChecker, made)


def test_the_right_password_lets_the_user_in(checker):
    assert check(checker) == b"alice"
    assert check(checker, b"bob", b"myPassword") == b"bob"


@pytest.mark.parametrize(
    ("user", "password"),
    [
        (b"alice", b"wonder"),
        (b"alice", b""),
        (b"alice", b"myPassword"),
        (b"Alice", b"wonderland"),
        (b"carol", b"wonderland"),
        (b"", b""),
        (b"alice", b"a" * 2000),
        (b"# a comment", b""),
    ],
)
def test_anything_else_does_not(checker, user, password):
    with pytest.raises(UnauthorizedLogin):
        check(checker, user, password)


def test_text_is_taken_as_some_servers_send_it(checker):
    assert check(checker, "alice", "wonderland") == b"alice"


def test_a_user_who_is_not_there_costs_a_hash_as_well(checker, worker):
    with pytest.raises(UnauthorizedLogin):
        check(checker, b"carol", b"wonderland")
    (_, hashing) = worker.calls
    assert hashing(b"wonderland"), "it was compared with the slowest hash, and right for another user"


def test_a_right_password_is_hashed_once_in_a_while(checker, worker, clock):
    for _ in range(50):
        check(checker)
    assert hashed(worker) == 1
    clock.advance(61)
    check(checker)
    assert hashed(worker) == 2


def test_a_wrong_password_is_hashed_each_time(checker, worker):
    for _ in range(3):
        with pytest.raises(UnauthorizedLogin):
            check(checker, password=b"x")
    assert hashed(worker) == 3


def test_what_is_known_is_known_of_the_very_password_and_user(checker):
    check(checker)
    for user, password in ((b"alice", b"wonderlan"), (b"bob", b"wonderland"), (b"alicew", b"onderland")):
        with pytest.raises(UnauthorizedLogin):
            check(checker, user, password)


def test_nothing_that_is_kept_holds_the_password(checker):
    check(checker)
    assert b"wonderland" not in b"".join(dict(checker._known.items()))


def test_a_changed_password_counts_at_once(checker, path):
    check(checker)
    path.write_bytes(b"alice:" + BOB.partition(b":")[2])

    with pytest.raises(UnauthorizedLogin):
        check(checker)
    assert check(checker, password=b"myPassword") == b"alice"


def test_a_user_who_was_taken_out_is_out_at_once(checker, path):
    check(checker)
    path.write_bytes(BOB)

    with pytest.raises(UnauthorizedLogin):
        check(checker)


def test_nobody_is_let_in_while_the_file_cannot_be_read(checker, path, logged):
    check(checker)
    path.unlink()

    for _ in range(3):
        with pytest.raises(Unavailable):
            check(checker)
    assert logged().count("'effect': 'All users are rejected.'") == 1
    path.write_bytes(ALICE)
    assert check(checker) == b"alice"


def test_a_broken_line_is_told_by_its_number_alone(checker, path, logged):
    path.write_bytes(b"carol:sesame\n" + ALICE + b"\nnonsense\n" + ALICE + b"\n\xff:x\n")
    check(checker)

    for number in (1, 3, 4, 5):
        assert f"line {number}: " in logged()
    for secret in ("carol", "sesame", "nonsense", "VS3vSM84"):
        assert secret not in logged()


@pytest.mark.parametrize(
    ("line", "objection"),
    [
        (b"nonsense", "the line is not user:hash"),
        (b":{SHA}x", "invalid user name"),
        (b"__token__:{SHA}x", "invalid user name"),
        (b"a\x01b:{SHA}x", "invalid user name"),
        (b"\xff:{SHA}x", "not UTF-8"),
        (b"bob:secret", "plain text and DES crypt are not accepted"),
        (b"bob:rl7yRtAqeyDG2", "plain text and DES crypt are not accepted"),
        (b"bob:", "plain text and DES crypt are not accepted"),
    ],
)
def test_a_line_that_cannot_be_used_says_why(line, objection):
    users = parse_users(b"\n" + line)
    assert objection in users.line_errors[2]
    assert users.hashes == {}


def test_what_stands_behind_another_colon_is_passed_over(checker, path):
    path.write_bytes(ALICE + b":Alice Liddell")
    assert check(checker) == b"alice"


# At the start


def test_a_file_that_is_not_there_is_an_error_at_the_start(tmp_path, worker, clock):
    with pytest.raises(ConfigurationError, match="the users cannot be read: No such file"):
        HtpasswdChecker(str(tmp_path / "users"), worker, clock).load()


def test_a_byte_order_mark_is_not_part_of_the_first_user(checker, path):
    """Editors on Windows write one."""
    path.write_bytes(b"\xef\xbb\xbf" + ALICE + b"\r\n" + BOB)
    checker.load()

    assert check(checker) == b"alice"


def test_a_file_of_which_nothing_can_be_used_is_an_error_at_the_start(checker, path):
    path.write_bytes(b"bob:secret\n")
    with pytest.raises(ConfigurationError, match="line 1: plain text"):
        checker.load()


CAROL = b"carol:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC"


@pytest.mark.parametrize(("line", "module"), [(CAROL, "bcrypt"), (ALICE, "passlib.hash")])
def test_a_missing_package_is_an_error_at_the_start(checker, path, monkeypatch, line, module):
    monkeypatch.setitem(sys.modules, module, None)
    path.write_bytes(BOB + b"\n" + line)
    with pytest.raises(ConfigurationError, match=r"line 2: .*pip install bcrypt libpass"):
        checker.load()


def test_a_missing_package_is_told_when_the_file_changes_and_other_users_stay(
    checker, path, monkeypatch, logged
):
    monkeypatch.setitem(sys.modules, "passlib.hash", None)
    path.write_bytes(BOB)
    checker.load()
    path.write_bytes(BOB + b"\n" + ALICE)
    assert check(checker, b"bob", b"myPassword") == b"bob"
    with pytest.raises(UnauthorizedLogin):
        check(checker)
    assert logged().count("pip install bcrypt libpass") == 1


def test_an_empty_file_is_an_index_whose_users_are_still_to_come(checker, path):
    path.write_bytes(b"")
    assert checker.load().hashes == {}
    with pytest.raises(UnauthorizedLogin):
        check(checker)


# Many at once


@pytest.fixture
def later():
    return OnDemand()


@pytest.fixture
def busy(path, later, clock):
    checker = HtpasswdChecker(str(path), later, clock)
    checker.load()
    return checker


def settle(later):
    while later.waiting:
        later.work()


def test_only_so_many_are_hashed_at_once(busy, later):
    busy._file._wall = lambda: 1e12
    busy.load()
    for number in range(10):
        busy.requestAvatarId(UsernamePassword(b"alice", b"%d" % number)).addErrback(lambda _: None)

    assert len(later.waiting) == 2
    settle(later)
    assert hashed(later) == 10


def test_a_client_that_leaves_takes_no_other_along(busy, later):
    first, second = (busy.requestAvatarId(UsernamePassword(b"alice", b"wonderland")) for _ in range(2))
    later.work()  # the file
    first.cancel()
    settle(later)

    with pytest.raises(CancelledError):
        outcome(first)
    assert outcome(second) == b"alice"
    assert outcome(_again(busy, later)) == b"alice"


def test_a_password_that_nobody_waits_for_any_more_is_not_hashed(busy, later):
    """Else guesses would pile up: a client can send them faster than they get their turns."""
    busy._file._wall = lambda: 1e12
    busy.load()
    asked = [busy.requestAvatarId(UsernamePassword(b"alice", b"%d" % number)) for number in range(100)]
    stays = busy.requestAvatarId(UsernamePassword(b"alice", b"99"))
    for one in asked:
        one.addErrback(lambda failure: failure.trap(CancelledError))
        one.cancel()

    assert len(later.waiting) == 2, "what has begun keeps its turn, as it keeps its thread"
    settle(later)
    assert hashed(later) == 3
    with pytest.raises(UnauthorizedLogin):
        outcome(stays)


def _again(busy, later):
    work = busy.requestAvatarId(UsernamePassword(b"alice", b"wonderland"))
    settle(later)
    return work
