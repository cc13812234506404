"""What the README and the documents beside it say of settings, links and modules is so."""

from __future__ import annotations

import re
import unittest
from pathlib import Path
from typing import Any

import pytest

from twisted_index.config import layers
from twisted_index.config.settings import Limits, Settings
from twisted_index.tap import Options

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
#: What config/layers.py can read, by name.
KNOWN = layers._settings("/")


def rows(text: str, cells: int) -> list[list[str]]:
    """The rows of tables with so many cells, that begin with a name."""
    found = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| `")
    ]
    return [row for row in found if len(row) == cells]


SETTINGS = rows(TEXT.partition("## Limits")[0], 4)
LIMITS = rows(TEXT.partition("## Limits")[2], 3)


def value_of(settings: Settings, field: str) -> object:
    part, _, name = field.rpartition(".")
    holder = settings.upstreams.policy if part == "policy" else getattr(settings, part) if part else settings
    return getattr(holder, name)


def test_every_setting_is_described_once():
    assert sorted(name.strip("`") for name, *_ in SETTINGS) == sorted(KNOWN)


def test_what_is_an_option_is_told():
    options = {name.rstrip("=") for name in Options().longOpt}
    told = {name.strip("`") for name, option, *_ in SETTINGS if option == "yes"}
    assert told == options & set(KNOWN)


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row[0])
def test_the_default_that_is_told_is_the_default(row: list[str]):
    name, _, default, _ = row
    setting = KNOWN[name.strip("`")]
    if default.startswith("`"):
        assert setting.parse(default.strip("`")) == value_of(Settings(), setting.place)
    elif default == "none" and name != "`config`":
        assert value_of(Settings(), setting.place) in (None, ())


def test_every_limit_is_described_with_its_default():
    told = {name.strip("`"): default.strip("`") for name, default, _ in LIMITS}
    assert sorted(told) == sorted(name.replace("_", "-") for name in Limits.__slots__)
    told.pop("max-connections")
    read = layers._limits({name: int(text) if text.isdigit() else text for name, text in told.items()})
    assert Limits(**read) == Limits()


def test_the_whole_file_can_be_read(tmp_path: Path):
    written = re.search(r"## A whole file\n\n```toml\n(.*?)```", TEXT, re.DOTALL)
    assert written
    (tmp_path / "index.toml").write_text(written[1], encoding="utf-8")
    given = {"config": str(tmp_path / "index.toml")}
    assert layers.load(given, environ={}, folder="/").limits.threads == 8


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", document.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        other = document.parent / name if name else document
        assert other.exists(), target
        headings = re.findall(r"^#+ (.*)$", other.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
        anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
        assert not anchor or anchor in anchors, target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_prose_is_wrapped_so_that_changes_can_be_read(document: Path):
    text = document.read_text(encoding="utf-8").partition("<!-- written by")[0]
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line for line in prose.splitlines() if not line.startswith(("|", "!["))]
    assert [line for line in lines if len(line) > 100] == []


def test_every_module_that_the_architecture_names_is_there():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:\w+/)*\w+\.py|(?:\w+/)+)`", text)
    assert len(named) > 40
    # Below the package, as the document says; what it says of the tests begins with `tests/`.
    roots = (ROOT, ROOT / "twisted_index")
    assert [name for name in named if not any((root / name).exists() for root in roots)] == []


def test_every_folder_has_its_place_in_the_architecture():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    folders = [path.parent.name for path in (ROOT / "twisted_index").glob("*/__init__.py")]
    assert [name for name in folders if f"`{name}/`" not in text] == []


def test_the_source_that_the_documents_show_keeps_its_contract():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "embedding.md").read_text(), re.DOTALL)
    shown: dict[str, Any] = {"__name__": "shown"}
    for block in blocks:
        if "class Nightly" in block or "class TestNightly" in block:
            exec(block, shown)
    suite = type("Shown", (shown["TestNightly"], unittest.TestCase), {})
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(suite).run(result)

    assert result.testsRun > 20
    assert [*result.errors, *result.failures] == []
