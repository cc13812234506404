"""
Every setting, as one frozen value and as the one table of how settings are written.

A field carries its default, its parser and, if it is an option of the command too, its help. Options,
environment variables, keys of the file and reloading follow from it; docs/configuration.md has a row for
it, which a test compares.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from twisted_index.config import parsers
from twisted_index.config.parsers import several

if TYPE_CHECKING:
    from twisted_index.config.parsers import Parser

T = TypeVar("T")
#: Splits an environment variable with several values.
Split: TypeAlias = Callable[[str], list[str]]

#: Sections of `--help`; options without one come first.
UPLOADS, UPSTREAM = "Uploads and users:", "Upstream:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """
    How a field is written.

    Attributes:
        name: Of the option and the key; the variable is the same in capitals.
        place: The field, after the name of its part, as in `uploads.upload`.
        parse: Parser of one value; with `relative` the folder of relative paths comes first.
        relative: See `parse`.
        split: Splits a variable with several values; None for a single value.
        help: Line of `--help`; empty if it is not an option.
        section: Of `--help`.
        short: A letter for the option.
        complete: What a shell completes: `dirs`, or a pattern of file names.
    """

    name: str
    place: str
    parse: Callable[..., object]
    relative: bool = False
    split: Split | None = None
    help: str = ""
    section: str = ""
    short: str | None = None
    complete: str = ""

    def parser(self, folder: str) -> Parser:
        """Give the parser of its values, one or several, with paths relative to a folder."""
        one = partial(self.parse, folder) if self.relative else self.parse
        return partial(several, one) if self.split is not None else one


def setting(default: T, parse: Callable[..., object], **written: Any) -> T:
    """
    Make a field that can be set.

    Args:
        default: The default.
        parse: See `Setting`.
        **written: Further attributes of `Setting`; its name is that of the field by default.
    """
    value: T = field(default=default, metadata={"written": {"parse": parse, **written}})
    return value


def option(default: T, parse: Callable[..., object], text: str, section: str = "", **written: Any) -> T:
    """Make a field that is an option of the command too, with its line of `--help`; see `setting`."""
    return setting(default, parse, help=text, section=section, **written)


def split_paths(text: str) -> list[str]:
    """Split folders as in PATH."""
    return text.split(os.pathsep)


def path_or_none(folder: str, raw: object) -> str | None:
    """Parse a path; `none` for no folder."""
    return None if raw == "none" else parsers.path(folder, raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    What one client, or all of them, may take. Times in seconds, sizes in bytes.

    Attributes:
        header_timeout: From the first byte of a request to the end of its header (slowloris).
        upload_stall_timeout: An upload of which no byte comes for so long is dropped.
        idle_timeout: A kept-alive connection without a request.
        stall_timeout: A client that takes no byte of its answer for so long is dropped.
        response_timeout: How long an answer waits for digests before it is 503 (pip gives up at 15).
        stop_timeout: How long running requests may take to finish when the server stops.
        max_connections: In all; None derives it from the limit of open files.
        max_uri: Of a request target, beyond it 414 (RFC 9110 asks for at least 8000).
        max_header: Of a whole request header, beyond it 431.
        threads: That read, hash and unpack.
    """

    header_timeout: float = 20.0
    upload_stall_timeout: float = 60.0
    idle_timeout: float = 60.0
    stall_timeout: float = 60.0
    response_timeout: float = 10.0
    stop_timeout: float = 10.0
    max_connections: int | None = None
    max_uri: int = 8192
    max_header: int = 16384
    threads: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadSettings:
    """
    What may be uploaded.

    Attributes:
        upload: Whether uploads are taken at all.
        anonymous_upload: Whether that needs no user.
        max_upload: Of a distribution file, in bytes; beyond it 413.
        overwrite: Patterns of versions whose files may get other bytes, as `fnmatch` reads them,
            matched against the version and against PROJECT==VERSION.
        on_upload: Webhook URLs.
    """

    upload: bool = option(
        False, parsers.flag, "Accept uploads from users; see --auth, and twisted-index token.", UPLOADS
    )
    anonymous_upload: bool = option(
        False, parsers.flag, "Accept uploads from everyone, without a user.", UPLOADS
    )
    max_upload: int = option(
        4_000_000_000, parsers.max_upload, "Largest file that is accepted. [default: 4GB]", UPLOADS
    )
    overwrite: tuple[str, ...] = option(
        (),
        parsers.single_word,
        'Versions whose files may be overwritten, such as "*.dev*"; repeat it for more.',
        UPLOADS,
        split=str.split,
    )
    on_upload: tuple[str, ...] = option(
        (), parsers.remote_url, "Webhook URL for each new file; repeat it for more.", UPLOADS, split=str.split
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSettings:
    """
    Users, rights, trusted proxies.

    Attributes:
        auth: Descriptions of credential checkers for strcred, such as `htpasswd:FILE`.
        rights: Absolute path of the file of rights; None if there is none.
        trusted_proxies: Addresses and networks of proxies whose forwarded header fields are
            believed; `unix` for those that come by a unix socket. With `users:` in front, the
            proxy vouches for users too.
    """

    auth: tuple[str, ...] = option(
        (),
        parsers.credential_checker,
        "Source of users, such as htpasswd:FILE; repeat it for more.",
        UPLOADS,
        relative=True,
        split=str.splitlines,
    )
    rights: str | None = option(
        None,
        parsers.path,
        "File of access rights. [default: everyone reads, users upload]",
        UPLOADS,
        relative=True,
        complete="*.toml",
    )
    trusted_proxies: tuple[str, ...] = option(
        (),
        parsers.trusted_proxy,
        "Trusted proxy: address, network or unix; users:ADDRESS to trust its users; repeat it for more.",
        UPLOADS,
        name="trusted-proxy",
        split=str.split,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingRule:
    """
    Where projects of some names come from.

    Attributes:
        pattern: Of normalized names, as `fnmatch` reads it.
        folder: An absolute path; or None.
        upstream: A URL; or None. Without either, there are no such projects.
    """

    pattern: str
    folder: str | None = None
    upstream: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamPolicy:
    """
    Which upstream projects and files are visible. Patterns are normalized like names.

    Attributes:
        local_only: Names that are never asked for upstream.
        upstream_only: If there are any: only these names are.
        upstream_deny: Names, or requirements such as `django>=4,<5`, that are not there.
        cooldown: Seconds; files that are younger are not there.
        cooldown_except: Names that the cool-down does not hold for.
        no_sdists: Whether sdists are left out.
        merge_upstream: Names whose versions are merged from folder and upstream.
    """

    local_only: tuple[str, ...] = option(
        (),
        parsers.name_pattern,
        'Names never requested from an upstream, such as "acme-*"; repeat it for more.',
        UPSTREAM,
        split=str.split,
    )
    upstream_only: tuple[str, ...] = setting((), parsers.name_pattern, split=str.split)
    upstream_deny: tuple[str, ...] = setting((), parsers.deny_rule, split=str.splitlines)
    cooldown: float = option(
        0.0,
        parsers.duration,
        "Leave out upstream files younger than this, such as 7d. [default: 0]",
        UPSTREAM,
    )
    cooldown_except: tuple[str, ...] = setting((), parsers.name_pattern, split=str.split)
    no_sdists: bool = setting(False, parsers.flag)
    merge_upstream: tuple[str, ...] = setting((), parsers.name_pattern, split=str.split)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings:
    """
    What happens with a project that the folders do not have.

    Attributes:
        urls: Of simple APIs, asked in order; `pip` for the one that pip here is configured to use.
        mode: `cache`, `proxy` or `redirect`.
        cache: Absolute folder of the cache; None keeps it below the state. Without a state
            nothing is kept.
        cache_size: Of the files in it, in bytes.
        cache_ttl: Seconds for which a page is taken for true without asking.
        page_timeout: Seconds that an upstream may take to begin a page.
        file_timeout: The same for a file.
        offline: Whether nothing is ever asked.
        allow_addresses: Addresses and networks that a public upstream may lead to besides public ones.
        rebuilds: Those of the URLs whose files may get other bytes, where no digest is promised.
        absent_on_403: Those of the URLs that answer 403 for projects that they do not have.
        policy: Which projects and files are visible.
        routes: First match wins, before `urls`.
    """

    urls: tuple[str, ...] = option(
        (),
        parsers.upstream,
        "Index for projects that are not in the folders: its URL, or pip for pip's; repeat it for more.",
        UPSTREAM,
        name="upstream",
        split=str.split,
    )
    mode: str = option(
        "cache",
        parsers.mode,
        "How to use it: cache, proxy or redirect. [default: cache]",
        UPSTREAM,
        name="upstream-mode",
    )
    #: Here, since `--help` lists options in the order of the fields.
    policy: UpstreamPolicy = UpstreamPolicy()
    cache: str | None = option(
        None,
        parsers.path,
        "Folder of the cache. [default: below the state]",
        UPSTREAM,
        relative=True,
        complete="dirs",
    )
    cache_size: int = option(5 << 30, parsers.size, "Maximum size of the cache. [default: 5GiB]", UPSTREAM)
    offline: bool = option(
        False, parsers.flag, "Never contact an upstream; serve only from the cache.", UPSTREAM
    )
    cache_ttl: float = setting(600.0, parsers.duration)
    page_timeout: float = setting(30.0, parsers.duration, name="upstream-page-timeout")
    file_timeout: float = setting(120.0, parsers.duration, name="upstream-file-timeout")
    allow_addresses: tuple[str, ...] = setting(
        (), parsers.network, name="upstream-allow-address", split=str.split
    )
    rebuilds: tuple[str, ...] = setting((), parsers.upstream, name="upstream-rebuilds", split=str.split)
    absent_on_403: tuple[str, ...] = setting(
        (), parsers.upstream, name="upstream-403-absent", split=str.split
    )
    routes: tuple[RoutingRule, ...] = ()

    @property
    def all_upstreams(self) -> tuple[str, ...]:
        """All URLs that are named, of rules too, and `pip`."""
        return (*self.urls, *(rule.upstream for rule in self.routes if rule.upstream is not None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    What a server serves, where, and how.

    Attributes:
        paths: Absolute folders, read in order.
        listen: Twisted endpoint strings.
        rescan: Seconds after which the files of a page are looked at again for in-place rewrites.
        state: Absolute folder of the state; None keeps it in memory.
        logfile: Absolute path of the access log; None for no access log.
        add_headers: Header fields added to every answer.
        display_tracebacks: Show tracebacks to clients; for development.
        cors: Let web pages of other sites read the index.
        public_url: The URL that people are shown; None uses the address they came by.
        page_cache: Bytes of finished pages that are kept in memory.
        fast_path: Whether plain requests may be answered without a Request object.
        limits: Time-outs and sizes.
        uploads: What may be uploaded.
        access: Users, rights, trusted proxies.
        upstreams: Other indexes.
    """

    paths: tuple[str, ...] = option(
        (".",),
        parsers.path,
        "Folder of packages; repeat it for more, read in order. [default: the current folder]",
        name="path",
        relative=True,
        split=split_paths,
        complete="dirs",
    )
    listen: tuple[str, ...] = option(
        ("tcp:8080",),
        parsers.endpoint,
        "Endpoint to listen on, or just a port; repeat it for more. [default: tcp:8080]",
        split=str.split,
    )
    rescan: float = option(
        2.0, parsers.duration, "Interval of checks for files rewritten in place. [default: 2s]"
    )
    state: str | None = option(
        None,
        path_or_none,
        "Folder for persistent state; none: memory only. [default: per user]",
        relative=True,
        complete="dirs",
    )
    logfile: str | None = option(
        None,
        parsers.path,
        "Access log, in Combined Log Format. [default: no access log]",
        relative=True,
        short="l",
        complete="*.log",
    )
    add_headers: tuple[tuple[bytes, bytes], ...] = option(
        (),
        parsers.header_field,
        'Header field for all responses, such as "Name: value"; repeat it for more.',
        name="add-header",
        split=str.splitlines,
    )
    display_tracebacks: bool = option(
        False, parsers.flag, "Show tracebacks to clients. They may expose private data!"
    )
    cors: bool = option(False, parsers.flag, "Let web pages of other sites read the index.")
    public_url: str | None = option(
        None, parsers.public_url, "URL of the index to show to users. [default: that of the request]"
    )
    page_cache: int = option(64_000_000, parsers.size, "Memory for rendered pages. [default: 64MB]")
    fast_path: bool = setting(True, parsers.flag)
    limits: Limits = Limits()
    uploads: UploadSettings = UploadSettings()
    access: AccessSettings = AccessSettings()
    upstreams: UpstreamSettings = UpstreamSettings()


#: The parts of Settings, by the prefix of their places.
PARTS: dict[str, type[Any]] = {
    "": Settings,
    "uploads": UploadSettings,
    "access": AccessSettings,
    "upstreams": UpstreamSettings,
    "policy": UpstreamPolicy,
}


def _written(prefix: str, part: type[Any]) -> Iterator[Setting]:
    """Yield the settings of a part, and of the parts in it, in the order of the fields."""
    for one in fields(part):
        if one.name in PARTS:
            yield from _written(one.name, PARTS[one.name])
        elif "written" in one.metadata:
            written = {"name": one.name.replace("_", "-"), **one.metadata["written"]}
            yield Setting(place=f"{prefix}.{one.name}".lstrip("."), **written)


#: Every setting with a single line, by name; `config`, `limits` and `route` are in `layers`.
SETTINGS: dict[str, Setting] = {one.name: one for one in _written("", Settings)}
