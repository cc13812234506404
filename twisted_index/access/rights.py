"""
Rights: which users may perform which actions on which projects. Pure; `rights_file` reads the file.

The rights file is TOML with groups and rules::

    [groups]
    developers = ["alice", "bob"]

    [[rule]]                             # everyone may read acme-…
    projects = ["acme-*"]
    allow = ["read"]
    to = ["everyone"]

    [[rule]]                             # developers may publish it
    projects = ["acme-*"]
    allow = ["upload", "create", "yank"]
    to = ["@developers", "carol"]

    [[rule]]                             # others cannot even see whether a secret-… exists
    projects = "secret-*"
    allow = ["read", "upload"]
    to = "@developers"

    [[rule]]                             # in the indexes staging and pr-…, not in the one without a name
    projects = "*"
    allow = ["upload", "create"]
    indexes = ["staging", "pr-*"]
    to = "@developers"

    [[rule]]                             # about the whole index, so without projects
    allow = ["operate", "follow"]
    to = ["alice"]

- `projects`: patterns, with `*` and `?`, normalized like names: `Acme_*` is `acme-*`.
- `allow`: `read`; `upload`: new files of an existing project; `create`: a new project, by uploading to
  it (which needs `upload` too); `yank`: yank, unyank, set the project's status; `delete`; `promote`: take
  its releases from another index; `operate`: see the history, the problems, the wanted names and the
  metrics of the whole index; `follow`: see the changes and the contents of all projects that the client may
  read, as mirrors need them; `manage`: make and remove the index; in
  that without a name, let the server hand over to a replica.
- `to`: names of users, `@group`, `users` for all authenticated users, `everyone`.
- `indexes`: the indexes in which the rule grants: exact names, with `*` and `?`; `""` is the index without a
  name, for which `*` stands too. Without the key, the index without a name only.

A group has the members of `[groups]`, and the users whose trusted proxy states it. Where proxies state
groups, a rule may name one that is not in the file.

Semantics:

- The order of rules does not matter: a rule only adds, and any rule that allows an action suffices.
- A project is readable by everyone unless a rule with `read` matches it; then only those rules grant
  `read`. This holds for the name in every index: a rule closes it everywhere, to all whom no rule admits
  there.
- With `default_index`, that index and the one without a name are one: a rule for either grants in both.
- Every other action is forbidden unless a rule allows it. No action implies another: uploading to a
  closed project and installing from it needs `read` too.
- A string stands for a list of one.
- Tokens carry their own permissions: a token has these and the rights of `everyone`; no rule, not even one
  to `users`, grants it more. A token that belongs to a user has of these only what that user may do. Its
  permissions hold in the indexes that it names, as those of rules do.

Without a file everyone may read, and every user may perform all actions, in every index. With
`--anonymous-upload` everyone may create and upload too.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted_index.errors import ConfigurationError
from twisted_index.interfaces import WHOLE_INDEX, Action, Identity
from twisted_index.simple.name_patterns import (
    ANY_INDEX,
    ANY_PROJECT,
    NO_NAME,
    index_pattern,
    matches_any,
    matches_index,
    may_overlap,
    pattern_covers,
    project_pattern,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_EVERYONE = "everyone"
_USERS = "users"
_KEYS = ("projects", "allow", "indexes", "to")
_ACTIONS = tuple(action.value for action in Action)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """
    A permission.

    Attributes:
        actions: The allowed actions.
        projects: Patterns from `project_pattern`; `*` for the whole index.
        indexes: Patterns from `index_pattern`.
        users: Names of users, including members of groups.
        groups: Names of groups, whose further members a trusted proxy states.
        authenticated: Whether the rule applies to all authenticated users.
        everyone: Whether the rule applies to all clients.
    """

    actions: frozenset[Action]
    projects: tuple[str, ...] = (ANY_PROJECT,)
    indexes: tuple[str, ...] = (NO_NAME,)
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    authenticated: bool = False
    everyone: bool = False

    def applies_to(self, user: str | None, proxy_groups: frozenset[str] = frozenset()) -> bool:
        """Return whether the rule applies to a user; None is an anonymous client."""
        if self.everyone or user is None:
            return self.everyone
        return self.authenticated or user in self.users or not self.groups.isdisjoint(proxy_groups)


class Rights:
    """
    All rules together.

    Args:
        rules: The rules, in any order.
        groups: Members by group name.
        default_index: The name of the index that the one without a name is too; empty for none.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        groups: Mapping[str, frozenset[str]] | None = None,
        *,
        default_index: str = "",
    ) -> None:
        rules = tuple(rules)
        self._rules = {action: tuple(rule for rule in rules if action in rule.actions) for action in Action}
        #: The groups that rules name.
        self.named_groups = frozenset[str]().union(*(rule.groups for rule in rules))
        self._groups = dict(groups or {})
        #: The names of one and the same index.
        self._default = tuple(dict.fromkeys((NO_NAME, default_index)))
        #: Whether everyone may read every project of every index. False may be conservative: then each
        #: request is checked, with the same result.
        self.public_read = self.is_public(ANY_INDEX)

    def is_public(self, index: str) -> bool:
        """Return whether everyone may read every project of an index, or of all that a pattern stands for."""
        return self.covers(None, Action.READ, ANY_PROJECT, index)

    def groups_of(self, user: str) -> frozenset[str]:
        """Return the groups that have a user as a member here."""
        return frozenset(name for name, members in self._groups.items() if user in members)

    def permits(self, identity: Identity, action: Action, project: str = "", index: str = "") -> bool:
        """
        Return whether an identity may perform an action.

        Args:
            identity: The identity; see the module for tokens.
            action: The action.
            project: A normalized name; empty for "with any project at all".
            index: The name of the index; empty for the one without a name.
        """
        if identity.token is not None:
            owner = identity.token_owner
            granted = matches_any(project, (identity.token_permissions or {}).get(action, ()))
            granted = granted and self._holds_in(index, identity.token_indexes)
            granted = granted and (owner is None or self._user_may(owner, action, project, index))
            return granted or self._user_may(None, action, project, index)
        return self._user_may(identity.user, action, project, index, identity.proxy_groups)

    def covers(self, user: str | None, action: Action, pattern: str, index: str = "") -> bool:
        """
        Return whether a user may perform an action on every project that a pattern stands for.

        False may be conservative: a pattern that only several rules together cover is not looked into.

        Args:
            user: The name of a user; None for everyone.
            action: The action.
            pattern: From `project_pattern`.
            index: From `index_pattern`: all indexes in which it has to be so.
        """
        granting: list[str] = []
        closing: list[str] = []
        for rule in self._rules[action]:
            grants = rule.applies_to(user) and self._covers_index(index, rule.indexes)
            (granting if grants else closing).extend(rule.projects)
        if any(pattern_covers(each, pattern) for each in granting):
            return True
        return action is Action.READ and not any(may_overlap(each, pattern) for each in closing)

    def _holds_in(self, index: str, patterns: tuple[str, ...]) -> bool:
        return any(matches_index(name, patterns) for name in self._names_of(index))

    def _covers_index(self, index: str, patterns: tuple[str, ...]) -> bool:
        return any(pattern_covers(each, name) for name in self._names_of(index) for each in patterns)

    def _names_of(self, index: str) -> tuple[str, ...]:
        return self._default if index in self._default else (index,)

    def _user_may(
        self,
        user: str | None,
        action: Action,
        project: str,
        index: str,
        proxy_groups: frozenset[str] = frozenset(),
    ) -> bool:
        for rule in self._rules[action]:
            grants = rule.applies_to(user, proxy_groups) and matches_any(project, rule.projects)
            if grants and self._holds_in(index, rule.indexes):
                return True
        return action is Action.READ and not self._is_restricted(project)

    def _is_restricted(self, project: str) -> bool:
        """Return whether reading a project is restricted, in any index; for an empty name, all projects."""
        rules = self._rules[Action.READ]
        if project:
            return any(matches_any(project, rule.projects) for rule in rules)
        return any(ANY_PROJECT in rule.projects for rule in rules)


