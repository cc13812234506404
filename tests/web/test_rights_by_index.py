"""Rights by index: what is shown through an index is what its reader may read in all that it inherits."""

from __future__ import annotations

from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tests.kit.memory_indexes import MemoryIndexes
from tests.kit.rights import GuardedIndex, NotingStore, as_user
from twisted_index.access.control import AccessControl
from twisted_index.access.login_throttle import LoginThrottle
from twisted_index.access.rights import Rights, Rule, parse_rights
from twisted_index.access.rights_file import FixedRights
from twisted_index.errors import Forbidden, Unauthorized
from twisted_index.events.audit_log import AuditLog
from twisted_index.interfaces import ANONYMOUS, Action, AuditEvent, Identity, ProxyUser
from twisted_index.testing import MemorySource, SynchronousRunner
from twisted_index.web.requests.authorization import Authorizer
from twisted_index.web.requests.client_info import ClientInfoReader

RIGHTS = """
[[rule]]
projects = "acme-*"
allow = "read"
indexes = ["dev", "prod"]
to = "alice"

[[rule]]
projects = "acme-*"
allow = "read"
indexes = ["dev", "base"]
to = "bob"

[[rule]]
projects = "*"
allow = ["upload", "promote"]
indexes = "dev"
to = "alice"

[[rule]]
allow = ["operate", "manage"]
indexes = "dev"
to = "alice"

[[rule]]
allow = "operate"
to = "carol"
"""
ALICE, BOB, CAROL = (Identity(user=name) for name in ("alice", "bob", "carol"))


def access(rights: Rights) -> AccessControl:
    return AccessControl(
        checkers=(),
        tokens=None,
        rights=FixedRights(rights),
        throttle=LoginThrottle(Clock()),
        worker=SynchronousRunner(),
        clock=Clock(),
        proxies_assert_users=True,
    )


def guard(*line: str, rights: str = RIGHTS, default_index: str = "") -> Authorizer:
    held = parse_rights(rights, "r", default_index=default_index)
    return Authorizer(access(held), ClientInfoReader(), line)


@pytest.mark.parametrize(
    ("line", "may"),
    [(("dev",), True), (("dev", "prod"), True), (("dev", "prod", "base"), False), (("base", "dev"), False)],
)
def test_reading_takes_the_right_in_every_index_of_the_line(line: tuple[str, ...], may: bool):
    assert guard(*line).permits(ALICE, Action.READ, "acme-core") is may
    assert (guard(*line).reader("acme-core", None, ProxyUser("alice")) is not None) is may


def test_all_else_takes_the_right_in_the_index_itself():
    for action in (Action.UPLOAD, Action.PROMOTE):
        assert guard("dev", "prod").permits(ALICE, action, "acme-core")
        assert not guard("prod", "dev").permits(ALICE, action, "acme-core")
    assert guard("dev", "prod").permits(ALICE, Action.MANAGE)
    assert not guard("prod", "dev").permits(ALICE, Action.MANAGE)


def test_what_is_about_the_server_takes_the_right_in_the_index_without_a_name():
    here = guard("dev", "prod")
    assert here.permits(ALICE, Action.OPERATE)
    assert not here.permits(ALICE, Action.OPERATE, index="")
    assert here.permits(CAROL, Action.OPERATE, index="")
    assert not here.permits(CAROL, Action.OPERATE)


@pytest.mark.parametrize(
    ("line", "who", "action", "project", "sentence"),
    [
        (
            ("dev",),
            CAROL,
            Action.READ,
            "acme-core",
            "carol may not read the project acme-core in the index dev.",
        ),
        (("dev", "prod"), BOB, Action.UPLOAD, "a", "bob may not upload to the project a in the index dev."),
        (
            ("dev",),
            BOB,
            Action.PROMOTE,
            "a",
            "bob may not promote releases of the project a in the index dev.",
        ),
        (("dev",), BOB, Action.MANAGE, "", "bob may not manage the index dev."),
        (("",), BOB, Action.READ, "acme-core", "bob may not read the project acme-core."),
        (("",), BOB, Action.OPERATE, "", "bob may not operate this index."),
        (
            ("dev", "prod"),
            BOB,
            Action.READ,
            "acme-core",
            "bob may not read the project acme-core in the index prod.",
        ),
    ],
)
def test_an_error_names_the_index(
    line: tuple[str, ...], who: Identity, action: Action, project: str, sentence: str
):
    with pytest.raises(Forbidden) as caught:
        guard(*line).refuse(who, action, project)
    assert caught.value.message == sentence


def test_an_error_does_not_name_an_index_in_which_its_reader_reads_nothing():
    closed = '[[rule]]\nprojects = "*"\nallow = "read"\nindexes = "dev"\nto = "bob"'
    with pytest.raises(Forbidden, match=r"^bob may not read the project acme in the index dev\.$"):
        guard("dev", "hidden", rights=closed).refuse(BOB, Action.READ, "acme")
    with pytest.raises(Unauthorized, match=r"^Log in to read the project acme in the index dev\.$"):
        guard("dev", "hidden", rights=closed).refuse(ANONYMOUS, Action.READ, "acme")


@pytest.mark.parametrize(("indexes", "public"), [('"*"', True), ('["dev", "prod"]', True), ('"dev"', False)])
def test_an_index_is_public_if_all_that_it_inherits_is(indexes: str, public: bool):
    everyone = f'[[rule]]\nprojects = "*"\nallow = "read"\nto = "everyone"\nindexes = {indexes}'
    here = guard("dev", "prod", rights=everyone)
    assert here.public_read is public
    assert (here.reader("", None, None) is ANONYMOUS) is public


