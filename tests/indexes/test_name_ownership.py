"""Who owns a name: the folder, or the upstream; never both."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.kit.at_once import answer
from tests.kit.folder_source import Folder
from tests.kit.properties import examples
from twisted_index.backends.upstream.redirect import RedirectSource
from twisted_index.errors import Found, NotReady, Unavailable
from twisted_index.indexes.name_ownership import NameOwnershipSource
from twisted_index.interfaces import ILifecycle, IProblemSource, ISource, Problem, ProblemReport
from twisted_index.simple.model import Sidecar, Status
from twisted_index.simple.names import parse_filename
from twisted_index.testing import MemorySource, SourceCall, make_sdist, make_wheel

OURS = make_wheel("demo", "1.0")
THEIRS = make_wheel("demo", "99.0")
OTHER = make_wheel("other", "1.0")


@pytest.fixture
def ours() -> MemorySource:
    return MemorySource(OURS)


@pytest.fixture
def theirs() -> MemorySource:
    return MemorySource(THEIRS, OTHER)


@pytest.fixture
def chain(ours: MemorySource, theirs: MemorySource) -> NameOwnershipSource:
    return NameOwnershipSource(ours, theirs)


def names(source: Any, project: str) -> list[str] | None:
    page = answer(source.project_page, project).value
    return None if page is None else [file.filename for file in page.files]


def read(source: Any, file: Any, sidecar: Sidecar | None = None) -> bytes | None:
    body = answer(source.open_file, file.project, file.filename, sidecar)
    return None if body is None else body.content


def test_it_keeps_the_contracts_of_a_source(chain: NameOwnershipSource):
    for contract in (ISource, IProblemSource, ILifecycle):
        assert verifyObject(contract, chain)


# -- One owner


def test_a_name_of_the_folder_is_the_folder_s_alone(chain: NameOwnershipSource, theirs: MemorySource):
    assert names(chain, "demo") == [OURS.filename]
    assert read(chain, OURS) == OURS.content
    assert read(chain, THEIRS) is None
    assert read(chain, THEIRS, Sidecar.METADATA) is None
    assert theirs.calls == []


def test_a_claim_without_a_file_is_a_claim(theirs: MemorySource):
    claimed = MemorySource()
    claimed.set_status("demo", Status.ACTIVE)
    chain = NameOwnershipSource(claimed, theirs)

    assert names(chain, "demo") == []
    assert read(chain, THEIRS) is None
    assert theirs.calls == []


@pytest.mark.parametrize(
    "entry", ["demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz.part", "demo/.claimed", "demo/.quarantined"]
)
def test_whatever_is_named_for_a_project_in_a_folder_claims_it(
    folder: Folder, theirs: MemorySource, entry: str
):
    """A wheel that is still being copied or is damaged, a part of one, a marker."""
    path = folder.path / entry
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    chain = NameOwnershipSource(folder.source, theirs)

    assert names(chain, "demo") == []
    assert read(chain, THEIRS) is None
    assert theirs.calls == []


def test_a_name_that_the_folder_does_not_have_is_the_upstream_s(chain: NameOwnershipSource):
    assert names(chain, "other") == [OTHER.filename]
    assert read(chain, OTHER) == OTHER.content
    assert read(chain, OTHER, Sidecar.METADATA) == OTHER.metadata
    assert names(chain, "neither") is None


def test_the_project_list_is_the_folder_s(chain: NameOwnershipSource, theirs: MemorySource):
    assert answer(chain.project_list).value.names == ("demo",)
    assert theirs.calls == []


def test_a_name_may_be_kept_from_the_upstream(theirs: MemorySource):
    chain = NameOwnershipSource(MemorySource(), theirs, local_only=["Oth?r", "acme_*"])

    assert names(chain, "other") is None
    assert read(chain, OTHER) is None
    assert names(chain, "acme-core") is None
    assert theirs.calls == []


def test_the_next_upstream_is_asked_for_what_the_first_does_not_have(theirs: MemorySource):
    last = MemorySource(make_wheel("other", "7"), make_wheel("third", "1"))
    chain = NameOwnershipSource(MemorySource(OURS), NameOwnershipSource(theirs, last))

    assert names(chain, "other") == [OTHER.filename]
    assert names(chain, "third") == ["third-1-py3-none-any.whl"]
    assert SourceCall(method="project_page", project="other") not in last.calls


def test_clients_may_be_sent_away_for_what_the_folder_does_not_have(ours: MemorySource):
    chain = NameOwnershipSource(ours, RedirectSource("https://example.org/simple/"), local_only=["acme-*"])

    assert names(chain, "demo") == [OURS.filename]
    assert names(chain, "acme-core") is None
    assert read(chain, OTHER) is None
    with pytest.raises(Found) as caught:
        names(chain, "other")
    assert caught.value.location == "https://example.org/simple/other/"


# -- Errors


def test_a_folder_that_cannot_be_read_is_an_error_and_never_falls_through(
    chain: NameOwnershipSource, ours: MemorySource, theirs: MemorySource
):
    ours.failure = NotReady("It is being read.")

    for question in (
        lambda: names(chain, "other"),
        lambda: read(chain, OTHER),
        lambda: read(chain, OTHER, Sidecar.METADATA),
        lambda: answer(chain.project_list),
    ):
        with pytest.raises(NotReady):
            question()
    assert theirs.calls == []


def test_a_root_that_is_gone_is_an_error_and_never_falls_through(folder: Folder, theirs: MemorySource):
    folder.path.rmdir()
    chain = NameOwnershipSource(folder.source, theirs)

    with pytest.raises(Unavailable):
        names(chain, "other")
    with pytest.raises(Unavailable):
        read(chain, OTHER)
    assert theirs.calls == []


def test_an_upstream_that_fails_breaks_nothing_of_the_folder(
    chain: NameOwnershipSource, theirs: MemorySource
):
    theirs.failure = Unavailable("It is down.")

    assert names(chain, "demo") == [OURS.filename]
    assert read(chain, OURS) == OURS.content
    with pytest.raises(Unavailable):
        names(chain, "other")
    with pytest.raises(Unavailable):
        read(chain, OTHER)


# -- Truth


def test_an_answer_of_the_upstream_ends_when_the_folder_claims_the_name(
    chain: NameOwnershipSource, ours: MemorySource
):
    page, body = answer(chain.project_page, "other"), answer(chain.open_file, "other", OTHER.filename)
    assert page.is_current()
    ours.add(make_wheel("other", "2.0"))

    assert not page.is_current()
    assert names(chain, "other") == ["other-2.0-py3-none-any.whl"]
    assert read(chain, OTHER) is None
    assert body.reopen is None


def test_an_answer_of_the_upstream_ends_when_the_upstream_s_does(
    chain: NameOwnershipSource, theirs: MemorySource
):
    page, absent = answer(chain.project_page, "other"), answer(chain.project_page, "third")
    theirs.add(make_wheel("other", "2.0"))
    theirs.add(make_wheel("third", "2.0"))

    assert not page.is_current()
    assert not absent.is_current()


def test_nothing_new_is_the_very_same_page(chain: NameOwnershipSource):
    for project in ("demo", "other"):
        assert answer(chain.project_page, project).value is answer(chain.project_page, project).value


@implementer(ISource)
class Slow(MemorySource):
    """An upstream that answers when it is told to; `meanwhile` happens before."""

    def __init__(self, meanwhile: Any, *files: Any) -> None:
        super().__init__(*files)
        self.meanwhile = meanwhile

    def project_page(self, project: str) -> Deferred[Any]:
        found = super().project_page(project)
        self.meanwhile()
        return succeed(found)

    def open_file(self, project: str, filename: str, sidecar: Any = None) -> Deferred[Any]:
        found = super().open_file(project, filename, sidecar)
        self.meanwhile()
        return succeed(found)


def test_a_name_that_comes_while_the_upstream_is_asked_is_the_folder_s():
    ours = MemorySource()
    chain = NameOwnershipSource(ours, Slow(lambda: ours.add(OURS), THEIRS))

    assert names(chain, "demo") == [OURS.filename]
    ours.remove(OURS)
    assert read(chain, THEIRS) is None


def test_a_name_that_comes_while_a_known_file_of_the_upstream_is_opened_is_the_folder_s():
    ours, theirs = MemorySource(), Slow(lambda: None, THEIRS)
    chain = NameOwnershipSource(ours, theirs)
    assert names(chain, "demo") == [THEIRS.filename]

    theirs.meanwhile = lambda: ours.add(OURS)
    assert read(chain, THEIRS) is None


def test_a_folder_that_fails_while_a_known_file_of_the_upstream_is_opened_is_an_error():
    ours, theirs = MemorySource(), Slow(lambda: None, THEIRS)
    chain = NameOwnershipSource(ours, theirs)
    assert names(chain, "demo") == [THEIRS.filename]

    def fail() -> None:
        ours.add(OURS)
        ours.failure = Unavailable("It cannot be read.")

    theirs.meanwhile = fail
    with pytest.raises(Unavailable):
        read(chain, THEIRS)


def test_the_folder_is_not_asked_again_for_a_file_while_it_is_known_not_to_have_the_name(
    chain: NameOwnershipSource, ours: MemorySource
):
    names(chain, "other")
    ours.calls.clear()

    assert read(chain, OTHER) == OTHER.content
    assert read(chain, OTHER, Sidecar.METADATA) == OTHER.metadata
    assert read(chain, make_wheel("other", "9")) is None
    assert ours.calls == []
    ours.add(make_wheel("other", "2.0"))
    assert read(chain, OTHER) is None


def test_a_folder_that_does_not_settle_is_an_error():
    ours = MemorySource()

    def flip() -> None:
        ours.set_status("demo", Status.ARCHIVED, str(len(theirs.calls)))

    theirs = Slow(flip, THEIRS)
    chain = NameOwnershipSource(ours, theirs, merge_upstream=["demo"])

    with pytest.raises(Unavailable):
        names(chain, "demo")


# -- Names that both may have


@pytest.fixture
def both(ours: MemorySource, theirs: MemorySource) -> NameOwnershipSource:
    return NameOwnershipSource(ours, theirs, merge_upstream=["demo"])


def test_a_name_may_be_both_s(both: NameOwnershipSource):
    page = answer(both.project_page, "demo").value

    assert [file.filename for file in page.files] == [OURS.filename, THEIRS.filename]
    assert page.versions == ("1.0", "99.0")
    assert answer(both.project_page, "demo").value is page
    assert read(both, OURS) == OURS.content
    assert read(both, THEIRS) == THEIRS.content
    assert read(both, THEIRS, Sidecar.METADATA) == THEIRS.metadata


@pytest.mark.parametrize("filename", [OURS.filename, "Demo-1.0.0-py3-none-any.whl"])
def test_of_files_that_are_the_same_to_an_installer_the_folder_s_is_there(
    both: NameOwnershipSource, theirs: MemorySource, filename: str
):
    """Not even a sidecar of the other one is."""
    stranger = make_wheel("demo", "1.0", files={"evil.py": ""}, filename=filename)
    theirs.add(stranger, signature=b"signed by somebody")

    assert names(both, "demo") == [OURS.filename, THEIRS.filename]
    assert read(both, OURS) == OURS.content
    assert read(both, OURS, Sidecar.SIGNATURE) is None
    assert read(both, stranger, Sidecar.METADATA) in (None, OURS.metadata)
    assert read(both, stranger) in (None, OURS.content)


@pytest.mark.parametrize(
    ("own", "other", "strictest"),
    [
        (Status.ACTIVE, Status.ARCHIVED, Status.ARCHIVED),
        (Status.ARCHIVED, Status.DEPRECATED, Status.ARCHIVED),
        (Status.DEPRECATED, Status.ACTIVE, Status.DEPRECATED),
    ],
)
def test_the_strictest_status_counts(both, ours, theirs, own, other, strictest):
    ours.set_status("demo", own)
    theirs.set_status("demo", other)

    assert answer(both.project_page, "demo").value.status.status is strictest


@pytest.mark.parametrize("which", [0, 1])
def test_a_quarantine_of_either_holds_for_both(both, ours, theirs, which):
    (ours, theirs)[which].set_status("demo", Status.QUARANTINED)

    page = answer(both.project_page, "demo").value
    assert (page.files, page.versions) == ((), ())
    assert read(both, OURS) is None
    assert read(both, THEIRS) is None


def test_a_page_of_both_is_never_shortened(both: NameOwnershipSource, theirs: MemorySource):
    theirs.failure = Unavailable("It is down.")

    with pytest.raises(Unavailable):
        names(both, "demo")


def test_a_page_of_both_ends_with_either(both: NameOwnershipSource, ours: MemorySource, theirs: MemorySource):
    for source, file in ((ours, make_sdist("demo", "1.0")), (theirs, make_sdist("demo", "2.0"))):
        page = answer(both.project_page, "demo")
        source.add(file)
        assert not page.is_current()


def test_a_name_of_both_may_be_in_one_of_them(
    both: NameOwnershipSource, ours: MemorySource, theirs: MemorySource
):
    theirs.remove(THEIRS)
    assert names(both, "demo") == [OURS.filename]
    ours.remove(OURS)
    assert names(both, "demo") is None
    theirs.add(THEIRS)
    assert names(both, "demo") == [THEIRS.filename]


def test_a_local_name_is_local_whatever_else_is_said(ours: MemorySource, theirs: MemorySource):
    chain = NameOwnershipSource(ours, theirs, local_only=["d*"], merge_upstream=["*"])

    assert names(chain, "demo") == [OURS.filename]
    assert read(chain, OURS) == OURS.content
    assert read(chain, THEIRS) is None
    assert theirs.calls == []


# -- Any folder and any upstream

PROJECTS = ("acme", "acme-core", "demo", "other")
made = st.builds(
    lambda make, project, version: make(project, version),
    st.sampled_from([make_wheel, make_sdist]),
    st.sampled_from(PROJECTS),
    st.sampled_from(["1.0", "2.0a1", "3"]),
)
patterns = st.lists(st.sampled_from(["acme*", "Acme_Core", "demo", "*", "other"]), max_size=2)


@examples(150)
@given(st.lists(made, max_size=5), st.sets(st.sampled_from(PROJECTS)), st.lists(made, max_size=5), patterns)
def test_nobody_upstream_hears_of_a_private_or_local_name(own, claimed, others, local_only):
    """By no method, whatever is there and whatever is asked for."""
    ours, theirs = MemorySource(*own), MemorySource(*others)
    for project in claimed:
        ours.set_status(project, Status.ARCHIVED)
    chain = NameOwnershipSource(ours, theirs, local_only=local_only)

    answer(chain.project_list)
    for project in PROJECTS:
        names(chain, project)
        for file in (*own, *others):
            for sidecar in (None, *Sidecar):
                answer(chain.open_file, project, file.filename, sidecar)

    private = claimed | {file.project for file in own}
    asked = {question.project for question in theirs.calls}
    assert not asked & private
    if "*" in local_only:
        assert not asked
    assert not (asked & {"acme", "acme-core"} if "acme*" in local_only else set())
    assert "" not in asked


@examples(100)
@given(st.lists(made, max_size=5), st.lists(made, max_size=5))
def test_the_files_of_both_are_each_there_once(own, others):
    ours, theirs = MemorySource(*own), MemorySource(*others)
    chain = NameOwnershipSource(ours, theirs, merge_upstream=["*"])

    for project in PROJECTS:
        listed = names(chain, project) or []
        mine = {file.filename: file for file in own if file.project == project}
        yours = {file.filename: file for file in others if file.project == project}
        assert len({parse_filename(name, project).identity for name in listed}) == len(listed)
        assert set(listed) == set(mine) | set(yours)
        for name in listed:
            assert answer(chain.open_file, project, name).content == (mine.get(name) or yours[name]).content


# -- Running


@implementer(ISource, ILifecycle, IProblemSource)
class Running(MemorySource):
    """Writes down when it is started and stopped."""

    def __init__(self, name: str, log: list[str], problem: str = "") -> None:
        super().__init__()
        self.name, self.log, self.problem = name, log, problem

    def start(self) -> None:
        self.log.append(f"start {self.name}")

    def stop(self) -> Deferred[None]:
        self.log.append(f"stop {self.name}")
        return succeed(None)

    def problems(self) -> ProblemReport:
        problem = Problem(path=self.problem, reason="It is.", advice="Do.")
        return ProblemReport(problems=(problem,), complete=self.name != "unfinished")


def test_members_are_started_in_order_and_stopped_in_the_opposite_one_each_once():
    log: list[str] = []
    folder, first, last = (Running(name, log) for name in ("folder", "first", "last"))
    chain = NameOwnershipSource(folder, NameOwnershipSource(first, NameOwnershipSource(last, folder)))

    chain.start()
    answer(chain.stop)

    assert log == ["start folder", "start first", "start last", "stop last", "stop first", "stop folder"]


def test_problems_of_all_members_are_told_together():
    log: list[str] = []
    chain = NameOwnershipSource(
        Running("a", log, "z"), NameOwnershipSource(MemorySource(), Running("unfinished", log, "b"))
    )

    report = answer(chain.problems)

    assert [problem.path for problem in report.problems] == ["b", "z"]
    assert not report.complete
