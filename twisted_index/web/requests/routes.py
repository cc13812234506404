"""
Routing: which endpoint a URL names. Pure: segments in, a value out.

Segments are only compared and looked up; none becomes a path of the file system.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from twisted_index.simple.model import Sidecar
from twisted_index.simple.names import InvalidFilename, is_valid_name, normalize, parse_filename
from twisted_index.statistics.pypistats import TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twisted_index.metrics.counters import Kind


class Endpoint(enum.Enum):
    """What a URL names; `web/endpoints.py` has the methods, rights and views of each."""

    FRONT = enum.auto()
    FEED = enum.auto()
    PIP_CONF = enum.auto()
    UV_TOML = enum.auto()
    PROJECT_LIST = enum.auto()
    PROJECT_PAGE = enum.auto()
    PROJECT = enum.auto()
    RELEASE = enum.auto()
    BARE_PROJECT = enum.auto()
    FILE = enum.auto()
    ALL_FILES = enum.auto()
    INDEXES = enum.auto()
    INDEX = enum.auto()
    FIND_FILE = enum.auto()
    LEGACY_PROJECT = enum.auto()
    LEGACY_RELEASE = enum.auto()
    UPLOAD = enum.auto()
    YANK = enum.auto()
    PROMOTE = enum.auto()
    PROJECT_STATUS = enum.auto()
    HEALTH = enum.auto()
    PROBLEMS = enum.auto()
    AUDIT_LOG = enum.auto()
    METRICS = enum.auto()
    WANTED = enum.auto()
    STATISTICS = enum.auto()
    PYPISTATS = enum.auto()
    OPERATIONS = enum.auto()
    CHANGES = enum.auto()
    TREE = enum.auto()
    ENTRIES = enum.auto()
    ENTRY_BATCH = enum.auto()
    REPLICATION = enum.auto()
    SEARCH = enum.auto()
    WHY = enum.auto()
    TOKENS = enum.auto()
    TOKEN = enum.auto()
    DRAFTS = enum.auto()
    DRAFT = enum.auto()
    DRAFT_PUBLISH = enum.auto()
    REDIRECT = enum.auto()
    NO_ROUTE = enum.auto()


class Route(NamedTuple):
    """
    What one URL names.

    Attributes:
        project: A normalized name, for a page or a file.
        filename: The name of a file as the URL spells it, without the suffix of a sidecar.
        sidecar: The sidecar of that file; None for the file itself.
        version: The version of a release as the URL spells it; empty for all.
        token: The name of a token or a draft as the URL spells it.
        table: What is counted of downloads; of `statistics.pypistats.TABLES`.
        location: The target of a redirect, relative to the URL and without the query. For FIND_FILE the
            page of the project.
        permanent: Whether clients may cache the redirect. Installers cache it for ever, whatever its other
            header fields: only for mappings that never change.
    """

    endpoint: Endpoint
    project: str = ""
    filename: str = ""
    sidecar: Sidecar | None = None
    version: str = ""
    token: str = ""
    table: str = ""
    location: str = ""
    permanent: bool = True


NO_ROUTE = Route(Endpoint.NO_ROUTE)

#: What requests for these endpoints are counted as, if they only read.
_KINDS: Mapping[Endpoint, Kind] = {
    Endpoint.FRONT: "list",
    Endpoint.PROJECT_LIST: "list",
    Endpoint.ALL_FILES: "list",
    Endpoint.INDEXES: "list",
    Endpoint.PROJECT_PAGE: "page",
    Endpoint.BARE_PROJECT: "page",
    Endpoint.LEGACY_PROJECT: "page",
    Endpoint.LEGACY_RELEASE: "page",
    Endpoint.FILE: "file",
    Endpoint.FIND_FILE: "file",
}

#: Below "-", which is no valid project name.
_RESERVED = {
    "changes": Endpoint.CHANGES,
    "drafts": Endpoint.DRAFTS,
    "feed.atom": Endpoint.FEED,
    "health": Endpoint.HEALTH,
    "history": Endpoint.AUDIT_LOG,
    "metrics": Endpoint.METRICS,
    "problems": Endpoint.PROBLEMS,
    "promote": Endpoint.PROMOTE,
    "replication": Endpoint.REPLICATION,
    "search": Endpoint.SEARCH,
    "stats": Endpoint.STATISTICS,
    "status": Endpoint.PROJECT_STATUS,
    "tokens": Endpoint.TOKENS,
    "wanted": Endpoint.WANTED,
    "yank": Endpoint.YANK,
}
#: Paths of uploads by POST. Redirects would not do: twine and poetry follow none.
UPLOAD_PATHS: tuple[list[bytes], ...] = ([b""], [b"legacy"], [b"legacy", b""], [b"simple"], [b"simple", b""])
#: What a segment may contain as it is, besides letters and digits (RFC 3986 section 3.3).
_PLAIN = "!$&'()*+,;=:@"


def kind_of(endpoint: Endpoint, method: bytes) -> Kind:
    """Return what a request is counted as; HEAD comes as GET."""
    if endpoint is Endpoint.UPLOAD:
        return "upload"
    return _KINDS.get(endpoint, "other") if method == b"GET" else "other"


def has_empty_segments(segments: Sequence[bytes]) -> bool:
    """Whether a path has two slashes in a row, as micropip and pipenv derive from an index URL."""
    return not all(segments[:-1])


def collapse_slashes(segments: Sequence[bytes]) -> str:
    """
    Join the non-empty segments of a path, with exactly one slash in front.

    After two slashes clients would read a host (RFC 3986 section 4.2), and browsers take a backslash for
    a slash: so segments are escaped.

    Args:
        segments: Percent-decoded; an empty one at the end makes a trailing slash.
    """
    path = "/".join(quote(segment, safe=_PLAIN) for segment in segments if segment)
    return f"/{path}/" if path and not segments[-1] else f"/{path}"


def path_segments(target: bytes) -> list[bytes]:
    """Split a request target as Twisted splits a path: percent-decoded segments, without the query."""
    return [unquote_to_bytes(segment) for segment in target.partition(b"?")[0][1:].split(b"/")]


def is_upload_path(segments: Sequence[bytes], *, mounted: bool = True) -> bool:
    """
    Whether a path accepts uploads.

    The resource passes the path below its mount point. The request checks before its resource is found,
    when the path may begin with an unknown mount point: then the end of the path decides. So every request
    that the resource treats as an upload has been received as one.

    Args:
        segments: Percent-decoded, as for `match_route`.
        mounted: Whether they begin at the mount point.
    """
    return any(list(segments if mounted else segments[-len(path) :]) == path for path in UPLOAD_PATHS)


def is_replication_path(segments: Sequence[bytes]) -> bool:
    """Whether a path is about this server's part in a replication, which no other server has to do with."""
    return list(segments) == [b"-", b"replication"]


