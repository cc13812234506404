"""Releases as an upstream, over real sockets: what is listed, where bytes come from, who gets the token."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.github.model import Repo
from tests.kit.github_server import GitHubServer
from tests.kit.released_index import NO_CACHE_TIME, ReleasedIndex
from twisted_index.testing import make_sdist, make_wheel

TOKEN = "github_pat_0123456789abcdef"
WHEEL = "demo-1.0-py3-none-any.whl"
VARIABLES = ("GH", "GITHUB", "GH_ENTERPRISE", "GITHUB_ENTERPRISE", "FORGEJO", "GITEA")


def wheel(version: str = "1.0", name: str = "demo") -> bytes:
    return make_wheel(name, version).content


@pytest.fixture(autouse=True)
def no_tokens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tester's own tokens stay out."""
    for name in VARIABLES:
        monkeypatch.delenv(f"{name}_TOKEN", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture
def forge() -> Iterator[GitHubServer]:
    with GitHubServer() as server:
        yield server
    assert server.errors == []


@pytest.fixture
def forgejo() -> Iterator[GitHubServer]:
    with GitHubServer(forgejo=True) as server:
        yield server
    assert server.errors == []


@pytest.fixture
def make_forgejo_index(forgejo: GitHubServer, tmp_path: Path) -> Iterator:
    made = []

    def make() -> ReleasedIndex:
        made.append(ReleasedIndex(tmp_path, forgejo.word("octo/wheels")))
        made[-1].begin()
        return made[-1]

    yield make
    for index in made:
        index.stop()


@pytest.fixture
def repo(forge: GitHubServer) -> Repo:
    """A public repository."""
    return forge.repository("octo/wheels")


@pytest.fixture
def private(forge: GitHubServer, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """A private one, and a token for it in the environment."""
    forge.token(TOKEN, read=("octo/private",))
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    return forge.repository("octo/private", private=True)


@pytest.fixture
def make_index(forge: GitHubServer, tmp_path: Path) -> Iterator:
    made = []

    def make(repo: Repo | str, more: str = NO_CACHE_TIME) -> ReleasedIndex:
        index = ReleasedIndex(tmp_path, forge.word(repo))
        made.append(index)
        index.begin(more)
        return index

    yield make
    for index in made:
        index.stop()


# -- What is listed


def test_each_wheel_and_sdist_is_listed_with_the_digest_of_the_api(repo: Repo, make_index):
    assets = {WHEEL: wheel(), "demo-1.0.tar.gz": make_sdist("demo", "1.0").content, "notes.txt": b"hello"}
    release = repo.release("v1.0", assets)

    files = make_index(repo).files()

    assert {name: file["hashes"]["sha256"] for name, file in files.items()} == {
        name: release.find(name).sha256 for name in (WHEEL, "demo-1.0.tar.gz")
    }
    assert files[WHEEL]["size"] == len(assets[WHEEL])
    assert files[WHEEL]["upload-time"].startswith(f"{release.find(WHEEL).created:%Y-%m-%dT%H:%M:%S}")


def test_a_pre_release_is_listed_and_a_draft_is_not(forge: GitHubServer, private: Repo, make_index):
    forge.token(TOKEN, write=("octo/private",))  # which sees drafts
    private.release("v1.0rc1", {"demo-1.0rc1-py3-none-any.whl": wheel("1.0rc1")}, prerelease=True)
    private.release("v2.0", {"demo-2.0-py3-none-any.whl": wheel("2.0")}, draft=True)

    assert list(make_index(private).files()) == ["demo-1.0rc1-py3-none-any.whl"]


def test_a_label_tells_the_name_that_was_changed_at_upload(repo: Repo, make_index):
    name = "demo-1.0+cu118-py3-none-any.whl"
    repo.release("v1.0").add(name.replace("+", " "), wheel("1.0+cu118"), label=name)

    assert list(make_index(repo).files()) == [name]


@pytest.mark.parametrize("version", ["1.0+cu118", "1.0+1"])
def test_a_wheel_tells_the_name_that_was_changed_at_upload(repo: Repo, make_index, version: str):
    name = f"demo-{version}-py3-none-any.whl"
    shown = repo.release("v1.0").add(name.replace("+", " "), wheel(version)).name
    assert shown != name
    index = make_index(repo)

    index.files()  # a name that another version could have is doubted once its metadata was read
    index.get(f"/simple/demo/{shown}.metadata", {})

    assert list(index.files()) == [name]
    assert index.content(name) == wheel(version)


def test_metadata_of_another_version_is_not_served(repo: Repo, make_index):
    other = "demo-3.0-py3-none-any.whl"
    repo.release("v1.0", {WHEEL: wheel("2.0"), other: wheel("3.0")})
    index = make_index(repo)
    assert list(index.files()) == [WHEEL, other]

    assert index.refusal(f"/simple/demo/{WHEEL}.metadata")[0] == 409
    assert list(index.files()) == [other]
    assert "their names are not those of the wheels" in index.problems()


def test_a_name_that_nothing_tells_is_a_problem_and_hides_no_other_file(repo: Repo, make_index):
    release = repo.release("v1.0", {WHEEL: wheel()})
    release.add("demo-2.0 x-py3-none-any.whl", b"not a wheel")
    index = make_index(repo)

    assert list(index.files()) == [WHEEL]
    assert "their names are not those of the wheels" in index.problems()


def test_a_wheel_whose_name_cannot_be_read_now_makes_no_shorter_page(forge, repo: Repo, make_index):
    release = repo.release("v1.0", {WHEEL: wheel()})
    release.add("demo-1.0 cu118-py3-none-any.whl", wheel("1.0+cu118"))
    forge.rule("^GET .*/release-asset/", status=503, times=None)
    index = make_index(repo)

    assert index.get("/simple/demo/")[0] == 503

    forge.forget()
    assert len(index.files()) == 2


def test_what_belongs_to_a_file_comes_from_the_same_release(repo: Repo, make_index):
    made = make_wheel("demo", "1.0")
    metadata = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nSummary: beside\n"
    sidecars = {f"{WHEEL}.metadata": metadata, f"{WHEEL}.asc": b"-----BEGIN PGP SIGNATURE-----\n"}
    repo.release("v1.0", {WHEEL: made.content} | sidecars)
    index = make_index(repo)

    file = index.files()[WHEEL]

    assert file["core-metadata"] == {"sha256": hashlib.sha256(metadata).hexdigest()}
    assert file["gpg-sig"] is True
    assert index.content(f"{WHEEL}.metadata") == metadata
    assert index.content(f"{WHEEL}.asc") == sidecars[f"{WHEEL}.asc"]


def test_metadata_is_read_out_of_the_wheel_by_ranges(forge: GitHubServer, repo: Repo, make_index):
    repo.release("v1.0", {WHEEL: make_wheel("demo", "1.0", files={"demo/big": bytes(1 << 20)}).content})
    index = make_index(repo)
    assert index.files()[WHEEL]["core-metadata"]

    assert b"Version: 1.0" in index.content(f"{WHEEL}.metadata")
    parts = [one for one in forge.requests if one.at == "storage"]
    assert parts
    assert all("range" in one.headers for one in parts)


def test_a_repository_without_releases_has_no_such_project(repo: Repo, make_index):
    assert make_index(repo).get("/simple/demo/")[0] == 404


# -- Private repositories, and the token


def test_a_private_file_arrives_through_storage_that_refuses_our_token(forge, private: Repo, make_index):
    private.release("v1.0", {WHEEL: wheel()})
    index = make_index(private)

    assert index.content(WHEEL) == wheel()
    assert "storage" in {one.at for one in forge.requests}


def test_the_token_goes_to_the_api_alone(forge: GitHubServer, private: Repo, make_index, capfd):
    private.release("v1.0", {WHEEL: wheel(), f"{WHEEL}.metadata": b"no metadata"})
    index = make_index(private)
    seen = [index.get("/simple/demo/"), index.get(f"/simple/demo/{WHEEL}", {})]
    seen += [index.get(f"/simple/demo/{WHEEL}.metadata", {}), index.get("/-/metrics", {})]
    private.full_name = "octo/elsewhere"  # from here on there are errors
    seen += [index.get("/simple/demo/"), index.get("/simple/demo-other/"), index.get("/-/problems", {})]

    assert {one.at for one in forge.requests if "authorization" in one.headers} == {"api"}
    assert all("authorization" in one.headers for one in forge.requests if one.at == "api")
    assert not any(TOKEN.encode() in body or TOKEN in str(headers) for _, headers, body in seen)
    assert TOKEN not in "".join(capfd.readouterr())
    kept = [path.read_bytes() for path in index.folder.rglob("*") if path.is_file()]
    assert not any(TOKEN.encode() in content for content in kept)


def test_a_token_of_netrc_and_one_of_a_file_are_used_too(forge, private, make_index, tmp_path, monkeypatch):
    private.release("v1.0", {WHEEL: wheel()})
    monkeypatch.delenv("GITHUB_TOKEN")
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login x password {TOKEN}\n")
    index = make_index(private)
    assert list(index.files()) == [WHEEL]

    (tmp_path / "netrc").write_text("")
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    index.restart(NO_CACHE_TIME + 'github-token-file = "token"\n')
    assert list(index.files()) == [WHEEL]


def test_without_a_token_bytes_cost_nothing_of_the_rate_limit(forge: GitHubServer, repo: Repo, make_index):
    repo.release("v1.0", {WHEEL: wheel()})
    index = make_index(repo)
    index.files()
    used = forge.limits.of(None).used

    assert index.content(WHEEL) == wheel()
    assert not any("/releases/assets/" in line for line in forge.asked())
    assert forge.limits.of(None).used <= used + 1  # the page is read again, as nothing is fresh


# -- Errors


@pytest.mark.parametrize("name", ["octo/private", "octo/nothing"])
@pytest.mark.parametrize("has_token", [False, True])
def test_a_repository_that_is_not_there_or_not_ours_is_an_error(
    forge, make_index, monkeypatch, has_token, name
):
    forge.repository("octo/private", private=True)
    if has_token:
        monkeypatch.setenv("GH_TOKEN", forge.token(TOKEN))

    status, sentence = make_index(name).refusal("/simple/demo/")

    assert status == 502
    assert "no such repository" in sentence
    assert ("the token may not read it" if has_token else "no token is configured") in sentence


def test_the_token_of_a_workflow_at_another_server_is_not_sent(forge, private: Repo, make_index, monkeypatch):
    monkeypatch.setenv("GITHUB_API_URL", "https://ghe.example/api/v3")

    status, sentence = make_index(private).refusal("/simple/demo/")

    assert status == 502
    assert "as GITHUB_TOKEN is that of https://ghe.example (GITHUB_API_URL)" in sentence
    assert all("authorization" not in request.headers for request in forge.requests)


def test_a_token_that_is_not_valid_is_an_error(repo: Repo, make_index, monkeypatch):
    monkeypatch.setenv("GH_TOKEN", TOKEN)
    status, sentence = make_index(repo).refusal("/simple/demo/")
    assert status == 502
    assert "token" in sentence
    assert TOKEN not in sentence


def test_a_rate_limit_is_503_with_the_time_and_nothing_is_asked_until_then(forge, repo, make_index):
    repo.release("v1.0", {WHEEL: wheel()})
    forge.limits.of(None).used = 60
    index = make_index(repo)

    status, headers, body = index.get("/simple/demo/", {})
    asked = len(forge.asked())

    assert status == 503
    assert int(headers["Retry-After"]) > 0
    assert b"UTC" in body
    assert index.get("/simple/demo-two/")[0] == 503
    assert len(forge.asked()) == asked


def test_a_rate_limit_leaves_the_old_page_and_its_files(forge: GitHubServer, repo: Repo, make_index):
    repo.release("v1.0", {WHEEL: wheel()})
    index = make_index(repo)
    index.content(WHEEL)
    forge.limits.of(None).used = 60

    assert list(index.files()) == [WHEEL]
    assert index.content(WHEEL) == wheel()


@pytest.mark.parametrize("status", [500, 502, 503])
def test_an_error_in_the_middle_of_the_pages_is_no_shorter_page(forge, repo, make_index, status):
    for number in range(150):
        name = f"demo-{number}.0-py3-none-any.whl"
        repo.release(f"v{number}", {name: wheel(f"{number}.0")})
    index = make_index(repo)
    rule = forge.rule(r"[?&]page=2", status=status, times=None)
    assert index.get("/simple/demo/")[0] in (502, 503)
    assert rule.hits

    forge.forget()
    assert len(index.files()) == 150

    repo.release("v150", {"demo-150.0-py3-none-any.whl": wheel("150.0")})
    forge.rule(r"[?&]page=2", status=status, times=None)
    assert len(index.files()) == 150


def test_a_file_that_is_deleted_while_it_is_asked_for_is_an_error(forge, repo: Repo, make_index):
    release = repo.release("v1.0", {WHEEL: wheel(), "demo-2.0-py3-none-any.whl": wheel("2.0")})
    index = make_index(repo, 'cache-ttl = "1h"\n')
    assert len(index.files()) == 2

    release.find(WHEEL).delete()

    status, sentence = index.refusal(f"/simple/demo/{WHEEL}")
    assert status in (502, 503), sentence


# -- What requests cost


def test_a_thousand_assets_take_twelve_requests_and_an_unchanged_poll_takes_one(forge, private, make_index):
    release = private.release("v1.0")
    for number in range(1000):
        release.add(f"demo-{number}.0-py3-none-any.whl", b"wheel %d" % number)
    index = make_index(private)

    assert len(index.files()) == 1000
    assert len(forge.asked()) <= 12

    forge.forget()
    used = forge.limits.of(TOKEN).used
    assert len(index.files()) == 1000
    assert len(forge.asked()) == 1
    assert forge.limits.of(TOKEN).used == used


def test_one_request_serves_many_projects(forge: GitHubServer, repo: Repo, make_index):
    assets = {f"demo{n}-1.0-py3-none-any.whl": wheel("1.0", f"demo{n}") for n in range(10)}
    repo.release("v1.0", assets)
    index = make_index(repo, 'cache-ttl = "10m"\n')

    for number in range(10):
        index.files(f"demo{number}")

    assert len(forge.asked()) == 1


# -- Without the forge


def test_what_was_fetched_is_there_offline(forge: GitHubServer, private: Repo, make_index):
    private.release("v1.0", {WHEEL: wheel(), "demo-2.0-py3-none-any.whl": wheel("2.0")})
    index = make_index(private, "")
    index.content(WHEEL)
    forge.forget()

    index.restart("offline = true\n")

    assert list(index.files()) == [WHEEL]
    assert index.content(WHEEL) == wheel()
    assert forge.requests == []


def test_a_restart_needs_no_request_while_the_page_is_fresh(forge, private: Repo, make_index):
    private.release("v1.0", {WHEEL: wheel()})
    index = make_index(private, "")
    index.files()
    forge.forget()

    index.restart("")

    assert list(index.files()) == [WHEEL]
    assert forge.asked() == []
    assert index.content(WHEEL) == wheel()


@pytest.mark.parametrize("change", [{"keep": 1}, {"keep_assets": 1}, {"keep": 0}])
def test_a_list_that_is_cut_after_a_restart_makes_no_page_shorter(forge, repo: Repo, make_index, change):
    for version in ("1.0", "2.0"):
        more = (version, f"{version}.1")
        repo.release(f"v{version}", {f"demo-{v}-py3-none-any.whl": wheel(v) for v in more})
    index = make_index(repo)
    files = list(index.files())
    forge.api.has_etags = False
    forge.rule(r"/releases\?", times=None, **change)

    index.restart()

    assert list(index.files()) == files


def test_releases_that_are_remembered_with_damage_are_read_again(forge, repo: Repo, make_index, tmp_path):
    repo.release("v1.0", {WHEEL: wheel()})
    index = make_index(repo)
    index.files()
    (folder,) = (tmp_path / "state" / "cache" / "upstream" / "pages").iterdir()
    for path in folder.glob("*/*"):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])

    index.restart()

    assert list(index.files()) == [WHEEL]


