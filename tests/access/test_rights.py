"""Who may do what: the rules, and what can never follow from any of them."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_index.access.rights import Rights, Rule, default_rights, parse_rights
from twisted_index.access.tokens import with_implied_permissions
from twisted_index.errors import ConfigurationError
from twisted_index.interfaces import ANONYMOUS, Action, Identity
from twisted_index.simple.name_patterns import index_pattern, matches_index, project_pattern
from twisted_index.simple.names import normalize

ALICE, CAROL, EVE = (Identity(user=name) for name in ("alice", "carol", "eve"))

EXAMPLE = """
[groups]
developers = ["alice", "bob"]

[[rule]]
projects = ["Acme_*"]
allow = ["read"]
to = ["everyone"]

[[rule]]
projects = ["acme-*"]
allow = ["upload", "create", "yank"]
to = ["@developers", "carol"]

[[rule]]
projects = "secret-*"
allow = ["read", "upload"]
to = "@developers"

[[rule]]
projects = "members"
allow = "read"
to = "users"

[[rule]]
allow = ["operate"]
to = ["alice"]
"""


@pytest.fixture(scope="module")
def rights() -> Rights:
    return parse_rights(EXAMPLE, "rights.toml")


# -- What rules allow


def test_a_member_of_a_group_may_do_what_the_group_may(rights):
    assert rights.permits(ALICE, Action.UPLOAD, "acme-core")
    assert rights.permits(ALICE, Action.UPLOAD, "secret-plan")


def test_a_user_who_is_named_may_do_just_that(rights):
    assert rights.permits(CAROL, Action.YANK, "acme-core")
    assert not rights.permits(CAROL, Action.DELETE, "acme-core")
    assert not rights.permits(CAROL, Action.UPLOAD, "secret-plan")


def test_a_pattern_stands_for_normalized_names(rights):
    assert rights.permits(CAROL, Action.UPLOAD, "acme-core")
    assert not rights.permits(CAROL, Action.UPLOAD, "acme")


def test_reading_is_open_where_no_rule_speaks_of_it(rights):
    assert rights.permits(ANONYMOUS, Action.READ, "numpy")


def test_a_project_that_a_rule_with_read_stands_for_is_closed_to_all_others(rights):
    assert rights.permits(ALICE, Action.READ, "secret-plan")
    for other in (CAROL, EVE, ANONYMOUS):
        assert not rights.permits(other, Action.READ, "secret-plan")


def test_reading_may_be_for_everyone_by_a_rule(rights):
    assert rights.permits(ANONYMOUS, Action.READ, "acme-core")


def test_users_are_all_who_have_proven_to_be_somebody(rights):
    assert rights.permits(EVE, Action.READ, "members")
    assert not rights.permits(ANONYMOUS, Action.READ, "members")


def test_no_action_brings_another_with_it(rights):
    assert not rights.permits(ALICE, Action.CREATE, "secret-plan")
    assert not rights.permits(ALICE, Action.DELETE, "acme-core")


def test_operating_is_about_no_project(rights):
    assert rights.permits(ALICE, Action.OPERATE)
    assert not rights.permits(CAROL, Action.OPERATE)


def test_an_empty_project_asks_for_any(rights):
    assert rights.permits(CAROL, Action.UPLOAD)
    assert not rights.permits(EVE, Action.UPLOAD)
    assert rights.permits(ANONYMOUS, Action.READ)


def test_a_closed_index_has_nothing_to_read_for_others():
    rights = parse_rights('[[rule]]\nprojects = "*"\nallow = "read"\nto = "users"', "r")

    assert not rights.permits(ANONYMOUS, Action.READ)
    assert not rights.public_read
    assert rights.permits(EVE, Action.READ, "numpy")


def test_rules_only_add():
    closed = '[[rule]]\nprojects = "*"\nallow = "read"\nto = "users"\n'
    opened = '[[rule]]\nprojects = "open-*"\nallow = "read"\nto = "everyone"\n'

    for text in (closed + opened, opened + closed):
        rights = parse_rights(text, "r")
        assert rights.permits(ANONYMOUS, Action.READ, "open-data")
        assert not rights.permits(ANONYMOUS, Action.READ, "numpy")


def test_the_groups_of_a_user_are_told(rights):
    assert rights.groups_of("alice") == {"developers"}
    assert rights.groups_of("carol") == frozenset()


@pytest.mark.parametrize(
    ("rule", "all_may"),
    [
        ("", True),
        ('[[rule]]\nprojects = "a"\nallow = "upload"\nto = "users"', True),
        ('[[rule]]\nprojects = "a"\nallow = "read"\nto = "everyone"', True),
        ('[[rule]]\nprojects = "a"\nallow = "read"\nto = "users"', False),
        (
            '[[rule]]\nprojects = "a"\nallow = "read"\nto = "users"\n'
            '[[rule]]\nprojects = "**"\nallow = "read"\nto = "everyone"',
            True,
        ),
    ],
)
def test_whether_everyone_may_read_all_is_known_without_asking_for_each(rule, all_may):
    assert parse_rights(rule, "r").is_public("") is all_may


# -- Several indexes

BY_INDEX = """
[[rule]]
projects = "acme-*"
allow = ["upload", "promote"]
indexes = ["staging", "pr-*"]
to = "alice"

