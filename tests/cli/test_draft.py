"""`twisted-index draft`: what it prints, and what it leaves."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.shelves import EXTRAS, OLD, WHEEL
from twisted_index.backends.folder.drafts import DraftFolder
from twisted_index.backends.folder.promotion import Promotion
from twisted_index.backends.folder.promotion_plan import IndexFolders, PromotionRequest
from twisted_index.backends.folder.promotion_record import Promotions
from twisted_index.cli import main
from twisted_index.indexes.scope import draft_digest

URLS = re.compile(
    r"The draft v1 ends at (\S+Z)\. Its URLs are shown only once:\n"
    r"  upload   (\S+/\+draft/(\S+)/legacy/)\n"
    r"  install  (\S+/\+draft/(\S+)/simple/)\n"
)


class Prod:
    """The index `prod`, and the command."""

    def __init__(self, folder: Path, capture: Any) -> None:
        self.root, self._capture = folder / "indexes" / "prod", capture
        OLD.write_to(self.root / "acme")
        (folder / "state").mkdir()

    def run(self, *words: str) -> tuple[int, str, str]:
        code = main([*words, "--indexes", "indexes", "--state", "state"])
        printed = self._capture.readouterr()
        return code, printed.out, printed.err

    def draft(self, command: str, *words: str) -> tuple[int, str, str]:
        return self.run("draft", command, "--index", "prod", *words)

    def create(self) -> Path:
        """Make the draft `v1`; return its folder."""
        found = URLS.fullmatch(self.draft("create", "v1", "--url", "https://example.org/pypi/")[1])
        assert found is not None
        assert found[2] == f"https://example.org/pypi/+prod/+draft/{found[3]}/legacy/"
        assert found[3] == found[5]
        return self.root / ".drafts" / draft_digest(found[3])

    def events(self) -> Iterator[tuple[str, str]]:
        for month in Path("state/keep/history").iterdir():
            for line in map(json.loads, month.read_text().splitlines()):
                yield line["action"], line["filename"] or line["detail"]

    def cut_off(self, path: Path) -> str:
        """Publish until the files are in their places, and hidden; return the ID."""
        folder = DraftFolder(os.fsencode(self.root.absolute()))
        draft = folder.find(path.name)
        target = IndexFolders(name="prod", roots=(os.fsencode(self.root.absolute()),))
        request = PromotionRequest(
            source=folder.folders(draft), target=target, releases=("acme==1.2",), by="alice", move=True
        )
        running = Promotion(request)
        running.examine()
        running.begin()
        for step in running.copies():
            step()
        running.place()
        running.close()
        return running.id


@pytest.fixture
def prod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Prod:
    monkeypatch.chdir(tmp_path)
    return Prod(tmp_path, capsys)


def test_its_two_urls_are_printed_once(prod: Prod):
    path = prod.create()
    assert path.is_dir()
    code, out, err = prod.draft("list")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"v1  until \S+Z  by \S+ \(console\)\n", out)


def test_a_draft_is_published_in_one_step_and_is_in_the_history(prod: Prod):
    path = prod.create()
    for made in (WHEEL, EXTRAS):
        made.write_to(path / made.project)
    code, out, err = prod.draft("publish", "v1")
    assert (code, err) == (0, "")
    assert out == f"+ {EXTRAS.filename}\n+ {WHEEL.filename}\nPublished 2 files.\n"
    assert (prod.root / "acme" / WHEEL.filename).read_bytes() == WHEEL.content
    assert not path.exists()
    assert set(prod.events()) == {
        ("draft-create", "v1"),
        ("promote", WHEEL.filename),
        ("promote", EXTRAS.filename),
        ("draft-remove", "v1: published"),
    }
    assert prod.draft("publish", "v1") == (1, "", "twisted-index: There is no draft v1.\n")


def test_everything_that_is_in_the_way_is_printed(prod: Prod):
    path = prod.create()
    for made in (WHEEL, EXTRAS):
        made.write_to(path / made.project)
    (prod.root / "acme" / WHEEL.filename).write_bytes(b"other")
    (path / "acme-extras" / EXTRAS.filename).write_bytes(b"no wheel")
    code, out, err = prod.draft("publish", "v1")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 4
    assert WHEEL.filename in err
    assert EXTRAS.filename in err
    assert err.endswith("Nothing was published.\n")
    assert (path / "acme" / WHEEL.filename).exists()


@pytest.mark.parametrize("name", ["", "-x", "a/b", "..", "ü", "a b", "x" * 200])
def test_a_draft_has_a_plain_name(prod: Prod, name: str):
    code, _, err = prod.draft("create", "--", name)
    assert code != 0
    assert err
    assert not (prod.root / ".drafts").exists()


@pytest.mark.parametrize("how", ["--resume", "--cancel"])
def test_promote_leaves_a_publication_to_draft_publish(prod: Prod, how: str):
    path = prod.create()
    WHEEL.write_to(path / "acme")
    promotion = prod.cut_off(path)
    code, out, err = prod.run("promote", how, promotion)
    assert (code, out) == (64, "")
    assert "It publishes the draft v1: complete it by `twisted-index draft publish v1`." in err
    assert Promotions(os.fsencode(prod.root.absolute())).ids() == (promotion,)


def test_what_was_cut_off_is_not_cancelled_and_publishing_completes_it(prod: Prod):
    path = prod.create()
    WHEEL.write_to(path / "acme")
    prod.cut_off(path)
    code, _, err = prod.draft("cancel", "v1")
    assert code == 1
    assert "complete it by `twisted-index draft publish v1`" in err
    assert prod.draft("publish", "v1") == (0, f"+ {WHEEL.filename}\nPublished 1 file.\n", "")
    assert (prod.root / "acme" / WHEEL.filename).read_bytes() == WHEEL.content
    assert not path.exists()


def test_a_draft_is_kept_for_what_cannot_be_published(prod: Prod):
    path = prod.create()
    WHEEL.write_to(path / "acme")
    (path / "acme" / "notes.txt").write_text("mine")
    code, out, _ = prod.draft("publish", "v1")
    assert code == 0
    assert out.endswith("The draft v1 is kept, as it has notes.txt besides.\n")
    assert (path / "acme" / "notes.txt").exists()


def test_other_commands_do_not_look_into_drafts(prod: Prod, capsys: pytest.CaptureFixture[str]):
    path = prod.create()
    (path / "acme").mkdir()
    (path / "acme" / WHEEL.filename).write_bytes(b"no wheel")
    assert main(["check", "--path", "indexes/prod", "--state", "state"]) == 0
    assert main(["export", "--path", "indexes/prod", "--state", "state", "out"]) == 0
    capsys.readouterr()
    assert not list(Path("out").rglob(WHEEL.filename))
    assert not list(Path("out").rglob(".drafts*"))
