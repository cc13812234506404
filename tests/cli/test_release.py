"""`twisted-index release`: what it accepts, what it makes of it, and what it says."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.kit.github_server import GitHubServer
from twisted_index.github import publisher
from twisted_index.testing import make_sdist, make_wheel

WHEEL, SDIST = make_wheel("demo", "1.0"), make_sdist("demo", "1.0")
METADATA = f"{WHEEL.filename}.metadata"
#: GitHub makes `other-2.1.0-py3-none-any.whl` of it.
EPOCH = make_wheel("other", "2!1.0")


@pytest.fixture(autouse=True)
def surroundings(without_settings, monkeypatch):
    """No settings of this machine, a token, and no long waits between tries."""
    for name in [name for name in os.environ if name.endswith("_TOKEN")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", "/dev/null")
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    monkeypatch.setattr(publisher, "_BACK_OFF", 0.01)


def serving(**options):
    server = GitHubServer(**({"prefix": "/api/v3"} | options))
    server.token("secret", write=("octo/wheels",))
    return server


@pytest.fixture
def server():
    with serving() as running:
        yield running
        assert running.errors == []


@pytest.fixture
def repo(server):
    return server.repository("octo/wheels", private=True)


@pytest.fixture
def release(command, server, repo):
    """Run the command for files in the current folder."""
    return lambda *words, tag="v1.0": command("release", "--to", server.word(repo), "--tag", tag, *words)


@pytest.fixture(autouse=True)
def files(without_settings):
    for file in (WHEEL, SDIST, EPOCH):
        Path(file.filename).write_bytes(file.content)


def contents(release) -> dict[str, bytes]:
    return {asset.name: asset.content for asset in release.assets}


# -- What is released


def test_files_become_a_published_release_with_the_metadata_of_wheels(release, repo):
    code, out, err = release(WHEEL.filename, SDIST.filename)

    assert code == 0
    made = repo.find("v1.0")
    assert not made.is_draft
    assert contents(made) == {
        WHEEL.filename: WHEEL.content,
        METADATA: WHEEL.metadata,
        SDIST.filename: SDIST.content,
    }
    assert out.startswith("3 files uploaded (")
    assert out.endswith("v1.0 is published. " + out.split()[-1] + "\n")
    assert WHEEL.filename in err


def test_metadata_beside_wheels_can_be_left_out(release, repo):
    assert release("--no-metadata", WHEEL.filename)[0] == 0
    assert contents(repo.find("v1.0")) == {WHEEL.filename: WHEEL.content}


def test_a_release_can_hold_several_projects(release, repo):
    assert release("--no-metadata", WHEEL.filename, EPOCH.filename)[0] == 0
    assert len(repo.find("v1.0").assets) == 2


def test_the_release_gets_its_title_notes_and_target(release, repo):
    Path("notes.md").write_text("All *new*.\n")

    words = ("--title", "One", "--notes", "notes.md", "--target", "stable", "--prerelease")
    assert release(*words, SDIST.filename)[0] == 0

    made = repo.find("v1.0")
    assert (made.name, made.body, made.target, made.is_prerelease) == ("One", "All *new*.\n", "stable", True)


def test_a_file_whose_name_the_server_changes_is_labelled_with_it(release, repo):
    assert release(EPOCH.filename)[0] == 0

    labels = {asset.name: asset.label for asset in repo.find("v1.0").assets}
    assert labels == {
        "other-2.1.0-py3-none-any.whl": EPOCH.filename,
        "other-2.1.0-py3-none-any.whl.metadata": f"{EPOCH.filename}.metadata",
    }
    assert release(EPOCH.filename)[1].startswith("The release v1.0 has all 2 files. There is nothing to do.")


def test_a_name_that_is_changed_unexpectedly_is_labelled_afterwards(release, server, repo):
    as_before = server.views.asset

    def changed(asset):
        if asset.name == SDIST.filename:
            asset.name = "changed.zip"
        return as_before(asset)

    server.views.asset = changed
    assert release(SDIST.filename)[0] == 0
    (asset,) = repo.find("v1.0").assets
    assert (asset.name, asset.label) == ("changed.zip", SDIST.filename)


# -- What is refused before anything is sent


def test_nothing_is_sent_if_a_file_is_damaged(release, server):
    Path(WHEEL.filename).write_bytes(WHEEL.content[:-100])

    code, out, err = release(WHEEL.filename, SDIST.filename)

    assert (code, out) == (1, "")
    assert f"{WHEEL.filename}: " in err
    assert err.endswith("1 of 2 files cannot be released; nothing was sent.\n")
    assert server.requests == []


def test_a_file_has_to_be_what_its_name_says(release, server):
    Path("demo-2.0-py3-none-any.whl").write_bytes(WHEEL.content)

    code, _out, err = release("demo-2.0-py3-none-any.whl")

    assert code == 1
    assert "Version '1.0', but its file name says '2.0'" in err
    assert server.requests == []


def test_a_pattern_that_matches_nothing_is_no_such_file(release):
    assert release("dist/*") == (64, "", "twisted-index: dist/*: There is no such file.\n")


@pytest.mark.parametrize("name", ["notes.txt", "demo-1.0.egg"])
def test_other_files_are_refused(release, server, name):
    Path(name).write_bytes(b"x")
    assert release(name)[0] == 64
    assert server.requests == []


@pytest.mark.parametrize(
    "tag", ["", " ", "v 1", "../v1", "v1..2", "v1.", "a//b", "v1.lock", "v1:2", "v~1", "v1\n", "@{1}", "/v1"]
)
def test_what_is_no_tag_is_refused(release, server, tag):
    code, _out, err = release(WHEEL.filename, tag=tag)

    assert (code, "such as v1.0" in err) == (64, True)
    assert server.requests == []


@pytest.mark.parametrize("tag", ["1", "release/1.0", "demo-1.0+cu118", "v1.0-rc.1", "@acme/demo@1", "für-1"])
def test_a_tag_may_be_any_of_git(release, repo, tag):
    assert release(SDIST.filename, tag=tag)[0] == 0
    assert not repo.find(tag).is_draft


def test_a_file_is_given_once(release, server):
    Path("more").mkdir()
    twin = Path("more") / WHEEL.filename.replace("demo-1.0", "Demo-1.0.0")
    twin.write_bytes(WHEEL.content)

    code, _out, err = release(WHEEL.filename, str(twin))

    assert code == 64
    assert "are the same file to an installer" in err
    assert server.requests == []


def test_a_signature_and_a_provenance_go_with_their_file(release, repo):
    for suffix in (".asc", ".provenance"):
        Path(f"{SDIST.filename}{suffix}").write_bytes(suffix.encode())

    assert release(SDIST.filename, f"{SDIST.filename}.asc", f"{SDIST.filename}.provenance")[0] == 0

    assert contents(repo.find("v1.0")) == {
        SDIST.filename: SDIST.content,
        f"{SDIST.filename}.asc": b".asc",
        f"{SDIST.filename}.provenance": b".provenance",
    }


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([f"{SDIST.filename}.asc"], f"belongs to {SDIST.filename}; give that file, too."),
        ([SDIST.filename, f"{SDIST.filename}.asc", f"more/{SDIST.filename}.asc"], "are given for one file"),
    ],
)
def test_a_signature_has_one_file_and_a_file_one_signature(release, server, names, sentence):
    Path("more").mkdir()
    for name in names:
        if name.endswith(".asc"):
            Path(name).write_bytes(b"signature")

    code, _out, err = release(*names)

    assert (code, sentence in err) == (64, True)
    assert server.requests == []


def test_an_empty_signature_is_refused(release, server):
    Path(f"{SDIST.filename}.asc").touch()

    code, _out, err = release(SDIST.filename, f"{SDIST.filename}.asc")

    assert (code, ".asc is empty, or has more than 1,048,576 bytes." in err) == (1, True)
    assert server.requests == []


def test_a_file_that_is_not_there_is_named(release):
    code, _out, err = release("absent-1.0.tar.gz")
    assert code == 1
    assert "absent-1.0.tar.gz: It cannot be read: No such file or directory." in err


def test_a_release_needs_a_token(release, monkeypatch, server):
    monkeypatch.delenv("GITHUB_TOKEN")
    code, _out, err = release(SDIST.filename)
    assert code == 64
    assert "GITHUB_TOKEN" in err
    assert server.requests == []


def test_the_token_of_a_workflow_at_another_server_is_none(release, monkeypatch, server):
    monkeypatch.setenv("GITHUB_API_URL", "https://ghe.example/api/v3")

    code, _out, err = release(WHEEL.filename)

    assert code == 64
    assert "GITHUB_TOKEN is that of https://ghe.example (GITHUB_API_URL)." in err
    assert server.asked(None) == []


def test_the_token_may_be_in_a_file(release, monkeypatch, repo):
    monkeypatch.delenv("GITHUB_TOKEN")
    Path("token").write_text("secret\n")
    assert release("--token-file", "token", SDIST.filename)[0] == 0
    assert not repo.find("v1.0").is_draft


def test_a_repository_is_checked_before_files(command):
    code, _out, err = command("release", "--to", "https://github.com/o/r", "--tag", "v1", SDIST.filename)
    assert code == 64
    assert "write github:o/r" in err


# -- A draft is continued


def test_a_draft_gets_what_it_lacks(release, server, repo):
    draft = repo.release("v1.0", {SDIST.filename: SDIST.content, "LICENSE": b"free"}, draft=True)
    kept = draft.find(SDIST.filename)

    code, out, _err = release("--no-metadata", WHEEL.filename, SDIST.filename)

    assert code == 0
    assert out.startswith("1 file uploaded (")
    assert repo.releases == [draft]
    assert not draft.is_draft
    assert draft.find(SDIST.filename) is kept
    assert set(contents(draft)) == {WHEEL.filename, SDIST.filename, "LICENSE"}


def test_what_is_incomplete_or_other_content_in_a_draft_is_replaced(release, repo):
    draft = repo.release("v1.0", {SDIST.filename: SDIST.content[:-1] + b"?"}, draft=True)
    draft.add(WHEEL.filename, b"begun", state="starter")

    assert release("--no-metadata", WHEEL.filename, SDIST.filename)[0] == 0

    assert contents(draft) == {WHEEL.filename: WHEEL.content, SDIST.filename: SDIST.content}
    assert {asset.state for asset in draft.assets} == {"uploaded"}


def test_a_draft_with_many_assets_is_read_to_the_end(release, server, repo):
    draft = repo.release("v1.0", {f"{number}.txt": b"x" for number in range(250)}, draft=True)
    draft.add(SDIST.filename, SDIST.content)
    server.views.inline_limit = 30

    assert release(SDIST.filename)[1].startswith("0 files uploaded (0 bytes), 1 file already there")
    assert len(draft.assets) == 251


def test_files_are_compared_by_their_bytes_where_the_api_has_no_digests(release, server, repo):
    server.views.has_digests = False
    draft = repo.release(
        "v1.0", {SDIST.filename: SDIST.content, WHEEL.filename: b"?" * WHEEL.size}, draft=True
    )
    kept = draft.find(SDIST.filename)

    assert release("--no-metadata", WHEEL.filename, SDIST.filename)[0] == 0

    assert contents(draft) == {WHEEL.filename: WHEEL.content, SDIST.filename: SDIST.content}
    assert draft.find(SDIST.filename) is kept
    sent = [request for request in server.requests if "authorization" in request.headers]
    assert {request.at for request in sent} == {"api"}


def test_one_of_several_drafts_is_not_chosen(release, repo):
    first, second = (repo.release("v1.0", draft=True) for _ in range(2))

    code, _out, err = release(SDIST.filename)

    assert code == 1
    assert "There are 2 drafts of v1.0; delete all but one" in err
    assert all(draft.is_draft for draft in (first, second))


# -- A published release is not changed


def test_a_release_that_has_all_files_needs_nothing(release, server, repo):
    made = repo.release("v1.0", {SDIST.filename: SDIST.content})

    code, out, err = release(SDIST.filename)

    assert (code, err) == (0, "")
    assert out.startswith("The release v1.0 has all 1 file. There is nothing to do.")
    assert {request.method for request in server.requests} == {"GET"}
    assert len(made.assets) == 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, f"is published, and lacks {SDIST.filename}"), (b"?", f"has other content as {SDIST.filename}")],
)
def test_a_published_release_without_the_files_is_refused(release, server, repo, content, sentence):
    repo.release("v1.0", {} if content is None else {SDIST.filename: content})

    code, out, err = release(SDIST.filename)

    assert (code, out) == (1, "")
    assert sentence in err
    assert {request.method for request in server.requests} == {"GET"}


# -- Failures


def test_an_upload_that_fails_is_repeated_and_its_remains_are_deleted(release, server, repo):
    server.rule("POST .*/assets", status=502, starter=True)

    assert release(SDIST.filename)[0] == 0

    (asset,) = repo.find("v1.0").assets
    assert (asset.state, asset.content) == ("uploaded", SDIST.content)


def test_an_upload_that_is_reported_as_failed_but_was_not_counts(release, server, repo):
    server.rule("POST .*/assets", send=0)

    assert release(SDIST.filename)[0] == 0
    assert [line for line in server.asked() if line.startswith(("DELETE", "POST"))] == [
        "POST /api/v3/repos/octo/wheels/releases",
        f"POST /api/uploads/repos/octo/wheels/releases/{repo.find('v1.0').id}/assets?name={SDIST.filename}",
    ]


def test_what_takes_the_name_of_an_upload_is_deleted(release, server, repo):
    """GitHub lists what a failed upload has left later than it refuses the next one."""
    server.rule("POST .*/assets", before=lambda: repo.find("v1.0").add(SDIST.filename, b"?", state="starter"))

    assert release(SDIST.filename)[0] == 0
    assert contents(repo.find("v1.0")) == {SDIST.filename: SDIST.content}


def test_an_upload_that_is_refused_is_not_repeated(release, server):
    server.rule("POST .*/assets", status=422, times=None)

    assert release(SDIST.filename)[0] == 1
    assert len([line for line in server.asked() if line.startswith("POST /api/uploads")]) == 1


def test_a_draft_whose_creation_was_reported_as_failed_is_found(release, server, repo):
    server.rule("POST .*/releases$", send=0)

    assert release(SDIST.filename)[0] == 0
    assert [made.is_draft for made in repo.releases] == [False]


def test_a_release_that_only_a_late_list_calls_a_draft_is_not_changed(release, server, repo):
    published = repo.release("v1.0", {WHEEL.filename: b"other"})
    late = {"edit": lambda body: body.replace(b'"draft": false', b'"draft": true')}
    server.rule(r"GET [^ ]*/releases\?", times=None, **late)

    code, _out, err = release(WHEEL.filename)

    assert code == 1
    assert "The release v1.0 is published" in err
    assert contents(published) == {WHEEL.filename: b"other"}


def test_a_failed_run_leaves_a_draft_and_says_how_to_go_on(release, server, repo):
    server.rule("POST .*/assets", status=403, times=None)

    code, out, err = release(SDIST.filename)

    assert (code, out) == (1, "")
    assert "the same command continues it" in err
    assert repo.find("v1.0").is_draft


def test_a_token_without_the_right_to_write_is_explained(release, server, repo, monkeypatch):
    server.token("reader", read=("octo/wheels",))
    monkeypatch.setenv("GITHUB_TOKEN", "reader")

    code, _out, err = release(SDIST.filename)

    assert code == 1
    assert "The token needs the right to write to the repository" in err
    assert repo.releases == []
    assert "reader" not in err


def test_what_the_api_says_of_invalid_requests_is_shown(release, server, repo):
    repo.release("v1.0", draft=True)
    server.rule(
        "PATCH .*/releases",
        status=422,
        body=json.dumps({"message": "Validation Failed", "errors": [{"message": "no such commit"}]}).encode(),
    )

    code, _out, err = release(SDIST.filename)

    assert code == 1
    assert "Validation Failed" in err
    assert repo.find("v1.0").is_draft


def test_what_the_server_has_is_compared_before_it_is_published(release, server, repo):
    def damage():
        repo.find("v1.0").assets[0].content = b"?" * SDIST.size

    server.rule("POST .*/assets", after=damage)

    code, _out, err = release(SDIST.filename)

    assert code == 1
    assert f"has other content as {SDIST.filename}, although all files were uploaded" in err
    assert repo.find("v1.0").is_draft


def test_the_token_is_not_sent_to_another_server_for_uploads(command):
    with serving(uploads_apart=True) as server:
        repo = server.repository("octo/wheels")
        code, _out, err = command("release", "--to", server.word(repo), "--tag", "v1", SDIST.filename)

    assert code == 1
    assert "the token is not sent there" in err
    assert server.asked("uploads") == []


# -- Reports


def test_a_dry_run_changes_nothing(release, server, repo):
    repo.release("v1.0", {SDIST.filename: SDIST.content, WHEEL.filename: b"?"}, draft=True)

    code, out, _err = release("--dry-run", WHEEL.filename, SDIST.filename)

    assert code == 0
    steps = [line.split()[:2] for line in out.splitlines()]
    assert steps[:3] == [["replace", WHEEL.filename], ["upload", METADATA], ["keep", SDIST.filename]]
    assert "There is a draft of v1.0. Nothing was changed." in out
    assert {request.method for request in server.requests} == {"GET"}


def test_the_result_can_be_had_as_json(release, repo):
    code, out, _err = release("--json", "--quiet", SDIST.filename)

    result = json.loads(out)
    assert code == 0
    assert (result["published"], result["tag"], result["error"]) == (True, "v1.0", "")
    assert result["url"].endswith("/octo/wheels/releases/tag/v1.0")
    assert result["files"] == [
        {"name": SDIST.filename, "size": SDIST.size, "sha256": SDIST.sha256, "step": "upload"}
    ]


def test_failures_are_in_the_json_too(release, repo):
    repo.release("v1.0")
    code, out, err = release("--json", SDIST.filename)
    assert code == 1
    assert "lacks" in json.loads(out)["error"]
    assert "lacks" in err


# -- Forgejo


def test_forgejo_gets_the_same(command):
    with serving(forgejo=True, prefix="/api/v1") as server:
        repo = server.repository("octo/wheels", private=True)
        words = ("release", "--to", server.word(repo), "--tag", "v1.0")
        draft = repo.release("v1.0", {SDIST.filename: b"?"}, draft=True)
        first = command(*words, WHEEL.filename, SDIST.filename, EPOCH.filename)
        second = command(*words, WHEEL.filename, SDIST.filename, EPOCH.filename)

    assert first[0] == 0, first
    assert contents(draft) == {
        WHEEL.filename: WHEEL.content,
        METADATA: WHEEL.metadata,
        SDIST.filename: SDIST.content,
        EPOCH.filename: EPOCH.content,
        f"{EPOCH.filename}.metadata": EPOCH.metadata,
    }
    assert not draft.is_draft
    assert second[1].startswith("The release v1.0 has all 5 files.")
    assert server.errors == []
