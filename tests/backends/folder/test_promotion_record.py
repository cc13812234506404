"""What a promotion has written down lies where others may write: it is held against what it must be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from twisted_index.backends.folder.promotion_record import Promotions
from twisted_index.backends.layout.promotion_record import PromotionRecord, StagedFile
from twisted_index.errors import Unavailable

FILE = StagedFile(
    project="acme",
    name="acme-1.2-py3-none-any.whl",
    sha256="0" * 64,
    size=3,
    metadata_sha256=None,
    requires_python=None,
    folder="acme",
)
RECORD = PromotionRecord(
    id="one", source="staging", target="prod", releases=("acme==1.2",), by="alice", moment=5, files=(FILE,)
)


def test_a_record_is_read_as_it_was_written():
    assert PromotionRecord.from_bytes(RECORD.to_bytes()) == RECORD


def test_a_release_may_be_spelled_in_any_way():
    record = replace(RECORD, releases=("acme==1.2.0",))
    assert PromotionRecord.from_bytes(record.to_bytes()) == record


@pytest.mark.parametrize(
    "wrong",
    [
        {"releases": 5},
        {"releases": None},
        {"releases": [5]},
        {"releases": ["acme==1.3", "other==1.2"]},
        {"moment": 1 << 63},
        {"moment": "now"},
        {"files": 5},
        {"files": [{"project": "acme"}]},
        {"by": None},
        {"more": "than is known"},
    ],
    ids=str,
)
def test_a_record_of_other_values_is_none(wrong: dict[str, Any]):
    with pytest.raises(ValueError, match="It is no record of a promotion"):
        PromotionRecord.from_bytes(json.dumps(json.loads(RECORD.to_bytes()) | wrong).encode())


@pytest.mark.parametrize(
    "wrong",
    [{"sidecars": 5}, {"sidecars": [".other"]}, {"deleted": 5}, {"folder": "../out"}, {"name": "../a.whl"}],
    ids=str,
)
def test_a_record_of_what_is_no_file_of_the_project_is_none(wrong: dict[str, Any]):
    cells = json.loads(RECORD.to_bytes())
    cells["files"] = [cells["files"][0] | wrong]
    with pytest.raises(ValueError, match="It is no record of a promotion"):
        PromotionRecord.from_bytes(json.dumps(cells).encode())


def test_a_record_that_is_none_makes_its_promotion_unavailable(tmp_path: Path):
    folder = tmp_path / ".staged" / "one"
    folder.mkdir(parents=True)
    (folder / "promotion.json").write_text('{"files": [], "releases": 5}')
    with pytest.raises(Unavailable, match="cannot be read"):
        Promotions(bytes(tmp_path)).record("one")
