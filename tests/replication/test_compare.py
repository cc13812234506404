"""What differs is found, and what is done about it has an order in which nothing wrong is seen."""

from __future__ import annotations

import pytest

from twisted_index.errors import BadGateway
from twisted_index.replication.compare import (
    Held,
    ReplicaPlan,
    check_paths,
    compare,
    doubtful,
    find_alike,
)
from twisted_index.simple.entry_listing import Entry, EntryListing

WHEEL, SDIST, OLD = "demo/demo-2.0-py3-none-any.whl", "demo/demo-2.0.tar.gz", "demo/demo-1.0.tar.gz"
YANK, SIGNATURE, STATUS = f"{WHEEL}.yanked", f"{WHEEL}.asc", "demo/.quarantined"
ONE, TWO = "1" * 64, "2" * 64


def entry(path: str, sha256: str = ONE, size: int = 10, time: int = 5) -> Entry:
    return Entry(path, sha256, size, time)


def planned(entries: list[Entry], held: dict[str, Held]) -> ReplicaPlan:
    return compare("demo", EntryListing(1, "f" * 32, tuple(entries)), held)


def paths(entries: tuple[Entry, ...]) -> list[str]:
    return [each.path for each in entries]


SAME = Held(10, 5)


def test_equal_folders_need_nothing():
    found = planned([entry(WHEEL), entry(YANK)], {WHEEL: SAME, YANK: SAME})
    assert found.is_empty
    assert not planned([entry(WHEEL)], {}).is_empty


def test_marks_hide_first_and_documents_come_before_their_files():
    found = planned([entry(path) for path in (WHEEL, SIGNATURE, YANK, STATUS)], {OLD: SAME})
    assert paths(found.hide) == [YANK, STATUS]
    assert paths(found.place) == [SIGNATURE, WHEEL]


def test_several_new_files_are_seen_together_and_one_alone():
    assert planned([entry(OLD), entry(WHEEL), entry(SDIST)], {OLD: SAME}).together == (
        "demo-2.0-py3-none-any.whl",
        "demo-2.0.tar.gz",
    )
    assert planned([entry(OLD), entry(WHEEL)], {OLD: SAME}).together == ()


def test_what_waits_since_a_round_that_was_cut_off_is_seen_with_the_rest():
    waiting = SAME._replace(is_staged=True)
    found = planned([entry(OLD), entry(WHEEL), entry(SDIST)], {OLD: SAME, WHEEL: waiting})
    assert found.together == ("demo-2.0-py3-none-any.whl", "demo-2.0.tar.gz")
    found = planned([entry(OLD)], {OLD: SAME, WHEEL: waiting})
    assert (found.dropped, found.gone) == ((WHEEL,), ())


def test_another_time_is_set_and_other_bytes_are_replaced():
    assert paths(planned([entry(WHEEL)], {WHEEL: Held(10, 6, ONE)}).retime) == [WHEEL]
    found = planned([entry(WHEEL)], {WHEEL: Held(10, 6, TWO)})
    assert (paths(found.place), found.retime, found.replaced) == ([WHEEL], (), 1)
    assert paths(planned([entry(WHEEL)], {WHEEL: Held(10, 5, is_regular=False)}).place) == [WHEEL]


def test_only_what_differs_in_time_is_read_unless_all_is_doubted():
    held = {WHEEL: Held(10, 6), SDIST: SAME, OLD: Held(11, 6)}
    entries = [entry(path) for path in held]
    assert doubtful(entries, held) == [WHEEL]
    assert doubtful(entries, held, deep=True) == [WHEEL, SDIST]


def test_a_yank_that_is_gone_shows_a_file_that_stays():
    found = planned([entry(WHEEL)], {WHEEL: SAME, YANK: SAME})
    assert (found.show, found.gone) == ((YANK,), ())


def test_marks_of_what_goes_go_after_it():
    found = planned([entry(OLD)], dict.fromkeys((OLD, WHEEL, SIGNATURE, YANK, STATUS), SAME))
    assert (found.show, found.gone) == ((), (WHEEL, SIGNATURE, YANK, STATUS))
    found = compare("demo", None, dict.fromkeys((WHEEL, YANK), SAME))
    assert (found.show, found.gone, found.stays) == ((), (WHEEL, YANK), False)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/demo-1.0.tar.gz",
        "demo/",
        "../demo-1.0.tar.gz",
        "demo/../demo-1.0.tar.gz",
        "demo/sub/demo-1.0.tar.gz",
        "other/demo-1.0.tar.gz",
        "other-1.0.tar.gz",
        "demo/.hidden",
        ".quarantined",
        "demo/.",
        "demo/..",
        "demo/a\\b",
        "demo/a\x00b",
        "demo/a\nb",
        "demo/demo-1.0.tar.gz.part",
        "demo/demo-1.0.TMP",
        "demo/" + "x" * 256,
        ".staged/x.list",
        ".uploads/demo-1.0.tar.gz",
    ],
)
def test_a_path_that_is_no_entry_of_the_project_is_refused(path: str):
    with pytest.raises(BadGateway):
        check_paths("demo", [entry(path)])


@pytest.mark.parametrize(
    "path", [WHEEL, YANK, STATUS, "Demo/demo-1.0.zip", "demo-1.0.tar.gz", "demo/README", "demo/.deleted"]
)
def test_what_lies_there_for_the_project_is_an_entry(path: str):
    check_paths("demo", [entry(path)])


@pytest.mark.parametrize(
    "names",
    [
        ("demo/demo-1.0.tar.gz", "demo/Demo-1.0.tar.gz"),
        ("demo/demo-1.0.tar.gz", "Demo/demo-2.0.tar.gz"),
        ("demo/caf\u00e9.txt", "demo/cafe\u0301.txt"),
    ],
)
def test_names_that_only_some_file_systems_tell_apart_are_found(names: tuple[str, str]):
    assert find_alike(names) is not None
    assert find_alike([names[0], "demo/other.txt"]) is None
