"""How many projects and misnamed files there are, known from one listing of the roots."""

from __future__ import annotations

import pytest

from tests.kit.at_once import answer
from twisted_index.errors import UnreadableFolder


def test_names_of_several_roots_are_counted_once(tmp_path, serve):
    for name in ("a/Foo", "a/bar", "b"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "b" / "foo-1.0.tar.gz").touch()
    (tmp_path / "b" / "baz-1.0.tar.gz").touch()

    assert answer(serve(tmp_path / "a", tmp_path / "b").source.count) == (3, 0)


def test_files_whose_names_keep_them_out_are_counted(tmp_path, serve):
    left_out = ("foo-1.0-py3-none-any (1).whl", "setup-1.0.whl")
    for name in (*left_out, "foo-1.0.tar.gz", "notes.txt", "foo-2.0.tar.gz.part"):
        (tmp_path / name).touch()

    _projects, misnamed = answer(serve(tmp_path).source.count)
    assert misnamed == len(left_out)


def test_a_root_that_cannot_be_read_is_an_error(tmp_path, serve):
    with pytest.raises(UnreadableFolder):
        answer(serve(tmp_path / "absent").source.count)
