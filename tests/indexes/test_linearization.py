"""The line of an index: Python's own order of classes, and what is said where there is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.properties import examples
from twisted_index.errors import Unavailable
from twisted_index.indexes.linearization import MAX_LINE, linearize


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    """Indexes whose bases come before them, as those of classes do; a base may be named twice."""
    graph: dict[str, tuple[str, ...]] = {}
    for number in range(draw(st.integers(1, 9))):
        earlier = sorted(graph)
        bases = st.lists(st.sampled_from(earlier), max_size=4) if earlier else st.just([])
        graph[f"i{number}"] = tuple(draw(bases))
    return graph


def mro(graph: dict[str, tuple[str, ...]], name: str) -> tuple[str, ...] | None:
    """The order that Python gives to classes with these bases; None where it refuses."""
    classes: dict[str, type] = {}

    def made(one: str) -> type:
        if one not in classes:
            classes[one] = type(one, tuple(map(made, graph[one])), {})
        return classes[one]

    try:
        return tuple(one.__name__ for one in made(name).__mro__[:-1])
    except TypeError:
        return None


def line(graph: dict[str, tuple[str, ...]], name: str) -> tuple[str, ...] | None:
    try:
        return linearize(name, graph.__getitem__)
    except Unavailable:
        return None


@examples(1000)
@given(graphs())
def test_the_line_is_the_order_that_python_gives_to_classes(graph: dict[str, tuple[str, ...]]):
    assert {name: line(graph, name) for name in graph} == {name: mro(graph, name) for name in graph}


@pytest.mark.parametrize(
    ("graph", "sentence"),
    [
        ({"dev": ("dev",)}, "dev names itself among its bases."),
        (
            {"dev": ("staging",), "staging": ("dev",)},
            "staging names dev among its bases, but dev inherits staging.",
        ),
        (
            {"dev": ("prod", "staging"), "staging": ("prod",), "prod": ()},
            "dev names prod before staging, but staging inherits prod.",
        ),
        (
            {"dev": ("x", "y"), "x": ("a", "b"), "y": ("b", "a"), "a": (), "b": ()},
            "dev cannot inherit b and a: among its bases and theirs, b is before a and a before b.",
        ),
        ({"dev": ("prod", "prod"), "prod": ()}, "dev names prod twice among its bases."),
    ],
)
def test_what_has_no_line_is_told_with_the_two_that_do_not_fit(
    graph: dict[str, tuple[str, ...]], sentence: str
):
    with pytest.raises(Unavailable) as refused:
        linearize("dev", graph.__getitem__)
    assert refused.value.message == sentence


def test_bases_that_contradict_each_other_in_a_ring_are_told_by_two_of_them():
    graph = {"a": (), "b": (), "c": (), "x": ("a", "b"), "y": ("b", "c"), "z": ("c", "a")}
    graph["dev"] = ("x", "y", "z")
    with pytest.raises(Unavailable, match=r"^dev cannot inherit a and b: .* about their order\.$"):
        linearize("dev", graph.__getitem__)


def test_a_line_that_leads_on_and_on_ends_with_a_sentence():
    with pytest.raises(Unavailable, match=f"more than {MAX_LINE} indexes"):
        linearize("0", lambda name: (str(int(name) + 1),))
