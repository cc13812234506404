"""All releases with all their assets, or an error."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.kit.github.model import Repo
from tests.kit.github_api import ReleasesClient
from tests.kit.github_server import GitHubServer
from twisted_index.errors import BadGateway, SimpleIndexError, Unavailable

Connect = Callable[..., ReleasesClient]


def fill(repo: Repo, releases: int, assets: int) -> None:
    """Make releases, and files that are numbered through."""
    for number in range(releases):
        release = repo.release(f"v{number}")
        for asset in range(assets):
            release.add(f"demo-{number}.{asset}.tar.gz", b"x")


@pytest.fixture
def repo(server: GitHubServer) -> Repo:
    server.limits.of(None).limit = 5000
    return server.repository("octo/wheels")


def count(client: ReleasesClient) -> int:
    return sum(len(release.assets) for release in client.releases())


@pytest.mark.parametrize(
    ("releases", "assets", "inline", "most"),
    [
        (1, 1000, None, 3),
        (1, 1000, 30, 12),
        (1, 1000, 100, 12),
        (10, 100, None, 12),
        (10, 100, 30, 12),
        (100, 10, None, 3),
        (500, 2, None, 10),
        (1000, 1, None, 12),
        (3, 3, None, 1),
        (0, 0, None, 1),
    ],
)
def test_a_thousand_assets_take_at_most_twelve_requests_and_an_unchanged_poll_one(
    server: GitHubServer, repo: Repo, connect: Connect, releases: int, assets: int, inline: int, most: int
):
    server.views.inline_limit = inline
    fill(repo, releases, assets)
    client = connect(server.word(repo))
    found = client.releases()

    assert sum(len(release.assets) for release in found) == releases * assets
    assert len(server.asked()) <= most
    server.forget()
    assert client.releases() is found
    assert len(server.asked()) == 1


@pytest.mark.parametrize("has_etags", [True, False])
@pytest.mark.parametrize("paging", ["last", "next", "none", "30 at most"])
@pytest.mark.parametrize(
    ("releases", "assets", "inline"), [(130, 1, None), (2, 130, 30), (2, 130, 100), (2, 40, 30)]
)
def test_every_way_to_page_gives_the_same(
    server: GitHubServer,
    repo: Repo,
    connect: Connect,
    has_etags: bool,
    paging: str,
    releases: int,
    assets: int,
    inline: int | None,
):
    fill(repo, releases, assets)
    server.api.has_etags, server.views.inline_limit = has_etags, inline
    server.api.paging.has_last = paging != "next"
    server.api.paging.has_links = paging != "none"
    server.api.paging.largest = 30 if paging == "30 at most" else 100
    client = connect(server.word(repo))

    assert client.names() == {
        f"v{number}": [f"demo-{number}.{asset}.tar.gz" for asset in range(assets)]
        for number in range(releases)
    }


@pytest.mark.parametrize(("releases", "assets"), [(3, 2), (60, 1), (1, 50), (1, 100)])
def test_forgejo_gives_the_same(connect: Connect, releases: int, assets: int):
    with GitHubServer(forgejo=True) as server:
        repo = server.repository("octo/wheels")
        fill(repo, releases, assets)
        client = connect(server.word(repo))

        assert count(client) == releases * assets
        assert client.releases()[0].assets[0].sha256 is None


def test_a_total_tells_of_pages_that_nothing_links_to(connect: Connect):
    with GitHubServer(forgejo=True) as server:
        server.api.paging.largest, server.api.paging.has_links = 20, False
        repo = server.repository("octo/wheels")
        fill(repo, 53, 1)
        client = connect(server.word(repo))
        assert count(client) == 53

        repo.releases[0].delete()  # from the last page
        assert count(client) == 52


def test_drafts_are_left_out_and_prereleases_are_not(server: GitHubServer, repo: Repo, connect: Connect):
    server.token("secret", write=("octo/wheels",))
    repo.release("v1", {"a.whl": b""}, draft=True)
    repo.release("v2", {"b.whl": b""}, prerelease=True)
    client = connect(server.word(repo), {"GH_TOKEN": "secret"})

    assert client.names() == {"v2": ["b.whl"]}


def test_an_unfinished_upload_is_left_out(server: GitHubServer, repo: Repo, connect: Connect):
    release = repo.release("v1", {"a.whl": b""})
    release.add("b.whl", b"", state="starter")
    assert connect(server.word(repo)).names() == {"v1": ["a.whl"]}


def test_a_change_is_seen_by_the_next_poll(server: GitHubServer, repo: Repo, connect: Connect):
    fill(repo, 2, 1)
    client = connect(server.word(repo))
    client.releases()
    repo.release("v9", {"new.whl": b""})
    repo.releases[0].assets[0].delete()

    assert client.names() == {"v9": ["new.whl"], "v1": ["demo-1.0.tar.gz"], "v0": []}


def test_downloads_change_nothing(server: GitHubServer, repo: Repo, connect: Connect):
    fill(repo, 130, 1)
    client = connect(server.word(repo))
    found = client.releases()
    for release in repo.releases:
        release.assets[0].downloads += 1
    server.forget()

    assert client.releases() is found
    assert len(server.asked()) == 1


def test_within_its_time_nothing_is_requested(server: GitHubServer, repo: Repo, connect: Connect):
    fill(repo, 1, 1)
    client = connect(server.word(repo), reuse=60.0)
    client.releases()
    server.forget()
    client.releases()
    assert server.asked() == []


@pytest.mark.parametrize(("environ", "requests"), [({}, 30), ({"GH_TOKEN": "secret"}, 60)])
def test_polls_without_a_token_leave_half_of_the_limit(
    server: GitHubServer,
    repo: Repo,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    requests: int,
):
    server.token("secret", read=("octo/wheels",))
    fill(repo, 1, 1)
    client = connect(server.word(repo), environ, reuse=60.0)
    began = client.api.seconds()
    for minute in range(60):
        monkeypatch.setattr(client.listing, "_now", lambda minute=minute: began + 60.0 * minute)
        client.releases()

    assert len(server.asked()) == requests


def test_what_the_first_page_does_not_show_is_seen_after_ten_minutes(
    server: GitHubServer, repo: Repo, connect: Connect, monkeypatch: pytest.MonkeyPatch
):
    """All pages are requested then; those that have not changed cost nothing of the limit."""
    server.token("secret", read=("octo/wheels",))
    fill(repo, 130, 1)
    client = connect(server.word(repo), {"GH_TOKEN": "secret"})
    found, began = client.releases(), client.api.seconds()
    repo.releases[0].assets[0].delete()
    used = server.limits.of("secret").used
    monkeypatch.setattr(client.listing, "_now", lambda: began + 500)
    assert client.releases() is found

    monkeypatch.setattr(client.listing, "_now", lambda: began + 601)
    assert count(client) == 129
    assert server.limits.of("secret").used == used + 2  # the changed page, and whether the asset is gone


def test_a_page_that_is_too_heavy_is_requested_in_smaller_ones(
    server: GitHubServer, repo: Repo, connect: Connect
):
    fill(repo, 45, 1)
    server.rule("per_page=100", times=None, status=502)
    assert count(connect(server.word(repo))) == 45


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("first", [1, 2, 3, 4])
def test_an_error_in_the_middle_is_no_shorter_list(
    server: GitHubServer, repo: Repo, connect: Connect, status: int, first: int
):
    fill(repo, 250, 1)
    server.rule("/releases", first=first, times=None, status=status)
    with pytest.raises(Unavailable) as error:
        connect(server.word(repo)).releases()
    assert error.value.status in (502, 503)


@pytest.mark.parametrize("has_last", [True, False])
def test_an_empty_page_to_which_another_one_links_is_no_end(
    server: GitHubServer, repo: Repo, connect: Connect, has_last: bool
):
    fill(repo, 250, 1)
    server.api.paging.has_last = has_last
    server.rule(r"/releases\?.*page=2", times=None, body=b"[]")
    with pytest.raises(Unavailable, match="missing"):
        connect(server.word(repo)).releases()


def test_a_thousand_assets_take_at_most_twelve_requests_without_a_link_to_the_last_page(
    server: GitHubServer, repo: Repo, connect: Connect
):
    fill(repo, 1, 1000)
    server.api.paging.has_last, server.views.inline_limit = False, 30

    assert count(connect(server.word(repo))) == 1000
    assert len(server.asked()) <= 12


def test_an_asset_that_is_deleted_in_the_middle_hides_no_other(
    server: GitHubServer, repo: Repo, connect: Connect
):
    fill(repo, 1, 250)
    server.views.inline_limit = 30
    server.rule("assets.*page=2", before=repo.releases[0].assets[0].delete)
    assert count(connect(server.word(repo))) == 249


def test_a_list_that_is_cut_is_an_error_and_the_old_one_stays_true(
    server: GitHubServer, repo: Repo, connect: Connect
):
    fill(repo, 3, 2)
    server.api.has_etags = False
    client = connect(server.word(repo))
    client.releases()
    for change in ({"keep": 2}, {"keep_assets": 1}, {"keep": 0}):
        rule = server.rule(r"/releases\?", times=None, **change)
        with pytest.raises(BadGateway, match="left out"):
            client.releases()
        server.rules.remove(rule)
    assert count(client) == 6


@pytest.mark.parametrize("body", [b"null", b"[]", b'""'])
def test_what_is_no_answer_to_the_question_does_not_mean_that_it_is_gone(
    server: GitHubServer, repo: Repo, connect: Connect, body: bytes
):
    fill(repo, 3, 2)
    server.api.has_etags = False
    client = connect(server.word(repo))
    client.releases()
    server.rule(r"/releases\?", times=None, keep=1)
    server.rule(r"/releases/\d+$|/assets/\d+$", times=None, body=body)

    with pytest.raises(BadGateway, match="other than an object"):
        client.releases()


def test_what_is_deleted_is_gone_and_what_becomes_a_draft_too(
    server: GitHubServer, repo: Repo, connect: Connect
):
    server.token("secret", write=("octo/wheels",))
    fill(repo, 4, 3)
    client = connect(server.word(repo), {"GH_TOKEN": "secret"})
    client.releases()
    del repo.releases[0]
    repo.releases[0].is_draft = True
    repo.releases[1].assets[0].delete()

    assert client.names() == {
        "v3": [f"demo-3.{n}.tar.gz" for n in range(3)],
        "v2": [f"demo-2.{n}.tar.gz" for n in (1, 2)],
    }


@pytest.mark.parametrize(
    ("body", "clause"),
    [
        (b"<html>", "other than JSON"),
        (b'{"message": "x"}', "other than a list"),
        (b"[{}]", "without an id"),
        (b"", "JSON"),
    ],
)
def test_what_is_no_list_is_an_error(
    server: GitHubServer, repo: Repo, connect: Connect, body: bytes, clause: str
):
    server.rule(r"/releases\?", body=body)
    with pytest.raises(BadGateway, match=clause):
        connect(server.word(repo)).releases()


@pytest.mark.parametrize(
    ("environ", "clause"), [({}, "no token is configured"), ({"GH_TOKEN": "other"}, "may not read it")]
)
def test_a_repository_that_cannot_be_read_is_no_empty_one(
    server: GitHubServer, connect: Connect, environ: dict[str, str], clause: str
):
    server.repository("octo/secret", private=True)
    server.token("other", read=())
    with pytest.raises(BadGateway, match=clause):
        connect(server.word("octo/secret"), environ).releases()


def test_a_repository_that_is_not_there_any_more_is_an_error(
    server: GitHubServer, repo: Repo, connect: Connect
):
    fill(repo, 1, 1)
    client = connect(server.word(repo))
    client.releases()
    server.rule("/releases", times=None, status=404)
    with pytest.raises(BadGateway, match="no such repository"):
        client.releases()


def test_many_callers_at_once_make_one_poll(server: GitHubServer, repo: Repo, connect: Connect):
    fill(repo, 2, 1)
    client = connect(server.word(repo))

    async def several() -> list[Any]:
        polls = [client.listing.current() for _ in range(5)]
        return [await poll for poll in polls]

    found = client.run(several)
    assert all(releases is found[0] for releases in found)
    assert len(server.asked()) == 1


def test_a_link_to_another_server_is_an_error(server: GitHubServer, repo: Repo, connect: Connect):
    fill(repo, 1, 1)
    server.rule("/releases", headers={"Link": f'<{server.storage.origin}/x?page=2>; rel="next"'})
    with pytest.raises(SimpleIndexError, match="token is not sent there"):
        connect(server.word(repo)).releases()
    assert server.asked("storage") == []


def filled(client: ReleasesClient) -> ReleasesClient:
    client.releases()
    return client


def handed_over(client: ReleasesClient, other: ReleasesClient) -> ReleasesClient:
    """Let another process go on with what was read."""
    other.listing.restore(json.loads(json.dumps(client.listing.record())))
    return other


def test_another_process_goes_on_with_what_was_read_by_one_request(
    server: GitHubServer, repo: Repo, connect: Connect
):
    fill(repo, 3, 3)
    client = connect(server.word(repo))
    found = client.releases()
    server.forget()
    other = handed_over(client, connect(server.word(repo)))
    assert other.releases() == found
    assert len(server.asked()) == 1


def test_another_process_sees_at_once_what_the_first_page_does_not_show(
    server: GitHubServer, repo: Repo, connect: Connect
):
    server.views.inline_limit = 30
    fill(repo, 1, 40)
    client = connect(server.word(repo))
    client.releases()
    repo.releases[0].add("demo-9.tar.gz", b"x")
    assert count(handed_over(client, connect(server.word(repo)))) == 41


def test_another_process_takes_no_shorter_list_either(server: GitHubServer, repo: Repo, connect: Connect):
    fill(repo, 3, 3)
    other = handed_over(filled(connect(server.word(repo))), connect(server.word(repo)))
    repo.release("new")
    server.rule(r"/releases\?", times=None, keep=1)
    with pytest.raises(BadGateway, match="left out"):
        other.releases()


@pytest.mark.parametrize("record", [None, {}, [], {"pages": [{}]}, {"pages": [], "first": "x"}])
def test_a_damaged_record_is_refused(server: GitHubServer, repo: Repo, connect: Connect, record: Any):
    client = connect(server.word(repo))
    with pytest.raises(ValueError, match="damaged"):
        client.listing.restore(record)
    assert client.releases() == ()