[[rule]]
projects = "secret-*"
allow = "read"
indexes = "staging"
to = "alice"

[[rule]]
projects = "numpy"
allow = "yank"
indexes = ["", "prod"]
to = "alice"

[[rule]]
projects = "scipy"
allow = "yank"
to = "alice"

[[rule]]
projects = "everywhere"
allow = "yank"
indexes = "*"
to = "alice"

[[rule]]
allow = "manage"
indexes = "pr-*"
to = "alice"
"""
INDEXES = ["", "prod", "staging", "pr-7", "Staging", "pr"]


@pytest.fixture(scope="module")
def by_index() -> Rights:
    return parse_rights(BY_INDEX, "r")


@pytest.mark.parametrize(
    ("action", "project", "where"),
    [
        (Action.UPLOAD, "acme-core", ["staging", "pr-7"]),
        (Action.PROMOTE, "acme-core", ["staging", "pr-7"]),
        (Action.YANK, "numpy", ["", "prod"]),
        (Action.YANK, "scipy", [""]),
        (Action.YANK, "everywhere", INDEXES),
        (Action.MANAGE, "", ["pr-7"]),
        (Action.READ, "secret-plan", ["staging"]),
        (Action.READ, "acme-core", INDEXES),
    ],
)
def test_a_rule_grants_in_its_indexes_and_without_them_in_the_one_without_a_name(
    by_index, action, project, where
):
    assert [index for index in INDEXES if by_index.permits(ALICE, action, project, index)] == where


def test_a_project_that_one_index_closes_is_closed_in_all(by_index):
    assert not any(by_index.permits(CAROL, Action.READ, "secret-plan", index) for index in INDEXES)
    assert not by_index.permits(ALICE, Action.READ, "secret-plan")


def test_the_default_index_and_the_one_without_a_name_are_one():
    rights = parse_rights(BY_INDEX, "r", default_index="staging")
    for index in ("", "staging"):
        for action, project in ((Action.UPLOAD, "acme-core"), (Action.READ, "secret-plan")):
            assert rights.permits(ALICE, action, project, index)
        for project in ("scipy", "numpy", "everywhere"):
            assert rights.permits(ALICE, Action.YANK, project, index)
    assert not rights.permits(ALICE, Action.YANK, "scipy", "prod")


def test_a_token_holds_in_its_indexes_and_without_them_in_the_one_without_a_name():
    rights, granted = parse_rights(BY_INDEX, "r"), {Action.DELETE: ("*",)}
    plain = Identity(token="ci", token_permissions=granted)
    named = Identity(token="ci", token_permissions=granted, token_indexes=("pr-*", "prod"))
    for token, where in ((plain, [""]), (named, ["prod", "pr-7"])):
        assert [index for index in INDEXES if rights.permits(token, Action.DELETE, "numpy", index)] == where


def test_a_token_of_a_user_may_do_what_both_may_in_that_index(by_index):
    granted = {Action.UPLOAD: ("*",)}
    own = Identity(token="own", token_owner="alice", token_permissions=granted, token_indexes=("staging", ""))
    assert [index for index in INDEXES if by_index.permits(own, Action.UPLOAD, "acme-a", index)] == [
        "staging"
    ]


@pytest.mark.parametrize(
    ("action", "pattern", "index", "covered"),
    [
        (Action.UPLOAD, "acme-*", "staging", True),
        (Action.UPLOAD, "acme-*", "pr-*", True),
        (Action.UPLOAD, "acme-*", "pr-1*", True),
        (Action.UPLOAD, "acme-*", "*", False),
        (Action.UPLOAD, "acme-*", "", False),
        (Action.UPLOAD, "acme-*", "prod", False),
        (Action.YANK, "everywhere", "*", True),
        (Action.YANK, "everywhere", "", True),
        (Action.MANAGE, "*", "pr-*", True),
        (Action.MANAGE, "*", "p*", False),
        (Action.READ, "secret-plan", "staging", True),
        (Action.READ, "secret-plan", "pr-*", False),
        (Action.READ, "numpy", "*", True),
        (Action.READ, "*", "*", False),
        (Action.READ, "*", "staging", True),
    ],
)
def test_rights_cover_a_pattern_of_indexes_where_they_cover_every_index_of_it(
    by_index, action, pattern, index, covered
):
    assert by_index.covers("alice", action, pattern, index) is covered


def test_all_is_public_only_if_everyone_reads_it_in_every_index():
    rule = '[[rule]]\nprojects = "a"\nallow = "read"\nto = "everyone"\n'
    for indexes, everywhere, here in (("", False, True), ("prod", False, False), ("*", True, True)):
        rights = parse_rights(f'{rule}indexes = "{indexes}"', "r")
        assert (rights.public_read, rights.is_public("")) == (everywhere, here)


@pytest.mark.parametrize("indexes", ['"a b"', '"-a"', '"[ab]"', '"a/b"', '"+a"', '["ok", ".."]'])
def test_a_pattern_that_stands_for_no_index_is_an_error(indexes):
    rule = f'[[rule]]\nprojects = "*"\nallow = "read"\nto = "users"\nindexes = {indexes}'
    with pytest.raises(ConfigurationError, match=r"r: rule 1: indexes: .* is not a pattern of index names"):
        parse_rights(rule, "r")


@pytest.mark.parametrize("indexes", ["[]", "1", "[1]"])
def test_indexes_are_strings(indexes):
    rule = f'[[rule]]\nprojects = "*"\nallow = "read"\nto = "users"\nindexes = {indexes}'
    with pytest.raises(ConfigurationError, match="r: rule 1: indexes: write a non-empty list of strings"):
        parse_rights(rule, "r")


# -- Groups of a proxy

PROXIED = """
[groups]
devs = ["alice"]
[[rule]]
projects = "*"
allow = "read"
to = ["@devs", "@Domain Users"]
"""


def member(user: str, *groups: str) -> Identity:
    return Identity(user=user, proxy_groups=frozenset(groups))


def test_a_group_has_the_members_of_the_file_and_those_that_a_proxy_states():
    rights = parse_rights(PROXIED, "r", proxy_groups=True)

    assert rights.named_groups == {"devs", "Domain Users"}
    for reader in (
        member("alice"),
        member("alice", "x"),
        member("eve", "devs"),
        member("eve", "x", "Domain Users"),
    ):
        assert rights.permits(reader, Action.READ, "numpy")
    for other in (member("eve"), member("eve", "Devs", "users", "everyone"), ANONYMOUS):
        assert not rights.permits(other, Action.READ, "numpy")


def test_a_group_that_the_file_does_not_have_is_an_error_where_no_proxy_states_any():
    with pytest.raises(ConfigurationError, match="unknown group '@Domain Users'; known: @devs"):
        parse_rights(PROXIED, "r")


def test_a_group_has_a_name():
    with pytest.raises(ConfigurationError, match="r: rule 1: to: '@' lacks the name of a group"):
        parse_rights('[[rule]]\nprojects = "*"\nallow = "read"\nto = "@"', "r", proxy_groups=True)


def test_a_token_has_no_groups():
    rights = parse_rights(PROXIED, "r", proxy_groups=True)
    token = Identity(token="ci", token_permissions={}, proxy_groups=frozenset({"devs"}))

    assert not rights.permits(token, Action.READ, "numpy")


# -- Without a file


def test_without_a_file_everyone_reads_and_users_do_all_else():
    rights = default_rights()

    assert rights.public_read
    for index in ("", "prod"):
        assert all(rights.permits(EVE, action, "numpy", index) for action in Action)
        anyones = [action for action in Action if rights.permits(ANONYMOUS, action, "numpy", index)]
        assert anyones == [Action.READ]


def test_anonymous_upload_does_not_mean_that_anyone_may_destroy():
    rights = default_rights(anonymous_upload=True)

    for index in ("", "prod"):
        allowed = {action for action in Action if rights.permits(ANONYMOUS, action, "numpy", index)}
        assert allowed == {Action.READ, Action.CREATE, Action.UPLOAD}


# -- What is wrong in a file


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("rule = [", "r: this is not TOML: "),
        ("rules = 1", "r: unknown key 'rules'; did you mean 'rule'?"),
        ("rule = 1", "r: write each rule below a line [[rule]]."),
        ("groups = 1", "r: groups is a table; write [groups] above the groups."),
        ("[groups]\na = 1", "r: group 'a': write a non-empty list of strings."),
        ('[groups]\na = ["@b"]', "r: group 'a': '@b' is not a user; a group contains only users."),
        ('[[rule]]\nprojects = "*"\nto = "users"', "r: rule 1: 'allow' is missing."),
        ('[[rule]]\nprojects = "*"\nallow = "read"', "r: rule 1: 'to' is missing."),
        ('[[rule]]\nallow = "read"\nto = "users"', "r: rule 1: 'projects' is missing; for all of them"),
        (
            '[[rule]]\nprojects = "*"\nallow = "read"\nto = "users"\n[[rule]]\nproject = "*"',
            "r: rule 2: unknown key 'project'; did you mean 'projects'?",
        ),
        (
            '[[rule]]\nprojects = "*"\nallow = ["uplaod"]\nto = "users"',
            "r: rule 1: allow: unknown action 'uplaod'; did you mean 'upload'?",
        ),
        (
            '[[rule]]\nprojects = "*"\nallow = ["x"]\nto = "users"',
            "r: rule 1: allow: unknown action 'x'; known: read, create, upload, delete, yank, ",
        ),
        (
            '[groups]\ndevs = ["a"]\n[[rule]]\nprojects = "*"\nallow = "read"\nto = "@dev"',
            "r: rule 1: to: unknown group '@dev'; did you mean '@devs'?",
        ),
        (
            '[[rule]]\nprojects = "*"\nallow = "read"\nto = "@dev"',
            "r: rule 1: to: unknown group '@dev'; known: none.",
        ),
        (
            '[[rule]]\nprojects = "a b"\nallow = "read"\nto = "users"',
            "r: rule 1: projects: 'a b' is not a pattern",
        ),
        ('[[rule]]\nprojects = "[a.z]"\nallow = "read"\nto = "users"', "r: rule 1: projects: '[a.z]' is not"),
        (
            '[[rule]]\nprojects = []\nallow = "read"\nto = "users"',
            "r: rule 1: projects: write a non-empty list of strings",
        ),
        (
            '[[rule]]\nprojects = "*"\nallow = [1]\nto = "users"',
            "r: rule 1: allow: write a non-empty list of strings",
        ),
        (
            '[[rule]]\nprojects = "*"\nallow = "operate"\nto = "users"',
            "r: rule 1: 'operate' applies to the whole",
        ),
        ('[[rule]]\nallow = ["follow", "read"]\nto = "users"', "r: rule 1: 'follow' applies to the whole"),
        ('[[rule]]\nallow = ["operate", "read"]\nto = "users"', "r: rule 1: 'operate' applies to the whole"),
    ],
)
def test_what_is_not_understood_is_told_with_its_place(text, sentence):
    with pytest.raises(ConfigurationError) as caught:
        parse_rights(text, "r")
    assert caught.value.message.startswith(sentence)


# -- What can never be

names = st.sampled_from(["alice", "bob", "carol", "eve"])
projects = st.sampled_from(["acme-core", "acme", "numpy", "secret-plan", "a"])
patterns = st.sampled_from(["*", "**", "acme-*", "acme*", "Secret_*", "a", "n?mpy", "*-plan"]).map(
    project_pattern
)
actions = st.sampled_from(Action)
groups = st.sampled_from(["devs", "admins"])
indexes = st.sampled_from(["", "prod", "pr-7"])
index_patterns = st.sampled_from(["", "*", "prod", "pr-*", "p*"]).map(index_pattern)
where = st.lists(index_patterns, min_size=1, max_size=2).map(tuple)
rules = st.builds(
    Rule,
    actions=st.frozensets(actions, min_size=1),
    projects=st.lists(patterns, min_size=1, max_size=2).map(tuple),
    indexes=where,
    users=st.frozensets(names, max_size=2),
    groups=st.frozensets(groups, max_size=2),
    authenticated=st.booleans(),
    everyone=st.booleans(),
)
all_rights = st.lists(rules, max_size=5)
scopes = st.dictionaries(actions, st.lists(patterns, max_size=2).map(tuple))


def stands_for(rule: Rule, action: Action, project: str) -> bool:
    return action in rule.actions and any(fnmatchcase(project, pattern) for pattern in rule.projects)


@given(all_rights, st.none() | names, st.frozensets(groups), actions, projects, indexes)
def test_nobody_may_do_anything_that_no_rule_allows(held, user, member_of, action, project, index):
    matching = [rule for rule in held if stands_for(rule, action, project)]
    named = any(
        rule.everyone
        or (user is not None and (rule.authenticated or user in rule.users or rule.groups & member_of))
        for rule in matching
        if any(fnmatchcase(index, pattern) for pattern in rule.indexes)
    )
    untouched = action is Action.READ and not matching
    identity = Identity(user=user, proxy_groups=member_of)

    assert Rights(held).permits(identity, action, project, index) is (named or untouched)


@given(all_rights, scopes, where, actions, projects, indexes)
def test_a_token_never_may_do_more_than_its_scope_and_what_everyone_may(
    held, scope, places, action, project, index
):
    granted = with_implied_permissions(scope)
    token = Identity(token="ci", token_permissions=granted, token_indexes=places)
    rights = Rights(held)
    within = any(fnmatchcase(project, pattern) for pattern in granted.get(action, ()))
    within = within and matches_index(index, places)
    anyones = rights.permits(ANONYMOUS, action, project, index)

    assert rights.permits(token, action, project, index) is (within or anyones)


@given(all_rights, st.none() | names, actions, patterns, projects, index_patterns, indexes)
def test_what_is_covered_is_permitted_for_every_project_and_index(
    held, user, action, pattern, project, where, index
):
    if fnmatchcase(project, pattern) and fnmatchcase(index, where):
        rights = Rights(held)
        if rights.covers(user, action, pattern, where):
            assert rights.permits(Identity(user=user), action, project, index)


@given(all_rights, st.none() | names, actions, projects)
def test_with_a_default_index_its_two_names_have_the_rights_of_both(held, user, action, project):
    one, apart, identity = Rights(held, default_index="prod"), Rights(held), Identity(user=user)
    either = any(apart.permits(identity, action, project, index) for index in ("", "prod"))
    assert {one.permits(identity, action, project, index) for index in ("", "prod")} == {either}
    assert one.permits(identity, action, project, "pr-7") is apart.permits(identity, action, project, "pr-7")


@given(all_rights, scopes, actions, projects, names)
def test_a_token_that_bears_a_users_name_has_none_of_the_users_rights(held, scope, action, project, user):
    rights = Rights(held)
    bare = Identity(token="ci", token_permissions=scope)
    named = Identity(token="ci", token_permissions=scope, user=user, groups=frozenset({"developers"}))

    assert rights.permits(named, action, project) is rights.permits(bare, action, project)


@given(all_rights, st.none() | names, actions, projects)
def test_what_may_be_done_with_one_project_may_be_done_with_any(held, user, action, project):
    rights = Rights(held)
    if rights.permits(Identity(user=user), action, project):
        assert rights.permits(Identity(user=user), action)


@given(all_rights, projects, indexes)
def test_where_all_may_read_nobody_is_kept_from_any_project(held, project, index):
    if Rights(held).public_read or Rights(held).is_public(index):
        assert Rights(held).permits(ANONYMOUS, Action.READ, project, index)


@given(all_rights, st.none() | names, actions, projects)
def test_the_order_of_rules_does_not_matter(held, user, action, project):
    identity = Identity(user=user)
    backwards = Rights(held[::-1])
    assert backwards.permits(identity, action, project) is Rights(held).permits(identity, action, project)


@given(st.dictionaries(actions, st.lists(patterns, max_size=2).map(tuple)), projects)
def test_uploading_brings_creating_and_reading_of_the_same_projects_and_nothing_else(scope, project):
    for action, found in with_implied_permissions(scope).items():
        brought = scope.get(Action.UPLOAD, ()) if action in (Action.READ, Action.CREATE) else ()
        assert set(found) == {*scope.get(action, ()), *brought}


@given(st.text(alphabet="aZ0-_.*?", max_size=8), projects)
def test_a_pattern_is_normalized_like_the_names_it_stands_for(text, project):
    try:
        pattern = project_pattern(text)
    except ValueError:
        return
    assert pattern in ("*", normalize(text))


# -- Tokens that belong to users


def test_a_token_of_a_user_may_do_what_both_may(rights):
    granted = dict.fromkeys(Action, ("*",))
    own = Identity(token="own", token_owner="carol", token_permissions=granted)
    assert rights.permits(own, Action.UPLOAD, "acme-core")
    assert not rights.permits(own, Action.UPLOAD, "secret-plan")
    assert not rights.permits(own, Action.READ, "secret-plan")
    assert not rights.permits(own, Action.OPERATE)
    assert rights.permits(own, Action.READ, "members")
    narrow = Identity(token="own", token_owner="carol", token_permissions={Action.UPLOAD: ("acme-core",)})
    assert not rights.permits(narrow, Action.UPLOAD, "acme-other")
    assert not rights.permits(narrow, Action.READ, "members")


@given(
    st.sampled_from(["alice", "carol", "eve"]),
    st.sampled_from(list(Action)),
    st.sampled_from(["acme-core", "secret-plan", "members", "other", ""]),
    st.sampled_from(["*", "acme-*", "secret-*", "members"]),
)
def test_a_token_of_a_user_may_never_do_more_than_the_user(user, action, project, pattern):
    rights = parse_rights(EXAMPLE, "rights.toml")
    own = Identity(token="own", token_owner=user, token_permissions=dict.fromkeys(Action, (pattern,)))
    if rights.permits(own, action, project):
        assert rights.permits(Identity(user=user), action, project)


@pytest.mark.parametrize(
    ("user", "action", "pattern", "covered"),
    [
        ("carol", Action.UPLOAD, "acme-*", True),
        ("carol", Action.UPLOAD, "acme-core", True),
        ("carol", Action.UPLOAD, "*", False),
        ("carol", Action.UPLOAD, "acme*", False),
        ("eve", Action.UPLOAD, "acme-core", False),
        ("alice", Action.OPERATE, "*", True),
        ("carol", Action.OPERATE, "*", False),
        ("carol", Action.READ, "acme-*", True),
        ("carol", Action.READ, "numpy", True),
        ("carol", Action.READ, "members", True),
        ("carol", Action.READ, "secret-plan", False),
        ("carol", Action.READ, "s*", False),
        ("carol", Action.READ, "*", False),
        ("alice", Action.READ, "secret-*", True),
    ],
)
def test_rights_cover_a_pattern_where_they_cover_every_name_of_it(rights, user, action, pattern, covered):
    assert rights.covers(user, action, pattern) is covered
