"""Tokens that all nodes of a bucket share."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.kit.memory_bucket import MemoryBucket, Operation
from twisted_index.access.token_file import TokenFile
from twisted_index.access.tokens import TokenStore
from twisted_index.backends.object_store.tokens import GRACE_SECONDS, KEY, TokensInBucket
from twisted_index.errors import Conflict, NotFound, Unauthorized, Unavailable
from twisted_index.interfaces import Action

READ = {Action.READ: ("*",)}


class _AtOnce:
    """Runs the work of threads at once."""

    def run(self, work, *arguments):
        async def result():
            return work(*arguments)

        return Deferred.fromCoroutine(result())


class _Threads:
    """Threads that are all busy until they are let go."""

    def __init__(self):
        self.held = []

    def run(self, work, *arguments):
        waiting = Deferred()
        self.held.append(lambda: waiting.callback(None))
        waiting.addCallback(lambda _none: work(*arguments))
        return waiting


class _Node:
    """A server on a bucket; `now` is its monotonic clock."""

    def __init__(self, bucket, state):
        self.now = 1000.0
        self.store = TokenStore(str(state), place=TokensInBucket(bucket, 2.0, lambda: self.now))
        self.file = TokenFile(self.store, _AtOnce(), Clock())

    def find(self, secret):
        found = []
        Deferred.fromCoroutine(self.file.find(secret.encode(), max_age=None)).addBoth(found.append)
        if hasattr(found[0], "raiseException"):
            found[0].raiseException()
        return found[0].name


@pytest.fixture
def bucket():
    return MemoryBucket()


@pytest.fixture
def nodes(bucket, tmp_path):
    return _Node(bucket, tmp_path / "one"), _Node(bucket, tmp_path / "two")


def test_a_token_of_one_node_is_good_on_another_at_once(nodes):
    one, two = nodes
    assert two.store.read() == {}
    _token, secret = one.store.create("ci", READ)
    assert two.find(secret) == "ci"


def test_a_known_token_costs_no_operation_while_it_is_held(bucket, nodes):
    one, two = nodes
    _token, secret = one.store.create("ci", READ)
    two.find(secret)
    valid = two.store.validity()
    bucket.forget_operations()
    assert two.find(secret) == "ci"
    assert valid()
    assert not bucket.operations


def test_a_revoked_token_ends_on_every_node_within_rescan(nodes):
    one, two = nodes
    _token, secret = one.store.create("ci", READ)
    two.find(secret)
    valid = two.store.validity()
    one.store.revoke("ci")
    two.now += 2
    assert not valid()
    with pytest.raises(Unauthorized):
        two.find(secret)


def test_guesses_cost_two_reads_in_a_rescan(bucket, nodes):
    one, two = nodes
    one.store.create("ci", READ)
    bucket.forget_operations()
    for number in range(50):
        with pytest.raises(Unauthorized):
            two.find(f"tix-{number:012d}-{'A' * 43}")
    assert bucket.operations == {"read": 2}


def test_concurrent_changes_lose_nothing(bucket, tmp_path):
    def make(number):
        _Node(bucket, tmp_path / str(number)).store.create(f"ci-{number}", READ)

    threads = [threading.Thread(target=make, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = {token.name for token in _Node(bucket, tmp_path).store.read().values()}
    assert names == {f"ci-{number}" for number in range(8)}


def test_a_change_between_read_and_write_is_kept(bucket, nodes):
    one, two = nodes
    one.store.create("first", READ)
    pending = [lambda: two.store.create("second", READ)]

    def meanwhile(operation):
        if operation == Operation("replace", KEY) and pending:
            pending.pop()()

    bucket.before = meanwhile
    one.store.create("third", READ)
    assert [token.name for token in one.store.read().values()] == ["first", "second", "third"]


@pytest.mark.parametrize("effect", ["none", "done", "later"])
@pytest.mark.parametrize("first", [True, False])
def test_a_write_without_an_answer_makes_one_token(bucket, nodes, effect, first):
    one, two = nodes
    if not first:
        one.store.create("other", READ)
    bucket.fail("write", effect=effect)
    _token, secret = one.store.create("ci", READ)
    bucket.land()
    assert two.find(secret) == "ci"
    assert len(two.store.read()) == (1 if first else 2)


@pytest.mark.parametrize("effect", ["none", "done", "later"])
def test_a_revocation_without_an_answer_is_one(bucket, nodes, effect):
    one, two = nodes
    one.store.create("ci", READ)
    bucket.fail("write", effect=effect)
    assert one.store.revoke("ci").name == "ci"
    bucket.land()
    assert two.store.read() == {}


def test_known_tokens_are_good_for_a_while_without_the_store(bucket, nodes):
    one, two = nodes
    _token, secret = one.store.create("ci", READ)
    two.find(secret)
    bucket.fail(times=sys.maxsize)
    two.now += GRACE_SECONDS - 1
    assert two.find(secret) == "ci"
    two.now += 1
    with pytest.raises(Unavailable):
        two.find(secret)


def test_an_unknown_token_is_not_refused_without_the_store(bucket, nodes):
    one, two = nodes
    _token, secret = one.store.create("ci", READ)
    two.find(secret)
    bucket.fail(times=sys.maxsize)
    two.now += 2
    with pytest.raises(Unavailable):
        two.find(f"tix-{0:012d}-{'A' * 43}")


def test_a_store_that_does_not_answer_is_asked_once_in_a_rescan(bucket, nodes):
    one, two = nodes
    _token, secret = one.store.create("ci", READ)
    two.find(secret)
    bucket.fail(times=sys.maxsize)
    two.now += 2
    bucket.forget_operations()
    for _time in range(5):
        two.find(secret)
    assert bucket.operations == {"read": 1}


def test_logins_hold_one_thread_while_the_store_hangs(bucket, nodes):
    one, two = nodes
    secrets = [one.store.create(f"ci-{number}", READ)[1] for number in range(5)]
    threads, found = _Threads(), []
    file = TokenFile(two.store, threads, Clock())
    for secret in secrets:
        finding = Deferred.fromCoroutine(file.find(secret.encode(), max_age=None))
        finding.addCallback(lambda token: found.append(token.name))
    bucket.forget_operations()
    assert len(threads.held) == 1
    for release in threads.held:
        release()
    assert found == [f"ci-{number}" for number in range(5)]
    assert bucket.operations == {"read": 1}


def test_guesses_at_once_hold_one_thread(bucket, nodes):
    one, two = nodes
    one.store.create("ci", READ)
    two.store.read()
    threads, failed = _Threads(), []
    file = TokenFile(two.store, threads, Clock())
    bucket.forget_operations()
    for number in range(5):
        finding = Deferred.fromCoroutine(file.find(f"tix-{number:012d}-{'A' * 43}".encode(), max_age=None))
        finding.addErrback(lambda failure: failed.append(failure.type))
    assert len(threads.held) == 1
    for release in threads.held:
        release()
    assert failed == [Unauthorized] * 5
    assert bucket.operations == {"read": 1}


def test_known_tokens_stay_good_for_a_while_after_a_change_on_this_node(bucket, nodes):
    one, _two = nodes
    secrets = [one.store.create(f"ci-{number}", READ)[1] for number in range(3)]
    one.store.revoke("ci-0")
    bucket.fail(times=sys.maxsize)
    one.now += GRACE_SECONDS - 1
    assert [one.find(secret) for secret in secrets[1:]] == ["ci-1", "ci-2"]
    with pytest.raises((Unauthorized, Unavailable)):
        one.find(secrets[0])


def test_a_change_is_looked_for_more_than_once(bucket, nodes):
    one, two = nodes
    bucket.fail("write", effect="done")
    bucket.fail("read", skip=1, times=2)
    _token, secret = one.store.create("ci", READ)
    assert two.find(secret) == "ci"


def test_a_change_of_which_nothing_is_known_says_what_to_do(bucket, nodes):
    one, _two = nodes
    bucket.fail("write", effect="done")
    bucket.fail("read", skip=1, times=sys.maxsize)
    with pytest.raises(Unavailable, match="revoked, as its secret is lost"):
        one.store.create("ci", READ)


def test_names_are_used_once_over_all_nodes(nodes):
    one, two = nodes
    one.store.create("ci", READ)
    with pytest.raises(Conflict):
        two.store.create("ci", READ)
    with pytest.raises(NotFound):
        two.store.revoke("other")


def test_damaged_tokens_let_nothing_in(bucket, nodes):
    _one, two = nodes
    bucket.place(KEY, b"no tokens")
    with pytest.raises(Unavailable):
        two.find(f"tix-{0:012d}-{'A' * 43}")


def test_guesses_do_not_end_the_grace_of_known_tokens(bucket, nodes):
    one, two = nodes
    _token, secret = one.store.create("ci", READ)
    two.find(secret)
    bucket.fail(times=sys.maxsize)
    two.now += 2.5
    threads, found = _Threads(), []
    file = TokenFile(two.store, threads, Clock())

    def find(sent):
        finding = Deferred.fromCoroutine(file.find(sent.encode(), max_age=None))
        finding.addCallbacks(lambda token: found.append(token.name), lambda failed: found.append(failed.type))

    def release():
        held, threads.held = threads.held, []
        for each in held:
            each()

    find(secret)
    find(f"tix-{0:012d}-{'A' * 43}")
    release()
    # It waits for the reading after the one that does not have the guess.
    find(secret)
    release()
    release()
    assert sorted(map(str, found)) == sorted(["ci", "ci", str(Unavailable)])


def test_without_etags_a_revoked_token_ends_nevertheless(bucket, nodes):
    one, two = nodes
    _token, secret = one.store.create("ci", READ)
    read = bucket.read

    def read_without_etag(key, **options):
        found = read(key, **options)
        return None if found is None else replace(found, object=replace(found.object, etag=""))

    bucket.read = read_without_etag
    assert two.find(secret) == "ci"
    bucket.read = read
    one.store.revoke("ci")
    bucket.read = read_without_etag
    two.now += 2
    with pytest.raises(Unauthorized):
        two.find(secret)
