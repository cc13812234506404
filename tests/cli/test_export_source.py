"""`twisted-index export --source`, over real sockets: a static index of files that stay at their releases."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.kit.github.model import Repo
from tests.kit.github_server import GitHubServer
from twisted_index.testing import make_sdist, make_wheel

TOKEN = "github_pat_0123456789abcdef"
WHEEL = make_wheel("demo", "1.0", requires_python=">=3.9")
SDIST = make_sdist("demo", "1.0")
WHEEL_2 = make_wheel("demo", "2.0")

Told = tuple[int, str, str]


@dataclass
class Export:
    """Exports of repositories into one folder."""

    command: Callable[..., Told]
    folder: Path
    forge: GitHubServer

    def run(self, repo: Repo | str, *words: str, state: str | Path | None = None) -> Told:
        """Export; the requests of earlier ones are forgotten."""
        self.forge.requests.clear()
        state = self.folder.parent / "state" if state is None else state
        source = repo if isinstance(repo, str) else self.forge.word(repo)
        site = str(self.folder)
        return self.command("export", site, "--source", source, "--json-only", "--state", str(state), *words)

    def must(self, repo: Repo | str, *words: str, **options: Any) -> str:
        """Export, which has to go well and without a remark; give what it says."""
        code, out, err = self.run(repo, *words, **options)
        assert (code, err) == (0, "")
        return out

    def page(self, project: str = "demo") -> dict[str, Any]:
        return dict(json.loads((self.folder / "simple" / project / "index.html").read_bytes()))

    def files(self, project: str = "demo") -> dict[str, dict[str, Any]]:
        return {file["filename"]: file for file in self.page(project)["files"]}

    def contents(self) -> dict[str, bytes]:
        paths = [path for path in self.folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in paths}


@pytest.fixture
def forge() -> Iterator[GitHubServer]:
    with GitHubServer() as server:
        yield server
    assert server.errors == []


@pytest.fixture
def export(command, forge, tmp_path, without_settings, monkeypatch) -> Export:
    for name in [name for name in os.environ if name.endswith("_TOKEN")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return Export(command, tmp_path / "site", forge)


@pytest.fixture
def repo(forge: GitHubServer) -> Repo:
    """A public repository with one release."""
    made = forge.repository("octo/wheels")
    made.release("v1.0", {WHEEL.filename: WHEEL.content, SDIST.filename: SDIST.content, "notes.txt": b"x"})
    return made


def test_pages_say_all_that_an_installer_needs_of_files_at_releases(export: Export, repo: Repo):
    assert export.must(repo) == "1 written, 0 removed, 0 unchanged\n"
    page, files = export.page(), export.files()
    assert (page["name"], page["versions"], page["meta"]["api-version"]) == ("demo", ["1.0"], "1.4")
    wheel, asset = files[WHEEL.filename], repo.releases[0].find(WHEEL.filename)
    assert wheel == {
        "filename": WHEEL.filename,
        "hashes": {"sha256": WHEEL.sha256},
        "requires-python": ">=3.9",
        "size": len(WHEEL.content),
        "upload-time": f"{asset.created:%Y-%m-%dT%H:%M:%SZ}",
        "url": f"{export.forge.web_origin}/octo/wheels/releases/download/v1.0/{WHEEL.filename}",
    }
    assert sorted(files) == [WHEEL.filename, SDIST.filename]
    assert not list(export.folder.rglob("*.whl"))


def test_html_pages_have_digests_and_required_pythons(export: Export, repo: Repo):
    export.must(repo)
    code, _out, err = export.command("export", str(export.folder), "--source", export.forge.word(repo))
    assert (code, err) == (0, "")
    html = (export.folder / "simple/demo/index.html").read_text()
    assert f"{WHEEL.filename}#sha256={WHEEL.sha256}" in html
    assert 'data-requires-python="&gt;=3.9"' in html


def test_a_run_without_changes_sends_one_request_and_writes_nothing(export: Export, repo: Repo):
    export.must(repo)
    stamps = {path: path.stat().st_ctime_ns for path in export.folder.rglob("*")}
    assert export.must(repo) == "0 written, 0 removed, 1 unchanged\n"
    assert len(export.forge.asked(None)) == 1
    assert {path: path.stat().st_ctime_ns for path in export.folder.rglob("*")} == stamps


def test_a_new_release_costs_requests_for_its_files_alone(export: Export, repo: Repo):
    export.must(repo)
    repo.release("v2.0", {WHEEL_2.filename: WHEEL_2.content})
    assert export.must(repo) == "1 written, 0 removed, 0 unchanged\n"
    assert export.page()["versions"] == ["1.0", "2.0"]
    assert not any(WHEEL.filename in line for line in export.forge.asked(None))


def test_a_file_without_a_digest_is_fetched_once(export: Export, repo: Repo):
    release = repo.release("v2.0")
    release.add(WHEEL_2.filename, WHEEL_2.content, digest=False)
    export.must(repo)
    assert export.files()[WHEEL_2.filename]["hashes"] == {"sha256": WHEEL_2.sha256}
    release.add("more.txt", b"x")
    export.must(repo)
    assert not any(WHEEL_2.filename in line for line in export.forge.asked(None))


def test_core_metadata_is_promised_where_it_hangs_beside_the_file(export: Export, repo: Repo):
    release = repo.release("v2.0", {WHEEL_2.filename: WHEEL_2.content})
    document = WHEEL_2.metadata
    release.add(f"{WHEEL_2.filename}.metadata", document)
    export.must(repo)
    files = export.files()
    assert files[WHEEL_2.filename]["core-metadata"] == {"sha256": hashlib.sha256(document).hexdigest()}
    assert "core-metadata" not in files[WHEEL.filename]


def test_core_metadata_of_another_version_is_not_promised(export: Export, repo: Repo):
    release = repo.release("v2.0", {WHEEL_2.filename: WHEEL_2.content})
    release.add(f"{WHEEL_2.filename}.metadata", WHEEL.metadata)
    export.must(repo)
    assert "core-metadata" not in export.files()[WHEEL_2.filename]


def test_projects_are_chosen_by_their_names(export: Export, repo: Repo):
    other = make_wheel("other", "1.0")
    repo.release("other", {other.filename: other.content})
    export.must(repo)
    assert {path.parent.name for path in export.folder.glob("simple/*/index.html")} == {"demo", "other"}
    export.must(repo, "--project", "de*")
    assert {path.parent.name for path in export.folder.glob("simple/*/index.html")} == {"demo"}


def test_a_file_that_is_gone_from_its_release_leaves_the_page(export: Export, repo: Repo):
    export.must(repo)
    repo.releases[0].find(SDIST.filename).delete()
    export.must(repo)
    assert list(export.files()) == [WHEEL.filename]


def test_a_file_that_is_replaced_under_its_name_is_refused(export: Export, repo: Repo):
    export.must(repo)
    changed = make_wheel("demo", "1.0", files={"demo/more": b"x"})
    repo.releases[0].replace(WHEEL.filename, changed.content)
    repo.release("v2.0", {WHEEL_2.filename: WHEEL_2.content})
    code, _out, err = export.run(repo)
    assert code == 1
    assert f"{WHEEL.filename} is left as it was" in err
    assert "--rebuilds" in err
    files = export.files()
    assert files[WHEEL.filename]["hashes"] == {"sha256": WHEEL.sha256}
    assert WHEEL_2.filename in files
    assert export.run(repo, "--rebuilds", "--check")[0] == 1
    assert export.run(repo)[0] == 1
    export.must(repo, "--rebuilds")
    assert export.files()[WHEEL.filename]["hashes"] == {"sha256": changed.sha256}
    export.must(repo)


def test_a_check_says_whether_the_export_is_current(export: Export, repo: Repo):
    assert export.run(repo, "--check")[0] == 1
    assert not export.folder.exists()
    export.must(repo)
    assert export.run(repo, "--check")[0] == 0
    repo.release("v2.0", {WHEEL_2.filename: WHEEL_2.content})
    assert export.run(repo, "--check")[0] == 1


@pytest.mark.parametrize(
    ("pattern", "changes"),
    [
        ("GET .*/releases", {"status": 502}),
        ("GET .*/releases", {"status": 401}),
        ("GET .*/releases", {"status": 404}),
        ("GET .*/releases\\?", {"keep": 0}),
        ("GET .*/releases\\?", {"keep_assets": 1}),
        ("GET .*/releases", {"send": 100}),
        ("GET .*/releases", {"body": b"<html>"}),
        ("GET .*/(download|assets)/", {"status": 503}),
    ],
)
def test_an_error_leaves_the_export_as_it_was(
    export: Export, repo: Repo, pattern: str, changes: dict[str, Any]
):
    export.must(repo)
    before = export.contents()
    repo.release("v2.0", {WHEEL_2.filename: WHEEL_2.content})
    export.forge.rule(pattern, times=None, **changes)
    code, out, err = export.run(repo)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert export.contents() == before


def shortened(body: bytes, number: int) -> bytes:
    """Cut a list; what has not changed has no body."""
    return json.dumps(json.loads(body)[:number]).encode() if body else body


#: What may go wrong with each answer, and with lists only.
FAULTS: tuple[dict[str, Any], ...] = (
    {"status": 403},
    {"status": 404},
    {"status": 500},
    {"status": 502},
    {"send": 50},
    {"without": ("ETag",)},
)
FAULTS_OF_LISTS: tuple[dict[str, Any], ...] = (
    {"edit": lambda body: shortened(body, 0)},
    {"edit": lambda body: shortened(body, 3)},
    {"without": ("Link",)},
    {"body": b"[]"},
    {"body": b"{}"},
)
LISTS = (r"/releases\?", r"/assets\?", r"/(releases|assets)\?")


@pytest.mark.parametrize("seed", range(8))
def test_after_any_fault_an_export_is_as_it_was_or_whole(export: Export, repo: Repo, seed: int):
    random = Random(seed)
    export.forge.api.paging.largest, export.forge.views.inline_limit = 10, 30
    wheels = [make_wheel("many", f"{number}.0") for number in range(40)]
    many = repo.release("many", {wheel.filename: wheel.content for wheel in wheels[:35]})
    for number in range(12):
        repo.release(f"empty-{number}")
    export.must(repo)
    before = export.contents()
    for wheel in wheels[35:]:
        many.add(wheel.filename, wheel.content)
    many.find(wheels[0].filename).delete()
    whole = Export(export.command, export.folder.with_name("whole"), export.forge)
    whole.must(repo, state="none")
    first, times = random.randint(1, 4), random.choice([1, 2, None])
    pattern = random.choice([*LISTS, "/download/", "GET"])
    faults = FAULTS + (FAULTS_OF_LISTS if pattern in LISTS else ())
    export.forge.rule(pattern, first=first, times=times, **random.choice(faults))
    code, _out, _err = export.run(repo)
    assert export.contents() == (before if code else whole.contents())


def test_an_exhausted_rate_limit_leaves_the_export_as_it_was(export: Export, repo: Repo):
    export.must(repo)
    before = export.contents()
    repo.release("v2.0", {WHEEL_2.filename: WHEEL_2.content})
    export.forge.limits.of(None).used = export.forge.limits.of(None).limit
    code, _out, err = export.run(repo)
    assert (code, err.count("\n")) == (1, 1)
    assert export.contents() == before


def test_a_token_is_on_no_page_and_goes_to_the_api_alone(export: Export, forge: GitHubServer, monkeypatch):
    forge.token(TOKEN, read=("octo/private",))
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    repo = forge.repository("octo/private", private=True)
    repo.release("v1.0", {WHEEL.filename: WHEEL.content})
    code, _out, err = export.run(repo)
    assert code == 0
    assert "octo/private is private" in err
    assert list(export.files()) == [WHEEL.filename]
    kept = [path.read_bytes() for path in export.folder.parent.rglob("*") if path.is_file()]
    assert not any(TOKEN.encode() in data for data in kept)
    assert not any(TOKEN in str(request.headers) for request in forge.requests if request.at != "api")


def test_wheels_are_read_where_installers_fetch_them(export: Export, repo: Repo, monkeypatch):
    """What is requested of the API counts for its rate limit."""
    export.forge.token(TOKEN, read=("octo/wheels",))
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    export.must(repo)
    assert not any("/assets/" in line for line in export.forge.asked("api"))


def test_a_wheel_whose_name_was_changed_at_upload_has_the_name_inside(export: Export, repo: Repo):
    made = make_wheel("demo", "3.0+cu118")
    changed = made.filename.replace("+", ".")
    repo.release("v3.0").add(changed, made.content, as_is=True)
    code, _out, err = export.run(repo)
    assert code == 0
    assert f"{made.filename} is {changed} at its release, which pip takes for its name" in err
    assert export.files()[made.filename]["url"].endswith(changed)


def test_a_wheel_that_contradicts_its_name_is_left_out(export: Export, repo: Repo):
    repo.release("v3.0", {"demo-3.0-py3-none-any.whl": WHEEL.content})
    code, _out, err = export.run(repo)
    assert (code, err) == (
        0,
        "twisted-index: demo-3.0-py3-none-any.whl is left out: it is not what its name says.\n",
    )
    assert "3.0" not in export.page()["versions"]


def test_an_api_that_states_no_sizes_is_enough(export: Export, forge: GitHubServer, repo: Repo):
    repo.releases[0].find(SDIST.filename).has_digest = False
    forge.rule(r"/releases\?", times=None, edit=lambda body: body.replace(b'"size": ', b'"length": '))

    export.must(repo)

    assert export.files()[SDIST.filename]["hashes"] == {"sha256": hashlib.sha256(SDIST.content).hexdigest()}


def test_a_storage_without_ranges_sends_wheels_whole(export: Export, repo: Repo):
    export.forge.storage.has_ranges = False
    export.must(repo)
    assert export.files()[WHEEL.filename]["requires-python"] == ">=3.9"


def test_without_a_state_an_export_says_the_same(export: Export, repo: Repo):
    export.must(repo)
    assert export.must(repo, state="none") == "0 written, 0 removed, 1 unchanged\n"


def test_what_was_read_serves_other_folders_and_choices(export: Export, repo: Repo):
    export.must(repo)
    export.run(repo, "--project", "other*")
    Export(export.command, export.folder.with_name("more"), export.forge).must(repo)
    assert len(export.forge.asked(None)) == 1


def test_a_damaged_memory_counts_for_nothing(export: Export, repo: Repo):
    export.must(repo)
    (memory,) = (export.folder.parent / "state/cache").glob("releases-*")
    memory.write_text(memory.read_text()[:-20])
    assert export.must(repo) == "0 written, 0 removed, 1 unchanged\n"


def test_what_was_read_before_an_error_is_not_read_again(export: Export, repo: Repo):
    for number in range(2, 6):
        made = make_wheel("demo", f"{number}.0")
        repo.release(f"v{number}.0").add(made.filename, made.content, digest=False)
    last = "demo-5.0-py3-none-any.whl"
    rule = export.forge.rule(f"GET .*/({last}|assets/[0-9]+)", times=None, status=503)
    assert export.run(repo)[0] == 1
    export.forge.rules.remove(rule)
    export.must(repo)
    assert len([line for line in export.forge.asked("web") if last not in line]) == 0


def test_a_file_that_cannot_be_downloaded_is_read_through_the_api(export: Export, repo: Repo):
    export.forge.rule("GET .*/download/", times=None, status=503)
    assert export.must(repo) == "1 written, 0 removed, 0 unchanged\n"


def test_pages_of_forgejo_have_the_digests_of_files_that_were_fetched(command, tmp_path, export: Export):
    with GitHubServer(forgejo=True) as forge:
        repo = forge.repository("octo/wheels")
        repo.release("v1.0", {WHEEL.filename: WHEEL.content})
        Export(command, export.folder, forge).must(repo)
    assert export.files()[WHEEL.filename]["hashes"] == {"sha256": WHEEL.sha256}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--path", "x"], "--source and --path contradict"),
        (["--link"], "--source and --link contradict"),
        (["--files-url", "https://host.example/"], "--source and --files-url contradict"),
        (["--project", "?!"], "--project: "),
    ],
)
def test_options_that_contradict_a_source_are_refused(
    export: Export, repo: Repo, words: list[str], sentence: str
):
    code, _out, err = export.run(repo, *words)
    assert code == 64
    assert sentence in err


@pytest.mark.parametrize("word", ["octo/wheels", "https://github.com/octo/wheels", "github:octo/wheels.git"])
def test_a_word_that_is_no_repository_is_refused_with_what_to_write(export: Export, word: str):
    code, _out, err = export.run(word)
    assert code == 64
    assert "write github:" in err
