"""Access in whose place another one is put."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from twisted_index.access.access import OpenAccess
from twisted_index.access.replaceable import ReplaceableAccess
from twisted_index.interfaces import NOBODY, Action, Credentials, IAccess


def test_it_is_access():
    assert verifyObject(IAccess, ReplaceableAccess(OpenAccess(), lambda: None))


def test_the_access_that_holds_now_decides():
    access = ReplaceableAccess(OpenAccess(anyone_may_upload=True), lambda: None)
    assert access.may(NOBODY, Action.UPLOAD, "demo")

    access.replace(OpenAccess())
    assert not access.may(NOBODY, Action.UPLOAD, "demo")
    assert access.all_may_read
    assert not access.has_users
    assert access.identify(Credentials()) is NOBODY


def test_its_number_changes_with_the_access_and_with_the_number_of_that():
    first, second = OpenAccess(), OpenAccess()
    access = ReplaceableAccess(first, lambda: None)
    seen = [access.generation, access.generation]
    first.generation = 7
    seen.append(access.generation)
    access.replace(second)
    seen.append(access.generation)

    assert seen[0] == seen[1]
    assert len(set(seen)) == 3


def test_it_is_looked_whether_another_one_holds_before_each_question():
    looks: list[OpenAccess] = []
    access = ReplaceableAccess(OpenAccess(), lambda: [access.replace(one) for one in looks])
    before = access.generation

    looks.append(OpenAccess(anyone_may_upload=True))
    assert access.generation != before
    assert access.may(NOBODY, Action.UPLOAD, "demo")
