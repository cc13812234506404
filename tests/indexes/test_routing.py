"""Where projects of some names come from."""

from __future__ import annotations

from typing import Any

import pytest
from zope.interface.verify import verifyObject

from tests.kit.at_once import answer
from twisted_index.errors import Unavailable
from twisted_index.indexes.routing import RoutedSource, SourceRoute
from twisted_index.interfaces import ILifecycle, IProblemSource, ISource
from twisted_index.simple.model import Sidecar
from twisted_index.testing import MemorySource, make_wheel

ACME, DEMO, EVIL = (make_wheel(name, "1.0") for name in ("acme-core", "demo", "evil"))


@pytest.fixture
def acme() -> MemorySource:
    return MemorySource(ACME, make_wheel("demo", "7.0"))


@pytest.fixture
def rest() -> MemorySource:
    return MemorySource(DEMO, EVIL, make_wheel("acme-core", "7.0"))


@pytest.fixture
def routed(acme: MemorySource, rest: MemorySource) -> RoutedSource:
    rules = [
        SourceRoute(pattern="Acme_*", source=acme),
        SourceRoute(pattern="evil*"),
        SourceRoute(pattern="acme-core", source=rest),
    ]
    return RoutedSource(rules, rest)


def versions(source: Any, project: str) -> tuple[str, ...] | None:
    page = answer(source.project_page, project).value
    return None if page is None else page.versions


def test_it_keeps_the_contracts_of_a_source(routed: RoutedSource):
    for contract in (ISource, IProblemSource, ILifecycle):
        assert verifyObject(contract, routed)


def test_the_first_rule_that_a_name_matches_counts(routed: RoutedSource, rest: MemorySource):
    assert versions(routed, "acme-core") == ("1.0",)
    assert answer(routed.open_file, "acme-core", ACME.filename, Sidecar.METADATA).content == ACME.metadata
    assert rest.calls == []


def test_what_matches_no_rule_is_the_other_source_s(routed: RoutedSource, acme: MemorySource):
    assert versions(routed, "demo") == ("1.0",)
    assert answer(routed.open_file, "demo", DEMO.filename).content == DEMO.content
    assert acme.calls == []


def test_a_rule_without_a_source_says_that_there_are_no_such_projects(
    routed: RoutedSource, rest: MemorySource
):
    page = answer(routed.project_page, "evil")

    assert page.value is None
    assert page.is_current()
    assert answer(routed.open_file, "evil", EVIL.filename) is None
    assert rest.calls == []


def test_a_name_that_its_source_does_not_have_is_looked_for_nowhere_else(
    routed: RoutedSource, acme: MemorySource, rest: MemorySource
):
    acme.remove(ACME)
    assert versions(routed, "acme-core") is None
    acme.failure = Unavailable("It is down.")
    with pytest.raises(Unavailable):
        versions(routed, "acme-core")
    assert rest.calls == []


def test_the_list_has_each_name_of_the_source_that_has_it(routed: RoutedSource):
    assert answer(routed.project_list).value.names == ("acme-core", "demo")


def test_the_list_is_the_very_same_until_one_of_its_parts_changes(
    routed: RoutedSource, acme: MemorySource, rest: MemorySource
):
    seen = answer(routed.project_list)
    assert seen.is_current()
    assert answer(routed.project_list).value is seen.value
    for source in (acme, rest):
        seen = answer(routed.project_list)
        source.add(make_wheel("acme-new" if source is acme else "new", "1.0"))
        assert not seen.is_current()
    assert answer(routed.project_list).value.names == ("acme-core", "acme-new", "demo", "new")


def test_a_list_of_which_a_part_is_missing_says_so(
    routed: RoutedSource, acme: MemorySource, rest: MemorySource
):
    acme.failure = Unavailable("It is down.")
    seen = answer(routed.project_list)
    assert (seen.value.names, seen.value.complete) == (("demo",), False)

    rest.failure = acme.failure
    with pytest.raises(Unavailable):
        answer(routed.project_list)
