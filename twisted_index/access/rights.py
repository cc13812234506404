"""
Rights: who may do what with which projects. Pure; the file of rights is read by `rights_file`.

The file is TOML, made of groups and rules::

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

    [[rule]]                             # about the whole index, so without projects
    allow = ["operate"]
    to = ["alice"]

- `projects`: patterns, with `*` and `?`, normalized like names: `Acme_*` is `acme-*`.
- `allow`: `read`; `upload`: new files of a project that exists; `create`: a project that does not,
  by uploading to it (so `upload` as well); `yank`: yank, unyank, set the project's status; `delete`;
  `operate`: see the history, the problems and the metrics of the whole index.
- `to`: names of users, `@group`, `users` for everyone who has logged in, `everyone`.

Semantics:

- The order of rules does not matter: a rule only adds, and any rule that allows an action suffices.
- Reading is open where no rule mentions it. A project matched by a rule with `read` is closed to
  everyone whom no such rule names.
- Nothing else is open: what no rule allows is forbidden. No action implies another: uploading to a
  closed project and installing from it needs `read` too.
- A string may stand for a list of one.
- Tokens carry their own rights: a token may do what its scope says, and what everyone may; no rule,
  not even one to `users`, gives it more.

Without a file everyone may read, and every user may do everything. With `--anonymous-upload` everyone
may create and upload too.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted_index.access.patterns import ANY_PROJECT, matches_any, project_pattern
from twisted_index.errors import ConfigurationError
from twisted_index.interfaces import Action, Identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_EVERYONE = "everyone"
_USERS = "users"
_KEYS = ("projects", "allow", "to")
_ACTIONS = tuple(action.value for action in Action)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """
    A permission.

    Attributes:
        actions: The allowed actions.
        projects: Patterns from `project_pattern`; `*` for the whole index.
        users: By name, with the members of groups.
        authenticated: Whether it holds for everyone who has logged in.
        everyone: Whether it holds for all clients.
    """

    actions: frozenset[Action]
    projects: tuple[str, ...] = (ANY_PROJECT,)
    users: frozenset[str] = frozenset()
    authenticated: bool = False
    everyone: bool = False

    def applies_to(self, user: str | None) -> bool:
        """Say whether the rule holds for a user; None is an anonymous client."""
        return self.everyone or (user is not None and (self.authenticated or user in self.users))


class Rights:
    """
    All rules together.

    Args:
        rules: In any order.
        groups: Members by the name of the group.
    """

    def __init__(self, rules: Iterable[Rule], groups: Mapping[str, frozenset[str]] | None = None) -> None:
        self._rules = {
            action: tuple(rule for rule in rules if action in rule.actions)
            for rules in (tuple(rules),)
            for action in Action
        }
        self._groups = dict(groups or {})
        reading = self._rules[Action.READ]
        #: Whether everyone may read every project. False may be caution: then each request is checked,
        #: with the same result.
        self.public_read = all(rule.everyone for rule in reading) or any(
            rule.everyone and ANY_PROJECT in rule.projects for rule in reading
        )

    def groups_of(self, user: str) -> frozenset[str]:
        """Name the groups that a user is in."""
        return frozenset(name for name, members in self._groups.items() if user in members)

    def permits(self, identity: Identity, action: Action, project: str = "") -> bool:
        """
        Say whether an identity may do something.

        Args:
            identity: A token is judged by its scope and by the rights of everyone.
            action: The action.
            project: A normalized name; empty for "with any project at all".
        """
        if identity.token is not None:
            within = matches_any(project, (identity.token_permissions or {}).get(action, ()))
            return within or self._user_may(None, action, project)
        return self._user_may(identity.user, action, project)

    def _user_may(self, user: str | None, action: Action, project: str) -> bool:
        rules = self._rules[action]
        if any(rule.applies_to(user) and matches_any(project, rule.projects) for rule in rules):
            return True
        return action is Action.READ and not self._closed(project)

    def _closed(self, project: str) -> bool:
        """Say whether reading a project is for some only; for all of them, if it is empty."""
        rules = self._rules[Action.READ]
        if project:
            return any(matches_any(project, rule.projects) for rule in rules)
        return any(ANY_PROJECT in rule.projects for rule in rules)


def default_rights(*, anonymous_upload: bool = False) -> Rights:
    """Give the rights that hold without a file of rights."""
    changing = frozenset(Action) - {Action.READ}
    rules = [Rule(actions=changing, authenticated=True)]
    if anonymous_upload:
        rules.append(Rule(actions=frozenset({Action.CREATE, Action.UPLOAD}), everyone=True))
    return Rights(rules)


def parse_rights(text: str, place: str) -> Rights:
    """
    Read a file of rights.

    Args:
        text: What is in it.
        place: How errors call the file.

    Raises:
        ConfigurationError: Anything in it is not understood. Nothing is ever passed over: a rule
            that is not what its author thinks is worse than a server that does not start.
    """
    try:
        table = tomllib.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{place}: this is not TOML: {error}.") from error
    _known(table, ("groups", "rule"), place, "key")
    groups = _groups(table.get("groups", {}), place)
    rules = table.get("rule", [])
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise ConfigurationError(f"{place}: write each rule below a line [[rule]].")
    return Rights(
        [_rule(rule, groups, f"{place}: rule {number}") for number, rule in enumerate(rules, 1)], groups
    )


def _groups(raw: object, place: str) -> dict[str, frozenset[str]]:
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{place}: groups is a table; write [groups] above the groups.")
    found = {}
    for name, members in raw.items():
        where = f"{place}: group {name!r}"
        users = _texts(members, where)
        for user in users:
            if user.startswith("@") or user in (_EVERYONE, _USERS):
                raise ConfigurationError(f"{where}: {user!r} is no user; a group has users only.")
        found[name] = frozenset(users)
    return found


def _rule(raw: Mapping[str, object], groups: Mapping[str, frozenset[str]], place: str) -> Rule:
    _known(raw, _KEYS, place, "key")
    for key in ("allow", "to"):
        if key not in raw:
            raise ConfigurationError(f"{place}: {key!r} is missing.")
    words = _texts(raw["allow"], f"{place}: allow")
    _known(words, _ACTIONS, f"{place}: allow", "action")
    actions = frozenset(map(Action, words))
    projects = _projects(raw, actions, place)
    to = _texts(raw["to"], f"{place}: to")
    return Rule(
        actions=actions,
        projects=projects,
        users=_users(to, groups, f"{place}: to"),
        authenticated=_USERS in to,
        everyone=_EVERYONE in to,
    )


def _projects(raw: Mapping[str, object], actions: frozenset[Action], place: str) -> tuple[str, ...]:
    """Read the patterns of a rule, which `operate` has none of and all else needs."""
    if Action.OPERATE in actions:
        if len(actions) > 1 or "projects" in raw:
            raise ConfigurationError(
                f"{place}: 'operate' is about the whole index; give it a rule of its own, without projects."
            )
        return (ANY_PROJECT,)
    if "projects" not in raw:
        raise ConfigurationError(f"{place}: 'projects' is missing; for all of them write projects = \"*\".")
    patterns = _texts(raw["projects"], f"{place}: projects")
    try:
        return tuple(map(project_pattern, patterns))
    except ValueError as error:
        raise ConfigurationError(f"{place}: projects: {error}.") from error


def _users(words: Iterable[str], groups: Mapping[str, frozenset[str]], place: str) -> frozenset[str]:
    """Give the users that a rule names, one by one or by their groups."""
    users: set[str] = set()
    for word in words:
        if word.startswith("@"):
            _known((word,), tuple(f"@{name}" for name in groups), place, "group")
            users |= groups[word[1:]]
        elif word not in (_EVERYONE, _USERS):
            users.add(word)
    return frozenset(users)


def _texts(raw: object, place: str) -> tuple[str, ...]:
    """Read a list of texts that is not empty; one text stands for a list of one."""
    words = [raw] if isinstance(raw, str) else raw
    if not isinstance(words, list) or not words or not all(isinstance(w, str) and w for w in words):
        raise ConfigurationError(f"{place}: write a list of texts that is not empty.")
    return tuple(words)


def _known(words: Iterable[str], known: Iterable[str], place: str, kind: str) -> None:
    """Refuse the first word that is not known, with the one that may have been meant."""
    known = tuple(known)
    for word in words:
        if word in known:
            continue
        # Not at the top: few ever need it.
        import difflib

        near = difflib.get_close_matches(word, known, n=1)
        listed = ", ".join(known) or "none"
        hint = f"did you mean {near[0]!r}?" if near else f"known are: {listed}."
        raise ConfigurationError(f"{place}: {word!r} is no known {kind}; {hint}")
