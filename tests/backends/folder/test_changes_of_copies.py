"""What uploads, deletions, yanks and statuses make of copies."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.copies import line_of, place, place_beside, record
from tests.kit.folder_store import Shop
from twisted_index.backends.folder import copies
from twisted_index.errors import Forbidden
from twisted_index.simple.model import ProjectStatus, Status
from twisted_index.testing import make_sdist, make_wheel

WHEEL = make_wheel("demo", "1.0")
SDIST = make_sdist("demo", "1.0")
OTHER = make_wheel("demo", "1.0", files={"demo/other.py": ""})
NEWER = make_wheel("demo", "2.0")


def recorded(shop: Shop) -> set[str]:
    return set(copies.read(os.fsencode(shop.path / "demo")))


def claims(shop: Shop) -> bool:
    page = shop.page()
    assert page is not None
    return page.claims


@pytest.fixture
def copied(shop: Shop) -> Shop:
    place(shop.path, WHEEL, SDIST)
    assert not claims(shop)
    return shop


# -- Uploads


def test_an_upload_into_a_project_of_copies_claims_its_name(copied: Shop):
    assert copied.publish(NEWER) is True
    assert claims(copied)
    assert recorded(copied) == {WHEEL.filename, SDIST.filename}


def test_an_upload_of_the_bytes_of_a_copy_makes_it_the_project_s_own(copied: Shop):
    assert copied.publish(WHEEL, by="alice") is False
    assert claims(copied)
    assert recorded(copied) == {SDIST.filename}
    assert copied.events() == [("alice", "upload", WHEEL.filename)]
    assert copied.publish(WHEEL, by="alice") is False
    assert len(copied.events()) == 1


def test_a_file_that_is_overwritten_is_no_copy(tmp_path: Path, open_shop: Callable[..., Shop]):
    shop = open_shop(tmp_path / "packages", overwrite=["*"])
    place(shop.path, WHEEL)
    place_beside(shop.path / "demo", f"{WHEEL.filename}.provenance", b"{}")
    assert shop.publish(OTHER) is True
    assert recorded(shop) == set()
    assert shop.files() == {WHEEL.filename: OTHER.sha256}
    assert claims(shop)


def test_an_upload_is_no_copy_though_a_line_was_left_for_its_name(shop: Shop):
    record(shop.path / "demo", line_of(WHEEL.filename, WHEEL.content))
    assert shop.publish(WHEEL) is True
    assert recorded(shop) == set()
    assert claims(shop)


@pytest.mark.parametrize("made", [WHEEL, NEWER])
def test_who_may_not_create_projects_may_not_take_the_name_of_copies(copied: Shop, made):
    with pytest.raises(Forbidden, match="only copies of demo"):
        copied.publish(made, may_create=False)
    assert not claims(copied)
    copied.publish(NEWER)
    assert copied.publish(make_wheel("demo", "3.0"), may_create=False) is True


# -- Deletions


def test_a_deletion_leaves_a_tombstone_and_no_line_and_claims(copied: Shop):
    place_beside(copied.path / "demo", f"{WHEEL.filename}.yanked", b"")
    copied.do("delete", "demo", WHEEL.filename)
    assert recorded(copied) == {SDIST.filename}
    assert copied.tree() == ["demo/.copies", "demo/.deleted", f"demo/{SDIST.filename}"]
    assert claims(copied)


# -- Yanks and statuses


@pytest.mark.parametrize("reason", ["broken", "too old"])
def test_a_yank_is_the_operator_s_even_over_that_of_the_source(copied: Shop, reason: str):
    name = f"{WHEEL.filename}.yanked"
    place_beside(copied.path / "demo", name, b"too old\n")
    assert not claims(copied)
    copied.do("yank", "demo", filename=WHEEL.filename, reason=reason)
    assert recorded(copied) == {WHEEL.filename, SDIST.filename}
    assert claims(copied)
    copied.do("unyank", "demo", filename=WHEEL.filename)
    assert not claims(copied)


@pytest.mark.parametrize("reason", ["", "for good"])
def test_a_status_is_the_operator_s_even_over_that_of_the_source(copied: Shop, reason: str):
    place_beside(copied.path / "demo", ".archived", b"\n")
    assert not claims(copied)
    copied.do("set_status", "demo", ProjectStatus(status=Status.ARCHIVED, reason=reason))
    assert recorded(copied) == {WHEEL.filename, SDIST.filename}
    assert claims(copied)
    copied.do("set_status", "demo", ProjectStatus(status=Status.ACTIVE))
    assert not claims(copied)
