"""
Which files of a page the rules of a mirror take, and why. Pure: of the page, the rules and the time.

The order of a page changes nothing. Out of scope: placing the files (see `puller`).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from twisted_index.resolution.wheel_fit import fits_platforms, fits_pythons
from twisted_index.simple.names import DistributionType, is_prerelease, parse_filename, version_sort_key
from twisted_index.simple.retention import StoredFile, superseded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from twisted_index.backends.upstream.remote import RemoteFile, RemotePage
    from twisted_index.mirror.rules import Need, RuleSet, SelectRule
    from twisted_index.simple.names import Distribution

_KIND_NAMES = {DistributionType.WHEEL: "a wheel", DistributionType.SDIST: "an sdist"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """
    What is known of files that their page does not state, by file name.

    Attributes:
        first_seen: When an earlier run first saw the file, in seconds since the epoch.
        sizes: Bytes.
    """

    first_seen: Mapping[str, float] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """
    What the rules say of one file.

    Attributes:
        filename: Its name.
        taken: Whether it is taken.
        reason: Which rule takes it, or why each leaves it; a clause.
    """

    filename: str
    taken: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """
    What the rules take of a page.

    Attributes:
        files: Those taken, by name.
        verdicts: One for each file of the page, by name.
        unsized: Those of the files whose size a rule limits, and which nothing states.
        unmet: What requirements need and no file provides, in clauses; empty if there is nothing.
    """

    files: tuple[RemoteFile, ...]
    verdicts: tuple[Verdict, ...]
    unsized: tuple[RemoteFile, ...] = ()
    unmet: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A file of the page: with its parsed name, its size if that is known, and the end of its cool-down."""

    remote: RemoteFile
    distribution: Distribution
    size: int | None
    visible_from: float

    @property
    def name(self) -> str:
        return self.distribution.filename


def choose(page: RemotePage, rules: RuleSet, now: float, learned: Learned | None = None) -> Choice:
    """
    Apply the rules to a page.

    Args:
        page: Of a project.
        rules: Of the mirror.
        now: Seconds since the epoch.
        learned: What earlier runs know of its files.
    """
    entries, equals = _entries(page, rules, now, learned or Learned())
    concerning = rules.concerning(page.project)
    reasons = {name: [_no_rule(rules, page.project)] for name in entries} if not concerning else {}
    takers: dict[str, SelectRule] = {}
    unmet = []
    for rule, need in concerning:
        left = _apply(rule, need, list(entries.values()), now)
        takers |= {name: rule for name in entries if name not in left and name not in takers}
        for name, reason in left.items():
            reasons.setdefault(name, []).append(f"{_rule_name(rule)}: {reason}")
        if rule.requirements and left.keys() == entries.keys():
            unmet.append(f"{_rule_name(rule)} needs {need.versions or 'a version'}")
    reasons |= {name: [f"to installers the same as {first}"] for name, first in equals.items()}
    limited = {name for name, rule in takers.items() if rule.max_size is not None}
    return Choice(
        files=tuple(entries[name].remote for name in sorted(takers)),
        verdicts=tuple(
            Verdict(filename=name, taken=True, reason=_rule_name(takers[name]))
            if name in takers
            else Verdict(filename=name, taken=False, reason="; ".join(reasons[name]))
            for name in sorted({*entries, *equals})
        ),
        unsized=tuple(entries[name].remote for name in sorted(limited) if entries[name].size is None),
        unmet=", ".join(unmet),
    )


def _entries(
    page: RemotePage, rules: RuleSet, now: float, learned: Learned
) -> tuple[dict[str, _Entry], dict[str, str]]:
    """Return the files of a page by name, and those that installers take for one before them by name."""
    entries: dict[str, _Entry] = {}
    equals: dict[str, str] = {}
    firsts: dict[object, str] = {}
    for remote in sorted(page.files, key=lambda remote: remote.file.filename):
        distribution = parse_filename(remote.file.filename, page.project)
        name = distribution.filename
        first = firsts.setdefault(distribution.identity, name)
        if first is not name:
            equals[name] = first
            continue
        entries[name] = _Entry(
            remote=remote,
            distribution=distribution,
            size=learned.sizes.get(name) if remote.file.size is None else remote.file.size,
            visible_from=_since(remote, now, learned) + rules.cooldown if rules.cooldown else now,
        )
    return entries, equals


