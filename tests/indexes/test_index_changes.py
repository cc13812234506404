"""The overview of all indexes, and which of them are made and removed over HTTP."""

from __future__ import annotations

from dataclasses import replace

import pytest
from zope.interface.verify import verifyObject

from tests.kit.at_once import answer
from tests.kit.named_indexes import Indexes
from twisted_index.errors import Conflict, NotFound
from twisted_index.indexes.scope import Scope
from twisted_index.indexes.served_index import IIndexes, IIndexFolders, IndexAbout


def test_the_registry_keeps_its_contracts(indexes: Indexes):
    for contract in (IIndexes, IIndexFolders):
        assert verifyObject(contract, indexes.registry)


def test_the_overview_has_what_each_index_says_of_itself(indexes: Indexes):
    indexes.make("prod")
    indexes.make("dev", "bases = ['prod']\ntitle = 'Dev'")
    indexes.make("odd", "bases = 7")
    found = answer(indexes.registry.overview)
    assert [replace(about, problem="") for about in found] == [
        IndexAbout(name="dev", title="Dev", bases=("prod",)),
        IndexAbout(name="odd"),
        IndexAbout(name="prod"),
    ]
    assert [bool(about.problem) for about in found] == [False, True, False]


def test_names_are_matched_by_the_patterns_of_the_settings(indexes: Indexes):
    assert not indexes.registry.may_create("pr-7")
    indexes.named.prepare(replace(indexes.settings, create_indexes=("pr-*",)))()
    assert indexes.registry.may_create("pr-7")
    assert not indexes.registry.may_create("prod")


def test_an_index_that_is_made_is_there_and_one_that_is_removed_is_not(indexes: Indexes):
    assert answer(indexes.registry.create, "pr-7")
    served = indexes.find("pr-7")
    assert not answer(indexes.registry.create, "pr-7")
    assert indexes.find("pr-7") is served
    answer(indexes.registry.remove, "pr-7")
    assert indexes.registry.recent(Scope(index="pr-7")) is None
    with pytest.raises(NotFound):
        indexes.find("pr-7")
    with pytest.raises(NotFound):
        answer(indexes.registry.remove, "pr-7")


def test_an_index_that_is_made_with_bases_inherits_them(indexes: Indexes):
    indexes.make("prod")
    assert answer(indexes.registry.create, "pr-7", ["prod"])
    assert indexes.find("pr-7").line == ("pr-7", "prod")
    assert not answer(indexes.registry.create, "pr-7", ["prod"])
    assert not answer(indexes.registry.create, "pr-7")


def test_an_index_is_not_there_already_with_other_bases_and_inherits_none_that_is_missing(indexes: Indexes):
    for name in ("dev", "prod"):
        indexes.make(name)
    assert answer(indexes.registry.create, "pr-7", ["prod"])
    with pytest.raises(Conflict, match="there already"):
        answer(indexes.registry.create, "pr-7", ["dev", "prod"])
    with pytest.raises(Conflict, match="no index none"):
        answer(indexes.registry.create, "pr-8", ["none"])
    assert indexes.registry.names() == ("dev", "pr-7", "prod")


def test_what_another_index_inherits_is_not_removed(indexes: Indexes):
    indexes.make("prod")
    indexes.make("dev", "bases = ['prod']")
    with pytest.raises(Conflict, match="dev inherits from prod"):
        answer(indexes.registry.remove, "prod")
    answer(indexes.registry.remove, "dev")
    answer(indexes.registry.remove, "prod")
    assert indexes.registry.names() == ()
