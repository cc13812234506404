"""
Whatever the releases API of a repository answers: no token leaves it, and no page is shorter than it was.

A whole server between a client and a GitHub that fails, redirects and cuts as drawn. Each example has a
project of its own, so that nothing of it is in the cache.
"""

from __future__ import annotations

import base64
import itertools
import json

import pytest
from hypothesis import HealthCheck, event, given
from hypothesis import strategies as st

from tests.kit.github_server import GitHubServer
from tests.kit.live_server import JSON
from tests.kit.properties import examples
from twisted_index.testing import make_wheel

TOKEN = "ghp_0123456789abcdefghijklmnopqrstuvwxyz"
SECRETS = (TOKEN, base64.b64encode(f"octocat:{TOKEN}".encode()).decode().rstrip("="))

#: Requests that a rule may be about.
PLACES = (
    r"/releases\?",
    r"/releases/\d+/assets\?",
    r"/releases/assets/\d+",
    "/releases/download/",
    "/release-asset/",
    "",
)
REDIRECTS = (301, 302, 303, 307, 308)
ERRORS = (400, 401, 403, 404, 406, 410, 422, 500, 502, 503, 504)


class World:
    """A repository at a GitHub, another origin, and the server before them."""

    def __init__(self, forgejo, server_factory, folder):
        self.github, self.other = GitHubServer(forgejo=forgejo), GitHubServer()
        self.repo = self.github.repository("octo/wheels", private=True)
        self.github.token(TOKEN, read=("octo/wheels",))
        self.github.views.inline_limit = 30
        self.other.rule("", times=None, status=200, body=b"[]")
        self.count = itertools.count()
        (folder / "own").mkdir()
        env = dict.fromkeys(("GH_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN", "NETRC"), "")
        env |= {
            "HOME": str(folder),
            "GITHUB_TOKEN": TOKEN,
            "TWISTED_INDEX_UPSTREAM_ONLY": "demo-*",
            "TWISTED_INDEX_CACHE_TTL": "0",
        }
        word = self.github.word(self.repo)
        self.server = server_factory(folder / "own", options=["--upstream", word], env=env)

    def fill(self, number, releases=1):
        """Have only the files of a new project; give its name and theirs."""
        project = f"demo-{next(self.count)}"
        self.github.forget()
        self.repo.releases.clear()
        names = []
        for index in range(releases):
            release = self.repo.release(f"{project}-v{index}")
            for file in range(number):
                wheel = make_wheel(project, f"{index}.{file}")
                release.add(wheel.filename, wheel.content)
                names.append(wheel.filename)
        return project, names

    def page(self, project):
        reply = self.server.get(f"/simple/{project}/", headers={"Accept": JSON})
        event(f"status {reply.status}")
        files = json.loads(reply.body)["files"] if reply.status == 200 else []
        return reply.status, files, reply

    def replies(self, project):
        """Ask for all that a client may see of a project."""
        _, files, page = self.page(project)
        targets = ["/", "/simple/", f"/simple/{project}/", "/-/health", "/-/problems", "/-/metrics"]
        for file in files[:2]:
            url = file["url"].removeprefix(self.server.origin)
            targets += [url, f"{url}.metadata"]
        return [page, *map(self.server.get, targets)]

    def close(self):
        self.server.stop()
        self.github.close()
        self.other.close()


@pytest.fixture(scope="module", params=["github", "forgejo"])
def world(request, server_factory, tmp_path_factory):
    world = World(request.param == "forgejo", server_factory, tmp_path_factory.mktemp(request.param))
    yield world
    world.close()
    assert world.github.errors == []
    assert "Traceback (most recent call last)" not in world.server.log


