"""What a draft serves: its own files, before those of its index."""

from __future__ import annotations

import gc
import os
import weakref
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.kit.at_once import answer
from tests.kit.named_indexes import PUBLIC, Indexes
from twisted_index.backends.folder.drafts import DraftFolder
from twisted_index.errors import NotFound
from twisted_index.indexes.scope import Scope, draft_digest, new_draft_token
from twisted_index.indexes.served_index import ServedIndex
from twisted_index.interfaces import Draft
from twisted_index.testing import make_wheel


def create(root: Path) -> tuple[Path, Scope]:
    """Make a draft of `prod`; return its folder and its scope."""
    digest = draft_digest(new_draft_token())
    end = datetime.now(UTC) + timedelta(days=1)
    DraftFolder(os.fsencode(root)).create(Draft(name="v1", digest=digest, by="alice", expires=end))
    return root / ".drafts" / digest, Scope(index="prod", draft=digest)


def owners(served: ServedIndex, project: str) -> dict[str, str | None] | None:
    page = answer(served.source.project_page, project).value
    return None if page is None else {file.version: file.owner for file in page.files}


def test_a_name_of_a_draft_is_asked_of_no_upstream_and_others_are_as_in_its_index(indexes: Indexes):
    root = indexes.make("prod", 'upstream = "public"', "acme")
    folder, scope = create(root)
    indexes.add(folder, "new")
    served = indexes.registry.find(scope)
    assert owners(served, "new") == {"1.0": None}
    assert owners(served, "acme") == {"1.0": "prod"}
    assert indexes.upstreams[PUBLIC.urls[0]].asked == []
    assert owners(served, "elsewhere") == {"999": "prod"}
    assert indexes.upstreams[PUBLIC.urls[0]].asked == ["elsewhere"]


def test_its_token_alone_asks_no_upstream(indexes: Indexes):
    root = indexes.make("prod", 'upstream = "public"', "acme")
    folder, scope = create(root)
    indexes.add(folder, "new")
    served = indexes.registry.find(scope)
    assert served.alone is not None
    pages = {name: answer(served.alone.project_page, name).value for name in ("new", "acme", "elsewhere")}
    assert [name for name, page in pages.items() if page is not None] == ["new"]
    assert indexes.upstreams[PUBLIC.urls[0]].asked == []
    assert served.own == {"new"}


def test_a_project_that_comes_is_its_own_from_the_next_request_on(indexes: Indexes):
    folder, scope = create(indexes.make("prod", "", "acme"))
    assert indexes.registry.find(scope).own == frozenset()
    indexes.add(folder, "new")
    wheel = make_wheel("flat", "1.0")
    (folder / wheel.filename).write_bytes(wheel.content)
    served = indexes.registry.find(scope)
    assert served.own >= {"new", "flat"}
    assert indexes.registry.find(scope) is served


def test_the_index_of_a_draft_does_not_have_its_files(indexes: Indexes):
    folder, _scope = create(indexes.make("prod", "", "acme"))
    indexes.add(folder, "new")
    assert indexes.files("prod", "new") is None
    names = answer(indexes.find("prod").source.project_list).value.names
    assert tuple(names) == ("acme",)
    assert indexes.problems("prod") == {}


def test_a_draft_has_no_past_and_is_of_its_index_alone(indexes: Indexes):
    _folder, scope = create(indexes.make("prod", "", "acme"))
    indexes.make("dev", "", "acme")
    for wrong in (
        Scope(index="prod", draft=scope.draft, as_of="2026-11-01"),
        Scope(index="dev", draft=scope.draft),
        Scope(draft=scope.draft),
    ):
        with pytest.raises(NotFound):
            indexes.registry.find(wrong)


def test_what_served_a_draft_is_stopped_once_others_took_its_place(indexes: Indexes):
    root = indexes.make("prod", "", "acme")
    folder = DraftFolder(os.fsencode(root))
    end = datetime.now(UTC) + timedelta(days=1)
    first, *others = (
        Draft(name=f"v{number}", digest=draft_digest(new_draft_token()), by="alice", expires=end)
        for number in range(70)
    )
    folder.create(first)
    gone = weakref.ref(indexes.registry.find(Scope(index="prod", draft=first.digest)).alone)
    for draft in others:
        folder.create(draft)
        served = indexes.registry.find(Scope(index="prod", draft=draft.digest))
        assert owners(served, "acme") == {"1.0": "prod"}
    gc.collect()
    assert gone() is None