# -- Other forges


def test_a_forgejo_has_no_digests_and_its_files_are_hashed_once(tmp_path: Path, monkeypatch):
    with GitHubServer(forgejo=True) as forge:
        repo = forge.repository("octo/private", private=True)
        forge.token(TOKEN, read=("octo/private",))
        monkeypatch.setenv("FORGEJO_TOKEN", TOKEN)
        repo.release("v1.0", {WHEEL: wheel()})
        index = ReleasedIndex(tmp_path, forge.word(repo))
        index.begin()
        try:
            assert index.becomes("/simple/demo/", lambda answer: answer[0] == 200)
            assert index.files()[WHEEL]["hashes"] == {"sha256": hashlib.sha256(wheel()).hexdigest()}
            assert index.content(WHEEL) == wheel()
        finally:
            index.stop()
    assert forge.errors == []


def test_a_page_to_sign_in_is_no_file(forgejo: GitHubServer, make_forgejo_index):
    forgejo.repository("octo/wheels").release("v1.0", {WHEEL: wheel()})
    forgejo.rule("GET .*/releases/download/", times=None, status=303, headers={"Location": "/user/login"})
    page = {"status": 200, "headers": {"Content-Type": "text/html"}, "body": b"<html>Sign in</html>"}
    forgejo.rule("GET /user/login", times=None, **page)

    status, sentence = make_forgejo_index().refusal("/simple/demo/")

    assert status == 502
    assert "sent a page in place of this file; it may require a sign-in" in sentence


