"""What people type: every text is a query."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.properties import examples
from twisted_index.search.query import MAX_QUERY, MAX_TERMS, Query, parse_query
from twisted_index.search.row import ProjectRow
from twisted_index.search.row_store import RowStore


def test_words_are_terms_and_one_name():
    assert parse_query("Scikit_Learn tools") == Query(
        terms=("scikit_learn", "tools"), name="scikit-learn-tools"
    )


def test_a_single_word_may_be_a_module_inside_what_is_imported():
    assert parse_query("PIL.Image").imported == ("pil.image", "pil")


def test_quotes_keep_words_together_and_need_not_be_closed():
    assert parse_query('fast "array computing').terms == ("fast", "array computing")
    assert parse_query('"array computing"').whole


def test_fields_limit_what_is_found():
    query = parse_query("module:Yaml requires:Num_Py parser")
    assert (query.modules, query.requires, query.terms) == (("yaml",), ("num-py",), ("parser",))


def test_only_the_beginning_of_a_long_query_counts():
    assert len(parse_query("x" * 10_000).name) == MAX_QUERY
    assert len(parse_query("a " * 90).terms) == MAX_TERMS


@pytest.mark.parametrize(
    "text", ["", " ", '"', '""', "***", "NEAR(", "AND", "OR NOT", "-", "\0\x1b", "a\ud800b"]
)
def test_no_query_is_an_error_of_the_store(text: str):
    store = RowStore()
    store.put(ProjectRow(name="demo", summary="and or not near"), 1)
    query = parse_query(text)
    assert set(store.matching(query)) <= {"demo"}
    assert store.importing(query.imported) == {}


@given(st.text(max_size=300))
@examples(300)
def test_any_text_can_be_asked_for(text: str):
    store = RowStore()
    store.put(ProjectRow(name="demo", summary="a demo"), 1)
    query = parse_query(text)
    for column in ("summary", "name", "keywords"):
        assert set(store.matching(query)) <= {"demo"}, column


def test_words_of_the_query_language_of_sqlite_are_words():
    store = RowStore()
    store.put(ProjectRow(name="one", summary="salt and pepper"), 1)
    store.put(ProjectRow(name="two", summary="salt pepper"), 1)
    assert store.matching(parse_query("salt AND pepper")) == ["one"]
    assert store.matching(parse_query("summary:salt")) == []