def is_open_path(segments: Sequence[bytes]) -> bool:
    """Whether a path is for those who watch the server, who learn nothing of what it has."""
    return list(segments[:1]) == [b"-"] and segments[1:] in ([b"health"], [b"metrics"], [b"replication"])


def match_route(segments: Sequence[bytes]) -> Route:
    """
    Find what a URL names.

    Args:
        segments: The path below the mount point, each segment percent-decoded once. A URL that ends in a
            slash ends in an empty segment.
    """
    try:
        path = [segment.decode("utf-8") for segment in segments]
    except UnicodeDecodeError:
        return NO_ROUTE
    if path == [""]:
        return Route(Endpoint.FRONT)
    # A reserved name wins over a project of that name, which is still below /simple/.
    match path:
        case ["legacy" | "simple", "+simple", *rest] | ["+simple", *rest] if rest:
            # hatch checks at devpi's layout below the upload URL whether a file exists already.
            return _simple(rest)
        case ["+"]:
            return Route(Endpoint.REDIRECT, location="+/")
        case ["+", ""]:
            return Route(Endpoint.INDEXES)
        case ["simple", *rest]:
            return _simple(rest)
        case ["packages", *rest]:
            return _packages(rest)
        case ["-", *rest]:
            return _operations(rest)
        case ["project", name, *rest] if is_valid_name(name):
            return _project_for_people(name, rest)
        case ["pypi", *rest]:
            return _pypi(rest)
        case ["pip.conf"]:
            return Route(Endpoint.PIP_CONF)
        case ["uv.toml"]:
            return Route(Endpoint.UV_TOML)
        case ["legacy"] | ["legacy", ""]:
            return Route(Endpoint.UPLOAD)
        case ["project" | "legacy", *_]:
            return NO_ROUTE
        case [name] if is_valid_name(name):
            # Unlike below simple/, redirect only if the project exists: browsers request /favicon.ico.
            return Route(Endpoint.BARE_PROJECT, normalize(name))
        case [name, *rest] if name:
            return _project(name, rest)
    return NO_ROUTE


