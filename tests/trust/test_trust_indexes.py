"""
No upstream hears of a name that an index of the line has, or one that reserves its names: whatever the graph.

The shipped registry, sources and resource over real folders, before upstreams that have every project in
version 999 and remember what they were asked for.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import Phase, given
from hypothesis import strategies as st

from tests.indexes.test_linearization import mro
from tests.kit.named_indexes import PARTNER, PUBLIC, Indexes, upstream_settings
from tests.kit.properties import examples
from tests.trust.test_trust_properties import every_way
from twisted_index.config.settings import Settings
from twisted_index.testing import IncompleteResponse, SiteInMemory, SynchronousRunner
from twisted_index.web.resource import IndexResource
from twisted_index.web.server.site import IndexSite

#: Names that folders may have, and one that none ever has.
PRIVATE, PLAIN_URL = ["acme", "acme-x", "tool"], "https://plain.example/simple/"
STRANGE = "numpy"
TABLES = {"public": PUBLIC.urls[0], "partner": PARTNER.urls[0]}
REQUESTS = 500


@dataclass
class Index:
    """What an index is made of, as a test has written it."""

    bases: tuple[str, ...] = ()
    upstreams: tuple[str, ...] = ()
    reserves: bool = False
    projects: set[str] = field(default_factory=set)

    @property
    def text(self) -> str:
        return (
            f"bases = {list(self.bases)}\nupstream = {list(self.upstreams)}\n"
            f"reserve-names = {str(self.reserves).lower()}\n"
        )


class Model:
    """All indexes as they are now, and which names may be asked of whom."""

    def __init__(self, indexes: dict[str, Index], plain: set[str]) -> None:
        self.indexes, self.plain = indexes, plain

    def line(self, name: str) -> tuple[str, ...]:
        """The line by Python's own order of classes; empty without one."""
        return mro({one: index.bases for one, index in self.indexes.items()}, name) or ()

    def claimed(self, name: str) -> set[str]:
        """The names that folders of a line have."""
        if not name:
            return self.plain
        return set().union(*(self.indexes[one].projects for one in (name, *self.line(name))))

    def reserved(self) -> set[str]:
        return set().union(*(self.claimed(name) for name, one in self.indexes.items() if one.reserves))

    def upstreams(self, name: str) -> set[str]:
        """The upstreams that an index may ask."""
        if not name:
            return {PLAIN_URL}
        return {TABLES[one] for member in self.line(name) for one in self.indexes[member].upstreams}


@st.composite
def models(draw: st.DrawFn) -> Model:
    """Draw indexes whose bases come before them; some orders contradict themselves."""
    indexes: dict[str, Index] = {}
    for number in range(draw(st.integers(1, 5))):
        earlier = sorted(indexes)
        bases = st.lists(st.sampled_from(earlier), max_size=3, unique=True) if earlier else st.just([])
        indexes[f"i{number}"] = Index(
            tuple(draw(bases)),
            tuple(draw(st.lists(st.sampled_from(sorted(TABLES)), max_size=2, unique=True))),
            draw(st.booleans()),
            draw(st.sets(st.sampled_from(PRIVATE), max_size=2)),
        )
    return Model(indexes, draw(st.sets(st.sampled_from(PRIVATE), max_size=1)))


@dataclass
class Server:
    """The indexes of a model, served."""

    model: Model
    indexes: Indexes
    site: SiteInMemory

    def ask(self, path: str) -> Any:
        try:
            return self.site.get(path, headers={"Accept": "*/*"})
        except IncompleteResponse:
            return None

    def heard(self) -> dict[str, list[str]]:
        """What the upstreams were asked for since the last look."""
        heard = {url: list(upstream.asked) for url, upstream in self.indexes.upstreams.items()}
        for upstream in self.indexes.upstreams.values():
            upstream.asked.clear()
        return heard

    def write(self, name: str) -> None:
        """Make the folder of an index what the model says."""
        index = self.model.indexes[name]
        folder = self.indexes.make(name, index.text, *index.projects)
        self.clear(folder, index.projects)

    def clear(self, folder: Path, projects: set[str]) -> None:
        for project in PRIVATE:
            if project not in projects:
                shutil.rmtree(folder / project, ignore_errors=True)

    def change(self, random: Random) -> None:
        """Change one index in the model and on disk; what it says of itself shows within the rescan time."""
        name = random.choice(sorted(self.model.indexes))
        index = self.model.indexes[name]
        index.projects ^= {random.choice(PRIVATE)}
        if random.random() < 0.5:
            index.reserves = not index.reserves
        self.write(name)
        self.indexes.later()


@contextmanager
def serve(model: Model, settings: Settings | None = None) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as place:
        indexes = Indexes(Path(place), settings or upstream_settings(PUBLIC, PARTNER, urls=(PLAIN_URL,)))
        indexes.add(indexes.plain, *model.plain)
        resource = IndexResource(indexes.find().source, worker=SynchronousRunner(), indexes=indexes.registry)
        site = SiteInMemory(IndexSite(resource, reactor=indexes.reactor), indexes.reactor)
        server = Server(model, indexes, site)
        for name in model.indexes:
            server.write(name)
        try:
            yield server
        finally:
            site.disconnect_all()
            indexes.close()


def urls(model: Model) -> list[tuple[str, str, str]]:
    """All ways to ask each index for each name: index, name, URL."""
    return [
        (index, name, f"{prefix}{way}")
        for index in ("", *model.indexes)
        for prefix in ((f"/+{index}", f"/%2B{index}") if index else ("",))
        for name in (*PRIVATE, STRANGE)
        for way in every_way(name)
        # There every_way asks for a scope itself.
        if not way.startswith("/+")
    ]


@examples(20, phases=[Phase.generate])
@given(models(), st.integers())
def test_no_upstream_hears_of_a_name_that_the_line_or_a_reserving_index_has(model: Model, seed: int):
    """500 requests for each of 20 graphs, while projects come and go: 10,000 by all URLs there are."""
    random = Random(seed)
    with serve(model) as server:
        ways = urls(model)
        for number in range(REQUESTS):
            if number % 50 == 49:
                server.change(random)
                server.heard()
            index, name, url = random.choice(ways)
            taken = model.claimed(index) | model.reserved()
            response = server.ask(url)
            heard = server.heard()
            asked = {one for names in heard.values() for one in names}
            assert not asked & taken, (index, name, url)
            assert {one for one, names in heard.items() if names} <= model.upstreams(index), (index, url)
            if name in taken and response is not None:
                assert b"-999-py3" not in response.body, (index, name, url)
                assert b"evil" not in response.body.replace(b"evil-1.0.tar.gz", b""), (index, name, url)


@examples(5, phases=[Phase.generate])
@given(models())
def test_a_name_that_nothing_has_comes_from_the_first_upstream_of_the_line(model: Model):
    """Or the test above would pass with a server that asks nobody."""
    with serve(model) as server:
        unknown = any(index.reserves and not model.line(name) for name, index in model.indexes.items())
        for name in ("", *model.indexes):
            response = server.ask(f"/+{name}/simple/{STRANGE}/" if name else f"/simple/{STRANGE}/")
            if name and not model.line(name):
                expected = 503
            elif not model.upstreams(name):
                expected = 404
            else:
                expected = 503 if unknown else 200
            assert response.status == expected, (name, response.body)
