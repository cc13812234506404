"""Copies in a folder beside the upstream that they are of: the page of both, and its files."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.indexes.test_name_ownership import Slow
from tests.kit.at_once import answer
from tests.kit.copies import line_of, place, place_beside, record
from tests.kit.folder_source import AtOnce, Folder
from tests.kit.properties import examples
from twisted_index.backends.folder.source import FolderSource
from twisted_index.backends.upstream.redirect import RedirectSource
from twisted_index.config.policy_entry import policy_entry
from twisted_index.config.settings import UpstreamPolicy
from twisted_index.errors import (
    BadGateway,
    BadRequest,
    Forbidden,
    Found,
    LoopDetected,
    NotReady,
    OutOfResources,
    SimpleIndexError,
    Unavailable,
)
from twisted_index.indexes.name_ownership import NameOwnershipSource
from twisted_index.indexes.upstream_policy import PolicySource
from twisted_index.interfaces import ISource, StreamingContent
from twisted_index.simple.model import File, Sidecar, Status
from twisted_index.testing import BuiltFile, MemorySource, make_sdist, make_wheel

HERE = make_wheel("demo", "1.0")
THERE = make_wheel("demo", "2.0")
CHANGED = make_wheel("demo", "1.0", files={"demo/other.py": ""})
OLD = make_sdist("demo", "0.5")
DOWN = Unavailable("It is down.")


@pytest.fixture
def theirs() -> MemorySource:
    return MemorySource(HERE, THERE)


@pytest.fixture
def chain(folder: Folder, theirs: MemorySource) -> NameOwnershipSource:
    place(folder.path, HERE)
    return NameOwnershipSource(folder.source, theirs)


def files_of(source: ISource) -> dict[str, File] | None:
    page = answer(source.project_page, "demo").value
    return None if page is None else {file.filename: file for file in page.files}


def names(source: ISource) -> list[str]:
    return list(files_of(source) or ())


def read(source: ISource, file: BuiltFile | str, sidecar: Sidecar | None = None) -> bytes | None:
    filename = file if isinstance(file, str) else file.filename
    body = answer(source.open_file, "demo", filename, sidecar)
    if body is None or isinstance(body.content, bytes):
        return None if body is None else body.content
    assert not isinstance(body.content, StreamingContent)
    with body.content as opened:
        return opened.read()


def opened(source: MemorySource) -> set[tuple[str, Sidecar | None]]:
    return {(call.filename, call.sidecar) for call in source.calls if call.method == "open_file"}


# -- Both


def test_copies_do_not_hide_the_upstream_s_other_files(chain: NameOwnershipSource, theirs: MemorySource):
    assert names(chain) == [HERE.filename, THERE.filename]
    assert read(chain, HERE) == HERE.content
    assert read(chain, THERE) == THERE.content
    assert opened(theirs) == {(THERE.filename, None)}


def test_a_copy_is_listed_with_what_the_upstream_says_of_it_now(
    chain: NameOwnershipSource, theirs: MemorySource
):
    assert files_of(chain)[HERE.filename].yanked is None
    theirs.yank("demo", HERE.filename, "broken")
    assert answer(chain.project_page, "demo").value is answer(theirs.project_page, "demo").value
    assert read(chain, HERE) == HERE.content
    assert opened(theirs) == set()


def test_nothing_new_is_the_very_same_page(chain: NameOwnershipSource, folder: Folder):
    place(folder.path, OLD)
    assert names(chain) == [OLD.filename, HERE.filename, THERE.filename]
    assert answer(chain.project_page, "demo").value is answer(chain.project_page, "demo").value


def test_of_equal_files_the_upstream_s_is_there_if_the_copy_is_another(folder: Folder, theirs: MemorySource):
    place(folder.path, CHANGED)
    chain = NameOwnershipSource(folder.source, theirs)
    assert files_of(chain)[HERE.filename].hashes == {"sha256": HERE.sha256}
    assert read(chain, HERE) == HERE.content
    assert read(chain, HERE, Sidecar.METADATA) == HERE.metadata


def test_of_equal_files_in_two_spellings_the_upstream_s_is_there(folder: Folder, theirs: MemorySource):
    spelled = make_wheel("demo", "1.0", filename="Demo-1.0.0-py3-none-any.whl")
    place(folder.path, spelled)
    chain = NameOwnershipSource(folder.source, theirs)
    assert names(chain) == [HERE.filename, THERE.filename]
    assert read(chain, spelled) is None


def test_a_copy_without_a_digest_upstream_to_compare_is_not_opened(folder: Folder, theirs: MemorySource):
    place(folder.path, HERE)
    page = answer(theirs.project_page, "demo").value
    theirs._pages["demo"] = replace(page, files=tuple(replace(file, hashes={}) for file in page.files))
    chain = NameOwnershipSource(folder.source, theirs)
    assert read(chain, HERE) == HERE.content
    assert opened(theirs) == {(HERE.filename, None)}


def test_a_copy_that_the_upstream_no_longer_has_stays(
    chain: NameOwnershipSource, folder: Folder, theirs: MemorySource
):
    theirs.remove(HERE)
    assert names(chain) == [HERE.filename, THERE.filename]
    assert read(chain, HERE) == HERE.content
    theirs.remove(THERE)
    assert names(chain) == [HERE.filename]
    assert read(chain, THERE) is None
    folder.later()
    assert answer(chain.project_page, "demo").is_current()


def test_the_page_ends_with_either(chain: NameOwnershipSource, folder: Folder, theirs: MemorySource):
    page = answer(chain.project_page, "demo")
    theirs.add(OLD)
    assert not page.is_current()
    page = answer(chain.project_page, "demo")
    place(folder.path, make_sdist("demo", "3.0"))
    assert not page.is_current()


@pytest.mark.parametrize("sidecar", [Sidecar.SIGNATURE, Sidecar.PROVENANCE])
def test_a_sidecar_that_the_copy_lacks_is_the_upstream_s(
    chain: NameOwnershipSource, theirs: MemorySource, sidecar: Sidecar
):
    theirs.add(HERE, signature=b"theirs", provenance=b"theirs")
    assert read(chain, HERE, sidecar) == b"theirs"
    assert opened(theirs) == {(HERE.filename, sidecar)}


def test_a_sidecar_that_was_placed_is_there_without_the_upstream(
    chain: NameOwnershipSource, theirs: MemorySource, folder: Folder
):
    place_beside(folder.path / "demo", f"{HERE.filename}.provenance", b"placed")
    theirs.add(HERE, provenance=b"theirs")
    assert read(chain, HERE, Sidecar.PROVENANCE) == b"placed"
    assert read(chain, HERE, Sidecar.METADATA) == HERE.metadata
    assert opened(theirs) == set()


def test_a_status_that_was_placed_counts_with_the_upstream_s(
    chain: NameOwnershipSource, folder: Folder, theirs: MemorySource
):
    place_beside(folder.path / "demo", ".archived", b"")
    assert answer(chain.project_page, "demo").value.status.status is Status.ARCHIVED
    assert names(chain) == [HERE.filename, THERE.filename]
    theirs.set_status("demo", Status.QUARANTINED)
    assert names(chain) == []
    assert read(chain, HERE) is None
    assert read(chain, THERE) is None


def test_for_a_name_that_both_may_have_copies_are_copies(folder: Folder, theirs: MemorySource):
    place(folder.path, CHANGED)
    chain = NameOwnershipSource(folder.source, theirs, merge_upstream=["demo"])
    assert read(chain, HERE) == HERE.content
    OLD.write_to(folder.path / "demo")
    assert read(chain, CHANGED) == CHANGED.content


# -- Claims


def test_one_file_of_its_own_keeps_the_upstream_from_being_requested(
    chain: NameOwnershipSource, folder: Folder, theirs: MemorySource
):
    OLD.write_to(folder.path / "demo")
    assert names(chain) == [OLD.filename, HERE.filename]
    assert read(chain, HERE) == HERE.content
    assert read(chain, THERE) is None
    assert theirs.calls == []


def test_what_was_an_answer_of_both_ends_when_the_folder_claims_the_name(
    chain: NameOwnershipSource, folder: Folder
):
    page, body = answer(chain.project_page, "demo"), answer(chain.open_file, "demo", THERE.filename)
    OLD.write_to(folder.path / "demo")
    assert not page.is_current()
    assert body.reopen is None or body.reopen() is None
    assert read(chain, THERE) is None


def test_a_name_that_is_claimed_while_the_upstream_is_asked_is_the_folder_s(folder: Folder):
    place(folder.path, HERE)
    theirs = Slow(lambda: OLD.write_to(folder.path / "demo"), HERE, THERE)
    chain = NameOwnershipSource(folder.source, theirs)
    assert names(chain) == [OLD.filename, HERE.filename]
    (folder.path / "demo" / OLD.filename).unlink()
    assert read(chain, THERE) is None


def test_a_name_that_is_claimed_while_a_file_of_the_upstream_is_opened_is_the_folder_s(folder: Folder):
    place(folder.path, HERE)
    theirs = Slow(lambda: None, HERE, THERE)
    chain = NameOwnershipSource(folder.source, theirs)
    assert read(chain, THERE) == THERE.content
    theirs.meanwhile = lambda: opened(theirs) and OLD.write_to(folder.path / "demo")
    theirs.calls.clear()
    assert read(chain, THERE) is None
    assert opened(theirs) == {(THERE.filename, None)}


def test_a_local_name_is_served_alone(folder: Folder, theirs: MemorySource):
    place(folder.path, HERE)
    chain = NameOwnershipSource(folder.source, theirs, local_only=["demo"])
    assert names(chain) == [HERE.filename]
    assert read(chain, HERE) == HERE.content
    assert read(chain, THERE) is None
    assert theirs.calls == []


def test_a_folder_that_cannot_be_read_is_an_error_though_it_has_copies(
    chain: NameOwnershipSource, folder: Folder, theirs: MemorySource
):
    folder.path.rename(folder.path.parent / "away")
    for question in (names, lambda source: read(source, HERE), lambda source: read(source, THERE)):
        with pytest.raises(Unavailable):
            question(chain)
    assert theirs.calls == []


# -- An upstream that is away


@pytest.mark.parametrize("failure", [DOWN, BadGateway("?"), LoopDetected("?"), NotReady("It is slow.")])
def test_while_the_upstream_is_away_copies_are_there_alone_and_it_is_requested_each_time(
    chain: NameOwnershipSource, theirs: MemorySource, failure: SimpleIndexError
):
    theirs.failure = failure
    for _ in range(2):
        theirs.calls.clear()
        page = answer(chain.project_page, "demo")
        assert [file.filename for file in page.value.files] == [HERE.filename]
        assert not page.is_current()
        assert page.cache_status == "fwd=miss; detail=copies-alone"
        assert theirs.calls
    assert read(chain, HERE) == HERE.content
    assert read(chain, HERE, Sidecar.METADATA) == HERE.metadata
    with pytest.raises(type(failure)):
        read(chain, THERE)
    theirs.failure = None
    assert names(chain) == [HERE.filename, THERE.filename]


@pytest.mark.parametrize("failure", [OutOfResources("?"), Forbidden("?"), BadRequest("?")])
def test_other_errors_are_errors(chain: NameOwnershipSource, theirs: MemorySource, failure: SimpleIndexError):
    theirs.failure = failure
    with pytest.raises(type(failure)):
        names(chain)
    with pytest.raises(type(failure)):
        read(chain, HERE)


def test_without_a_copy_to_serve_an_upstream_that_is_away_is_an_error(folder: Folder, theirs: MemorySource):
    place_beside(folder.path / "demo", ".archived", b"")
    chain = NameOwnershipSource(folder.source, theirs)
    assert names(chain) == [HERE.filename, THERE.filename]
    theirs.failure = DOWN
    with pytest.raises(Unavailable):
        names(chain)


# -- Policy


def denying(folder: Folder, theirs: MemorySource, *entries: str, **policy: Any) -> NameOwnershipSource:
    denials = tuple(map(policy_entry, entries))
    upstream = PolicySource(theirs, UpstreamPolicy(upstream_deny=denials, **policy), time.time)
    return NameOwnershipSource(folder.source, upstream, visible_copies=upstream.visible_copies)


def test_a_denied_project_has_no_copies_either(folder: Folder, theirs: MemorySource):
    place(folder.path, HERE)
    chain = denying(folder, theirs, "demo")
    page = answer(chain.project_page, "demo")
    assert page.value is None
    assert "denied by upstream-deny" in page.absence
    assert read(chain, HERE) is None
    assert theirs.calls == []


@pytest.mark.parametrize("failure", [None, DOWN])
def test_a_denied_version_has_no_copies_either(
    folder: Folder, theirs: MemorySource, failure: SimpleIndexError | None
):
    place(folder.path, HERE, OLD)
    chain = denying(folder, theirs, "demo==1.0")
    theirs.failure = failure
    assert HERE.filename not in names(chain)
    assert OLD.filename in names(chain)
    if failure is None:
        assert read(chain, HERE) is None


def test_if_all_copies_are_denied_an_upstream_that_is_away_is_an_error(folder: Folder, theirs: MemorySource):
    place(folder.path, HERE)
    chain = denying(folder, theirs, "demo==1.0")
    theirs.failure = DOWN
    with pytest.raises(Unavailable):
        names(chain)


def test_names_that_are_not_requested_upstream_are_served_alone(folder: Folder, theirs: MemorySource):
    place(folder.path, HERE)
    chain = denying(folder, theirs, upstream_only=("other",))
    assert names(chain) == [HERE.filename]
    assert read(chain, HERE) == HERE.content
    assert theirs.calls == []


def test_a_cool_down_does_not_hide_what_was_placed(folder: Folder, theirs: MemorySource):
    place(folder.path, OLD)
    chain = denying(folder, theirs, cooldown=1e9)
    assert names(chain) == [OLD.filename]
    assert read(chain, OLD) == OLD.content
    assert read(chain, THERE) is None


def test_a_client_is_redirected_to_the_page_that_has_all_files(folder: Folder):
    place(folder.path, HERE)
    chain = NameOwnershipSource(folder.source, RedirectSource("https://example.org/simple/"))
    with pytest.raises(Found):
        names(chain)
    assert read(chain, HERE) is None
    OLD.write_to(folder.path / "demo")
    assert names(chain) == [OLD.filename, HERE.filename]
    assert read(chain, HERE) == HERE.content


# -- Any folder and any upstream

MADE = (HERE, CHANGED, THERE, OLD, make_sdist("demo", "1.0"))
DIGESTS = {file.content: file.sha256 for file in MADE}
FAILURES = (None, DOWN, BadGateway("?"), LoopDetected("?"), Forbidden("?"))


def outcome(question: Callable[..., Any], *args: Any) -> Any:
    """Call something; return its result, or the error."""
    try:
        return question(*args)
    except SimpleIndexError as error:
        return error


def put(root: Path, file: BuiltFile, kind: str) -> None:
    """Put a file into a folder: as a copy, unrecorded, or as a copy that is cut off."""
    folder = root / file.project
    folder.mkdir(exist_ok=True)
    if kind != "own":
        record(folder, line_of(file.filename, file.content))
    (folder / file.filename).write_bytes(file.content[:-20] if kind == "damaged" else file.content)


@examples(150)
@given(
    placed=st.dictionaries(st.sampled_from(MADE), st.sampled_from(["copy", "own", "damaged"]), max_size=4),
    others=st.lists(st.sampled_from(MADE), max_size=4),
    status=st.sampled_from(Status),
    failure=st.sampled_from(FAILURES),
    merged=st.booleans(),
)
def test_an_own_file_keeps_the_upstream_away_and_files_are_those_of_the_page(
    tmp_path_factory: pytest.TempPathFactory,
    placed: dict[BuiltFile, str],
    others: list[BuiltFile],
    status: Status,
    failure: SimpleIndexError | None,
    merged: bool,
):
    root = tmp_path_factory.mktemp("root")
    by_name = {file.filename: (file, kind) for file, kind in placed.items()}
    for file, kind in by_name.values():
        put(root, file, kind)
    theirs = MemorySource(*others)
    if others:
        theirs.set_status("demo", status)
    theirs.failure = failure
    source = FolderSource(root, reader=AtOnce(), cache_thread=AtOnce())
    chain = NameOwnershipSource(source, theirs, merge_upstream=["demo"] if merged else [])

    listed = outcome(files_of, chain)
    for file in MADE:
        for sidecar in (None, Sidecar.METADATA):
            content = outcome(read, chain, file, sidecar)
            if listed is failure and failure is not None:
                assert content is failure
            elif listed is None or file.filename not in listed:
                assert content in (None, failure)
            elif sidecar is None:
                assert DIGESTS[content] == listed[file.filename].hashes["sha256"]
            else:
                assert (content is None) is (listed[file.filename].core_metadata is None)
    kinds = {kind for _file, kind in by_name.values()}
    if kinds & {"own", "damaged"} and not merged:
        assert theirs.calls == []
    answer(source.stop)