def elsewhere(world, place):
    """Give a URL to which a token must not go."""
    github = world.github
    return {
        "another origin": f"{world.other.origin}/repos/octo/wheels/releases",
        "another port": f"{github.storage.origin}/repos/octo/wheels/releases",
        "another name": f"http://localhost:{github.port}{github.prefix}/repos/octo/wheels/releases",
        "with a user": f"http://user@127.0.0.1:{world.other.port}/x",
        "without a scheme": f"//127.0.0.1:{world.other.port}/x",
    }[place]


FAULTS = st.fixed_dictionaries(
    {
        "place": st.sampled_from(PLACES),
        "first": st.integers(1, 3),
        "times": st.sampled_from([1, 2, None]),
        "kind": st.sampled_from(["redirect", "error", "link", "urls"]),
        "to": st.sampled_from(
            ["another origin", "another port", "another name", "with a user", "without a scheme"]
        ),
        "status": st.sampled_from([*REDIRECTS, *ERRORS]),
    }
)


def spoil(world, fault):
    """Make a rule of a fault."""
    url, kind = elsewhere(world, fault["to"]), fault["kind"]
    where = {"pattern": fault["place"], "first": fault["first"], "times": fault["times"]}
    if kind == "redirect":
        status = fault["status"] if fault["status"] in REDIRECTS else 302
        world.github.rule(**where, status=status, headers={"Location": url})
    elif kind == "error":
        status = fault["status"] if fault["status"] in ERRORS else 403
        said = json.dumps({"message": f"Your token {TOKEN}\n may not do this"}).encode()
        echo = {"WWW-Authenticate": f'Bearer realm="{TOKEN}"', "X-Echo": TOKEN, "ETag": f'"{TOKEN}"'}
        world.github.rule(**where, status=status, body=said, headers=echo)
    elif kind == "link":
        world.github.rule(**where, headers={"Link": f'<{url}>; rel="next", <{url}>; rel="last"'})
    else:
        github = world.github
        ours = [github.url.encode(), github.web_origin.encode(), github.storage.origin.encode()]

        base = (url.rpartition("/repos")[0] or url).encode()

        def edit(body):
            for origin in ours:
                body = body.replace(origin + b"/", base + b"/")
            return body

        world.github.rule(**where, edit=edit)


def carried(world):
    """Give the requests that took a secret to where it does not belong."""
    found = [request for secret in SECRETS for request in world.github.leaks(secret)]
    elsewhere = [request for request in world.other.requests if TOKEN in str(request)]
    by_name = [
        request
        for request in world.github.requests
        if request.headers.get("host", "").startswith("localhost") and "authorization" in request.headers
    ]
    return found + elsewhere + by_name