# -- The audit log


THEN = datetime(2026, 11, 1, tzinfo=UTC)


class Written(AuditLog):
    """An audit log in memory with an event of each index."""

    def __init__(self) -> None:
        super().__init__(None, SynchronousRunner())
        for index in ("", "dev", "prod"):
            self.record(AuditEvent(time=THEN, by="alice", action="yank", index=index))


def history(index: GuardedIndex, prefix: str, user: str) -> list[tuple[str, str]]:
    """Give index and action of the events that a user sees."""
    reply = index.get(f"{prefix}/-/history", headers=as_user(user) | {"Accept": "application/json"})
    assert reply.status == 200, reply.text
    return [(event.get("index", ""), event["action"]) for event in reply.json()["events"]]


def operated(tmp_path: Path, *, default_index: str = "") -> GuardedIndex:
    """Serve an index without a name beside `dev` and `prod`, operated by Alice everywhere."""
    indexes = MemoryIndexes()
    for name in ("", "dev", "prod"):
        indexes.set(MemorySource(), name, store=NotingStore())
    if default_index:
        indexes.make_default(default_index)
    rights = '[[rule]]\nallow = "operate"\nto = "alice"\nindexes = "*"'
    return GuardedIndex(tmp_path, rights, audit_log=Written(), indexes=indexes, default_index=default_index)


@pytest.mark.parametrize(("prefix", "index"), [("", ""), ("/+dev", "dev"), ("/+prod", "prod")])
def test_the_history_of_an_index_has_its_own_events_alone(tmp_path: Path, prefix: str, index: str):
    assert history(operated(tmp_path), prefix, "alice") == [(index, "yank")]


def test_the_history_of_the_default_index_has_those_of_the_server_too(tmp_path: Path):
    served = operated(tmp_path, default_index="dev")
    assert history(served, "", "alice") == [("dev", "yank"), ("", "yank")]
    assert history(served, "/+dev", "alice") == [("dev", "yank")]


def test_a_refusal_is_in_the_history_of_its_index(tmp_path: Path):
    served = operated(tmp_path)
    for prefix in ("", "/+dev", "/+none"):
        body = b"project=demo&version=1.0"
        headers = as_user("bob") | {"Content-Type": "application/x-www-form-urlencoded"}
        assert served.get(f"{prefix}/-/yank", method="POST", headers=headers, body=body).status == 403
    assert history(served, "/+dev", "alice") == [("dev", "refuse"), ("dev", "yank")]
    # A name that is none was made up by the client.
    assert history(served, "", "alice") == [("", "refuse"), ("", "refuse"), ("", "yank")]


# -- What can never be

NAMES = ("", "prod", "dev", "pr-7")
rules = st.builds(
    Rule,
    actions=st.frozensets(st.sampled_from([Action.READ, Action.UPLOAD]), min_size=1),
    projects=st.lists(st.sampled_from(["*", "acme-*", "numpy"]), min_size=1, max_size=2).map(tuple),
    indexes=st.lists(st.sampled_from(["", "*", "prod", "dev", "pr-*"]), min_size=1, max_size=2).map(tuple),
    users=st.frozensets(st.sampled_from(["alice", "bob"]), max_size=1),
    authenticated=st.booleans(),
    everyone=st.booleans(),
)
lines = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True).map(tuple)


def admits(rule: Rule, user: str | None, project: str, names: set[str]) -> bool:
    """Say in the words of the documents whether a rule lets a user read a project in an index."""
    for_them = rule.everyone or (user is not None and (rule.authenticated or user in rule.users))
    here = any(fnmatchcase(name, pattern) for name in names for pattern in rule.indexes)
    return for_them and here and speaks_of(rule, project)


def speaks_of(rule: Rule, project: str) -> bool:
    return Action.READ in rule.actions and any(fnmatchcase(project, each) for each in rule.projects)


def readable(held: list[Rule], user: str | None, project: str, line: tuple[str, ...], default: str) -> bool:
    """The slow oracle: in each index of the line a rule admits, or no rule speaks of the name anywhere."""
    if not any(speaks_of(rule, project) for rule in held):
        return True
    for index in line:
        names = {"", default} if index in ("", default) else {index}
        if not any(admits(rule, user, project, names) for rule in held):
            return False
    return True


@given(
    st.lists(rules, max_size=5),
    st.lists(lines, min_size=1, max_size=4),
    st.sampled_from(["", "prod", "dev"]),
    st.none() | st.sampled_from(["alice", "bob", "eve"]),
)
def test_a_page_is_for_those_who_may_read_it_in_all_the_indexes_of_its_line(
    held: list[Rule], asked: list[tuple[str, ...]], default: str, user: str | None
):
    """By both ways to decide it, whatever else was decided before."""
    shared = access(Rights(held, default_index=default))
    for line in asked:
        here = Authorizer(shared, ClientInfoReader(), line)
        for project in ("acme-core", "numpy", "other"):
            expected = readable(held, user, project, line, default)
            assert here.permits(Identity(user=user), Action.READ, project) is expected
            found = here.reader(project, None, None if user is None else ProxyUser(user))
            assert (found is not None) is expected
            if here.public_read:
                assert expected
