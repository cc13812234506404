"""
The file of `twisted-index mirror`: from where, into which folder, by which rules.

Paths are relative to the folder of the file. Rules that contradict themselves or an earlier one are errors.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from twisted_index.config import parsers
from twisted_index.config.tables import TableKey, read_table, read_toml
from twisted_index.errors import ConfigurationError
from twisted_index.mirror.rules import RuleSet, SelectRule
from twisted_index.resolution.wheel_fit import platform_word, python_word
from twisted_index.simple.name_patterns import ANY_PROJECT, normalized_pattern, pattern_covers
from twisted_index.simple.names import DistributionType
from twisted_index.simple.retention import DeletionLimit

if TYPE_CHECKING:
    from twisted_index.config.parsers import Parser

#: More parallel downloads burden an index, and are not faster.
MAX_JOBS = 16
#: Of the copies in the folder, unless the file says otherwise.
_MAX_DELETE = DeletionLimit(5, is_percent=True)
_KINDS = {"wheel": DistributionType.WHEEL, "sdist": DistributionType.SDIST}


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorSettings:
    """
    What the file says.

    Attributes:
        source: The URL of a simple API, possibly with a user and a password, `pip`, or a repository.
        into: Absolute path of the folder.
        rules: With the cool-down.
        exact: Whether copies go that the source or the rules no longer have.
        max_delete: How many of the copies may go in one run.
        join: Whether to add to projects that hold other files.
        jobs: Number of parallel downloads.
        state: Absolute path of the state folder; None for the default.
    """

    source: str
    into: str
    rules: RuleSet
    exact: bool = False
    max_delete: DeletionLimit = _MAX_DELETE
    join: bool = False
    jobs: int = 8
    state: str | None = None


def read_mirror_file(path: str) -> MirrorSettings:
    """
    Read the file.

    Raises:
        ConfigurationError: It cannot be used; the message says where and why.
    """
    folder = os.path.dirname(os.path.abspath(path))
    values = read_table(read_toml(path), _keys(folder), f"{path}: ")
    for key, place, example in (("from", "source", '"pip"'), ("into", "into", '"mirror"')):
        if place not in values:
            raise ConfigurationError(f"{path}: {key} is missing; write it like {key} = {example}.")
    rules = RuleSet(rules=values.pop("select", ()), cooldown=values.pop("cooldown", 0.0))
    return MirrorSettings(**values, rules=rules)


def _keys(folder: str) -> dict[str, TableKey]:
    return {
        "from": TableKey("source", parsers.upstream),
        "into": TableKey("into", partial(parsers.path, folder)),
        "exact": TableKey("exact", parsers.flag),
        "max-delete": TableKey("max_delete", DeletionLimit.parse),
        "cooldown": TableKey("cooldown", parsers.duration),
        "join": TableKey("join", parsers.flag),
        "jobs": TableKey("jobs", _jobs),
        "state": TableKey("state", partial(parsers.path, folder)),
        "select": TableKey("select", partial(_rules, folder)),
    }


def _jobs(raw: object) -> int:
    if parsers.count(raw) > MAX_JOBS:
        raise ValueError(f"{raw!r} is more than {MAX_JOBS}")
    return parsers.count(raw)


def _rules(folder: str, raw: object) -> tuple[SelectRule, ...]:
    if not isinstance(raw, list) or not all(isinstance(table, Mapping) for table in raw):
        raise ValueError("these are tables; write each rule below [[select]]")
    rules: list[SelectRule] = []
    for number, table in enumerate(raw, 1):
        try:
            rules.append(_rule(folder, number, table))
            _check_reachable(rules)
        except (ValueError, ConfigurationError) as error:
            reason = error.message if isinstance(error, ConfigurationError) else f"{error}."
            raise ConfigurationError(f"rule {number}: {reason}") from error
    return tuple(rules)


def _rule(folder: str, number: int, written: Mapping[str, Any]) -> SelectRule:
    values = read_table(written, _rule_keys(folder), "")
    if "requirements" in values:
        _check_requirements(values)
    else:
        values.setdefault("projects", (ANY_PROJECT,))
        if values.get("dependencies"):
            raise ValueError("dependencies are those of requirements; name a file of them")
    if values.get("skip") and values.keys() - {"skip", "projects"}:
        raise ValueError("it skips its projects, so it can only have projects beside skip")
    return SelectRule(number=number, **values)


def _rule_keys(folder: str) -> dict[str, TableKey]:
    keys: dict[str, Parser] = {
        "projects": partial(parsers.several, _pattern),
        "requirements": partial(parsers.several, partial(parsers.path, folder)),
        "skip": parsers.flag,
        "versions": _specifiers,
        "prereleases": parsers.flag,
        "latest": parsers.count,
        "latest-per-minor": parsers.count,
        "kinds": _kinds,
        "pythons": partial(parsers.several, python_word),
        "platforms": partial(parsers.several, platform_word),
        "max-size": parsers.size,
        "dependencies": parsers.flag,
    }
    return {name: TableKey(name.replace("-", "_"), parse) for name, parse in keys.items()}


def _pattern(raw: object) -> str:
    return normalized_pattern(parsers.text(raw).strip())


def _specifiers(raw: object) -> SpecifierSet:
    try:
        return SpecifierSet(parsers.text(raw))
    except InvalidSpecifier:
        raise ValueError(f'{raw!r} are not versions as in PEP 440; write them like ">=1.26,<3"') from None


def _kinds(raw: object) -> frozenset[DistributionType]:
    def kind(word: object) -> DistributionType:
        if not isinstance(word, str) or word not in _KINDS:
            raise ValueError(f"{word!r} is not a kind of file; write wheel or sdist")
        return _KINDS[word]

    return frozenset(kind(word) for word in parsers.several(lambda word: word, raw))


def _check_requirements(values: Mapping[str, Any]) -> None:
    """Refuse what cannot be meant beside requirements."""
    if "projects" in values:
        raise ValueError("it has projects and requirements; write a rule for each")
    if "versions" in values:
        raise ValueError("the requirements say which versions; leave versions out")
    if values.get("dependencies") and not ("pythons" in values and "platforms" in values):
        raise ValueError(
            "dependencies differ between Pythons and platforms; name those for which they are needed"
        )


def _check_reachable(rules: list[SelectRule]) -> None:
    """Refuse a last rule whose projects are all decided about by one before it."""
    *earlier, last = rules
    for rule in earlier:
        if last.projects and all(
            any(_covers(wide, pattern) for wide in rule.projects) for pattern in last.projects
        ):
            raise ValueError(
                f"it never decides, since rule {rule.number} already matches {', '.join(last.projects)};"
                " the more special rule comes first"
            )


def _covers(wide: str, narrow: str) -> bool:
    # `pattern_covers` knows no brackets.
    return wide == narrow or (not (set("[") & {*wide, *narrow}) and pattern_covers(wide, narrow))
