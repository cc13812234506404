"""Releases of several projects come from one index into another: all in one step, or none."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kit.shelves import (
    BOTH,
    EXTRAS,
    OLD,
    OTHER_BYTES,
    SDIST,
    WHEEL,
    Shelves,
    digests,
    hidden,
    tree,
    visible,
)
from twisted_index.backends.folder import promotion, promotion_plan
from twisted_index.backends.folder.blocking_store import BlockingStore
from twisted_index.backends.folder.promotion import Promotion, carry_out
from twisted_index.backends.folder.promotion_plan import (
    Examination,
    IndexFolders,
    PromotionRequest,
)
from twisted_index.backends.layout.promotion_rules import releases_in
from twisted_index.errors import BadRequest, Conflict, PromotionRefused
from twisted_index.files import verified_copy
from twisted_index.files.locks import LockHeld
from twisted_index.simple.model import ProjectStatus, Status
from twisted_index.testing import make_wheel


@pytest.fixture
def shelves(tmp_path: Path) -> Shelves:
    return Shelves(tmp_path)


# -- What comes


def test_all_files_of_all_releases_come(shelves: Shelves):
    result = shelves.promote()
    assert visible(shelves.prod) == digests(OLD, WHEEL, SDIST, EXTRAS)
    assert {file.name: file.sha256 for file in result.published} == digests(WHEEL, SDIST, EXTRAS)
    assert visible(shelves.staging) == digests(WHEEL, SDIST, EXTRAS)


def test_they_are_copies_with_one_time_of_publication(shelves: Shelves):
    for path in shelves.staging.rglob("*.whl"):
        os.utime(path, (0, 0))
    moment = 1_700_000_000_000_000_000
    carry_out(Promotion(shelves.request(), now=lambda: moment))
    files = [shelves.prod / made.project / made.filename for made in (WHEEL, SDIST, EXTRAS)]
    assert {path.stat().st_mtime_ns for path in files} == {moment}
    for path in files:
        assert path.stat().st_mtime_ns <= path.stat().st_ctime_ns
        assert path.stat().st_nlink == 1
        assert path.stat().st_ino != (shelves.staging / path.relative_to(shelves.prod)).stat().st_ino


def test_the_empty_folder_of_promotions_is_all_that_is_left(shelves: Shelves):
    shelves.promote()
    assert list((shelves.prod / ".staged").iterdir()) == []
    assert not (shelves.prod / ".uploads").exists()


def test_signatures_and_attestations_come_along(shelves: Shelves):
    beside = shelves.staging / "acme" / WHEEL.filename
    Path(f"{beside}.asc").write_text("signed")
    Path(f"{beside}.provenance").write_text("{}")
    shelves.promote()
    assert (shelves.prod / "acme" / f"{WHEEL.filename}.asc").read_text() == "signed"
    assert (shelves.prod / "acme" / f"{WHEEL.filename}.provenance").read_text() == "{}"


def test_a_yanked_file_comes_with_its_yank_if_that_is_wanted(shelves: Shelves):
    (shelves.staging / "acme" / f"{WHEEL.filename}.yanked").write_text("broken\n")
    assert "yanked: broken" in shelves.refusals()[WHEEL.filename]
    shelves.promote(yanked=True)
    assert (shelves.prod / "acme" / f"{WHEEL.filename}.yanked").read_text() == "broken\n"


def test_into_a_flat_folder_files_come_flat(tmp_path: Path):
    shelves = Shelves(tmp_path)
    shutil.rmtree(shelves.prod / "acme")
    OLD.write_to(shelves.prod)
    shelves.promote()
    assert (shelves.prod / WHEEL.filename).exists()
    assert (shelves.prod / "acme-extras" / EXTRAS.filename).exists()


def test_the_same_bytes_again_are_success(shelves: Shelves):
    shelves.promote()
    before = tree(shelves.prod)
    result = shelves.promote()
    assert (result.published, set(result.present)) == ((), set(digests(WHEEL, SDIST, EXTRAS)))
    assert tree(shelves.prod) == before


def test_what_is_there_stays_as_it_was(shelves: Shelves):
    path = WHEEL.write_to(shelves.prod / "acme")
    os.utime(path, (1, 1))
    result = shelves.promote()
    assert result.present == (WHEEL.filename,)
    assert path.stat().st_mtime == 1


def test_moved_files_leave_the_source(shelves: Shelves):
    (shelves.staging / "acme" / f"{WHEEL.filename}.asc").write_text("signed")
    inode = (shelves.staging / "acme" / WHEEL.filename).stat().st_ino
    shelves.promote(move=True)
    assert visible(shelves.prod) == digests(OLD, WHEEL, SDIST, EXTRAS)
    assert (shelves.prod / "acme" / WHEEL.filename).stat().st_ino == inode
    assert tree(shelves.staging) == {}


def test_to_another_file_system_moved_files_are_copied(shelves: Shelves, monkeypatch: pytest.MonkeyPatch):
    link = os.link

    def across(source: Any, target: Any, **options: Any) -> None:
        if str(shelves.staging) in os.fsdecode(source):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        link(source, target, **options)

    monkeypatch.setattr(verified_copy.os, "link", across)
    shelves.promote(move=True)
    assert visible(shelves.prod) == digests(OLD, WHEEL, SDIST, EXTRAS)
    assert tree(shelves.staging) == {}


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, None])
def test_where_the_kernel_does_not_copy_it_is_done_by_hand(
    shelves: Shelves, monkeypatch: pytest.MonkeyPatch, number: int | None
):
    def copy(*_arguments: object) -> int:
        if number is None:
            return 0
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "copy_file_range", copy, raising=False)
    shelves.promote()
    assert visible(shelves.prod) == digests(OLD, WHEEL, SDIST, EXTRAS)


def test_what_is_known_is_told_under_the_new_names_before_it_shows(shelves: Shelves):
    told: dict[str, tuple[str, int]] = {}

    def remember(seeds: Any) -> None:
        assert visible(shelves.prod) == digests(OLD)
        told.update({os.fsdecode(path): (facts.sha256, key.mtime_ns) for path, key, facts in seeds})

    carry_out(Promotion(shelves.request()), remember)
    assert told == {
        str(path): (made.sha256, path.stat().st_mtime_ns)
        for made in (WHEEL, SDIST, EXTRAS)
        for path in [shelves.prod / made.project / made.filename]
    }


def test_what_is_known_is_not_read_again(shelves: Shelves, monkeypatch: pytest.MonkeyPatch):
    known: dict[bytes, Any] = {}
    carry_out(
        Promotion(shelves.request()), lambda seeds: known.update({path: facts for path, _key, facts in seeds})
    )
    third = shelves.prod.parent / "third"
    third.mkdir()
    request = PromotionRequest(
        source=shelves.request().target,
        target=IndexFolders(name="third", roots=(os.fsencode(third),)),
        releases=BOTH,
        by="alice",
    )

    def inspect(*_arguments: object, **_options: object) -> None:
        raise AssertionError("nothing is to be inspected")

    monkeypatch.setattr(promotion, "inspect", inspect)
    monkeypatch.setattr(promotion_plan, "inspect", inspect)
    carry_out(
        Promotion(request, examination=Examination(request, facts_of=lambda entry: known.get(entry.path)))
    )
    assert visible(third) == digests(WHEEL, SDIST, EXTRAS)


# -- What is in the way


def test_every_refusal_is_told_at_once(shelves: Shelves):
    OTHER_BYTES.write_to(shelves.prod / "acme")
    (shelves.staging / "acme" / SDIST.filename).write_bytes(b"damaged")
    (shelves.prod / "acme-extras").mkdir()
    (shelves.prod / "acme-extras" / ".archived").touch()
    reasons = shelves.refusals(*BOTH, "missing==1.0")
    assert reasons[WHEEL.filename] == "Prod has other bytes under this name."
    assert reasons[SDIST.filename]
    assert reasons["acme-extras"] == "It is archived in prod and accepts no new files."
    assert reasons["missing==1.0"] == "There is no such release in the folder of staging."
    assert len(reasons) == 4


def test_rules_of_the_server_count(shelves: Shelves):
    request = shelves.request()
    examination = Examination(
        request, routed_away=lambda project: project == "acme", may_create=lambda _project: False
    )
    with pytest.raises(PromotionRefused) as caught:
        carry_out(Promotion(request, examination=examination))
    assert [refusal.name for refusal in caught.value.refusals] == ["acme", "acme-extras"]
    assert "new in prod" in caught.value.refusals[1].reason


def test_of_a_deleted_file_the_same_bytes_may_return_and_others_not(shelves: Shelves):
    store = BlockingStore([os.fsencode(shelves.prod)])
    shelves.promote()
    for made in (WHEEL, EXTRAS):
        store.delete(made.project, made.filename, by="alice")
    shelves.promote()
    assert visible(shelves.prod) == digests(OLD, WHEEL, SDIST, EXTRAS)
    assert not list(shelves.prod.rglob(".deleted"))
    store.delete("acme", WHEEL.filename, by="alice")
    OTHER_BYTES.write_to(shelves.staging / "acme")
    assert "was deleted" in shelves.refusals()[WHEEL.filename]


def test_a_quarantined_project_is_not_promoted(shelves: Shelves):
    BlockingStore([os.fsencode(shelves.staging)]).set_status(
        "acme", ProjectStatus(status=Status.QUARANTINED), by="alice"
    )
    assert list(shelves.refusals()) == ["acme==1.2"]


def test_what_a_base_of_the_target_has_with_other_bytes_is_refused(shelves: Shelves, tmp_path: Path):
    OTHER_BYTES.write_to(tmp_path / "base" / "acme")
    request = shelves.request()
    roots = (*request.target.roots, os.fsencode(tmp_path / "base"))
    wider = PromotionRequest(
        source=request.source, target=IndexFolders(name="prod", roots=roots), releases=BOTH, by="alice"
    )
    with pytest.raises(PromotionRefused):
        carry_out(Promotion(wider))


def test_an_index_is_not_promoted_into_itself(shelves: Shelves):
    request = shelves.request()
    with pytest.raises(PromotionRefused):
        carry_out(
            Promotion(PromotionRequest(source=request.source, target=request.source, releases=BOTH, by="a"))
        )


def test_a_name_that_a_folder_has_is_taken(shelves: Shelves):
    (shelves.prod / "acme" / WHEEL.filename).mkdir()
    assert list(shelves.refusals()) == [WHEEL.filename]


def test_what_a_list_by_hand_hides_is_neither_promoted_nor_overwritten(shelves: Shelves):
    for root in (shelves.staging, shelves.prod):
        (root / ".staged").mkdir()
        (root / ".staged" / "mine.list").write_text(f"{WHEEL.filename}\n")
        assert list(shelves.refusals()) == [WHEEL.filename]
        (root / ".staged" / "mine.list").unlink()


@pytest.mark.parametrize("word", ["acme", "==1.2", "acme==", "../x==1", "acme==1 2", "acme >= 1"])
def test_a_word_that_is_no_release_is_a_bad_request(word: str):
    with pytest.raises(BadRequest):
        releases_in([word])


def test_releases_are_normalized_and_each_counts_once():
    assert releases_in(["Acme_Extras==1.2", "acme-extras == 1.2"]) == ("acme-extras==1.2",)


# -- What changes meanwhile


@pytest.mark.parametrize("move", [False, True])
@pytest.mark.parametrize("how", ["deleted", "rewritten", "yanked", "joined"])
def test_a_source_that_changes_meanwhile_stops_all(shelves: Shelves, how: str, move: bool):
    running = Promotion(shelves.request(move=move))
    running.examine()
    running.begin()
    for step in running.copies():
        step()
    path = shelves.staging / "acme" / WHEEL.filename
    if how == "deleted":
        path.unlink()
    elif how == "rewritten":
        path.write_bytes(OTHER_BYTES.content)
    elif how == "yanked":
        Path(f"{path}.yanked").touch()
    else:
        make_wheel("acme", "1.2", filename="acme-1.2-py2-none-any.whl").write_to(path.parent)
    with pytest.raises(PromotionRefused):
        running.place()
    running.abandon()
    running.close()
    assert visible(shelves.prod) == digests(OLD)
    assert shelves.unfinished() == []


def test_a_source_that_goes_before_it_is_copied_stops_all(shelves: Shelves):
    running = Promotion(shelves.request())
    running.examine()
    running.begin()
    shutil.rmtree(shelves.staging)
    for step in running.copies():
        step()
    with pytest.raises(PromotionRefused) as caught:
        running.place()
    assert {refusal.name for refusal in caught.value.refusals} == set(digests(WHEEL, SDIST, EXTRAS))
    running.abandon()
    running.close()


def test_of_two_at_once_with_equal_bytes_both_succeed(shelves: Shelves):
    first, second = Promotion(shelves.request()), Promotion(shelves.request())
    for running in (first, second):
        running.examine()
        running.begin()
        for step in running.copies():
            step()
    first.place()
    with pytest.raises(LockHeld):
        second.place()
    first.show()
    first.finish()
    first.close()
    second.place()
    second.show()
    second.finish()
    second.close()
    assert (len(first.result.published), len(second.result.published)) == (3, 0)
    assert set(second.result.present) == set(digests(WHEEL, SDIST, EXTRAS))
    assert shelves.unfinished() == []


def test_of_two_at_once_with_other_bytes_one_wins_and_the_other_changes_nothing(
    shelves: Shelves, tmp_path: Path
):
    OTHER_BYTES.write_to(tmp_path / "qa" / "acme")
    other = PromotionRequest(
        source=IndexFolders(name="qa", roots=(os.fsencode(tmp_path / "qa"),)),
        target=shelves.request().target,
        releases=("acme==1.2",),
        by="bob",
    )
    first, second = Promotion(shelves.request()), Promotion(other)
    for running in (first, second):
        running.examine()
        running.begin()
        for step in running.copies():
            step()
    first.place()
    first.show()
    with pytest.raises(PromotionRefused):
        second.place()
    second.abandon()
    first.finish()
    for running in (first, second):
        running.close()
    assert visible(shelves.prod) == digests(OLD, WHEEL, SDIST, EXTRAS)
    assert shelves.unfinished() == []


def test_a_file_that_a_hand_puts_under_a_name_meanwhile_is_not_replaced(shelves: Shelves):
    def run(step: Callable[[], object]) -> None:
        if (shelves.prod / ".staged").is_dir() and hidden(shelves.prod):
            path = shelves.prod / "acme" / WHEEL.filename
            if not path.exists():
                path.write_bytes(OTHER_BYTES.content)
        step()

    with pytest.raises(Conflict, match="by hand"):
        carry_out(Promotion(shelves.request(), run=run))
    assert visible(shelves.prod) == digests(OLD, OTHER_BYTES)
