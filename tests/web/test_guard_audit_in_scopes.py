"""
Nobody learns of what is closed to them through any index either: not through one that inherits it.

The twins of `test_guard_audit`, with indexes: `dev` inherits from `prod`, and one of the twins has closed
projects there. And twins of which one has an index that is closed as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from tests.kit.memory_indexes import MemoryIndexes
from tests.kit.rights import as_user
from tests.kit.uploads import CONTENT_TYPE, upload_form
from tests.web.test_guard_audit import (
    FLAT,
    LIB,
    OPEN,
    RIGHTS,
    VARIANTS,
    WHO,
    Twin,
    differing,
    paths,
    put,
    put_closed,
)
from twisted_index.backends.folder.source import FolderSource
from twisted_index.backends.folder.store import FolderStore
from twisted_index.indexes.scope import Scope
from twisted_index.testing import make_wheel

WHEN = "2026-11-01"
PREFIXES = ["", "/+dev", "/+prod", "/%2Bdev", f"/+dev/+at/{WHEN}"]
EVERYWHERE = RIGHTS.replace("to = ", 'indexes = ["", "dev", "prod"]\nto = ')
#: All that is in `hidden` is for Alice, and others read nothing there.
HIDING = (
    EVERYWHERE
    + """
[[rule]]
projects = "*"
allow = "read"
indexes = "hidden"
to = "alice"

