"""A source in whose place another one is put."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from tests.kit.at_once import answer
from twisted_index.indexes.swappable import SwappableSource
from twisted_index.interfaces import ILifecycle, IProblemSource, ISource
from twisted_index.testing import MemorySource, make_wheel

ONE, TWO = make_wheel("demo", "1.0"), make_wheel("demo", "2.0")


class Again(MemorySource):
    """Its files can be opened again."""

    def open_file(self, *args: Any) -> Any:
        body = super().open_file(*args)
        return None if body is None else replace(body, reopen=lambda: body)


class Late(Again):
    """Answers by coroutines."""

    async def project_list(self) -> Any:
        return super().project_list()

    async def project_page(self, project: str) -> Any:
        return super().project_page(project)

    async def open_file(self, *args: Any) -> Any:
        return super().open_file(*args)


@pytest.fixture(params=[Again, Late])
def kind(request: pytest.FixtureRequest) -> type[MemorySource]:
    return request.param


def test_it_is_a_source():
    source = SwappableSource(MemorySource(), lambda: None)

    assert all(verifyObject(contract, source) for contract in (ISource, ILifecycle, IProblemSource))


def test_the_source_that_holds_now_answers(kind):
    source = SwappableSource(kind(ONE), lambda: None)
    source.replace(kind(TWO))

    assert answer(source.project_list).value.names == ("demo",)
    assert answer(source.project_page, "demo").value.versions == ("2.0",)
    assert answer(source.open_file, "demo", TWO.filename).content == TWO.content
    assert answer(source.open_file, "demo", ONE.filename) is None


def test_no_answer_of_another_source_is_true_any_more(kind):
    source = SwappableSource(kind(ONE), lambda: None)
    body = answer(source.open_file, "demo", ONE.filename)
    snapshots = [answer(source.project_list), answer(source.project_page, "demo")]
    absence = answer(source.project_page, "nothing")

    assert body.reopen() is not None
    assert all(one.is_current() for one in (*snapshots, absence))
    source.replace(kind(ONE))
    assert body.reopen() is None
    assert not any(one.is_current() for one in (*snapshots, absence))


def test_it_is_looked_whether_another_one_holds_wherever_something_is_asked():
    first, second = MemorySource(ONE), MemorySource(TWO)
    looks: list[Any] = []
    source = SwappableSource(first, lambda: [source.replace(one) for one in looks])
    page = answer(source.project_page, "demo")

    looks.append(second)
    assert not page.is_current()
    assert answer(source.project_page, "demo").value.versions == ("2.0",)


def test_an_answer_is_no_longer_true_when_that_of_the_source_is_not():
    inner = MemorySource(ONE)
    source = SwappableSource(inner, lambda: None)
    page = answer(source.project_page, "demo")

    inner.add(TWO)
    assert not page.is_current()
