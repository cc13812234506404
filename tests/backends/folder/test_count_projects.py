"""How many projects there are, known from one listing of the roots."""

from __future__ import annotations

import pytest

from tests.kit.at_once import answer
from twisted_index.errors import UnreadableFolder


def test_names_of_several_roots_are_counted_once(tmp_path, serve):
    for name in ("a/Foo", "a/bar", "b"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "b" / "foo-1.0.tar.gz").touch()
    (tmp_path / "b" / "baz-1.0.tar.gz").touch()

    assert answer(serve(tmp_path / "a", tmp_path / "b").source.count_projects) == 3


def test_a_root_that_cannot_be_read_is_an_error(tmp_path, serve):
    with pytest.raises(UnreadableFolder):
        answer(serve(tmp_path / "absent").source.count_projects)
