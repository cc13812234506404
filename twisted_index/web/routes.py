"""
Which question a URL asks. Pure: segments in, a value out.

Segments are only ever compared and looked up; none becomes a path of the file system.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from twisted_index.simple.model import Companion
from twisted_index.simple.names import InvalidFilename, is_valid_name, normalize, parse_filename

if TYPE_CHECKING:
    from collections.abc import Sequence


class Kind(enum.Enum):
    """What can be asked for."""

    FRONT = enum.auto()
    PROJECT_LIST = enum.auto()
    PROJECT_PAGE = enum.auto()
    BARE_PROJECT = enum.auto()
    FILE = enum.auto()
    ALL_FILES = enum.auto()
    FIND_FILE = enum.auto()
    LEGACY_PROJECT = enum.auto()
    LEGACY_RELEASE = enum.auto()
    UPLOAD = enum.auto()
    YANK = enum.auto()
    STATUS = enum.auto()
    HEALTH = enum.auto()
    PROBLEMS = enum.auto()
    HISTORY = enum.auto()
    METRICS = enum.auto()
    REDIRECT = enum.auto()
    NOTHING = enum.auto()


class Route(NamedTuple):
    """
    A question.

    Attributes:
        kind: What is asked.
        project: A normalized name, for a page or a file.
        filename: For a file, as it stands in the URL; without the suffix of a companion.
        companion: Which companion of the file is asked for.
        version: Of a release, as it stands in the URL.
        location: For a redirect: relative to the URL, without the query.
        permanent: Whether the redirect may be kept for ever (installers do so, whatever else the
            answer says: so only for mappings that never change).
    """

    kind: Kind
    project: str = ""
    filename: str = ""
    companion: Companion | None = None
    version: str = ""
    location: str = ""
    permanent: bool = True


NOTHING = Route(Kind.NOTHING)

#: Below "-", which can never be a project.
_OPERATIONS = {
    "health": Kind.HEALTH,
    "history": Kind.HISTORY,
    "metrics": Kind.METRICS,
    "problems": Kind.PROBLEMS,
    "status": Kind.STATUS,
    "yank": Kind.YANK,
}
#: Where files are published by POST. A redirect would not do: twine and poetry stop at any.
_UPLOADS: tuple[list[bytes], ...] = ([], [b""], [b"legacy"], [b"legacy", b""], [b"simple"], [b"simple", b""])


def takes_uploads(segments: Sequence[bytes]) -> bool:
    """Say whether files are published at a URL; see `find_route` for the argument."""
    return list(segments) in _UPLOADS


def find_route(segments: Sequence[bytes]) -> Route:
    """
    Find what a URL asks for.

    Args:
        segments: What follows the place where the index is mounted, each percent-decoded once. A
            URL that ends in a slash ends in an empty segment.
    """
    try:
        path = [segment.decode("utf-8") for segment in segments]
    except UnicodeDecodeError:
        return NOTHING
    if path == [""]:
        return Route(Kind.FRONT)
    # Where a name of ours and a project's name meet, ours wins: the recommended URL is /simple/.
    match path:
        case ["legacy" | "simple", "+simple", *rest] | ["+simple", *rest] if rest:
            # Where hatch looks whether a file is there already: devpi's layout below the upload URL.
            return _simple(rest)
        case ["simple", *rest]:
            return _simple(rest)
        case ["packages", *rest]:
            return _packages(rest)
        case ["-", *rest]:
            return _operations(rest)
        case ["project", name] if is_valid_name(name):
            return Route(Kind.REDIRECT, location=f"{normalize(name)}/")
        case ["project", name, ""] if is_valid_name(name):
            return Route(Kind.REDIRECT, location=f"../../simple/{normalize(name)}/", permanent=False)
        case ["pypi", *rest]:
            return _legacy_json(rest)
        case ["legacy"] | ["legacy", ""]:
            return Route(Kind.UPLOAD)
        case ["project" | "legacy", *_]:
            return NOTHING
        case [name] if is_valid_name(name):
            # Not for any name, as below simple/: browsers ask for /favicon.ico.
            return Route(Kind.BARE_PROJECT, normalize(name))
        case [name, *rest] if name:
            return _project(name, rest)
    return NOTHING


def _simple(rest: list[str]) -> Route:
    match rest:
        case []:
            return Route(Kind.REDIRECT, location="simple/")
        case [""]:
            return Route(Kind.PROJECT_LIST)
        case [project, *inner]:
            return _project(project, inner)
    return NOTHING


def _project(name: str, rest: list[str]) -> Route:
    """Find a page or a file. An unnormalized name leads to the normalized one at the same depth."""
    if not is_valid_name(name):
        return NOTHING
    project = normalize(name)
    match rest:
        case []:
            return Route(Kind.REDIRECT, location=f"{project}/")
        case [""] if name == project:
            return Route(Kind.PROJECT_PAGE, project)
        case [""]:
            return Route(Kind.REDIRECT, location=f"../{project}/")
        case [filename]:
            return _file(project, filename)
    return NOTHING


def _file(project: str, filename: str) -> Route:
    """Find a file. The project's spelling does not matter, as the file's own name says enough."""
    for companion in Companion:
        if filename.endswith(companion.value):
            return Route(Kind.FILE, project, filename.removesuffix(companion.value), companion)
    return Route(Kind.FILE, project, filename)


def _packages(rest: list[str]) -> Route:
    match rest:
        case []:
            return Route(Kind.REDIRECT, location="packages/")
        case [""]:
            return Route(Kind.ALL_FILES)
        case [filename]:
            return _find_file(filename)
    return NOTHING


def _find_file(filename: str) -> Route:
    try:
        return Route(Kind.FIND_FILE, parse_filename(filename).project, filename)
    except InvalidFilename:
        return NOTHING


def _legacy_json(rest: list[str]) -> Route:
    """Find a document of PyPI's JSON API; an unnormalized name leads to the normalized one."""
    match rest:
        case [name, "json"] if is_valid_name(name):
            return _at_its_name(name, Route(Kind.LEGACY_PROJECT, normalize(name)), "../{}/json")
        case [name, version, "json"] if is_valid_name(name) and version:
            route = Route(Kind.LEGACY_RELEASE, normalize(name), version=version)
            return _at_its_name(name, route, "../../{}/" + quote(version, safe="") + "/json")
        case [*path, "json", ""] if path:
            route = _legacy_json([*path, "json"])
            return route._replace(location=f"../{route.location}") if route.location else route
    return NOTHING


def _at_its_name(name: str, route: Route, location: str) -> Route:
    if name == route.project:
        return route
    return Route(Kind.REDIRECT, location=location.format(route.project))


def _operations(rest: list[str]) -> Route:
    match rest:
        case [name] if name in _OPERATIONS:
            return Route(_OPERATIONS[name])
        case [name, ""] if name in _OPERATIONS:
            return Route(Kind.REDIRECT, location=f"../{name}")
    return NOTHING
