"""Old pre-releases go after an upload, if the server is configured so."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import globalLogPublisher

from tests.kit.at_once import answer
from tests.kit.folder_store import Shop
from twisted_index.backends.folder import markers
from twisted_index.backends.folder.blocking_store import BlockingStore
from twisted_index.backends.layout.old_prereleases import find_old_prereleases
from twisted_index.errors import Conflict
from twisted_index.interfaces import AuditQuery
from twisted_index.testing import make_sdist, make_wheel

from .test_observed import Recorder


@pytest.fixture
def keeping(tmp_path: Path, open_shop: Callable[..., Shop]) -> Callable[[int | None], Shop]:
    def start(number: int | None) -> Shop:
        root = tmp_path / "packages"
        return open_shop(root, blocking_store=BlockingStore([os.fsencode(root)], keep_prereleases=number))

    return start


def nightly(day: int) -> str:
    return f"1.0.dev202611{day:02d}"


def versions(shop: Shop) -> list[str]:
    page = shop.page()
    assert page is not None
    return list(page.versions)


def test_the_newest_stay_and_the_names_of_the_others_are_taken(keeping):
    shop = keeping(2)
    for version in ("0.8", "0.9"):
        shop.publish(make_sdist("demo", version))
    for day in range(1, 6):
        shop.publish(make_wheel("demo", nightly(day)))
    assert versions(shop) == ["0.8", "0.9", nightly(4), nightly(5)]
    with pytest.raises(Conflict, match="stays taken"):
        shop.publish(make_wheel("demo", nightly(1), files={"demo/other.py": ""}))


def test_it_is_in_the_history_with_its_rule(keeping):
    shop = keeping(1)
    for day in (1, 2):
        shop.publish(make_sdist("demo", nightly(day)))
    event = answer(shop.audit_log.search, AuditQuery()).events[0]
    assert (event.by, event.action, event.filename) == ("retention", "delete", f"demo-{nightly(1)}.tar.gz")
    assert event.detail == "keep-prereleases = 1"
    assert b"  by retention: keep-prereleases = 1\n" in (shop.path / "demo" / ".deleted").read_bytes()


def test_observers_hear_of_it_without_another_request(tmp_path: Path, open_shop):
    root, recorder = tmp_path / "packages", Recorder()
    store = BlockingStore([os.fsencode(root)], keep_prereleases=1)
    shop = open_shop(root, blocking_store=store, observer=recorder)
    for day in (1, 2):
        shop.publish(make_sdist("demo", nightly(day)))
    assert recorder.new()[-1] == ("removed", "demo", f"demo-{nightly(1)}.tar.gz")


def test_without_a_number_all_stay(keeping):
    shop = keeping(None)
    for day in range(1, 6):
        shop.publish(make_sdist("demo", nightly(day)))
    assert len(versions(shop)) == 5


def test_what_was_just_uploaded_stays_though_it_is_old(keeping):
    shop = keeping(1)
    for version in ("2.0rc1", "1.0rc1"):
        shop.publish(make_sdist("demo", version))
        shop.publish(make_wheel("demo", version))
    assert versions(shop) == ["1.0rc1", "2.0rc1"]
    shop.publish(make_sdist("demo", "2.0rc2"))
    assert versions(shop) == ["2.0rc2"]


def test_it_stays_where_the_times_of_files_do_not_tell_which_came_last(shop: Shop):
    for version in ("1.0rc1", "1.0rc2", "1.0rc3"):
        shop.publish(make_sdist("demo", version))
    page = shop.page()
    assert page is not None
    files = [dataclasses.replace(file, upload_time=None) for file in page.files]
    assert [file.version for file in find_old_prereleases(files, 1, "1.0rc1")] == ["1.0rc2"]


def test_a_number_that_is_set_later_applies_from_the_next_upload_on(tmp_path: Path, open_shop):
    root = tmp_path / "packages"
    store = BlockingStore([os.fsencode(root)])
    shop = open_shop(root, blocking_store=store)
    for day in range(1, 4):
        shop.publish(make_sdist("demo", nightly(day)))
    store.keep_prereleases = 1
    assert len(versions(shop)) == 3
    shop.publish(make_sdist("demo", nightly(4)))
    assert versions(shop) == [nightly(4)]


def test_the_same_file_again_deletes_nothing(keeping):
    shop = keeping(1)
    for day in (1, 2, 3):
        make_sdist("demo", nightly(day)).write_to(shop.path / "demo")
    assert shop.publish(make_sdist("demo", nightly(3))) is False
    assert len(versions(shop)) == 3


def test_an_upload_succeeds_though_something_cannot_be_deleted(
    tmp_path: Path, open_shop, monkeypatch: pytest.MonkeyPatch
):
    first, second = tmp_path / "first", tmp_path / "second"
    make_sdist("demo", nightly(1)).write_to(second / "demo")
    store = BlockingStore([os.fsencode(first), os.fsencode(second)], keep_prereleases=1)
    shop = open_shop(first, second, blocking_store=store)
    monkeypatch.setattr(markers, "_writable", lambda folder: b"/first" in folder)
    logged: list[dict[str, Any]] = []
    globalLogPublisher.addObserver(logged.append)
    try:
        for day in (2, 3):
            assert shop.publish(make_sdist("demo", nightly(day))) is True
    finally:
        globalLogPublisher.removeObserver(logged.append)
    assert versions(shop) == [nightly(1), nightly(3)]
    assert [(event["project"], event["number"]) for event in logged if "number" in event] == [("demo", 1)] * 2