def _since(remote: RemoteFile, now: float, learned: Learned) -> float:
    """Return when a file came, as far as that is known; see `indexes.upstream_policy`."""
    uploaded = remote.file.upload_time
    return learned.first_seen.get(remote.file.filename, now) if uploaded is None else uploaded.timestamp()


def _no_rule(rules: RuleSet, project: str) -> str:
    decides = rules.deciding(project)
    return "no rule is about the project" if decides is None else f"{_rule_name(decides)} skips the project"


def _rule_name(rule: SelectRule) -> str:
    return f"rule {rule.number}" if rule.number else "no rules, which take everything"


def _apply(rule: SelectRule, need: Need, entries: list[_Entry], now: float) -> dict[str, str]:
    """Return why a rule leaves files, by name; it takes all others."""
    left = {entry.name: reason for entry in entries if (reason := _unfit(rule, need, entry, now))}
    fitting = [entry for entry in entries if entry.name not in left]
    wanted = set(_versions(need.versions, fitting, prereleases=rule.prereleases))
    unasked = [entry for entry in fitting if entry.distribution.version not in wanted]
    left |= {entry.name: "a pre-release, which it does not ask for" for entry in unasked}
    kept = [entry for entry in fitting if entry.name not in left]
    return left | dict.fromkeys(_old(rule, kept), f"not of the {_limits(rule)}")


def _unfit(rule: SelectRule, need: Need, entry: _Entry, now: float) -> str:
    """Return why a rule leaves a file, whatever other files there are; empty if it may take it."""
    distribution, file = entry.distribution, entry.remote.file
    if entry.visible_from > now:
        return f"in its cool-down until {datetime.fromtimestamp(entry.visible_from, UTC):%Y-%m-%d %H:%M} UTC"
    if need.versions is not None and not need.versions.contains(distribution.version, prereleases=True):
        return f"its version is not {need.versions}"
    if need.hashes and need.hashes.isdisjoint(f"{name}:{value}" for name, value in file.hashes.items()):
        return "its digest is none of those that are required"
    if distribution.kind not in rule.kinds:
        return _KIND_NAMES[distribution.kind]
    if rule.pythons and not fits_pythons(distribution, file.requires_python, rule.pythons):
        return f"not for Python {', '.join(rule.pythons)}"
    if rule.platforms and not fits_platforms(distribution, rule.platforms):
        return f"not for {', '.join(rule.platforms)}"
    if rule.max_size is not None and entry.size is not None and entry.size > rule.max_size:
        return f"{entry.size / 1e6:.1f} MB are more than its max-size"
    return ""


def _versions(specifiers: SpecifierSet | None, entries: list[_Entry], *, prereleases: bool) -> Iterable[str]:
    """Return the versions that installers consider (PEP 440, "Handling of pre-releases")."""
    versions = sorted({entry.distribution.version for entry in entries})
    return (specifiers or SpecifierSet()).filter(versions, prereleases=prereleases or None)


def _limits(rule: SelectRule) -> str:
    limits = []
    if rule.latest is not None:
        limits.append(f"latest {rule.latest}")
    if rule.latest_per_minor is not None:
        limits.append(f"latest {rule.latest_per_minor} of each minor version")
    return " or the ".join(limits)


def _old(rule: SelectRule, entries: list[_Entry]) -> set[str]:
    """Return the names of files that all limits of the newest releases leave out."""
    olds = []
    if rule.latest is not None:
        olds.append(_superseded(entries, rule.latest))
    if rule.latest_per_minor is not None:
        minors: defaultdict[object, list[_Entry]] = defaultdict(list)
        for entry in entries:
            minors[_minor(entry.distribution.version)].append(entry)
        groups = (_superseded(group, rule.latest_per_minor) for group in minors.values())
        olds.append(set().union(*groups))
    return set.intersection(*olds) if olds else set()


def _minor(version: str) -> tuple[int, ...]:
    key = version_sort_key(version)
    return (key.epoch, key.major, key.minor)  # type: ignore[union-attr]  # as every file name is checked


def _superseded(entries: list[_Entry], keep: int) -> set[str]:
    """Return the names of the files of all releases but the newest; finals and others are counted apart."""
    files = [
        StoredFile(
            filename=entry.name,
            version=entry.distribution.version,
            uploaded=0.0,
            yanked=entry.remote.file.yanked is not None,
        )
        for entry in entries
    ]
    finals = [file for file in files if not is_prerelease(file.version)]
    others = [file for file in files if is_prerelease(file.version)]
    return {file.filename for group in (finals, others) for file in superseded(group, keep)}