def test_a_file_whose_url_is_elsewhere_is_refused_with_both_places(forgejo, make_forgejo_index, monkeypatch):
    repo = forgejo.repository("octo/wheels", private=True)
    forgejo.token(TOKEN, read=("octo/wheels",))
    monkeypatch.setenv("FORGEJO_TOKEN", TOKEN)
    repo.release("v1.0", {WHEEL: wheel()})
    elsewhere = forgejo.views.web = forgejo.views.web.replace("127.0.0.1", "localhost")

    status, sentence = make_forgejo_index().refusal("/simple/demo/")

    assert status == 502
    assert f"{elsewhere} for this file, which is not {forgejo.origin}" in sentence
    assert forgejo.leaks(TOKEN) == []


def test_a_file_that_a_forgejo_only_links_to_is_listed_and_gets_no_token(
    forgejo, make_forgejo_index, monkeypatch
):
    monkeypatch.setenv("FORGEJO_TOKEN", forgejo.token(TOKEN, read=("octo/wheels",)))
    asset = forgejo.repository("octo/wheels", private=True).release("v1.0").add(WHEEL, wheel())
    linked = {"type": "external", "size": 0, "browser_download_url": forgejo.storage.url(asset)}

    def link(body: bytes) -> bytes:
        (release,) = json.loads(body)
        return json.dumps([release | {"assets": [release["assets"][0] | linked]}]).encode()

    forgejo.rule(r"/releases\?", times=None, edit=link)
    index = make_forgejo_index()

    assert index.files()[WHEEL]["hashes"] == {"sha256": asset.sha256}
    assert index.content(WHEEL) == wheel()
    assert forgejo.leaks(TOKEN) == []