[[rule]]
projects = ["open-*", "none", "json", "simple"]
allow = "read"
indexes = ["", "dev", "prod"]
to = "everyone"
"""
)


class ScopedTwin(Twin):
    """One of the two: `dev` inherits from `prod`."""

    def __init__(self, home: Path, *, closed: bool, rights: str = EVERYWHERE, hidden: bool = False) -> None:
        self.names = ("prod", "dev", *(("hidden",) if hidden else ()))
        for name in self.names:
            put(OPEN, home / name / "open-lib")
        if closed:
            put_closed(home / "prod")
        if hidden:
            put_closed(home / "hidden")
        super().__init__(home, closed=False, rights=rights)

    def indexes_of(self, clock: Clock, source: FolderSource, store: FolderStore) -> MemoryIndexes:
        made = MemoryIndexes()
        made.set(source, store=store)
        for name in self.names:
            bases = ("prod",) if name == "dev" else ()
            folders = [self.home / each for each in (name, *bases)]
            one, its_store = self.serving(clock, *folders, owners=(None, *bases))
            made.set(one, name, bases=bases, store=its_store, uploads=name != "hidden")
            made.set(one, Scope(index=name, as_of=WHEN), bases=bases)
        return made

    def token(self, name: str, lifetime: float | None = None, owner: str = "", **more: Any) -> dict[str, str]:
        return super().token(name, lifetime, owner, **{"indexes": ("", "dev", "prod"), **more})


def pair(
    folders: pytest.TempPathFactory, *, rights: str = EVERYWHERE, **differs: bool
) -> Iterator[tuple[ScopedTwin, ScopedTwin]]:
    """Make twins of which only the first has something."""
    options = {"closed": False, **differs}
    first = ScopedTwin(folders.mktemp("twin"), rights=rights, **options)
    second = ScopedTwin(folders.mktemp("twin"), rights=rights, closed=False)
    yield first, second
    first.stop()
    second.stop()


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ScopedTwin, ScopedTwin]]:
    yield from pair(tmp_path_factory, closed=True)


@pytest.fixture(scope="module")
def hiding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ScopedTwin, ScopedTwin]]:
    yield from pair(tmp_path_factory, rights=HIDING, hidden=True)


def below(prefix: str) -> list[str]:
    return [f"{prefix}{path}" for path in paths() if path.startswith("/")]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("who", WHO)
def test_whoever_may_not_read_cannot_tell_whether_it_is_there(
    twins: tuple[Twin, Twin], who: str, prefix: str
):
    assert differing(twins, who, below(prefix)) == []


@pytest.mark.parametrize("headers", VARIANTS, ids=lambda headers: " ".join(headers))
def test_no_field_of_a_request_tells_whether_it_is_there(twins: tuple[Twin, Twin], headers: dict[str, str]):
    assert differing(twins, "nobody", below("/+dev"), headers=headers) == []


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "DELETE", "POST", "PUT", "PATCH"])
@pytest.mark.parametrize("who", ["nobody", "a token for others"])
def test_no_other_method_tells_whether_it_is_there(twins: tuple[Twin, Twin], who: str, method: str):
    before = [twin.files() for twin in twins]
    assert differing(twins, who, below("/+dev"), method=method) == []
    assert [twin.files() for twin in twins] == before


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("prefix", ["/+dev", "/+prod"])
def test_no_upload_or_yank_tells_whether_it_is_there(twins: tuple[Twin, Twin], who: str, prefix: str):
    before = [twin.files() for twin in twins]
    for file in (LIB, FLAT, make_wheel("hush-none", "1.0")):
        for content in (file.content, b"other"):
            form = {"body": upload_form(content, file.filename), "headers": {"Content-Type": CONTENT_TYPE}}
            assert differing(twins, who, [f"{prefix}/legacy/"], method="POST", **form) == []
    for project in ("hush-lib", "hush-flat", "hush-none"):
        written = {
            "body": f"project={project}&version=1.0&status=archived".encode(),
            "headers": {"Content-Type": "application/x-www-form-urlencoded"},
        }
        asked = [f"{prefix}/-/yank", f"{prefix}/-/status"]
        assert differing(twins, who, asked, method="POST", **written) == []
    assert [twin.files() for twin in twins] == before


@pytest.mark.parametrize("who", WHO)
def test_whoever_reads_nothing_in_an_index_cannot_tell_whether_it_is_there(
    hiding: tuple[Twin, Twin], who: str
):
    """Beside an index that nobody has: that one looks the same as well."""
    asked = [*below("/+hidden"), *below(f"/+hidden/+at/{WHEN}"), "/+hidden", "/+", "/", "/simple/", "/-/"]
    assert differing(hiding, who, asked) == []


@pytest.mark.parametrize("who", ["nobody", "a user without the right"])
@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "DELETE", "POST", "PUT", "PATCH"])
def test_no_other_method_tells_whether_an_index_is_there(hiding: tuple[Twin, Twin], who: str, method: str):
    """Nor whether it takes uploads: it does not."""
    assert differing(hiding, who, [*below("/+hidden"), "/+hidden", "/+hidden/"], method=method) == []


@pytest.mark.parametrize("who", WHO)
def test_no_change_tells_whether_an_index_is_there(hiding: tuple[Twin, Twin], who: str):
    form = {"body": upload_form(LIB.content, LIB.filename), "headers": {"Content-Type": CONTENT_TYPE}}
    assert differing(hiding, who, ["/+hidden/legacy/", "/+hidden/"], method="POST", **form) == []
    for body in (b"", b"project=open-lib", b"project=hush-lib&version=1.0&status=archived"):
        written = {"body": body, "headers": {"Content-Type": "application/x-www-form-urlencoded"}}
        asked = ["/+hidden/-/yank", "/+hidden/-/status", "/+hidden/-/tokens"]
        assert differing(hiding, who, asked, method="POST", **written) == []


@pytest.mark.parametrize("prefix", ["/+dev", "/+prod"])
def test_whoever_may_read_can_tell(twins: tuple[Twin, Twin], prefix: str):
    """Or the above would be true of indexes that serve nothing."""
    for path in (
        "/",
        "/simple/",
        "/packages/",
        "/simple/hush-lib/",
        f"/packages/{FLAT.filename}",
        "/hush-flat",
        "/pypi/hush-lib/json",
        "/-/problems",
    ):
        one, other = (twin.said(f"{prefix}{path}", headers=as_user("alice")) for twin in twins)
        assert one.startswith((b"HTTP/1.1 2", b"HTTP/1.1 3")), one
        assert one != other, path


def test_whoever_may_read_can_tell_that_an_index_is_there(hiding: tuple[Twin, Twin]):
    for path in ("/+hidden/", "/+hidden/simple/", "/+hidden/simple/hush-lib/"):
        one, other = (twin.said(path, headers=as_user("alice")) for twin in hiding)
        assert (one.split()[1], other.split()[1]) == (b"200", b"404"), path
