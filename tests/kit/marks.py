"""
Which kind of test stands where.

`unit` is all that happens in this process, most of it in memory; `wire` starts servers or speaks
over sockets; `clients` runs installers and uploaders; `slow` are properties, races and builds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

_TESTS = Path(__file__).resolve().parents[1]

#: In the order in which they run: what takes longest begins first.
KINDS = ("clients", "slow", "wire", "unit")

#: By the beginning of a path below tests/; the longest that fits counts. All else is `unit`.
_PLACES = {
    "clients/": "clients",
    "conformance/": "wire",
    "conformance/test_github_properties.py": "slow",
    "docs/": "clients",
    "packaging/": "slow",
    "browser/": "clients",
    "backends/folder/test_crash.py": "slow",
    "backends/object_store/test_real_stores.py": "wire",
    "backends/object_store/test_contract_real_stores.py": "wire",
    "backends/folder/test_disks.py": "slow",
    "backends/folder/test_past_property.py": "slow",
    "backends/folder/test_pile_property.py": "slow",
    "backends/folder/test_races.py": "slow",
    "backends/object_store/test_absent_store.py": "wire",
    "backends/object_store/test_s3_requests.py": "wire",
    "backends/folder/test_promotion_crash.py": "slow",
    "replication/test_cluster.py": "slow",
    "test_bad_start.py": "wire",
    "cli/test_check_names.py": "wire",
    "cli/test_promote_push.py": "wire",
    "cli/test_console.py": "wire",
    "events/test_webhooks.py": "wire",
    "export/test_export_properties.py": "slow",
    "export/test_web_servers.py": "wire",
    "github/test_api.py": "wire",
    "github/test_listing.py": "wire",
    "github/test_listing_properties.py": "slow",
    "test_imports.py": "wire",
    "test_several_servers.py": "wire",
    "test_windows.py": "wire",
    "cli/test_download.py": "clients",
    "cli/test_mirror.py": "wire",
    "cli/test_export_source.py": "wire",
    "cli/test_why.py": "wire",
    "cli/test_prefetch.py": "clients",
    "cli/test_reactor.py": "wire",
    "config/test_reload.py": "wire",
    "resolution/test_completeness.py": "clients",
    "resolution/test_contradictions.py": "clients",
    "resolution/test_lock_files.py": "clients",
    "resolution/test_resolver.py": "clients",
    "mirror/test_needs.py": "clients",
    "resolution/test_uv.py": "clients",
    "replication/test_accidents.py": "slow",
    "server/test_reload_status.py": "wire",
    "server/test_replica.py": "wire",
    "testing/test_kit_fixture.py": "wire",
    "testing/test_kit_running.py": "wire",
    "trust/": "slow",
    "github/test_local_server.py": "wire",
    "github/test_publisher.py": "wire",
    "cli/test_release.py": "wire",
    "web/test_drafts.py": "wire",
    "web/test_free_space.py": "wire",
    "web/test_guard_audit_in_scopes.py": "slow",
    "backends/upstream/test_client": "wire",
    "backends/upstream/test_github": "wire",
    "backends/upstream/test_two_servers.py": "wire",
    "mirror/test_pull_properties.py": "slow",
    "mirror/test_pull_hostile.py": "wire",
    "mirror/test_puller.py": "wire",
    "mirror/test_source_index.py": "wire",
}


def mark(item: pytest.Item) -> None:
    """Mark a test by where it stands."""
    item.add_marker(kind_of(item.path))


def kind_of(path: Path) -> str:
    """Name the kind of the tests in a file."""
    place = path.relative_to(_TESTS).as_posix()
    fitting = [start for start in _PLACES if place.startswith(start)]
    return _PLACES[max(fitting, key=len)] if fitting else "unit"


def order_of(items: Iterable[pytest.Item]) -> Callable[[pytest.Item], int]:
    """Give a key to sort tests by, which keeps those of a file together: `serial` files are last."""
    places: dict[Path, int] = defaultdict(int)
    for item in items:
        serial = item.get_closest_marker("serial") is not None
        rank = len(KINDS) if serial else KINDS.index(kind_of(item.path))
        places[item.path] = max(places[item.path], rank)
    return lambda item: places[item.path]