@pytest.mark.parametrize("has_token", [True, False])
def test_a_storage_that_refuses_its_own_url_is_given_a_new_one(
    forge: GitHubServer, repo: Repo, make_index, monkeypatch, has_token: bool
):
    if has_token:
        monkeypatch.setenv("GITHUB_TOKEN", forge.token(TOKEN, read=("octo/wheels",)))
    repo.release("v1.0", {WHEEL: wheel()})
    index = make_index(repo)
    index.files()
    forge.rule("GET /release-asset/", status=403)

    assert index.content(WHEEL) == wheel()
    assert len(set(forge.asked("storage"))) == 2


# -- Changes


def test_a_file_that_is_replaced_under_its_name_is_refused(forge: GitHubServer, repo: Repo, make_index):
    release = repo.release("v1.0", {WHEEL: wheel()})
    index = make_index(repo)
    assert index.content(WHEEL) == wheel()

    release.replace(WHEEL, make_wheel("demo", "1.0", files={"demo/new.py": b"x = 1\n"}).content)

    assert index.files()[WHEEL]["hashes"] == {"sha256": hashlib.sha256(wheel()).hexdigest()}
    assert index.content(WHEEL) == wheel()
    assert "replaced this file under its name" in index.problems()


def test_a_new_release_is_there_and_a_deleted_file_is_not(repo: Repo, make_index):
    release = repo.release("v1.0", {WHEEL: wheel(), "demo-1.1-py3-none-any.whl": wheel("1.1")})
    index = make_index(repo)
    assert len(index.files()) == 2

    release.find(WHEEL).delete()
    repo.release("v2.0", {"demo-2.0-py3-none-any.whl": wheel("2.0")})

    assert list(index.files()) == ["demo-1.1-py3-none-any.whl", "demo-2.0-py3-none-any.whl"]


