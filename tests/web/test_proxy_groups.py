"""Users and groups that a proxy states: on the fast path and without it, whatever came before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.kit.properties import examples
from tests.kit.rights import PUBLIC, SECRET, SHARED, GuardedIndex, as_user
from tests.web.test_fast_path import JSON, Pair, head
from tests.web.test_fast_path_logins import ALL, FILE, PAGE, Reopening

RIGHTS = """
[groups]
devs = ["alice"]

[[rule]]
projects = "secret-*"
allow = ["read", "yank"]
to = ["@devs", "@Domain Admins"]
"""
OPENED = RIGHTS.replace("@Domain Admins", "@others")


def make(folder: Path, source: Any = None, **more: Any) -> GuardedIndex:
    more = {"proxies": ALL, "user_header": "Remote-User", "groups_header": "Remote-Groups"} | more
    return GuardedIndex(folder, RIGHTS, source=source or Reopening(SECRET, PUBLIC, SHARED), **more)


class ProxiedPair(Pair):
    """One source and one file of rights behind two servers; only one may take the fast path."""

    def __init__(self, folder: Path) -> None:
        self.takes, self.taken = 1 << 20, 0
        source = Reopening(SECRET, PUBLIC, SHARED)
        self.short, self.ordinary = make(folder, source), make(folder, source)
        self.ordinary.site.fast_path = None
        for index in (self.short, self.ordinary):
            index.access._rights._file._wall = lambda: 1e12
            for path in (PAGE, FILE):
                index.get(path, headers={"Accept": JSON, "Remote-User": "alice"})


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> ProxiedPair:
    return ProxiedPair(tmp_path_factory.mktemp("proxied"))


@pytest.fixture
def index(tmp_path: Path) -> GuardedIndex:
    return make(tmp_path)


def status(index: GuardedIndex, **fields: str) -> int:
    return index.get(PAGE, headers={name.replace("_", "-"): value for name, value in fields.items()}).status


def test_a_group_of_the_proxy_may_what_the_file_says(index: GuardedIndex):
    assert status(index, Remote_User="eve", Remote_Groups="x,Domain Admins") == 200
    assert status(index, Remote_User="eve", Remote_Groups="devs") == 200
    assert status(index, Remote_User="alice", Remote_Groups="x") == 200
    assert status(index, Remote_User="eve", Remote_Groups="x") == 403
    assert status(index, Remote_User="eve") == 403
    assert status(index, Remote_Groups="devs") == 401
    assert status(index, Remote_User="", Remote_Groups="devs") == 401
    assert status(index, X_Remote_User="alice") == 401


def test_groups_are_not_lent_to_a_user_with_a_password(index: GuardedIndex):
    assert index.get(PAGE, headers={**as_user("bob"), "Remote-Groups": "devs"}).status == 403


def test_groups_of_other_peers_are_ignored(tmp_path: Path):
    for proxies in ((), ("0.0.0.0/0", "::/0"), ("users:203.0.113.1",)):
        index = make(tmp_path, proxies=proxies)
        for _again in range(2):
            assert status(index, Remote_User="eve", Remote_Groups="devs") == 401
            assert status(index, Remote_User="alice") == 401


def test_what_is_changed_is_changed_by_the_user(index: GuardedIndex):
    fields = {"Remote-User": "eve", "Remote-Groups": "Domain Admins", "Origin": "http://index.test"}
    body = json.dumps({"project": "secret-lib", "version": "1.0"}).encode()
    fields |= {"Content-Type": "application/json"}
    assert index.get("/-/yank", method="POST", headers=fields, body=body).status == 200
    assert index.store.done[-1][-1] == "eve"


@examples(200, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(
            st.sampled_from([(), ("alice",), ("eve",), ("",), ("eve", "eve"), ("a b",)]),
            st.sampled_from(
                [(), ("devs",), ("x, Domain Admins",), ("x",), ("",), ("devs", "devs"), ("Devs",)]
            ),
            st.sampled_from([PAGE, FILE]),
            st.sampled_from([RIGHTS, OPENED]),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_each_request_has_the_rights_of_its_own_fields(pair: ProxiedPair, requests: Any):
    for number, (users, groups, path, rights) in enumerate(requests):
        # Each time of another size, so that the change shows.
        pair.short.rights.write_text(rights + "#" * number)
        fields = [f"Remote-User: {user}" for user in users] + [f"Remote-Groups: {line}" for line in groups]
        short, ordinary = pair.say([head(path, f"Accept: {JSON}", *fields)])
        assert short == ordinary
        member = groups == ("devs",) or (groups == ("x, Domain Admins",) and rights is RIGHTS)
        expected = (
            401 if users not in (("alice",), ("eve",)) else 200 if member or users == ("alice",) else 403
        )
        assert int(short.split()[1]) == expected


def test_a_member_is_answered_on_the_fast_path(index: GuardedIndex):
    for _again in range(3):
        assert status(index, Remote_User="eve", Remote_Groups="x,Domain Admins") == 200
    assert index.short == 2


def test_a_user_of_a_group_learns_why_a_token_may_less(tmp_path: Path):
    index = make(tmp_path)
    body = {"name": "ci", "read": ["secret-*"]}
    for groups, told in (({"Remote-Groups": "Domain Admins"}, True), ({}, False)):
        fields = {"Remote-User": "eve", "Content-Type": "application/json", **groups}
        reply = index.get("/-/tokens", method="POST", headers=fields, body=json.dumps(body).encode())
        assert (reply.status, "Groups that the proxy states count for no token." in reply.text) == (403, told)
