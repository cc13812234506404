"""Who may do what: the rules, and what can never follow from any of them."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_index.access.patterns import project_pattern
from twisted_index.access.rights import Rights, Rule, default_rights, parse_rights
from twisted_index.access.tokens import implied
from twisted_index.errors import ConfigurationError
from twisted_index.interfaces import NOBODY, Action, Identity
from twisted_index.simple.names import normalize

always_the_same = settings(derandomize=True, deadline=None)

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
    assert rights.allow(ALICE, Action.UPLOAD, "acme-core")
    assert rights.allow(ALICE, Action.UPLOAD, "secret-plan")


def test_a_user_who_is_named_may_do_just_that(rights):
    assert rights.allow(CAROL, Action.YANK, "acme-core")
    assert not rights.allow(CAROL, Action.DELETE, "acme-core")
    assert not rights.allow(CAROL, Action.UPLOAD, "secret-plan")


def test_a_pattern_stands_for_normalized_names(rights):
    assert rights.allow(CAROL, Action.UPLOAD, "acme-core")
    assert not rights.allow(CAROL, Action.UPLOAD, "acme")


def test_reading_is_open_where_no_rule_speaks_of_it(rights):
    assert rights.allow(NOBODY, Action.READ, "numpy")


def test_a_project_that_a_rule_with_read_stands_for_is_closed_to_all_others(rights):
    assert rights.allow(ALICE, Action.READ, "secret-plan")
    for other in (CAROL, EVE, NOBODY):
        assert not rights.allow(other, Action.READ, "secret-plan")


def test_reading_may_be_for_everyone_by_a_rule(rights):
    assert rights.allow(NOBODY, Action.READ, "acme-core")


def test_users_are_all_who_have_proven_to_be_somebody(rights):
    assert rights.allow(EVE, Action.READ, "members")
    assert not rights.allow(NOBODY, Action.READ, "members")


def test_no_action_brings_another_with_it(rights):
    assert not rights.allow(ALICE, Action.CREATE, "secret-plan")
    assert not rights.allow(ALICE, Action.DELETE, "acme-core")


def test_operating_is_about_no_project(rights):
    assert rights.allow(ALICE, Action.OPERATE)
    assert not rights.allow(CAROL, Action.OPERATE)


def test_an_empty_project_asks_for_any(rights):
    assert rights.allow(CAROL, Action.UPLOAD)
    assert not rights.allow(EVE, Action.UPLOAD)
    assert rights.allow(NOBODY, Action.READ)


def test_a_closed_index_has_nothing_to_read_for_others():
    rights = parse_rights('[[rule]]\nprojects = "*"\nallow = "read"\nto = "users"', "r")

    assert not rights.allow(NOBODY, Action.READ)
    assert not rights.all_may_read
    assert rights.allow(EVE, Action.READ, "numpy")


def test_rules_only_add():
    closed = '[[rule]]\nprojects = "*"\nallow = "read"\nto = "users"\n'
    opened = '[[rule]]\nprojects = "open-*"\nallow = "read"\nto = "everyone"\n'

    for text in (closed + opened, opened + closed):
        rights = parse_rights(text, "r")
        assert rights.allow(NOBODY, Action.READ, "open-data")
        assert not rights.allow(NOBODY, Action.READ, "numpy")


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
    assert parse_rights(rule, "r").all_may_read is all_may


# -- Without a file


def test_without_a_file_everyone_reads_and_users_do_all_else():
    rights = default_rights()

    assert rights.all_may_read
    assert all(rights.allow(EVE, action, "numpy") for action in Action)
    assert [action for action in Action if rights.allow(NOBODY, action, "numpy")] == [Action.READ]


def test_anyone_may_upload_does_not_mean_that_anyone_may_destroy():
    rights = default_rights(anyone_may_upload=True)

    allowed = {action for action in Action if rights.allow(NOBODY, action, "numpy")}
    assert allowed == {Action.READ, Action.CREATE, Action.UPLOAD}


# -- What is wrong in a file


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("rule = [", "r: this is not TOML: "),
        ("rules = 1", "r: 'rules' is no known key; did you mean 'rule'?"),
        ("rule = 1", "r: write each rule below a line [[rule]]."),
        ("groups = 1", "r: groups is a table; write [groups] above the groups."),
        ("[groups]\na = 1", "r: group 'a': write a list of texts that is not empty."),
        ('[groups]\na = ["@b"]', "r: group 'a': '@b' is no user; a group has users only."),
        ('[[rule]]\nprojects = "*"\nto = "users"', "r: rule 1: 'allow' is missing."),
        ('[[rule]]\nprojects = "*"\nallow = "read"', "r: rule 1: 'to' is missing."),
        ('[[rule]]\nallow = "read"\nto = "users"', "r: rule 1: 'projects' is missing; for all of them"),
        (
            '[[rule]]\nprojects = "*"\nallow = "read"\nto = "users"\n[[rule]]\nproject = "*"',
            "r: rule 2: 'project' is no known key; did you mean 'projects'?",
        ),
        (
            '[[rule]]\nprojects = "*"\nallow = ["uplaod"]\nto = "users"',
            "r: rule 1: allow: 'uplaod' is no known action; did you mean 'upload'?",
        ),
        (
            '[[rule]]\nprojects = "*"\nallow = ["x"]\nto = "users"',
            "r: rule 1: allow: 'x' is no known action; known are: read, create, upload, delete, yank, ",
        ),
        (
            '[groups]\ndevs = ["a"]\n[[rule]]\nprojects = "*"\nallow = "read"\nto = "@dev"',
            "r: rule 1: to: '@dev' is no known group; did you mean '@devs'?",
        ),
        (
            '[[rule]]\nprojects = "*"\nallow = "read"\nto = "@dev"',
            "r: rule 1: to: '@dev' is no known group; known are: none.",
        ),
        (
            '[[rule]]\nprojects = "a b"\nallow = "read"\nto = "users"',
            "r: rule 1: projects: 'a b' is not a pattern",
        ),
        ('[[rule]]\nprojects = "[a.z]"\nallow = "read"\nto = "users"', "r: rule 1: projects: '[a.z]' is not"),
        (
            '[[rule]]\nprojects = []\nallow = "read"\nto = "users"',
            "r: rule 1: projects: write a list of texts",
        ),
        ('[[rule]]\nprojects = "*"\nallow = [1]\nto = "users"', "r: rule 1: allow: write a list of texts"),
        (
            '[[rule]]\nprojects = "*"\nallow = "operate"\nto = "users"',
            "r: rule 1: 'operate' is about the whole",
        ),
        ('[[rule]]\nallow = ["operate", "read"]\nto = "users"', "r: rule 1: 'operate' is about the whole"),
    ],
)
def test_what_is_not_understood_is_told_with_its_place(text, sentence):
    with pytest.raises(ConfigurationError) as caught:
        parse_rights(text, "r")
    assert caught.value.sentence.startswith(sentence)


# -- What can never be

names = st.sampled_from(["alice", "bob", "carol", "eve"])
projects = st.sampled_from(["acme-core", "acme", "numpy", "secret-plan", "a"])
patterns = st.sampled_from(["*", "**", "acme-*", "acme*", "Secret_*", "a", "n?mpy", "*-plan"]).map(
    project_pattern
)
actions = st.sampled_from(Action)
rules = st.builds(
    Rule,
    actions=st.frozensets(actions, min_size=1),
    projects=st.lists(patterns, min_size=1, max_size=2).map(tuple),
    users=st.frozensets(names, max_size=2),
    all_users=st.booleans(),
    everyone=st.booleans(),
)
all_rights = st.lists(rules, max_size=5)
scopes = st.dictionaries(actions, st.lists(patterns, max_size=2).map(tuple))


def stands_for(rule: Rule, action: Action, project: str) -> bool:
    return action in rule.actions and any(fnmatchcase(project, pattern) for pattern in rule.projects)


@always_the_same
@given(all_rights, st.none() | names, actions, projects)
def test_nobody_may_do_anything_that_no_rule_allows(held, user, action, project):
    matching = [rule for rule in held if stands_for(rule, action, project)]
    named = any(
        rule.everyone or (user is not None and (rule.all_users or user in rule.users)) for rule in matching
    )
    untouched = action is Action.READ and not matching

    assert Rights(held).allow(Identity(user=user), action, project) is (named or untouched)


@always_the_same
@given(all_rights, scopes, actions, projects)
def test_a_token_never_may_do_more_than_its_scope_and_what_everyone_may(held, scope, action, project):
    token = Identity(token="ci", scope=implied(scope))
    rights = Rights(held)
    within = any(fnmatchcase(project, pattern) for pattern in implied(scope).get(action, ()))

    assert rights.allow(token, action, project) is (within or rights.allow(NOBODY, action, project))


@always_the_same
@given(all_rights, scopes, actions, projects, names)
def test_a_token_that_bears_a_users_name_has_none_of_the_users_rights(held, scope, action, project, user):
    rights = Rights(held)
    bare = Identity(token="ci", scope=scope)
    named = Identity(token="ci", scope=scope, user=user, groups=frozenset({"developers"}))

    assert rights.allow(named, action, project) is rights.allow(bare, action, project)


@always_the_same
@given(all_rights, st.none() | names, actions, projects)
def test_what_may_be_done_with_one_project_may_be_done_with_any(held, user, action, project):
    rights = Rights(held)
    if rights.allow(Identity(user=user), action, project):
        assert rights.allow(Identity(user=user), action)


@always_the_same
@given(all_rights, projects)
def test_where_all_may_read_nobody_is_kept_from_any_project(held, project):
    if Rights(held).all_may_read:
        assert Rights(held).allow(NOBODY, Action.READ, project)


@always_the_same
@given(all_rights, st.none() | names, actions, projects)
def test_the_order_of_rules_does_not_matter(held, user, action, project):
    identity = Identity(user=user)
    backwards = Rights(held[::-1])
    assert backwards.allow(identity, action, project) is Rights(held).allow(identity, action, project)


@always_the_same
@given(st.dictionaries(actions, st.lists(patterns, max_size=2).map(tuple)), projects)
def test_uploading_brings_creating_and_reading_of_the_same_projects_and_nothing_else(scope, project):
    for action, found in implied(scope).items():
        brought = scope.get(Action.UPLOAD, ()) if action in (Action.READ, Action.CREATE) else ()
        assert set(found) == {*scope.get(action, ()), *brought}


@always_the_same
@given(st.text(alphabet="aZ0-_.*?", max_size=8), projects)
def test_a_pattern_is_normalized_like_the_names_it_stands_for(text, project):
    try:
        pattern = project_pattern(text)
    except ValueError:
        return
    assert pattern in ("*", normalize(text))
