"""
All that can be set, as one frozen value with its defaults.

Not for: reading options, environment or files (`tap`, `configuration`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    What one client, or all of them, may take. Times in seconds, sizes in bytes.

    Attributes:
        header_timeout: From the first byte of a request to the end of its header (slowloris).
        upload_stall_timeout: An upload of which no byte comes for so long is dropped.
        idle_timeout: A kept-alive connection without a request.
        stall_timeout: A client that takes no byte of its answer for so long is dropped.
        answer_timeout: How long an answer waits for digests before it is 503 (pip gives up at 15).
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
    answer_timeout: float = 10.0
    stop_timeout: float = 10.0
    max_connections: int | None = None
    max_uri: int = 8192
    max_header: int = 16384
    threads: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Publishing:
    """
    What may be uploaded.

    Attributes:
        upload: Whether uploads are taken at all.
        anyone_may_upload: Whether that needs no user.
        max_upload: Of a distribution file, in bytes; beyond it 413.
        overwrite: Patterns of versions whose files may get other bytes, as `fnmatch` reads them,
            matched against the version and against PROJECT==VERSION.
        on_upload: URLs that are told of each new file.
    """

    upload: bool = False
    anyone_may_upload: bool = False
    max_upload: int = 4_000_000_000
    overwrite: tuple[str, ...] = ()
    on_upload: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarding:
    """
    Who may do what, and who is believed.

    Attributes:
        auth: Descriptions of credential checkers for strcred, such as `htpasswd:FILE`.
        rights: Absolute path of the file of rights; None if there is none.
        trusted_proxies: Addresses and networks of proxies whose forwarded header fields are
            believed; `unix` for those that come by a unix socket. With `users:` in front, the
            proxy vouches for users too.
    """

    auth: tuple[str, ...] = ()
    rights: str | None = None
    trusted_proxies: tuple[str, ...] = ()


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
class Policy:
    """
    What of the upstream is there for clients. Patterns are normalized like names.

    Attributes:
        local_only: Names that are never asked for upstream.
        upstream_only: If there are any: only these names are.
        upstream_deny: Names, or requirements such as `django>=4,<5`, that are not there.
        cooldown: Seconds; files that are younger are not there.
        cooldown_except: Names that the cool-down does not hold for.
        no_sdists: Whether sdists are left out.
        also_upstream: Names whose versions are merged from folder and upstream.
    """

    local_only: tuple[str, ...] = ()
    upstream_only: tuple[str, ...] = ()
    upstream_deny: tuple[str, ...] = ()
    cooldown: float = 0.0
    cooldown_except: tuple[str, ...] = ()
    no_sdists: bool = False
    also_upstream: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstreams:
    """
    What happens with a project that the folders do not have.

    Attributes:
        urls: Of simple APIs, asked in order; `pip` for the one that pip here is configured to use.
        mode: `cache`, `proxy` or `redirect`.
        cache: Absolute folder of the cache; None keeps it below the state. Without a state
            nothing is kept.
        cache_size: Of the files in it, in bytes.
        cache_ttl: Seconds for which a page is taken for true without asking.
        offline: Whether nothing is ever asked.
        addresses: Addresses and networks that a public upstream may lead to besides public ones.
        policy: See Policy.
        routes: First match wins, before `urls`.
    """

    urls: tuple[str, ...] = ()
    mode: str = "cache"
    cache: str | None = None
    cache_size: int = 5 << 30
    cache_ttl: float = 600.0
    offline: bool = False
    addresses: tuple[str, ...] = ()
    policy: Policy = Policy()
    routes: tuple[RoutingRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    What a server serves, where, and how.

    Attributes:
        paths: Absolute folders, read in order.
        listen: Twisted endpoint strings.
        rescan: Seconds after which the files of a page are looked at again for in-place rewrites.
        state: Absolute folder for the ledger and all that is kept; None keeps it in memory.
        logfile: Absolute path of the access log; None for no access log.
        add_headers: Header fields added to every answer.
        display_tracebacks: Show tracebacks to clients; for development.
        cors: Let web pages of other sites read the index.
        public_url: The URL that people are shown; None uses the address they came by.
        page_cache: Bytes of finished pages that are kept in memory.
        short_way: Whether plain requests may be answered without a Request object.
        limits: See Limits.
        publishing: See Publishing.
        guarding: See Guarding.
        upstreams: See Upstreams.
    """

    paths: tuple[str, ...] = (".",)
    listen: tuple[str, ...] = ("tcp:8080",)
    rescan: float = 2.0
    state: str | None = None
    logfile: str | None = None
    add_headers: tuple[tuple[bytes, bytes], ...] = ()
    display_tracebacks: bool = False
    cors: bool = False
    public_url: str | None = None
    page_cache: int = 64_000_000
    short_way: bool = True
    limits: Limits = Limits()
    publishing: Publishing = Publishing()
    guarding: Guarding = Guarding()
    upstreams: Upstreams = Upstreams()