@examples(40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(faults=st.lists(FAULTS, max_size=4), digest=st.booleans())
def test_no_token_leaves_the_api(world, faults, digest):
    """G1."""
    project, _ = world.fill(3, releases=2)
    for release in world.repo.releases:
        for asset in release.assets:
            asset.has_digest = digest
    for fault in faults:
        spoil(world, fault)
    for reply in world.replies(project):
        for secret in SECRETS:
            assert secret.encode() not in reply.body
            assert secret not in str(reply.fields)
    assert carried(world) == []
    for secret in SECRETS:
        assert secret not in world.server.log


CUTS = st.fixed_dictionaries(
    {
        "pattern": st.sampled_from([r"/releases\?", r"/releases/\d+/assets\?", "GET /"]),
        "first": st.integers(1, 12),
        "times": st.sampled_from([1, 3, None]),
    },
    optional={
        "status": st.sampled_from([401, 403, 404, 500, 502, 503, 504]),
        "send": st.integers(0, 2000),
        "body": st.sampled_from([b"", b"[", b"{}", b"null", b'[{"id": 1}]', b'"text"', b"[[]]", b"[1]"]),
        "without": st.sampled_from([("ETag",), ("Content-Type",)]),
    },
)


@examples(40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    cuts=st.lists(CUTS, max_size=3),
    shape=st.sampled_from([(1, 1), (35, 2), (101, 1), (1, 110), (250, 1)]),
    has_last=st.booleans(),
    has_etags=st.booleans(),
)
def test_a_page_is_whole_or_an_error(world, cuts, shape, has_last, has_etags):
    """G3, when there is no page yet and when there is one."""
    api = world.github.api
    api.paging.has_last, api.has_etags = has_last, has_etags and not world.github.is_forgejo
    number, releases = (min(shape[0], 40), shape[1]) if world.github.is_forgejo else shape
    project, names = world.fill(number, releases)
    for cut in cuts:
        world.github.rule(**cut)
    status, files, reply = world.page(project)
    assert status in (200, 502, 503), reply.text
    if status == 200:
        assert sorted(file["filename"] for file in files) == sorted(names)
        assert all(file["hashes"].get("sha256") for file in files)
    elif not cuts:
        assert status == 503  # digests are still being computed


@examples(25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(cuts=st.lists(CUTS, min_size=1, max_size=3), keep=st.sampled_from([None, 0, 1, 20, 29]))
def test_a_page_that_was_whole_stays_so(world, cuts, keep):
    """G3 again, and lists that are cut without a sign of it."""
    world.github.api.paging.has_last = True
    project, names = world.fill(5, 25)
    for _ in range(20):
        status, _, reply = world.page(project)
        if status == 200:
            break
    assert status == 200, reply.text
    world.github.forget()
    for cut in cuts:
        world.github.rule(**cut)
    if keep is not None:
        world.repo.releases[0].assets[0].downloads += 1  # another ETag, so that there is a list to cut
        world.github.rule(r"/releases\?", keep=keep)
    status, files, reply = world.page(project)
    assert status == 200, reply.text
    assert sorted(file["filename"] for file in files) == sorted(names)


CHANGES = st.fixed_dictionaries(
    {
        "first": st.integers(1, 14),
        "pattern": st.sampled_from([r"/releases\?", r"/assets\?", "GET /"]),
        "what": st.sampled_from(["delete asset", "delete release", "new asset", "new release", "draft"]),
        "which": st.integers(0, 300),
    }
)


def change(world, project, gone, what, which):
    """Change the releases while they are read; note what is not there any more."""
    releases = world.repo.releases
    release = releases[which % len(releases)]
    if what == "delete asset" and release.assets:
        asset = release.assets[which % len(release.assets)]
        gone.add(asset.name)
        asset.delete()
    elif what in ("delete release", "draft") and len(releases) > 1:
        gone |= {asset.name for asset in release.assets}
        release.is_draft = True
        if what == "delete release":
            release.delete()
    elif what.startswith("new"):
        wheel = make_wheel(project, f"{1000 + next(world.count)}")
        release = world.repo.release(f"{wheel.version}") if what == "new release" else release
        release.add(wheel.filename, wheel.content)


@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    changes=st.lists(CHANGES, min_size=1, max_size=3),
    shape=st.sampled_from([(35, 2), (1, 110), (250, 1), (2, 40)]),
    has_last=st.booleans(),
    is_warm=st.booleans(),
)
def test_a_change_while_the_releases_are_read_hides_no_file(world, changes, shape, has_last, is_warm):
    """G3: what is there all the time is on the page, or there is none."""
    world.github.api.paging.has_last = has_last
    number, releases = (min(shape[0], 10), min(shape[1], 60)) if world.github.is_forgejo else shape
    project, names = world.fill(number, releases)
    if is_warm:
        world.page(project)
    gone: set[str] = set()
    for drawn in changes:
        where = {name: drawn[name] for name in ("first", "pattern")}
        what, which = drawn["what"], drawn["which"]
        world.github.rule(
            **where, before=lambda what=what, which=which: change(world, project, gone, what, which)
        )
    status, files, reply = world.page(project)
    assert status in (200, 502, 503), reply.text
    if status == 200:
        assert {file["filename"] for file in files} >= set(names) - gone
