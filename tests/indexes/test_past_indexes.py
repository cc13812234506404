"""Indexes as they were: at the moment of a URL, and frozen by a file; over folders, bases and upstreams."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.kit.at_once import answer
from tests.kit.named_indexes import PUBLIC, Indexes, upstream_settings
from twisted_index.config.settings import NamedUpstream, UpstreamPolicy
from twisted_index.errors import BadRequest, NotFound, Unavailable
from twisted_index.indexes import past_indexes
from twisted_index.indexes.past_indexes import PastIndexes
from twisted_index.indexes.scope import PLAIN, Scope
from twisted_index.testing import make_wheel

T = datetime(2026, 11, 10, 12, tzinfo=UTC)
AT, BEFORE, AFTER = "2026-11-10T12:00Z", "2026-11-01", "2026-11-20"
OLD, NEW = "acme-1.0-py3-none-any.whl", "acme-2.0-py3-none-any.whl"


def put(folder: Path, project: str, version: str, uploaded: datetime) -> Path:
    path = make_wheel(project, version).write_to(folder / project)
    os.utime(path, (uploaded.timestamp(), uploaded.timestamp()))
    return path


def fill(folder: Path) -> None:
    """A file from before T, and one from after it."""
    put(folder, "acme", "1.0", T - timedelta(days=1))
    put(folder, "acme", "2.0", T + timedelta(days=1))


def page_of(indexes: Indexes, scope: Scope, project: str = "acme") -> Any:
    return answer(indexes.registry.find(scope).source.project_page, project).value


def names(indexes: Indexes, scope: Scope, project: str = "acme") -> list[str] | None:
    page = page_of(indexes, scope, project)
    return None if page is None else [file.filename for file in page.files]


def test_an_index_is_as_it_was(indexes: Indexes):
    fill(indexes.make("prod"))

    assert names(indexes, Scope(index="prod", as_of=BEFORE)) is None
    assert names(indexes, Scope(index="prod", as_of=AT)) == [OLD]
    assert names(indexes, Scope(index="prod", as_of=AFTER)) == [OLD, NEW]
    served = indexes.registry.find(Scope(index="prod", as_of=AT))
    assert answer(served.source.project_list).value.names == ("acme",)
    assert (served.line, served.store, served.uploads.upload) == (("prod",), None, False)
    assert answer(served.source.open_file, "acme", NEW) is None


def test_so_is_the_index_without_a_name(indexes: Indexes):
    fill(indexes.plain)
    assert names(indexes, Scope(as_of=AT)) == [OLD]
    assert [file.owner for file in page_of(indexes, Scope(as_of=AT)).files] == [""]


def test_files_are_linked_at_the_index_that_has_them_now(indexes: Indexes):
    fill(indexes.make("prod"))
    put(indexes.make("dev", "bases = 'prod'"), "acme", "1.1", T - timedelta(days=1))
    page = page_of(indexes, Scope(index="dev", as_of=AT))
    assert {file.filename: file.owner for file in page.files} == {
        OLD: "prod",
        "acme-1.1-py3-none-any.whl": "dev",
    }


def test_the_same_moment_is_the_same_object_while_nothing_changes(indexes: Indexes):
    fill(indexes.make("prod"))
    scope = Scope(index="prod", as_of=AT)
    served = indexes.registry.find(scope)
    assert indexes.registry.find(scope) is served
    assert indexes.registry.recent(scope) is served
    indexes.later()
    assert indexes.registry.recent(scope) is None
    assert indexes.registry.find(scope) is served


def test_of_a_million_moments_only_the_latest_are_kept(indexes: Indexes, monkeypatch: pytest.MonkeyPatch):
    fill(indexes.plain)
    past = indexes.registry._past
    for second in range(200):
        moment = (T + timedelta(seconds=second)).isoformat()
        assert names(indexes, Scope(as_of=moment)) == [OLD]
    assert len(past._kept) == past_indexes._MOST_MOMENTS
    assert len(past._pasts) == 1


@pytest.mark.parametrize(
    ("as_of", "error"),
    [("2999-01-01", BadRequest), ("2026-02-30", BadRequest), ("...", BadRequest), ("freeze", NotFound)],
)
def test_a_moment_that_is_none_is_an_error_also_of_an_index_that_is_not_there(
    indexes: Indexes, as_of: str, error: type[Exception]
):
    with pytest.raises(error):
        indexes.registry.find(Scope(as_of=as_of))
    with pytest.raises(NotFound):
        indexes.registry.find(Scope(index="none", as_of=as_of))


# -- Upstreams


def test_of_an_upstream_there_is_what_it_had_by_its_upload_times(indexes: Indexes):
    indexes.make("dev", "upstream = 'public'")
    upstream = indexes.upstreams[PUBLIC.urls[0]]
    scope = Scope(index="dev", as_of=AT)
    assert names(indexes, scope, "theirs") is None, "its file has no upload time"
    assert (
        answer(indexes.registry.find(scope).source.open_file, "theirs", "theirs-999-py3-none-any.whl") is None
    )

    upstream.uploaded = T
    assert names(indexes, scope, "other") == ["other-999-py3-none-any.whl"]
    assert [file.owner for file in page_of(indexes, scope, "other").files] == ["dev"]
    assert names(indexes, Scope(index="dev", as_of=BEFORE), "other") is None
    body = answer(indexes.registry.find(scope).source.open_file, "other", "other-999-py3-none-any.whl")
    assert body.content == upstream.content("other")


def test_versions_are_those_of_the_files_of_then(indexes: Indexes):
    indexes.make("dev", "upstream = 'public'")
    indexes.upstreams[PUBLIC.urls[0]].uploaded = T
    page = page_of(indexes, Scope(index="dev", as_of=AFTER), "other")
    assert page.versions == ("999",)


@pytest.mark.parametrize("as_of", [BEFORE, AT, AFTER])
def test_a_name_that_a_folder_has_by_now_is_asked_of_no_upstream(indexes: Indexes, as_of: str):
    put(indexes.make("dev", "upstream = 'public'"), "acme", "2.0", T + timedelta(days=1))
    upstream = indexes.upstreams[PUBLIC.urls[0]]
    upstream.uploaded = T - timedelta(days=100)
    source = indexes.registry.find(Scope(index="dev", as_of=as_of)).source

    for _ in range(2):
        page = answer(source.project_page, "acme").value
        assert page is None or [file.filename for file in page.files] == [NEW]
        assert answer(source.open_file, "acme", "acme-999-py3-none-any.whl") is None
    assert upstream.asked == []


def test_nor_is_one_that_another_index_reserves_or_that_is_local_only(make_indexes: Callable[..., Indexes]):
    policy = UpstreamPolicy(local_only=("mine-*",))
    indexes = make_indexes(upstream_settings(NamedUpstream(name="public", urls=PUBLIC.urls, policy=policy)))
    put(indexes.make("secret", "reserve-names = true"), "acme", "2.0", T)
    indexes.make("dev", "upstream = 'public'")
    scope = Scope(index="dev", as_of=AT)

    assert names(indexes, scope, "acme") is None
    assert names(indexes, scope, "mine-own") is None
    assert indexes.upstreams[PUBLIC.urls[0]].asked == []


def test_a_base_that_is_away_is_no_past_without_it(indexes: Indexes):
    fill(indexes.make("prod"))
    indexes.make("dev", "bases = 'prod'")
    assert names(indexes, Scope(index="dev", as_of=AT)) == [OLD]
    (indexes.folder / "prod").rename(indexes.folder / "away")
    indexes.later()
    with pytest.raises(Unavailable):
        names(indexes, Scope(index="dev", as_of=AT))


# -- Frozen indexes


def freeze(folder: Path, moment: str) -> None:
    (folder / ".as-of.new").write_text(f"{moment}\n")
    (folder / ".as-of.new").rename(folder / ".as-of")


def test_an_index_is_frozen_for_readers_until_the_file_is_removed(indexes: Indexes):
    prod = indexes.make("prod")
    fill(prod)
    live = indexes.find("prod")
    assert names(indexes, Scope(index="prod")) == [OLD, NEW]

    freeze(prod, AT)
    frozen = indexes.find("prod")
    assert names(indexes, Scope(index="prod")) == [OLD]
    assert (frozen.scope, frozen.store) == (live.scope, live.store)
    assert indexes.registry.recent(Scope(index="prod")) is frozen
    put(prod, "acme", "3.0", T + timedelta(days=2))
    assert names(indexes, Scope(index="prod")) == [OLD]
    assert indexes.find("prod") is frozen

    freeze(prod, AFTER)
    assert len(names(indexes, Scope(index="prod")) or ()) == 3
    (prod / ".as-of").unlink()
    assert indexes.find("prod") is live


def test_a_cached_answer_ends_when_an_index_is_frozen_and_when_it_thaws(indexes: Indexes):
    prod = indexes.make("prod")
    fill(prod)
    for _ in range(2):
        indexes.later()
        page = answer(indexes.find("prod").source.project_page, "acme")
        listed = answer(indexes.find("prod").source.project_list)
    assert (page.is_current(), listed.is_current()) == (True, True)
    freeze(prod, AT)
    assert (page.is_current(), listed.is_current()) == (False, False)

    for _ in range(2):
        page = answer(indexes.find("prod").source.project_page, "acme")
        listed = answer(indexes.find("prod").source.project_list)
        indexes.later()
    page = answer(indexes.find("prod").source.project_page, "acme")
    listed = answer(indexes.find("prod").source.project_list)
    assert (page.is_current(), listed.is_current()) == (True, True)
    (prod / ".as-of").unlink()
    assert (page.is_current(), listed.is_current()) == (False, False)


def test_an_index_that_inherits_a_frozen_one_has_its_files_as_they_are(indexes: Indexes):
    prod = indexes.make("prod")
    fill(prod)
    indexes.make("dev", "bases = 'prod'")
    freeze(prod, AT)
    assert names(indexes, Scope(index="dev")) == [OLD, NEW]
    assert names(indexes, Scope(index="prod", as_of=AFTER)) == [OLD, NEW]


@pytest.mark.parametrize("broken", ["", "nonsense!", "2026-02-30", "2999-01-01", "a b c d", "\x00"])
def test_a_broken_file_never_thaws_an_index(indexes: Indexes, broken: str):
    prod = indexes.make("prod")
    fill(prod)
    (prod / ".as-of").write_text(broken)
    with pytest.raises(Unavailable, match=r"frozen by a file [.]as-of that cannot be used"):
        indexes.find("prod")

    freeze(prod, AT)
    assert names(indexes, Scope(index="prod")) == [OLD]
    (prod / ".as-of").write_text(broken)
    assert names(indexes, Scope(index="prod")) == [OLD]

    (prod / ".as-of").unlink()
    assert names(indexes, Scope(index="prod")) == [OLD, NEW]
    (prod / ".as-of").write_text(broken)
    with pytest.raises(Unavailable):
        indexes.find("prod")


@pytest.mark.parametrize(
    ("broken", "why"), [("2999-01-01", "in the future"), ("release-7", "no snapshot release-7")]
)
def test_a_broken_file_is_a_row_of_the_problems(indexes: Indexes, broken: str, why: str):
    prod = indexes.make("prod")
    assert indexes.problems() == {}
    (prod / ".as-of").write_text(broken)
    assert why in indexes.problems()["prod/.as-of"]

    freeze(prod, AT)
    assert indexes.problems() == {}


def test_neither_does_a_link_nor_a_folder(indexes: Indexes, tmp_path: Path):
    prod = indexes.make("prod")
    (tmp_path / "moment").write_text(AT)
    (prod / ".as-of").symlink_to(tmp_path / "moment")
    with pytest.raises(Unavailable):
        indexes.find("prod")
    (prod / ".as-of").unlink()
    (prod / ".as-of").mkdir()
    with pytest.raises(Unavailable):
        indexes.find("prod")


def test_an_index_is_frozen_at_a_snapshot_and_unavailable_without_it(indexes: Indexes):
    prod = indexes.make("prod", "upstream = 'public'")
    fill(prod)
    page = page_of(indexes, Scope(index="prod"))
    (prod / ".snapshots").mkdir()
    digest = page.files[0].hashes["sha256"]
    (prod / ".snapshots" / "freeze").write_text(f"# snapshot {AT}\n{digest}  acme/{OLD}\n")
    upstream = indexes.upstreams[PUBLIC.urls[0]]
    upstream.uploaded = T + timedelta(days=1)
    freeze(prod, "freeze")

    assert names(indexes, Scope(index="prod")) == [OLD]
    assert names(indexes, Scope(index="prod"), "other") is None
    upstream.uploaded = T
    assert names(indexes, Scope(index="prod"), "another") == ["another-999-py3-none-any.whl"]
    (prod / ".snapshots" / "freeze").unlink()
    with pytest.raises(Unavailable, match="no snapshot freeze"):
        indexes.find("prod")


def test_the_index_without_a_name_is_frozen_by_a_setting_unless_it_has_a_file(indexes: Indexes):
    fill(indexes.plain)
    indexes.registry._past = PastIndexes(indexes.reactor, as_of=AT)
    assert names(indexes, PLAIN) == [OLD]
    freeze(indexes.plain, AFTER)
    assert names(indexes, PLAIN) == [OLD, NEW]
    (indexes.plain / ".as-of").unlink()
    assert names(indexes, PLAIN) == [OLD]
    fill(indexes.make("prod"))
    assert names(indexes, Scope(index="prod")) == [OLD, NEW]
