"""Two indexes in a folder, and promotions from one to the other."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from twisted_index.backends.folder.promotion import Promotion, carry_out
from twisted_index.backends.folder.promotion_plan import IndexFolders, PromotionRequest
from twisted_index.backends.folder.promotion_record import Promotions
from twisted_index.backends.layout.promotion_record import PromotionResult
from twisted_index.errors import PromotionRefused
from twisted_index.testing import BuiltFile, make_sdist, make_wheel

WHEEL, SDIST = make_wheel("acme", "1.2"), make_sdist("acme", "1.2")
EXTRAS = make_wheel("acme-extras", "1.2")
OLD = make_wheel("acme", "1.1")
OTHER_BYTES = make_wheel("acme", "1.2", files={"acme/other.py": ""})
BOTH = ("acme==1.2", "acme-extras==1.2")


class Shelves:
    """Two indexes in a folder: staging, which has two projects, and prod, which has an older release."""

    def __init__(self, folder: Path) -> None:
        self.staging, self.prod = folder / "staging", folder / "prod"
        for made in (WHEEL, SDIST, EXTRAS):
            made.write_to(self.staging / made.project)
        OLD.write_to(self.prod / "acme")

    def request(self, *releases: str, **options: Any) -> PromotionRequest:
        return PromotionRequest(
            source=IndexFolders(name="staging", roots=(os.fsencode(self.staging),)),
            target=IndexFolders(name="prod", roots=(os.fsencode(self.prod),)),
            releases=releases or BOTH,
            by="alice",
            **options,
        )

    def promote(self, *releases: str, **options: Any) -> PromotionResult:
        return carry_out(Promotion(self.request(*releases, **options)))

    def refusals(self, *releases: str, **options: Any) -> dict[str, str]:
        before = tree(self.prod)
        with pytest.raises(PromotionRefused) as caught:
            self.promote(*releases, **options)
        assert tree(self.prod) == before
        return {refusal.name: refusal.reason for refusal in caught.value.refusals}

    def unfinished(self) -> list[str]:
        return list(Promotions(os.fsencode(self.prod)).ids())

    def reopen(self) -> Promotion:
        """What another process finds of the one promotion that was cut off."""
        (promotion,) = self.unfinished()
        record = Promotions(os.fsencode(self.prod)).record(promotion)
        assert record is not None
        return Promotion(self.request(*record.releases, move=record.move), record=record)


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def hidden(root: Path) -> set[str]:
    return {name for path in root.glob(".staged/*.list") for name in path.read_text().split("\n")}


def visible(root: Path) -> dict[str, str]:
    """What a server would list: the digest of each file that no list hides."""
    names = hidden(root)
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
        and not {".staged", ".drafts"} & {*path.parts}
        and path.name not in names
        and path.suffix in (".whl", ".gz")
    }


def digests(*made: BuiltFile) -> dict[str, str]:
    return {each.filename: each.sha256 for each in made}
