"""
Defines every setting once: its default, its parser, its help.

A field holds its default, its parser and, if it is an option of the command too, its help. Options,
environment variables, keys of the file and reloading are derived from it; docs/configuration.md has a row
for it, which a test compares.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from twisted_index.config import network_parsers, parsers
from twisted_index.config.bucket_location import is_bucket_url
from twisted_index.config.parsers import several
from twisted_index.config.policy_entry import PolicyEntry, policy_entry

if TYPE_CHECKING:
    from twisted_index.config.parsers import Parser

T = TypeVar("T")
#: Splits an environment variable with several values.
Split: TypeAlias = Callable[[str], list[str]]

#: Sections of `--help`; options without one come first.
UPLOADS, UPSTREAM, REPLICATION = "Uploads and users:", "Upstream:", "Replication:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """
    The name and syntax of a field.

    Attributes:
        name: The name of the option and the key; the variable has the same in capitals.
        place: The field, after the name of its part, as in `uploads.upload`.
        parse: Parses one value; with `relative`, its first argument is the base of relative paths.
        relative: Whether `parse` takes the base of relative paths.
        split: Splits an environment variable with several values; None for a single value.
        help: The line of `--help`; empty if the field is not an option.
        section: The section of `--help`.
        complete: For shell completion: `dirs`, or a pattern of file names.
    """

    name: str
    place: str
    parse: Callable[..., object]
    relative: bool = False
    split: Split | None = None
    help: str = ""
    section: str = ""
    complete: str = ""

    def parser(self, folder: str) -> Parser:
        """Return the parser of the value or the list of values, with paths relative to a folder."""
        parse = partial(self.parse, folder) if self.relative else self.parse
        return partial(several, parse) if self.split is not None else parse


def setting(default: T, parse: Callable[..., object], **attributes: Any) -> T:
    """
    Declare a field as a setting.

    Args:
        default: The default.
        parse: See `Setting`.
        **attributes: Further attributes of `Setting`; its name is that of the field by default.
    """
    value: T = field(default=default, metadata={"setting": {"parse": parse, **attributes}})
    return value


def option(default: T, parse: Callable[..., object], text: str, section: str = "", **attributes: Any) -> T:
    """Declare a setting that is an option of the command too, with its line of `--help`."""
    return setting(default, parse, help=text, section=section, **attributes)


def split_paths(text: str) -> list[str]:
    """Split paths as in PATH; the URL of a bucket is a path as it is."""
    return [text] if is_bucket_url(text) else text.split(os.pathsep)


def path_or_none(folder: str, raw: object) -> str | None:
    """Parse a path, or `none`."""
    return None if raw == "none" else parsers.path(folder, raw)


def path_or_output(folder: str, raw: object) -> str:
    """Parse a path, or a hyphen, which is standard output."""
    return "-" if raw == "-" else parsers.path(folder, raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    Resource limits. Times in seconds, sizes in bytes.

    Attributes:
        header_timeout: From the first byte of a request to the end of its header (slowloris).
        upload_stall_timeout: Without a byte of an upload, before it is aborted.
        idle_timeout: Of a kept-alive connection without a request.
        stall_timeout: Without a byte read by the client, before its response is aborted.
        response_timeout: For digests of a page, before the response is 503 (pip's timeout is 15).
        stop_timeout: For running requests, when the server stops.
        max_connections: All connections; None derives the number from the limit of open files.
        max_uri: Of a request target; 414 above it (RFC 9110 asks for at least 8000).
        max_header: Of a whole request header; 431 above it.
        threads: Threads that read, hash and unpack.
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
        upload: Whether uploads are accepted at all.
        anonymous_upload: Whether clients may upload without a user.
        max_upload: Bytes of a distribution file; 413 above it.
        min_free: Bytes of the package folder's file system that an upload has to leave free; else 507.
        overwrite: Patterns (`fnmatch`) of versions whose files may be overwritten, matched against the
            version and against PROJECT==VERSION.
        keep_prereleases: After an upload, how many of the newest pre- and development releases of its project
            to keep, the older ones being deleted; None for all.
        keep_deleted: Seconds for which deleted files are kept out of sight, for views of the past.
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
    min_free: int = setting(100_000_000, parsers.size)
    overwrite: tuple[str, ...] = option(
        (),
        parsers.single_word,
        'Versions whose files may be overwritten, such as "*.dev*"; repeat it for more.',
        UPLOADS,
        split=str.split,
    )
    keep_prereleases: int | None = setting(None, parsers.count)
    keep_deleted: float = setting(0.0, parsers.duration)
    on_upload: tuple[str, ...] = option(
        (), parsers.remote_url, "Webhook URL for each new file; repeat it for more.", UPLOADS, split=str.split
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStoreSettings:
    """
    How a bucket is used.

    Attributes:
        deliver: How files come to clients: `stream` through this server, or `redirect` to the store.
        single_writer: Whether this is the only server that writes to the bucket, so that the store need not
            keep conditions.
        instance_metadata: Whether credentials may come from the machine that the server runs on.
    """

    deliver: str = setting("stream", parsers.delivery)
    single_writer: bool = setting(False, parsers.flag)
    instance_metadata: bool = setting(False, parsers.flag)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSettings:
    """
    Users, rights, trusted proxies.

    Attributes:
        auth: Descriptions of credential checkers for strcred, such as `htpasswd:FILE`.
        rights: Absolute path of the file of rights; None without one.
        trusted_proxies: Addresses and networks of proxies whose forwarded header fields are
            trusted; `unix` for proxies that connect by a unix socket. With `users:` in front, the
            proxy may assert users too.
        user_header: Name of the field in which these proxies state the user.
        groups_header: Name of the field with the user's groups; None to ignore groups.
        groups_separator: The character between two groups.
        max_token_age: Seconds that a new token, and each token that belongs to a user, may live; None for
            no limit.
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
        network_parsers.trusted_proxy,
        "Trusted proxy: address, network or unix; users:ADDRESS to trust its users; repeat it for more.",
        UPLOADS,
        name="trusted-proxy",
        split=str.split,
    )
    user_header: str = setting("X-Remote-User", network_parsers.proxy_header)
    groups_header: str | None = setting(None, network_parsers.proxy_header)
    groups_separator: str = setting(",", network_parsers.groups_separator)
    max_token_age: float | None = setting(None, parsers.timeout)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingRule:
    """
    The origin of the projects whose names match a pattern.

    Attributes:
        pattern: A pattern (`fnmatch`) of normalized names.
        folder: An absolute path; or None.
        upstream: A URL, or a repository; or None. Without either, matching projects do not exist.
    """

    pattern: str
    folder: str | None = None
    upstream: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamPolicy:
    """
    Which upstream projects and files are visible. Patterns are normalized like names.

    Attributes:
        local_only: Names that are never requested from an upstream.
        upstream_only: If not empty: the only names that are requested from an upstream.
        upstream_deny: Hidden names and versions.
        cooldown: Seconds; younger files are hidden.
        cooldown_except: Names and versions without a cool-down.
        no_sdists: Whether sdists are hidden.
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
    upstream_deny: tuple[PolicyEntry, ...] = setting((), policy_entry, split=str.splitlines)
    cooldown: float = option(
        0.0,
        parsers.duration,
        "Leave out upstream files younger than this, such as 7d. [default: 0]",
        UPSTREAM,
    )
    cooldown_except: tuple[PolicyEntry, ...] = setting((), policy_entry, split=str.split)
    no_sdists: bool = setting(False, parsers.flag)
    merge_upstream: tuple[str, ...] = setting((), parsers.name_pattern, split=str.split)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedUpstream:
    """
    An upstream that indexes of the server may name.

    Attributes:
        name: Its name: that of the table.
        urls: As those of `UpstreamSettings`.
        policy: Which of its projects and files are visible.
    """

    name: str
    urls: tuple[str, ...]
    policy: UpstreamPolicy = UpstreamPolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings:
    """
    The upstreams for projects that the folders do not have.

    Attributes:
        urls: URLs of simple APIs, and repositories, requested in order; `pip` for the indexes that pip is
            configured to use.
        mode: `cache`, `proxy` or `redirect`.
        cache: Absolute folder of the cache; None places it below the state. Without a state
            there is no cache.
        cache_size: Bytes of the cached files.
        cache_ttl: Seconds for which a page is fresh.
        page_timeout: Seconds from a request to the first byte of a page.
        file_timeout: Seconds from a request to the first byte of a file.
        offline: Whether to send no requests to upstreams.
        allow_addresses: Non-public addresses and networks that links of a public upstream may lead to.
        rebuilds: The upstreams whose files without a digest on their page may be overwritten.
        absent_on_403: The upstreams that respond with 403 for projects that they do not have.
        github_token_file: Absolute path of the file with a token for repositories; None without one.
        policy: Which projects and files are visible.
        routes: First match wins, before `urls`.
        named: Those that indexes with a name may name.
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
    #: At this position, since `--help` lists options in the order of the fields.
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
        (), network_parsers.network, name="upstream-allow-address", split=str.split
    )
    rebuilds: tuple[str, ...] = setting((), parsers.upstream, name="upstream-rebuilds", split=str.split)
    absent_on_403: tuple[str, ...] = setting(
        (), parsers.upstream, name="upstream-403-absent", split=str.split
    )
    github_token_file: str | None = setting(None, parsers.path, relative=True)
    routes: tuple[RoutingRule, ...] = ()
    named: tuple[NamedUpstream, ...] = ()

    @property
    def all_upstreams(self) -> tuple[str, ...]:
        """All upstreams, including those of routing rules and tables: URLs, repositories and `pip`."""
        routed = (rule.upstream for rule in self.routes if rule.upstream is not None)
        return (*self.urls, *routed, *(url for named in self.named for url in named.urls))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationSettings:
    """
    Other servers that have, or shall have, the same packages.

    Attributes:
        replica_of: URL of the primary that this server follows, perhaps with a user and a password; None if
            it is a primary itself.
        peers: URLs of servers that may have taken over from this one.
        peers_needed: How many of them have to answer before this server takes its first change.
    """

    replica_of: str | None = option(
        None,
        parsers.server_url,
        "URL of the server whose packages the folder is kept equal to.",
        REPLICATION,
    )
    peers: tuple[str, ...] = setting((), parsers.server_url, split=str.split)
    peers_needed: int = setting(0, parsers.zero_or_one)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    All settings of a server.

    Attributes:
        paths: Absolute folders, read in order.
        indexes: Absolute folder whose subfolders are indexes, or the URL of a bucket; None without one.
        default_index: The name of the index that is the index without a name too; empty for none.
        as_of: The moment at which readers see the index without a name: a date, a time or the name of a
            snapshot; None for now.
        create_indexes: Patterns (`fnmatch`) of the names of indexes that may be made and removed over HTTP.
        listen: Twisted endpoint strings.
        rescan: Seconds after which the files of a page are checked again for in-place rewrites.
        state: Absolute folder of the state; None keeps it in memory.
        access_log: Absolute path of the access log, or `-` for standard output; None for no access log.
        access_log_format: `combined` or `json`.
        add_headers: Header fields added to every response.
        display_tracebacks: Show tracebacks to clients; for development.
        cors: Let web pages of other sites read the index.
        public_url: The URL that is shown to users; None for the one that the client used.
        title: Of the index without a name, for people; empty for a general one.
        page_cache: Bytes of rendered pages to cache in memory.
        fast_path: Whether the channel may respond to plain requests without a Request object.
        statistics: Whether downloads are counted.
        limits: Time-outs and sizes.
        uploads: What may be uploaded.
        objects: How a bucket is used.
        access: Users, rights, trusted proxies.
        upstreams: Other indexes.
        replication: Other servers that have the same packages.
    """

    paths: tuple[str, ...] = option(
        (".",),
        parsers.package_path,
        "Folder of packages, or s3://BUCKET/PREFIX; repeat it for more, read in order."
        " [default: the current folder]",
        name="path",
        relative=True,
        split=split_paths,
        complete="dirs",
    )
    indexes: str | None = option(
        None,
        parsers.package_path,
        "Folder whose subfolders are indexes, at /+NAME/, or s3://BUCKET/PREFIX. [default: none]",
        relative=True,
        complete="dirs",
    )
    default_index: str = setting("", parsers.index_name)
    as_of: str | None = option(
        None,
        parsers.single_word,
        "Freeze the index for readers: at a date, a time or a snapshot. [default: now]",
    )
    create_indexes: tuple[str, ...] = setting((), parsers.named_indexes, split=str.split)
    listen: tuple[str, ...] = option(
        ("tcp:8080",),
        network_parsers.endpoint,
        "Port, ADDRESS:PORT or Twisted endpoint to listen on; repeat it for more. [default: 8080]",
        split=str.split,
        relative=True,
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
    access_log: str | None = option(
        None,
        path_or_output,
        "Access log; - is standard output. [default: none, but on a terminal a line per request]",
        relative=True,
        complete="*.log",
    )
    access_log_format: str = setting("combined", parsers.access_log_format)
    add_headers: tuple[tuple[bytes, bytes], ...] = option(
        (),
        network_parsers.header_field,
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
    title: str = setting("", parsers.title)
    page_cache: int = option(64_000_000, parsers.size, "Memory for rendered pages. [default: 64MB]")
    fast_path: bool = setting(True, parsers.flag)
    statistics: bool = setting(True, parsers.flag)
    limits: Limits = Limits()
    uploads: UploadSettings = UploadSettings()
    objects: ObjectStoreSettings = ObjectStoreSettings()
    access: AccessSettings = AccessSettings()
    upstreams: UpstreamSettings = UpstreamSettings()
    replication: ReplicationSettings = ReplicationSettings()

    @property
    def bucket(self) -> str | None:
        """The URL of the bucket that is served; None if folders are."""
        return next(filter(is_bucket_url, self.paths), None)

    @property
    def bucket_of_indexes(self) -> str | None:
        """The URL of the bucket whose parts are indexes; None if folders are, or without any."""
        return self.indexes if self.indexes is not None and is_bucket_url(self.indexes) else None


#: The parts of Settings, by the prefix of their places.
PARTS: dict[str, type[Any]] = {
    "": Settings,
    "uploads": UploadSettings,
    "objects": ObjectStoreSettings,
    "access": AccessSettings,
    "upstreams": UpstreamSettings,
    "policy": UpstreamPolicy,
    "replication": ReplicationSettings,
}


def _settings_of(prefix: str, part: type[Any]) -> Iterator[Setting]:
    """Yield the settings of a part, and of the parts in it, in the order of the fields."""
    for member in fields(part):
        if member.name in PARTS:
            yield from _settings_of(member.name, PARTS[member.name])
        elif "setting" in member.metadata:
            attributes = {"name": member.name.replace("_", "-"), **member.metadata["setting"]}
            yield Setting(place=f"{prefix}.{member.name}".lstrip("."), **attributes)


#: Every setting that is not a table, by name; `config` and the tables are in `layers`.
SETTINGS: dict[str, Setting] = {item.name: item for item in _settings_of("", Settings)}