def default_rights(*, anonymous_upload: bool = False) -> Rights:
    """Return the rights that apply without a rights file, in every index."""
    changes, everywhere = frozenset(Action) - {Action.READ}, (ANY_INDEX,)
    rules = [Rule(actions=changes, indexes=everywhere, authenticated=True)]
    if anonymous_upload:
        uploads = frozenset({Action.CREATE, Action.UPLOAD})
        rules.append(Rule(actions=uploads, indexes=everywhere, everyone=True))
    return Rights(rules)


def parse_rights(text: str, place: str, *, proxy_groups: bool = False, default_index: str = "") -> Rights:
    """
    Parse a rights file.

    Args:
        text: The content of the file.
        place: Name of the file in errors.
        proxy_groups: Whether trusted proxies state groups, so that rules may name any.
        default_index: See `Rights`.

    Raises:
        ConfigurationError: The file is invalid. No part is ever ignored: a rule that differs from what its
            author meant is worse than a server that does not start.
    """
    try:
        table = tomllib.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{place}: this is not TOML: {error}.") from error
    _check_known(table, ("groups", "rule"), place, "key")
    groups = _groups(table.get("groups", {}), place)
    rules = table.get("rule", [])
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise ConfigurationError(f"{place}: write each rule below a line [[rule]].")
    known = None if proxy_groups else frozenset(groups)
    return Rights(
        [_rule(rule, groups, known, f"{place}: rule {number}") for number, rule in enumerate(rules, 1)],
        groups,
        default_index=default_index,
    )


