"""Clients of GitHub's API by other people find the local server to be right: `gh` and PyGithub."""

from __future__ import annotations

import json
import ssl

import pytest

from tests.kit.github_server import GitHubServer

WHEEL = "demo-1.0-py3-none-any.whl"
BYTES = b"PK\x03\x04 no wheel, but bytes"


def is_told(server, at):
    """Tell whether a request at a listener had the field Authorization."""
    return any("authorization" in request.headers for request in server.requests if request.at == at)


@pytest.fixture
def enterprise(tmp_path):
    """GitHub Enterprise over https, as `gh` speaks no other."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with GitHubServer(prefix="/api/v3", tls=context) as server:
        server.repository("octo/wheels", private=True)
        server.token("a-secret", write=("octo/wheels",))
        yield server
        assert server.errors == []


@pytest.fixture
def gh(enterprise, shell, find_program, tmp_path):
    """
    Run `gh` in a folder of its own.

    Its token is in the file of its hosts: one of GH_ENTERPRISE_TOKEN is sent to the storage as well.
    """
    program, host = find_program("gh"), f"localhost:{enterprise.port}"
    hosts = shell.home / ".config" / "gh" / "hosts.yml"
    hosts.parent.mkdir(parents=True)
    hosts.write_text(json.dumps({host: {"oauth_token": "a-secret", "user": "octocat"}}))
    env = {
        "GH_CONFIG_DIR": str(hosts.parent),
        "GH_HOST": host,
        "GH_REPO": f"{host}/octo/wheels",
        "GH_NO_UPDATE_NOTIFIER": "1",
        "SSL_CERT_FILE": str(tmp_path / "ca.pem"),
    }
    return lambda *words: shell.must(program, *words, env=env)


@pytest.fixture
def wheels(enterprise):
    return enterprise.forge.named("octo/wheels")


def test_gh_sees_releases_and_assets(gh, wheels):
    wheels.release("v1", {WHEEL: BYTES, "notes.txt": b"x"})
    wheels.release("v2", prerelease=True)
    listed = [line.split("\t")[:3] for line in gh("release", "list").splitlines()]
    assert listed == [["v2", "Pre-release", "v2"], ["v1", "Latest", "v1"]]
    view = json.loads(gh("release", "view", "v1", "--json", "assets,isDraft"))
    assert [(asset["name"], asset["size"]) for asset in view["assets"]] == [
        (WHEEL, len(BYTES)),
        ("notes.txt", 1),
    ]
    assert view["isDraft"] is False


def test_gh_reads_all_pages(gh, wheels):
    release = wheels.release("v1", {f"{number}.whl": b"x" for number in range(250)})
    names = gh("api", f"repos/octo/wheels/releases/{release.id}/assets", "--paginate", "--jq", ".[].name")
    assert names.split() == [f"{number}.whl" for number in range(250)]


def test_gh_downloads_from_the_storage_and_keeps_its_token(gh, wheels, enterprise, shell):
    wheels.release("v1", {WHEEL: BYTES, "other.txt": b"x"})
    gh("release", "download", "v1", "--dir", "out")
    assert (shell.home / "out" / WHEEL).read_bytes() == BYTES
    assert is_told(enterprise, "api")
    assert not is_told(enterprise, "storage")


def test_gh_makes_a_release_of_a_draft(gh, wheels, shell):
    for name in ("demo-1.0+local-py3-none-any.whl", "de mo~1.txt"):
        (shell.home / name).write_bytes(BYTES)
    gh("release", "create", "v1", "--draft", "--notes", "n", "demo-1.0+local-py3-none-any.whl")
    assert wheels.find("v1").is_draft
    gh("release", "upload", "v1", "de mo~1.txt#de mo~1.txt")
    gh("release", "edit", "v1", "--draft=false")
    release = wheels.find("v1")
    assert not release.is_draft
    assert [(asset.name, asset.label) for asset in release.assets] == [
        ("demo-1.0+local-py3-none-any.whl", ""),
        ("de.mo.1.txt", "de mo~1.txt"),
    ]
    assert {asset.content for asset in release.assets} == {BYTES}


def test_gh_replaces_and_deletes_assets(gh, wheels, shell):
    release = wheels.release("v1", {WHEEL: b"old", "other.txt": b"x"})
    (shell.home / WHEEL).write_bytes(BYTES)
    gh("release", "upload", "v1", WHEEL, "--clobber")
    gh("release", "delete-asset", "v1", "other.txt", "--yes")
    assert [(asset.name, asset.content) for asset in release.assets] == [(WHEEL, BYTES)]
    gh("release", "delete", "v1", "--yes")
    assert wheels.releases == []


@pytest.fixture
def pygithub():
    return pytest.importorskip("github")


@pytest.fixture
def direct():
    """A server that gives the bytes itself: PyGithub follows redirects to GitHub's own hosts only."""
    with GitHubServer() as server:
        server.api.redirects = False
        server.repository("octo/wheels", private=True)
        server.token("a-secret", write=("octo/wheels",))
        yield server
        assert server.errors == []


@pytest.fixture
def repository(pygithub, direct):
    token = pygithub.Auth.Token("a-secret")
    return pygithub.Github(auth=token, base_url=direct.url, retry=None).get_repo("octo/wheels")


def test_pygithub_lists_and_downloads(repository, direct, tmp_path):
    repo = direct.forge.named("octo/wheels")
    files = {f"{number}.whl": b"%d" % number for number in range(250)}
    repo.release("v0", files)
    for number in range(1, 41):
        repo.release(f"v{number}", prerelease=True)
    assert repository.private
    assert len(list(repository.get_releases())) == 41
    assert repository.get_latest_release().tag_name == "v0"
    assets = list(repository.get_release("v0").get_assets())
    assert [asset.name for asset in assets] == list(files)
    assert assets[7].digest == f"sha256:{repo.find('v0').assets[7].sha256}"
    assets[7].download_asset(str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"7"


def test_pygithub_uploads_renames_and_publishes(pygithub, repository, direct, tmp_path):
    file = tmp_path / "de~mo-1.0.whl"
    file.write_bytes(BYTES)
    release = repository.create_git_release("v1", "one", "text", draft=True)
    asset = release.upload_asset(str(file), label=file.name)
    assert (asset.name, asset.label, asset.state) == ("de.mo-1.0.whl", file.name, "uploaded")
    with pytest.raises(pygithub.GithubException) as refused:
        release.upload_asset(str(file))
    assert refused.value.status == 422
    assert refused.value.data["errors"][0]["code"] == "already_exists"
    assert asset.update_asset(WHEEL, "label").name == WHEEL
    assert release.update_release("one", "text", draft=False).draft is False
    assert direct.forge.named("octo/wheels").find("v1").find(WHEEL).content == BYTES
    with pytest.raises(pygithub.UnknownObjectException):
        repository.get_release("v2")


def test_pygithub_follows_a_renamed_repository_and_sees_the_limit(pygithub, direct):
    client = pygithub.Github(auth=pygithub.Auth.Token("a-secret"), base_url=direct.url, retry=None)
    direct.forge.named("octo/wheels").rename("octo/other")
    assert client.get_repo("octo/wheels").full_name == "octo/other"
    assert client.rate_limiting == (4998, 5000)
    direct.limits.of("a-secret").limit = 1
    with pytest.raises(pygithub.RateLimitExceededException):
        client.get_repo("octo/other")
