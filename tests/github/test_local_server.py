"""The local server answers as GitHub documents it: what clients of other people do not look at."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request

import pytest

from tests.kit.github.names import mangled
from tests.kit.github_server import GitHubServer

WHEEL = "demo-1.0-py3-none-any.whl"


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


_OPENER = urllib.request.build_opener(_Stay)


def ask(url, token=None, *, method="GET", body=None, **fields):
    """Ask without following redirects; give the status, the header fields and the body."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(url, data=body, method=method, headers=headers)
    try:
        with _OPENER.open(request, timeout=20) as reply:
            return reply.status, reply.headers, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def links(headers):
    return {relation: url for url, relation in re.findall(r'<([^>]*)>; rel="(\w+)"', headers["Link"] or "")}


@pytest.fixture
def server():
    with GitHubServer() as server:
        server.repository("octo/wheels", private=True)
        server.token("reader", read=("octo/wheels",))
        server.token("writer", write=("octo/wheels",))
        server.token("stranger")
        yield server
        assert server.errors == []


@pytest.fixture
def repo(server):
    return server.forge.named("octo/wheels")


@pytest.fixture
def releases(server):
    return f"{server.url}/repos/octo/wheels/releases"


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("tobwen-1.1.0-1~buster_amd64.deb", "tobwen-1.1.0-1.buster_amd64.deb"),
        ("app.prod-v1.3.0-(15-5)-6064eac-release.apk", "app.prod-v1.3.0-.15-5.-6064eac-release.apk"),
        ("My App 1.0.0 Setup.exe", "My.App.1.0.0.Setup.exe"),
        ("a5_ð_æ_©_ŋ.txt", "a5_d_ae_._ng.txt"),
        ("fake.      file.txt", "fake.file.txt"),
        ("erick%%%%%!!!zhao.txt", "erick.zhao.txt"),
        ("hello-world-5.0.0+master.001.tar.gz", "hello-world-5.0.0+master.001.tar.gz"),
        (".gitignore", "default.gitignore"),
        (WHEEL, WHEEL),
    ],
)
def test_names_change_as_others_have_seen_it(name, seen):
    assert mangled(name) == seen


def test_a_plus_that_is_not_encoded_is_a_blank(server, repo):
    release = repo.release("v1", draft=True)
    url = f"{server.url}/repos/octo/wheels/releases/{release.id}/assets?name="
    for spelled in ("a+b.whl", "a%2Bb.whl"):
        assert ask(f"{url}{spelled}", "writer", method="POST", body=b"x", Content_Type="a/b")[0] == 201
    assert [asset.name for asset in release.assets] == ["a.b.whl", "a+b.whl"]


@pytest.mark.parametrize(
    ("token", "status"), [(None, 404), ("stranger", 404), ("unknown", 401), ("reader", 200), ("writer", 200)]
)
def test_a_private_repository_is_for_those_with_a_right(releases, token, status):
    assert ask(releases, token)[0] == status


def test_drafts_are_for_writers(repo, releases):
    draft = repo.release("v1", draft=True)
    assert json.loads(ask(releases, "reader")[2]) == []
    assert [release["id"] for release in json.loads(ask(releases, "writer")[2])] == [draft.id]
    assert ask(f"{releases}/tags/v1", "writer")[0] == 404
    assert ask(f"{releases}/{draft.id}", "reader")[0] == 404


def test_pages_of_assets_are_linked_by_number(server, repo, releases):
    release = repo.release("v1", {f"{number}.whl": b"x" for number in range(250)})
    _, headers, body = ask(f"{releases}/{release.id}/assets?per_page=100&page=2", "reader")
    found = links(headers)
    assert len(json.loads(body)) == 100
    assert list(found) == ["prev", "next", "last", "first"]
    assert found["next"] == (
        f"{server.url}/repositories/{repo.id}/releases/{release.id}/assets?per_page=100&page=3"
    )
    assert len(json.loads(ask(found["last"], "reader")[2])) == 50
    assert len(json.loads(ask(f"{releases}/{release.id}/assets", "reader")[2])) == 30
    assert len(json.loads(ask(f"{releases}/{release.id}/assets?per_page=999", "reader")[2])) == 100


def test_an_unchanged_list_costs_those_with_a_token_nothing(server, repo, releases):
    repo.is_private = False
    for token, cost in (("reader", 1), (None, 2)):
        etag = ask(releases, token)[1]["ETag"]
        assert ask(releases, token, If_None_Match=etag)[0] == 304
        assert server.limits.of(token).used == cost


def test_a_download_changes_the_list_by_its_count(repo, releases):
    asset = repo.release("v1", {WHEEL: b"x"}).find(WHEEL)
    etag = ask(releases, "reader")[1]["ETag"]
    assert ask(f"{releases}/assets/{asset.id}", "reader", Accept="application/octet-stream")[0] == 302
    status, _, body = ask(releases, "reader", If_None_Match=etag)
    assert (status, json.loads(body)[0]["assets"][0]["download_count"]) == (200, 1)


def test_an_exhausted_limit_is_403_and_says_until_when(server, releases):
    server.limits.of("reader").limit = 1
    assert ask(releases, "reader")[0] == 200
    status, headers, _ = ask(releases, "reader")
    assert (status, headers["X-RateLimit-Remaining"]) == (403, "0")
    assert int(headers["X-RateLimit-Reset"]) == server.limits.of("reader").reset