def test_a_repository_that_was_renamed_is_found(repo: Repo, make_index):
    repo.release("v1.0", {WHEEL: wheel()})
    index = make_index(repo)

    repo.rename("octo/wheelhouse")

    assert list(index.files()) == [WHEEL]
    assert index.content(WHEEL) == wheel()


@pytest.mark.parametrize("prefix", ["", "/api/v3"])
def test_bytes_come_also_from_an_api_that_sends_them_itself(tmp_path: Path, monkeypatch, prefix: str):
    with GitHubServer(prefix=prefix) as forge:
        monkeypatch.setenv("GH_ENTERPRISE_TOKEN", forge.token(TOKEN, read=("octo/private",)))
        forge.api.redirects = False
        repo = forge.repository("octo/private", private=True)
        repo.release("v1.0", {WHEEL: wheel()})
        index = ReleasedIndex(tmp_path, forge.word(repo))
        index.begin()
        try:
            assert index.content(WHEEL) == wheel()
        finally:
            index.stop()
    assert forge.errors == []


def test_an_api_that_only_describes_a_file_leaves_its_other_url(forge, repo, make_index, monkeypatch):
    monkeypatch.setenv("GH_TOKEN", forge.token(TOKEN))
    repo.release("v1.0", {WHEEL: wheel()})
    forge.rule("^GET .*/releases/assets/", status=200, times=None)

    assert make_index(repo).content(WHEEL) == wheel()


def test_a_storage_that_refuses_is_told_apart_from_the_api(forge: GitHubServer, private: Repo, make_index):
    private.release("v1.0", {WHEEL: wheel()})
    index = make_index(private)
    index.files()
    forge.rule("release-asset", status=403, times=None)

    sentence = "The server with the files of the releases refused the request (403)."
    assert index.refusal(f"/simple/demo/{WHEEL}") == (502, sentence)
