"""Requests to the API: who gets the token, when none is made, what an error says."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest
from twisted.logger import globalLogPublisher
from twisted.web.http_headers import Headers

from tests.kit.github.model import Repo
from tests.kit.github_api import ReleasesClient
from tests.kit.github_server import GitHubServer
from twisted_index.errors import BadGateway, SimpleIndexError, Unavailable
from twisted_index.github.refusals import APIRefusal
from twisted_index.github.repository import parse_repository

Connect = Callable[..., ReleasesClient]
TOKEN = "ghp_s3cret"
ENVIRON = {"GH_TOKEN": TOKEN}
OCTETS = Headers({b"Accept": [b"application/octet-stream"]})


@pytest.fixture
def repo(server: GitHubServer) -> Repo:
    server.token(TOKEN, write=("octo/wheels",))
    repo = server.repository("octo/wheels", private=True)
    repo.release("v1", {"demo-1.0.tar.gz": b"content"})
    return repo


def stream(client: ReleasesClient, url: str) -> bytes | None:
    async def read() -> bytes | None:
        response = await client.api.stream(url, OCTETS)
        return None if response is None else await response.body.read()

    return client.run(read)


def send(client: ReleasesClient, method: str, url: str, **more: Any) -> Any:
    return client.run(lambda: client.api.send(method, url, **more))


def carriers(server: GitHubServer) -> set[str]:
    """Where the token has come to."""
    return {request.at for request in server.requests if TOKEN in str(request)}


def test_the_token_reads_a_private_repository(server: GitHubServer, repo: Repo, connect: Connect):
    assert connect(server.word(repo), ENVIRON).names() == {"v1": ["demo-1.0.tar.gz"]}


def test_a_redirect_to_a_storage_is_followed_without_the_token(
    server: GitHubServer, repo: Repo, connect: Connect
):
    client = connect(server.word(repo), ENVIRON)
    (release,) = client.releases()

    assert stream(client, release.assets[0].url) == b"content"
    assert len(server.asked("storage")) == 1
    assert carriers(server) == {"api"}


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("pattern", ["/releases", "/assets/"])
def test_no_redirect_takes_the_token_elsewhere(
    server: GitHubServer, repo: Repo, connect: Connect, status: int, pattern: str
):
    client = connect(server.word(repo), ENVIRON)
    (release,) = client.releases()
    server.rule(
        pattern, times=None, status=status, headers={"Location": f"{server.storage.origin}/x"}, at="api"
    )
    for ask in (client.releases, lambda: stream(client, release.assets[0].url)):
        with contextlib.suppress(BadGateway):
            ask()
    assert len(server.asked()) > 1
    assert carriers(server) == {"api"}


def test_no_download_page_gets_the_token(server: GitHubServer, repo: Repo, connect: Connect):
    client = connect(server.word(repo), ENVIRON)
    stream(client, client.releases()[0].assets[0].download_url)

    assert server.asked("web") != []
    assert carriers(server) == {"api"}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nothing_is_sent_to_an_url_elsewhere(server: GitHubServer, repo: Repo, connect: Connect, method: str):
    client = connect(server.word(repo), ENVIRON)
    url = f"{server.storage.origin}/repos/octo/wheels/releases"

    async def read() -> Any:
        return await client.api.get(url)

    with pytest.raises(BadGateway, match="token is not sent there"):
        send(client, method, url) if method == "POST" else client.run(read)
    assert server.asked("storage") == []


def test_no_request_begins_after_the_end(server: GitHubServer, repo: Repo, connect: Connect):
    client = connect(server.word(repo))

    async def read() -> None:
        await client.api.close()
        await client.listing.current()

    with pytest.raises(Unavailable, match="stopping"):
        client.run(read)
    assert server.asked() == []


def test_an_error_and_the_log_are_without_the_token(server: GitHubServer, repo: Repo, connect: Connect):
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)
    try:
        client = connect(server.word(repo), ENVIRON)
        for status in (400, 401, 403, 404, 429, 500):
            body = f'{{"message": "no: Bearer {TOKEN}", "errors": [{{"message": "{TOKEN}"}}]}}'.encode()
            rule = server.rule("/releases", times=None, status=status, body=body)
            with pytest.raises(Unavailable) as error:
                connect(server.word(repo), ENVIRON).releases()
            assert TOKEN not in str(error.value) + repr(error.value)
            server.rules.remove(rule)
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert TOKEN not in str(events)
    assert TOKEN not in repr(vars(client.api)) + repr(client.listing)


@pytest.mark.parametrize(
    ("word", "origins"),
    [
        ("github:o/r", ["https://api.github.com", "https://uploads.github.com"]),
        ("github+https://api.acme.ghe.com:o/r", ["https://api.acme.ghe.com", "https://uploads.acme.ghe.com"]),
        ("github+https://ghe.example/api/v3:o/r", ["https://ghe.example"]),
        ("github+https://api.evil.example:o/r", ["https://api.evil.example"]),
        ("github+https://api.a.b.ghe.com:o/r", ["https://api.a.b.ghe.com"]),
        ("github+http://api.acme.ghe.com:o/r", ["http://api.acme.ghe.com"]),
        ("github+https://api.github.com:8443:o/r", ["https://api.github.com:8443"]),
    ],
)
def test_the_token_is_for_the_api_and_githubs_own_server_of_uploads(word: str, origins: list[str]):
    assert [str(origin) for origin in parse_repository(word).origins] == origins


def test_the_words_of_a_refusal_are_read_though_they_are_compressed(
    server: GitHubServer, repo: Repo, connect: Connect
):
    message = "Resource protected by organization SAML enforcement. " * 4
    server.rule("/releases", status=403, body=b'{"message": "%s"}' % message.encode())
    with pytest.raises(APIRefusal, match="SAML enforcement"):
        connect(server.word(repo), ENVIRON).releases()


@pytest.mark.parametrize(("status", "clause"), [(407, "proxy"), (508, "looped")])
def test_what_the_way_to_the_api_refuses_is_said_so(
    server: GitHubServer, repo: Repo, connect: Connect, status: int, clause: str
):
    server.rule("/releases", status=status)
    with pytest.raises(SimpleIndexError, match=clause):
        connect(server.word(repo), ENVIRON).releases()


# -- Rate limits


def test_an_exhausted_limit_stops_all_requests_until_it_is_renewed(
    server: GitHubServer, repo: Repo, connect: Connect
):
    bucket = server.limits.of(TOKEN)
    bucket.used, bucket.reset = bucket.limit, int(time.time()) + 1000
    client = connect(server.word(repo), ENVIRON)
    for _ in range(3):
        with pytest.raises(Unavailable, match="exhausted until") as error:
            client.releases()
        assert 0 < error.value.retry_after <= 120
    assert len(server.asked()) == 1


@pytest.mark.parametrize("status", [403, 429, 503])
def test_retry_after_stops_all_requests(server: GitHubServer, repo: Repo, connect: Connect, status: int):
    server.rule("/releases", status=status, headers={"Retry-After": "60"})
    client = connect(server.word(repo), ENVIRON)
    for _ in range(2):
        with pytest.raises(Unavailable) as error:
            client.releases()
        assert 50 < error.value.retry_after <= 60
    assert len(server.asked()) == 1


def test_a_short_delay_is_waited_for(server: GitHubServer, repo: Repo, connect: Connect):
    server.rule("/releases", status=429, headers={"Retry-After": "1"})
    assert connect(server.word(repo), ENVIRON).names() == {"v1": ["demo-1.0.tar.gz"]}


def test_the_limit_of_one_token_is_not_that_of_another(server: GitHubServer, connect: Connect):
    server.token(TOKEN, read=())
    repo = server.repository("octo/open")
    server.limits.of(None).limit = 0
    environ: dict[str, str] = {}
    client = connect(server.word(repo), environ)
    with pytest.raises(Unavailable, match="A token raises the limit"):
        client.releases()
    environ["NETRC"] = ""
    with pytest.raises(Unavailable):
        client.releases()
    assert len(server.asked()) == 1


def test_downloads_elsewhere_go_on_while_the_api_rests(server: GitHubServer, connect: Connect):
    repo = server.repository("octo/open")
    asset = repo.release("v1", {"a.whl": b"content"}).assets[0]
    client = connect(server.word(repo))
    (release,) = client.releases()
    server.limits.of(None).limit = 0
    with pytest.raises(Unavailable):
        client.releases()

    assert stream(client, release.assets[0].download_url) == asset.content
    with pytest.raises(Unavailable, match="exhausted"):
        stream(client, release.assets[0].url)


def test_polls_that_find_nothing_new_cost_nothing_of_the_limit(
    server: GitHubServer, repo: Repo, connect: Connect
):
    client = connect(server.word(repo), ENVIRON)
    client.releases()
    used = server.limits.of(TOKEN).used
    for _ in range(3):
        client.releases()
    assert server.limits.of(TOKEN).used == used


# -- Changes


def test_a_change_is_sent_with_the_token_and_its_document_returned(
    server: GitHubServer, repo: Repo, connect: Connect
):
    client = connect(server.word(repo), ENVIRON)
    made = send(
        client, "POST", f"{client.api.repository.url}/releases", json={"tag_name": "v2", "draft": True}
    )

    assert (made["tag_name"], made["draft"]) == ("v2", True)
    assert send(client, "DELETE", f"{client.api.repository.url}/releases/{made['id']}") is None


def test_a_refused_change_says_why(server: GitHubServer, repo: Repo, connect: Connect):
    client = connect(server.word(repo), ENVIRON)
    with pytest.raises(APIRefusal, match="tag_name") as refusal:
        send(client, "POST", f"{client.api.repository.url}/releases", json={"tag_name": "v1"})
    assert refusal.value.code == 422


def test_a_change_is_sent_once(server: GitHubServer, repo: Repo, connect: Connect):
    server.rule("POST", status=502, times=None)
    client = connect(server.word(repo), ENVIRON)
    with pytest.raises(Unavailable):
        send(client, "POST", f"{client.api.repository.url}/releases", json={"tag_name": "v2"})
    assert len([line for line in server.asked() if line.startswith("POST")]) == 1


def test_a_list_is_walked_to_its_end(server: GitHubServer, repo: Repo, connect: Connect):
    for number in range(130):
        repo.releases[0].add(f"a{number}.whl", b"")
    client = connect(server.word(repo), ENVIRON)
    (release,) = client.releases()
    items = client.run(lambda: client.api.walk(f"{release.url}/assets"))
    assert [item["name"] for item in items] == [asset.name for asset in repo.releases[0].assets]