def _groups(raw: object, place: str) -> dict[str, frozenset[str]]:
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{place}: groups is a table; write [groups] above the groups.")
    groups = {}
    for name, members in raw.items():
        where = f"{place}: group {name!r}"
        users = _parse_texts(members, where)
        for user in users:
            if user.startswith("@") or user in (_EVERYONE, _USERS):
                raise ConfigurationError(f"{where}: {user!r} is not a user; a group contains only users.")
        groups[name] = frozenset(users)
    return groups


def _rule(
    raw: Mapping[str, object],
    groups: Mapping[str, frozenset[str]],
    known: frozenset[str] | None,
    place: str,
) -> Rule:
    """Parse a rule; `known` are the groups that it may name, None for any."""
    _check_known(raw, _KEYS, place, "key")
    for key in ("allow", "to"):
        if key not in raw:
            raise ConfigurationError(f"{place}: {key!r} is missing.")
    words = _parse_texts(raw["allow"], f"{place}: allow")
    _check_known(words, _ACTIONS, f"{place}: allow", "action")
    actions = frozenset(map(Action, words))
    projects = _projects(raw, actions, place)
    to = _parse_texts(raw["to"], f"{place}: to")
    named = _named_groups(to, known, f"{place}: to")
    members = (groups.get(name, frozenset()) for name in named)
    return Rule(
        actions=actions,
        projects=projects,
        indexes=_indexes(raw, place),
        users=_users(to).union(*members),
        groups=named,
        authenticated=_USERS in to,
        everyone=_EVERYONE in to,
    )


def _projects(raw: Mapping[str, object], actions: frozenset[Action], place: str) -> tuple[str, ...]:
    """Parse the patterns of a rule: required, except for what is about the whole index, which has none."""
    whole = sorted(action.value for action in actions & WHOLE_INDEX)
    if whole:
        if actions - WHOLE_INDEX or "projects" in raw:
            raise ConfigurationError(
                f"{place}: {whole[0]!r} applies to the whole index;"
                " give it a rule of its own, without projects."
            )
        return (ANY_PROJECT,)
    if "projects" not in raw:
        raise ConfigurationError(f"{place}: 'projects' is missing; for all of them write projects = \"*\".")
    patterns = _parse_texts(raw["projects"], f"{place}: projects")
    try:
        return tuple(map(project_pattern, patterns))
    except ValueError as error:
        raise ConfigurationError(f"{place}: projects: {error}.") from error


def _indexes(raw: Mapping[str, object], place: str) -> tuple[str, ...]:
    """Parse the patterns of the indexes of a rule."""
    where = f"{place}: indexes"
    patterns = _parse_texts(raw["indexes"], where, empty=True) if "indexes" in raw else (NO_NAME,)
    try:
        return tuple(map(index_pattern, patterns))
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error}.") from error


def _users(words: Iterable[str]) -> frozenset[str]:
    """Return the users that a rule names directly."""
    return frozenset(word for word in words if word not in (_EVERYONE, _USERS) and word[0] != "@")


def _named_groups(words: Iterable[str], known: frozenset[str] | None, place: str) -> frozenset[str]:
    """Return the groups that a rule names."""
    named = [word for word in words if word.startswith("@")]
    if known is not None:
        _check_known(named, [f"@{name}" for name in sorted(known)], place, "group")
    elif "@" in named:
        raise ConfigurationError(f"{place}: '@' lacks the name of a group.")
    return frozenset(word[1:] for word in named)


def _parse_texts(raw: object, place: str, *, empty: bool = False) -> tuple[str, ...]:
    """Parse a non-empty list of strings, which may be empty themselves or not; a string is a list of one."""
    words = [raw] if isinstance(raw, str) else raw
    if (
        not isinstance(words, list)
        or not words
        or not all(isinstance(w, str) and (w or empty) for w in words)
    ):
        raise ConfigurationError(f"{place}: write a non-empty list of strings.")
    return tuple(words)


def _check_known(words: Iterable[str], known: Iterable[str], place: str, kind: str) -> None:
    """Reject the first unknown word, suggesting a similar one."""
    known = tuple(known)
    for word in words:
        if word in known:
            continue
        # Imported here: only needed for errors.
        import difflib

        near = difflib.get_close_matches(word, known, n=1)
        listed = ", ".join(known) or "none"
        hint = f"did you mean {near[0]!r}?" if near else f"known: {listed}."
        raise ConfigurationError(f"{place}: unknown {kind} {word!r}; {hint}")
