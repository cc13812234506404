"""How names match, and which may have been meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.properties import examples
from twisted_index.search.name_match import Match, Names, distance
from twisted_index.search.query import parse_query

NAMES = Names(
    ("apsw", "django", "django-rest", "numpy", "pillow", "python-dateutil", "requests", "requests-oauthlib")
)


def how(text: str) -> dict[str, Match]:
    return NAMES.matching(parse_query(text))


def test_the_exact_name_comes_before_those_that_begin_with_it():
    assert how("Requests") == {"requests": Match.NAME, "requests-oauthlib": Match.PREFIX}


def test_separators_do_not_matter():
    assert how("Pil_Low") == {"pillow": Match.SAME_LETTERS}
    assert how("pythondateutil") == {"python-dateutil": Match.SAME_LETTERS}


def test_a_word_of_a_name_comes_before_a_part_of_a_word():
    assert how("rest") == {"django-rest": Match.WORD}
    assert how("umpy") == {"numpy": Match.SUBSTRING}


def test_the_words_of_a_query_may_be_in_any_order():
    assert how("dateutil python") == {"python-dateutil": Match.SUBSTRING}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("requets", "requests"),
        ("nmpy", "numpy"),
        ("djnago", "django"),
        ("pilow", "pillow"),
        ("pasw", "apsw"),
        ("aspw", "apsw"),
        ("apws", "apsw"),
    ],
)
def test_a_typo_finds_the_name(text: str, name: str):
    assert NAMES.typos(parse_query(text))[0].name == name


def test_two_letters_are_too_few_for_a_typo():
    assert NAMES.typos(parse_query("np")) == []


words = st.text("abc-", min_size=1, max_size=9)


@given(st.sets(words, max_size=30), words)
@examples(300)
def test_no_near_name_is_missed(names: set[str], text: str):
    query = parse_query(text)
    wanted, limit = query.name, 2 if len(query.name) > 4 else 1
    swapped = {wanted[:at] + wanted[at : at + 2][::-1] + wanted[at + 2 :] for at in range(len(wanted))}
    distances = {name: 1 if name in swapped - {wanted} else whole_distance(wanted, name) for name in names}
    expected = sorted((apart, name) for name, apart in distances.items() if 0 < apart <= limit)
    assert list(map(tuple, Names(sorted(names)).typos(query))) == (expected if len(wanted) > 2 else [])


@given(words, words)
def test_a_distance_of_at_most_two_is_exact(one: str, other: str):
    assert distance(one, other) == min(whole_distance(one, other), 3)


@given(words, st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["", "a", "ab"])), max_size=2))
def test_two_edits_are_never_more_than_two(text: str, edits: list[tuple[int, str]]):
    changed = text
    for place, put in edits:
        changed = changed[:place] + put + changed[place + 1 :]
    assert distance(text, changed) == min(whole_distance(text, changed), 3)


def test_a_query_of_more_than_40_letters_has_no_typos():
    for letters, found in ((40, 1), (41, 0)):
        assert len(Names(("a" * (letters - 1) + "b",)).typos(parse_query("a" * letters))) == found


def test_of_very_many_alike_names_the_likeliest_are_compared(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("twisted_index.search.name_match._MOST_COMPARED", 10)
    names = Names(tuple(f"project-{number:03}" for number in range(100)))
    assert names.typos(parse_query("projetc-042"))[0].name == "project-042"


def whole_distance(one: str, other: str) -> int:
    """Levenshtein's distance by its definition."""
    if not one or not other:
        return len(one) + len(other)
    table = {(0, column): column for column in range(len(other) + 1)}
    table |= {(row, 0): row for row in range(len(one) + 1)}
    for row in range(1, len(one) + 1):
        for column in range(1, len(other) + 1):
            changed = table[row - 1, column - 1] + (one[row - 1] != other[column - 1])
            table[row, column] = min(table[row - 1, column] + 1, table[row, column - 1] + 1, changed)
    return table[len(one), len(other)]