def test_storage_takes_its_own_signature_and_no_token(server, repo, releases):
    asset = repo.release("v1", {WHEEL: b"0123456789"}).find(WHEEL)
    octets = {"Accept": "application/octet-stream"}
    _, headers, _ = ask(f"{releases}/assets/{asset.id}", "reader", **octets)
    signed = headers["Location"]
    assert signed.startswith(server.storage.origin)
    assert ask(signed)[2] == b"0123456789"
    assert ask(signed, "reader")[0] == 400
    assert ask(signed.replace("sig=", "sig=0"))[0] == 403
    status, headers, body = ask(signed, Range="bytes=-3")
    assert (status, headers["Content-Range"], body) == (206, "bytes 7-9/10", b"789")
    server.storage.seconds = -1
    assert ask(ask(f"{releases}/assets/{asset.id}", "reader", **octets)[1]["Location"])[0] == 403


def test_the_browsers_url_takes_a_cookie_and_no_token(server, repo):
    asset = repo.release("v1", {WHEEL: b"x"}).find(WHEEL)
    url = server.views.download_url(asset)
    assert ask(url, "writer")[0] == 404
    assert ask(url, Cookie="user_session=a-session")[0] == 302
    repo.is_private = False
    assert ask(url)[0] == 302


def test_the_name_of_an_asset_is_taken_once(repo, releases):
    release = repo.release("v1", {WHEEL: b"x"}, draft=True)
    url = f"{releases}/{release.id}/assets?name={WHEEL}"
    status, _, body = ask(url, "writer", method="POST", body=b"y", Content_Type="a/b")
    assert (status, json.loads(body)["errors"][0]["code"]) == (422, "already_exists")


def test_an_immutable_release_keeps_its_assets(repo, releases):
    repo.is_immutable = True
    release = repo.release("v1", {WHEEL: b"x"})
    url = f"{releases}/assets/{release.find(WHEEL).id}"
    assert ask(url, "writer", method="DELETE")[0] == 422
    assert ask(url, "reader", method="DELETE")[0] == 403


def test_a_renamed_repository_redirects_those_who_may_read_it(repo, releases):
    repo.rename("octo/other")
    status, headers, _ = ask(f"{releases}?per_page=5", "reader")
    assert status == 301
    assert headers["Location"].endswith(f"/repositories/{repo.id}/releases?per_page=5")
    assert ask(headers["Location"], "reader")[0] == 200
    assert ask(releases)[0] == 404


def test_a_rule_changes_the_request_it_names(server, repo, releases):
    rule = server.rule(r"GET .*/releases$", first=2, status=502, headers={"Retry-After": "7"})
    answers = [ask(releases, "reader") for _ in range(3)]
    assert [status for status, _, _ in answers] == [200, 502, 200]
    assert (answers[1][1]["Retry-After"], rule.hits) == ("7", 3)


def test_a_rule_acts_between_two_requests(server, repo, releases):
    release = repo.release("v1", {WHEEL: b"x"})
    server.rule("GET", first=2, before=release.find(WHEEL).delete)
    counts = [len(json.loads(ask(releases, "reader")[2])[0]["assets"]) for _ in range(2)]
    assert counts == [1, 0]


def test_every_request_is_recorded_with_its_fields(server, repo, releases):
    ask(releases, "reader")
    (request,) = server.requests
    assert (request.at, request.line, request.status) == ("api", "GET /repos/octo/wheels/releases", 200)
    assert request.headers["authorization"] == "Bearer reader"


def test_forgejo_gives_bytes_at_the_browsers_url_and_takes_forms():
    with GitHubServer(forgejo=True) as server:
        repo = server.repository("octo/wheels", private=True)
        server.token("writer", write=("octo/wheels",))
        release = repo.release("v1", {f"{number}.whl": b"x" for number in range(60)}, draft=True)
        url = f"{server.url}/repos/octo/wheels/releases/{release.id}"
        form = (
            b"--b\r\nContent-Disposition: form-data; name=attachment; filename=x\r\n"
            b"Content-Type: application/octet-stream\r\n\r\nbytes\r\n\x00\r\n--b--\r\n"
        )
        kind = "multipart/form-data; boundary=b"
        status, _, body = ask(
            f"{url}/assets?name=a~b.whl", "writer", method="POST", body=form, Content_Type=kind
        )
        assert status == 201
        release.publish()
        (asset,) = [found for found in json.loads(ask(url, "writer")[2])["assets"] if "~" in found["name"]]
        assert json.loads(body)["id"] == asset["id"]
        assert not {"digest", "label", "state", "url"} & set(asset)
        assert ask(asset["browser_download_url"], "writer")[2] == b"bytes\r\n\x00"
        assert ask(asset["browser_download_url"])[0] == 404
        assert len(json.loads(ask(f"{url}/assets", "writer")[2])) == 61
        assert server.errors == []


def test_what_carries_a_secret_elsewhere_is_found(server, repo, releases):
    asset = repo.release("v1", {WHEEL: b"x"}).find(WHEEL)
    ask(releases, "reader")
    assert server.leaks("reader") == []
    ask(f"{releases}?token=reader", "reader")
    ask(server.storage.url(asset), "reader")
    assert [request.at for request in server.leaks("reader")] == ["api", "storage"]


def test_a_rule_edits_a_body(server, repo, releases):
    repo.release("v1")
    server.rule("GET", edit=lambda body: body.replace(b"v1", b"v2"))
    assert json.loads(ask(releases, "reader")[2])[0]["tag_name"] == "v2"
