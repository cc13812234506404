"""Why a page of an index is what it is: its bases, their upstreams, and names that others reserve."""

from __future__ import annotations

from collections.abc import Callable

from tests.kit.at_once import answer
from tests.kit.named_indexes import PARTNER, PUBLIC, Indexes, upstream_settings
from twisted_index.config.policy_entry import policy_entry
from twisted_index.config.settings import NamedUpstream, UpstreamPolicy
from twisted_index.errors import Unavailable
from twisted_index.indexes.composite import explain
from twisted_index.indexes.scope import Scope
from twisted_index.indexes.why import Asker, Why, answer_why
from twisted_index.interfaces import Explanation
from twisted_index.simple.explanation import Obstacle, SourceKind

EVERYTHING = Asker()


def found(indexes: Indexes, index: str, project: str = "acme") -> Explanation:
    explanation: Explanation = answer(explain, indexes.find(index).source, project)
    return explanation


def why(indexes: Indexes, index: str, asker: Asker = EVERYTHING) -> Why:
    return answer_why(found(indexes, index), "acme", "", index, asker)


def sources(answered: Why) -> list[tuple[str, str | None, str]]:
    return [(one.name, one.index, one.says) for one in answered.sources]


def test_every_folder_of_the_line_is_asked_and_the_owner_keeps_its_upstreams_away(indexes: Indexes):
    indexes.make("prod", "upstream = 'public'", "acme")
    indexes.make("dev", "bases = 'prod'\nupstream = 'partner'")
    answered = why(indexes, "dev")
    assert sources(answered) == [
        ("index dev", "dev", "has no file of it"),
        ("index prod", "prod", "has 1 file of it"),
        ("a source", None, "was not asked, as the name is taken by index prod"),
        ("a source", "prod", "was not asked, as the name is taken by index prod"),
    ]
    assert [(line.filename, line.index) for line in answered.lines] == [("acme-1.0-py3-none-any.whl", "prod")]
    assert all(upstream.asked == [] for upstream in indexes.upstreams.values())


def test_the_first_upstream_that_has_it_answers_and_the_others_are_not_asked(indexes: Indexes):
    indexes.make("prod", "upstream = 'public'")
    indexes.make("dev", "bases = 'prod'\nupstream = 'partner'")
    answered = why(indexes, "dev")
    assert sources(answered)[2:] == [
        ("a source", None, "has a page of it"),
        ("a source", "prod", "was not asked, as an earlier upstream has it"),
    ]
    assert indexes.upstreams[PUBLIC.urls[0]].asked == []


def test_a_file_of_an_inherited_upstream_is_of_the_index_that_names_it(indexes: Indexes):
    indexes.make("prod", "upstream = 'public'")
    indexes.make("dev", "bases = 'prod'")
    (line,) = why(indexes, "dev").lines
    assert (line.filename, line.index) == ("acme-999-py3-none-any.whl", "prod")


def test_what_a_policy_hides_names_the_index_of_the_policy(make_indexes: Callable[..., Indexes]):
    denial = UpstreamPolicy(upstream_deny=(policy_entry("acme>2"),))
    denied = NamedUpstream(name="public", urls=PUBLIC.urls, policy=denial)
    indexes = make_indexes(upstream_settings(denied))
    indexes.make("prod", "upstream = 'public'")
    indexes.make("dev", "bases = 'prod'")
    (line,) = why(indexes, "dev").lines
    assert line.hidden is not None
    assert (line.hidden.obstacle, line.index) == (Obstacle.DENIED, "prod")


def test_a_reserved_name_is_explained_to_those_who_may_read_it_there(indexes: Indexes):
    indexes.make("private", "reserve-names = true", "acme")
    indexes.make("dev", "upstream = 'public'")
    answered = why(indexes, "dev")
    assert answered.status == 404
    assert sources(answered)[1:] == [
        ("index private", "private", "reserves the name"),
        ("a source", None, "was not asked"),
    ]
    assert answered.owner is not None
    assert answered.owner.kind is SourceKind.RESERVATION
    assert indexes.upstreams[PUBLIC.urls[0]].asked == []


def test_others_are_not_told_of_an_index_that_they_may_not_read(indexes: Indexes):
    indexes.make("private", "reserve-names = true", "acme")
    indexes.make("dev", "upstream = 'public'")
    answered = why(indexes, "dev", Asker(may_read=lambda index: index == "dev"))
    assert "private" not in str(answered)
    assert "reserve" not in str(answered)
    assert answered.owner is None


def test_an_upstream_that_the_server_does_not_define_is_the_error_of_the_page(indexes: Indexes):
    indexes.make("dev", "upstream = 'nowhere'")
    explanation = found(indexes, "dev")
    assert isinstance(explanation.error, Unavailable)
    assert "nowhere" in explanation.sources[-1].says
    assert PARTNER.name not in str(explanation)


# -- The past


def test_a_file_of_an_upstream_that_is_no_part_of_the_past_is_hidden_by_the_moment(indexes: Indexes):
    indexes.make("dev", "upstream = 'public'")
    served = indexes.registry.find(Scope(index="dev", as_of="2026-11-01"))
    explanation: Explanation = answer(explain, served.source, "acme")
    assert explanation.page is None
    assert [(file.obstacle, file.reason) for file in explanation.hidden] == [
        (Obstacle.MOMENT, "It has no upload time, so that it is no part of the past.")
    ]


def test_what_a_folder_claims_now_is_not_asked_in_the_past_either(indexes: Indexes):
    indexes.make("dev", "upstream = 'public'", "acme")
    served = indexes.registry.find(Scope(index="dev", as_of="2026-11-01"))
    explanation: Explanation = answer(explain, served.source, "acme")
    assert [one.asked for one in explanation.sources] == [True, False]
    assert [file.obstacle for file in explanation.hidden] == [Obstacle.MOMENT]
    assert indexes.upstreams[PUBLIC.urls[0]].asked == []
