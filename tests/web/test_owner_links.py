"""Pages link each file at the index that owns it, and every link of every page leads to what it names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

import pytest
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from tests.kit.memory_indexes import MemoryIndexes
from twisted_index.access.trusted_proxies import TrustedProxies
from twisted_index.indexes.scope import Scope
from twisted_index.testing import (
    BuiltFile,
    MemorySource,
    SiteInMemory,
    SynchronousRunner,
    make_sdist,
    make_wheel,
)
from twisted_index.web.resource import IndexResource
from twisted_index.web.server.site import IndexSite

JSON = "application/vnd.pypi.simple.v1+json"
WHEN = "2026-11-01"
#: Files by the index that owns them.
OWN = make_sdist("demo", "1.0+dev.1")
PROD, BASE, PLAIN_ONE = make_wheel("demo", "2.0"), make_wheel("demo", "3.0+x"), make_wheel("demo", "4.0")


class OwnedSource(MemorySource):
    """Has files of several indexes."""

    def add_of(self, owner: str | None, file: BuiltFile) -> None:
        self.add(file, provenance=b"{}", signature=b"signed")
        files = self._files[file.project]
        files[file.filename] = replace(files[file.filename], owner=owner)
        self._refresh(file.project)


def indexes() -> MemoryIndexes:
    made = MemoryIndexes()
    for name, file in (("", PLAIN_ONE), ("prod", PROD), ("ba.se_1", BASE)):
        source = OwnedSource()
        source.add_of(None, file)
        made.set(source, name)
    for scope, own in ((Scope(index="dev"), None), (Scope(index="dev", as_of=WHEN), "dev")):
        source = OwnedSource()
        source.add_of(own, OWN)
        for owner, file in (("", PLAIN_ONE), ("prod", PROD), ("ba.se_1", BASE)):
            source.add_of(owner, file)
        source.add_of(own, make_wheel("other", "1.0"))
        made.set(source, scope)
        if own is None:
            made.set(source, "copy", bases=("dev",))
    return made


PAGES = [
    "",
    "simple/",
    "simple/demo/",
    "demo/",
    "legacy/+simple/demo/",
    "simple/+simple/demo/",
    "packages/",
    "pypi/demo/json",
    "pypi/demo/2.0/json",
    f"packages/{PROD.filename}",
    f"packages/old/demo/{BASE.filename}",
    f"packages/{PLAIN_ONE.filename}.metadata",
    "project/demo/",
    "-/",
]


def links_of(url: str, reply: Any) -> Iterator[str]:
    """The links of any kind of response, absolute."""
    kind = reply.headers.get("Content-Type") or ""
    if 300 <= reply.status < 400:
        yield urljoin(url, reply.headers["Location"])
    elif "html" in kind:
        for attribute in ("href", "data-provenance"):
            for link in re.findall(f'{attribute}="([^"]+)"', reply.text):
                yield urljoin(url, unescape(link))
    elif "json" in kind:
        document = json.loads(reply.body)
        releases = [file for files in document.get("releases", {}).values() for file in files]
        for file in [*document.get("files", ()), *document.get("urls", ()), *releases]:
            yield urljoin(url, file["url"])
            yield urljoin(url, file.get("provenance", file["url"]))


class Proxied:
    """An index below mount points, perhaps behind a proxy that takes a prefix away."""

    def __init__(self, depth: int, prefix: str, public: bool, cors: bool) -> None:
        mount = "".join(f"/m{number}" for number in range(depth))
        self.base = f"https://index.test{prefix}{mount}/"
        self._prefix = prefix
        resource: Any = IndexResource(
            MemorySource(),
            indexes=indexes(),
            cors=cors,
            worker=SynchronousRunner(),
            proxies=TrustedProxies(("127.0.0.1",)),
            public_url=self.base if public else None,
        )
        for number in reversed(range(depth)):
            outer = Resource()
            outer.putChild(b"m%d" % number, resource)
            resource = outer
        clock = Clock()
        self._site = SiteInMemory(IndexSite(resource, reactor=clock), clock)

    def get(self, url: str, accept: str = "text/html") -> Any:
        parts = urlsplit(url)
        assert parts.scheme == "https"
        assert parts.netloc == "index.test"
        assert parts.path.startswith(self._prefix)
        fields = {"Accept": accept, "X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"}
        if self._prefix:
            fields["X-Forwarded-Prefix"] = self._prefix
        return self._site.get(parts.path.removeprefix(self._prefix), headers=fields)


@pytest.mark.parametrize("scope", ["", "+dev/", "%2Bdev/", f"+dev/+at/{WHEN}/", "+copy/"])
@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("prefix", ["", "/py/x"])
@pytest.mark.parametrize(("public", "cors"), [(False, False), (True, False), (False, True), (True, True)])
def test_every_link_leads_to_what_it_names(scope: str, depth: int, prefix: str, public: bool, cors: bool):
    index = Proxied(depth, prefix, public, cors)
    seen, people = set(), "project/demo/"
    for page in PAGES:
        for accept in ("text/html", JSON, "application/json"):
            url = f"{index.base}{scope}{page}"
            for link in links_of(url, index.get(url, accept)):
                target = urldefrag(link).url
                if page == people and target.endswith(".provenance"):
                    # Their links are relative: only the simple API needs absolute ones.
                    assert index.get(target).status == 200
                elif target not in seen and target != url and "/-/" not in target:
                    seen.add(target)
                    reply = index.get(target)
                    assert reply.status in (200, 301, 302, 404 if not scope else 200), (url, target)
                    if target.endswith(".whl"):
                        assert index.get(f"{target}.metadata").status == 200
    if scope:
        for owner, file in (("", PLAIN_ONE), ("+prod/", PROD), ("+ba.se_1/", BASE)):
            name = file.filename.replace("+", "%2B")
            assert f"{index.base}{owner}simple/demo/{name}" in seen
            assert (f"{index.base}{owner}simple/demo/{name}.provenance" in seen) is public
        own = OWN.filename.replace("+", "%2B")
        assert f"{index.base}{scope if 'at' not in scope else '+dev/'}simple/demo/{own}" in seen


@pytest.mark.parametrize("page", ["simple/demo/", "demo/"])
def test_a_page_of_one_layout_is_never_that_of_another(page: str):
    """The links of files of other indexes differ by as many levels."""
    index = Proxied(0, "", public=False, cors=False)
    for path, up in (
        ("simple/demo/", "../../../"),
        ("demo/", "../../"),
        ("legacy/+simple/demo/", "../../../../"),
    ):
        for first in (page, path):
            index.get(f"{index.base}+dev/{first}")
        assert f'href="{up}+prod/simple/demo/' in index.get(f"{index.base}+dev/{path}").text


@pytest.mark.parametrize("scope", ["", "+dev/"])
@pytest.mark.parametrize("path", ["simple/demo/", "demo/", "legacy/+simple/demo/"])
def test_a_page_leads_to_that_for_people_in_every_layout(scope: str, path: str):
    index = Proxied(0, "", public=False, cors=False)
    index.get(f"{index.base}{scope}simple/demo/")
    url = f"{index.base}{scope}{path}"
    (about,) = re.findall(r'<form action="(.*?)">', index.get(url).text)
    assert urljoin(url, about) == f"{index.base}{scope}project/demo/"


def test_bandersnatch_gets_links_below_packages_of_the_owner():
    index = Proxied(0, "", public=True, cors=False)
    reply = index._site.get("/+dev/pypi/demo/json", headers={"User-Agent": "bandersnatch/6"})
    links = list(links_of(index.base, reply))
    assert f"{index.base}+prod/packages/demo/{PROD.filename}" in links
    assert all(index.get(link).status == 302 for link in links)
