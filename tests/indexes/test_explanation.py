"""Why a page is what it is: its files are the page's, and every other known file has one reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.at_once import answer
from tests.kit.copies import line_of, place, record
from tests.kit.folder_source import AtOnce, Folder
from tests.kit.properties import examples
from twisted_index.backends.folder.source import FolderSource
from twisted_index.backends.upstream.redirect import RedirectSource
from twisted_index.config.policy_entry import policy_entry
from twisted_index.config.settings import UpstreamPolicy
from twisted_index.errors import Found, Unavailable
from twisted_index.indexes.composite import explain
from twisted_index.indexes.name_ownership import NameOwnershipSource
from twisted_index.indexes.routing import RoutedSource, SourceRoute
from twisted_index.indexes.upstream_policy import PolicySource
from twisted_index.interfaces import Explanation, ISource
from twisted_index.simple.explanation import HiddenFile, Obstacle
from twisted_index.simple.model import Status
from twisted_index.testing import BuiltFile, MemorySource, make_sdist, make_wheel
from twisted_index.testing.memory_source import ADDED

ONE, TWO = make_wheel("demo", "1.0"), make_wheel("demo", "2.0")
OTHER_ONE = make_wheel("demo", "1.0", files={"demo/other.py": ""})
SAME_AS_ONE = make_wheel("demo", "1")
OLD = make_sdist("demo", "0.5")
MADE = (ONE, OTHER_ONE, SAME_AS_ONE, TWO, OLD)
DAY = 86_400


def why(source: ISource, project: str = "demo") -> Explanation:
    return answer(explain, source, project)  # type: ignore[no-any-return]


def hidden(source: ISource) -> dict[str, HiddenFile]:
    return {file.path or file.filename: file for file in why(source).hidden}


def says(source: ISource) -> list[str]:
    return [one.says for one in why(source).sources]


def policed(source: ISource, now: float = ADDED.timestamp() + DAY, **policy: object) -> PolicySource:
    return PolicySource(source, UpstreamPolicy(**policy), lambda: now)  # type: ignore[arg-type]


# -- Folders


def test_a_listed_file_has_no_reason_to_be_hidden(folder: Folder):
    ONE.write_to(folder.path / "demo")
    assert not why(folder.source).hidden
    assert why(folder.source).paths == {ONE.filename: f"demo/{ONE.filename}"}


def test_a_damaged_file_is_refused_with_the_reason_of_its_inspection(folder: Folder):
    path = ONE.write_to(folder.path / "demo")
    path.write_bytes(ONE.content[:-20])
    folder.later()
    found = hidden(folder.source)[f"demo/{ONE.filename}"]
    assert found.obstacle is Obstacle.REFUSED
    assert found.reason == folder.problems()[f"demo/{ONE.filename}"]
    assert found.version == "1.0"


def test_a_file_with_an_unusable_name_is_refused(folder: Folder):
    ONE.write_to(folder.path / "demo")
    (folder.path / "demo" / "demo-1.0.exe.whl").write_bytes(b"")
    assert hidden(folder.source)["demo/demo-1.0.exe.whl"].obstacle is Obstacle.REFUSED


def test_a_file_that_another_root_has_first_names_that_one(tmp_path: Path, serve: Callable[..., Folder]):
    for file, root in ((ONE, "first"), (OTHER_ONE, "second")):
        file.write_to(tmp_path / root / "demo")
    folder = serve(tmp_path / "first", tmp_path / "second")
    (found,) = why(folder.source).hidden
    assert found.obstacle is Obstacle.SHADOWED
    assert found.reason.startswith(f"demo/{ONE.filename} in folder first comes first and has other bytes")


def test_a_deleted_file_says_when_to_all_and_by_whom_to_operators(folder: Folder):
    TWO.write_to(folder.path / "demo")
    line = f"{ONE.sha256}  {ONE.size}  2026-11-01T10:00:00Z  {ONE.filename}  by alice: broken\n"
    (folder.path / "demo" / ".deleted").write_text(line)
    (found,) = why(folder.source).hidden
    assert (found.obstacle, found.version) == (Obstacle.DELETED, "1.0")
    assert found.reason == "It was deleted at 2026-11-01 10:00 UTC; its name stays taken."
    assert found.note == "by alice: broken"


def test_a_quarantine_hides_with_its_reason(folder: Folder):
    ONE.write_to(folder.path / "demo")
    (folder.path / "demo" / ".quarantined").write_text("malware")
    (found,) = why(folder.source).hidden
    assert found.obstacle is Obstacle.QUARANTINED
    assert "malware" in found.reason


@pytest.mark.parametrize("below", ["demo", "."])
def test_a_file_that_a_promotion_hides_names_it_also_if_the_project_is_nothing_else(
    folder: Folder, below: str
):
    ONE.write_to(folder.path / below)
    staged = folder.path / ".staged"
    staged.mkdir()
    (staged / "20261101-1.list").write_text(f"{ONE.filename}\n{ONE.filename}.asc\n{TWO.filename}\n")
    (folder.path / below / f"{ONE.filename}.asc").write_bytes(b"")
    found = why(folder.source)
    assert found.page is None
    assert [(file.path, file.obstacle) for file in found.hidden] == [
        (ONE.filename if below == "." else f"demo/{ONE.filename}", Obstacle.STAGED)
    ]
    assert "the promotion 20261101-1 shows it" in found.hidden[0].reason


def test_an_unreadable_root_is_the_error_of_the_page(tmp_path: Path, serve: Callable[..., Folder]):
    folder = serve(tmp_path / "missing")
    found = why(folder.source)
    assert isinstance(found.error, Unavailable)
    assert found.snapshot is None
    assert found.sources[0].says.startswith("may have it")


@pytest.mark.parametrize("name", ["demo-1.0.whl.part", "demo/.claimed", f"demo/{ONE.filename}.yanked"])
def test_the_claim_names_its_entry(folder: Folder, name: str):
    path = folder.path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    (found,) = why(folder.source).sources
    assert (found.claims, found.entry) == (True, name)


def test_a_copy_that_is_another_file_now_claims_and_is_named(folder: Folder):
    record(folder.path / "demo", line_of(ONE.filename, b"what was downloaded"))
    ONE.write_to(folder.path / "demo")
    (found,) = why(folder.source).sources
    assert (found.claims, found.entry) == (True, f"demo/{ONE.filename}")
    assert "differs from what was recorded as a copy" in found.says


# -- Upstreams


def test_a_claimed_name_is_not_asked_upstream_and_the_answer_names_the_owner(folder: Folder):
    ONE.write_to(folder.path / "demo")
    theirs = MemorySource(TWO)
    chain = NameOwnershipSource(folder.source, theirs)
    assert says(chain) == ["has 1 file of it", "was not asked, as the name is taken by folder packages"]
    assert theirs.calls == []


def test_a_local_name_is_not_asked_upstream_and_the_answer_names_the_pattern(folder: Folder):
    theirs = MemorySource(TWO)
    chain = NameOwnershipSource(folder.source, theirs, local_only=["acme-*", "de*"])
    assert says(chain)[1] == "was not asked, as local-only has the name by 'de*'"
    assert theirs.calls == []


def test_a_name_outside_upstream_only_is_not_asked():
    theirs = MemorySource(TWO)
    assert says(policed(theirs, upstream_only=("acme-*",))) == [
        "was not asked, as upstream-only does not have the name"
    ]
    assert theirs.calls == []


def test_a_denied_project_is_not_asked_and_the_answer_names_the_entry():
    theirs = MemorySource(TWO)
    (found,) = says(policed(theirs, upstream_deny=(policy_entry({"match": "demo", "reason": "malware"}),)))
    assert found == "was not asked: the name is denied by the entry 'demo' of upstream-deny: malware"
    assert theirs.calls == []


def test_a_denied_version_names_the_entry_and_its_end():
    until = datetime(2026, 12, 10, tzinfo=UTC)
    rules = policed(
        MemorySource(ONE, TWO), upstream_deny=(policy_entry({"match": "demo<2", "until": until}),)
    )
    found = hidden(rules)[ONE.filename]
    assert (found.obstacle, found.until) == (Obstacle.DENIED, until)
    assert "'demo<2'" in found.reason


def test_the_cool_down_says_until_when():
    found = hidden(policed(MemorySource(ONE), cooldown=7.0 * DAY))[ONE.filename]
    assert found.obstacle is Obstacle.COOLDOWN
    assert found.until == ADDED + timedelta(days=7)


def test_sdists_are_hidden_by_no_sdists():
    assert hidden(policed(MemorySource(OLD), no_sdists=True))[OLD.filename].obstacle is Obstacle.NO_SDISTS


def test_a_denied_copy_names_the_entry(folder: Folder):
    place(folder.path, ONE, TWO)
    rules = policed(MemorySource(TWO), upstream_deny=(policy_entry("demo<2"),))
    chain = NameOwnershipSource(
        folder.source, rules, visible_copies=rules.visible_copies, hidden_copy=rules.hidden_copy
    )
    found = why(chain)
    assert [file.filename for file in found.files] == [TWO.filename]
    assert found.copies == {TWO.filename}
    assert [(file.filename, file.obstacle) for file in found.hidden] == [(ONE.filename, Obstacle.DENIED)]


def test_an_upstream_that_is_away_is_the_error_of_the_page(folder: Folder):
    theirs = MemorySource()
    theirs.failure = Unavailable("It is down.")
    found = why(NameOwnershipSource(folder.source, theirs))
    assert found.error is theirs.failure
    assert found.sources[-1].says == "did not answer: It is down."


def test_a_redirect_is_the_answer_and_no_request(folder: Folder):
    found = why(NameOwnershipSource(folder.source, RedirectSource("https://user:secret@one.example/simple/")))
    assert isinstance(found.error, Found)
    assert found.sources[-1].name == "https://one.example"
    assert not found.sources[-1].asked


def test_a_route_says_which_sources_it_leaves_out(folder: Folder):
    theirs = MemorySource(ONE)
    routed = RoutedSource([SourceRoute(pattern="demo", source=theirs)], folder.source)
    assert [one.says for one in why(routed).sources] == [
        "has a page of it",
        "was not asked, as the route demo leads elsewhere",
    ]


# -- All together


def put(root: Path, file: BuiltFile, kind: str) -> None:
    folder = root / file.project
    folder.mkdir(exist_ok=True)
    if kind == "copy":
        record(folder, line_of(file.filename, file.content))
    if kind == "deleted":
        line = f"{file.sha256}  {file.size}  2026-11-01T10:00:00Z  {file.filename}  by alice\n"
        with (folder / ".deleted").open("a") as tombstones:
            tombstones.write(line)
    (folder / file.filename).write_bytes(file.content[:-20] if kind == "damaged" else file.content)


FILES = st.dictionaries(
    st.sampled_from(MADE), st.sampled_from(["copy", "own", "damaged", "deleted"]), max_size=4
)


@examples(100)
@given(
    first=FILES,
    second=FILES,
    marks=st.lists(st.sampled_from([".claimed", ".quarantined", "demo-3.0.zip"]), max_size=1),
    others=st.lists(st.sampled_from(MADE), max_size=4),
    status=st.sampled_from(Status),
    denied=st.lists(st.sampled_from(["demo", "demo<2", "demo==2.0"]), max_size=2),
    cooldown=st.sampled_from([0.0, 7.0 * DAY]),
    no_sdists=st.booleans(),
    lists=st.sampled_from([{}, {"local_only": ["demo"]}, {"merge_upstream": ["demo"]}]),
)
def test_listed_files_are_the_page_s_and_each_other_known_file_has_one_reason(
    tmp_path_factory: pytest.TempPathFactory,
    first: dict[BuiltFile, str],
    second: dict[BuiltFile, str],
    marks: list[str],
    others: list[BuiltFile],
    status: Status,
    denied: list[str],
    cooldown: float,
    no_sdists: bool,
    lists: dict[str, list[str]],
):
    roots = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    known: Counter[str] = Counter()
    for root, placed in zip(roots, (first, second), strict=True):
        by_name = {file.filename: (file, kind) for file, kind in placed.items()}
        for file, kind in by_name.values():
            put(root, file, kind)
        known.update(f"demo/{name}" for name in by_name)
    for mark in marks:
        (roots[0] / "demo").mkdir(exist_ok=True)
        (roots[0] / "demo" / mark).write_bytes(b"")
    known.update(f"demo/{mark}" for mark in marks if mark.endswith(".zip"))
    theirs = MemorySource(*others)
    if others:
        theirs.set_status("demo", status)
    upstream_files = (
        [file.filename for file in answer(theirs.project_page, "demo").value.files] if others else []
    )
    theirs.calls.clear()
    folders = FolderSource(*roots, reader=AtOnce(), cache_thread=AtOnce())
    rules = policed(
        theirs,
        upstream_deny=tuple(map(policy_entry, denied)),
        cooldown=cooldown,
        no_sdists=no_sdists,
    )
    chain = NameOwnershipSource(
        folders, rules, visible_copies=rules.visible_copies, hidden_copy=rules.hidden_copy, **lists
    )

    page = answer(chain.project_page, "demo").value
    asked = list(theirs.calls)
    theirs.calls.clear()
    found = why(chain)

    assert found.page is page or found.page == page
    assert {call.method for call in theirs.calls} == {call.method for call in asked}
    here = Counter(file.path for file in found.hidden if file.path)
    assert here + Counter(found.paths.values()) == known
    assert found.paths.keys() <= {file.filename for file in found.files}
    # A copy stands for the upstream's file if that may be seen; else it is listed for itself.
    seen = answer(rules.project_page, "demo").value if asked else None
    visible = {file.filename for file in (() if seen is None else seen.files)}
    theirs_listed = [
        file.filename
        for file in found.files
        if file.filename in visible and (file.filename not in found.paths or file.filename in found.copies)
    ]
    there = Counter(file.filename for file in found.hidden if not file.path)
    assert there + Counter(theirs_listed) == Counter(upstream_files if asked else ())
    answer(folders.stop)
