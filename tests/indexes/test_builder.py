"""What a server serves, put together from its settings."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import maybeDeferred
from twisted.python.failure import Failure

from tests.kit.properties import examples
from twisted_index.config.policy_entry import policy_entry
from twisted_index.config.settings import RoutingRule, UpstreamPolicy, UpstreamSettings
from twisted_index.errors import ConfigurationError, Found
from twisted_index.indexes.builder import SourceBuilder, routed_away
from twisted_index.simple.model import Sidecar
from twisted_index.testing import MemorySource, make_wheel

URL = "https://example.org/simple"
MORE = "https://example.net/simple/"


class World:
    """Sources in memory, made by what they are called."""

    def __init__(self, *own: Any) -> None:
        self.folder = MemorySource(*own)
        self.folders: dict[str, MemorySource] = {}
        self.upstreams: dict[str, MemorySource] = {}
        self.made: list[str] = []

    def compose(self, **settings: Any) -> Any:
        return SourceBuilder(
            self.folder,
            make_folder=lambda path: self._make(self.folders, path),
            make_upstream=lambda urls: self._make(self.upstreams, " ".join(urls)),
            resolve=lambda url: ("https://example.com/simple",) if url == "pip" else (url,),
            now=lambda: 1e9,
        ).build(UpstreamSettings(**settings))

    def _make(self, sources: dict[str, MemorySource], name: str) -> MemorySource:
        self.made.append(name)
        return sources.setdefault(name, MemorySource())

    @property
    def asked(self) -> set[str]:
        """What any upstream was asked for."""
        return {question.project for source in self.upstreams.values() for question in source.calls}


def answer(question: Any, *args: Any) -> Any:
    """Ask a source that answers at once."""
    results: list[Any] = []
    maybeDeferred(question, *args).addBoth(results.append)
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


def versions(source: Any, project: str) -> tuple[str, ...] | None:
    page = answer(source.project_page, project).value
    return None if page is None else page.versions


def test_without_upstreams_and_rules_the_folder_is_all():
    world = World()

    assert world.compose() is world.folder
    assert world.compose(policy=UpstreamPolicy(local_only=("a",))) is world.folder


BOTH = "https://example.org/simple/ https://example.com/simple/"


def test_upstreams_are_one_source_that_is_asked_for_what_the_folder_does_not_have():
    world = World(make_wheel("demo", "1"))
    world.upstreams[BOTH] = MemorySource(make_wheel("demo", "2"), make_wheel("a", "2"))
    whole = world.compose(urls=(URL, "pip", URL + "/"))

    assert [versions(whole, name) for name in ("demo", "a", "b")] == [("1",), ("2",), None]
    assert answer(whole.project_list).value.names == ("demo",)
    assert world.made == [BOTH]


def test_a_policy_holds_for_upstreams_and_not_for_the_folder():
    world = World(make_wheel("demo", "5"))
    world.upstreams[MORE] = MemorySource(make_wheel("a", "5"), make_wheel("a", "1"), make_wheel("b", "5"))
    whole = world.compose(
        urls=(MORE,),
        policy=UpstreamPolicy(upstream_deny=tuple(map(policy_entry, ("*>=2", "b"))), local_only=("acme-*",)),
    )

    assert [versions(whole, name) for name in ("demo", "a", "b", "acme-x")] == [("5",), ("1",), None, None]
    assert world.asked == {"a"}


def test_an_upstream_says_since_when_it_knows_a_file():
    class Knowing(MemorySource):
        def first_seen(self, _project: str, filename: str) -> float | None:
            return 0.0 if filename.startswith("a-1") else None

    world = World()
    world.upstreams[MORE] = Knowing()
    for version in "12":
        world.upstreams[MORE].add(make_wheel("a", version), upload_time=None)

    assert versions(world.compose(urls=(MORE,), policy=UpstreamPolicy(cooldown=60.0)), "a") == ("1",)


def test_a_redirect_makes_no_upstream():
    world = World(make_wheel("demo", "1"))
    whole = world.compose(urls=("pip",), mode="redirect")

    assert versions(whole, "demo") == ("1",)
    with pytest.raises(Found) as caught:
        versions(whole, "a")
    assert caught.value.location == "https://example.com/simple/a/"
    assert world.made == []


def test_a_redirect_leads_to_one_place():
    def compose_with(*urls: str) -> None:
        SourceBuilder(MemorySource(), make_folder=str, make_upstream=str, resolve=lambda _url: urls).build(
            UpstreamSettings(urls=("pip",), mode="redirect")
        )

    compose_with(URL, URL + "/")
    with pytest.raises(ConfigurationError, match="supports only one upstream"):
        compose_with(URL, MORE)


def test_rules_say_where_projects_come_from_before_all_else():
    world = World(make_wheel("demo", "1"), make_wheel("evil", "1"), make_wheel("acme-a", "1"))
    world.folders["/acme"] = MemorySource(make_wheel("acme-a", "2"))
    world.upstreams[MORE] = MemorySource(make_wheel("torch", "3"))
    whole = world.compose(
        routes=(
            RoutingRule(pattern="acme-*", folder="/acme"),
            RoutingRule(pattern="torch*", upstream=MORE),
            RoutingRule(pattern="evil"),
            RoutingRule(pattern="also-*", folder="/acme"),
        )
    )

    assert [versions(whole, name) for name in ("demo", "evil", "acme-a", "torch", "other")] == [
        *(("1",), None, ("2",), ("3",), None)
    ]
    assert answer(whole.project_list).value.names == ("acme-a", "demo")
    assert sorted(world.made) == ["/acme", MORE]


def test_a_rule_takes_no_name_from_the_folder_and_sends_no_local_one_away():
    """A pattern is wider than who wrote it thinks: `torch*` is `torch-acme` too."""
    world = World(make_wheel("torch-acme", "1"))
    world.upstreams[MORE] = MemorySource(make_wheel("torch-acme", "9"), make_wheel("torch-secret", "9"))
    whole = world.compose(
        routes=(RoutingRule(pattern="torch*", upstream=MORE),),
        policy=UpstreamPolicy(local_only=("*-secret",)),
    )

    assert versions(whole, "torch-acme") == ("1",)
    assert versions(whole, "torch-secret") is None
    assert answer(whole.project_list).value.names == ("torch-acme",)
    assert world.asked == set()


def test_files_are_published_only_where_their_project_comes_from():
    routes = (
        RoutingRule(pattern="acme-own-*", folder="/first"),
        RoutingRule(pattern="Acme.*", folder="/acme"),
        RoutingRule(pattern="torch*", upstream=MORE),
        RoutingRule(pattern="evil"),
    )
    elsewhere = routed_away(UpstreamSettings(routes=routes), ["/first", "/acme"])
    names = ("demo", "acme-own-a", "acme-a", "torch", "evil")
    assert [elsewhere(name) for name in names] == [False, False, True, False, True]


def test_each_folder_and_upstream_is_made_once_wherever_it_is_named():
    world = World()
    routes = (
        RoutingRule(pattern="a", upstream=MORE),
        RoutingRule(pattern="b", upstream="pip"),
        RoutingRule(pattern="c", upstream=MORE.rstrip("/")),
        RoutingRule(pattern="d", folder="/f"),
        RoutingRule(pattern="e", folder="/f"),
    )
    world.compose(urls=(MORE,), routes=routes)

    assert sorted(world.made) == ["/f", "https://example.com/simple/", MORE]


NAMES = ("acme", "acme-core", "demo", "torch")
some = st.lists(st.sampled_from(NAMES), max_size=3, unique=True)
patterns = st.lists(st.sampled_from(["acme*", "demo", "*", "torch"]), max_size=2).map(tuple)
rules = st.lists(
    st.builds(
        lambda pattern, where: RoutingRule(pattern=pattern, **where),
        st.sampled_from(["acme*", "demo", "*", "t*"]),
        st.sampled_from([{}, {"folder": "/f"}, {"upstream": MORE}]),
    ),
    max_size=3,
).map(tuple)


@examples(150)
@given(some, some, patterns, patterns, rules, st.sampled_from([(), (URL,), (URL, MORE)]))
def test_nobody_upstream_hears_of_a_private_or_local_name(own, others, local, denied, routes, urls):
    """Whatever the settings are, and by whatever method a name is asked for."""
    world = World(*(make_wheel(name, "1") for name in own))
    for url in ("https://example.org/simple/", MORE, f"https://example.org/simple/ {MORE}"):
        world.upstreams[url] = MemorySource(*(make_wheel(name, "2") for name in others))
    policy = UpstreamPolicy(local_only=local, upstream_deny=tuple(map(policy_entry, denied)))
    whole = world.compose(urls=urls, routes=routes, policy=policy)

    answer(whole.project_list)
    for name in NAMES:
        versions(whole, name)
        for version in "12":
            for sidecar in (None, *Sidecar):
                answer(whole.open_file, name, make_wheel(name, version).filename, sidecar)

    kept = {name for name in NAMES for pattern in (*local, *denied) if name.startswith(pattern.rstrip("*"))}
    assert not world.asked & (set(own) | kept | {""})


def test_an_entry_that_has_ended_is_logged_when_the_settings_are_read(monkeypatch):
    said = []
    monkeypatch.setattr(
        "twisted_index.indexes.builder._log.info", lambda form, **fields: said.append(form.format(**fields))
    )
    past, coming = date(1960, 1, 1), date(9999, 1, 1)
    tables = [
        {"match": "demo>=2", "until": past, "reason": "CVE-1"},
        {"match": "a", "until": coming},
        "b",
    ]
    entries = tuple(map(policy_entry, tables))
    World().compose(urls=(MORE,), policy=UpstreamPolicy(upstream_deny=entries, cooldown_except=entries[:1]))

    assert said == [
        "upstream-deny: the entry 'demo>=2' held until 1960-01-01 23:59 UTC: CVE-1.",
        "cooldown-except: the entry 'demo>=2' held until 1960-01-01 23:59 UTC: CVE-1.",
    ]
