"""Reports of a server on its replication: for health, metrics, problems and the start. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.http_client.urls import origin_of
from twisted_index.interfaces import Problem
from twisted_index.replication.primary import MAX_SKEW
from twisted_index.replication.state_file import Role
from twisted_index.web.pages.install_commands import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from prometheus_client import Metric

    from twisted_index.replication.epoch import Epoch
    from twisted_index.replication.follower import FollowProgress
    from twisted_index.replication.state_file import ReplicationState


#: What everyone may read in place of the name of an index, and of a fault that names projects.
_ANY_INDEX = "with a name"
_LACKING = "Not all projects are as at the primary; see the list of problems."


class FollowedIndex(NamedTuple):
    """
    An index that follows one of the primary.

    Attributes:
        name: The name; empty for the index without one.
        progress: The progress of its follower.
        serial: The highest serial here.
    """

    name: str
    progress: FollowProgress
    serial: int

    @property
    def fault(self) -> str:
        """What needs attention, in a sentence; empty if nothing does."""
        progress = self.progress
        if progress.fault or abs(progress.skew) <= MAX_SKEW:
            return progress.fault
        direction = "ahead of" if progress.skew > 0 else "behind"
        return (
            f"The clock of the primary is {abs(progress.skew):.0f} seconds {direction} ours: set both by NTP,"
            " as times of files tell what has changed."
        )


def write_health(
    state: ReplicationState,
    epoch: Epoch,
    followed: Sequence[FollowedIndex],
    *,
    closed: str,
    is_public: bool = True,
) -> tuple[dict[str, object], list[str]]:
    """
    Return the report of `/-/health`, and its warnings.

    Args:
        state: The state of the server.
        epoch: The epoch that it is in.
        followed: The indexes that follow.
        closed: Why reading is closed; empty if it is not.
        is_public: Whether indexes and projects may be named.
    """
    if not is_public:
        followed = [_nameless(index) for index in followed]
    report: dict[str, object] = {"role": state.role.value, "epoch": epoch.number}
    if state.primary:
        report["primary"] = state.primary
    warnings = []
    if state.role is Role.RETIRED:
        warnings.append(
            "This server is retired, and takes no changes: start it with --replica-of and the URL of the"
            " primary, or make it the primary again by twisted-index takeover."
        )
    if state.role is Role.REPLICA and not followed:
        warnings.append("This server is a replica that follows nobody: start it with --replica-of.")
    if closed:
        warnings.append(closed)
    for index in followed:
        report |= {} if index.name else _described(index)
        if index.fault:
            warnings.append(f"In the index {index.name}: {index.fault}" if index.name else index.fault)
    named = {index.name: _described(index) for index in followed if index.name}
    return (report | {"indexes": named} if named and is_public else report), list(dict.fromkeys(warnings))


def _nameless(index: FollowedIndex) -> FollowedIndex:
    """Return a report that names neither the index nor any project of it."""
    name = _ANY_INDEX if index.name else ""
    if not index.progress.names_projects:
        return index._replace(name=name)
    return index._replace(name=name, progress=replace(index.progress, fault=_LACKING))


def _described(index: FollowedIndex) -> Mapping[str, object]:
    progress = index.progress
    described: dict[str, object] = {
        "serial": index.serial,
        "primary-serial": progress.primary_serial,
        "current": progress.is_current,
        "lag-seconds": _rounded(progress.lag),
        "contact-seconds": _rounded(progress.contact),
        "bytes-to-go": progress.bytes_to_go,
        "pending-projects": progress.pending,
        "skew-seconds": _rounded(progress.skew),
    }
    return described | ({"fault": progress.fault} if progress.fault else {})


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1) + 0.0


def list_problems(followed: Sequence[FollowedIndex]) -> list[Problem]:
    """Return a row for each index that differs from the primary's, with the reason."""
    return [
        Problem(
            path=f"+{index.name}/" if index.name else "replica-of",
            reason=index.fault,
            advice="Until then readers get what is here, and the server tries again by itself.",
        )
        for index in followed
        if index.fault
    ]


#: The metrics of each index: help text, and value; None without one.
_GAUGES: Mapping[str, tuple[str, Callable[[FollowedIndex], float | None]]] = {
    "serial": ("The highest serial here.", lambda index: index.serial),
    "primary_serial": ("The highest that the primary has told.", lambda index: index.progress.primary_serial),
    "contact_age_seconds": ("Seconds since the primary responded.", lambda index: index.progress.contact),
    "lag_seconds": (
        "Seconds since all that the primary had told was here; 0 while it is.",
        lambda index: index.progress.lag,
    ),
    "bytes_to_go": ("Bytes of files that are not here yet.", lambda index: index.progress.bytes_to_go),
    "pending_projects": (
        "Projects that are not as the primary has them.",
        lambda index: index.progress.pending,
    ),
    "skew_seconds": ("Seconds that the primary's clock is ahead.", lambda index: index.progress.skew),
    "fault": ("1 if a person may have to look, as /-/health says.", lambda index: bool(index.fault)),
}


def collect_metrics(
    state: ReplicationState, epoch: Epoch, followed: Sequence[FollowedIndex]
) -> Iterator[Metric]:
    """Yield the metrics of a replication; arguments as for `write_health`."""
    from prometheus_client.core import GaugeMetricFamily

    role = GaugeMetricFamily(
        f"{_PREFIX}role", "1 for what this server is, 0 for what it is not.", labels=["role"]
    )
    for each in Role:
        role.add_metric([each.value], each is state.role)
    yield role
    yield GaugeMetricFamily(f"{_PREFIX}epoch", "The number of the highest epoch that is known.", epoch.number)
    for name, (text, value) in _GAUGES.items():
        gauge = GaugeMetricFamily(_PREFIX + name, text, labels=["index"])
        for index in followed:
            number = value(index)
            if number is not None:
                gauge.add_metric([index.name], number)
        if gauge.samples:
            yield gauge


_PREFIX = "twisted_index_replication_"


def describe_start(state: ReplicationState, url: str) -> list[str]:
    """
    Return the lines for the start of a server whose settings name a primary.

    Args:
        state: The state of the server.
        url: The URL of that primary, without credentials.
    """
    if state.role is Role.PRIMARY:
        number = 1 if state.epoch is None else state.epoch.number
        return [
            f"This server has taken over: it is the primary of epoch {number} and does not follow {url}, so"
            " leave out replica-of"
        ]
    lines = [f"Replica of {url}: its packages are kept here too, and changes are made there"]
    origin = origin_of(url)
    if origin.scheme == "http" and origin.host != "localhost" and not is_loopback(origin.host):
        lines.append(
            "What is sent to and from it uses plain HTTP, this server's token too, and can be intercepted:"
            " let replica-of be an https URL."
        )
    return lines
