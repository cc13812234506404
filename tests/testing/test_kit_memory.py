"""The source in memory."""

from __future__ import annotations

import pytest
from zope.interface.verify import verifyObject

from twisted_index.errors import Unavailable
from twisted_index.interfaces import ISource
from twisted_index.simple.model import Sidecar, Status
from twisted_index.testing import MemorySource, SourceCall, make_sdist, make_wheel

WHEEL = make_wheel("demo", "1.0", requires_python=">=3.9")


def test_it_is_a_source():
    assert verifyObject(ISource, MemorySource())


def test_a_file_is_listed_with_all_that_a_folder_would_say_of_it():
    page = MemorySource(WHEEL).project_page("demo").value
    (file,) = page.files
    assert (file.filename, file.hashes["sha256"], file.size) == (WHEEL.filename, WHEEL.sha256, WHEEL.size)
    assert (file.requires_python, file.version) == (">=3.9", "1.0")


def test_an_answer_stays_true_until_its_own_project_changes():
    source = MemorySource(WHEEL)
    page, names = source.project_page("demo"), source.project_list()
    source.add(make_wheel("other", "1.0"))

    assert page.is_current()
    assert not names.is_current()
    source.add(make_sdist("demo", "1.0"))
    assert not page.is_current()


def test_adding_the_very_same_file_again_changes_nothing():
    source = MemorySource(WHEEL)
    page = source.project_page("demo")
    source.add(WHEEL)
    assert page.is_current()


def test_absence_is_an_answer_that_ends_when_the_project_comes():
    source = MemorySource()
    absent = source.project_page("demo")
    assert absent.value is None
    assert absent.is_current()
    source.add(WHEEL)
    assert not absent.is_current()


def test_a_removed_file_is_neither_listed_nor_opened():
    source = MemorySource(WHEEL)
    source.remove(WHEEL)
    assert source.project_page("demo").value is None
    assert source.open_file("demo", WHEEL.filename) is None
    with pytest.raises(KeyError):
        source.remove(WHEEL)


def test_a_quarantined_project_offers_no_file():
    source = MemorySource(WHEEL)
    source.set_status("Demo", Status.QUARANTINED, "looks odd")
    assert source.project_page("demo").value.files == ()
    assert source.open_file("demo", WHEEL.filename) is None


def test_sidecars_are_opened_beside_their_file():
    source = MemorySource()
    source.add(WHEEL, signature=b"signed", provenance=b"{}")
    opened = {kind: source.open_file("demo", WHEEL.filename, kind).content for kind in Sidecar}
    assert opened == {
        Sidecar.METADATA: WHEEL.metadata,
        Sidecar.SIGNATURE: b"signed",
        Sidecar.PROVENANCE: b"{}",
    }


def test_it_remembers_what_it_was_asked():
    source = MemorySource(WHEEL)
    source.project_page("demo")
    source.open_file("demo", WHEEL.filename, Sidecar.METADATA)
    assert source.calls == [
        SourceCall(method="project_page", project="demo"),
        SourceCall(method="open_file", project="demo", filename=WHEEL.filename, sidecar=Sidecar.METADATA),
    ]


def test_it_fails_as_it_is_told_to_and_recovers():
    source = MemorySource(WHEEL)
    source.failure = Unavailable("Not now.")
    with pytest.raises(Unavailable):
        source.project_list()
    source.failure = None
    assert source.project_list().value.names == ("demo",)
