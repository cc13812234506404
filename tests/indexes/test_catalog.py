"""Which indexes there are, and what their lines are made of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.kit.at_once import answer
from twisted_index.errors import NotFound, Unavailable
from twisted_index.indexes.catalog import IndexCatalog
from twisted_index.indexes.index_line import IndexLines
from twisted_index.testing import SynchronousRunner

NO_NAMES = ("..", ".", "", "a/b", "a\0b", "at", "draft", "simple", "-a", "a-", ".hidden", "ü", "a" * 101)


@pytest.fixture
def catalog(tmp_path: Path) -> IndexCatalog:
    return IndexCatalog(str(tmp_path))


def make(folder: Path, **bases: str) -> IndexLines:
    """Make indexes with the given bases, each separated by blanks."""
    for name, names in bases.items():
        (folder / name).mkdir(exist_ok=True)
        (folder / name / ".index.toml").write_text(f"bases = {names.split()}")
    return IndexLines(IndexCatalog(str(folder)))


def test_each_subfolder_is_an_index_from_the_next_look_on(tmp_path: Path, catalog: IndexCatalog):
    assert catalog.names() == ()
    (tmp_path / "staging").mkdir()
    (tmp_path / "pr-7").mkdir()
    (tmp_path / "file").touch()
    assert catalog.names() == ("pr-7", "staging")
    assert catalog.path("pr-7") == os.fsencode(tmp_path / "pr-7")
    (tmp_path / "pr-7").rmdir()
    with pytest.raises(NotFound):
        catalog.path("pr-7")


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_that_no_index_can_have_leads_nowhere(tmp_path: Path, catalog: IndexCatalog, name: str):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").mkdir()
    for odd in ("at", "draft", "simple", "-a", "a-", ".hidden", "ü"):
        (tmp_path / odd).mkdir()
    with pytest.raises(NotFound):
        catalog.path(name)


def test_names_are_compared_letter_for_letter(tmp_path: Path, catalog: IndexCatalog):
    (tmp_path / "prod").mkdir()
    with pytest.raises(NotFound):
        catalog.path("PROD")


def test_a_folder_with_another_name_is_a_problem(tmp_path: Path, catalog: IndexCatalog):
    (tmp_path / "pull request").mkdir()
    (tmp_path / ".trash").mkdir()
    assert [problem.path for problem in catalog.problems()] == ["pull request/"]


def test_a_link_to_a_folder_is_an_index_and_one_that_dangles_is_unavailable(tmp_path: Path):
    folder = tmp_path / "indexes"
    folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "away").symlink_to(tmp_path / "mount")
    lines = IndexLines(IndexCatalog(str(folder)))
    assert lines.line("linked")[0].path == os.fsencode(folder / "linked")
    with pytest.raises(Unavailable, match="The folder of the index away cannot be read"):
        lines.line("away")


def test_a_folder_of_indexes_that_is_away_is_unavailable_until_it_is_back(tmp_path: Path):
    catalog = IndexCatalog(str(tmp_path / "indexes"))
    with pytest.raises(Unavailable, match="The folder of indexes cannot be read right now"):
        catalog.names()
    (tmp_path / "indexes" / "dev").mkdir(parents=True)
    assert catalog.names() == ("dev",)


def test_a_line_holds_the_folders_and_settings_of_all_that_is_inherited(tmp_path: Path):
    lines = make(tmp_path, dev="staging prod", staging="prod", prod="")
    assert [member.name for member in lines.line("dev")] == ["dev", "staging", "prod"]
    assert [member.path for member in lines.line("dev")] == [
        os.fsencode(tmp_path / name) for name in ("dev", "staging", "prod")
    ]


def test_a_line_is_equal_while_nothing_changes_and_another_when_a_base_does(tmp_path: Path):
    lines = make(tmp_path, dev="staging", staging="", prod="")
    before = lines.line("dev")
    assert lines.line("dev") == before
    make(tmp_path, staging="prod")
    assert [member.name for member in lines.line("dev")] == ["dev", "staging", "prod"]


def test_a_base_that_is_not_there_is_unavailable_and_named(tmp_path: Path):
    lines = make(tmp_path, dev="prod")
    with pytest.raises(Unavailable, match=r"^dev inherits prod, and there is no such index\.$"):
        lines.line("dev")


def test_a_base_whose_settings_are_broken_is_named(tmp_path: Path):
    lines = make(tmp_path, dev="prod", prod="")
    (tmp_path / "prod" / ".index.toml").write_text("[")
    with pytest.raises(Unavailable, match="The settings of the index prod cannot be used"):
        lines.line("dev")


def test_an_index_that_is_removed_and_made_anew_has_none_of_its_old_settings(tmp_path: Path):
    lines = make(tmp_path, dev="prod", prod="")
    lines.line("dev")
    (tmp_path / "dev" / ".index.toml").unlink()
    (tmp_path / "dev").rmdir()
    with pytest.raises(NotFound):
        lines.line("dev")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / ".index.toml").write_text("[")
    with pytest.raises(Unavailable):
        lines.line("dev")


def test_a_survey_finds_the_settings_of_every_index_and_says_which_are_unknown(tmp_path: Path):
    lines = make(tmp_path, dev="prod")
    (tmp_path / "plain").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / ".index.toml").write_text("[")
    found = dict(answer(lines.survey, SynchronousRunner()))
    assert found["broken"] is None
    assert found["dev"] is not None
    assert found["dev"].settings.bases == ("prod",)
    assert found["plain"] is not None
    assert found["plain"].settings.bases == ()
