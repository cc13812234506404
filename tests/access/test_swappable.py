"""Access in whose place another one is put."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from twisted_index.access.control import AnonymousAccess
from twisted_index.access.swappable import SwappableAccess
from twisted_index.interfaces import ANONYMOUS, Action, Credentials, IAccessControl


def test_it_is_access():
    assert verifyObject(IAccessControl, SwappableAccess(AnonymousAccess(), lambda: None))


def test_the_access_that_holds_now_decides():
    access = SwappableAccess(AnonymousAccess(anonymous_upload=True), lambda: None)
    assert access.permits(ANONYMOUS, Action.UPLOAD, "demo")

    access.replace(AnonymousAccess())
    assert not access.permits(ANONYMOUS, Action.UPLOAD, "demo")
    assert access.public_read
    assert not access.has_users
    assert access.authenticate(Credentials()) is ANONYMOUS


def test_its_number_changes_with_the_access_and_with_the_number_of_that():
    first, second = AnonymousAccess(), AnonymousAccess()
    access = SwappableAccess(first, lambda: None)
    seen = [access.generation, access.generation]
    first.generation = 7
    seen.append(access.generation)
    access.replace(second)
    seen.append(access.generation)

    assert seen[0] == seen[1]
    assert len(set(seen)) == 3


def test_it_is_looked_whether_another_one_holds_before_each_question():
    looks: list[AnonymousAccess] = []
    access = SwappableAccess(AnonymousAccess(), lambda: [access.replace(one) for one in looks])
    before = access.generation

    looks.append(AnonymousAccess(anonymous_upload=True))
    assert access.generation != before
    assert access.permits(ANONYMOUS, Action.UPLOAD, "demo")
