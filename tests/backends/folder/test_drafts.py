"""The drafts of a folder: made, found by their tokens, published in one step, and gone when they end."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.kit.shelves import EXTRAS, OLD, SDIST, WHEEL, digests, visible
from twisted_index.backends.folder.blocking_store import BlockingStore
from twisted_index.backends.folder.drafts import DraftFolder, digest_of_source
from twisted_index.backends.folder.promotion import Promotion, carry_out, resume
from twisted_index.backends.folder.promotion_plan import IndexFolders, PromotionRequest
from twisted_index.errors import Conflict, NotFound, PromotionRefused
from twisted_index.indexes.scope import draft_digest, new_draft_token
from twisted_index.interfaces import Draft

from .cutting import cut_after

NOW = datetime(2027, 1, 1, tzinfo=UTC)
RELEASES = ("acme==1.2", "acme-extras==1.2")


class Drafts:
    """An index with an older release, and its drafts, at a time that stands still."""

    def __init__(self, root: Path) -> None:
        self.root, self.now = root, NOW
        OLD.write_to(root / "acme")
        self.folder = DraftFolder(os.fsencode(root), now=lambda: self.now)

    def create(self, name: str = "v1", *, days: int = 7) -> Draft:
        end = self.now + timedelta(days=days)
        draft = Draft(name=name, digest=draft_digest(new_draft_token()), by="alice", expires=end)
        self.folder.create(draft)
        return draft

    def filled(self) -> Draft:
        draft = self.create()
        for made in (WHEEL, SDIST, EXTRAS):
            made.write_to(self.path(draft) / made.project)
        return draft

    def path(self, draft: Draft) -> Path:
        return Path(os.fsdecode(self.folder.path_of(draft.digest)))

    def promotion(self, draft: Draft) -> Promotion:
        record = self.folder.publication(draft)
        request = PromotionRequest(
            source=self.folder.folders(draft),
            target=IndexFolders(name="prod", roots=(os.fsencode(self.root),)),
            releases=RELEASES,
            by="alice",
            yanked=True,
            move=True,
        )
        return Promotion(request, record=record)

    def publish(self, draft: Draft) -> None:
        promotion = self.promotion(draft)
        begun = self.folder.publication(draft) is not None
        (resume if begun else carry_out)(promotion)
        self.folder.remove(draft, taken=[made.filename for made in (WHEEL, SDIST, EXTRAS)])

    def names(self) -> list[str]:
        return [draft.name for draft in self.folder.drafts()]

    def served(self) -> dict[str, str]:
        return visible(self.root)


@pytest.fixture
def drafts(tmp_path: Path) -> Drafts:
    return Drafts(tmp_path / "prod")


def test_a_draft_is_found_by_the_digest_of_its_token_alone(drafts: Drafts):
    token = new_draft_token()
    draft = Draft(name="v1", digest=draft_digest(token), by="alice", expires=NOW + timedelta(days=1))
    drafts.folder.create(draft)
    assert drafts.folder.find(draft_digest(token)) == draft
    for wrong in (token, "v1", "", "..", draft.digest.upper(), draft.digest[:-1], "0" * 64):
        with pytest.raises(NotFound, match=r"^There is no such draft, or it has ended\.$"):
            drafts.folder.find(wrong)


def test_its_token_is_in_no_file(drafts: Drafts):
    token = new_draft_token()
    drafts.folder.create(replace(drafts.create("other"), name="v1", digest=draft_digest(token)))
    written = b"".join(path.read_bytes() for path in drafts.root.rglob("*") if path.is_file())
    assert token.encode() not in written
    assert not any(token in path.name for path in drafts.root.rglob("*"))


def test_two_drafts_have_two_names(drafts: Drafts):
    drafts.create()
    with pytest.raises(Conflict, match=r"^There is a draft v1 already"):
        drafts.create()
    assert drafts.names() == ["v1"]


def test_what_has_ended_is_gone_at_once_and_its_folder_with_the_next_change(drafts: Drafts):
    old = drafts.filled()
    drafts.now += timedelta(days=7)
    with pytest.raises(NotFound, match="or it has ended"):
        drafts.folder.find(old.digest)
    assert drafts.names() == []
    assert drafts.path(old).exists()
    new = drafts.create()
    assert [path.name for path in (drafts.root / ".drafts").iterdir()] == [new.digest]


def test_a_cancelled_draft_is_gone_with_its_files(drafts: Drafts):
    draft = drafts.filled()
    drafts.folder.remove(draft)
    assert not list((drafts.root / ".drafts").iterdir())
    with pytest.raises(NotFound):
        drafts.folder.find(draft.digest)


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\xff",
        b"null",
        b"[]",
        b"[" * 10_000,
        b'{"name": 1, "by": "alice", "expires": "2027-02-01T00:00:00Z"}',
        b'{"name": "v1", "by": "alice", "expires": "soon"}',
        b'{"name": "v1", "by": "alice", "expires": 5}',
        b'{"name": "v1", "by": "alice"}',
    ],
)
def test_a_record_that_says_nothing_is_of_no_draft(drafts: Drafts, record: bytes):
    draft = drafts.create("good")
    path = drafts.root / ".drafts" / ("a" * 64)
    path.mkdir()
    (path / ".draft").write_bytes(record)
    assert drafts.names() == ["good"]
    with pytest.raises(NotFound):
        drafts.folder.find("a" * 64)
    assert drafts.folder.find(draft.digest) == draft


def test_what_people_put_there_is_of_no_draft(drafts: Drafts):
    draft = drafts.create("good")
    folder = drafts.root / ".drafts"
    (folder / "notes.txt").write_text("mine")
    (folder / ("b" * 64)).write_text("a file")
    os.mkfifo(folder / ("c" * 64))
    (folder / ("d" * 64)).mkdir()
    os.mkfifo(folder / ("d" * 64) / ".draft")
    (folder / ("e" * 64)).mkdir()
    (folder / ("e" * 64) / ".draft").symlink_to(folder / draft.digest / ".draft")
    (folder / os.fsdecode(b"\xff\xfe")).mkdir()
    assert drafts.names() == ["good"]
    drafts.create("other")
    drafts.folder.remove(draft)
    assert drafts.names() == ["other"]
    assert (folder / "notes.txt").exists()


def test_a_deleted_file_leaves_its_name_to_others_in_a_draft(drafts: Drafts):
    draft = drafts.filled()
    path = drafts.path(draft)
    store = BlockingStore([os.fsencode(path)], draft=draft)
    store.delete("acme", WHEEL.filename, by="alice")
    assert not (path / "acme" / WHEEL.filename).exists()
    assert not (path / "acme" / ".deleted").exists()


def test_all_of_a_draft_is_published_in_one_step_and_it_is_gone(drafts: Drafts):
    draft = drafts.filled()
    (drafts.path(draft) / "acme" / f"{WHEEL.filename}.yanked").write_text("not yet")
    drafts.publish(draft)
    assert drafts.served() == digests(OLD, WHEEL, SDIST, EXTRAS)
    assert (drafts.root / "acme" / f"{WHEEL.filename}.yanked").read_text() == "not yet"
    assert not list((drafts.root / ".drafts").iterdir())


def test_a_draft_is_kept_for_files_that_came_while_it_was_published(drafts: Drafts):
    draft = drafts.filled()
    carry_out(drafts.promotion(draft))
    OLD.write_to(drafts.path(draft) / "acme")
    assert drafts.folder.remove(draft, taken=[WHEEL.filename, SDIST.filename, EXTRAS.filename]) == [
        OLD.filename
    ]
    assert drafts.names() == ["v1"]


def test_what_is_in_the_way_of_one_file_is_in_the_way_of_all(drafts: Drafts):
    draft = drafts.filled()
    (drafts.root / "acme" / WHEEL.filename).write_bytes(b"other")
    was = drafts.served()
    with pytest.raises(PromotionRefused) as caught:
        drafts.publish(draft)
    assert [refusal.name for refusal in caught.value.refusals] == [WHEEL.filename]
    assert drafts.served() == was
    assert (drafts.path(draft) / "acme" / WHEEL.filename).read_bytes() == WHEEL.content


def cut_off(drafts: Drafts, calls: int) -> tuple[Draft, int]:
    draft = drafts.filled()
    with cut_after(calls) as made:
        drafts.publish(draft)
    return draft, made()


def test_wherever_it_is_cut_off_publishing_it_again_completes_it(tmp_path: Path):
    reached = set()
    for calls in range(0, 1000, 5):
        drafts = Drafts(tmp_path / str(calls))
        draft, made = cut_off(drafts, calls)
        # Nothing of it shows, or all.
        assert drafts.served() in (digests(OLD), digests(OLD, WHEEL, SDIST, EXTRAS))
        reached.add(len(drafts.served()))
        with contextlib.suppress(NotFound):
            if drafts.served() == digests(OLD):
                drafts.publish(drafts.folder.named("v1"))
            elif drafts.folder.publication(draft) is not None:
                drafts.publish(draft)
        assert drafts.served() == digests(OLD, WHEEL, SDIST, EXTRAS)
        # What was cut off before it wrote anything down is an empty folder, as of any promotion.
        assert [*drafts.root.glob(".staged/*.list"), *drafts.root.glob(".staged/*/*")] == []
        if made < calls:
            break
    assert reached == {1, 4}


def half_published(drafts: Drafts) -> Draft:
    """Move the files of a draft into their places, where they are hidden, and no further."""
    draft = drafts.filled()
    promotion = drafts.promotion(draft)
    promotion.examine()
    promotion.begin()
    for step in promotion.copies():
        step()
    promotion.place()
    promotion.close()
    return draft


def test_what_is_half_published_is_neither_cancelled_nor_does_it_end(drafts: Drafts):
    draft = half_published(drafts)
    with pytest.raises(Conflict, match=r"complete it by `twisted-index draft publish v1`"):
        drafts.folder.remove(draft)
    drafts.now += timedelta(days=70)
    drafts.create("other")
    assert [(each.name, each.is_cut_off) for each in drafts.folder.drafts()] == [
        ("other", False),
        ("v1", True),
    ]
    drafts.publish(drafts.folder.named("v1"))
    assert drafts.served() == digests(OLD, WHEEL, SDIST, EXTRAS)
    assert drafts.names() == ["other"]


def test_a_publication_is_found_by_the_digest_though_the_draft_has_another_name(drafts: Drafts):
    draft = half_published(drafts)
    record = drafts.path(draft) / ".draft"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"name": "v2"}))
    renamed = drafts.folder.named("v2")
    found = drafts.folder.publication(renamed)
    assert found is not None
    assert digest_of_source(found.source) == draft.digest
    drafts.publish(renamed)
    assert drafts.served() == digests(OLD, WHEEL, SDIST, EXTRAS)
