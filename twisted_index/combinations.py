"""
Which settings go together.

Each setting is right by itself here. Not for: what a value may look like (`values`), or whether
the system can follow it (`tap`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from twisted_index.errors import ConfigurationError
from twisted_index.settings import Policy, Publishing, Upstreams
from twisted_index.simple.patterns import Denial

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted_index.settings import Settings


def check(settings: Settings) -> None:
    """
    Make sure that settings go together.

    Raises:
        ConfigurationError: They contradict each other, or one has no effect without another.
    """
    _check_uploads(settings.publishing)
    _check_upstreams(settings)


def _check_uploads(publishing: Publishing) -> None:
    if publishing.upload:
        return
    given = _given(publishing, Publishing(), ("anyone_may_upload", "max_upload", "overwrite", "on_upload"))
    if given:
        raise ConfigurationError(f"{given[0]} has no effect without upload.")


def _check_upstreams(settings: Settings) -> None:
    upstreams = settings.upstreams
    _check_that_there_is_one(upstreams)
    if upstreams.mode == "redirect":
        _check_redirect(upstreams)
    if upstreams.mode != "cache":
        given = _given(upstreams, Upstreams(), ("offline", "cache", "cache_size", "cache_ttl"))
        if given:
            raise ConfigurationError(
                f"{given[0]} has no effect with upstream-mode {upstreams.mode}, which keeps nothing."
            )
    if upstreams.offline and upstreams.cache is None and settings.state is None:
        raise ConfigurationError("offline needs a cache that was filled before; name it with cache.")
    if upstreams.cache is not None:
        _check_place(upstreams.cache, settings.paths)


def _check_that_there_is_one(upstreams: Upstreams) -> None:
    """Make sure that what is said of upstreams is about any."""
    if upstreams.urls or any(rule.upstream for rule in upstreams.routes):
        return
    given = _given(
        upstreams, Upstreams(), ("mode", "offline", "cache", "cache_size", "cache_ttl", "addresses")
    )
    # local-only is a promise that is kept without an upstream as well.
    given += _given(
        upstreams.policy,
        Policy(),
        ("cooldown", "upstream_only", "upstream_deny", "cooldown_except", "no_sdists", "also_upstream"),
    )
    if given:
        raise ConfigurationError(f"{given[0]} has no effect without an upstream.")


def _check_redirect(upstreams: Upstreams) -> None:
    """Make sure that nothing is asked of a server that only says where to go."""
    if len(upstreams.urls) > 1:
        raise ConfigurationError(
            "upstream-mode redirect leads to one upstream; with several, use cache or proxy."
        )
    policy = upstreams.policy
    given = _given(policy, Policy(), ("cooldown", "cooldown_except", "no_sdists", "also_upstream"))
    if any(Denial.parse(text).versions is not None for text in policy.upstream_deny):
        given.append("upstream-deny of versions")
    if given:
        raise ConfigurationError(
            f"{given[0]} cannot be kept with upstream-mode redirect: clients then read the upstream's pages."
        )


def _check_place(cache: str, paths: Iterable[str]) -> None:
    """Keep the cache out of the folders: what lies there is the index's own."""
    for path in paths:
        if cache == path or cache.startswith(os.path.join(path, "")):
            raise ConfigurationError(f"The cache cannot be in the folder of packages {path!r}.")


def _given(value: object, defaults: object, fields: Iterable[str]) -> list[str]:
    """Name the settings of a part that are not what they are by default."""
    names = {"mode": "upstream-mode", "addresses": "upstream-address"}
    return [
        names.get(field, field.replace("_", "-"))
        for field in fields
        if getattr(value, field) != getattr(defaults, field)
    ]
