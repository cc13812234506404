"""The result of a search is what a plain reading of its rules gives, of the readable names alone."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tests.kit.properties import examples
from twisted_index.search.name_match import Names
from twisted_index.search.query import Query, parse_query
from twisted_index.search.results import candidates
from twisted_index.search.row import ProjectRow
from twisted_index.search.row_store import RowStore

WORDS = ["ab", "abc", "abd", "bc", "tool", "tools", "fast", "web"]
WEIGHTS = (8.0, 4.0, 2.0)

words = st.sampled_from(WORDS)
names = st.lists(words, min_size=1, max_size=3).map("-".join)
texts = st.lists(words, max_size=5).map(" ".join)
rows = st.builds(
    ProjectRow,
    name=names,
    summary=texts,
    keywords=texts,
    import_names=st.sets(words.map(str.title), max_size=2).map(lambda found: tuple(sorted(found))),
    requires=st.sets(names, max_size=2).map(lambda found: tuple(sorted(found))),
)
typed = st.one_of(words, words.map(str.upper), st.text("abcdt", min_size=3, max_size=5), names)
terms = st.one_of(
    typed,
    texts.map('"{}"'.format),
    words.map("module:{}".format),
    names.map("requires:{}".format),
)
queries = st.lists(terms, min_size=1, max_size=3).map(" ".join)


@given(st.lists(rows, max_size=12, unique_by=lambda row: row.name), queries, st.data())
@examples(400)
def test_a_search_finds_what_the_rules_say(projects: list[ProjectRow], text: str, data: st.DataObject):
    readable = data.draw(st.sets(st.sampled_from(sorted(row.name for row in projects) or ["-"])))
    store = RowStore()
    for row in projects:
        store.put(row, None)
    query = parse_query(text)
    listed = Names(sorted(row.name for row in projects))
    assert candidates(store, query, listed).readable(readable) == reference(projects, readable, query)


def reference(
    projects: Sequence[ProjectRow], readable: set[str], query: Query
) -> tuple[list[str], str | None]:
    rows = [row for row in projects if row.name in readable and is_within(row, query)]
    by_name = sorted((how, row.name) for row in rows if (how := named(row, query)) is not None)
    limited = query.modules or query.requires
    limit = 2 if len(query.name) > 4 else 1
    typos = []
    if not by_name and not limited and len(query.name) > 2:
        distances = [(levenshtein(query.name, row.name), row.name) for row in rows]
        typos = [name for distance, name in sorted(distances) if distance <= limit]
    by_text = [row.name for row in sorted(rows, key=lambda row: (-score(row, query, projects), row.name))]
    if query.terms or not limited:
        by_text = [name for name in by_text if has_all(next(r for r in rows if r.name == name), query)]
    else:
        by_text.sort()
    found = list(dict.fromkeys([*(name for _how, name in by_name), *typos, *by_text]))
    return found, typos[0] if typos else None


def is_within(row: ProjectRow, query: Query) -> bool:
    modules = {module.lower() for module in row.import_names}
    return modules >= set(query.modules) and set(row.requires) >= set(query.requires)


def named(row: ProjectRow, query: Query) -> int | None:
    name, wanted = row.name, query.name
    if not wanted:
        return None
    tests = [
        name == wanted,
        name.replace("-", "") == wanted.replace("-", ""),
        any(module.lower() in query.imported for module in row.import_names),
        name.startswith(wanted),
        bool(query.beginning)
        and any(module.lower().startswith(query.beginning) for module in row.import_names),
        f"-{wanted}-" in f"-{name}-",
        wanted in name or all(word in name for word in wanted.split("-")),
    ]
    return next((how for how, is_so in enumerate(tests) if is_so), None)


def levenshtein(one: str, other: str) -> int:
    line = list(range(len(other) + 1))
    for letter in one:
        last, line = line, [line[0] + 1]
        for column, against in enumerate(other):
            line.append(min(line[-1] + 1, last[column + 1] + 1, last[column] + (letter != against)))
    return line[-1]


def tokens(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def occurrences(row: ProjectRow, number: int, query: Query) -> list[int]:
    """How often a term is in the name, the summary and the keywords."""
    phrase = tokens(query.terms[number])
    last = number == len(query.terms) - 1 and not query.whole and len(query.terms[number]) > 1
    counts = []
    for text in (row.name, row.summary, row.keywords):
        found = tokens(text)
        windows = [found[at : at + len(phrase)] for at in range(len(found) - len(phrase) + 1)]
        counts.append(
            sum(
                window[:-1] == phrase[:-1]
                and (window[-1].startswith(phrase[-1]) if last else window[-1] == phrase[-1])
                for window in windows
            )
        )
    return counts


def has_all(row: ProjectRow, query: Query) -> bool:
    return bool(query.terms) and all(
        any(occurrences(row, number, query)) for number in range(len(query.terms))
    )


def score(row: ProjectRow, query: Query, projects: Sequence[ProjectRow]) -> float:
    """BM25 as SQLite documents it, over all projects."""
    lengths = {
        each.name: sum(map(len, map(tokens, (each.name, each.summary, each.keywords)))) for each in projects
    }
    average = sum(lengths.values()) / len(projects)
    total = 0.0
    for number in range(len(query.terms)):
        having = sum(any(occurrences(each, number, query)) for each in projects)
        idf = math.log((len(projects) - having + 0.5) / (having + 0.5))
        frequency = sum(
            weight * count for weight, count in zip(WEIGHTS, occurrences(row, number, query), strict=True)
        )
        length = 1.2 * (1 - 0.75 + 0.75 * lengths[row.name] / average)
        total += max(idf, 1e-6) * frequency * 2.2 / (frequency + length)
    return total
