"""Validates combinations of settings, each of which is valid by itself."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from twisted_index.config.bucket_location import is_bucket_url
from twisted_index.config.settings import (
    AccessSettings,
    ObjectStoreSettings,
    Settings,
    UploadSettings,
    UpstreamPolicy,
    UpstreamSettings,
)
from twisted_index.errors import ConfigurationError
from twisted_index.github.repository import is_repository
from twisted_index.simple.name_patterns import VersionRule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted_index.config.settings import NamedUpstream


def validate_settings(settings: Settings) -> None:
    """
    Check that settings are consistent.

    Raises:
        ConfigurationError: They contradict each other, or one has no effect without another.
    """
    _check_uploads(settings.uploads)
    _check_proxies(settings.access)
    _check_upstreams(settings)
    _check_indexes(settings)
    _check_bucket(settings)
    _check_replication(settings)


def _check_replication(settings: Settings) -> None:
    """Reject what a replica cannot be combined with, and what has no effect without peers."""
    replication = settings.replication
    if replication.peers_needed and not replication.peers:
        raise ConfigurationError("peers-needed has no effect without peers.")
    if replication.replica_of is None:
        return
    if settings.state is None:
        raise ConfigurationError("replica-of needs a folder for the state, which says what it has copied.")
    bucket = settings.bucket or settings.bucket_of_indexes
    if bucket is not None:
        raise ConfigurationError(
            f"replica-of needs packages in a folder; {bucket} is a bucket, which several servers can serve."
        )
    if len(settings.paths) > 1:
        raise ConfigurationError("replica-of needs a single path: the folder that is kept equal.")
    if settings.default_index:
        raise ConfigurationError(
            "default-index cannot be combined with replica-of: each index of the primary is followed by"
            " itself, and two of them would be one folder here. Leave it out, and give a path of its own:"
            " what the primary serves without a name is kept there."
        )
    names = _changed(settings.upstreams, UpstreamSettings(), ("urls", "routes"))
    names += _changed(settings, Settings(), ("as_of",))
    if names:
        raise ConfigurationError(
            f"{names[0]} cannot be combined with replica-of: the folder is the primary's, and what it lacks"
            " is asked of the primary."
        )


def _check_bucket(settings: Settings) -> None:
    """Reject what a bucket cannot be combined with, and its settings without one."""
    if settings.bucket is None and settings.bucket_of_indexes is None:
        names = _changed(
            settings.objects, ObjectStoreSettings(), ("deliver", "single_writer", "instance_metadata")
        )
        if names:
            raise ConfigurationError(f"{names[0]} has no effect without a path in a bucket.")
        return
    bucket = settings.bucket or settings.bucket_of_indexes
    if settings.uploads.keep_deleted > 0:
        raise ConfigurationError(f"keep-deleted needs packages in folders; {bucket} is a bucket.")
    if settings.bucket is None:
        return
    if len(settings.paths) > 1:
        raise ConfigurationError(
            f"{settings.bucket} has to be the only path: what other folders and buckets have can be served by"
            " another server, as its upstream."
        )
    unusable = {
        "indexes": settings.indexes is not None and settings.bucket_of_indexes is None,
        "as-of": settings.as_of is not None,
    }
    for name, is_set in unusable.items():
        if is_set:
            raise ConfigurationError(f"{name} needs packages in folders; {settings.bucket} is a bucket.")


def _check_uploads(uploads: UploadSettings) -> None:
    if uploads.upload:
        return
    dependent = ("anonymous_upload", "max_upload", "overwrite", "keep_prereleases", "on_upload")
    names = _changed(uploads, UploadSettings(), dependent)
    if names:
        raise ConfigurationError(f"{names[0]} has no effect without upload.")


def _check_proxies(access: AccessSettings) -> None:
    """Check the fields in which proxies state users."""
    names = _changed(access, AccessSettings(), ("user_header", "groups_header", "groups_separator"))
    if names and not any(proxy.startswith("users:") for proxy in access.trusted_proxies):
        raise ConfigurationError(f"{names[0]} has no effect without a trusted-proxy users:ADDRESS.")
    if access.groups_header is None:
        if "groups-separator" in names:
            raise ConfigurationError("groups-separator has no effect without groups-header.")
    elif access.groups_header.lower() == access.user_header.lower():
        raise ConfigurationError(f"user-header and groups-header are both {access.groups_header}.")


def _check_upstreams(settings: Settings) -> None:
    upstreams = settings.upstreams
    if settings.replication.replica_of is None:
        _require_upstream(upstreams)
    _check_named(upstreams, "upstream-rebuilds", upstreams.rebuilds)
    _check_named(upstreams, "upstream-403-absent", upstreams.absent_on_403)
    _check_repositories(upstreams)
    if upstreams.mode == "redirect":
        _check_redirect(upstreams)
    if upstreams.mode != "cache":
        names = _changed(upstreams, UpstreamSettings(), ("offline", "cache", "cache_size", "cache_ttl"))
        if names:
            raise ConfigurationError(
                f"{names[0]} has no effect with upstream-mode {upstreams.mode}, which caches nothing."
            )
    if upstreams.offline and upstreams.cache is None and settings.state is None:
        raise ConfigurationError("offline requires a filled cache; set it with cache.")
    if upstreams.cache is not None:
        _check_place(upstreams.cache, (*settings.paths, *filter(None, [settings.indexes])))
    for named in upstreams.named:
        _check_upstreams_of_table(named, upstreams)


def _check_upstreams_of_table(named: NamedUpstream, upstreams: UpstreamSettings) -> None:
    """Check the upstream of a table by itself, as if it were the only one."""
    alone = replace(upstreams, urls=named.urls, policy=named.policy, routes=(), named=())
    try:
        _check_repositories(replace(alone, github_token_file=None))
        if upstreams.mode == "redirect":
            _check_redirect(alone)
    except ConfigurationError as error:
        raise ConfigurationError(f"[upstreams.{named.name}]: {error.message}") from error


def _check_indexes(settings: Settings) -> None:
    """Check the folder of indexes, and what needs it."""
    if settings.indexes is None:
        names = _changed(settings, Settings(), ("default_index", "create_indexes"))
        names += ["[upstreams]"] if settings.upstreams.named else []
        if names:
            raise ConfigurationError(f"{names[0]} has no effect without indexes.")
        return
    if settings.default_index:
        names = _changed(settings.upstreams, UpstreamSettings(), ("urls", "routes"))
        if names:
            raise ConfigurationError(
                f"{names[0]} has no effect with default-index, which is an index with a name: write the"
                " upstream below [upstreams.NAME], and name it in the .index.toml of the index."
            )
        return
    # An upload of the project NAME would otherwise become a file of the index NAME.
    indexes = _real(settings.indexes)
    for path in map(_real, settings.paths):
        if path == indexes or path.startswith(os.path.join(indexes, "")):
            raise ConfigurationError(
                f"{path!r} is served as folder of packages and as folder of indexes. Use another path, or,"
                " to serve one of the indexes without a name, default-index."
            )


def _real(path: str) -> str:
    return path if is_bucket_url(path) else os.path.realpath(path)


def _require_upstream(upstreams: UpstreamSettings) -> None:
    """Reject settings of upstreams without an upstream."""
    if upstreams.urls or any(rule.upstream for rule in upstreams.routes):
        return
    names: list[str] = []
    if not upstreams.named:
        names += _changed_of_all_upstreams(upstreams)
    # local-only is valid without an upstream: it is kept anyway.
    names += _changed(
        upstreams.policy,
        UpstreamPolicy(),
        ("cooldown", "upstream_only", "upstream_deny", "cooldown_except", "no_sdists", "merge_upstream"),
    )
    if names:
        raise ConfigurationError(f"{names[0]} has no effect without an upstream.")


def _changed_of_all_upstreams(upstreams: UpstreamSettings) -> list[str]:
    """Return the names of the changed settings that hold for every upstream."""
    return _changed(
        upstreams,
        UpstreamSettings(),
        (
            "mode",
            "offline",
            "cache",
            "cache_size",
            "cache_ttl",
            "page_timeout",
            "file_timeout",
            "allow_addresses",
            "rebuilds",
            "absent_on_403",
            "github_token_file",
        ),
    )


def _check_repositories(upstreams: UpstreamSettings) -> None:
    """Check that repositories get only the names that are theirs, and can be read by this server."""
    repositories = [word for word in upstreams.all_upstreams if is_repository(word)]
    if not repositories:
        if upstreams.github_token_file is not None:
            raise ConfigurationError(
                "github-token-file has no effect without an upstream such as github:OWNER/REPO."
            )
        return
    if upstreams.mode == "redirect":
        raise ConfigurationError(
            f"{repositories[0]} cannot be used with upstream-mode redirect: it is no index, so its pages are"
            " made here."
        )
    if upstreams.policy.upstream_only:
        return
    for word in upstreams.urls:
        if is_repository(word):
            raise ConfigurationError(
                f"{word} is an upstream for every name, so its releases could replace any package. Say which"
                f' names are its own: upstream-only = ["NAME"], or, beside other upstreams, a [[route]] with'
                f' pattern = "NAME" and upstream = "{word}".'
            )


def _check_named(upstreams: UpstreamSettings, name: str, urls: Iterable[str]) -> None:
    """Check that the URLs in a setting are URLs of upstreams."""
    known = {_without_user(upstream) for upstream in upstreams.all_upstreams}
    if any(_without_user(url) not in known for url in urls):
        # The URL is not shown, as it may hold a password.
        raise ConfigurationError(f"{name} names a URL that is not one of the upstreams.")


def _without_user(url: str) -> str:
    scheme, _, rest = url.rpartition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}".rstrip("/")


def _check_redirect(upstreams: UpstreamSettings) -> None:
    """Reject settings that cannot be enforced when clients are redirected."""
    if len(upstreams.urls) > 1:
        raise ConfigurationError(
            "upstream-mode redirect supports only one upstream; with several, use cache or proxy."
        )
    policy = upstreams.policy
    names = _changed(policy, UpstreamPolicy(), ("cooldown", "cooldown_except", "no_sdists", "merge_upstream"))
    if any(VersionRule.parse(entry.match).versions is not None for entry in policy.upstream_deny):
        names.append("upstream-deny of versions")
    if names:
        raise ConfigurationError(
            f"{names[0]} cannot be enforced with upstream-mode redirect: clients then read the upstream's"
            " pages."
        )


def _check_place(cache: str, paths: Iterable[str]) -> None:
    """Reject a cache below a folder of packages: its files would be served as the index's own."""
    for path in paths:
        if cache == path or cache.startswith(os.path.join(path, "")):
            raise ConfigurationError(f"The cache cannot be in the folder of packages {path!r}.")


def _changed(value: object, defaults: object, fields: Iterable[str]) -> list[str]:
    """Return the names of the settings of a part that differ from their defaults."""
    names = {
        "urls": "upstream",
        "routes": "route",
        "mode": "upstream-mode",
        "allow_addresses": "upstream-allow-address",
        "page_timeout": "upstream-page-timeout",
        "file_timeout": "upstream-file-timeout",
        "rebuilds": "upstream-rebuilds",
        "absent_on_403": "upstream-403-absent",
    }
    return [
        names.get(field, field.replace("_", "-"))
        for field in fields
        if getattr(value, field) != getattr(defaults, field)
    ]
