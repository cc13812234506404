"""What the core metadata of a release say, for people: read as far as it is valid, and bounded. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import getaddresses
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement

from twisted_index.simple._project_names import normalize
from twisted_index.simple.formatting import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Entries of a list, and characters of a line, that are shown.
MOST, LONGEST = 300, 500
#: Characters of a field License that names one; others have its text.
_LONGEST_LICENSE = 100
_EXTRA = re.compile(r"""(?:\s+and\s+)?\bextra\s*==\s*["']([^"']+)["'](?:\s+and\s+)?""")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequiredProject:
    """
    One requirement.

    Attributes:
        name: As it is spelled.
        project: The same, normalized; empty if the line cannot be read.
        rest: What follows the name: extras, versions, markers.
    """

    name: str
    project: str = ""
    rest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFacts:
    """
    What people read of a release besides its description. Texts are single lines.

    Attributes:
        name: Of the project, as its authors spell it.
        summary: One line.
        license: An SPDX expression, or else what names the license best.
        people: Pairs of a role and a name.
        urls: Pairs of a label and a URL, which may be anything.
        requirements: By extra; those that are always needed under the empty name.
        requires_python: A specifier set.
        classifiers: As they are.
        keywords: Each by itself.
        left_out: How many requirements are not among them.
    """

    name: str = ""
    summary: str = ""
    license: str = ""
    people: tuple[tuple[str, str], ...] = ()
    urls: tuple[tuple[str, str], ...] = ()
    requirements: Mapping[str, tuple[RequiredProject, ...]]
    requires_python: str = ""
    classifiers: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    left_out: int = 0


def release_facts(project: str, fields: Mapping[str, Any]) -> ReleaseFacts:
    """
    Read the core metadata of a release.

    Args:
        project: Its normalized name.
        fields: From `legacy_json.parse_core_metadata`.
    """
    name = _line(fields, "name")
    lines = [_short(each) for each in fields.get("requires_dist") or ()]
    return ReleaseFacts(
        name=name if normalize(name) == project else project,
        summary=_line(fields, "summary"),
        license=_license(fields),
        people=tuple(_people(fields)),
        urls=tuple(_urls(fields))[:MOST],
        requirements=_requirements(lines[:MOST]),
        requires_python=_line(fields, "requires_python"),
        classifiers=_lines(fields.get("classifiers")),
        keywords=_lines(_keywords(fields)),
        left_out=max(0, len(lines) - MOST),
    )


def _short(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"


def _line(fields: Mapping[str, Any], name: str) -> str:
    text = _short(fields.get(name) or "")
    # What old versions of setuptools wrote where nothing was stated.
    return "" if text == "UNKNOWN" else text


def _lines(texts: Iterable[str] | None) -> tuple[str, ...]:
    return tuple(line for line in map(_short, list(texts or ())[:MOST]) if line)


def _license(fields: Mapping[str, Any]) -> str:
    """Name the license: the field License often has all of its text, or nothing beside a classifier."""
    stated = _line(fields, "license")
    text = str(fields.get("license") or "").strip() if stated else ""
    if expression := _line(fields, "license_expression"):
        return expression
    if stated and len(text) <= _LONGEST_LICENSE and "\n" not in text:
        return stated
    classified = (each for each in _lines(fields.get("classifiers")) if each.startswith("License :: "))
    return ", ".join(each.rpartition(" :: ")[2] for each in classified) or _short(text.partition("\n")[0])


def _keywords(fields: Mapping[str, Any]) -> list[str]:
    """Return the keywords; before they were separated by commas, people used spaces or semicolons."""
    keywords: list[str] = list(fields.get("keywords") or ())
    if len(keywords) != 1:
        return keywords
    return keywords[0].split(";" if ";" in keywords[0] else None)


def _people(fields: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Name authors and maintainers; of the addresses, only those that have no name."""
    for role in ("author", "maintainer"):
        stated = _line(fields, role)
        addresses = _addresses(_line(fields, f"{role}_email"))
        names = [name or ("" if stated else address) for name, address in addresses]
        # Some state all names in one field, and each of them again with its address.
        known = {"", *map(str.strip, stated.split(","))}
        for name in dict.fromkeys([stated, *(each for each in names if each not in known)]):
            if name:
                yield role.capitalize(), name


def _addresses(line: str) -> list[tuple[str, str]]:
    """Read names and addresses; none of what is nested too deeply for the reader."""
    try:
        return getaddresses([line])
    except RecursionError:
        return []


def _urls(fields: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    stated = [("Homepage", _line(fields, "home_page")), ("Download", _line(fields, "download_url"))]
    stated += [(_short(label), _short(url)) for label, url in (fields.get("project_urls") or {}).items()]
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for label, url in stated:
        if url:
            # Some state the `Home-page` among the others, too.
            found.setdefault((label.casefold(), url), (label, url))
    return found.values()


def _requirements(lines: Iterable[str]) -> Mapping[str, tuple[RequiredProject, ...]]:
    found: dict[str, list[RequiredProject]] = {"": []}
    for line in lines:
        extra = _EXTRA.search(line)
        found.setdefault("" if extra is None else extra[1], []).append(_requirement(line))
    return {extra: tuple(those) for extra, those in found.items() if those}


def _requirement(line: str) -> RequiredProject:
    try:
        name = Requirement(line).name
    except (InvalidRequirement, RecursionError):
        return RequiredProject(name=line)
    requirement, semicolon, marker = line[len(name) :].partition(";")
    marker = _EXTRA.sub("", marker).strip() if semicolon else ""
    if marker.startswith("(") and marker.endswith(")") and "(" not in marker[1:]:
        marker = marker[1:-1]
    rest = f"{requirement.strip()} if {marker}" if marker else requirement
    return RequiredProject(name=name, project=normalize(name), rest=rest.strip())