def _project_for_people(name: str, rest: list[str]) -> Route:
    """Match the page of a project or of a release; an unnormalized name redirects to the normalized one."""
    match rest:
        case []:
            return Route(Endpoint.REDIRECT, location=f"{normalize(name)}/")
        case [""]:
            return _at_normalized_name(name, Route(Endpoint.PROJECT, normalize(name)), "../{}/")
        case [version]:
            return Route(Endpoint.REDIRECT, location=f"{quote(version, safe='')}/")
        case [version, ""] if version:
            route = Route(Endpoint.RELEASE, normalize(name), version=version)
            return _at_normalized_name(name, route, "../../{}/" + quote(version, safe="") + "/")
    return NO_ROUTE


def _simple(rest: list[str]) -> Route:
    match rest:
        case []:
            return Route(Endpoint.REDIRECT, location="simple/")
        case [""]:
            return Route(Endpoint.PROJECT_LIST)
        case [project, *inner]:
            return _project(project, inner)
    return NO_ROUTE


def _project(name: str, rest: list[str]) -> Route:
    """Match a page or a file. An unnormalized name redirects to the normalized one at the same depth."""
    if not is_valid_name(name):
        return NO_ROUTE
    project = normalize(name)
    match rest:
        case []:
            return Route(Endpoint.REDIRECT, location=f"{project}/")
        case [""] if name == project:
            return Route(Endpoint.PROJECT_PAGE, project)
        case [""]:
            return Route(Endpoint.REDIRECT, location=f"../{project}/")
        case ["json"] | ["json", ""]:
            # pip-tools and Renovate derive this path from an index URL. No file can have this name.
            return _legacy_json([name, *rest])
        case [filename]:
            return _file(project, filename)
    return NO_ROUTE


def _file(project: str, filename: str) -> Route:
    """Match a file. Any spelling of the project matches, as the file name identifies the project."""
    for sidecar in Sidecar:
        if filename.endswith(sidecar.value):
            return Route(Endpoint.FILE, project, filename.removesuffix(sidecar.value), sidecar)
    return Route(Endpoint.FILE, project, filename)


def _packages(rest: list[str]) -> Route:
    match rest:
        case []:
            return Route(Endpoint.REDIRECT, location="packages/")
        case [""]:
            return Route(Endpoint.ALL_FILES)
        case [*folders, filename]:
            # In `/pypi/NAME/json` below the project's name; in lock files made with other servers below
            # pypiserver's name folders, or PyPI's digests.
            project = normalize(folders[-1]) if folders and is_valid_name(folders[-1]) else ""
            return _find_file(filename, project, "../" * (len(folders) + 1))
    return NO_ROUTE


def _find_file(name: str, project: str, up: str) -> Route:
    """Match a file; the project, if it is known, says where its name ends in that of the file."""
    file = _file("", name)
    try:
        project = parse_filename(file.filename, project).project
    except InvalidFilename:
        return NO_ROUTE
    return Route(Endpoint.FIND_FILE, project, file.filename, file.sidecar, location=f"{up}simple/{project}/")


def _pypi(rest: list[str]) -> Route:
    """Match PyPI's JSON API; other paths redirect to the page for people, as on PyPI."""
    match rest:
        case [name] | [name, ""] if is_valid_name(name):
            return Route(Endpoint.REDIRECT, location=f"{'../' * len(rest)}project/{normalize(name)}/")
        case [name, version] | [name, version, ""] if is_valid_name(name) and version not in ("", "json"):
            page = f"project/{normalize(name)}/{quote(version, safe='')}/"
            return Route(Endpoint.REDIRECT, location="../" * len(rest) + page)
    return _legacy_json(rest)


def _legacy_json(rest: list[str]) -> Route:
    """Match a document of PyPI's JSON API; an unnormalized name redirects to the normalized one."""
    match rest:
        case [name, "json"] if is_valid_name(name):
            return _at_normalized_name(name, Route(Endpoint.LEGACY_PROJECT, normalize(name)), "../{}/json")
        case [name, version, "json"] if is_valid_name(name) and version:
            route = Route(Endpoint.LEGACY_RELEASE, normalize(name), version=version)
            return _at_normalized_name(name, route, "../../{}/" + quote(version, safe="") + "/json")
        case [*path, "json", ""] if path:
            route = _legacy_json([*path, "json"])
            return route._replace(location=f"../{route.location}") if route.location else route
    return NO_ROUTE


def _at_normalized_name(name: str, route: Route, location: str) -> Route:
    if name == route.project:
        return route
    return Route(Endpoint.REDIRECT, location=location.format(route.project))


def _operations(rest: list[str]) -> Route:
    match rest:
        case []:
            return Route(Endpoint.REDIRECT, location="-/")
        case [""]:
            return Route(Endpoint.OPERATIONS)
        case [name] if name in _RESERVED:
            return Route(_RESERVED[name])
        case [name, ""] if name in _RESERVED:
            return Route(Endpoint.REDIRECT, location=f"../{name}")
        case ["stats", "api", "packages", name, table] if is_valid_name(name) and table in TABLES:
            route = Route(Endpoint.PYPISTATS, normalize(name), table=table)
            return _at_normalized_name(name, route, f"../{{}}/{table}")
        case ["tree"]:
            return Route(Endpoint.REDIRECT, location="changes", permanent=False)
        case ["tree", ""]:
            return Route(Endpoint.REDIRECT, location="../changes", permanent=False)
        case ["tree", project] if is_valid_name(project):
            return _at_normalized_name(project, Route(Endpoint.TREE, normalize(project)), "{}")
        case ["entries", ""]:
            return Route(Endpoint.ENTRY_BATCH)
        case ["entries", project] if is_valid_name(project):
            return _at_normalized_name(project, Route(Endpoint.ENTRIES, normalize(project)), "{}")
        case ["why"]:
            return Route(Endpoint.REDIRECT, location="./", permanent=False)
        case ["why", ""]:
            return Route(Endpoint.REDIRECT, location="../", permanent=False)
        case ["why", release]:
            return _why(release)
        case ["tokens", token]:
            return Route(Endpoint.TOKEN, token=token)
        case ["drafts", draft]:
            return Route(Endpoint.DRAFT, token=draft)
        case ["drafts", draft, "publish"]:
            return Route(Endpoint.DRAFT_PUBLISH, token=draft)
    return NO_ROUTE


def _why(release: str) -> Route:
    """Match a project, or `NAME==VERSION`; an unnormalized name redirects to the normalized one."""
    name, equals, version = release.partition("==")
    if not is_valid_name(name) or (equals and not version):
        return NO_ROUTE
    route = Route(Endpoint.WHY, normalize(name), version=version)
    return _at_normalized_name(name, route, "{}" + equals + quote(version, safe=""))
